//! The rewind guard against a real connector: its worker is killed again and again under load, and comes back to send
//! the end of its stream once more. One route is guarded and one is not, so that both meet the same repetitions.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::connect::Connect;
use crate::guard::{make_deletes_table, make_tables, routes};
use crate::load::Dice;
use crate::poller::{seqs, watched};
use crate::process::Started;
use crate::stack::{Scenario, until};

/// Kills in a run of all tests. `E2E_KILLS=10` measures: what `docs/operations.md` says was measured so.
const KILLS: usize = 2;
/// Rows that change all the time; those above mark that the connector has caught up.
const HOT_ROWS: i64 = 20;
const MARKERS_FROM: i64 = 1_000;
const CHANGE_INTERVAL: Duration = Duration::from_millis(5);
/// So long after a flush a worker is killed: the next flush, five seconds later, would leave little to repeat.
const LIFE_MS_MIN: u64 = 2_000;
const LIFE_MS_MAX: u64 = 4_000;

/// 90 s with two kills, 150 s where others keep the cores busy.
#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_guarded_table_never_see_a_killed_connector() {
    let scenario = Scenario::new("guard_kills").await;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("E2E_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    let kills = number("E2E_KILLS").map_or(KILLS, |kills| kills as usize);
    eprintln!("guard_kills: {kills} kills, seed {seed} (E2E_SEED={seed} draws the same again)");
    let topic = make_places(&scenario).await;
    // Connect flushes positions every five seconds: a killed worker repeats what it has sent since.
    let settings = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "2000")];
    let connect = Connect::new(&scenario, &settings);
    let mut worker = connect.start().await;
    connect.start_debezium_on("public.hot").await;
    // Small batches, so that a repetition goes by slowly enough to be seen.
    let batch = std::env::var("E2E_BATCH").unwrap_or_else(|_| "20".into());
    let run = scenario.cdcconsumer().set(&format!("limits.batch_records_max={batch}")).start();
    let ids: Vec<i64> = (0..HOT_ROWS).collect();
    let over = AtomicBool::new(false);
    let killing = async {
        let mut dice = Dice(!seed | 1);
        let offsets = scenario.topic("connect.offsets");
        for life in 1..=kills {
            until_caught_up(&scenario, life, &run).await;
            // Without a position of its stream it would begin with the snapshot, and repeat nothing.
            let flushed = sent(&scenario, &offsets);
            until("a position is flushed", 60, async || sent(&scenario, &offsets) > flushed).await;
            let life_ms = LIFE_MS_MIN + dice.below(LIFE_MS_MAX - LIFE_MS_MIN);
            tokio::time::sleep(Duration::from_millis(life_ms)).await;
            let sent = sent(&scenario, &topic);
            worker.signal("KILL");
            worker.ended(10).await;
            eprintln!("life {life}: killed after {life_ms} ms with {sent} records sent");
            worker = connect.start().await;
        }
        until_caught_up(&scenario, kills + 1, &run).await;
        over.store(true, Ordering::Relaxed);
    };
    let work = async { tokio::join!(change_rows(&scenario, seed, &over), killing).0 };
    let (changes, [guarded, plain]) = watched(&scenario, ["hot", "plain"], &ids, work).await;

    until_caught_up(&scenario, kills + 2, &run).await;
    let expected: BTreeMap<i64, i64> = postgres(&scenario).await.into_iter().filter(|(id, _)| *id < HOT_ROWS).collect();
    for table in ["hot", "plain"] {
        assert_eq!(seqs(&scenario, table, &ids).await, expected, "{table} is not what the source is");
    }
    // The counts stand in the status line, which comes every ten seconds.
    let before = run.log().matches("sent_again=").count();
    until("there is another status line", 30, async || run.log().matches("sent_again=").count() > before).await;
    let repeated = repeated(&scenario, &topic);
    eprintln!(
        "{kills} kills, {changes} changes, {repeated} records sent again; guarded: {} stale of {} looks, {} writes \
         dropped, {} rows read; plain: {} stale of {} looks",
        guarded.stale,
        guarded.reads,
        counted(&run, "sent_again"),
        counted(&run, "guard_reads"),
        plain.stale,
        plain.reads
    );
    assert_eq!(guarded.stale, 0, "{:?}", guarded.first);
    assert!(plain.stale > 0, "without the guard nothing was seen: this proves nothing");
    assert!(!run.log().contains("source_history_changed"), "a repetition was taken for another history");
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.assert_no_dead_letters();
}

