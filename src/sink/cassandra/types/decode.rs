//! Values out of the bytes of the protocol.

use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use bytestring::ByteString;
use scylla::cluster::metadata::{CollectionType, ColumnType, NativeType};
use uuid::Uuid;

use super::{DATE_EPOCH, MICROS_PER_MILLI, NANOS_PER_MICRO};
use crate::row::{Duration, Float, Value};

/// Why a stored value was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    Type(String),
    #[error("is stored in a form that Rowferry does not read")]
    Form,
}

/// Reads what the server returns for a column of this type; `None` is null. Sets and maps come in the server's order.
///
/// Fails for what no [`Value`] stands for: times finer than microseconds, timestamps beyond them, and the empty values
/// that old clients wrote into numbers.
pub fn decode(typ: &ColumnType<'_>, bytes: Option<&[u8]>) -> Result<Value, Unreadable> {
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) => value(typ, bytes).ok_or(Unreadable::Form),
    }
}

fn value(typ: &ColumnType<'_>, bytes: &[u8]) -> Option<Value> {
    let mut rest = Rest(bytes);
    let value = match typ {
        ColumnType::Native(native) => return scalar(native, bytes),
        ColumnType::Collection { typ: CollectionType::List(item) | CollectionType::Set(item), .. } => {
            let count = rest.count()?;
            let items = (0..count).map(|_| value(item, rest.element()??));
            Value::List(items.collect::<Option<_>>()?)
        }
        ColumnType::Collection { typ: CollectionType::Map(key, of), .. } => {
            let count = rest.count()?;
            let pairs = (0..count).map(|_| Some((value(key, rest.element()??)?, value(of, rest.element()??)?)));
            Value::Map(pairs.collect::<Option<_>>()?)
        }
        ColumnType::Vector { typ: item, dimensions } => {
            let fixed = item.type_size_for_vector();
            let items = (0..*dimensions).map(|_| {
                let length = match fixed {
                    Some(length) => length,
                    None => usize::try_from(rest.vint()?).ok()?,
                };
                value(item, rest.take(length)?)
            });
            Value::List(items.collect::<Option<_>>()?)
        }
        ColumnType::Tuple(types) => Value::List(types.iter().map(|typ| rest.part(typ)).collect::<Option<_>>()?),
        ColumnType::UserDefinedType { definition, .. } => {
            let fields = definition.field_types.iter().map(|(_, typ)| rest.part(typ));
            Value::List(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    };
    rest.0.is_empty().then_some(value)
}

fn scalar(native: &NativeType, bytes: &[u8]) -> Option<Value> {
    Some(match native {
        NativeType::Boolean => Value::Bool(u8::from_be_bytes(bytes.try_into().ok()?) != 0),
        NativeType::TinyInt => Value::Int(i8::from_be_bytes(bytes.try_into().ok()?).into()),
        NativeType::SmallInt => Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        NativeType::Int => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        NativeType::BigInt => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        NativeType::Varint => integer(bytes, 0)?,
        NativeType::Decimal => {
            let (scale, digits) = bytes.split_first_chunk::<4>()?;
            integer(digits, i32::from_be_bytes(*scale))?
        }
        NativeType::Float => Value::Float32(Float(f32::from_be_bytes(bytes.try_into().ok()?).into())),
        NativeType::Double => Value::Float64(Float(f64::from_be_bytes(bytes.try_into().ok()?))),
        NativeType::Ascii | NativeType::Text => Value::Text(ByteString::try_from(bytes).ok()?),
        NativeType::Blob => Value::Bytes(Bytes::copy_from_slice(bytes)),
        NativeType::Uuid | NativeType::Timeuuid => Value::Uuid(Uuid::from_slice(bytes).ok()?),
        NativeType::Inet => Value::Inet(match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        }),
        NativeType::Date => Value::Date((u32::from_be_bytes(bytes.try_into().ok()?) ^ DATE_EPOCH).cast_signed()),
        NativeType::Time => Value::Time(micros(i64::from_be_bytes(bytes.try_into().ok()?))?),
        NativeType::Timestamp => {
            Value::Timestamp(i64::from_be_bytes(bytes.try_into().ok()?).checked_mul(MICROS_PER_MILLI)?)
        }
        NativeType::Duration => {
            let mut rest = Rest(bytes);
            let (months, days) = (i32::try_from(rest.signed()?).ok()?, i32::try_from(rest.signed()?).ok()?);
            let micros = micros(rest.signed()?)?;
            rest.0.is_empty().then_some(Value::Duration(Duration { months, days, micros }))?
        }
        _ => return None,
    })
}

fn integer(digits: &[u8], scale: i32) -> Option<Value> {
    let number = || BigDecimal::new(BigInt::from_signed_bytes_be(digits), scale.into());
    (!digits.is_empty()).then(number).map(Value::Decimal)
}

fn micros(nanos: i64) -> Option<i64> {
    (nanos % NANOS_PER_MICRO == 0).then_some(nanos / NANOS_PER_MICRO)
}

/// Bytes that are still to be read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A number of elements. Each has at least its length, so hostile numbers end with the bytes.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.int()?).ok()
    }

    /// An element behind its length; `Some(None)` is null.
    fn element(&mut self) -> Option<Option<&'b [u8]>> {
        match usize::try_from(self.int()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }

    /// A part of a tuple or a struct. Values from before the type grew end early: what they lack is null.
    fn part(&mut self, typ: &ColumnType<'_>) -> Option<Value> {
        if self.0.is_empty() {
            return Some(Value::Null);
        }
        match self.element()? {
            Some(bytes) => value(typ, bytes),
            None => Some(Value::Null),
        }
    }

    fn vint(&mut self) -> Option<u64> {
        let first = *self.take(1)?.first()?;
        let more = self.take(first.leading_ones() as usize)?;
        let high = u64::from(first) & (0xff >> more.len());
        Some(more.iter().fold(high, |int, byte| int << 8 | u64::from(*byte)))
    }

    fn signed(&mut self) -> Option<i64> {
        let int = self.vint()?;
        Some((int >> 1).cast_signed() ^ -(int & 1).cast_signed())
    }
}
