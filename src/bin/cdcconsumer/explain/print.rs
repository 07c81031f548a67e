//! What was found of a row, as text for a person or as JSON. Pure.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use rowferry::ops::letters::mask::printable;
use rowferry::plan::write::WriteKind;
use rowferry::sink::cassandra::cells::Cell;
use rowferry::verify::report::shown;
use serde_json::{Map, Value, json};

use crate::explain::history::{Certainty, Event, Outcome, Planned, Read};

/// Everything that is known of one row.
pub struct Explained {
    pub table: String,
    pub key: Vec<(String, String)>,
    pub group_id: String,
    pub topics: Vec<TopicTold>,
    /// The row in Cassandra; `None` where there is none.
    pub row: Option<Vec<Cell>>,
    pub keyspace: String,
}

pub struct TopicTold {
    pub name: String,
    pub partitions: Vec<PartitionTold>,
    pub events: Vec<Event>,
    /// Older events that are not shown.
    pub left_out: u64,
}

pub struct PartitionTold {
    pub begin: i64,
    pub end: i64,
    /// Where the group stands; `None` when it has not read the partition.
    pub stands: Option<i64>,
    pub read: Read,
}

impl TopicTold {
    fn partition(&self, number: i32) -> Option<&PartitionTold> {
        self.partitions.iter().find(|partition| partition.read.partition == number)
    }

    fn certainty(&self, event: &Event) -> Certainty {
        let partition = self.partition(event.partition);
        partition.map_or(Certainty::Unknown, |partition| partition.read.certainty_at(event.offset))
    }

    fn is_unread(&self, event: &Event) -> bool {
        let stands = self.partition(event.partition).and_then(|partition| partition.stands);
        stands.is_none_or(|stands| event.offset >= stands)
    }
}

impl Explained {
    pub fn is_known(&self) -> bool {
        self.row.is_some() || self.topics.iter().any(|topic| !topic.events.is_empty())
    }

    /// Where the event stands that wrote a cell, if it is still there.
    fn writer(&self, timestamp: i64) -> Option<String> {
        let wrote = |write: &Planned| write.asked && write.kind == WriteKind::Upsert && write.timestamp == timestamp;
        let of_topic = |topic: &TopicTold| {
            let found = topic
                .events
                .iter()
                .find(|event| matches!(&event.outcome, Outcome::Writes(writes) if writes.iter().any(wrote)));
            found.map(|event| format!("{}:{}:{}", topic.name, event.partition, event.offset))
        };
        self.topics.iter().find_map(of_topic)
    }

    /// Lines for a person.
    pub fn text(&self) -> String {
        let mut out = format!("{} {}\n", self.table, pairs(&self.key));
        self.topics.iter().for_each(|topic| self.topic_text(topic, &mut out));
        let _ = writeln!(out, "\nCassandra, {}.{} now", self.keyspace, self.table);
        let Some(cells) = &self.row else {
            out += "  no row (Cassandra does not tell which delete it was, if it was one)\n";
            return out;
        };
        let width = cells.iter().map(|cell| cell.column.chars().count()).max().unwrap_or_default();
        for cell in cells {
            let _ = write!(out, "  {:width$}  {}", cell.column, shown(Some(&cell.value)));
            if let Some(written) = cell.written {
                let by = self.writer(written).unwrap_or_else(|| "none of the events above".into());
                let _ = write!(out, "  written @{written} ({}) by {by}", micros(written));
            }
            out.push('\n');
        }
        out
    }

    fn topic_text(&self, topic: &TopicTold, out: &mut String) {
        let _ = writeln!(out, "\nTopic {}", printable(&topic.name));
        let spoken =
            |partition: &&PartitionTold| topic.events.iter().any(|event| event.partition == partition.read.partition);
        for partition in topic.partitions.iter().filter(spoken) {
            let Read { partition: number, records, certainty, .. } = partition.read;
            let stands = partition.stands.map_or_else(|| "has not read it".into(), |at| format!("stands at {at}"));
            let _ = writeln!(
                out,
                "  partition {number}: {records} records read, offsets {} to {}; group {} {stands}\n    {}",
                partition.begin,
                partition.end,
                self.group_id,
                reason(certainty, partition)
            );
        }
        if topic.events.is_empty() {
            let records: u64 = topic.partitions.iter().map(|partition| partition.read.records).sum();
            let _ = writeln!(out, "  none of the {records} records that it still has speaks of this row");
        }
        if topic.left_out > 0 {
            let _ = writeln!(out, "  {} older events are not shown", topic.left_out);
        }
        topic.events.iter().for_each(|event| event_text(topic, event, out));
    }

