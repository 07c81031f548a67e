//! Fault 11: changes that come three times and shuffled, and single ones that come once more when they are long past.
//!
//! Shuffled are the changes of different rows. Those of one row keep their order, and a delete its tombstone: Debezium
//! sends them so, with one key in one partition, and Kafka keeps a partition's order. Nothing downstream can put that
//! right for records without positions, so it is promised by them and not by us (V3).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::journal::{Journal, assert_table};
use crate::load::Dice;
use crate::poller::{seqs, watched};
use crate::replicas::ask_every_replica;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

const ROWS: u64 = 20;
const PARTITIONS: u64 = 3;
const CHANGES: usize = 300;
const COPIES: usize = 3;
/// So far a change may move from its place.
const SHUFFLED_WITHIN: u64 = 20;
const LATE: usize = 60;

/// 25 s. Both tables follow one topic; the guarded one has to keep to the source whatever comes again.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_come_three_times_shuffled_and_late_once_more_end_as_the_source_says() {
    let _turn = turn().await;
    let mut scenario = Scenario::new("chaos_again").await;
    let mut report = Report::new(11, "changes three times, shuffled, and late once more", seed());
    let topic = make_places(&scenario).await;
    let mut source = Source { dice: Dice(report.seed | 1), rows: BTreeMap::new(), sent: Vec::new() };
    let run = scenario.cdcconsumer().set("limits.batch_records_max=20").start();
    let ids: Vec<i64> = (0..ROWS as i64).collect();
    let group = scenario.cassandra_group();
    let applied = async || {
        let end = scenario.ends_sum(&[&topic]);
        until("all is applied", 60, async || scenario.committed_sum(&group, &[&topic]) == end).await;
    };
    for round in 1..=times(1, 3) {
        let changes = source.go_on(CHANGES);
        let shuffled = shuffle(&mut source.dice, &changes);
        let sent = async {
            scenario.produce_all(&topic, &records(&shuffled)).await;
            applied().await;
        };
        let ((), [hot, plain]) = watched(&scenario, ["hot", "plain"], &ids, sent).await;
        for (table, seen) in [("hot", &hot), ("plain", &plain)] {
            report.violations.extend(seen.first.as_ref().map(|told| format!("round {round}, {table}: {told}")));
            assert_eq!(seqs(&scenario, table, &ids).await, source.rows, "round {round}: {table} is not the source");
        }

        let late: Vec<Change> = (0..LATE).map(|_| source.any()).collect();
        report.injected += 1;
        let sent = async {
            scenario.produce_all(&topic, &records(&late)).await;
            applied().await;
        };
        let ((), [hot, plain]) = watched(&scenario, ["hot", "plain"], &ids, sent).await;
        report.violations.extend(hot.first.map(|told| format!("round {round}, late, hot: {told}")));
        let is_plain_behind = seqs(&scenario, "plain", &ids).await != source.rows;
        report.observed += u64::from(plain.stale > 0 || is_plain_behind);
        report.redelivered += ((COPIES - 1) * CHANGES + LATE) as u64;
    }
    report.rss_bytes_max = run.rss_bytes();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert!(!run.log().contains("source_history_changed"), "a repetition was taken for another history");

    ask_every_replica(&mut scenario).await;
    assert_eq!(seqs(&scenario, "hot", &ids).await, source.rows, "hot, by every replica");
    // The plain one is what its topic says, and so behind the source until the late rows change again.
    assert_table(&scenario, "plain", &Journal::read(&scenario, &topic), "id", &["id"]).await;
    scenario.assert_no_dead_letters();
    report.end();
}

async fn make_places(scenario: &Scenario) -> String {
    let topic = scenario.topic("hot");
    scenario.make_topic(&topic, PARTITIONS as i32, &[]).await;
    let id = &scenario.id;
    for table in [
        "plain (id bigint PRIMARY KEY, seq bigint)",
        "hot (id bigint PRIMARY KEY, seq bigint, position blob)",
        "hot_deletes (id bigint PRIMARY KEY, position blob)",
    ] {
        scenario.cql(&format!("CREATE TABLE {id}.{table}")).await;
    }
    let route = |table: &str, guard: &str| {
        format!(
            "\n[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = \"{table}\"\nsource_key = [\"id\"]\n\
             types = {{ id = \"bigint\", seq = \"bigint\" }}\n{guard}"
        )
    };
    let guard = "rewind_guard = { column = \"position\", deletes_table = \"hot_deletes\", deletes_ttl = \"1h\" }\n";
    scenario.edit_config(|text| format!("{text}{}{}", route("hot", guard), route("plain", "")));
    topic
}

