//! What a `source` says of the change's place in its stream. Only Postgres's connector says it in these members.

use crate::change::Op;
use crate::change::position::{Origin, Position};
use crate::format::json::Name;

/// The members that are read.
pub const MEMBERS: [&str; 8] = ["name", "db", "snapshot", "sequence", "txId", "lsn", "ts_us", "ts_ms"];

/// The members as they were met. What is not of its kind is as good as absent: the row itself may be right.
#[derive(Default)]
pub struct Told<'t> {
    name: Option<Name<'t>>,
    database: Option<Name<'t>>,
    snapshot: bool,
    commit_lsn: Option<u64>,
    lsn: Option<u64>,
    tx_id: Option<u32>,
    ts_us: Option<i64>,
    ts_ms: Option<i64>,
}

impl<'t> Told<'t> {
    pub fn take(&mut self, member: &str, raw: &'t str) {
        let text = || serde_json::from_str::<Option<Name<'t>>>(raw).ok().flatten();
        match member {
            "name" => self.name = text(),
            "db" => self.database = text(),
            // true, "true", "first", "last", "incremental" and more.
            "snapshot" => self.snapshot = !matches!(raw, "null" | "false" | "\"false\""),
            "sequence" => self.commit_lsn = text().and_then(|sequence| commit_lsn(&sequence.0)),
            "txId" => self.tx_id = raw.parse().ok(),
            "lsn" => self.lsn = raw.parse().ok(),
            "ts_us" => self.ts_us = raw.parse().ok(),
            "ts_ms" => self.ts_ms = raw.parse().ok(),
            _ => {}
        }
    }

    /// The change's place; none for the row of a snapshot, and where the record does not say it.
    pub fn of(self, op: Op) -> Option<Origin> {
        let is_snapshot = self.snapshot || op == Op::Read;
        let lsn = self.lsn.filter(|_| !is_snapshot)?;
        let named = |name: &Option<Name<'t>>| name.as_ref().map_or(String::new(), |name| name.0.to_string());
        let millis = || self.ts_ms.and_then(|ms| ms.checked_mul(1_000));
        Some(Origin {
            source: Origin::source(&named(&self.name), &named(&self.database)),
            position: Position { commit_lsn: self.commit_lsn.unwrap_or(0), lsn, tx_id: self.tx_id.unwrap_or(0) },
            ts_us: self.ts_us.or_else(millis).unwrap_or(0),
        })
    }
}

/// The first of `["23803584","23803720"]`, which stands in a text of its own; null before the first commit.
fn commit_lsn(sequence: &str) -> Option<u64> {
    let parts: Vec<Option<Name<'_>>> = serde_json::from_str(sequence).ok()?;
    parts.into_iter().next()??.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMED: [(&str, &str); 8] = [
        ("name", "\"shop\""),
        ("db", "\"shop\""),
        ("snapshot", "\"false\""),
        ("sequence", r#""[\"23803584\",\"23803720\"]""#),
        ("txId", "756"),
        ("lsn", "23803720"),
        ("ts_us", "1767225600123456"),
        ("ts_ms", "1767225600123"),
    ];

    fn told(over: &[(&'static str, &'static str)], op: Op) -> Option<Origin> {
        let mut told = Told::default();
        STREAMED.iter().chain(over).for_each(|(member, raw)| told.take(member, raw));
        told.of(op)
    }

    #[test]
    fn a_streamed_change_says_its_place() {
        let position = Position { commit_lsn: 23803584, lsn: 23803720, tx_id: 756 };
        let source = Origin::source("shop", "shop");
        let streamed = Origin { source, position, ts_us: 1_767_225_600_123_456 };
        assert_eq!(told(&[], Op::Update), Some(streamed));
        assert_eq!(told(&[("snapshot", "false")], Op::Update), Some(streamed));
        let commit_lsn = |raw| told(&[("sequence", raw)], Op::Update).map(|origin| origin.position.commit_lsn);
        for none in [r#""[null,\"23803720\"]""#, "null", "\"\"", "\"[]\"", "\"x\"", "[1]", r#""[\"-1\"]""#, "7"] {
            assert_eq!(commit_lsn(none), Some(0), "{none}");
        }
        let ts_us = |over: &[_]| told(over, Op::Update).map(|origin| origin.ts_us);
        assert_eq!(ts_us(&[("ts_us", "null")]), Some(1_767_225_600_123_000));
        assert_eq!(ts_us(&[("ts_us", "null"), ("ts_ms", "9223372036854775807")]), Some(0));
        let tx_id = |raw| told(&[("txId", raw)], Op::Update).map(|origin| origin.position.tx_id);
        assert_eq!((tx_id("4294967295"), tx_id("4294967296"), tx_id("null")), (Some(u32::MAX), Some(0), Some(0)));
    }

    #[test]
    fn snapshots_and_other_connectors_say_none() {
        assert_eq!(told(&[], Op::Read), None);
        for snapshot in ["true", "\"true\"", "\"first\"", "\"last\"", "\"incremental\""] {
            assert_eq!(told(&[("snapshot", snapshot)], Op::Update), None, "{snapshot}");
        }
        for lsn in ["null", "-1", "1.5", "\"23803720\"", "{}"] {
            assert_eq!(told(&[("lsn", lsn)], Op::Update), None, "{lsn}");
        }
    }
}
