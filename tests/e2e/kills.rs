//! kill -9 again and again, at random moments, under load. At each kill the group's commits are looked at: none may
//! have passed what is in the sink. In the end everything is where the oracle says.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::history::History;
use crate::load::Dice;
use crate::process::{Program, Started};
use crate::rows::{Rows, debezium_row};
use crate::stack::{Scenario, until};
use crate::topics::Stored;

const KILLS: usize = 10;
/// How long a life may go on after its first record was applied.
const LIFE_MS_MAX: u64 = 500;
/// Many batches, so that one is mostly under way.
const SMALL: &str = "limits.batch_records_max=20";

/// 100 s on busy cores. Both binaries are killed at the same time, so that the one reads what the other was killed over.
#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_each_consumer_under_load_lose_nothing_and_repeat_nothing() {
    let scenario = Scenario::new("kills").await;
    let seed = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    eprintln!("kills: seed {seed} (E2E_SEED={seed} draws the same moments again)");
    let history = History { users: 2_000, orders: 4_000, seed };
    scenario.start_debezium().await;
    let producer = history.producer(&scenario).arg("--rate=200").start();

    let (last, ()) = tokio::join!(kill_consumer(&scenario, seed, &producer), kill_cdcconsumer(&scenario, seed));

    assert_eq!(producer.exit_code(60).await, 0, "producer");
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    until("consumer has applied everything", 60, async || {
        scenario.progress().await.values().sum::<i64>() == scenario.ends_sum(&[&users, &orders])
    })
    .await;
    last.signal("TERM");
    assert_eq!(last.exit_code(25).await, 0);
    history.assert_in_postgres(&scenario).await;
    scenario.until_debezium_has_sent_all().await;
    let last = static_member(scenario.cdcconsumer(), "cdcconsumer").arg("--exit-when-caught-up").start();
    assert_eq!(last.exit_code(60).await, 0);
    scenario.assert_cassandra_equals_postgres().await;
    assert_eq!(scenario.dead_letters(), []);
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&users, &orders]);
    let [users, orders] = scenario.change_topics();
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&users, &orders]);
}

/// With an id that the next life takes over at once instead of waiting for the session to end.
fn static_member<'s>(program: Program<'s>, section: &str) -> Program<'s> {
    program.set(&format!("{section}.group_instance_id=kills"))
}

/// Kills `consumer` ten times. The life after the last kill goes on. The producer stands still between lives, so that
/// the history lasts for all of them; where it has sent all of it before, the consumer is that far behind.
async fn kill_consumer(scenario: &Scenario, seed: u64, producer: &Started) -> Arc<Started> {
    let consumer = || static_member(scenario.consumer(), "consumer");
    let mut dice = Dice(seed | 1);
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    for life in 1..=KILLS {
        let before: i64 = scenario.progress().await.values().sum();
        producer.signal_unless_ended("CONT");
        let run = consumer().set(SMALL).start();
        until(&format!("life {life} of consumer applies records"), 60, async || {
            assert!(run.is_running(), "it ended by itself");
            scenario.progress().await.values().sum::<i64>() > before
        })
        .await;
        kill(&run, &mut dice).await;
        producer.signal_unless_ended("STOP");
        scenario.until_consumer_is_gone().await;
        let progress = scenario.progress().await;
        let committed = scenario.committed(&scenario.postgres_group(), &[&users, &orders]);
        for (place, commit) in &committed {
            let applied = progress.get(place).copied().unwrap_or_default();
            assert!(commit.next_offset <= applied, "life {life}: {place:?} committed {commit:?}, applied {applied}");
        }
        let applied: i64 = progress.values().sum();
        let repeated: i64 = applied - committed.values().map(|commit| commit.next_offset).sum::<i64>();
        let waiting = scenario.ends_sum(&[&users, &orders]) - applied;
        eprintln!("consumer, life {life}: applied {before}..{applied}, {repeated} not committed, {waiting} waiting");
    }
    producer.signal_unless_ended("CONT");
    consumer().start()
}

