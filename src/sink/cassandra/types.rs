//! Values in Cassandra's types: which a column may have, which values fit it, and their bytes both ways.
//!
//! Pure. The byte forms are those of the native protocol, version 4, section 6.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytestring::ByteString;
use scylla::cluster::metadata::{CollectionType, ColumnType, NativeType};
use uuid::Uuid;

use crate::change::{Reject, RejectClass};
use crate::plan::route::{Route, RouteColumn};
use crate::plan::write::{Write, WriteKind};
use crate::row::{Kind, Value};

/// The longest key that the server takes, in bytes: a partition key as a whole, and each clustering column.
pub const KEY_BYTES_MAX: usize = 65_535;

/// The largest row that is sent, in bytes as [`row_bytes`] counts them. The server refuses a mutation above half of
/// its commit log segment; 8 MiB is the smallest segment in use, and what the message adds stays in the difference.
pub const ROW_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// What the server adds to a row and to each of its cells when it counts a batch's size: timestamps, deletion times
/// and the time to live. Measured on Cassandra 5.0.8, and less on older ones; it leaves out the partition key, we do not.
const ROW_OVERHEAD_BYTES: usize = 50;
const CELL_OVERHEAD_BYTES: usize = 20;

/// What CQL counts from: day 0 of a `date` is this many days before 1970-01-01.
const DATE_EPOCH: u32 = 1 << 31;

const MICROS_PER_MILLI: i64 = 1000;

/// How values of a column are read and written, or why the column cannot be written, as the end of a sentence.
pub fn kind_of(typ: &ColumnType<'_>) -> Result<Kind, String> {
    let native = match typ {
        ColumnType::Native(native) => native,
        ColumnType::Collection { frozen: false, typ: CollectionType::List(_) } => {
            return Err(
                "is a list that is not frozen, which doubles when the same write arrives twice: make it frozen".into(),
            );
        }
        other => return Err(format!("has type {}, which Rowferry does not write yet", type_name(other))),
    };
    match native {
        NativeType::Boolean => Ok(Kind::Bool),
        NativeType::SmallInt => Ok(Kind::Int16),
        NativeType::Int => Ok(Kind::Int32),
        NativeType::BigInt => Ok(Kind::Int64),
        NativeType::Decimal => Ok(Kind::Decimal),
        // The server alone checks that an ascii column gets ASCII: such a row comes back as refused.
        NativeType::Text | NativeType::Ascii => Ok(Kind::Text),
        NativeType::Uuid => Ok(Kind::Uuid),
        NativeType::Date => Ok(Kind::Date),
        NativeType::Timestamp => Ok(Kind::Timestamp),
        NativeType::Counter => {
            Err("is a counter, which counts twice when the same write arrives twice: make it a bigint".into())
        }
        _ => Err(format!("has type {}, which Rowferry does not write yet", type_name(typ))),
    }
}

/// The type as CQL writes it.
fn type_name(typ: &ColumnType<'_>) -> String {
    let frozen = |frozen: bool, inner: String| if frozen { format!("frozen<{inner}>") } else { inner };
    match typ {
        ColumnType::Native(native) => format!("{native:?}").to_lowercase(),
        ColumnType::Collection { frozen: is_frozen, typ } => frozen(
            *is_frozen,
            match typ {
                CollectionType::List(item) => format!("list<{}>", type_name(item)),
                CollectionType::Set(item) => format!("set<{}>", type_name(item)),
                CollectionType::Map(key, value) => format!("map<{}, {}>", type_name(key), type_name(value)),
                _ => "collection".into(),
            },
        ),
        ColumnType::Vector { typ, dimensions } => format!("vector<{}, {dimensions}>", type_name(typ)),
        ColumnType::UserDefinedType { frozen: is_frozen, definition } => {
            frozen(*is_frozen, definition.name.to_string())
        }
        ColumnType::Tuple(items) => {
            format!("tuple<{}>", items.iter().map(type_name).collect::<Vec<_>>().join(", "))
        }
        _ => "that this version does not know".into(),
    }
}

