//! Records of a real Debezium 3.6.1, byte for byte, through the decoder (schemas off, `skipped.operations=none`).

use std::collections::BTreeMap;

use bytes::Bytes;
use insta::assert_snapshot;
use serde_json::Value as Json;

use crate::change::Decoded;
use crate::format::Decoder;
use crate::record::{Header, Record};
use crate::row::wire::Wire;
use crate::row::{Field, Format, Row, Shape, Value};

pub const PLAIN: &str = include_str!("samples/default_plain.jsonl");
pub const SCHEMA: &str = include_str!("samples/default_schema.jsonl");
pub const FLAT: &str = include_str!("samples/flat.jsonl");
const OUTBOX: &str = include_str!("samples/outbox.jsonl");
const HEARTBEAT: &str = include_str!("samples/heartbeat.jsonl");

/// The records of a file, one JSON object a line.
pub fn records(recording: &str) -> Vec<Record> {
    let bytes = |json: &Json| json.as_str().map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let header = |pair: &Json| Header { name: pair[0].as_str().unwrap().into(), value: bytes(&pair[1]) };
    let record = |line: &str| {
        let line: Json = serde_json::from_str(line).unwrap();
        Record {
            topic: line["topic"].as_str().unwrap().into(),
            partition: i32::try_from(line["partition"].as_i64().unwrap()).unwrap(),
            offset: line["offset"].as_i64().unwrap(),
            timestamp_ms: line["timestamp"].as_i64(),
            key: bytes(&line["key"]),
            value: bytes(&line["value"]),
            headers: line["headers"].as_array().unwrap().iter().map(header).collect(),
        }
    };
    recording.lines().map(record).collect()
}

fn shape(fields: &[(&str, Wire)], keys: usize) -> Shape {
    let fields = fields.iter().map(|(name, wire)| Field::known(name, wire.clone())).collect();
    Shape::new(Format::Envelope, fields, (0..keys).collect())
}

/// The shape of each recorded table that has a key.
fn shape_of(topic: &str) -> Shape {
    match topic.rsplit('.').next().unwrap() {
        "compound" => shape(&[("a", Wire::Int32), ("b", Wire::Text), ("v", Wire::Text)], 2),
        "Mixed_Case" => shape(&[("Id", Wire::Int32), ("Some Col", Wire::Text), ("sel\"ect", Wire::Text)], 1),
        "part_1" | "part_2" => shape(&[("id", Wire::Int32), ("k", Wire::Int32), ("v", Wire::Text)], 2),
        "outbox" => shape(&[("id", Wire::Uuid), ("payload", Wire::Text)], 1),
        "signal" => shape(&[("id", Wire::Text), ("type", Wire::Text)], 1),
        "toast" | "toast_full" => shape(&[("id", Wire::Int32), ("small", Wire::Text), ("big", Wire::Text)], 1),
        "types" => shape(
            &[("id", Wire::Int64), ("t", Wire::Text), ("u", Wire::Uuid), ("d", Wire::Date), ("dm", Wire::Int32)],
            1,
        ),
        _ => shape(&[("id", Wire::Int32)], 1),
    }
}

fn what(decoded: &Decoded) -> String {
    match decoded {
        Decoded::Change(change) => format!("{:?}", change.op),
        Decoded::Tombstone(_) => "Tombstone".into(),
        Decoded::Reject(reject) => reject.to_string(),
        other => format!("{other:?}"),
    }
}

fn told(recordings: &[&str], format: Format) -> String {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut decoders: BTreeMap<String, Decoder> = BTreeMap::new();
    for record in recordings.iter().flat_map(|recording| records(recording)) {
        let table = record.topic.rsplit('.').next().unwrap().to_string();
        let decoder = decoders.entry(table.clone()).or_insert_with(|| {
            let shape = Shape { format, ..shape_of(&record.topic) };
            Decoder::new(&shape, 1 << 20)
        });
        *counts.entry((table, what(&decoder.decode(&record)))).or_default() += 1;
    }
    let lines: Vec<String> = counts.iter().map(|((table, what), count)| format!("{table}: {count} {what}")).collect();
    lines.join("\n")
}

