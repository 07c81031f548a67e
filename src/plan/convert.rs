//! From what the source had to what a target's column holds: which pairs fit, what each would lose, and the values.

mod pairs;
mod number;
mod time;
mod text;
mod nested;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod nested_tests;
#[cfg(test)]
mod domain_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod page_tests;

use uuid::Uuid;

use crate::change::RejectClass;
use crate::row::wire::Wire;
use crate::row::{Kind, Special, Value};

/// What a column may do with values that its kind cannot hold. Without any of it they are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What is too fine is cut: microseconds in a column of milliseconds, digits in a float.
    pub lossy: bool,
    pub unrepresentable: Unrepresentable,
}

/// Infinities, NaN, 24:00, dates that the target's calendar has not, and null elements where elements must not be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unrepresentable {
    #[default]
    Reject,
    /// The nearest value that the kind has. NaN, null elements, and infinities among exact decimals have none, and are
    /// rejected.
    Clamp,
    /// Null. Inside a tuple or a struct the part becomes null; a list, set, vector or map has no null elements and
    /// becomes null as a whole.
    Null,
}

/// How a source column and a target column go together, as far as their types alone show it. Each text is the end of
/// a sentence that begins with the target's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Every value fits.
    Exact,
    /// Values that do not fit are rejected with their record, or follow the column's policy. The text says which.
    Checked(String),
    /// Something is lost from values that do fit, on the way or by the connector already: the column needs
    /// `lossy = true`. The text says what.
    Lossy(String),
    /// No value fits, except that an empty list is a list of anything. The text says why.
    Never(String),
}

/// Why a value is refused, as the end of a sentence that begins with its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// `WrongType` when no value of that form fits the kind, `OutOfRange` when this value does not.
    pub class: RejectClass,
    pub why: &'static str,
}

/// Whether values that stand on the wire like this can go into a column of this kind.
pub fn fit(wire: &Wire, kind: &Kind) -> Fit {
    pairs::verdict(wire, kind).into()
}

/// The value in the one form in which the kind takes it; null, absent and unavailable stay what they are.
///
/// What would lose something is refused without `lossy`. An infinity of dates and timestamps clamps to the end of
/// [`Kind::Date`], or to the earliest and latest instant that both Postgres and microseconds since 1970 can hold:
/// -4713-11-24T00:00:00Z and 294247-01-10T04:00:54.775Z. Each is a whole millisecond, so both timestamps take it.
pub fn convert(value: &Value, kind: &Kind, policy: Policy) -> Result<Value, Misfit> {
    match (kind, value) {
        (_, Value::Null | Value::Absent | Value::Unavailable)
        | (Kind::Bool, Value::Bool(_))
        | (Kind::Int64, Value::Int(_))
        | (Kind::Float32, Value::Float32(_))
        | (Kind::Float64, Value::Float64(_))
        | (Kind::Text, Value::Text(_))
        | (Kind::Bytes, Value::Bytes(_))
        | (Kind::Uuid, Value::Uuid(_))
        | (Kind::Inet, Value::Inet(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Timestamp, Value::Timestamp(_)) => Ok(value.clone()),
        (Kind::Bool, _) => Err(wrong(value)),
        (Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64, _) => number::to_int(value, kind, policy),
        (Kind::Integer, _) => number::to_integer(value, policy),
        (Kind::Decimal, _) => number::to_decimal(value, policy),
        (Kind::Float32, _) => number::to_float32(value, policy),
        (Kind::Float64, _) => number::to_float64(value, policy),
        (Kind::Ascii | Kind::Text, _) => text::to_text(value, kind),
        (Kind::Bytes, _) => nested::to_bytes(value),
        (Kind::Uuid | Kind::TimeUuid, _) => to_uuid(value, kind),
        (Kind::Inet, _) => to_inet(value),
        (Kind::Date, _) => time::to_date(value, policy),
        (Kind::Time, _) => time::to_time(value, policy),
        (Kind::TimestampMillis | Kind::Timestamp, _) => time::to_timestamp(value, kind, policy),
        (Kind::Duration, _) => time::to_duration(value),
        (Kind::List(item), _) => nested::to_list(value, item, policy),
        (Kind::Set(item), _) => nested::to_set(value, item, policy),
        (Kind::Map(keys, values), _) => nested::to_map(value, keys, values, policy),
        (Kind::Vector(item, dimensions), _) => nested::to_vector(value, item, *dimensions, policy),
        (Kind::Tuple(items), _) => nested::to_tuple(value, items, policy),
        (Kind::Struct(fields), _) => nested::to_struct(value, fields, policy),
    }
}

/// The one form that equal values have in a key: 1.0 and 1.00 are one number to Postgres, and two partitions to a target
/// that tells keys apart by their bytes.
pub fn to_key(value: &mut Value) {
    if let Value::Decimal(number) = value {
        *value = Value::Decimal(number.normalized());
    }
}

fn to_uuid(value: &Value, kind: &Kind) -> Result<Value, Misfit> {
    const HYPHENATED: usize = 36;
    let uuid = match value {
        Value::Uuid(uuid) => *uuid,
        Value::Text(text) => match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == HYPHENATED => uuid,
            _ => return Err(out_of_range("has a text that is no UUID with hyphens")),
        },
        _ => return Err(wrong(value)),
    };
    if *kind == Kind::TimeUuid && uuid.get_version_num() != 1 {
        return Err(out_of_range("has a UUID that is not of version 1"));
    }
    Ok(Value::Uuid(uuid))
}

