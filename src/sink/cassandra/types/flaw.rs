//! What keeps a value out of a column.

use bigdecimal::BigDecimal;

use super::encode::narrow;
use super::{DAY_MICROS, MICROS_PER_MILLI, NANOS_PER_MICRO, order};
use crate::change::RejectClass;
use crate::row::{Duration, Kind, Value};

/// Why a value does not fit, as the end of a sentence that begins with its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    pub class: RejectClass,
    pub text: &'static str,
    /// It is not the value itself that does not fit, but one inside it.
    pub is_inside: bool,
}

/// What is wrong with a value of a column. A column may have none.
pub fn flaw(kind: &Kind, value: &Value) -> Option<Flaw> {
    if value.is_present() { flaw_of_present(kind, value) } else { None }
}

fn flaw_of_present(kind: &Kind, value: &Value) -> Option<Flaw> {
    match (kind, value) {
        (Kind::List(item), Value::List(items)) => flaw_inside(items.iter().map(|value| (&**item, value))),
        (Kind::Set(item), Value::List(items)) => flaw_inside(items.iter().map(|value| (&**item, value)))
            .or_else(|| order::sorted(item, items).is_none().then_some(out_of_range("holds one element twice"))),
        (Kind::Map(key_kind, value_kind), Value::Map(pairs)) => {
            let both = pairs.iter().flat_map(|(key, value)| [(&**key_kind, key), (&**value_kind, value)]);
            flaw_inside(both).or_else(|| {
                order::sorted_pairs(key_kind, pairs).is_none().then_some(out_of_range("holds one key twice"))
            })
        }
        (Kind::Vector(_, dimensions), Value::List(items)) if items.len() != *dimensions => {
            Some(out_of_range("has another number of elements than the vector"))
        }
        (Kind::Vector(item, _), Value::List(items)) => flaw_inside(items.iter().map(|value| (&**item, value))),
        (Kind::Tuple(kinds), Value::List(items)) if items.len() == kinds.len() => {
            flaw_of_parts(kinds.iter().zip(items))
        }
        (Kind::Struct(fields), Value::List(items)) if items.len() == fields.len() => {
            flaw_of_parts(fields.iter().map(|(_, kind)| kind).zip(items))
        }
        _ => flaw_of_scalar(kind, value),
    }
}

fn flaw_inside<'v>(mut elements: impl Iterator<Item = (&'v Kind, &'v Value)>) -> Option<Flaw> {
    let inside = |flaw: Flaw| Flaw { is_inside: true, ..flaw };
    elements.find_map(|(kind, value)| match value.is_present() {
        true => flaw_of_present(kind, value).map(inside),
        false => Some(inside(wrong_type("has no value"))),
    })
}

/// Tuples and structs have nulls, and nothing else that is no value.
fn flaw_of_parts<'v>(parts: impl Iterator<Item = (&'v Kind, &'v Value)>) -> Option<Flaw> {
    flaw_inside(parts.filter(|(_, value)| **value != Value::Null))
}

fn flaw_of_scalar(kind: &Kind, value: &Value) -> Option<Flaw> {
    let text = match (kind, value) {
        (Kind::Int8, Value::Int(int)) if i8::try_from(*int).is_err() => "does not fit 8 bits",
        (Kind::Int16, Value::Int(int)) if i16::try_from(*int).is_err() => "does not fit 16 bits",
        (Kind::Int32, Value::Int(int)) if i32::try_from(*int).is_err() => "does not fit 32 bits",
        (Kind::Decimal, Value::Decimal(decimal)) if i32::try_from(scale(decimal)).is_err() => {
            "has more decimal places than 32 bits count"
        }
        (Kind::Integer, Value::Decimal(decimal)) if scale(decimal) != 0 => "is not a whole number",
        (Kind::Float32, Value::Float32(float)) if !float.0.is_nan() && narrow(float.0).is_none() => {
            "does not fit a float of 32 bits"
        }
        (Kind::Ascii, Value::Text(text)) if !text.is_ascii() => "has characters that are not ASCII",
        (Kind::TimeUuid, Value::Uuid(uuid)) if uuid.get_version_num() != 1 => "is not a version 1 UUID",
        (Kind::Time, Value::Time(micros)) if !DAY_MICROS.contains(micros) => "is not a time before 24:00",
        (Kind::TimestampMillis, Value::Timestamp(micros)) if micros % MICROS_PER_MILLI != 0 => {
            "would lose microseconds: Cassandra keeps milliseconds"
        }
        (Kind::Duration, Value::Duration(duration)) => return flaw_of_duration(duration),
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64, Value::Int(_))
        | (Kind::Decimal | Kind::Integer, Value::Decimal(_))
        | (Kind::Float32, Value::Float32(_))
        | (Kind::Float64, Value::Float64(_))
        | (Kind::Ascii | Kind::Text, Value::Text(_))
        | (Kind::Bytes, Value::Bytes(_))
        | (Kind::Uuid | Kind::TimeUuid, Value::Uuid(_))
        | (Kind::Inet, Value::Inet(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Time, Value::Time(_))
        | (Kind::TimestampMillis, Value::Timestamp(_)) => return None,
        _ => return Some(wrong_type("has a value of another type")),
    };
    Some(out_of_range(text))
}

fn scale(decimal: &BigDecimal) -> i64 {
    decimal.fractional_digit_count()
}

fn flaw_of_duration(duration: &Duration) -> Option<Flaw> {
    let parts = [duration.months.into(), duration.days.into(), duration.micros];
    if parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0) {
        return Some(out_of_range("has parts of both signs, and Cassandra's durations have one"));
    }
    let fits = duration.micros.checked_mul(NANOS_PER_MICRO).is_some();
    (!fits).then_some(out_of_range("has more nanoseconds than 64 bits count"))
}

fn out_of_range(text: &'static str) -> Flaw {
    Flaw { class: RejectClass::OutOfRange, text, is_inside: false }
}

fn wrong_type(text: &'static str) -> Flaw {
    Flaw { class: RejectClass::WrongType, text, is_inside: false }
}
