//! Values into the bytes of the protocol.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use std::net::IpAddr;

use super::size::{fixed_bytes, value_bytes, vint_bytes, zigzag};
use super::{DATE_EPOCH, MICROS_PER_MILLI, NANOS_PER_MICRO, order};
use crate::row::{Duration, Kind, Value};

/// A value reached the wire that `check` would have refused: a fault of ours, never of the record.
#[derive(Debug, thiserror::Error)]
#[error("a value was bound that does not fit its column")]
pub struct Misfit;

/// Hands the bytes of a value that passed `check` to `put`, in one or more pieces. Null, absent and unavailable have no
/// bytes and are a [`Misfit`] here. Nothing is allocated but to sort sets and maps, and for numbers beyond 64 bits.
pub fn encode(kind: &Kind, value: &Value, mut put: impl FnMut(&[u8])) -> Result<(), Misfit> {
    write(kind, value, &mut put)
}

fn write<P: FnMut(&[u8])>(kind: &Kind, value: &Value, put: &mut P) -> Result<(), Misfit> {
    match (kind, value) {
        (Kind::List(item), Value::List(items)) => {
            write_count(items.len(), put)?;
            items.iter().try_for_each(|value| write_element(item, value, put))
        }
        (Kind::Set(item), Value::List(items)) => {
            write_count(items.len(), put)?;
            let mut items = order::sorted(item, items).ok_or(Misfit)?.into_iter();
            items.try_for_each(|value| write_element(item, value, put))
        }
        (Kind::Map(key_kind, value_kind), Value::Map(pairs)) => {
            write_count(pairs.len(), put)?;
            order::sorted_pairs(key_kind, pairs).ok_or(Misfit)?.into_iter().try_for_each(|(key, value)| {
                write_element(key_kind, key, put)?;
                write_element(value_kind, value, put)
            })
        }
        (Kind::Vector(item, dimensions), Value::List(items)) if items.len() == *dimensions => {
            let is_fixed = fixed_bytes(item).is_some();
            items.iter().try_for_each(|value| {
                if !is_fixed {
                    write_vint(value_bytes(item, value) as u64, put);
                }
                write(item, value, put)
            })
        }
        (Kind::Tuple(kinds), Value::List(items)) if items.len() == kinds.len() => {
            kinds.iter().zip(items).try_for_each(|(kind, value)| write_part(kind, value, put))
        }
        (Kind::Struct(fields), Value::List(items)) if items.len() == fields.len() => {
            fields.iter().zip(items).try_for_each(|((_, kind), value)| write_part(kind, value, put))
        }
        _ => write_scalar(kind, value, put),
    }
}

fn write_count<P: FnMut(&[u8])>(count: usize, put: &mut P) -> Result<(), Misfit> {
    put(&i32::try_from(count).map_err(|_| Misfit)?.to_be_bytes());
    Ok(())
}

fn write_element<P: FnMut(&[u8])>(kind: &Kind, value: &Value, put: &mut P) -> Result<(), Misfit> {
    write_count(value_bytes(kind, value), put)?;
    write(kind, value, put)
}

/// A part of a tuple or a struct, which may be null.
fn write_part<P: FnMut(&[u8])>(kind: &Kind, value: &Value, put: &mut P) -> Result<(), Misfit> {
    if *value == Value::Null {
        put(&(-1i32).to_be_bytes());
        return Ok(());
    }
    write_element(kind, value, put)
}