/// Whether the server can take this write. Asked before anything is sent, because the server reports a row that does
/// not fit with the same code as a missing column. `partition_columns` says how many columns of the key choose the
/// partition.
pub fn check(route: &Route, partition_columns: usize, write: &Write) -> Result<(), Reject> {
    match write.kind {
        WriteKind::Upsert => {
            for (column, value) in route.columns.iter().zip(&write.values) {
                check_value(route, column, value)?;
            }
        }
        WriteKind::Delete => {
            for (column, value) in key_of(route, write) {
                check_value(route, column, value)?;
            }
        }
    }
    check_key(route, partition_columns, write)?;
    if row_bytes(route, write) > ROW_BYTES_MAX {
        return Err(Reject::new(
            RejectClass::TooLarge,
            format!("the row for {} is larger than {ROW_BYTES_MAX} bytes", route.table),
        ));
    }
    Ok(())
}

/// What the server counts for this write at most, in bytes.
pub fn row_bytes(route: &Route, write: &Write) -> usize {
    let key: usize = key_of(route, write).map(|(column, value)| value_bytes(&column.kind, value)).sum();
    let cells: usize = match write.kind {
        WriteKind::Upsert => route
            .columns
            .iter()
            .zip(&write.values)
            .filter(|(_, value)| value.is_sent())
            .map(|(column, value)| CELL_OVERHEAD_BYTES + value_bytes(&column.kind, value))
            .sum(),
        WriteKind::Delete => 0,
    };
    ROW_OVERHEAD_BYTES + key + cells
}

fn key_of<'a>(route: &'a Route, write: &'a Write) -> impl Iterator<Item = (&'a RouteColumn, &'a Value)> {
    route.key.iter().map(|at| (&route.columns[*at], write.values.get(*at).unwrap_or(&Value::Absent)))
}

fn check_key(route: &Route, partition_columns: usize, write: &Write) -> Result<(), Reject> {
    // A partition key of several columns carries the length of each and a closing byte (3 bytes).
    let frame = if partition_columns > 1 { 3 } else { 0 };
    let mut partition_bytes = 0;
    for (at, (column, value)) in key_of(route, write).enumerate() {
        if matches!(value, Value::Null | Value::Absent | Value::Unavailable) {
            return Err(reject(RejectClass::MissingKey, route, column, "has no value, and is in the primary key"));
        }
        let bytes = value_bytes(&column.kind, value);
        if at < partition_columns {
            partition_bytes += bytes + frame;
        } else if bytes > KEY_BYTES_MAX {
            return Err(out_of_range(route, column, "is longer than 65535 bytes, and is in the primary key"));
        }
        if partition_columns == 1 && at == 0 && bytes == 0 {
            return Err(out_of_range(route, column, "is empty, and is the partition key"));
        }
        if partition_bytes > KEY_BYTES_MAX {
            return Err(out_of_range(route, column, "makes the partition key longer than 65535 bytes"));
        }
    }
    Ok(())
}

fn check_value(route: &Route, column: &RouteColumn, value: &Value) -> Result<(), Reject> {
    let problem = match (&column.kind, value) {
        (_, Value::Absent | Value::Unavailable | Value::Null) => return Ok(()),
        (Kind::Int16, Value::Int(int)) if i16::try_from(*int).is_err() => "does not fit 16 bits",
        (Kind::Int32, Value::Int(int)) if i32::try_from(*int).is_err() => "does not fit 32 bits",
        (Kind::Decimal, Value::Decimal(decimal)) if i32::try_from(decimal.fractional_digit_count()).is_err() => {
            "has more decimal places than 32 bits count"
        }
        (Kind::Timestamp, Value::Timestamp(micros)) if micros % MICROS_PER_MILLI != 0 => {
            "would lose microseconds: Cassandra keeps milliseconds"
        }
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int16 | Kind::Int32 | Kind::Int64, Value::Int(_))
        | (Kind::Decimal, Value::Decimal(_))
        | (Kind::Text, Value::Text(_))
        | (Kind::Uuid, Value::Uuid(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Timestamp, Value::Timestamp(_)) => return Ok(()),
        _ => return Err(reject(RejectClass::WrongType, route, column, "has a value of another type")),
    };
    Err(out_of_range(route, column, problem))
}

fn out_of_range(route: &Route, column: &RouteColumn, problem: &str) -> Reject {
    reject(RejectClass::OutOfRange, route, column, problem)
}

fn reject(class: RejectClass, route: &Route, column: &RouteColumn, problem: &str) -> Reject {
    Reject::new(class, format!("{}.{} ({}) {problem}", route.table, column.name, column.kind))
}

