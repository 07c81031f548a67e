//! SIGTERM and SIGINT: finish what is in flight, commit, end with 0 within the grace; a second one ends at once.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::stack::{Scenario, until};
use crate::topics::Raw;
use crate::versions::slowly;

/// 23 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_under_load_ends_cdcconsumer_with_0_and_the_next_one_goes_on_where_it_stood() {
    let scenario = Scenario::new("signals_cdc").await;
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let mut load = Load::new(3);
    load.go_on(&scenario, 2_000).await;
    let committed = || scenario.committed(&group, &[&users, &orders]);
    let sum = || committed().values().map(|commit| commit.next_offset).sum::<i64>();
    for signal in ["TERM", "INT", "TERM"] {
        let before = sum();
        let run = slowly(scenario.cdcconsumer()).start();
        // Fed at every look, so that it is under load when it is asked, however fast the machine is.
        until("it works", 30, async || {
            load.go_on(&scenario, 100).await;
            sum() > before + 200
        })
        .await;
        load.go_on(&scenario, 2_000).await;
        let asked = Instant::now();
        run.signal(signal);
        assert_eq!(run.exit_code(20).await, 0, "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{signal}: {:?} to finish one batch", asked.elapsed());
        let ends = [&users, &orders].map(|topic| scenario.ends(topic)).concat();
        assert!(sum() < ends.iter().map(|(_, end)| end).sum(), "{signal}: it was under load");
        // Everything finished is committed: what it says that it left off at is what the group holds.
        let log = run.log();
        for ((topic, partition), commit) in committed() {
            let revoked = format!("partition={topic}[{partition}] next_offset={}", commit.next_offset);
            let told = log.lines().any(|line| line.contains("revoked") && line.contains(&revoked));
            assert!(told, "{signal}: the group holds another offset than it left off at; no \"{revoked}\" in its log");
        }
    }
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &[&users, &orders]);
}

/// Users as business events, spread over the partitions.
async fn create_users(scenario: &Scenario, numbers: std::ops::Range<u32>) {
    let events: Vec<Raw> = numbers
        .map(|number| {
            let id = format!("00000000-0000-4000-8000-0000{number:08}");
            let event = format!(
                "{{\"event_type\":\"CREATE\",\"user_id\":\"{id}\",\"name\":\"User {number}\",\"dob\":\"1990-01-01\",\
                 \"created_at\":\"2025-01-01T00:00:00.000Z\",\"modified_at\":\"2025-01-01T00:00:00.000Z\"}}"
            );
            Raw::new(&id, event).header("schema-version", "1")
        })
        .collect();
    scenario.produce_all(&scenario.topic("users"), &events).await;
}

/// 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_under_load_ends_consumer_with_0_and_the_next_one_goes_on_where_it_stood() {
    let scenario = Scenario::new("signals_pg").await;
    let topic = scenario.topic("users");
    create_users(&scenario, 0..5_000).await;
    let rows = async || scenario.postgres_query("SELECT count(*) AS n FROM users").await[0]["n"].clone().unwrap();
    let number = async || rows().await.parse::<i64>().unwrap();
    for signal in ["TERM", "INT"] {
        let before = number().await;
        let run = scenario.consumer().set("limits.batch_records_max=1").start();
        until("it works", 30, async || number().await > before + 100).await;
        run.signal(signal);
        assert_eq!(run.exit_code(20).await, 0, "{signal}");
        // Kafka, the progress table and the rows agree on where it left off.
        let committed = scenario.committed(&scenario.postgres_group(), &[&topic]);
        let progress = scenario.postgres_query("SELECT topic, partition, next_offset FROM rowferry_progress").await;
        for row in progress.iter().filter(|row| row["topic"].as_deref() == Some(&topic)) {
            let partition: i32 = row["partition"].as_deref().unwrap().parse().unwrap();
            let committed = committed[&(topic.clone(), partition)].next_offset.to_string();
            assert_eq!(row["next_offset"].as_deref(), Some(committed.as_str()), "{signal}: {topic}[{partition}]");
        }
        let sum: i64 = committed.values().map(|commit| commit.next_offset).sum();
        assert_eq!(sum, number().await, "{signal}: every row is committed, and no more");
    }
    assert!(number().await < 5_000, "it was under load to the last");
    scenario.consumer_to_the_end().await;
    assert_eq!(number().await, 5_000);
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&topic]);
    scenario.assert_no_dead_letters();
}

/// 23 s.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_finished_within_the_grace_is_left_and_a_second_signal_does_not_wait_for_it() {
    let scenario = Scenario::new("signals_twice").await;
    let topic = scenario.topic("users");
    create_users(&scenario, 0..50).await;
    // Somebody holds the table, so no batch can finish.
    let mut held = scenario.postgres.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let blocked = async || {
        let waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass";
        scenario.postgres_query(waiting).await[0]["n"].as_deref().unwrap().parse::<u32>().unwrap()
    };
    let untouched = |when: &str| {
        let committed = scenario.committed(&scenario.postgres_group(), &[&topic]);
        assert!(committed.values().all(|commit| commit.next_offset == 0), "{when}: {committed:?}");
    };

    let run = scenario.consumer().start();
    until("every batch waits for the table", 30, async || blocked().await == 3).await;
    run.signal("TERM");
    run.logs("asked to stop", 5).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(run.is_running(), "it tries to finish");
    let asked = Instant::now();
    run.signal("INT");
    assert_eq!(run.exit_code(5).await, 1);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    untouched("second signal");

    // The server does not notice that the first one has gone as long as its statements wait, here up to 10 s.
    let gone = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass";
    scenario.postgres_query(gone).await;
    until("nothing waits for the table", 10, async || blocked().await == 0).await;
    let run = scenario.consumer().set("limits.shutdown_grace_seconds=5").start();
    until("every batch waits for the table", 30, async || blocked().await == 3).await;
    let asked = Instant::now();
    run.signal("TERM");
    assert_eq!(run.exit_code(10).await, 0);
    assert!(asked.elapsed() < Duration::from_millis(5_500), "{:?}", asked.elapsed());
    untouched("grace");

    held.rollback().await.unwrap();
    scenario.consumer_to_the_end().await;
    assert_eq!(scenario.postgres_rows("users").await.len(), 50);
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&topic]);
}
