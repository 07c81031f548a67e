//! A server goes and comes back while the binaries run: nobody restarts them, and nothing is lost or repeated.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::history::History;
use crate::load::Load;
use crate::process::Started;
use crate::report::Report;
use crate::servers::{Servers, alone, until_cassandra_has_settled};
use crate::stack::{Scenario, until};

/// How long all brokers stay away after everybody has noticed.
const AWAY: Duration = Duration::from_secs(60);
/// The default grace of a shutdown.
const GRACE: Duration = Duration::from_secs(20);

/// Next offsets of `consumer`, summed up.
async fn applied(scenario: &Scenario) -> i64 {
    let sum = "SELECT coalesce(sum(next_offset), 0) AS n FROM rowferry_progress";
    scenario.postgres_query(sum).await[0]["n"].as_deref().unwrap().parse().unwrap()
}

/// Waits until a status line says that it waits for this.
async fn status_says(run: &Started, waits_for: &str) {
    until(&format!("a status line of {} says \"{waits_for}\"", run.name), 40, async || {
        assert!(run.is_running(), "it ended");
        run.log().lines().any(|line| line.contains(" status ") && line.contains(waits_for))
    })
    .await;
}

/// Asks it to stop while its sink is away.
pub async fn stops_in_time(run: &Started) {
    let asked = Instant::now();
    run.signal("TERM");
    assert_eq!(run.exit_code(30).await, 0, "SIGTERM while the sink is away");
    assert!(asked.elapsed() <= GRACE, "{:?} to stop", asked.elapsed());
    eprintln!("{}: stopped within {:.1?} while its sink was away", run.name, asked.elapsed());
}

/// 50 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn postgres_is_killed_and_comes_back_under_consumer() {
    let _turn = alone().await;
    let scenario = Scenario::new("out_postgres").await;
    let mut servers = Servers::default();
    let mut report = Report::new(7, "Postgres killed under consumer", 21);
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let history = History { users: 1_000, orders: 2_000, seed: report.seed };
    let producer = history.producer(&scenario).arg("--rate=200").start();
    let run = scenario.consumer().start();
    until("it works", 30, async || applied(&scenario).await > 300).await;

    report.injected += 2;
    servers.kill("postgres");
    run.logs("waiting for 127.0.0.1:5432/", 30).await;
    status_says(&run, "waiting for 127.0.0.1:5432/").await;
    servers.back();
    let (behind, begun) = (applied(&scenario).await, Instant::now());
    until("it goes on by itself", 40, async || applied(&scenario).await > behind + 300).await;
    report.recovered.push(begun.elapsed());

    servers.kill("postgres");
    let heard = run.log().len();
    until("it waits again", 30, async || run.log()[heard..].contains("waiting for 127.0.0.1:5432/")).await;
    report.observed += 2;
    report.rss_bytes_max = run.rss_bytes();
    stops_in_time(&run).await;
    servers.back();

    assert_eq!(producer.exit_code(60).await, 0);
    scenario.consumer_to_the_end().await;
    history.assert_in_postgres(&scenario).await;
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&users, &orders]);
    assert_eq!(scenario.dead_letters(), []);
    report.end();
}

