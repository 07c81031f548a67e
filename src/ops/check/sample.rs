//! What the newest records of a partition look like to the decoder and the plan that a run uses.

use std::sync::Arc;

use chrono::DateTime;

use super::{Finding, Severity};
use crate::change::{Change, Decoded, Op};
use crate::format::Decoder;
use crate::plan::route::Routes;
use crate::plan::write::Versioned;
use crate::plan::{Draft, Pushed};
use crate::record::{Record, TopicPartition};
use crate::row::wire::Wire;

/// What a partition's newest records are.
#[derive(Debug, Default)]
pub struct Seen {
    /// The newest one: `[0] offset 41 of 2026-01-31T12:00:00Z, an update`.
    pub newest: String,
    /// How their schema block says that the fields of the topic stand on the wire.
    pub wires: Option<Vec<Option<Wire>>>,
    pub findings: Vec<Finding>,
}

/// Looks at records of one partition, in offset order. Those below `committed` are done, and need not be planned.
pub fn look(routes: &Arc<Routes>, records: &[Record], committed: Option<i64>, record_bytes_max: usize) -> Seen {
    let mut seen = Seen::default();
    let Some(first) = records.first() else { return seen };
    let id = first.topic_partition();
    let Some(topic) = routes.topic(&id.topic) else { return seen };
    let mut decoder = Decoder::new(&topic.shape, record_bytes_max);
    let mut draft = Draft::new(routes.clone(), id.clone(), first.offset);
    let mut planned = Vec::new();
    let (mut placed, mut unplaced) = (0, 0);
    for record in records {
        let decoded = decoder.decode(record);
        if let Decoded::Change(Change { op: Op::Create | Op::Update | Op::Delete, origin, .. }) = &decoded {
            if origin.is_some() { placed += 1 } else { unplaced += 1 }
        }
        seen.newest = newest(record, &decoded);
        if let Some(wires) = decoder.take_wires() {
            seen.hear(routes.check_wires(&id.topic, &wires), &id);
            seen.wires = Some(wires);
        }
        if committed.is_some_and(|committed| record.offset < committed) {
            continue;
        }
        let versioned = Versioned::new(record.clone(), 2);
        if let Pushed::Stop(why) = draft.push(versioned, |_| decoded) {
            seen.find(
                Severity::StoppedPartition,
                format!("{id} would stop in front of offset {}: {why}", record.offset),
            );
            break;
        }
        planned.push(record.offset);
    }
    if topic.shape.positions && unplaced > 0 && placed == 0 {
        let text = format!(
            "{id}: its newest records do not say where in the source's log they stand (source.lsn), and `rewind_guard` \
             can do nothing for them: only Debezium's connector for PostgreSQL says it; remove `rewind_guard` from the \
             routes of this topic"
        );
        seen.find(Severity::Warning, text);
    }
    decoder.take_notices().into_iter().for_each(|notice| seen.find(Severity::Warning, notice));
    let rejects = draft.take().rejects;
    if let Some(first) = rejects.first() {
        let text = format!(
            "{} of the {} newest unread records of {id} would go to the dead-letter topic, as that at offset {}: {}: {}",
            rejects.len(),
            planned.len(),
            planned[first.record],
            first.reject.class.as_str(),
            first.reject.text
        );
        seen.find(Severity::Warning, text);
    }
    seen
}

impl Seen {
    fn find(&mut self, severity: Severity, text: String) {
        self.findings.push(Finding { severity, text });
    }

    fn hear(&mut self, told: Result<Vec<String>, String>, id: &TopicPartition) {
        match told {
            Ok(notices) => notices.into_iter().for_each(|notice| self.find(Severity::Warning, notice)),
            Err(why) => self.find(Severity::StoppedPartition, format!("{id} would stop: {why}")),
        }
    }
}

