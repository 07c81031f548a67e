//! Fault 12: sixteen writers on fifty rows of Postgres, which delete, change and insert them again in transactions that
//! overlap, while one incremental snapshot after the other reads them. No change may hide a newer one.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::journal::{Journal, assert_table};
use crate::load::Dice;
use crate::poller::seqs;
use crate::replicas::ask_every_replica;
use crate::report::{Report, seed, times};
use crate::rows::assert_same;
use crate::servers::turn;
use crate::stack::{Scenario, until};

const WRITERS: u64 = 16;
const ROWS: u64 = 50;
/// In a round.
const CHANGES: u64 = 4_000;
/// Between two transactions of a writer.
const PAUSE: Duration = Duration::from_millis(100);
/// Five rows a chunk, so that one snapshot opens and closes its window ten times.
const SETTINGS: &str = r#", "snapshot.mode": "no_data", "incremental.snapshot.chunk.size": "5",
    "signal.enabled.channels": "source", "signal.data.collection": "public.debezium_signal",
    "notification.enabled.channels": "sink", "notification.sink.topic.name": "#;

/// 35 s.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_churn_fifty_rows_while_snapshots_run_and_no_change_is_masked() {
    let _turn = turn().await;
    let mut scenario = Scenario::new("chaos_hot").await;
    let mut report = Report::new(12, "sixteen writers churn fifty rows while snapshots run", seed());
    let topic = make_places(&scenario).await;
    let run = scenario.cdcconsumer().set("limits.batch_records_max=20").start();
    run.logs(" assigned ", 40).await;

    let url = format!("postgres://rowferry:rowferry@127.0.0.1:5432/{}", scenario.id);
    let left = Arc::new(AtomicU64::new(CHANGES * times(1, 3)));
    // Tasks of their own, for looking into topics holds up the one that does it.
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(url.clone(), report.seed, writer, left.clone())));
    let writers: Vec<_> = writers.collect();
    let snapshots = async {
        while left.load(Ordering::Relaxed) > 0 {
            report.injected += 1;
            snapshot(&scenario, report.injected as usize).await;
        }
    };
    let ((), seen) = watched(&scenario, snapshots).await;
    join_all(writers).await.into_iter().for_each(|written| written.unwrap());

    let begun = Instant::now();
    let rows = postgres(&scenario).await;
    until("Debezium has sent all", 120, async || {
        let journal = Journal::read(&scenario, &topic);
        (0..ROWS).all(|id| last(&journal, id) == rows.get(&id).copied())
    })
    .await;
    let group = scenario.cassandra_group();
    let (topics, end) = ([topic.as_str()], scenario.ends_sum(&[&topic]));
    until("all of it is applied", 60, async || scenario.committed_sum(&group, &topics) == end).await;
    report.recovered.push(begun.elapsed());
    report.rss_bytes_max = run.rss_bytes();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    let journal = Journal::read(&scenario, &topic);
    report.observed = snapshots_seen(&scenario, &topic);
    for id in 0..ROWS {
        let told = journal.states(&id.to_string(), "seq");
        let violation = falls(&told, &seen[&id]).map(|state| format!("row {id}: a reader saw {state:?} too late"));
        report.violations.extend(violation);
    }
    ask_every_replica(&mut scenario).await;
    assert_same("hot, by every replica", &scenario.cassandra_rows("hot").await, &scenario.postgres_rows("hot").await);
    assert_table(&scenario, "hot", &journal, "id", &["id"]).await;
    scenario.assert_no_dead_letters();
    let looks: usize = seen.values().map(Vec::len).sum();
    eprintln!("hot: {end} records, {looks} states of {ROWS} rows seen by a reader");
    assert!(looks > 5 * ROWS as usize, "the reader has hardly seen anything: {looks} states");
    report.end();
}

/// The table in both databases, its topic and its route. Returns the topic.
async fn make_places(scenario: &Scenario) -> String {
    scenario
        .sql(
            "CREATE TABLE hot (id bigint PRIMARY KEY, seq bigint NOT NULL);
             CREATE TABLE debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
             ALTER TABLE hot REPLICA IDENTITY FULL;
             ALTER PUBLICATION cdc_pub ADD TABLE hot, debezium_signal;
             GRANT SELECT, INSERT, UPDATE, DELETE ON hot TO rowferry;
             GRANT SELECT ON hot TO debezium;
             GRANT SELECT, INSERT, UPDATE, DELETE ON debezium_signal TO debezium",
        )
        .await;
    let topic = scenario.topic("public.hot");
    scenario.make_topic(&topic, 3, &[]).await;
    let notices = scenario.topic("notifications");
    // That of the signal table too, so that it is removed in the end.
    for topic in [&notices, &scenario.topic("public.debezium_signal")] {
        scenario.make_topic(topic, 1, &[]).await;
    }
    scenario.cql(&format!("CREATE TABLE {}.hot (id bigint PRIMARY KEY, seq bigint)", scenario.id)).await;
    scenario.edit_config(|text| {
        format!(
            "{text}\n[[cdcconsumer.routes]]\ntopic = \"{topic}\"\nsource_table = \"public.hot\"\ntable = \"hot\"\n\
             source_key = [\"id\"]\n"
        )
    });
    scenario.start_debezium_on("public.hot,public.debezium_signal", &format!("{SETTINGS}\"{notices}\"")).await;
    topic
}

