//! How many bytes a value takes on the wire.

use bigdecimal::num_bigint::{BigInt, Sign};

use super::NANOS_PER_MICRO;
use crate::row::{Duration, Kind, Value};

/// The bytes of a value that passed `check`, without its own length. [`super::encode`] writes exactly so many. What has
/// no value has none.
pub fn value_bytes(kind: &Kind, value: &Value) -> usize {
    match (kind, value) {
        (Kind::List(item) | Kind::Set(item), Value::List(items)) => {
            4 + items.iter().map(|value| 4 + value_bytes(item, value)).sum::<usize>()
        }
        (Kind::Map(key_kind, value_kind), Value::Map(pairs)) => {
            let pair = |(key, value): &(Value, Value)| 8 + value_bytes(key_kind, key) + value_bytes(value_kind, value);
            4 + pairs.iter().map(pair).sum::<usize>()
        }
        (Kind::Vector(item, _), Value::List(items)) => match fixed_bytes(item) {
            Some(bytes) => bytes * items.len(),
            None => {
                let bytes = items.iter().map(|value| value_bytes(item, value));
                bytes.map(|bytes| vint_bytes(bytes as u64) + bytes).sum()
            }
        },
        (Kind::Tuple(kinds), Value::List(items)) => {
            kinds.iter().zip(items).map(|(kind, value)| 4 + value_bytes(kind, value)).sum()
        }
        (Kind::Struct(fields), Value::List(items)) => {
            fields.iter().zip(items).map(|((_, kind), value)| 4 + value_bytes(kind, value)).sum()
        }
        _ => scalar_bytes(kind, value),
    }
}

fn scalar_bytes(kind: &Kind, value: &Value) -> usize {
    match value {
        Value::Int(_) => match kind {
            Kind::Int8 => 1,
            Kind::Int16 => 2,
            Kind::Int32 => 4,
            _ => 8,
        },
        Value::Decimal(decimal) => {
            let scale = if *kind == Kind::Integer { 0 } else { 4 };
            scale + integer_bytes(&decimal.as_bigint_and_scale().0)
        }
        Value::Bool(_) => 1,
        Value::Float32(_) | Value::Date(_) => 4,
        Value::Float64(_) | Value::Time(_) | Value::Timestamp(_) => 8,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Uuid(_) => 16,
        Value::Inet(address) => {
            if address.is_ipv4() {
                4
            } else {
                16
            }
        }
        Value::Duration(Duration { months, days, micros }) => {
            let nanos = micros.saturating_mul(NANOS_PER_MICRO);
            [i64::from(*months), i64::from(*days), nanos].map(|part| vint_bytes(zigzag(part))).iter().sum()
        }
        _ => 0,
    }
}

/// The shortest two's complement form, which has a bit for the sign.
fn integer_bytes(integer: &BigInt) -> usize {
    let bits = integer.bits();
    // -128 fits where 128 does not.
    let is_lowest = integer.sign() == Sign::Minus && integer.trailing_zeros() == Some(bits - 1);
    (bits - u64::from(is_lowest)) as usize / 8 + 1
}

/// The width of a kind whose values stand in a vector without their lengths. It is the server's choice
/// (`AbstractType.valueLengthIfFixed`): small integers, dates and times have one width and still carry it.
pub fn fixed_bytes(kind: &Kind) -> Option<usize> {
    match kind {
        Kind::Bool => Some(1),
        Kind::Int32 | Kind::Float32 => Some(4),
        Kind::Int64 | Kind::Float64 | Kind::TimestampMillis => Some(8),
        Kind::Uuid | Kind::TimeUuid => Some(16),
        Kind::Vector(item, dimensions) => fixed_bytes(item).map(|bytes| bytes * dimensions),
        _ => None,
    }
}

/// Small numbers of either sign as small numbers without one.
pub fn zigzag(int: i64) -> u64 {
    ((int << 1) ^ (int >> 63)).cast_unsigned()
}

/// Seven bits a byte, and nine bytes for what has more than 56.
pub fn vint_bytes(int: u64) -> usize {
    let bits = 64 - (int | 1).leading_zeros() as usize;
    bits.div_ceil(7).min(9)
}
