//! What a decoder remembers from record to record: schema blocks, and the columns that no route wants.

use bytes::Bytes;
use insta::assert_snapshot;

use super::*;
use crate::format::recordings_tests::{SCHEMA, records};
use crate::row::Unmapped;
use crate::row::wire::Unit;

fn unknown(name: &str) -> Field {
    Field { name: name.into(), wire: None, declared: false }
}

fn shape(fields: Vec<Field>) -> Shape {
    Shape::new(Format::Envelope, fields, vec![0])
}

fn record(key: &str, value: &str) -> Record {
    let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: bytes(key),
        value: bytes(value),
        headers: [].into(),
    }
}

fn shown(decoded: &Decoded) -> String {
    match decoded {
        Decoded::Change(change) => format!("{:?} {:?}", change.op, change.after.as_ref().or(change.before.as_ref())),
        Decoded::Reject(reject) => reject.to_string(),
        other => format!("{other:?}"),
    }
}

/// A schema block of an envelope with these columns.
fn block(columns: &str) -> String {
    let row = |field: &str| {
        format!(r#"{{"type":"struct","fields":[{columns}],"optional":true,"name":"t.Value","field":"{field}"}}"#)
    };
    let (before, after) = (row("before"), row("after"));
    format!(r#"{{"type":"struct","fields":[{before},{after},{{"type":"string","field":"op"}}],"name":"t.Envelope"}}"#)
}

const ID: &str = r#"{"type":"int32","optional":false,"field":"id"}"#;
const ID_KEY: &str = r#"{"id":7}"#;

fn wrapped(columns: &str, payload: &str) -> String {
    format!(r#"{{"schema":{},"payload":{payload}}}"#, block(columns))
}

#[test]
fn a_block_is_reported_once_and_again_when_another_was_in_force() {
    let shape = shape(vec![unknown("id"), unknown("n")]);
    let mut decoder = Decoder::new(&shape, 1 << 20);
    let int = format!(r#"{ID},{{"type":"int64","optional":true,"field":"n"}}"#);
    let text = format!(r#"{ID},{{"type":"string","optional":true,"field":"n"}}"#);
    let mut told = Vec::new();
    for (columns, after) in [
        (&int, r#"{"id":7,"n":5}"#),
        (&int, r#"{"id":7,"n":6}"#),
        (&text, r#"{"id":7,"n":"x"}"#),
        (&int, r#"{"id":7,"n":"x"}"#),
        (&ID.to_string(), r#"{"id":7}"#),
    ] {
        let value = wrapped(columns, &format!(r#"{{"before":null,"after":{after},"op":"u"}}"#));
        let decoded = decoder.decode(&record(ID_KEY, &value));
        told.push(format!("{} {:?}", shown(&decoded), decoder.take_wires()));
    }
    assert_snapshot!(told.join("\n"), @r#"
    Update Some([Int(7), Int(5)]) Some([Some(Int32), Some(Int64)])
    Update Some([Int(7), Int(6)]) None
    Update Some([Int(7), Text("x")]) Some([Some(Int32), Some(Text)])
    wrong_type: column "n": expected int64, found a string Some([Some(Int32), Some(Int64)])
    Update Some([Int(7), Absent]) Some([Some(Int32), None])
    "#);
}

#[test]
fn a_known_block_is_not_parsed_again_and_other_layouts_decode_as_well() {
    let shape = shape(vec![unknown("id")]);
    let change = r#"{"after":{"id":7},"op":"c"}"#;
    let known = wrapped(ID, change);
    let block = block(ID);
    let layouts = [
        known.clone(),
        format!(r#" {{ "schema" : {block} , "payload" : {change} }} "#),
        format!(r#"{{"payload":{change},"schema":{block}}}"#),
        known.replacen(r#""op":"c"}"#, r#""op":"c"} "#, 1),
    ];
    for layout in &layouts {
        for mut decoder in [Decoder::new(&shape, 1 << 20), with(&shape, &known)] {
            assert_eq!(shown(&decoder.decode(&record(ID_KEY, layout))), "Create Some([Int(7)])", "{layout}");
        }
    }
    let mut decoder = with(&shape, &known);
    let before = decoder.values.current().unwrap() as *const schema::Block;
    decoder.decode(&record(ID_KEY, &known));
    assert!(std::ptr::eq(before, decoder.values.current().unwrap()), "the block was read again");
    assert_eq!(decoder.take_wires(), Some(vec![Some(Wire::Int32)]));
    // What only begins like a known one is not one.
    let more = format!(r#"{{"schema":{block},"payload":{change},"more":1}}"#);
    assert_snapshot!(shown(&decoder.decode(&record(ID_KEY, &more))), @"wrong_type: the value has no `op`: it is not a Debezium envelope");
    let cut = &known[..known.len() - 1];
    assert!(shown(&decoder.decode(&record(ID_KEY, cut))).starts_with("not_json: the value ends"));
}

/// A decoder that has read this record.
fn with(shape: &Shape, value: &str) -> Decoder {
    let mut decoder = Decoder::new(shape, 1 << 20);
    decoder.decode(&record(ID_KEY, value));
    decoder
}

#[test]
fn the_cache_is_bounded() {
    let shape = shape(vec![unknown("id")]);
    let mut decoder = Decoder::new(&shape, 1 << 20);
    for at in 0..50 {
        let columns = format!(r#"{ID},{{"type":"int32","field":"c{at}"}}"#);
        let value = wrapped(&columns, r#"{"after":{"id":7},"op":"c"}"#);
        assert_eq!(shown(&decoder.decode(&record(ID_KEY, &value))), "Create Some([Int(7)])");
    }
    assert_eq!(format!("{:?}", decoder.values).matches("text:").count(), 4);
}

#[test]
fn null_and_keys_are_read_in_every_form() {
    let shape = shape(vec![unknown("id")]);
    let key = format!(r#"{{"schema":{{"type":"struct","fields":[{ID}],"name":"t.Key"}},"payload":{{"id":7}}}}"#);
    let null = wrapped(ID, "null");
    for value in ["null", &null, r#"{"schema":null,"payload":null}"#] {
        for (key, expected) in [
            (key.as_str(), "Tombstone([Int(7)])"),
            (r#"{"schema":null,"payload":null}"#, "missing_key: the record has no key"),
        ] {
            assert_eq!(shown(&Decoder::new(&shape, 1 << 20).decode(&record(key, value))), expected, "{value}");
        }
    }
    // Without a block of its own the key is read by the block of its value, or by the newest.
    let change = wrapped(ID, r#"{"after":{"id":7},"op":"c"}"#);
    assert_eq!(shown(&with(&shape, &change).decode(&record(ID_KEY, "null"))), "Tombstone([Int(7)])");
    let told = shown(&Decoder::new(&shape, 1 << 20).decode(&record(ID_KEY, "null")));
    assert_snapshot!(told, @r#"wrong_type: column "id": nothing says its type: add it to the route's `types`, or configure [source.postgres], or set value.converter.schemas.enable=true on the connector"#);
}

#[test]
fn the_name_of_a_block_outweighs_the_route_and_the_members() {
    let shape = shape(vec![unknown("id")]);
    let of = |schema: &str, payload: &str| {
        let value = format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
        shown(&Decoder::new(&shape, 1 << 20).decode(&record(ID_KEY, &value)))
    };
    let named = |name: &str| format!(r#"{{"type":"struct","fields":[{ID}],"name":"{name}"}}"#);
    assert_snapshot!(of(&named("t.Value"), r#"{"id":7,"__deleted":"true"}"#), @"Delete Some([Int(7)])");
    assert_snapshot!(of(&named("t.Value"), "null"), @"Tombstone([Int(7)])");
    let connector = "io.debezium.connector";
    assert_snapshot!(of(&named(&format!("{connector}.postgresql.MessageValue")), "{}"), @"Message");
    assert_snapshot!(of(&named(&format!("{connector}.common.Heartbeat")), "{}"), @"Heartbeat");
    assert_snapshot!(of(&named(&format!("{connector}.common.TransactionMetadataValue")), "{}"), @"Transaction");
    assert_snapshot!(of(&named(&format!("{connector}.mysql.SchemaChangeValue")), "{}"), @"SchemaChange");
    assert_snapshot!(of(&named("my.own"), r#"{"id":7}"#), @"wrong_type: the value has no `op`: it is not a Debezium envelope");
    assert_snapshot!(of(r#"{"type":5}"#, "{}"), @"wrong_type: the value's schema block has another shape than expected at line 1 column 9");
    let deep = format!("{}{}", r#"{"items":"#.repeat(200), "null".to_string() + &"}".repeat(200));
    assert_snapshot!(of(&deep, "{}"), @"too_deep: the value's schema block nests deeper than 128 at line 1 column 1144");
}

#[test]
fn every_semantic_name_has_its_wire() {
    let column = |kind: &str, rest: &str| format!(r#"{ID},{{"type":"{kind}"{rest},"field":"c"}}"#);
    let check = |kind: &str, rest: &str, expected: Option<Wire>| {
        let shape = shape(vec![unknown("id"), unknown("c")]);
        let mut decoder = Decoder::new(&shape, 1 << 20);
        decoder.decode(&record(ID_KEY, &wrapped(&column(kind, rest), r#"{"after":{"id":7},"op":"c"}"#)));
        assert_eq!(decoder.take_wires().unwrap()[1], expected, "{kind} {rest}");
    };
    let named = |kind: &str, name: &str, expected: Wire| check(kind, &format!(r#","name":"{name}""#), Some(expected));
    let [millis, micros, nanos] = [(Unit::Millis, 3), (Unit::Micros, 6), (Unit::Nanos, 6)];
    for (name, (unit, decimals)) in [("Time", millis), ("MicroTime", micros), ("NanoTime", nanos)] {
        let kind = if unit == Unit::Millis { "int32" } else { "int64" };
        named(kind, &format!("io.debezium.time.{name}"), Wire::Time { unit, decimals });
    }
    for (name, (unit, decimals)) in [("Timestamp", millis), ("MicroTimestamp", micros), ("NanoTimestamp", nanos)] {
        named("int64", &format!("io.debezium.time.{name}"), Wire::LocalTimestamp { unit, decimals });
    }
    let connect = "org.apache.kafka.connect.data";
    named("int32", &format!("{connect}.Date"), Wire::Date);
    named("int32", &format!("{connect}.Time"), Wire::Time { unit: Unit::Millis, decimals: 3 });
    named("int64", &format!("{connect}.Timestamp"), Wire::LocalTimestamp { unit: Unit::Millis, decimals: 3 });
    named("string", "io.debezium.time.IsoDate", Wire::IsoDate);
    named("string", "io.debezium.time.IsoTime", Wire::IsoTime);
    named("string", "io.debezium.time.IsoTimestamp", Wire::IsoTimestamp { decimals: 6 });
    named("string", "io.debezium.time.Interval", Wire::Interval);
    named("string", "io.debezium.data.Json", Wire::Text);
    named("string", "com.example.Own", Wire::Text);
    named("int64", "com.example.Own", Wire::Int64);
    named("array", "io.debezium.data.DoubleVector", Wire::Vector);
    named("struct", "io.debezium.data.SparseDoubleVector", Wire::SparseVector);
    named("struct", "io.debezium.data.geometry.Geography", Wire::Geometry);
    named("int8", "", Wire::Int8);
    check("struct", r#","name":"io.debezium.time.StructuredDate""#, None);
    check("struct", "", None);
    check("later", "", None);
    check("bytes", &format!(r#","name":"{connect}.Decimal""#), None);
    check(
        "bytes",
        &format!(r#","name":"{connect}.Decimal","parameters":{{"scale":"4"}}"#),
        Some(Wire::Decimal { scale: 4 }),
    );
    // Eight bits, or at most eight: only the source's type tells.
    for (source_type, length) in [("", None), ("BIT", Some(8)), ("VARBIT", None)] {
        let parameters = format!(r#"{{"length":"8","__debezium.source.column.type":"{source_type}"}}"#);
        let bits = format!(r#","name":"io.debezium.data.Bits","parameters":{parameters}"#);
        check("bytes", &bits, Some(Wire::Bits { length }));
    }
    check("map", r#","keys":{"type":"string"},"values":{"type":"string"}"#, Some(Wire::HstoreMap));
    check("map", r#","keys":{"type":"int16"},"values":{"type":"string"}"#, None);
    check("array", r#","items":{"type":"struct","name":"own"}"#, None);
    check(
        "array",
        r#","items":{"type":"array","items":{"type":"int16"}}"#,
        Some(Wire::Array(Box::new(Wire::Array(Box::new(Wire::Int16))))),
    );
}

#[test]
fn a_declared_type_outweighs_the_block_and_a_block_the_catalog() {
    let declared = Field { name: "h".into(), wire: Some(Wire::HstoreJson), declared: true };
    let shape = shape(vec![Field::known("id", Wire::Text), declared]);
    let json = r#"{"type":"string","name":"io.debezium.data.Json","field":"h"}"#;
    let value = wrapped(&format!("{ID},{json}"), r#"{"after":{"id":7,"h":"{}"},"op":"c"}"#);
    let mut decoder = Decoder::new(&shape, 1 << 20);
    assert_eq!(shown(&decoder.decode(&record(ID_KEY, &value))), "Create Some([Int(7), Map([])])");
    assert_eq!(decoder.take_wires(), Some(vec![Some(Wire::Int32), Some(Wire::HstoreJson)]));
}

#[test]
fn the_blocks_of_the_recordings_say_what_the_catalog_says() {
    let names = [
        "b", "f4", "n", "n10_2", "m", "d", "ts", "ts0", "tz", "tm", "tm3", "tmtz", "iv", "by", "bt1", "bt8", "u", "pt",
        "an", "ad",
    ];
    let fields = ["id"].iter().chain(&names).map(|name| unknown(name)).collect();
    let mut decoder = Decoder::new(&shape(fields), 1 << 20);
    let types = records(SCHEMA).into_iter().filter(|record| record.topic.ends_with(".types"));
    let reported: Vec<_> = types
        .filter_map(|record| {
            decoder.decode(&record);
            decoder.take_wires()
        })
        .collect();
    let [wires] = &reported[..] else { panic!("one block for the whole topic: {reported:?}") };
    let shown: Vec<String> =
        wires[1..].iter().zip(names).map(|(wire, name)| format!("{name}: {}", wire.as_ref().unwrap())).collect();
    assert_snapshot!(shown.join("\n"), @"
    b: boolean
    f4: float32
    n: decimal with its scale
    n10_2: decimal in Base64
    m: decimal in Base64
    d: date in days
    ts: timestamp in microseconds
    ts0: timestamp in milliseconds
    tz: timestamp
    tm: time in microseconds
    tm3: time in milliseconds
    tmtz: time with zone
    iv: interval in microseconds
    by: bytes in Base64
    bt1: boolean
    bt8: bits in Base64
    u: uuid
    pt: point
    an: array of decimal in Base64
    ad: array of date in days
    ");
}

#[test]
fn unmapped_columns_are_named_once_and_only_so_many() {
    let mut shape = shape(vec![Field::known("id", Wire::Int32)]);
    shape.unmapped = Unmapped::Warn { except: vec!["known".into()] };
    let mut decoder = Decoder::new(&shape, 1 << 20);
    let after = |members: &str| format!(r#"{{"before":{{"id":7,"old":1}},"after":{{"id":7{members}}},"op":"u"}}"#);
    for _ in 0..2 {
        decoder.decode(&record(ID_KEY, &after(r#","known":1,"more":[2]"#)));
    }
    assert_snapshot!(decoder.take_notices().join("\n"), @r#"column "more" of t is wanted by no route: map it, or add it to the route's `ignore` list, or set unmapped = "ignore""#);
    assert!(decoder.take_notices().is_empty());
    for at in 0..30 {
        let members: String = (0..30).map(|of| format!(r#","c{}":1"#, at * 30 + of)).collect();
        decoder.decode(&record(ID_KEY, &after(&members)));
    }
    assert_eq!(decoder.take_notices().len(), 100, "99 names more, and that there are no more");

    shape.unmapped = Unmapped::Stop { except: vec!["known".into()] };
    let mut decoder = Decoder::new(&shape, 1 << 20);
    for _ in 0..2 {
        assert!(
            shown(&decoder.decode(&record(ID_KEY, &after(r#","more":2"#)))).starts_with("Stop(\"column \\\"more\\\"")
        );
    }
    assert_eq!(shown(&decoder.decode(&record(ID_KEY, &after(r#","known":2"#)))), "Update Some([Int(7)])");
    assert_eq!(
        shown(&decoder.decode(&record(ID_KEY, r#"{"before":{"id":7,"more":1},"op":"d"}"#))),
        "Delete Some([Int(7)])"
    );
}

#[test]
fn rows_of_the_signal_table_are_signals_whatever_columns_they_have() {
    let mut shape = shape(vec![Field::known("id", Wire::Int32)]);
    shape.signal_table = Some(("public".into(), "signal".into()));
    shape.unmapped = Unmapped::Stop { except: Vec::new() };
    let of = |id: &str, table: &str, op: &str| {
        let value = format!(
            r#"{{"after":{{"id":{id},"type":"log"}},"source":{{"schema":"public","table":"{table}"}},"op":"{op}"}}"#
        );
        shown(&Decoder::new(&shape, 1 << 20).decode(&record(r#"{"id":"s1"}"#, &value)))
    };
    assert_snapshot!(of("\"s1\"", "signal", "c"), @"Signal");
    assert_snapshot!(of("7", "signal", "c"), @"Signal");
    assert_snapshot!(of("7", "signal", "t"), @"Signal");
    assert_snapshot!(of("\"s1\"", "other", "c"), @r#"wrong_type: column "id": expected int32, found a string"#);
}

#[test]
fn a_block_that_would_fill_the_memory_is_refused() {
    let mut decoder = Decoder::new(&shape(vec![unknown("id")]), 8 << 20);
    let doc = "x".repeat(1 << 20);
    let long = format!(r#"{ID},{{"type":"int64","doc":"{doc}","field":"n"}}"#);
    let decoded = decoder.decode(&record(ID_KEY, &wrapped(&long, r#"{"op":"c","after":{"id":7}}"#)));
    assert!(
        matches!(&decoded, Decoded::Reject(reject) if reject.class == RejectClass::TooLarge),
        "{}",
        shown(&decoded)
    );
}
