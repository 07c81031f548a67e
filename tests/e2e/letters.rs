//! A dead-letter topic that is gone or too small: what a letter waits for stands still, everything else goes on.

use std::sync::Arc;

use crate::changes::{change, id, user};
use crate::inputs::{CANARY, assert_holds_no_payload, events};
use crate::process::Started;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// Both binaries, with the topics and groups that belong to them.
struct Both {
    consumer: Arc<Started>,
    cdcconsumer: Arc<Started>,
    events: String,
    changes: String,
}

impl Both {
    fn start(scenario: &Scenario) -> Both {
        Both {
            consumer: scenario.consumer().start(),
            cdcconsumer: scenario.cdcconsumer().start(),
            events: scenario.topic("users"),
            changes: scenario.topic("public.users"),
        }
    }

    fn started(&self) -> [&Started; 2] {
        [&self.consumer, &self.cdcconsumer]
    }

    /// Writes users of these numbers to a partition of both topics; one is written as `bad` where that is given.
    async fn produce(&self, scenario: &Scenario, partition: i32, users: &[(u64, Option<&str>)]) {
        let raw = |good: Raw, bad: &Option<&str>| match bad {
            Some(bad) => Raw::new(good.key.unwrap(), bad).to(partition),
            None => good.to(partition),
        };
        let of_events: Vec<Raw> =
            users.iter().map(|(number, bad)| raw(events::event(&events::user(*number, CANARY)), bad)).collect();
        let of_changes: Vec<Raw> =
            users.iter().map(|(number, bad)| raw(change(None, Some(&user(*number, CANARY))), bad)).collect();
        scenario.produce_all(&self.events, &of_events).await;
        scenario.produce_all(&self.changes, &of_changes).await;
    }

    /// Waits until exactly these users are in both databases.
    async fn until_applied(&self, scenario: &Scenario, numbers: &[u64], seconds_max: u64) {
        let expected: Vec<String> = numbers.iter().map(|number| id(*number)).collect();
        until(&format!("users {numbers:?} are applied"), seconds_max, async || {
            let tables = [scenario.postgres_rows("users").await, scenario.cassandra_rows("users").await];
            tables.iter().all(|rows| rows.iter().map(|row| row["id"].clone().unwrap()).eq(expected.iter().cloned()))
        })
        .await;
    }

    /// Asserts that neither group has committed anything beyond this offset of partition 0.
    fn assert_stands_at(&self, scenario: &Scenario, next_offset_max: i64) {
        for (group, topic) in [(scenario.postgres_group(), &self.events), (scenario.cassandra_group(), &self.changes)] {
            let committed = scenario.committed(&group, &[topic]);
            let next_offset = committed[&(topic.clone(), 0)].next_offset;
            assert!(next_offset <= next_offset_max, "{group} stands at {next_offset}");
        }
    }

    /// Ends both, asserts that everything is committed and that they have logged no payload.
    async fn stop(&self, scenario: &Scenario) {
        for started in self.started() {
            started.signal("TERM");
        }
        for started in self.started() {
            assert_eq!(started.exit_code(10).await, 0);
            assert_holds_no_payload(&started.name, &started.log());
            assert!(!started.log().contains("panicked"));
        }
        scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&self.events]);
        scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&self.changes]);
    }
}

/// The values of all letters, sorted.
fn letter_values(scenario: &Scenario) -> Vec<String> {
    let mut values: Vec<String> = scenario.dead_letters().iter().map(|letter| letter.value_text()).collect();
    values.sort();
    values
}

