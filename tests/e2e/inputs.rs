//! What bad input gets: a dead letter with all that it came with and says why, while its neighbours are applied.
//!
//! Each test lays good and bad records alternately into one partition, so that every bad one has both neighbours, and
//! reads the letters, the tables, the log and the committed offsets. Every value carries a [`CANARY`], good ones too.

pub mod events;
mod envelopes;
mod transactions;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::process::Started;
use crate::stack::Scenario;
use crate::topics::{Raw, Stored};

/// Stands in every payload, and must appear nowhere but in a letter's key, value and original headers.
pub const CANARY: &str = "zqcanary";
/// The same for numbers.
pub const CANARY_NUMBER: &str = "98765432198765";
/// Every id has it (changes.rs).
const CANARY_ID: &str = "-4000-8000-";

/// A bad record, and what its letter must say.
pub struct Case {
    pub raw: Raw,
    pub class: &'static str,
    /// Part of the text.
    pub says: &'static str,
    /// The table whose route refuses it. Empty when the record is refused before any route: then all are named.
    pub table: &'static str,
}

impl Case {
    pub fn new(raw: Raw, class: &'static str, says: &'static str) -> Case {
        Case { raw, class, says, table: "" }
    }

    pub fn at(mut self, table: &'static str) -> Case {
        self.table = table;
        self
    }
}

/// Good, bad, good, bad, …, good in partition 0, with headers and one millisecond apart. Returns the records.
pub async fn produce_between(scenario: &Scenario, topic: &str, good: impl Fn(u64) -> Raw, cases: &[Case]) -> Vec<Raw> {
    // Of now: retention counts from a record's timestamp.
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - 60_000;
    let mut records = vec![good(0)];
    for (at, case) in (1..).zip(cases) {
        records.extend([case.raw.clone(), good(at)]);
    }
    for (record, timestamp_ms) in records.iter_mut().zip(start..) {
        *record = std::mem::take(record).to(0).at(timestamp_ms).header("schema-version", "1");
        record.headers.push(("trace".into(), Some(vec![0xff, 0, 1])));
        record.headers.push(("flag".into(), None));
        record.headers.push(("trace".into(), Some(CANARY.into())));
    }
    let places = scenario.produce_all(topic, &records).await;
    let expected: Vec<(i32, i64)> = (0..records.len() as i64).map(|offset| (0, offset)).collect();
    assert_eq!(places, expected, "the topic was empty, and nothing was reordered");
    records
}

/// Asserts that exactly these records of the topic have a letter, one each, with all that it has to carry. `records`
/// is what [`produce_between`] laid down for `cases`.
pub fn assert_letters(letters: &[Stored], topic: &str, tables: &str, records: &[Raw], cases: &[Case], versions: bool) {
    let mut of_topic: Vec<&Stored> = letters.iter().filter(|letter| letter.origin().0 == topic).collect();
    of_topic.sort_by_key(|letter| letter.origin());
    let found: Vec<i64> = of_topic.iter().map(|letter| letter.origin().2).collect();
    let expected: Vec<i64> = (0..cases.len() as i64).map(|at| 2 * at + 1).collect();
    assert_eq!(found, expected, "the offsets in {topic} that have a letter");
    for ((letter, case), at) in of_topic.into_iter().zip(cases).zip(0..) {
        let raw = &records[2 * at + 1];
        assert_letter(letter, topic, tables, raw, case, versions);
    }
}

fn assert_letter(letter: &Stored, topic: &str, tables: &str, raw: &Raw, case: &Case, versions: bool) {
    let offset = letter.origin().2;
    let told = |name: &str| letter.header(name).unwrap_or_else(|| panic!("no {name} for offset {offset}"));
    let what = format!("offset {offset} of {topic}: {}: {}", letter.reason(), told("rowferry.text"));
    assert_eq!(letter.reason(), case.class, "{what}");
    assert!(told("rowferry.text").contains(case.says), "{what}; expected: {}", case.says);
    assert!(told("rowferry.text").len() < 300, "{what}");
    let table = if case.table.is_empty() { tables } else { case.table };
    assert_eq!(told("rowferry.route"), format!("{topic} → {table}"), "{what}");
    assert_eq!(letter.origin(), (topic.into(), 0, offset));
    let timestamp_ms = raw.timestamp_ms.unwrap();
    assert_eq!(told("rowferry.timestamp"), timestamp_ms.to_string(), "{what}");

    // Not with assert_eq, which would print ten megabytes.
    assert!(letter.key == raw.key, "the key of {what}");
    assert!(letter.value == raw.value, "the value of {what}");
    let (original, ours) = letter.headers.split_at(raw.headers.len().min(letter.headers.len()));
    assert_eq!(original, raw.headers, "the original headers of {what}");
    let mut names = vec!["reason", "text", "route", "topic", "partition", "offset", "timestamp"];
    if versions {
        names.push("version");
        assert_eq!(told("rowferry.version"), (1000 * timestamp_ms).to_string(), "{what}");
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("rowferry.{name}")).collect();
    assert_eq!(ours.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names, "{what}");
    for (name, value) in ours {
        assert_holds_no_payload(name, &String::from_utf8_lossy(value.as_deref().unwrap_or_default()));
    }
}

/// Asserts that what it logged and printed quotes no record, and tells of no panic.
pub fn assert_log_is_clean(started: &Started) {
    let log = started.log() + &started.out();
    assert_holds_no_payload(&format!("the log of {}", started.name), &log);
    assert!(!log.contains("panicked"), "{} panicked", started.name);
    assert!(!log.contains("ERROR"), "{} logged an error", started.name);
}

pub fn assert_holds_no_payload(what: &str, text: &str) {
    for canary in [CANARY, CANARY_NUMBER, CANARY_ID] {
        let line = text.lines().find(|line| line.contains(canary)).unwrap_or_default();
        assert!(line.is_empty(), "{what} quotes a record: {}", &line[..line.len().min(300)]);
    }
}

/// `{"extra":[[[…]]]}` in front of the first member: 10,000 levels that no column asks for.
pub fn nested(json: &str) -> String {
    let deep = format!(r#"{{"extra":{}"{CANARY}"{},"#, "[".repeat(10_000), "]".repeat(10_000));
    json.replacen('{', &deep, 1)
}

/// Ten megabytes (decimal ones, as the topic takes them) of text.
pub fn ten_megabytes() -> String {
    CANARY.repeat(10_000_000 / CANARY.len())
}
