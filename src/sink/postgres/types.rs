//! Values to and from Postgres, one row of each table per [`Kind`]. Serves the sink and `verify`, which reads any
//! table with it.

use bigdecimal::BigDecimal;
use bytestring::ByteString;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef, Postgres,
};
use sqlx::{Arguments, Decode, Encode, Row as _, Type};
use uuid::Uuid;

use crate::row::{Column, Kind, Row, Value};
use crate::sink::postgres::errors::Fault;

/// An identifier as SQL writes it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table as SQL writes it; its name may begin with its schema: `public.users`.
pub fn quote_table(name: &str) -> String {
    match name.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quote(schema), quote(table)),
        None => quote(name),
    }
}

/// The kind of a Postgres type (`pg_type.typname`), where Rowferry carries it.
pub fn kind_of(typname: &str) -> Option<Kind> {
    Some(match typname {
        "bool" => Kind::Bool,
        "int2" => Kind::Int16,
        "int4" => Kind::Int32,
        "int8" => Kind::Int64,
        "numeric" => Kind::Decimal,
        "text" | "varchar" | "bpchar" => Kind::Text,
        "uuid" => Kind::Uuid,
        "date" => Kind::Date,
        "timestamptz" => Kind::Timestamp,
        _ => return None,
    })
}

/// The type that values of a kind are sent as. Columns narrower than it convert on assignment.
pub fn type_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int16 => "int2",
        Kind::Int32 => "int4",
        Kind::Int64 => "int8",
        Kind::Decimal => "numeric",
        Kind::Text => "text",
        Kind::Uuid => "uuid",
        Kind::Date => "date",
        Kind::Timestamp => "timestamptz",
        // No column here is of another kind, and no value of one can be bound.
        _ => "text",
    }
}

/// What stands between SELECT and FROM to read these columns of `alias` with [`read_row`].
pub fn select_list<'c>(columns: impl IntoIterator<Item = (&'c str, &'c Kind)>, alias: &str) -> String {
    let columns: Vec<String> = columns
        .into_iter()
        .map(|(name, kind)| match kind {
            // varchar and char(n) are read as what they mean; everything else has one type for its kind.
            Kind::Text => format!("{alias}.{}::text", quote(name)),
            _ => format!("{alias}.{}", quote(name)),
        })
        .collect();
    columns.join(", ")
}

/// `UNNEST($1::uuid[], $2::text[]) AS k(k0, k1)`: rows sent as one array for each column, the first one in
/// parameter `$first`.
pub fn unnest<'k>(kinds: impl IntoIterator<Item = &'k Kind>, first: usize, alias: &str) -> String {
    let (arrays, names): (Vec<String>, Vec<String>) = kinds
        .into_iter()
        .enumerate()
        .map(|(at, kind)| (format!("${}::{}[]", first + at, type_of(kind)), format!("{alias}{at}")))
        .unzip();
    format!("UNNEST({}) AS {alias}({})", arrays.join(", "), names.join(", "))
}

/// Reads the columns of a row that was selected with [`select_list`], from its column `first` on.
///
/// Fails with a stop for what no [`Value`] stands for: NaN, infinity, instants after the year 294246.
pub fn read_row(row: &PgRow, columns: &[Column], first: usize) -> Result<Row, Fault> {
    columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            read_value(row, first + at, &column.kind).map_err(|_| {
                Fault::stop(format!(
                    "a row holds a value in column \"{}\" that is no {} Rowferry can carry (NaN, infinity)",
                    column.name, column.kind
                ))
            })
        })
        .collect()
}

fn read_value(row: &PgRow, at: usize, kind: &Kind) -> Result<Value, sqlx::Error> {
    let value = match kind {
        Kind::Bool => row.try_get::<Option<bool>, _>(at)?.map(Value::Bool),
        Kind::Int16 => row.try_get::<Option<i16>, _>(at)?.map(|int| Value::Int(int.into())),
        Kind::Int32 => row.try_get::<Option<i32>, _>(at)?.map(|int| Value::Int(int.into())),
        Kind::Int64 => row.try_get::<Option<i64>, _>(at)?.map(Value::Int),
        Kind::Decimal => row.try_get::<Option<BigDecimal>, _>(at)?.map(Value::Decimal),
        Kind::Text => row.try_get::<Option<String>, _>(at)?.map(|text| Value::Text(ByteString::from(text))),
        Kind::Uuid => row.try_get::<Option<Uuid>, _>(at)?.map(Value::Uuid),
        Kind::Date => row.try_get::<Option<Days>, _>(at)?.map(|days| Value::Date(days.0)),
        Kind::Timestamp => row.try_get::<Option<Micros>, _>(at)?.map(|micros| Value::Timestamp(micros.0)),
        _ => return Err(sqlx::Error::Decode("a kind that is not carried".into())),
    };
    Ok(value.unwrap_or(Value::Null))
}

