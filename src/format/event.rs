//! Business events: a flat JSON object whose `event_type` says what happened. It reads any such event by its topic's
//! shape; the contracts themselves are in `schemas/`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::Decoder;
use crate::format::image::Columns;
use crate::format::json::{self, Name, Notes, Skip};
use crate::format::logical;
use crate::record::Record;
use crate::row::{Row, Shape, Value};

/// Decodes one business event. Members that are not there are absent columns; the record's key must be the plain
/// text of the one key column.
pub fn decode(decoder: &Decoder, record: &Record) -> Result<Decoded, Reject> {
    let value = record.value.as_ref().filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Reject::new(RejectClass::Empty, "the event has no value"))?;
    let text = json::text("the value", value)?;
    let notes = Notes::new(&text);
    let columns = decoder.columns(&decoder.wires, &notes);
    let Event { op, row } = notes.read("the value", &text, EventSeed { columns })?;
    let op = op.ok_or_else(|| Reject::new(RejectClass::WrongType, "the event has no `event_type`"))?;
    check_key(&decoder.shape, record, &row)?;
    Ok(Decoded::Change(Change::of(op, None, Some(row))))
}

struct Event {
    op: Option<Op>,
    row: Row,
}

fn check_key(shape: &Shape, record: &Record, row: &Row) -> Result<(), Reject> {
    for at in &shape.key {
        if matches!(row[*at], Value::Absent | Value::Null) {
            let text = format!("the event has no \"{}\"", shape.fields[*at].name);
            return Err(Reject::new(RejectClass::MissingKey, text));
        }
    }
    let [at] = shape.key[..] else {
        return Err(Reject::new(RejectClass::MissingKey, "an event's key has one column"));
    };
    let key = record.key.as_ref().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Reject::new(RejectClass::MissingKey, "the record has no key"))?;
    let field = &shape.fields[at];
    let mismatch = || {
        let text = format!("the record's key is not the event's \"{}\"", field.name);
        Reject::new(RejectClass::KeyMismatch, text)
    };
    let key = std::str::from_utf8(key).map_err(|_| mismatch())?;
    let key = match key.parse::<i64>() {
        Ok(number) if matches!(row[at], Value::Int(_)) => Value::Int(number),
        _ => match &field.wire {
            Some(wire) => logical::from_text(wire, key).map_err(|_| mismatch())?,
            None => return Err(mismatch()),
        },
    };
    if key == row[at] { Ok(()) } else { Err(mismatch()) }
}

struct EventSeed<'a, 't> {
    columns: Columns<'a, 't>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_, 'de> {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, 'de> {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let Columns { notes, .. } = self.columns;
        let mut event = Event { op: None, row: self.columns.empty_row() };
        let mut next = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            if name != "event_type" {
                match self.columns.find(&name, &mut next) {
                    Some(at) => self.columns.read(at, &mut event.row, &mut map)?,
                    None => {
                        map.next_value::<Skip>()?;
                    }
                }
                continue;
            }
            notes.once("event_type", event.op.is_some())?;
            let Name(kind) = map.next_value::<Name<'de>>()?;
            event.op = Some(match kind.as_ref() {
                "CREATE" => Op::Create,
                "UPDATE" => Op::Update,
                "DELETE" => Op::Delete,
                _ => {
                    let text = "`event_type` is none of CREATE, UPDATE, DELETE";
                    return Err(notes.refuse(Reject::new(RejectClass::UnknownOp, text)));
                }
            });
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use insta::assert_snapshot;

    use super::*;
    use crate::row::wire::Wire;
    use crate::row::{Field, Format};

    const ID: &str = "7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f";

    fn shown(key: Option<&str>, value: Option<&str>) -> String {
        let fields = [
            ("order_id", Wire::Uuid),
            ("order_total", Wire::DecimalText),
            ("quantity", Wire::Int32),
            ("dob", Wire::CalendarDate),
        ];
        let fields = fields.map(|(name, wire)| Field::known(name, wire));
        let shape = Shape::new(Format::Event, fields.into(), vec![0]);
        let record = Record {
            topic: "orders".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            headers: [].into(),
        };
        match Decoder::new(&shape, 1 << 20).decode(&record) {
            Decoded::Change(change) => format!("{:?} {:?}", change.op, change.after.expect("events have one image")),
            Decoded::Reject(reject) => reject.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn with_id(rest: &str) -> String {
        shown(Some(ID), Some(&format!(r#"{{"order_id":"{ID}",{rest}}}"#)))
    }

    #[test]
    fn totals_are_exact_as_text_and_as_number() {
        assert_snapshot!(with_id(r#""event_type":"CREATE","order_total":"0.10","quantity":3,"dob":"2000-02-29""#), @"Create [Uuid(7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f), Decimal(BigDecimal(sign=Plus, scale=2, digits=[10])), Int(3), Date(11016)]");
        assert_snapshot!(with_id(r#""event_type":"UPDATE","order_total":0.10"#), @"Update [Uuid(7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f), Decimal(BigDecimal(sign=Plus, scale=2, digits=[10])), Absent, Absent]");
        assert_snapshot!(with_id(r#""event_type":"DELETE","order_total":9007199254740993.01"#), @"Delete [Uuid(7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f), Decimal(BigDecimal(sign=Plus, scale=2, digits=[900719925474099301])), Absent, Absent]");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_snapshot!(shown(Some(ID), None), @"empty: the event has no value");
        assert_snapshot!(shown(Some(ID), Some("")), @"empty: the event has no value");
        assert_snapshot!(shown(Some(ID), Some("null")), @"wrong_type: the value has another shape than expected at line 1 column 4");
        assert_snapshot!(shown(Some(ID), Some(r#"{"event_type":"CREATE"}"#)), @r#"missing_key: the event has no "order_id""#);
        assert_snapshot!(with_id(r#""event_type":"UPSERT""#), @"unknown_op: `event_type` is none of CREATE, UPDATE, DELETE");
        assert_snapshot!(with_id(r#""quantity":1"#), @"wrong_type: the event has no `event_type`");
        assert_snapshot!(with_id(r#""event_type":"CREATE","quantity":2147483648"#), @r#"out_of_range: column "quantity": the value does not fit int32"#);
        assert_snapshot!(with_id(r#""event_type":"CREATE","quantity":"3""#), @r#"wrong_type: column "quantity": expected int32, found a string"#);
        assert_snapshot!(with_id(r#""event_type":"CREATE","dob":11016"#), @r#"wrong_type: column "dob": expected date, found a number"#);
        let other = ID.replace('7', "8");
        let event = format!(r#"{{"order_id":"{ID}","event_type":"CREATE"}}"#);
        assert_snapshot!(shown(Some(&other), Some(&event)), @r#"key_mismatch: the record's key is not the event's "order_id""#);
        assert_snapshot!(shown(None, Some(&event)), @"missing_key: the record has no key");
    }
}