fn write_scalar<P: FnMut(&[u8])>(kind: &Kind, value: &Value, put: &mut P) -> Result<(), Misfit> {
    match (kind, value) {
        (Kind::Bool, Value::Bool(bool)) => put(&[u8::from(*bool)]),
        (Kind::Int8, Value::Int(int)) => put(&i8::try_from(*int).map_err(|_| Misfit)?.to_be_bytes()),
        (Kind::Int16, Value::Int(int)) => put(&i16::try_from(*int).map_err(|_| Misfit)?.to_be_bytes()),
        (Kind::Int32, Value::Int(int)) => put(&i32::try_from(*int).map_err(|_| Misfit)?.to_be_bytes()),
        (Kind::Int64, Value::Int(int)) => put(&int.to_be_bytes()),
        (Kind::Integer, Value::Decimal(integer)) => write_integer(integer, put)?,
        (Kind::Decimal, Value::Decimal(decimal)) => {
            let (digits, scale) = decimal.as_bigint_and_scale();
            put(&i32::try_from(scale).map_err(|_| Misfit)?.to_be_bytes());
            write_digits(&digits, put);
        }
        // A NaN that is written is always the same one.
        (Kind::Float32, Value::Float32(float)) if float.0.is_nan() => put(&f32::NAN.to_be_bytes()),
        (Kind::Float32, Value::Float32(float)) => put(&narrow(float.0).ok_or(Misfit)?.to_be_bytes()),
        (Kind::Float64, Value::Float64(float)) if float.0.is_nan() => put(&f64::NAN.to_be_bytes()),
        (Kind::Float64, Value::Float64(float)) => put(&float.0.to_be_bytes()),
        (Kind::Ascii, Value::Text(text)) if text.is_ascii() => put(text.as_bytes()),
        (Kind::Text, Value::Text(text)) => put(text.as_bytes()),
        (Kind::Bytes, Value::Bytes(bytes)) => put(bytes),
        (Kind::Uuid, Value::Uuid(uuid)) => put(uuid.as_bytes()),
        (Kind::TimeUuid, Value::Uuid(uuid)) if uuid.get_version_num() == 1 => put(uuid.as_bytes()),
        (Kind::Inet, Value::Inet(IpAddr::V4(address))) => put(&address.octets()),
        (Kind::Inet, Value::Inet(IpAddr::V6(address))) => put(&address.octets()),
        (Kind::Date, Value::Date(days)) => put(&(days.cast_unsigned() ^ DATE_EPOCH).to_be_bytes()),
        (Kind::Time, Value::Time(micros)) if super::DAY_MICROS.contains(micros) => {
            put(&(micros * NANOS_PER_MICRO).to_be_bytes());
        }
        (Kind::TimestampMillis, Value::Timestamp(micros)) if micros % MICROS_PER_MILLI == 0 => {
            put(&(micros / MICROS_PER_MILLI).to_be_bytes());
        }
        (Kind::Duration, Value::Duration(duration)) => write_duration(duration, put)?,
        _ => return Err(Misfit),
    }
    Ok(())
}

/// The same number with 32 bits, where they hold it.
pub fn narrow(float: f64) -> Option<f32> {
    let narrow = float as f32;
    (f64::from(narrow).to_bits() == float.to_bits()).then_some(narrow)
}

fn write_integer<P: FnMut(&[u8])>(integer: &BigDecimal, put: &mut P) -> Result<(), Misfit> {
    match integer.as_bigint_and_scale() {
        (digits, 0) => write_digits(&digits, put),
        _ => return Err(Misfit),
    }
    Ok(())
}

fn write_digits<P: FnMut(&[u8])>(digits: &BigInt, put: &mut P) {
    match i64::try_from(digits) {
        // Nearly every number: no allocation.
        Ok(small) => put(shortest(&small.to_be_bytes())),
        Err(_) => put(&digits.to_signed_bytes_be()),
    }
}

/// The two's complement form without the bytes that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let repeats = bytes.windows(2).take_while(|pair| matches!(pair, [0x00, 0x00..=0x7f] | [0xff, 0x80..=0xff])).count();
    &bytes[repeats..]
}

fn write_duration<P: FnMut(&[u8])>(duration: &Duration, put: &mut P) -> Result<(), Misfit> {
    let Duration { months, days, micros } = *duration;
    let nanos = micros.checked_mul(NANOS_PER_MICRO).ok_or(Misfit)?;
    let parts = [i64::from(months), i64::from(days), nanos];
    if !parts.iter().all(|part| *part <= 0) && !parts.iter().all(|part| *part >= 0) {
        return Err(Misfit);
    }
    parts.into_iter().for_each(|part| write_vint(zigzag(part), put));
    Ok(())
}

/// The first byte begins with a one for each byte that follows it.
fn write_vint<P: FnMut(&[u8])>(int: u64, put: &mut P) {
    let length = vint_bytes(int);
    let mut bytes = [0; 9];
    bytes[1..].copy_from_slice(&int.to_be_bytes());
    let bytes = &mut bytes[9 - length..];
    bytes[0] |= !(0xffu16 >> (length - 1)) as u8;
    put(bytes);
}
