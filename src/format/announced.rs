//! The columns of a table as a record announces them in its schema blocks, for whoever has no catalog to ask.

use crate::change::Reject;
use crate::format::json::{self, Wrapped};
use crate::format::schema::{self, Meaning};
use crate::record::Record;
use crate::row::Format;
use crate::row::wire::Wire;

/// What one record's blocks say of the table that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    pub format: Format,
    /// The columns of the key, in its order.
    pub key: Vec<String>,
    /// Every column; `None` where its form is not known here.
    pub columns: Vec<(String, Option<Wire>)>,
}

/// Reads the blocks of a record's key and value. `None` when it has none, or is not of a row.
pub fn announced(record: &Record) -> Result<Option<Announced>, Reject> {
    let (Some(key), Some(value)) = (&record.key, &record.value) else { return Ok(None) };
    let (key, value) = (json::text("the key", key)?, json::text("the value", value)?);
    let block = |text| json::wrapped(text).and_then(|Wrapped { schema, .. }| schema);
    let (Some(key), Some(value)) = (block(&key), block(&value)) else { return Ok(None) };
    let (_, key) = schema::columns("the key's schema block", key)?;
    let (meaning, columns) = schema::columns("the value's schema block", value)?;
    let format = match meaning {
        Meaning::Envelope => Format::Envelope,
        Meaning::Row => Format::Flat,
        Meaning::Message | Meaning::Heartbeat | Meaning::Transaction | Meaning::SchemaChange | Meaning::Unnamed => {
            return Ok(None);
        }
    };
    // What a transform adds to a flattened row is none of its columns.
    let is_column = |(name, _): &(String, _)| format == Format::Envelope || !name.starts_with("__");
    let key = key.into_iter().map(|(name, _)| name).collect();
    Ok(Some(Announced { format, key, columns: columns.into_iter().filter(is_column).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> Option<Announced> {
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: Some(key.to_string().into()),
            value: Some(value.to_string().into()),
            headers: [].into(),
        };
        announced(&record).expect("it can be read")
    }

    #[test]
    fn columns_and_key_are_read_from_the_blocks() {
        let key = r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"b"},{"type":"string","field":"a"}],"name":"p.s.t.Key"},"payload":{"b":1,"a":"x"}}"#;
        let row = r#"{"type":"struct","field":"after","name":"p.s.t.Value","fields":[{"type":"string","field":"a"},{"type":"int32","field":"b"},{"type":"int64","field":"at","name":"io.debezium.time.MicroTimestamp"},{"type":"struct","field":"odd","fields":[]}]}"#;
        let envelope = format!(
            r#"{{"schema":{{"type":"struct","name":"p.s.t.Envelope","fields":[{row},{{"type":"string","field":"op"}}]}},"payload":{{"op":"c"}}}}"#
        );
        let found = of(key, &envelope).expect("it has blocks");
        assert_eq!((found.format, &found.key[..]), (Format::Envelope, &["b".to_string(), "a".to_string()][..]));
        let names: Vec<&str> = found.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "at", "odd"]);
        assert_eq!(found.columns[1].1, Some(Wire::Int32));
        assert_eq!(found.columns[3].1, None);

        let flat = format!(r#"{{"schema":{},"payload":{{}}}}"#, row.replace(r#""field":"at""#, r#""field":"__op""#));
        let found = of(key, &flat).expect("it has blocks");
        assert_eq!(found.format, Format::Flat);
        assert_eq!(found.columns.len(), 3, "what a transform added is no column");

        assert_eq!(of(r#"{"a":1}"#, r#"{"op":"c"}"#), None);
        let heartbeat =
            r#"{"schema":{"type":"struct","name":"io.debezium.connector.common.Heartbeat","fields":[]},"payload":{}}"#;
        assert_eq!(of(key, heartbeat), None);
    }
}