/// 220 s on busy cores, most of it until the nodes answer again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn cassandra_loses_one_node_then_two_and_gets_them_back() {
    let _turn = alone().await;
    let scenario = Scenario::new("out_cassandra").await;
    let mut servers = Servers::default();
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let all_is_committed = || scenario.committed_sum(&group, &topics) == scenario.ends_sum(&topics);
    let mut report = Report::new(5, "one Cassandra node killed, then two; one frozen", 22);
    let mut load = Load::new(report.seed);
    load.go_on(&scenario, 1_000).await;
    // One more request for each round that went well: from 1 to 32 takes 500 requests, to the default's 128 sixteen times as many.
    let run = scenario.cdcconsumer().set("sink.cassandra.in_flight_max=32").start();
    until("it works", 30, async || all_is_committed()).await;

    // One of three: a quorum is left, and writes go on.
    report.injected += 3;
    servers.kill("cassandra-3");
    for _ in 0..5 {
        load.go_on(&scenario, 200).await;
        sleep(Duration::from_millis(300)).await;
    }
    until("two nodes are enough", 40, async || all_is_committed()).await;

    // Two of three: it waits.
    servers.kill("cassandra-2");
    let stood_at = scenario.committed_sum(&group, &topics);
    load.go_on(&scenario, 1_000).await;
    run.logs("waiting for Cassandra: ", 60).await;
    status_says(&run, "waiting for Cassandra: Unavailable for LocalQuorum (needs 2, alive 1)").await;
    assert_eq!(scenario.committed_sum(&group, &topics), stood_at, "nothing can be durable on one node");
    run.logs("Cassandra pushes back: fewer requests at once", 10).await;
    report.observed += 2;
    servers.back();
    let begun = Instant::now();
    until("it goes on by itself", 90, async || all_is_committed()).await;
    report.recovered.push(begun.elapsed());
    until("it asks as much at once as before", 90, async || {
        load.go_on(&scenario, 500).await;
        run.log().contains("Cassandra takes as many requests at once as before")
    })
    .await;
    until("everything is applied", 30, async || all_is_committed()).await;

    // One that keeps its connections and answers nothing: the request's own time is over first, or the driver's patience
    // with the connection. To the others, which have just come back, there may be none yet.
    servers.pause("cassandra-1");
    let heard = run.log().len();
    load.go_on(&scenario, 1_000).await;
    until("two nodes are enough", 60, async || all_is_committed()).await;
    report.observed += u64::from(run.log()[heard..].contains("waiting for Cassandra: "));
    servers.back();
    report.rss_bytes_max = run.rss_bytes();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    until_cassandra_has_settled(&scenario).await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &topics);
    assert_eq!(scenario.dead_letters(), []);
    report.end();
}

/// 250 s on busy cores.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn kafka_loses_one_broker_then_all_and_gets_them_back() {
    let _turn = alone().await;
    let scenario = Scenario::new("out_kafka").await;
    let mut servers = Servers::default();
    let group = scenario.postgres_group();
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let mut report = Report::new(4, "one broker killed, then all of them for 60 s", 23);
    let history = History { users: 2_000, orders: 4_000, seed: report.seed };
    let producer = history.producer(&scenario).arg("--rate=200").start();
    let run = scenario.consumer().start();
    until("it works", 30, async || applied(&scenario).await > 300).await;

    report.injected += 3;
    servers.kill("kafka-2");
    let before = applied(&scenario).await;
    until("two brokers are enough", 40, async || applied(&scenario).await > before + 400).await;

    servers.kill("kafka-1");
    servers.kill("kafka-3");
    run.logs("waiting for Kafka: ", 30).await;
    status_says(&run, "Kafka: ").await;
    sleep(AWAY).await;
    let before = applied(&scenario).await;
    servers.back();
    let begun = Instant::now();
    until("both go on by themselves", 60, async || applied(&scenario).await > before + 300).await;
    report.recovered.push(begun.elapsed());
    run.logs("Kafka is back after ", 10).await;

    for broker in ["kafka-1", "kafka-2", "kafka-3"] {
        servers.kill(broker);
    }
    let heard = run.log().len();
    until("it waits again", 40, async || run.log()[heard..].contains("waiting for Kafka: ")).await;
    report.observed += 3;
    report.rss_bytes_max = run.rss_bytes();
    // With a commit under way that nobody answers.
    stops_in_time(&run).await;
    servers.back();
    let run = scenario.consumer().start();

    assert_eq!(producer.exit_code(90).await, 0);
    let end = scenario.ends_sum(&[&users, &orders]);
    until("it has applied everything", 60, async || applied(&scenario).await == end).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert!(!run.log().contains("stopped: "), "a partition was stopped");
    history.assert_in_postgres(&scenario).await;
    scenario.assert_committed_to_the_ends(&group, &[&users, &orders]);
    assert_eq!(scenario.dead_letters(), []);
    report.end();
}