/// Asks for a snapshot and waits until it is complete.
async fn snapshot(scenario: &Scenario, number: usize) {
    let data = r#"{"data-collections":["public.hot"],"type":"incremental"}"#;
    let signal = format!("INSERT INTO debezium_signal VALUES ('{number}', 'execute-snapshot', '{data}')");
    scenario.sql(&signal).await;
    let notices = scenario.topic("notifications");
    until(&format!("snapshot {number} is complete"), 120, async || {
        let complete = |value: &str| value.contains("Incremental Snapshot") && value.contains("\"COMPLETED\"");
        let notices = scenario.records(&notices);
        notices.iter().filter(|notice| complete(&notice.value_text())).count() >= number
    })
    .await;
}

/// Changes two rows at a time until nothing is left to do. Locks are taken in the order of ids, so that nobody waits in a circle.
async fn write(url: String, seed: u64, writer: u64, left: Arc<AtomicU64>) {
    let mut dice = Dice(seed.wrapping_add(writer).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut postgres = PgConnection::connect(&url).await.unwrap();
    let mut count = 0;
    let less = |left: u64| Some(left.saturating_sub(2));
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap() > 0 {
        let mut ids = [dice.below(ROWS), dice.below(ROWS)];
        ids.sort();
        let changes = ids.map(|id| {
            count += 1;
            // No two changes have the same one.
            let seq = count * WRITERS + writer;
            match dice.below(4) {
                0 => format!("DELETE FROM hot WHERE id = {id}"),
                1 => format!("UPDATE hot SET seq = {seq} WHERE id = {id}"),
                _ => format!("INSERT INTO hot VALUES ({id}, {seq}) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq"),
            }
        });
        let transaction = format!("BEGIN; {}; SELECT pg_sleep(0.01); {}; COMMIT", changes[0], changes[1]);
        sqlx::raw_sql(AssertSqlSafe(transaction)).execute(&mut postgres).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks at all rows every 20 ms while the work is done: what each of them was, change by change.
async fn watched<T>(scenario: &Scenario, work: impl Future<Output = T>) -> (T, BTreeMap<u64, Vec<Option<String>>>) {
    let ids: Vec<i64> = (0..ROWS as i64).collect();
    let mut seen: BTreeMap<u64, Vec<Option<String>>> = (0..ROWS).map(|id| (id, Vec::new())).collect();
    let looking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            let found = seqs(scenario, "hot", &ids).await;
            for (id, seen) in &mut seen {
                let state = found.get(&(*id as i64)).map(i64::to_string);
                if seen.last() != Some(&state) {
                    seen.push(state);
                }
            }
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = looking => unreachable!("it looks until the work is done"),
    };
    (done, seen)
}

/// The first state that a reader saw and that does not come, in what was told of the row, where he was or later. The
/// sequence of a row is its order in the topic, which is that of the commits: transactions that overlap cannot number
/// their changes in that order themselves.
fn falls<'a>(told: &[Option<String>], seen: &'a [Option<String>]) -> Option<&'a Option<String>> {
    // In the beginning it was not there.
    let told: Vec<&Option<String>> = std::iter::once(&None).chain(told).collect();
    let mut at = 0;
    seen.iter().find(|state| match told[at..].iter().position(|told| told == state) {
        Some(steps) => {
            at += steps;
            false
        }
        None => true,
    })
}

/// Snapshots that read rows while they were changed: their rows stand between changes in the topic.
fn snapshots_seen(scenario: &Scenario, topic: &str) -> u64 {
    let mut ops: BTreeMap<i32, Vec<bool>> = BTreeMap::new();
    for record in scenario.records(topic).iter().filter(|record| record.value.is_some()) {
        let value: serde_json::Value = serde_json::from_str(&record.value_text()).unwrap();
        ops.entry(record.partition).or_default().push(value["op"] == "r");
    }
    let read = ops.values().flatten().filter(|read| **read).count();
    let between = |ops: &Vec<bool>| ops.windows(2).filter(|pair| pair[0] != pair[1]).count();
    eprintln!("hot: {read} rows of snapshots, with changes before or behind them {} times", {
        ops.values().map(between).sum::<usize>()
    });
    let complete = scenario.records(&scenario.topic("notifications"));
    let complete = complete.iter().filter(|notice| notice.value_text().contains("\"COMPLETED\"")).count();
    if ops.values().map(between).sum::<usize>() >= complete { complete as u64 } else { 0 }
}

fn last(journal: &Journal, id: u64) -> Option<i64> {
    journal.states(&id.to_string(), "seq").pop().flatten().map(|seq| seq.parse().unwrap())
}

async fn postgres(scenario: &Scenario) -> BTreeMap<u64, i64> {
    let rows = sqlx::query_as::<_, (i64, i64)>("SELECT id, seq FROM hot").fetch_all(&scenario.postgres).await.unwrap();
    rows.into_iter().map(|(id, seq)| (id as u64, seq)).collect()
}

#[test]
fn a_state_that_comes_too_late_is_noticed() {
    let states = |text: &str| -> Vec<Option<String>> {
        text.chars().map(|state| (state != '-').then(|| state.to_string())).collect()
    };
    let falls = |told: &str, seen: &str| falls(&states(told), &states(seen)).cloned();
    assert_eq!(falls("ab-cd", "-abcd"), None);
    assert_eq!(falls("ab-cd", "bd"), None, "he need not see all");
    assert_eq!(falls("ab-cd", "ba"), Some(Some("a".into())), "it went back");
    assert_eq!(falls("ab-cd", "c-"), Some(None), "it went away");
    assert_eq!(falls("ab-cd", "ab-b"), Some(Some("b".into())), "it came back");
    assert_eq!(falls("ab", "x"), Some(Some("x".into())), "nobody said so");
    assert_eq!(falls("aba", "aba"), None, "a snapshot says it once more");
}