fn newest(record: &Record, decoded: &Decoded) -> String {
    let what = match decoded {
        Decoded::Change(change) => match change.op {
            Op::Read => "a row of a snapshot",
            Op::Create => "an insert",
            Op::Update => "an update",
            Op::Delete => "a delete",
        },
        Decoded::Tombstone(_) => "a tombstone",
        Decoded::Truncate => "a truncate",
        Decoded::Message => "a message",
        Decoded::Heartbeat => "a heartbeat",
        Decoded::Transaction => "a transaction's begin or end",
        Decoded::SchemaChange => "a schema change",
        Decoded::Signal => "a signal",
        Decoded::Stop(_) => "a record that stops its partition",
        Decoded::Reject(_) => "a record that is refused",
    };
    let at = record.timestamp_ms.and_then(DateTime::from_timestamp_millis);
    let at = at.map_or_else(String::new, |at| format!(" of {}", at.format("%Y-%m-%dT%H:%M:%SZ")));
    format!("[{}] offset {}{at}, {what}", record.partition, record.offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::route::{RouteSpec, TargetTable};
    use crate::row::{Column, Kind};

    fn seen(values: &[Option<&str>], committed: Option<i64>) -> Seen {
        seen_by(values, committed, false)
    }

    fn seen_by(values: &[Option<&str>], committed: Option<i64>, guarded: bool) -> Seen {
        let columns = vec![Column { name: "id".into(), kind: Kind::Int8 }];
        let table = TargetTable { name: "a".into(), columns, key: vec!["id".into()] };
        let spec = RouteSpec::new("t", "a", &["id"]).typed(&[("id", "smallint")]);
        let mut routes = Routes::resolve(&[spec], &BTreeMap::from([("a".to_string(), table)])).expect("a route");
        routes.topics[0].shape.positions = guarded;
        let record = |(offset, value): (i64, &Option<&str>)| Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp_ms: Some(1_700_000_000_000),
            key: Some(r#"{"id":1}"#.into()),
            value: value.map(|value| value.to_string().into()),
            headers: [].into(),
        };
        let records: Vec<Record> = (10..).zip(values).map(record).collect();
        look(&Arc::new(routes), &records, committed, 1000)
    }

    #[test]
    fn a_guard_that_no_record_has_a_position_for_is_told() {
        let bare = r#"{"op":"u","before":null,"after":{"id":1},"source":{"pos":7}}"#;
        let placed = r#"{"op":"u","before":null,"after":{"id":1},"source":{"lsn":7}}"#;
        let snapshot = r#"{"op":"r","before":null,"after":{"id":1},"source":{"snapshot":"true","lsn":7}}"#;
        let told = seen_by(&[Some(bare), Some(snapshot)], None, true).findings;
        assert!(told.len() == 1 && told[0].text.starts_with("t[0]: its newest records do not say where"), "{told:?}");
        assert_eq!(seen_by(&[Some(bare)], None, false).findings, vec![]);
        assert_eq!(seen_by(&[Some(placed), Some(bare)], None, true).findings, vec![], "one of them does");
        assert_eq!(seen_by(&[Some(snapshot)], None, true).findings, vec![], "no row of a snapshot does");
    }

    #[test]
    fn the_newest_record_is_told_and_what_would_be_refused() {
        let created = r#"{"op":"c","before":null,"after":{"id":1},"source":{}}"#;
        let told = seen(&[Some(created), None], None);
        assert_eq!(
            (told.newest.as_str(), told.findings),
            ("[0] offset 11 of 2023-11-14T22:13:20Z, a tombstone", vec![])
        );
        let bad = [Some(created), Some("{"), Some(created)];
        let told = seen(&bad, None);
        assert_eq!(told.newest, "[0] offset 12 of 2023-11-14T22:13:20Z, an insert");
        insta::assert_snapshot!(told.findings[0].text, @"1 of the 3 newest unread records of t[0] would go to the dead-letter topic, as that at offset 11: not_json: the value ends after 1 bytes in the middle of JSON");
        assert_eq!(seen(&bad, Some(12)).findings, vec![], "what is done is done");
        let truncated = r#"{"op":"t","before":null,"after":null,"source":{}}"#;
        let told = seen(&[Some(truncated), Some(created)], None);
        assert_eq!(told.findings[0].severity, Severity::StoppedPartition);
        assert!(told.findings[0].text.starts_with("t[0] would stop in front of offset 10: the table was truncated"));
    }
}