/// How many bytes the value takes on the wire, at most and without its length.
fn value_bytes(kind: &Kind, value: &Value) -> usize {
    match value {
        Value::Absent | Value::Unavailable | Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => match kind {
            Kind::Int16 => 2,
            Kind::Int32 => 4,
            _ => 8,
        },
        Value::Decimal(decimal) => 4 + decimal.as_bigint_and_scale().0.bits() as usize / 8 + 1,
        Value::Text(text) => text.len(),
        Value::Uuid(_) => 16,
        Value::Date(_) => 4,
        Value::Timestamp(_) => 8,
        _ => 0,
    }
}

/// A value reached the wire that [`check`] would have refused: a fault of ours, never of the record.
#[derive(Debug, thiserror::Error)]
#[error("a value was bound that does not fit its column")]
pub struct Misfit;

/// Hands the bytes of a value that passed [`check`] to `put`, in one or more pieces. Null, absent and unavailable have
/// no bytes and are a [`Misfit`] here.
pub fn encode(kind: &Kind, value: &Value, mut put: impl FnMut(&[u8])) -> Result<(), Misfit> {
    match (kind, value) {
        (Kind::Bool, Value::Bool(bool)) => put(&[u8::from(*bool)]),
        (Kind::Int16, Value::Int(int)) => put(&i16::try_from(*int).map_err(|_| Misfit)?.to_be_bytes()),
        (Kind::Int32, Value::Int(int)) => put(&i32::try_from(*int).map_err(|_| Misfit)?.to_be_bytes()),
        (Kind::Int64, Value::Int(int)) => put(&int.to_be_bytes()),
        (Kind::Decimal, Value::Decimal(decimal)) => {
            let (digits, scale) = decimal.as_bigint_and_scale();
            put(&i32::try_from(scale).map_err(|_| Misfit)?.to_be_bytes());
            match i64::try_from(&*digits) {
                // Nearly every decimal: no allocation.
                Ok(small) => put(shortest(&small.to_be_bytes())),
                Err(_) => put(&digits.to_signed_bytes_be()),
            }
        }
        (Kind::Text, Value::Text(text)) => put(text.as_bytes()),
        (Kind::Uuid, Value::Uuid(uuid)) => put(uuid.as_bytes()),
        (Kind::Date, Value::Date(days)) => put(&(days.cast_unsigned() ^ DATE_EPOCH).to_be_bytes()),
        (Kind::Timestamp, Value::Timestamp(micros)) if micros % MICROS_PER_MILLI == 0 => {
            put(&(micros / MICROS_PER_MILLI).to_be_bytes());
        }
        _ => return Err(Misfit),
    }
    Ok(())
}

/// The two's complement form without the bytes that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let repeats = bytes.windows(2).take_while(|pair| matches!(pair, [0x00, 0x00..=0x7f] | [0xff, 0x80..=0xff])).count();
    &bytes[repeats..]
}

/// Why a stored value was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    Type(String),
    #[error("is stored in a form that Rowferry does not read")]
    Form,
}

/// Reads what the server returns for a column of this type; `None` is null.
pub fn decode(typ: &ColumnType<'_>, bytes: Option<&[u8]>) -> Result<Value, Unreadable> {
    let kind = kind_of(typ).map_err(Unreadable::Type)?;
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    read(&kind, bytes).ok_or(Unreadable::Form)
}

fn read(kind: &Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(u8::from_be_bytes(bytes.try_into().ok()?) != 0),
        Kind::Int16 => Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int32 => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int64 => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Decimal => {
            let (scale, digits) = bytes.split_first_chunk::<4>()?;
            Value::Decimal(BigDecimal::new(BigInt::from_signed_bytes_be(digits), i32::from_be_bytes(*scale).into()))
        }
        Kind::Text => Value::Text(ByteString::try_from(bytes).ok()?),
        Kind::Uuid => Value::Uuid(Uuid::from_slice(bytes).ok()?),
        Kind::Date => Value::Date((u32::from_be_bytes(bytes.try_into().ok()?) ^ DATE_EPOCH).cast_signed()),
        Kind::Timestamp => Value::Timestamp(i64::from_be_bytes(bytes.try_into().ok()?).checked_mul(MICROS_PER_MILLI)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
