//! Literals in the form of a column's values, and how the two are compared: as Postgres does.

use std::cmp::Ordering;
use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use uuid::Uuid;

use crate::plan::condition::parse::{ParseError, Token, error};
use crate::row::wire::Wire;
use crate::row::{Float, Special, Value};

/// Columns whose literals are written alike, and that compare alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Bool,
    /// Whole numbers and exact decimals.
    Exact,
    Float32,
    Float64,
    Text,
    Uuid,
    Date,
    Time,
    /// Wall time without a zone.
    LocalTimestamp,
    Timestamp,
}

/// As short as numbers are that people write, so that a large exponent makes no large number.
const NUMBER_CHARS_MAX: usize = 64;
const EXPONENT_MAX: u64 = 256;

impl Family {
    /// `None` for what can only be null or not.
    pub fn of(wire: &Wire) -> Option<Family> {
        Some(match wire {
            Wire::Bool => Family::Bool,
            Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => Family::Exact,
            Wire::Decimal { .. } | Wire::VariableScaleDecimal | Wire::DecimalText => Family::Exact,
            Wire::Float32 => Family::Float32,
            Wire::Float64 | Wire::DecimalFloat => Family::Float64,
            Wire::Text => Family::Text,
            Wire::Uuid => Family::Uuid,
            Wire::Date | Wire::IsoDate | Wire::CalendarDate => Family::Date,
            Wire::Time { .. } | Wire::IsoTime => Family::Time,
            Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } => Family::LocalTimestamp,
            Wire::ZonedTimestamp { .. } => Family::Timestamp,
            Wire::Bytes(_)
            | Wire::Bits { .. }
            | Wire::ZonedTime
            | Wire::MicroDuration
            | Wire::Interval
            | Wire::HstoreJson
            | Wire::HstoreMap
            | Wire::Point
            | Wire::Geometry
            | Wire::Vector
            | Wire::SparseVector
            | Wire::Array(_) => return None,
        })
    }

    /// The order of texts is a collation's, which only the source has, and that of booleans nobody asks for.
    pub fn has_order(self) -> bool {
        !matches!(self, Family::Text | Family::Bool)
    }

    pub fn literal(self, at: usize, token: &Token) -> Result<Value, ParseError> {
        let value = match (self, token) {
            (Family::Bool, Token::Bool(value)) => Some(Value::Bool(*value)),
            (Family::Exact | Family::Float32 | Family::Float64, Token::Number(text)) => {
                let exact = number(text).ok_or_else(|| error(at, "this is no number"))?;
                self.number(text, exact)
            }
            (Family::Text, Token::Text(text)) => Some(Value::Text(text.as_str().into())),
            (Family::Uuid, Token::Text(text)) => Uuid::try_parse(text).ok().map(Value::Uuid),
            (Family::Date, Token::Text(text)) => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(date),
            (Family::Time, Token::Text(text)) => NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok().and_then(time),
            (Family::LocalTimestamp, Token::Text(text)) => local(text).map(Value::LocalTimestamp),
            (Family::Timestamp, Token::Text(text)) => {
                DateTime::parse_from_rfc3339(text).ok().and_then(|time| micros(time.naive_utc())).map(Value::Timestamp)
            }
            _ => None,
        };
        value.ok_or_else(|| error(at, format!("the column is compared with {}", self.described())))
    }

    fn number(self, text: &str, exact: BigDecimal) -> Option<Value> {
        match self {
            // A float stands for the decimal that is nearest to it, as Postgres has it.
            Family::Float32 => {
                Some(Value::Float32(Float(text.parse::<f32>().ok().filter(|it| it.is_finite())?.into())))
            }
            Family::Float64 => Some(Value::Float64(Float(text.parse().ok().filter(|it: &f64| it.is_finite())?))),
            _ => Some(Value::Decimal(exact)),
        }
    }

    fn described(self) -> &'static str {
        match self {
            Family::Bool => "true or false",
            Family::Exact | Family::Float32 | Family::Float64 => "a number, as in 10 or -0.5",
            Family::Text => "a text in single quotes",
            Family::Uuid => "a UUID, as in '00000000-0000-4000-8000-000000000001'",
            Family::Date => "a date, as in '2026-01-31'",
            Family::Time => "a time of day, as in '23:59:59'",
            Family::LocalTimestamp => "a timestamp without zone, as in '2026-01-31 12:00:00'",
            Family::Timestamp => "a timestamp with its zone, as in '2026-01-31T12:00:00Z'",
        }
    }
}

/// The order of a row's value and a literal of its column; `None` when they do not go together.
pub fn order(value: &Value, literal: &Value) -> Option<Ordering> {
    match (value, literal) {
        // Postgres puts NaN above everything.
        (Value::Special(Special::NegativeInfinity), _) => Some(Ordering::Less),
        (Value::Special(Special::Infinity | Special::NotANumber), _) => Some(Ordering::Greater),
        (Value::Bool(value), Value::Bool(literal)) => Some(value.cmp(literal)),
        (Value::Int(value), Value::Decimal(literal)) => Some(BigDecimal::from(*value).cmp(literal)),
        (Value::Decimal(value), Value::Decimal(literal)) => Some(value.cmp(literal)),
        (Value::Float32(value) | Value::Float64(value), Value::Float32(literal) | Value::Float64(literal)) => {
            Some(value.0.partial_cmp(&literal.0).unwrap_or(Ordering::Greater))
        }
        (Value::Text(value), Value::Text(literal)) => Some(value.cmp(literal)),
        (Value::Uuid(value), Value::Uuid(literal)) => Some(value.cmp(literal)),
        (Value::Date(value), Value::Date(literal)) => Some(value.cmp(literal)),
        (Value::Time(value), Value::Time(literal)) => Some(value.cmp(literal)),
        // `verify` reads wall times as if they were UTC.
        (
            Value::LocalTimestamp(value) | Value::Timestamp(value),
            Value::LocalTimestamp(literal) | Value::Timestamp(literal),
        ) => Some(value.cmp(literal)),
        _ => None,
    }
}

fn number(text: &str) -> Option<BigDecimal> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text.len() > NUMBER_CHARS_MAX || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = BigDecimal::from_str(text).ok()?;
    (number.fractional_digit_count().unsigned_abs() <= EXPONENT_MAX).then_some(number)
}

fn date(day: NaiveDate) -> Value {
    Value::Date(day.signed_duration_since(NaiveDate::default()).num_days() as i32)
}

fn time(time: NaiveTime) -> Option<Value> {
    let micros = i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000);
    time.nanosecond().is_multiple_of(1_000).then_some(Value::Time(micros))
}

fn local(text: &str) -> Option<i64> {
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN));
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let read = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    micros(read.or_else(midnight)?)
}

/// What is finer than microseconds would be lost.
fn micros(time: NaiveDateTime) -> Option<i64> {
    time.nanosecond().is_multiple_of(1_000).then(|| time.and_utc().timestamp_micros())
}
