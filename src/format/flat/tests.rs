//! Flattened rows in every way of handling deletes, and what passes through the transform as it is.

use bytes::Bytes;
use insta::assert_snapshot;

use super::*;
use crate::format::Decoder;
use crate::row::wire::Wire;
use crate::row::{Field, Format, Unmapped};

fn shape(columns: &[(&str, Wire)]) -> Shape {
    let fields = columns.iter().map(|(name, wire)| Field::known(name, wire.clone())).collect();
    Shape::new(Format::Flat, fields, vec![0])
}

fn orders() -> Shape {
    let mut shape = shape(&[("id", Wire::Int32), ("name", Wire::Text), ("u", Wire::Uuid)]);
    shape.unmapped = Unmapped::Stop { except: vec!["known".into()] };
    shape.signal_table = Some(("public".into(), "signal".into()));
    shape
}

fn record(key: &str, headers: &[&str], value: Option<&str>) -> Record {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let header = |name: &&str| Header { name: (*name).into(), value: None };
    Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(bytes(key)),
        value: value.map(bytes),
        headers: headers.iter().map(header).collect(),
    }
}

fn shown_of(shape: &Shape, record: &Record) -> String {
    match Decoder::new(shape, 1 << 20).decode(record) {
        Decoded::Change(change) => {
            let images = [("before", &change.before), ("after", &change.after)];
            let images = images.iter().filter_map(|(name, row)| row.as_ref().map(|row| format!(" {name} {row:?}")));
            images.fold(format!("{:?}", change.op), |text, image| text + &image)
        }
        Decoded::Reject(reject) => reject.to_string(),
        other => format!("{other:?}"),
    }
}

fn shown(value: &str) -> String {
    shown_of(&orders(), &record(r#"{"id":7}"#, &[], Some(value)))
}

#[test]
fn rows_say_what_happened_as_far_as_the_transform_does() {
    assert_snapshot!(shown(r#"{"id":7,"name":"a"}"#), @r#"Update after [Int(7), Text("a"), Absent]"#);
    assert_snapshot!(shown(r#"{"id":7,"name":null,"__op":"c","__deleted":"false"}"#), @"Create after [Int(7), Null, Absent]");
    assert_snapshot!(shown(r#"{"id":7,"__op":"r"}"#), @"Read after [Int(7), Absent, Absent]");
    assert_snapshot!(shown(r#"{"id":7,"__op":"t"}"#), @"Truncate");
    assert_snapshot!(shown(r#"{"id":7,"__op":"x"}"#), @"unknown_op: `op` is none of c, r, u, d, t, m");
    let moved = record(r#"{"id":7}"#, &["__debezium.oldkey"], Some(r#"{"id":7}"#));
    assert_snapshot!(shown_of(&orders(), &moved), @"Create after [Int(7), Absent, Absent]");
}

#[test]
fn a_rewritten_delete_is_trusted_for_its_key_alone() {
    let junk = r#"{"id":7,"name":"","u":"","more":0,"__deleted":"true"}"#;
    assert_snapshot!(shown(junk), @"Delete before [Int(7), Absent, Absent]");
    assert_snapshot!(shown(r#"{"id":7,"name":"a","__deleted":true}"#), @"Delete before [Int(7), Absent, Absent]");
    assert_snapshot!(shown(r#"{"id":7,"name":"a","__op":"d"}"#), @"Delete before [Int(7), Absent, Absent]");
    assert_snapshot!(shown(r#"{"id":8,"__deleted":"true"}"#), @r#"key_mismatch: the record's key and the row differ in key column "id""#);
}

#[test]
fn null_in_every_form_is_a_tombstone() {
    for value in [None, Some("null"), Some(r#"{"schema":null,"payload":null}"#)] {
        let key = r#"{"schema":null,"payload":{"id":7}}"#;
        assert_eq!(shown_of(&orders(), &record(key, &[], value)), "Tombstone([Int(7), Absent, Absent])");
    }
}

#[test]
fn records_that_pass_through_are_told_apart_unless_the_table_has_such_columns() {
    let message = r#"{"op":"m","ts_ms":1,"source":{},"message":{"prefix":"p"}}"#;
    assert_snapshot!(shown(message), @"Message");
    assert_snapshot!(shown(r#"{"ts_ms":1}"#), @"Heartbeat");
    let begin = r#"{"status":"BEGIN","id":"7","ts_ms":1}"#;
    let columns = |names: &[&str]| shape(&names.iter().map(|name| (*name, Wire::Text)).collect::<Vec<_>>());
    let of = |shape: &Shape, key: &str, value: &str| shown_of(shape, &record(key, &[], Some(value)));
    assert_snapshot!(of(&columns(&["k"]), r#"{"k":"7"}"#, begin), @"Transaction");
    assert_snapshot!(of(&columns(&["id", "status"]), r#"{"id":"7"}"#, begin), @r#"Update after [Text("7"), Text("BEGIN")]"#);
    assert_snapshot!(of(&columns(&["ts_ms"]), r#"{"ts_ms":"1"}"#, r#"{"ts_ms":"1"}"#), @r#"Update after [Text("1")]"#);
    let row = r#"{"op":"m","source":"s","message":"x"}"#;
    assert_snapshot!(of(&columns(&["op", "source"]), r#"{"op":"m"}"#, row), @r#"Update after [Text("m"), Text("s")]"#);
    assert_snapshot!(shown(r#"{"source":{},"ddl":"x","databaseName":"d"}"#), @"SchemaChange");
    assert_snapshot!(shown(r#"{"specversion":"1.0","type":"t","source":"s","id":7}"#), @"wrong_type: the value is a CloudEvent, which is not read here: set value.converter to org.apache.kafka.connect.json.JsonConverter on the connector");
    assert_snapshot!(shown(r#"{"before":null,"after":{"id":7},"source":{},"op":"c"}"#), @"wrong_type: the value is an envelope and no row: set the route's format to envelope, or flatten the topic's records with ExtractNewRecordState");
    let signal = r#"{"id":"s1","type":"log","data":"{}","__schema":"public","__table":"signal"}"#;
    assert_snapshot!(shown(signal), @"Signal");
    assert_snapshot!(shown(r#"{"id":7,"__table":"signal"}"#), @"Update after [Int(7), Absent, Absent]");
}

#[test]
fn an_unmapped_column_stops_and_metadata_does_not() {
    assert_snapshot!(shown(r#"{"id":7,"__lsn":5,"known":1,"more":2}"#), @r#"Stop("column \"more\" of t is wanted by no route: map it, or add it to the route's `ignore` list, or set unmapped = \"ignore\"")"#);
    assert_snapshot!(shown(r#"{"id":7,"__lsn":5,"known":1}"#), @"Update after [Int(7), Absent, Absent]");
    let shape = shape(&[("id", Wire::Int32), ("__op", Wire::Text), ("__lsn", Wire::Int64)]);
    let value = r#"{"id":7,"__op":"c","__lsn":5}"#;
    assert_snapshot!(shown_of(&shape, &record(r#"{"id":7}"#, &[], Some(value))), @r#"Create after [Int(7), Text("c"), Int(5)]"#);
    let twice = record(r#"{"id":7}"#, &[], Some(r#"{"id":7,"__lsn":5,"__lsn":6}"#));
    assert_snapshot!(shown_of(&shape, &twice), @r#"wrong_type: the member "__lsn" comes twice"#);
}