/// The source's table, its topic, and both targets with their routes. Returns the topic.
async fn make_places(scenario: &Scenario) -> String {
    scenario.sql("CREATE TABLE hot (id bigint PRIMARY KEY, seq bigint NOT NULL)").await;
    scenario.sql("ALTER TABLE hot REPLICA IDENTITY FULL; ALTER PUBLICATION cdc_pub ADD TABLE hot").await;
    scenario.sql("GRANT SELECT ON hot TO debezium").await;
    let topic = scenario.topic("public.hot");
    scenario.make_topic(&topic, 3, &[]).await;
    make_tables(scenario).await;
    make_deletes_table(scenario).await;
    scenario.edit_config(|text| format!("{text}{}", routes(&topic, "")));
    topic
}

/// Changes rows until it is over: one in ten changes is a delete. Returns how many changes were made.
async fn change_rows(scenario: &Scenario, seed: u64, over: &AtomicBool) -> i64 {
    let mut dice = Dice(seed | 1);
    let mut interval = tokio::time::interval(CHANGE_INTERVAL);
    let upsert = "INSERT INTO hot VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq";
    let mut changes = 0;
    for seq in 1_i64.. {
        interval.tick().await;
        if over.load(Ordering::Relaxed) {
            return changes;
        }
        let id = dice.below(HOT_ROWS as u64) as i64;
        let change = match dice.below(10) {
            0 => sqlx::query("DELETE FROM hot WHERE id = $1").bind(id),
            _ => sqlx::query(upsert).bind(id).bind(seq),
        };
        changes += change.execute(&scenario.postgres).await.unwrap().rows_affected() as i64;
    }
    unreachable!("the numbers do not end")
}

/// Waits until rows that are written now are in both tables: behind them in the stream is all that came before. There
/// are so many that every partition has some.
async fn until_caught_up(scenario: &Scenario, life: usize, run: &Started) {
    let first = MARKERS_FROM + 20 * life as i64;
    let ids: Vec<i64> = (first..first + 20).collect();
    scenario.sql(&format!("INSERT INTO hot SELECT id, 1 FROM generate_series({first}, {}) id", first + 19)).await;
    until(&format!("what is written in life {life} has arrived"), 180, async || {
        assert!(run.is_running(), "cdcconsumer has ended");
        seqs(scenario, "hot", &ids).await.len() == 20 && seqs(scenario, "plain", &ids).await.len() == 20
    })
    .await;
}

async fn postgres(scenario: &Scenario) -> BTreeMap<i64, i64> {
    let rows = sqlx::query_as::<_, (i64, i64)>("SELECT id, seq FROM hot").fetch_all(&scenario.postgres).await.unwrap();
    rows.into_iter().collect()
}

fn sent(scenario: &Scenario, topic: &str) -> i64 {
    scenario.ends(topic).iter().map(|(_, end)| end).sum()
}

/// Changes that stand in the topic once more, by their place in the source's log.
fn repeated(scenario: &Scenario, topic: &str) -> usize {
    let records = scenario.records(topic);
    let places = records.iter().filter_map(|record| {
        let value: Value = serde_json::from_slice(record.value.as_deref()?).unwrap();
        Some((record.key.clone(), value["source"]["lsn"].as_i64(), value["op"].to_string()))
    });
    let places: Vec<_> = places.collect();
    places.len() - places.iter().collect::<BTreeSet<_>>().len()
}

/// A count in the last status line that has it.
fn counted(run: &Started, name: &str) -> u64 {
    let log = run.log();
    let Some(at) = log.rfind(&format!("{name}=")) else { return 0 };
    let digits: String = log[at + name.len() + 1..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}
