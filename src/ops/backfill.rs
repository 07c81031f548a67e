//! Asking Debezium for a snapshot of a table beside its stream: the signal, and what its notifications say. Pure.

use serde::Deserialize;
use serde_json::json;

/// `execute-snapshot`, the type of the signal.
pub const SIGNAL_TYPE: &str = "execute-snapshot";

/// The data of the signal: an incremental snapshot of one table, `schema.table`, or of the rows that meet a condition.
pub fn signal_data(table: &str, condition: Option<&str>) -> String {
    let mut data = json!({ "type": "incremental", "data-collections": [table] });
    if let Some(condition) = condition {
        data["additional-conditions"] = json!([{ "data-collection": table, "filter": condition }]);
    }
    data.to_string()
}

/// The signal as it stands in a topic.
pub fn signal_value(id: &str, data: &str) -> String {
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    json!({ "id": id, "type": SIGNAL_TYPE, "data": data }).to_string()
}

/// The connector's `topic.prefix`, read off a topic that is called `prefix.schema.table` as Debezium does by itself.
pub fn topic_prefix<'t>(topic: &'t str, table: &str) -> Option<&'t str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let table: String = table.chars().map(plain).collect();
    topic.strip_suffix(&table)?.strip_suffix('.').filter(|prefix| !prefix.is_empty())
}

/// What a notification says of the snapshot that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Started,
    /// So many rows were read.
    Scanned {
        rows: Option<String>,
    },
    /// All of it has been sent.
    Completed,
    /// It will not be completed; the text says what is known of why.
    Failed(String),
}

/// Reads a notification. `None` when it speaks of something else.
pub fn step(value: &[u8], id: &str, table: &str) -> Option<Step> {
    #[derive(Deserialize)]
    struct Wrapped {
        payload: Notification,
    }
    #[derive(Deserialize)]
    struct Notification {
        id: Option<String>,
        #[serde(default)]
        aggregate_type: String,
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        additional_data: std::collections::BTreeMap<String, Option<String>>,
    }
    let read: Option<Notification> = serde_json::from_slice::<Wrapped>(value)
        .map(|wrapped| wrapped.payload)
        .or_else(|_| serde_json::from_slice(value))
        .ok();
    let notification = read.filter(|read| read.aggregate_type == "Incremental Snapshot")?;
    let told = |name: &str| notification.additional_data.get(name).cloned().flatten();
    if notification.id.as_deref() != Some(id) {
        return None;
    }
    match notification.kind.as_str() {
        "STARTED" => Some(Step::Started),
        "TABLE_SCAN_COMPLETED" => {
            let status = told("status").unwrap_or_default();
            match status.as_str() {
                "SUCCEEDED" | "EMPTY" | "" => Some(Step::Scanned { rows: told("total_rows_scanned") }),
                _ => Some(Step::Failed(format!("the connector says {status} of {table}: see the log of its worker"))),
            }
        }
        "COMPLETED" => Some(Step::Completed),
        "ABORTED" | "SKIPPED" => Some(Step::Failed(format!("the connector says {}", notification.kind))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_what_debezium_reads() {
        insta::assert_snapshot!(signal_data("inv.Mixed Case", None), @r#"{"data-collections":["inv.Mixed Case"],"type":"incremental"}"#);
        let data = signal_data("a.b", Some("v = 'x\"y'"));
        insta::assert_snapshot!(data, @r#"{"additional-conditions":[{"data-collection":"a.b","filter":"v = 'x\"y'"}],"data-collections":["a.b"],"type":"incremental"}"#);
        insta::assert_snapshot!(signal_value("7", &signal_data("a.b", None)), @r#"{"data":{"data-collections":["a.b"],"type":"incremental"},"id":"7","type":"execute-snapshot"}"#);
    }

    #[test]
    fn the_prefix_is_what_stands_before_the_table() {
        assert_eq!(topic_prefix("cdc.public.users", "public.users"), Some("cdc"));
        assert_eq!(topic_prefix("a.b.inv.Mixed_Case", "inv.Mixed Case"), Some("a.b"));
        assert_eq!(topic_prefix("users", "public.users"), None);
        assert_eq!(topic_prefix("public.users", "public.users"), None);
    }

    #[test]
    fn notifications_of_others_are_passed_over() {
        let of = |id: &str, kind: &str, more: &str| {
            format!(
                r#"{{"id":"{id}","aggregate_type":"Incremental Snapshot","type":"{kind}","additional_data":{{{more}}},"timestamp":1}}"#
            )
        };
        let read = |value: &str| step(value.as_bytes(), "7", "a.b");
        assert_eq!(read(&of("7", "STARTED", "")), Some(Step::Started));
        assert_eq!(read(&of("8", "COMPLETED", "")), None);
        assert_eq!(read(&of("7", "COMPLETED", "")), Some(Step::Completed));
        assert_eq!(
            read(&format!(r#"{{"schema":{{}},"payload":{}}}"#, of("7", "COMPLETED", ""))),
            Some(Step::Completed)
        );
        let scanned = of("7", "TABLE_SCAN_COMPLETED", r#""status":"SUCCEEDED","total_rows_scanned":"12""#);
        assert_eq!(read(&scanned), Some(Step::Scanned { rows: Some("12".into()) }));
        let failed = of("7", "TABLE_SCAN_COMPLETED", r#""status":"NO_PRIMARY_KEY""#);
        assert!(matches!(read(&failed), Some(Step::Failed(why)) if why.contains("NO_PRIMARY_KEY")));
        assert_eq!(read(&of("7", "IN_PROGRESS", "")), None);
        assert_eq!(read("x"), None);
    }
}
