//! Debezium's envelope as JSON: the one place that knows its members and its op letters.
//!
//! Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", data change events; unknown members are
//! passed over, unknown ops are refused.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::json::{self, Name, Notes, RowSeed, Skip};
use crate::record::Record;
use crate::row::{Row, Shape, Value};

/// Decodes one record of a Debezium topic, schema block off.
///
/// A null value, and JSON's `null`, is a tombstone. The record's key must name exactly the key columns of `shape`
/// and agree with the row.
pub fn decode(shape: &Shape, record: &Record) -> Result<Decoded, Reject> {
    let Some(value) = &record.value else {
        return Ok(Decoded::Tombstone(read_key(shape, record)?));
    };
    if value.is_empty() {
        return Err(Reject::new(RejectClass::Empty, "the value has no bytes"));
    }
    let text = json::text("the value", value)?;
    let notes = Notes::new(&text);
    let Some(envelope) = notes.read("the value", EnvelopeSeed { shape, notes: &notes })? else {
        return Ok(Decoded::Tombstone(read_key(shape, record)?));
    };
    match envelope.op {
        Some(OpLetter::Truncate) => Ok(Decoded::Truncate),
        Some(OpLetter::Message) => Ok(Decoded::Message),
        Some(OpLetter::Row(op)) => row_change(shape, record, op, envelope),
        None if envelope.other.is_heartbeat() => Ok(Decoded::Heartbeat),
        None if envelope.other.is_transaction() => Ok(Decoded::Transaction),
        None if envelope.other.schema && envelope.other.payload => Err(Reject::new(
            RejectClass::WrongType,
            "the value is wrapped in a schema block: set value.converter.schemas.enable=false on the connector",
        )),
        None => Err(Reject::new(RejectClass::WrongType, "the value has no `op`: it is not a Debezium envelope")),
    }
}

enum OpLetter {
    Row(Op),
    Truncate,
    Message,
}

struct Envelope {
    op: Option<OpLetter>,
    before: Option<Row>,
    after: Option<Row>,
    other: OtherMembers,
}

/// Members that tell records without an op apart.
#[derive(Default)]
struct OtherMembers {
    count: usize,
    ts_ms: bool,
    status: bool,
    id: bool,
    schema: bool,
    payload: bool,
}

impl OtherMembers {
    fn is_heartbeat(&self) -> bool {
        self.ts_ms && self.count == 1
    }

    fn is_transaction(&self) -> bool {
        self.status && self.id
    }
}

fn row_change(shape: &Shape, record: &Record, op: Op, envelope: Envelope) -> Result<Decoded, Reject> {
    let key = read_key(shape, record)?;
    let Envelope { before, after, .. } = envelope;
    let (before, after) = match op {
        // Without an image the key alone names the row that is gone.
        Op::Delete => (before.or_else(|| Some(key.clone())), None),
        Op::Read | Op::Create | Op::Update => {
            let missing = || Reject::new(RejectClass::MissingImage, "the change has no `after`");
            (before, Some(after.ok_or_else(missing)?))
        }
    };
    if let Some(image) = after.as_ref().or(before.as_ref()) {
        check_key(shape, &key, image)?;
    }
    Ok(Decoded::Change(Change { op, before, after }))
}

/// The record's key as a row that has nothing but its key columns.
fn read_key(shape: &Shape, record: &Record) -> Result<Row, Reject> {
    let key = record.key.as_ref().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Reject::new(RejectClass::MissingKey, "the record has no key"))?;
    let text = json::text("the key", key)?;
    let notes = Notes::new(&text);
    let row = notes.read("the key", KeySeed { shape, notes: &notes })?;
    for at in &shape.key {
        if !matches!(&row[*at], value if value.is_sent() && *value != Value::Null) {
            let text = format!("the record's key has no column \"{}\"", shape.fields[*at].name);
            return Err(Reject::new(RejectClass::MissingKey, text));
        }
    }
    Ok(row)
}

fn check_key(shape: &Shape, key: &Row, image: &Row) -> Result<(), Reject> {
    for at in &shape.key {
        let name = &shape.fields[*at].name;
        if matches!(image[*at], Value::Absent | Value::Unavailable | Value::Null) {
            return Err(Reject::new(RejectClass::MissingKey, format!("the row has no key column \"{name}\"")));
        }
        if image[*at] != key[*at] {
            let text = format!("the record's key and the row differ in key column \"{name}\"");
            return Err(Reject::new(RejectClass::KeyMismatch, text));
        }
    }
    Ok(())
}

