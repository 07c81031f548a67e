//! Debezium's envelope as JSON: the one place that knows its members.
//!
//! Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", data change events; unknown members are
//! passed over, unknown ops are refused.

mod source;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use self::source::{Source, SourceSeed};
use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::image::{Columns, RowSeed};
use crate::format::json::{Name, Skip};
use crate::format::payload::{CLOUD_EVENT, OpLetter, Payload, Told};
use crate::format::unmapped::Unwanted;
use crate::row::{Row, Shape};

/// Reads a payload as an envelope, or as one of the records that a connector writes beside its envelopes.
pub fn read(payload: Payload<'_, '_>) -> Result<Told, Reject> {
    let Payload { shape, columns, unmapped, what, text } = payload;
    let notes = columns.notes;
    let unwanted = Unwanted::of(unmapped);
    let envelope = match notes.read(what, text, EnvelopeSeed { shape, columns, unwanted: &unwanted }) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Ok(Told::Nothing),
        // A signal has columns of its own, which need not be those of the shape.
        Err(_) if shape.signal_table.is_some() && is_signal(shape, columns, text) => {
            return Ok(Told::Other(Decoded::Signal));
        }
        Err(reject) => return Err(reject),
    };
    let other = |decoded| Ok(Told::Other(decoded));
    match envelope.op {
        Some(OpLetter::Message) => other(Decoded::Message),
        Some(_) if envelope.source.signal => other(Decoded::Signal),
        Some(OpLetter::Truncate) => other(Decoded::Truncate),
        Some(OpLetter::Row(op)) => {
            let Envelope { before, after, source, .. } = envelope;
            let after = if op == Op::Delete { None } else { after };
            if after.is_none() && op != Op::Delete {
                return Err(Reject::new(RejectClass::MissingImage, "the change has no `after`"));
            }
            let change = Change { op, before, after, origin: source.origin.of(op), source: source.values };
            Ok(Told::Change(change, unwanted.into_names()))
        }
        None => match envelope.other {
            Other { ts_ms: true, count: 1, .. } => other(Decoded::Heartbeat),
            Other { status: true, id: true, .. } => other(Decoded::Transaction),
            Other { ddl: true, .. } => other(Decoded::SchemaChange),
            Other { specversion: true, .. } => Err(Reject::new(RejectClass::WrongType, CLOUD_EVENT)),
            _ => {
                let text = "the value has no `op`: it is not a Debezium envelope";
                Err(Reject::new(RejectClass::WrongType, text))
            }
        },
    }
}

struct Envelope<'t> {
    op: Option<OpLetter>,
    before: Option<Row>,
    after: Option<Row>,
    source: Source<'t>,
    other: Other,
}

/// Members that tell records without an op apart.
#[derive(Default)]
struct Other {
    count: usize,
    ts_ms: bool,
    status: bool,
    id: bool,
    ddl: bool,
    specversion: bool,
}

struct EnvelopeSeed<'a, 't> {
    shape: &'a Shape,
    columns: Columns<'a, 't>,
    unwanted: &'a Unwanted<'a>,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_, 'de> {
    type Value = Option<Envelope<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_, 'de> {
    type Value = Option<Envelope<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Debezium envelope")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { shape, columns, unwanted } = self;
        let notes = columns.notes;
        let source = Source { values: shape.empty_source(), ..Source::default() };
        let mut envelope = Envelope { op: None, before: None, after: None, source, other: Other::default() };
        let (mut seen_before, mut seen_after) = (false, false);
        while let Some(Name(name)) = map.next_key()? {
            match name.as_ref() {
                "op" => {
                    let letter = OpLetter::of(&map.next_value::<Name<'de>>()?.0);
                    let letter = letter.map_err(|reject| notes.refuse(reject))?;
                    notes.once("op", envelope.op.replace(letter).is_some())?;
                }
                "before" => {
                    notes.once("before", std::mem::replace(&mut seen_before, true))?;
                    let seed = RowSeed { columns, only: Some(&shape.before), unwanted: None };
                    envelope.before = map.next_value_seed(seed)?;
                }
                "after" => {
                    notes.once("after", std::mem::replace(&mut seen_after, true))?;
                    let seed = RowSeed { columns, only: None, unwanted: Some(unwanted) };
                    envelope.after = map.next_value_seed(seed)?;
                }
                "source" if shape.signal_table.is_some() || !shape.source.is_empty() || shape.positions => {
                    let seed = SourceSeed { shape, placeholder: columns.placeholder, notes };
                    envelope.source = map.next_value_seed(seed)?;
                }
                other => {
                    envelope.other.count += 1;
                    match other {
                        "ts_ms" => envelope.other.ts_ms = true,
                        "status" => envelope.other.status = true,
                        "id" => envelope.other.id = true,
                        "ddl" | "tableChanges" => envelope.other.ddl = true,
                        "specversion" => envelope.other.specversion = true,
                        _ => {}
                    }
                    map.next_value::<Skip>()?;
                }
            }
        }
        Ok(Some(envelope))
    }
}

/// Whether an envelope that cannot be read as a row is one of the signal table.
fn is_signal<'t>(shape: &Shape, columns: Columns<'_, 't>, text: &'t str) -> bool {
    struct Peek<'a, 't>(&'a Shape, Columns<'a, 't>);
    impl<'de> DeserializeSeed<'de> for Peek<'_, 'de> {
        type Value = bool;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    impl<'de> Visitor<'de> for Peek<'_, 'de> {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a Debezium envelope")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut signal = false;
            while let Some(Name(name)) = map.next_key()? {
                match name.as_ref() {
                    "source" => {
                        let Peek(shape, columns) = &self;
                        let seed = SourceSeed { shape, placeholder: columns.placeholder, notes: columns.notes };
                        signal = map.next_value_seed(seed)?.signal;
                    }
                    _ => {
                        map.next_value::<Skip>()?;
                    }
                }
            }
            Ok(signal)
        }
    }
    columns.notes.read("the value", text, Peek(shape, columns)).unwrap_or(false)
}

#[cfg(test)]
mod tests;
