//! Dates, times of day, timestamps and durations. What is cut is cut downward, so that their order is kept.

use crate::plan::convert::{Misfit, Policy, out_of_range, special, unrepresentable, wrong};
use crate::row::{Kind, Value};

pub const DAY_MICROS: i64 = 86_400_000_000;
const MILLI_MICROS: i64 = 1000;

/// -4713-11-24T00:00:00Z, the first instant that Postgres has.
pub const EARLIEST: i64 = -210_866_803_200_000_000;
/// The last whole millisecond that 64 bits of microseconds count.
pub const LATEST: i64 = 9_223_372_036_854_775_000;

pub fn to_date(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    match value {
        Value::LocalTimestamp(micros) | Value::Timestamp(micros) => {
            if micros.rem_euclid(DAY_MICROS) != 0 && !policy.lossy {
                return Err(out_of_range("would lose the time of day"));
            }
            let days = i32::try_from(micros.div_euclid(DAY_MICROS));
            days.map(Value::Date).map_err(|_| out_of_range("has a date beyond 32 bits"))
        }
        Value::Special(found) => special(*found, Some((Value::Date(i32::MIN), Value::Date(i32::MAX))), policy),
        _ => Err(wrong(value)),
    }
}

pub fn to_time(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    let micros = match value {
        Value::Time(micros) => *micros,
        Value::ZonedTime(micros) if policy.lossy => *micros,
        Value::ZonedTime(_) => return Err(out_of_range("would lose the time zone")),
        _ => return Err(wrong(value)),
    };
    match micros {
        0..DAY_MICROS => Ok(Value::Time(micros)),
        DAY_MICROS => {
            unrepresentable(policy, Some(Value::Time(DAY_MICROS - 1)), "has the time 24:00, which it cannot hold")
        }
        _ => Err(out_of_range("has a time outside of the day")),
    }
}

/// A date is its midnight, and wall time without a zone is taken, as if they were UTC.
pub fn to_timestamp(value: &Value, kind: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let (earliest, latest) = (Value::Timestamp(EARLIEST), Value::Timestamp(LATEST));
    let micros = match value {
        Value::Timestamp(micros) | Value::LocalTimestamp(micros) => *micros,
        Value::Date(days) => match i64::from(*days).checked_mul(DAY_MICROS) {
            Some(micros) => micros,
            None => {
                let nearest = if *days < 0 { earliest } else { latest };
                return unrepresentable(policy, Some(nearest), "has a date that no timestamp reaches");
            }
        },
        Value::Special(found) => return special(*found, Some((earliest, latest)), policy),
        _ => return Err(wrong(value)),
    };
    let finer = if *kind == Kind::TimestampMillis { micros.rem_euclid(MILLI_MICROS) } else { 0 };
    match micros.checked_sub(finer) {
        _ if finer != 0 && !policy.lossy => Err(out_of_range("would lose microseconds")),
        Some(micros) => Ok(Value::Timestamp(micros)),
        None => Err(out_of_range("has a timestamp beyond 64 bits")),
    }
}

/// What Cassandra takes: parts of one sign, and a time part that 64 bits of nanoseconds count.
pub fn to_duration(value: &Value) -> Result<Value, Misfit> {
    let Value::Duration(duration) = value else { return Err(wrong(value)) };
    let signs = [i64::from(duration.months), i64::from(duration.days), duration.micros].map(i64::signum);
    if signs.contains(&1) && signs.contains(&-1) {
        return Err(out_of_range("has an interval with parts of both signs"));
    }
    if duration.micros.checked_mul(1000).is_none() {
        return Err(out_of_range("has an interval with more hours than 292 years"));
    }
    Ok(value.clone())
}