/// Adds one array: this column of many rows. What is not sent goes as null.
///
/// Fails with a reject when a value is not of the kind; callers check before.
pub fn bind_array<'v>(
    arguments: &mut PgArguments,
    kind: &Kind,
    values: impl Iterator<Item = &'v Value>,
) -> Result<(), Fault> {
    match kind {
        Kind::Bool => add(arguments, all(values, as_bool)?),
        Kind::Int16 => add(arguments, all(values, as_int::<i16>)?),
        Kind::Int32 => add(arguments, all(values, as_int::<i32>)?),
        Kind::Int64 => add(arguments, all(values, as_int::<i64>)?),
        Kind::Decimal => add(arguments, all(values, as_decimal)?),
        Kind::Text => add(arguments, all(values, as_text)?),
        Kind::Uuid => add(arguments, all(values, as_uuid)?),
        Kind::Date => add(arguments, all(values, as_days)?),
        Kind::Timestamp => add(arguments, all(values, as_micros)?),
        _ => Err(not_carried()),
    }
}

/// Adds one value, for a parameter `$n::type` with [`type_of`] its kind. Fails like [`bind_array`].
pub fn bind_value(arguments: &mut PgArguments, kind: &Kind, value: &Value) -> Result<(), Fault> {
    match kind {
        Kind::Bool => add(arguments, one(value, as_bool)?),
        Kind::Int16 => add(arguments, one(value, as_int::<i16>)?),
        Kind::Int32 => add(arguments, one(value, as_int::<i32>)?),
        Kind::Int64 => add(arguments, one(value, as_int::<i64>)?),
        Kind::Decimal => add(arguments, one(value, as_decimal)?),
        Kind::Text => add(arguments, one(value, as_text)?),
        Kind::Uuid => add(arguments, one(value, as_uuid)?),
        Kind::Date => add(arguments, one(value, as_days)?),
        Kind::Timestamp => add(arguments, one(value, as_micros)?),
        _ => Err(not_carried()),
    }
}

fn add<'v, T: Encode<'v, Postgres> + Type<Postgres>>(arguments: &mut PgArguments, value: T) -> Result<(), Fault> {
    Arguments::add(arguments, value).map_err(|error| Fault::from(sqlx::Error::Encode(error)))
}

fn all<'v, T>(
    values: impl Iterator<Item = &'v Value>,
    read: impl Fn(&'v Value) -> Option<T>,
) -> Result<Vec<Option<T>>, Fault> {
    values.map(|value| one(value, &read)).collect()
}

fn one<'v, T>(value: &'v Value, read: impl Fn(&'v Value) -> Option<T>) -> Result<Option<T>, Fault> {
    if !value.is_sent() || *value == Value::Null {
        return Ok(None);
    }
    match read(value) {
        Some(read) => Ok(Some(read)),
        None => Err(Fault::from(sqlx::Error::Encode("a value of another kind".into()))),
    }
}

fn not_carried() -> Fault {
    Fault::from(sqlx::Error::Encode("a kind that is not carried".into()))
}

fn as_bool(value: &Value) -> Option<bool> {
    if let Value::Bool(bool) = value { Some(*bool) } else { None }
}

fn as_int<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    if let Value::Int(int) = value { T::try_from(*int).ok() } else { None }
}

fn as_decimal(value: &Value) -> Option<&BigDecimal> {
    if let Value::Decimal(decimal) = value { Some(decimal) } else { None }
}

fn as_text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn as_uuid(value: &Value) -> Option<Uuid> {
    if let Value::Uuid(uuid) = value { Some(*uuid) } else { None }
}

fn as_days(value: &Value) -> Option<Days> {
    if let Value::Date(days) = value { Some(Days(*days)) } else { None }
}

fn as_micros(value: &Value) -> Option<Micros> {
    if let Value::Timestamp(micros) = value { Some(Micros(*micros)) } else { None }
}

/// A date in days since 1970: chrono's dates end before Postgres's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Days(i32);

/// An instant in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Micros(i64);

/// Postgres counts from 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

impl Type<Postgres> for Days {
    fn type_info() -> PgTypeInfo {
        <chrono::NaiveDate as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Days {
    fn array_type_info() -> PgTypeInfo {
        chrono::NaiveDate::array_type_info()
    }
}

impl Encode<'_, Postgres> for Days {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let days = self.0.checked_sub(EPOCH_DAYS).ok_or("a date before Postgres's first")?;
        Encode::<Postgres>::encode(days, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Days {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        binary(&value)?;
        let days = <i32 as Decode<Postgres>>::decode(value)?;
        // Both infinities are the ends of the type.
        let finite = days != i32::MIN && days != i32::MAX;
        finite.then(|| days.checked_add(EPOCH_DAYS)).flatten().map(Days).ok_or_else(|| "an infinite date".into())
    }
}

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        <chrono::DateTime<chrono::Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Micros {
    fn array_type_info() -> PgTypeInfo {
        <chrono::DateTime<chrono::Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.checked_sub(EPOCH_MICROS).ok_or("an instant before Postgres's first")?;
        Encode::<Postgres>::encode(micros, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Micros {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        binary(&value)?;
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        let finite = micros != i64::MIN && micros != i64::MAX;
        finite.then(|| micros.checked_add(EPOCH_MICROS)).flatten().map(Micros).ok_or_else(|| "no such instant".into())
    }
}

/// Prepared statements answer in binary, and all of ours are prepared.
fn binary(value: &PgValueRef<'_>) -> Result<(), BoxDynError> {
    match value.format() {
        PgValueFormat::Binary => Ok(()),
        PgValueFormat::Text => Err("an answer in text form".into()),
    }
}