struct EnvelopeSeed<'a, 't> {
    shape: &'a Shape,
    notes: &'a Notes<'t>,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_, 'de> {
    type Value = Option<Envelope>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_, 'de> {
    type Value = Option<Envelope>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Debezium envelope")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope { op: None, before: None, after: None, other: OtherMembers::default() };
        let (mut seen_before, mut seen_after) = (false, false);
        while let Some(Name(name)) = map.next_key()? {
            match name.as_ref() {
                "op" => {
                    let twice = envelope.op.is_some();
                    envelope.op = Some(self.op(&mut map)?);
                    self.once("op", twice)?;
                }
                "before" => {
                    self.once("before", std::mem::replace(&mut seen_before, true))?;
                    envelope.before = map.next_value_seed(self.row())?;
                }
                "after" => {
                    self.once("after", std::mem::replace(&mut seen_after, true))?;
                    envelope.after = map.next_value_seed(self.row())?;
                }
                other => {
                    envelope.other.count += 1;
                    match other {
                        "ts_ms" => envelope.other.ts_ms = true,
                        "status" => envelope.other.status = true,
                        "id" => envelope.other.id = true,
                        "schema" => envelope.other.schema = true,
                        "payload" => envelope.other.payload = true,
                        _ => {}
                    }
                    map.next_value::<Skip>()?;
                }
            }
        }
        Ok(Some(envelope))
    }
}

impl<'a, 'de> EnvelopeSeed<'a, 'de> {
    fn row(&self) -> RowSeed<'a, 'de> {
        RowSeed { shape: self.shape, notes: self.notes }
    }

    fn op<A: MapAccess<'de>>(&self, map: &mut A) -> Result<OpLetter, A::Error> {
        let Name(letter) = map.next_value()?;
        match letter.as_ref() {
            "c" => Ok(OpLetter::Row(Op::Create)),
            "r" => Ok(OpLetter::Row(Op::Read)),
            "u" => Ok(OpLetter::Row(Op::Update)),
            "d" => Ok(OpLetter::Row(Op::Delete)),
            "t" => Ok(OpLetter::Truncate),
            "m" => Ok(OpLetter::Message),
            _ => {
                let text = "`op` is none of c, r, u, d, t, m";
                Err(self.notes.refuse(Reject::new(RejectClass::UnknownOp, text)))
            }
        }
    }

    fn once<E: serde::de::Error>(&self, name: &str, twice: bool) -> Result<(), E> {
        if twice {
            let text = format!("the member \"{name}\" comes twice");
            return Err(self.notes.refuse(Reject::new(RejectClass::WrongType, text)));
        }
        Ok(())
    }
}

/// Reads a key object. A member that is no key column means that the key is not the row's, so it is refused.
struct KeySeed<'a, 't> {
    shape: &'a Shape,
    notes: &'a Notes<'t>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, 'de> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, 'de> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of key columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = vec![Value::Absent; self.shape.fields.len()];
        while let Some(Name(name)) = map.next_key()? {
            if !self.shape.key.iter().any(|at| self.shape.fields[*at].name == name) {
                // Its name is the record's own word, of any length, and stays in the record.
                let text = "the record's key has a column that `source_key` does not name";
                return Err(self.notes.refuse(Reject::new(RejectClass::KeyMismatch, text)));
            }
            json::read_member(self.shape, self.notes, &name, &mut row, &mut map)?;
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::format::Decoder;
    use crate::row::wire::Wire;
    use crate::row::{Field, Format};

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
    fn an_update_has_both_images() {
        let value = r#"{"before":{"id":7,"name":"Ada","total":"1.50","extra":[1,{"x":2}]},"after":{"id":7,"name":null,
            "total":"-149.90","born":20454,"at":"2026-01-01T00:00:00.123Z","ok":true},
            "source":{"lsn":23803720,"schema":"public"},"transaction":null,"op":"u","ts_ms":1,"new_member":{"a":[]}}"#;
        assert_snapshot!(shown(r#"{"id":7}"#, Some(value)), @r#"
        Update
          before id=Int(7) name=Text("Ada") total=Decimal(BigDecimal(sign=Plus, scale=2, digits=[150]))
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
    }

    #[test]
    fn a_delete_keeps_its_image_or_else_its_key() {
        let full = r#"{"before":{"id":7,"name":"Ada"},"after":null,"op":"d"}"#;
        assert_snapshot!(shown(r#"{"id":7}"#, Some(full)), @r#"
        Delete
          before id=Int(7) name=Text("Ada")
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
        wrong_type: the value is wrapped in a schema block: set value.converter.schemas.enable=false on the connector
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
}