async fn kill_cdcconsumer(scenario: &Scenario, seed: u64) {
    let mut dice = Dice(!seed | 1);
    let [users, orders] = scenario.change_topics();
    let group = scenario.cassandra_group();
    let committed = || scenario.committed(&group, &[&users, &orders]);
    let sum = || scenario.committed_sum(&group, &[&users, &orders]);
    for life in 1..=KILLS {
        until("there are changes to apply", 60, async || scenario.ends_sum(&[&users, &orders]) > sum() + 100).await;
        let before = sum();
        let run = static_member(scenario.cdcconsumer(), "cdcconsumer").set(SMALL).start();
        until(&format!("life {life} of cdcconsumer applies records"), 60, async || {
            assert!(run.is_running(), "it ended by itself");
            sum() > before
        })
        .await;
        kill(&run, &mut dice).await;
        let below: BTreeMap<(String, i32), i64> =
            committed().into_iter().map(|(place, commit)| (place, commit.next_offset)).collect();
        let waiting = scenario.ends_sum(&[&users, &orders]) - below.values().sum::<i64>();
        eprintln!("cdcconsumer, life {life}: committed {before}..{}, {waiting} waiting", below.values().sum::<i64>());
        // The tables first: a record that comes in between can only explain more.
        for (topic, tables) in [(&users, &["users"][..]), (&orders, &["orders", "orders_by_user"])] {
            let mut found = Vec::new();
            for table in tables {
                found.push((*table, scenario.cassandra_rows(table).await));
            }
            let records = scenario.records(topic);
            let committed = |partition: i32| below.get(&(topic.clone(), partition)).copied().unwrap_or_default();
            let images = images(&records, committed);
            found.iter().for_each(|(table, rows)| assert_nothing_is_behind(life, table, rows, &images));
        }
    }
}

/// Kills it at a random moment.
async fn kill(run: &Started, dice: &mut Dice) {
    tokio::time::sleep(Duration::from_millis(dice.below(LIFE_MS_MAX))).await;
    run.signal("KILL");
    run.ended(10).await;
}

/// For each row, by its id: what its records from the last committed one on say that it is. A row with no committed
/// record is left out, for it need not be there.
fn images(records: &[Stored], committed: impl Fn(i32) -> i64) -> BTreeMap<String, Rows> {
    let mut images: BTreeMap<String, (bool, Rows)> = BTreeMap::new();
    for record in records {
        let value: Value = serde_json::from_slice(record.value.as_deref().expect("nothing is deleted")).unwrap();
        let image = debezium_row(&value["after"]);
        let (is_committed, rows) = images.entry(image["id"].clone().unwrap()).or_default();
        if record.offset < committed(record.partition) {
            *is_committed = true;
            rows.clear();
        }
        rows.push(image);
    }
    images.into_iter().filter(|(_, (is_committed, _))| *is_committed).map(|(id, (_, rows))| (id, rows)).collect()
}

/// Every row with a committed record is there, as that record or a later one says, and stands nowhere else.
fn assert_nothing_is_behind(life: usize, table: &str, rows: &Rows, images: &BTreeMap<String, Rows>) {
    let id = if table == "users" { "id" } else { "order_id" };
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let key = row[id].as_deref().unwrap();
        let Some(images) = images.get(key) else { continue };
        let mut row = row.clone();
        let key_value = row.remove(id).unwrap();
        row.insert("id".into(), key_value);
        assert!(images.contains(&row), "life {life}, {table}: {row:?} is behind what is committed: {images:?}");
        *places.entry(key).or_default() += 1;
    }
    for (key, images) in images {
        // A move that was being written may have left its old place and not reached the new one.
        let moves = table == "orders_by_user" && images.iter().any(|row| row["user_id"] != images[0]["user_id"]);
        let found = moves || places.contains_key(key.as_str());
        assert!(found, "life {life}, {table}: {key} is committed and missing: {images:?}");
    }
}
