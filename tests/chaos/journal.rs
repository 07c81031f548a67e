//! What the change topics say, read by another client: for every row its changes with their offsets and with the
//! versions that rule V1 gives them. It is what the auditor and the end of a run hold the tables against, and none of
//! it passes through code of ours.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rows::{Row, Rows, assert_same, debezium_row};
use crate::stack::Scenario;
use crate::topics::{Commits, Stored};

/// 2100-01-01: V1 takes nothing later for a time.
const TIMESTAMP_MAX_MS: i64 = 4_102_444_800_000;

const TOPICS: [&str; 2] = ["public.users", "public.orders"];
/// Table, topic, the column of the id, key columns.
const TABLES: [(&str, &str, &str, &[&str]); 3] = [
    ("users", "public.users", "id", &["id"]),
    ("orders", "public.orders", "order_id", &["order_id"]),
    ("orders_by_user", "public.orders", "order_id", &["user_id", "order_id"]),
];

/// Looks for changes that are committed and in no table, and reads of the topics only what came since it last looked.
#[derive(Default)]
pub struct Auditor {
    journals: BTreeMap<&'static str, Journal>,
}

impl Auditor {
    pub async fn audit(&mut self, scenario: &Scenario, committed: &Commits) -> Audit {
        let mut audit = Audit::default();
        for topic in TOPICS {
            self.journals.entry(topic).or_default().read_on(scenario, &scenario.topic(topic), |_, _| false);
        }
        for (table, topic, id, _) in TABLES {
            let found = scenario.cassandra_rows(table).await;
            self.journals[topic].audit(&scenario.topic(topic), table, id, &found, committed, &mut audit);
        }
        audit
    }
}

/// Asserts that what the topics say is in the tables, write time by write time.
pub async fn assert_tables(scenario: &Scenario) {
    let read = |topic| (topic, Journal::read(scenario, &scenario.topic(topic)));
    let journals = BTreeMap::from(TOPICS.map(read));
    for (table, topic, id, keys) in TABLES {
        assert_table(scenario, table, &journals[topic], id, keys).await;
    }
}

/// Asserts that a table holds what its topic says, write time by write time.
pub async fn assert_table(scenario: &Scenario, table: &str, journal: &Journal, id: &str, keys: &[&str]) {
    assert_same(table, &scenario.writetimes(&scenario.id, table).await, &journal.expected(id, keys));
}

/// One of a row's changes.
#[derive(Debug, Clone)]
struct Change {
    partition: i32,
    offset: i64,
    version: i64,
    /// `None` when it is a delete or a tombstone.
    image: Option<Row>,
}

/// The changes of every row of one topic, by the row's id, in the order of offsets.
#[derive(Debug, Default)]
pub struct Journal {
    rows: BTreeMap<String, Vec<Change>>,
    /// For each partition the offset to read on from, and the version of the record before it.
    read: BTreeMap<i32, (i64, i64)>,
}

/// What a kill left behind, as the auditor found it.
#[derive(Debug, Default)]
pub struct Audit {
    /// Broken promises, in words.
    pub violations: Vec<String>,
    /// Changes that are in the tables and not committed: they are delivered again.
    pub beyond: u64,
}

impl Journal {
    pub fn read(scenario: &Scenario, topic: &str) -> Journal {
        Journal::read_without(scenario, topic, |_, _| false)
    }

    /// What is refused is no change, and has its version all the same.
    pub fn read_without(scenario: &Scenario, topic: &str, is_refused: impl Fn(i32, i64) -> bool) -> Journal {
        let mut journal = Journal::default();
        journal.read_on(scenario, topic, is_refused);
        journal
    }

    /// Reads what has come since.
    fn read_on(&mut self, scenario: &Scenario, topic: &str, is_refused: impl Fn(i32, i64) -> bool) {
        let from = |partition| self.read.get(&partition).map_or(0, |(next_offset, _)| *next_offset);
        for record in scenario.records_from(topic, from) {
            let (next_offset, last) = self.read.entry(record.partition).or_default();
            let timestamp_ms = record.timestamp_ms.filter(|ms| (0..=TIMESTAMP_MAX_MS).contains(ms)).unwrap_or(0);
            *last = (1000 * timestamp_ms).max(*last + 2);
            *next_offset = record.offset + 1;
            if is_refused(record.partition, record.offset) {
                continue;
            }
            let Some((id, image)) = row_of(&record) else { continue };
            let change = Change { partition: record.partition, offset: record.offset, version: *last, image };
            self.rows.entry(id).or_default().push(change);
        }
    }

