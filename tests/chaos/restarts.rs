//! Fault 7: Postgres is restarted again and again under the whole path: `consumer`, which writes it, and Debezium, which
//! reads its log. Fast, when it ends its clients' sessions in order, and by SIGKILL, when it has to recover.

use std::time::Instant;

use crate::history::History;
use crate::replicas::ask_every_replica;
use crate::report::{Report, seed, times};
use crate::servers::{Servers, alone};
use crate::stack::{Scenario, until};

/// Events a second, so that some are under way whenever it goes.
const RATE: &str = "--rate=100";

/// 90 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn postgres_is_restarted_again_and_again_under_consumer_and_debezium() {
    let _turn = alone().await;
    let mut scenario = Scenario::new("chaos_restarts").await;
    let mut servers = Servers::default();
    let mut report = Report::new(7, "Postgres restarted under consumer and Debezium", seed());
    let history = History { users: 1_000 * times(1, 2), orders: 3_000 * times(1, 2), seed: report.seed };
    scenario.start_debezium().await;
    let runs = [scenario.consumer().start(), scenario.cdcconsumer().start()];
    let producer = history.producer(&scenario).arg(RATE).start();
    let (group, [users, orders]) = (scenario.cassandra_group(), scenario.change_topics());
    let applied = || scenario.committed_sum(&group, &[&users, &orders]);
    until("it works", 60, async || applied() > 100).await;

    for restart in 0..times(2, 4) {
        report.injected += 1;
        let heard = runs[0].log().len();
        if restart % 2 == 0 {
            servers.stop("postgres")
        } else {
            servers.kill("postgres")
        }
        until("consumer waits for it", 30, async || runs[0].log()[heard..].contains("waiting for 127.0.0.1:5432/"))
            .await;
        report.observed += 1;
        servers.back();
        let (before, begun) = (applied(), Instant::now());
        until("changes go on", 120, async || applied() > before + 20).await;
        report.recovered.push(begun.elapsed());
    }

    assert_eq!(producer.exit_code(120).await, 0);
    report.rss_bytes_max = runs.iter().map(|run| run.rss_bytes()).max().unwrap();
    let topics = ["users", "orders"].map(|topic| scenario.topic(topic));
    let (events, ends) = (scenario.postgres_group(), scenario.ends_sum(&[&topics[0], &topics[1]]));
    until("all events are applied", 120, async || scenario.committed_sum(&events, &[&topics[0], &topics[1]]) == ends)
        .await;
    history.assert_in_postgres(&scenario).await;
    scenario.until_debezium_has_sent_all().await;
    let end = scenario.ends_sum(&[&users, &orders]);
    until("all changes are applied", 60, async || applied() == end).await;
    for run in &runs {
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    ask_every_replica(&mut scenario).await;
    scenario.assert_cassandra_equals_postgres().await;
    scenario.assert_no_dead_letters();
    report.end();
}
