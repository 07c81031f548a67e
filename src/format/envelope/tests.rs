//! Envelopes as Debezium writes them, and what is no envelope.

use bytes::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::format::Decoder;
use crate::record::Record;
use crate::row::wire::Wire;
use crate::row::{Field, Format, Value};

fn shape() -> Shape {
    let fields = [
        ("id", Wire::Int64),
        ("name", Wire::Text),
        ("total", Wire::DecimalText),
        ("born", Wire::Date),
        ("at", Wire::ZonedTimestamp { decimals: 6 }),
        ("ok", Wire::Bool),
    ];
    let fields = fields.map(|(name, wire)| Field::known(name, wire));
    Shape::new(Format::Envelope, fields.into(), vec![0])
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: Some(1),
        key: key.map(Bytes::copy_from_slice),
        value: value.map(Bytes::copy_from_slice),
        headers: [].into(),
    }
}

/// The decoded record in one line a row: `after id=1 name=Null`, absent columns left out.
fn shown(key: &str, value: Option<&str>) -> String {
    let decoded = Decoder::new(&shape(), 1 << 20).decode(&record(Some(key.as_bytes()), value.map(str::as_bytes)));
    let row = |label: &str, row: &Row| {
        let fields = shape().fields;
        let sent = fields.iter().zip(row).filter(|(_, value)| **value != Value::Absent);
        sent.fold(label.to_string(), |text, (column, value)| format!("{text} {}={value:?}", column.name))
    };
    match &decoded {
        Decoded::Change(change) => {
            let mut text = format!("{:?}", change.op);
            change.before.iter().for_each(|image| text += &row("\n  before", image));
            change.after.iter().for_each(|image| text += &row("\n  after", image));
            text
        }
        Decoded::Tombstone(key) => row("Tombstone", key),
        Decoded::Reject(reject) => reject.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_update_has_both_images_and_of_the_old_one_what_is_wanted() {
    let value = r#"{"before":{"id":7,"name":"Ada","total":"1.50","extra":[1,{"x":2}]},"after":{"id":7,"name":null,
        "total":"-149.90","born":20454,"at":"2026-01-01T00:00:00.123Z","ok":true},
        "source":{"lsn":23803720,"schema":"public"},"transaction":null,"op":"u","ts_ms":1,"new_member":{"a":[]}}"#;
    assert_snapshot!(shown(r#"{"id":7}"#, Some(value)), @r#"
    Update
      before id=Int(7)
      after id=Int(7) name=Null total=Decimal(BigDecimal(sign=Minus, scale=2, digits=[14990])) born=Date(20454) at=Timestamp(1767225600123000) ok=Bool(true)
    "#);
}

#[test]
fn unchanged_toast_null_and_absent_stay_three_things() {
    let value = r#"{"before":null,"after":{"id":7,"name":"__debezium_unavailable_value","total":null},"op":"u"}"#;
    assert_snapshot!(shown(r#"{"id":7}"#, Some(value)), @r#"
    Update
      after id=Int(7) name=Unavailable total=Null
    "#);
}

#[test]
fn records_that_are_no_row_are_told_apart() {
    assert_snapshot!(shown(r#"{"id":7}"#, None), @"Tombstone id=Int(7)");
    assert_snapshot!(shown(r#"{"id":7}"#, Some("null")), @"Tombstone id=Int(7)");
    assert_snapshot!(shown("", Some(r#"{"op":"t","before":null,"after":null}"#)), @"Truncate");
    assert_snapshot!(shown(r#"{"prefix":"p"}"#, Some(r#"{"op":"m","ts_ms":1,"message":{}}"#)), @"Message");
    assert_snapshot!(shown(r#"{"serverName":"s"}"#, Some(r#"{"ts_ms":1}"#)), @"Heartbeat");
    assert_snapshot!(shown(r#"{"id":"1:2"}"#, Some(r#"{"status":"BEGIN","id":"1:2","ts_ms":1}"#)), @"Transaction");
    let ddl = r#"{"source":{},"ts_ms":1,"databaseName":"d","ddl":"x","tableChanges":[]}"#;
    assert_snapshot!(shown(r#"{"databaseName":"d"}"#, Some(ddl)), @"SchemaChange");
    let cloud_event = r#"{"id":"1","source":"/s","specversion":"1.0","type":"t","data":{"op":"c"}}"#;
    assert_snapshot!(shown(r#"{"id":7}"#, Some(cloud_event)), @"wrong_type: the value is a CloudEvent, which is not read here: set value.converter to org.apache.kafka.connect.json.JsonConverter on the connector");
}

#[test]
fn a_delete_keeps_its_image_or_else_its_key() {
    let full = r#"{"before":{"id":7,"name":"Ada"},"after":null,"op":"d"}"#;
    assert_snapshot!(shown(r#"{"id":7}"#, Some(full)), @r#"
    Delete
      before id=Int(7)
    "#);
    assert_snapshot!(shown(r#"{"id":7}"#, Some(r#"{"before":null,"op":"d"}"#)), @"
    Delete
      before id=Int(7)
    ");
}

#[test]
fn what_cannot_be_read_is_refused_without_its_values() {
    let key = r#"{"id":7}"#;
    let deep = format!(r#"{{"source":{}1{},"op":"c"}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        (key, "".to_string()),
        (key, "secret".into()),
        (key, r#"{"op":"c","after":{"id":7,"name":"secr"#.into()),
        (key, r#"{"op":"c","after":{"id":"secret"}}"#.into()),
        (key, r#"{"op":"c","after":{"id":7,"name":42}}"#.into()),
        (key, r#"{"op":"c","after":{"id":7,"total":1.5e999999}}"#.into()),
        (key, r#"{"op":"c","after":{"id":99999999999999999999}}"#.into()),
        (key, r#"{"op":"c","after":{"id":7,"at":"secret"}}"#.into()),
        (key, r#"{"op":"secret","after":{"id":7}}"#.into()),
        (key, r#"{"op":"c","after":{"name":"secret"}}"#.into()),
        (key, r#"{"op":"c","after":{"id":8}}"#.into()),
        (key, r#"{"op":"c","after":{"id":7,"id":7}}"#.into()),
        (key, r#"{"op":"c","after":null}"#.into()),
        (key, r#"["secret"]"#.into()),
        (key, r#"{"schema":{},"payload":{}}"#.into()),
        (key, deep),
        (r#"{"secret":7}"#, r#"{"op":"c","after":{"id":7}}"#.into()),
        ("", r#"{"op":"c","after":{"id":7}}"#.into()),
        ("secret", r#"{"op":"c","after":{"id":7}}"#.into()),
    ];
    let shown: Vec<String> = cases.iter().map(|(key, value)| shown(key, Some(value))).collect();
    let told = shown.iter().filter(|text| text.contains("secret") && !text.contains("\"secret\" that")).count();
    assert_eq!(told, 0, "a reject tells a value: {shown:#?}");
    assert_snapshot!(shown.join("\n"), @r#"
    empty: the value has no bytes
    not_json: the value is not JSON at line 1 column 1
    not_json: the value ends after 38 bytes in the middle of JSON
    wrong_type: column "id": expected int64, found a string
    wrong_type: column "name": expected text, found a number
    out_of_range: column "total": the value does not fit decimal
    out_of_range: column "id": the value does not fit int64
    wrong_type: column "at": expected timestamp, found a string that is not an RFC 3339 timestamp
    unknown_op: `op` is none of c, r, u, d, t, m
    missing_key: the row has no key column "id"
    key_mismatch: the record's key and the row differ in key column "id"
    wrong_type: the member "id" comes twice
    missing_image: the change has no `after`
    wrong_type: the value has another shape than expected at line 1 column 1
    wrong_type: the value has no `op`: it is not a Debezium envelope
    too_deep: the value nests deeper than 128 at line 1 column 137
    key_mismatch: the record's key has a column that `source_key` does not name
    missing_key: the record has no key
    not_json: the key is not JSON at line 1 column 1
    "#);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(key in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
                                   value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200))) {
        let _ = Decoder::new(&shape(), 1 << 20).decode(&record(key.as_deref(), value.as_deref()));
    }

    #[test]
    fn a_damaged_envelope_never_panics(at in 0usize..120, byte in any::<u8>()) {
        let mut value = br#"{"before":{"id":7,"name":"A","total":"1.5"},"after":{"id":7,"born":1,"at":"2026-01-01T00:00:00Z"},"op":"u"}"#.to_vec();
        let at = at % value.len();
        value[at] = byte;
        let _ = Decoder::new(&shape(), 1 << 20).decode(&record(Some(br#"{"id":7}"#), Some(&value)));
    }
}