    /// The same as JSON. Values are texts as a person sees them.
    pub fn json(&self) -> Value {
        let cell = |cell: &Cell| {
            json!({
                "column": cell.column, "value": shown(Some(&cell.value)), "written": cell.written,
                "written_by": cell.written.and_then(|written| self.writer(written)),
            })
        };
        json!({
            "table": self.table, "key": object(&self.key), "group_id": self.group_id,
            "topics": self.topics.iter().map(topic_json).collect::<Vec<_>>(),
            "cassandra": { "keyspace": self.keyspace, "row": self.row.as_ref().map(|cells| cells.iter().map(cell).collect::<Vec<_>>()) },
        })
    }
}

/// How well versions are known, as a line under the partition.
fn reason(certainty: Certainty, partition: &PartitionTold) -> String {
    let place = partition.read.floor.map_or_else(String::new, |floor| format!(" before {floor}"));
    match certainty {
        Certainty::Exact => "versions are exact: read from the first record to what the group has saved".into(),
        Certainty::UnlessExpired => format!(
            "versions marked ~ (offsets{place}) are exact unless a record that is gone had a later timestamp; at {} they \
             come to what the group has saved",
            partition.read.floor.unwrap_or_default()
        ),
        Certainty::AtLeast => format!(
            "versions marked ≥ (offsets{place}) are the lowest that there can have been: the group has saved a higher \
             one, so it had read other records before"
        ),
        Certainty::Unknown => "versions marked ? are not known: another tool moved the group, and they are those of a \
                               first reading"
            .into(),
    }
}