/// 55 s, most of it the 30 s until a stopped partition tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_that_is_deleted_stops_the_partition_until_it_is_back() {
    let scenario = Scenario::new("letters_gone").await;
    let letters = scenario.dead_letter_topic();
    let both = Both::start(&scenario);
    // One producer has used the topic before, the other never has.
    scenario.produce(&both.events, &Raw::new(id(1), "first").to(0)).await;
    both.produce(&scenario, 1, &[(1, None)]).await;
    both.until_applied(&scenario, &[1], 30).await;
    until("the first letter is out", 20, async || letter_values(&scenario) == ["first"]).await;
    scenario.delete_topic(&letters).await;

    both.produce(&scenario, 0, &[(2, None), (3, Some("second")), (4, None)]).await;
    for started in both.started() {
        started.logs(&format!("stopped: the dead-letter topic \"{letters}\" does not take a record"), 20).await;
        assert!(started.log().contains("; create it"), "no mend");
    }
    both.produce(&scenario, 1, &[(5, None)]).await;
    until("the other partition goes on", 10, async || {
        scenario.postgres_rows("users").await.iter().any(|row| row["id"] == Some(id(5)))
            && scenario.cassandra_rows("users").await.iter().any(|row| row["id"] == Some(id(5)))
    })
    .await;
    both.assert_stands_at(&scenario, 2);

    scenario.make_topic(&letters, 3, &[("max.message.bytes", "16777216")]).await;
    both.until_applied(&scenario, &[1, 2, 4, 5], 60).await;

    assert_eq!(letter_values(&scenario), ["second", "second"], "one of each binary");
    both.stop(&scenario).await;

    the_end_is_not_reached_without_the_topic(&scenario, &both).await;
    it_is_refused_at_start_without_the_topic(&scenario).await;
}

/// The topic goes while `consumer` waits for a lock of ours, after it was found at the start.
async fn the_end_is_not_reached_without_the_topic(scenario: &Scenario, both: &Both) {
    scenario.produce(&both.events, &Raw::new(id(6), "third").to(0)).await;
    let mut lock = scenario.postgres.begin().await.unwrap();
    sqlx::query("LOCK TABLE rowferry_progress IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let consumer = scenario.consumer().arg("--exit-when-caught-up").start();
    until("consumer wants our lock", 20, async || {
        let wanted = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                      WHERE NOT granted AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(wanted).fetch_one(&scenario.postgres).await.unwrap() > 0
    })
    .await;
    scenario.delete_topic(&scenario.dead_letter_topic()).await;
    lock.rollback().await.unwrap();

    assert_eq!(consumer.exit_code(30).await, 1);
    let committed = scenario.committed(&scenario.postgres_group(), &[&both.events]);
    let (_, end) = scenario.ends(&both.events)[0];
    assert_eq!(committed[&(both.events.clone(), 0)].next_offset, end - 1, "it stands in front of the bad record");
}

async fn it_is_refused_at_start_without_the_topic(scenario: &Scenario) {
    for started in [scenario.consumer().start(), scenario.cdcconsumer().start()] {
        assert_eq!(started.exit_code(20).await, 64);
        let log = started.log();
        assert!(log.contains(&scenario.dead_letter_topic()) && log.contains("create it"), "{log}");
    }
}

/// 55 s, most of it the 30 s until a stopped partition tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_big_for_the_dead_letter_topic_stops_the_partition_until_it_fits() {
    let scenario = Scenario::new("letters_too_big").await;
    let letters = scenario.dead_letter_topic();
    let policy = ("cleanup.policy", "delete");
    scenario.alter_topic(&letters, &[policy, ("max.message.bytes", "20000")]).await;
    let both = Both::start(&scenario);
    let big = CANARY.repeat(5_000);
    both.produce(&scenario, 0, &[(1, None), (2, Some("small")), (2, Some(&big)), (2, Some("small too")), (5, None)])
        .await;
    both.produce(&scenario, 1, &[(6, None)]).await;

    for started in both.started() {
        started.logs(&format!("stopped: the dead-letter topic \"{letters}\" does not take a record"), 30).await;
        assert!(started.log().contains("; raise its max.message.bytes"), "no mend");
    }
    both.until_applied(&scenario, &[6], 10).await;
    both.assert_stands_at(&scenario, 2);
    // A letter that is too big takes no other one with it.
    assert_eq!(letter_values(&scenario), ["small", "small", "small too", "small too"]);

    scenario.alter_topic(&letters, &[policy, ("max.message.bytes", "16777216")]).await;
    both.until_applied(&scenario, &[1, 5, 6], 60).await;
    assert_eq!(letter_values(&scenario), ["small", "small", "small too", "small too", &big, &big]);
    both.stop(&scenario).await;

    scenario.alter_topic(&letters, &[policy, ("max.message.bytes", "20000")]).await;
    both.produce(&scenario, 0, &[(7, Some(&big))]).await;
    for program in [scenario.consumer(), scenario.cdcconsumer()] {
        assert_eq!(program.arg("--exit-when-caught-up").start().exit_code(30).await, 1);
    }
    both.assert_stands_at(&scenario, 5);
}