/// A change of the source and its number, by which everything about it is known.
#[derive(Debug, Clone)]
struct Change {
    number: i64,
    id: u64,
    is_delete: bool,
}

/// Rows that change, and all changes that were made.
struct Source {
    dice: Dice,
    rows: BTreeMap<i64, i64>,
    sent: Vec<Change>,
}

impl Source {
    fn go_on(&mut self, changes: usize) -> Vec<Change> {
        let from = self.sent.len();
        for number in (from as i64 + 1..).take(changes) {
            let id = self.dice.below(ROWS);
            let is_delete = self.rows.contains_key(&(id as i64)) && self.dice.below(6) == 0;
            if is_delete {
                self.rows.remove(&(id as i64));
            } else {
                self.rows.insert(id as i64, number);
            }
            self.sent.push(Change { number, id, is_delete });
        }
        self.sent[from..].to_vec()
    }

    fn any(&mut self) -> Change {
        self.sent[self.dice.below(self.sent.len() as u64) as usize].clone()
    }
}

/// Each of them three times, moved between those of other rows.
fn shuffle(dice: &mut Dice, changes: &[Change]) -> Vec<Change> {
    let copies = changes.iter().flat_map(|change| std::iter::repeat_n(change, COPIES));
    let mut placed: Vec<(u64, &Change)> =
        copies.zip(0_u64..).map(|(change, at)| (at + dice.below(SHUFFLED_WITHIN), change)).collect();
    placed.sort_by_key(|(place, _)| *place);
    // The places of a row are where its changes fell; they are taken in the order of the changes.
    let mut of_row: BTreeMap<u64, std::vec::IntoIter<&Change>> = BTreeMap::new();
    for id in 0..ROWS {
        let mut changes: Vec<&Change> = placed.iter().map(|(_, change)| *change).filter(|it| it.id == id).collect();
        changes.sort_by_key(|change| change.number);
        of_row.insert(id, changes.into_iter());
    }
    placed.iter().filter_map(|(_, change)| of_row.get_mut(&change.id)?.next()).cloned().collect()
}

fn records(changes: &[Change]) -> Vec<Raw> {
    changes.iter().flat_map(record).collect()
}

/// As Debezium sends it; a delete with its tombstone.
fn record(change: &Change) -> Vec<Raw> {
    let Change { number, id, is_delete } = change;
    let lsn = 10_000 + 10 * number;
    let row = json!({ "id": id, "seq": number });
    let (op, before, after) = if *is_delete { ("d", row, Value::Null) } else { ("u", Value::Null, row) };
    let value = json!({
        "before": before, "after": after,
        "source": {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "chaos", "ts_ms": 1_735_689_600_000 + number,
            "snapshot": "false", "db": "chaos", "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 5), "schema": "public",
            "ts_us": (1_735_689_600_000 + number) * 1_000, "table": "hot", "txId": 700 + number, "lsn": lsn,
            "xmin": null,
        },
        "transaction": null, "op": op, "ts_ms": 1_735_689_600_001_i64,
    });
    let key = json!({ "id": id }).to_string();
    let partition = (id % PARTITIONS) as i32;
    let tombstone = is_delete.then(|| Raw::tombstone(&key).to(partition));
    [Raw::new(&key, value.to_string()).to(partition)].into_iter().chain(tombstone).collect()
}

#[test]
fn changes_are_shuffled_between_rows_and_not_within_one() {
    let changes: Vec<Change> =
        (0..100).map(|number| Change { number, id: number as u64 % 4, is_delete: false }).collect();
    let shuffled = shuffle(&mut Dice(7), &changes);
    assert_eq!(shuffled.len(), COPIES * changes.len());
    assert!(shuffled.windows(2).any(|pair| pair[0].number > pair[1].number), "nothing was moved");
    for id in 0..4 {
        let of_row: Vec<i64> = shuffled.iter().filter(|change| change.id == id).map(|change| change.number).collect();
        assert!(of_row.is_sorted(), "row {id}: {of_row:?}");
    }
}