fn event_text(topic: &TopicTold, event: &Event, out: &mut String) {
    let time = event.timestamp_ms.and_then(DateTime::from_timestamp_millis);
    let time = time.map_or_else(|| "no time".into(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
    let mark = match topic.certainty(event) {
        Certainty::Exact => "",
        Certainty::UnlessExpired => "~",
        Certainty::AtLeast => "≥",
        Certainty::Unknown => "?",
    };
    let Event { partition, offset, version, op, .. } = event;
    let unread = if topic.is_unread(event) { ", not read by the group yet" } else { "" };
    let suspect = if event.suspect { ", sent before: the row's position decides" } else { "" };
    let _ = writeln!(out, "  {partition}:{offset}  {time}  {op}  version {mark}{version}{unread}{suspect}");
    match &event.outcome {
        Outcome::Writes(writes) if writes.is_empty() => out.push_str("    nothing to write here\n"),
        Outcome::Writes(writes) => writes.iter().for_each(|write| write_text(write, mark, out)),
        Outcome::Refused { class, why } => {
            let _ = writeln!(out, "    refused, {class}: {}", printable(why));
        }
        Outcome::Stops(why) => {
            let _ = writeln!(out, "    the partition stops here: {}", printable(why));
        }
    }
}

fn write_text(write: &Planned, mark: &str, out: &mut String) {
    let op = op(write.kind);
    let key = if write.asked { String::new() } else { format!(" under another key, {}", pairs(&write.key)) };
    let values = if write.values.is_empty() { String::new() } else { format!(": {}", pairs(&write.values)) };
    let _ = writeln!(out, "    {op} @{mark}{}{key}{values}", write.timestamp);
}

fn op(kind: WriteKind) -> &'static str {
    match kind {
        WriteKind::Upsert => "upsert",
        WriteKind::Delete => "delete",
    }
}

fn topic_json(topic: &TopicTold) -> Value {
    let partition = |partition: &PartitionTold| {
        json!({
            "partition": partition.read.partition, "begin": partition.begin, "end": partition.end,
            "group_stands_at": partition.stands, "records": partition.read.records,
        })
    };
    let event = |event: &Event| {
        let mut told = json!({
            "partition": event.partition, "offset": event.offset, "timestamp_ms": event.timestamp_ms, "op": event.op,
            "version": event.version, "version_is": word(topic.certainty(event)), "unread": topic.is_unread(event),
            "sent_before": event.suspect,
        });
        let (name, outcome) = match &event.outcome {
            Outcome::Writes(writes) => ("writes", writes.iter().map(write_json).collect()),
            Outcome::Refused { class, why } => ("refused", json!({ "class": class, "why": why })),
            Outcome::Stops(why) => ("stops", json!(why)),
        };
        told[name] = outcome;
        told
    };
    json!({
        "topic": topic.name, "events_left_out": topic.left_out,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "events": topic.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn write_json(write: &Planned) -> Value {
    json!({
        "op": op(write.kind), "timestamp": write.timestamp, "key": object(&write.key), "values": object(&write.values),
        "asked_key": write.asked,
    })
}

fn word(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::UnlessExpired => "exact_unless_expired",
        Certainty::AtLeast => "at_least",
        Certainty::Unknown => "unknown",
    }
}

/// `id=5, name="a"`
fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", printable(value))).collect::<Vec<_>>().join(", ")
}

fn object(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>())
}

fn micros(micros: i64) -> String {
    let instant = DateTime::from_timestamp_micros(micros);
    instant.map_or_else(|| "no time".into(), |instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use rowferry::row::Value as RowValue;

    use super::*;

    fn write(kind: WriteKind, timestamp: i64, note: Option<&str>, asked: bool) -> Planned {
        let id = if asked { "1" } else { "2" };
        let values = note.map(|note| ("note".to_string(), format!("{note:?}"))).into_iter().collect();
        Planned { kind, timestamp, key: vec![("id".into(), id.into())], values, asked }
    }

    fn explained() -> Explained {
        let event = |offset, version, op, outcome| {
            let timestamp_ms = Some(1_769_860_800_000 + offset);
            Event { partition: 3, offset, timestamp_ms, version, op, suspect: offset == 7, outcome }
        };
        let created = vec![write(WriteKind::Upsert, 1_001, Some("a"), true)];
        let moved =
            vec![write(WriteKind::Delete, 2_000, None, true), write(WriteKind::Upsert, 2_001, Some("b"), false)];
        let refused = Outcome::Refused { class: "wrong_type", why: "column \"note\"\u{1b}[2J (t → u)".into() };
        let events = vec![
            event(5, 1_000, "create", Outcome::Writes(created)),
            event(7, 2_000, "update", Outcome::Writes(moved)),
            event(8, 2_002, "unreadable", refused),
            event(9, 2_004, "tombstone", Outcome::Writes(Vec::new())),
        ];
        let read = Read { partition: 3, records: 6, floor: Some(8), certainty: Certainty::UnlessExpired };
        let partition = PartitionTold { begin: 4, end: 10, stands: Some(8), read };
        let silent = Read { partition: 0, records: 90, floor: None, certainty: Certainty::Exact };
        let silent = PartitionTold { begin: 0, end: 90, stands: None, read: silent };
        let cell = |column: &str, value, written| Cell { column: column.into(), value, written };
        Explained {
            table: "u".into(),
            key: vec![("id".into(), "1".into())],
            group_id: "g".into(),
            topics: vec![TopicTold { name: "t".into(), partitions: vec![silent, partition], events, left_out: 2 }],
            row: Some(vec![
                cell("id", RowValue::Int(1), None),
                cell("note", RowValue::Text("a".into()), Some(1_001)),
                cell("by", RowValue::Text("x".into()), Some(1_769_860_800_000_000)),
            ]),
            keyspace: "ks".into(),
        }
    }

    #[test]
    fn a_row_is_told_from_its_topic_to_its_cells() {
        insta::assert_snapshot!(explained().text(), @r#"
        u id=1

        Topic t
          partition 3: 6 records read, offsets 4 to 10; group g stands at 8
            versions marked ~ (offsets before 8) are exact unless a record that is gone had a later timestamp; at 8 they come to what the group has saved
          2 older events are not shown
          3:5  2026-01-31T12:00:00.005Z  create  version ~1000
            upsert @~1001: note="a"
          3:7  2026-01-31T12:00:00.007Z  update  version ~2000, sent before: the row's position decides
            delete @~2000
            upsert @~2001 under another key, id=2: note="b"
          3:8  2026-01-31T12:00:00.008Z  unreadable  version 2002, not read by the group yet
            refused, wrong_type: column "note"\u{1b}[2J (t → u)
          3:9  2026-01-31T12:00:00.009Z  tombstone  version 2004, not read by the group yet
            nothing to write here

        Cassandra, ks.u now
          id    1
          note  "a"  written @1001 (1970-01-01T00:00:00.001001Z) by t:3:5
          by    "x"  written @1769860800000000 (2026-01-31T12:00:00Z) by none of the events above
        "#);
        let gone = Explained { row: None, topics: Vec::new(), ..explained() };
        assert!(gone.text().contains("no row") && !gone.is_known());
    }

    #[test]
    fn the_same_is_told_as_json() {
        let json = explained().json();
        let event = &json["topics"][0]["events"][0];
        assert_eq!((&event["version_is"], &event["unread"]), (&json!("exact_unless_expired"), &json!(false)));
        assert_eq!(event["writes"][0]["values"], json!({ "note": "\"a\"" }));
        let events = json["topics"][0]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!((&events[2]["refused"]["class"], &events[3]["unread"]), (&json!("wrong_type"), &json!(true)));
        assert_eq!(json["cassandra"]["row"][1]["written_by"], json!("t:3:5"));
        assert_eq!(json["cassandra"]["row"][2]["written_by"], json!(null));
    }
}