#[test]
fn every_recorded_record_is_what_the_source_did() {
    assert_snapshot!(told(&[PLAIN, HEARTBEAT], Format::Envelope), @r#"
    Mixed_Case: 1 Read
    Mixed_Case: 1 Update
    compound: 12 Create
    compound: 2 Delete
    compound: 2 Tombstone
    compound: 1 Truncate
    compound: 1 Update
    evolve: 4 Create
    evolve: 1 Update
    gs_default_plain: 46 Heartbeat
    message: 1 Message
    nokey: 4 missing_key: the record has no key
    outbox: 1 Create
    outbox: 1 Delete
    outbox: 1 Tombstone
    part_1: 1 Create
    part_1: 1 Delete
    part_1: 1 Tombstone
    part_2: 1 Create
    part_2: 1 Update
    signal: 7 Create
    toast: 2 Create
    toast: 2 Delete
    toast: 2 Read
    toast: 2 Tombstone
    toast: 1 Update
    toast_full: 1 Create
    toast_full: 1 Delete
    toast_full: 1 Tombstone
    toast_full: 1 Update
    transaction: 82 Transaction
    types: 5 Create
    types: 2 Delete
    types: 15 Read
    types: 2 Tombstone
    types: 1 Update
    "#);
}

#[test]
fn an_unchanged_toast_value_is_unavailable_and_stays_so_in_a_moved_row() {
    let toast = records(PLAIN).into_iter().filter(|record| record.topic.ends_with(".toast"));
    let images = toast.filter_map(|record| match Decoder::new(&shape_of(&record.topic), 1 << 20).decode(&record) {
        Decoded::Change(change) => change.after,
        _ => None,
    });
    let is = |row: &Row| match &row[2] {
        Value::Text(text) => format!("text of {} characters", text.len()),
        other => format!("{other:?}"),
    };
    let shown: Vec<String> = images.map(|row| format!("{:?} {:?} {}", row[0], row[1], is(&row))).collect();
    assert_snapshot!(shown.join("\n"), @r#"
    Int(1) Text("s") Null
    Int(3) Text("changed") Unavailable
    Int(1) Text("s") Null
    Int(2) Text("s") text of 12800 characters
    Int(2) Text("changed") Unavailable
    "#);
}

#[test]
fn blocks_and_flattening_change_nothing_of_it() {
    assert_snapshot!(told(&[SCHEMA], Format::Envelope), @r#"
    Mixed_Case: 1 Read
    Mixed_Case: 1 Update
    compound: 12 Create
    compound: 2 Delete
    compound: 2 Tombstone
    compound: 1 Update
    evolve: 4 Create
    evolve: 1 Update
    message: 1 Message
    nokey: 4 missing_key: the record has no key
    outbox: 1 Create
    outbox: 1 Delete
    outbox: 1 Tombstone
    part_1: 1 Create
    part_1: 1 Delete
    part_1: 1 Tombstone
    part_2: 1 Create
    part_2: 1 Update
    signal: 7 Create
    toast: 2 Create
    toast: 2 Delete
    toast: 1 Read
    toast: 2 Tombstone
    toast: 1 Update
    toast_full: 1 Create
    toast_full: 1 Delete
    toast_full: 1 Tombstone
    toast_full: 1 Update
    types: 5 Create
    types: 2 Delete
    types: 6 Read
    types: 2 Tombstone
    types: 1 Update
    "#);
    assert_snapshot!(told(&[FLAT], Format::Flat), @r#"
    Mixed_Case: 1 Read
    Mixed_Case: 1 Update
    compound: 12 Create
    compound: 2 Delete
    compound: 1 Update
    evolve: 4 Create
    evolve: 1 Update
    message: 1 Message
    nokey: 3 missing_key: the record has no key
    outbox: 1 Create
    outbox: 1 Delete
    part_1: 1 Create
    part_1: 1 Delete
    part_2: 1 Create
    part_2: 1 Update
    signal: 7 Create
    toast: 2 Create
    toast: 2 Delete
    toast: 1 Read
    toast: 1 Update
    toast_full: 1 Create
    toast_full: 1 Delete
    toast_full: 1 Update
    types: 5 Create
    types: 2 Delete
    types: 6 Read
    types: 1 Update
    "#);
}

/// The event router takes the payload of an outbox row out of its envelope, so that no row is left.
#[test]
fn outbox_events_are_refused() {
    assert_snapshot!(told(&[OUTBOX], Format::Envelope), @r#"
    Order: 1 wrong_type: the value has no `op`: it is not a Debezium envelope
    message: 1 Message
    "#);
}