    /// The table at its end, with the write times of its cells.
    fn expected(&self, id: &str, keys: &[&str]) -> Rows {
        let rows = self.rows.values().filter_map(|changes| {
            let Change { version, image, .. } = changes.last()?;
            let mut row = image.clone()?;
            let key = row.remove("id");
            row.extend(key.map(|key| (id.to_string(), key)));
            let cells: Vec<(String, bool)> = row.iter().map(|(name, value)| (name.clone(), value.is_some())).collect();
            for (name, is_there) in cells.into_iter().filter(|(name, _)| !keys.contains(&name.as_str())) {
                row.insert(format!("writetime({name})"), is_there.then(|| (version + 1).to_string()));
            }
            Some(row)
        });
        let mut rows: Rows = rows.collect();
        rows.sort();
        rows
    }

    /// What the row of this id was, change by change, as its column says; `None` where it is not there.
    pub fn states(&self, id: &str, column: &str) -> Vec<Option<String>> {
        let changes = self.rows.get(id).map_or(&[][..], Vec::as_slice);
        changes.iter().map(|change| change.image.as_ref().and_then(|image| image[column].clone())).collect()
    }

    /// I7: whatever is below the committed offsets is in the table, or something later of the same row is.
    fn audit(&self, topic: &str, table: &str, id: &str, found: &Rows, committed: &Commits, audit: &mut Audit) {
        let mut places: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
        for row in found {
            let mut image: Row = row.iter().filter(|(name, _)| !name.contains('(')).map(owned).collect();
            let key = image.remove(id);
            image.extend(key.map(|key| ("id".to_string(), key)));
            places.entry(row[id].as_deref().unwrap()).or_default().push(image);
        }
        for (key, changes) in &self.rows {
            let below = |change: &Change| {
                let at = committed.get(&(topic.to_string(), change.partition));
                change.offset < at.map_or(0, |commit| commit.next_offset)
            };
            let done = changes.iter().rposition(below);
            let open = &changes[done.unwrap_or_default()..];
            let found = places.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let reached = found.iter().filter_map(|row| changes.iter().rposition(|it| it.image.as_ref() == Some(row)));
            let count = |at: Option<usize>| at.map_or(0, |at| at as u64 + 1);
            audit.beyond += count(reached.max()).saturating_sub(count(done));
            if done.is_none() {
                continue;
            }
            if let Some(row) = found.iter().find(|row| !open.iter().any(|change| change.image.as_ref() == Some(row))) {
                audit.violations.push(format!("{table}: {row:?} is behind what is committed"));
            }
            // Of a row that is moving the old place may be gone, and the new one not be there.
            let may_be_gone =
                open.iter().any(|change| change.image.is_none()) || (table.contains("_by_") && open.len() > 1);
            if found.is_empty() && !may_be_gone {
                audit.violations.push(format!("{table}: {key} is committed and missing"));
            }
        }
    }
}

fn owned((name, value): (&String, &Option<String>)) -> (String, Option<String>) {
    (name.clone(), value.clone())
}

/// The row that a record speaks of; `None` for one that is no change.
fn row_of(record: &Stored) -> Option<(String, Option<Row>)> {
    let key: Value = serde_json::from_slice(record.key.as_deref()?).ok()?;
    let id = match &key["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    let Some(value) = &record.value else { return Some((id, None)) };
    let value: Value = serde_json::from_slice(value).ok()?;
    Some((id, value["after"].is_object().then(|| debezium_row(&value["after"]))))
}

#[test]
fn the_auditor_sees_what_is_missing_and_what_is_behind() {
    use crate::topics::Commit;

    let row = |name: &str| Row::from([("id".into(), Some("7".into())), ("name".into(), Some(name.into()))]);
    let change = |offset, image| Change { partition: 0, offset, version: 2 * offset, image };
    let changes =
        vec![change(0, Some(row("a"))), change(1, Some(row("b"))), change(2, None), change(3, Some(row("c")))];
    let journal = Journal { rows: [("7".to_string(), changes)].into(), ..Journal::default() };
    let audit = |next_offset: i64, found: &[Row]| {
        let committed = Commits::from([(("t".into(), 0), Commit { next_offset, metadata: String::new() })]);
        let mut audit = Audit::default();
        journal.audit("t", "users", "id", &found.to_vec(), &committed, &mut audit);
        (audit.violations.len(), audit.beyond)
    };
    assert_eq!(audit(0, &[]), (0, 0), "nothing is promised yet");
    assert_eq!(audit(1, &[]), (0, 0), "a later delete may have come");
    assert_eq!(audit(4, &[]), (1, 0), "it is missing");
    assert_eq!(audit(2, &[row("a")]), (1, 0), "it is behind");
    assert_eq!(audit(3, &[row("b")]), (1, 0), "it was deleted");
    assert_eq!(audit(2, &[row("c")]), (0, 2), "two are there and not committed");
    assert_eq!(audit(4, &[row("c")]), (0, 0));
}