fn to_inet(value: &Value) -> Result<Value, Misfit> {
    match value {
        Value::Text(text) => match text.parse() {
            Ok(address) => Ok(Value::Inet(address)),
            Err(_) => Err(out_of_range("has a text that is no address of a host")),
        },
        _ => Err(wrong(value)),
    }
}

/// What becomes of a value that the kind has not. `nearest` is what it clamps to.
fn unrepresentable(policy: Policy, nearest: Option<Value>, why: &'static str) -> Result<Value, Misfit> {
    match (policy.unrepresentable, nearest) {
        (Unrepresentable::Null, _) => Ok(Value::Null),
        (Unrepresentable::Clamp, Some(nearest)) => Ok(nearest),
        (Unrepresentable::Clamp | Unrepresentable::Reject, _) => Err(out_of_range(why)),
    }
}

/// What becomes of NaN and infinities in a kind that has none. `ends` are its lowest and its highest value.
fn special(special: Special, ends: Option<(Value, Value)>, policy: Policy) -> Result<Value, Misfit> {
    let (nearest, why) = match special {
        Special::NotANumber => (None, "has NaN, which it cannot hold"),
        Special::NegativeInfinity => (ends.map(|(low, _)| low), "has an infinity, which it cannot hold"),
        Special::Infinity => (ends.map(|(_, high)| high), "has an infinity, which it cannot hold"),
    };
    unrepresentable(policy, nearest, why)
}

fn out_of_range(why: &'static str) -> Misfit {
    Misfit { class: RejectClass::OutOfRange, why }
}

/// The kind takes no value of this form.
fn wrong(value: &Value) -> Misfit {
    let why = match value {
        Value::Absent | Value::Unavailable => "takes no missing part",
        Value::Null => "takes no null part",
        Value::Bool(_) => "takes no boolean",
        Value::Int(_) => "takes no whole number",
        Value::Decimal(_) => "takes no decimal",
        Value::Float32(_) | Value::Float64(_) => "takes no float",
        Value::Text(_) => "takes no text",
        Value::Bytes(_) => "takes no bytes",
        Value::Uuid(_) => "takes no UUID",
        Value::Inet(_) => "takes no network address",
        Value::Date(_) => "takes no date",
        Value::Time(_) | Value::ZonedTime(_) => "takes no time of day",
        Value::LocalTimestamp(_) | Value::Timestamp(_) => "takes no timestamp",
        Value::Duration(_) => "takes no interval",
        Value::Special(_) => "takes no NaN and no infinity",
        Value::List(_) => "takes no list",
        Value::Map(_) => "takes no map",
        Value::Struct(_) => "takes no value with these parts",
    };
    Misfit { class: RejectClass::WrongType, why }
}
