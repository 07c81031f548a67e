//! When the source committed the change that a record tells of. It is read for figures, of one record a batch.

use serde::Deserialize;

/// Milliseconds since 1970, where the record says it: `source.ts_ms` of an envelope, or `__source_ts_ms` of a flattened
/// row that was given it (`add.fields=source.ts_ms`), wrapped with a schema or alone. What cannot be read says nothing.
///
/// Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", data change events, and "New Record State
/// Extraction".
pub fn committed_ms(value: &[u8]) -> Option<i64> {
    let told: Told = serde_json::from_slice(value).ok()?;
    let told = told.payload.map_or(Told { payload: None, ..told }, |payload| *payload);
    told.source.and_then(|source| source.ts_ms).or(told.source_ts_ms).filter(|ms| *ms > 0)
}

#[derive(Deserialize)]
struct Told {
    payload: Option<Box<Told>>,
    source: Option<Source>,
    #[serde(rename = "__source_ts_ms")]
    source_ts_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Source {
    ts_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_the_formats_have_it_and_nowhere_else() {
        for (value, expected) in [
            (r#"{"before":null,"after":{"id":1},"source":{"lsn":7,"ts_ms":1700},"op":"c","ts_ms":1900}"#, Some(1700)),
            (r#"{"schema":{"type":"struct"},"payload":{"source":{"ts_ms":1700},"op":"c"}}"#, Some(1700)),
            (r#"{"id":1,"__deleted":"false","__source_ts_ms":1700}"#, Some(1700)),
            (r#"{"op":"c","after":{"ts_ms":5},"ts_ms":1900}"#, None),
            (r#"{"source":{"ts_ms":null},"op":"c"}"#, None),
            (r#"{"source":{"ts_ms":0},"op":"r"}"#, None),
            (r#"{"source":"web","id":3}"#, None),
            ("not json", None),
            ("", None),
        ] {
            assert_eq!(committed_ms(value.as_bytes()), expected, "{value}");
        }
    }
}
