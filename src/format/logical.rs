//! One value out of JSON by its column's wire form: which form takes which kind of JSON, and what is refused.
//!
//! What a scalar's text or number means is in the files below by family. No decimal and no 64-bit integer passes a
//! float, and no float passes serde_json's, which is not always the nearest one.

mod numbers;
mod binary;
mod iso;
mod temporal;
mod nested;
#[cfg(test)]
mod tests;

pub use binary::of_hex;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::change::{Reject, RejectClass};
use crate::format::json::Notes;
use crate::format::unavailable::Placeholder;
use crate::row::Value;
use crate::row::wire::Wire;

/// Reads a value from the text of a JSON string. Placeholders of unchanged values are not looked for.
pub fn from_text(wire: &Wire, text: &str) -> Result<Value, Reject> {
    match wire {
        Wire::Text => Ok(Value::Text(text.into())),
        Wire::Uuid => uuid(text),
        Wire::Decimal { scale } => numbers::decimal_of_base64(wire, *scale, text),
        Wire::DecimalText => numbers::decimal(text),
        Wire::Float32 | Wire::Float64 | Wire::DecimalFloat => numbers::special_float(wire, text),
        Wire::Bool => binary::bit(text),
        Wire::Bytes(form) => binary::bytes(*form, text),
        Wire::Bits { length } => binary::bits(*length, text),
        Wire::CalendarDate => temporal::calendar_date(text),
        Wire::IsoDate => temporal::iso_date(text),
        Wire::IsoTime => temporal::iso_time(text),
        Wire::IsoTimestamp { .. } => temporal::iso_timestamp(wire, text),
        Wire::ZonedTimestamp { .. } => temporal::zoned_timestamp(wire, text),
        Wire::ZonedTime => temporal::zoned_time(text),
        Wire::Interval => temporal::interval(text),
        Wire::HstoreJson => nested::hstore_of_text(text),
        _ => Err(wrong(wire, "a string")),
    }
}

/// Reads a value from a JSON number without fraction or exponent.
fn from_integer(wire: &Wire, number: i64) -> Result<Value, Reject> {
    match wire {
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => numbers::integer(wire, number),
        Wire::Date => temporal::days(number),
        Wire::Time { unit, .. } => temporal::time(wire, *unit, number),
        Wire::LocalTimestamp { unit, .. } => temporal::local_timestamp(wire, *unit, number),
        Wire::MicroDuration => Ok(temporal::micro_duration(number)),
        // An integer for a timestamp with zone does not say its unit, and a guess would be off by a thousand.
        _ => Err(wrong(wire, "a number")),
    }
}

/// A value that is not of the column's kind; `found` says what JSON had there.
pub fn wrong(wire: &Wire, found: &str) -> Reject {
    Reject::new(RejectClass::WrongType, format!("expected {wire}, found {found}"))
}

/// A value that its kind cannot hold.
fn out_of_range(wire: &Wire) -> Reject {
    Reject::new(RejectClass::OutOfRange, format!("the value does not fit {wire}"))
}

fn uuid(text: &str) -> Result<Value, Reject> {
    const HYPHENATED: usize = 36;
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == HYPHENATED => Ok(Value::Uuid(uuid)),
        _ => Err(wrong(&Wire::Uuid, "a string that is not one")),
    }
}

/// Reads one value of a column, or of an element or part of one.
#[derive(Clone, Copy)]
pub struct ValueSeed<'a, 't> {
    pub wire: &'a Wire,
    /// The column, as a reject names it.
    pub column: &'a str,
    pub placeholder: &'a Placeholder,
    pub notes: &'a Notes<'t>,
    pub place: Place,
}

/// Where a value stands, which decides what is a placeholder there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Column,
    /// If it is the only one, it may stand for an unchanged array.
    FirstItem,
    /// Nothing is a placeholder here: what looks like one is a value.
    Inside,
}

impl<'a, 't> ValueSeed<'a, 't> {
    fn inside<'b>(self, wire: &'b Wire, place: Place) -> ValueSeed<'b, 't>
    where
        'a: 'b,
    {
        ValueSeed { wire, place, ..self }
    }

    /// Adds the column's name to what is wrong with its value.
    fn refuse<E: serde::de::Error>(&self, reject: Reject) -> E {
        self.notes.refuse(Reject::new(reject.class, format!("column \"{}\": {}", self.column, reject.text)))
    }

    fn wrong<E: serde::de::Error>(&self, found: &str) -> E {
        self.refuse(wrong(self.wire, found))
    }

    fn finish<E: serde::de::Error>(&self, read: Result<Value, Reject>) -> Result<Value, E> {
        read.map_err(|reject| self.refuse(reject))
    }

    fn is_placeholder(&self, text: &str) -> bool {
        match self.place {
            Place::Column => self.placeholder.is_text(self.wire, text),
            Place::FirstItem => self.placeholder.is_item(self.wire, text),
            Place::Inside => false,
        }
    }

    fn text(&self, text: &str) -> Result<Value, Reject> {
        if self.is_placeholder(text) { Ok(Value::Unavailable) } else { from_text(self.wire, text) }
    }

    /// Reads a number from its own text, so that no digit passes a float.
    fn raw(&self, raw: &str) -> Result<Value, Reject> {
        let found = match raw.as_bytes().first() {
            Some(b'"') => match unquoted(raw) {
                Some(text) => return self.text(&text),
                None => "a string that cannot be read",
            },
            Some(b'n') => return Ok(Value::Null),
            Some(b't' | b'f') => "a boolean",
            Some(b'[') => "an array",
            Some(b'{') => "an object",
            _ => return numbers::number(self.wire, raw),
        };
        Err(wrong(self.wire, found))
    }
}

/// The text of a JSON string that serde_json has found to be one.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, 'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.wire {
            Wire::Decimal { .. } | Wire::DecimalText | Wire::DecimalFloat | Wire::Float32 | Wire::Float64 => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                self.finish(self.raw(raw.get()))
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, 'de> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.wire)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        if *self.wire == Wire::Bool { Ok(Value::Bool(value)) } else { Err(self.wrong("a boolean")) }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.finish(from_integer(self.wire, number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(self.refuse(out_of_range(self.wire))),
        }
    }

    /// serde_json hands over as a float what has a fraction or an exponent, and integers beyond 64 bits.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.abs() >= 2f64.powi(63) {
            return Err(self.refuse(out_of_range(self.wire)));
        }
        Err(self.wrong("a number with a fraction or an exponent"))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Value, E> {
        if *self.wire == Wire::Text && !self.is_placeholder(text) {
            return Ok(Value::Text(self.notes.share(text)));
        }
        self.visit_str(text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.finish(self.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
        match self.wire {
            Wire::Array(item) => nested::array(self, item, seq),
            Wire::Vector => nested::vector(self, seq),
            _ => Err(self.wrong("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.wire {
            Wire::VariableScaleDecimal => nested::variable_scale_decimal(self, map),
            Wire::HstoreMap => nested::hstore(self, map),
            Wire::Point => nested::point(self, map),
            Wire::Geometry => nested::geometry(self, map),
            Wire::SparseVector => nested::sparse_vector(self, map),
            _ => Err(self.wrong("an object")),
        }
    }
}
