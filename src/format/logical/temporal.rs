//! Dates, times, timestamps and intervals, with Debezium's stand-ins for what Postgres has beyond the calendar.
//!
//! Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", temporal types; the stand-ins were seen
//! live, and come from overflows in Java's types. Postgres's calendar is in its documentation, "Date/Time Types".

use crate::change::{Reject, RejectClass};
use crate::format::logical::iso::{Clock, Rest};
use crate::format::logical::{out_of_range, wrong};
use crate::row::wire::{Unit, Wire};
use crate::row::{Duration, Special, Value};

/// The first day of Postgres: day 0 of the Julian count, -4713-11-24, which Postgres prints as 4714-11-24 BC.
const FIRST_DAY: i64 = -2_440_588;
/// 5874897-12-31, the last.
const LAST_DAY: i64 = 2_145_042_905;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const SECONDS_PER_DAY: i64 = 86_400;
const FIRST_MICROS: i64 = FIRST_DAY * MICROS_PER_DAY;
/// pgjdbc's PGStatement.DATE_POSITIVE_INFINITY and its opposite, as microseconds.
const INFINITY_MICROS: i64 = 9_223_372_036_825_200_000;
const NEGATIVE_INFINITY_MICROS: i64 = -9_223_372_036_832_400_000;

/// Days since 1970. Both stand-ins for infinity are negative; a snapshot has others than the stream.
pub fn days(number: i64) -> Result<Value, Reject> {
    match number {
        -622_191_234 | -2_147_472_692 => Ok(Value::Special(Special::Infinity)),
        -625_821_272 | -2_147_472_691 => Ok(Value::Special(Special::NegativeInfinity)),
        FIRST_DAY..=LAST_DAY => i32::try_from(number).map(Value::Date).map_err(|_| out_of_range(&Wire::Date)),
        _ => Err(out_of_range(&Wire::Date)),
    }
}

/// `2017-09-15Z`. Java prints its own ends of time for infinity, far outside of Postgres's calendar.
pub fn iso_date(text: &str) -> Result<Value, Reject> {
    let mut rest = Rest::of(text);
    let days = rest.date();
    rest.take(b"Zz");
    let days = days.filter(|_| rest.is_empty());
    match days.ok_or_else(|| wrong(&Wire::IsoDate, "a string that is not a day of the calendar"))? {
        ..FIRST_DAY => Ok(Value::Special(Special::NegativeInfinity)),
        days @ FIRST_DAY..=LAST_DAY => i32::try_from(days).map(Value::Date).map_err(|_| out_of_range(&Wire::IsoDate)),
        _ => Ok(Value::Special(Special::Infinity)),
    }
}

/// `2017-09-15`, as business events write it.
pub fn calendar_date(text: &str) -> Result<Value, Reject> {
    let mut rest = Rest::of(text);
    let shaped = text.len() == "2026-01-31".len() && text.starts_with(|c: char| c.is_ascii_digit());
    let days = rest.date().filter(|_| shaped && rest.is_empty()).and_then(|days| i32::try_from(days).ok());
    days.map(Value::Date)
        .ok_or_else(|| wrong(&Wire::CalendarDate, "a string that is not a day of the calendar as YYYY-MM-DD"))
}

/// Since midnight; Postgres also has 24:00.
pub fn time(wire: &Wire, unit: Unit, number: i64) -> Result<Value, Reject> {
    let micros = micros(unit, number).filter(|micros| (0..=MICROS_PER_DAY).contains(micros));
    micros.map(Value::Time).ok_or_else(|| out_of_range(wire))
}

/// `04:05:11.789Z`
pub fn iso_time(text: &str) -> Result<Value, Reject> {
    let mut rest = Rest::of(text);
    let clock = rest.clock();
    rest.take(b"Zz");
    let clock = clock.filter(|_| rest.is_empty());
    let clock = clock.ok_or_else(|| wrong(&Wire::IsoTime, "a string that is not a time of day"))?;
    Ok(Value::Time(clock.seconds * MICROS_PER_SECOND + micros_of(clock)?))
}

/// Wall time since 1970 as if it were UTC.
pub fn local_timestamp(wire: &Wire, unit: Unit, number: i64) -> Result<Value, Reject> {
    const MICROS_PER_MILLI: i64 = 1000;
    let special = match (unit, number) {
        (Unit::Nanos, i64::MAX) | (Unit::Micros, INFINITY_MICROS) => Some(Special::Infinity),
        (Unit::Nanos, i64::MIN) | (Unit::Micros, NEGATIVE_INFINITY_MICROS) => Some(Special::NegativeInfinity),
        (Unit::Millis, _) if number == INFINITY_MICROS / MICROS_PER_MILLI => Some(Special::Infinity),
        (Unit::Millis, _) if number == NEGATIVE_INFINITY_MICROS / MICROS_PER_MILLI => Some(Special::NegativeInfinity),
        _ => None,
    };
    if let Some(special) = special {
        return Ok(Value::Special(special));
    }
    let micros = micros(unit, number).filter(|micros| *micros >= FIRST_MICROS);
    micros.map(Value::LocalTimestamp).ok_or_else(|| out_of_range(wire))
}

/// `2017-09-15T04:05:11.789Z`, where the Z means nothing.
pub fn iso_timestamp(wire: &Wire, text: &str) -> Result<Value, Reject> {
    let read = instant(text).filter(|(_, _, offset)| offset.is_none_or(|offset| offset == 0));
    let (days, clock, _) = read.ok_or_else(|| wrong(wire, "a string that is not a timestamp"))?;
    match since_epoch(days, clock, 0)? {
        Some(INFINITY_MICROS) => Ok(Value::Special(Special::Infinity)),
        Some(NEGATIVE_INFINITY_MICROS) => Ok(Value::Special(Special::NegativeInfinity)),
        Some(micros @ FIRST_MICROS..) => Ok(Value::LocalTimestamp(micros)),
        _ => Err(out_of_range(wire)),
    }
}

/// RFC 3339 with any offset, and years of any length and sign.
pub fn zoned_timestamp(wire: &Wire, text: &str) -> Result<Value, Reject> {
    match text {
        "infinity" => return Ok(Value::Special(Special::Infinity)),
        "-infinity" => return Ok(Value::Special(Special::NegativeInfinity)),
        _ => {}
    }
    let Some((days, clock, Some(offset))) = instant(text) else {
        return Err(wrong(wire, "a string that is not an RFC 3339 timestamp"));
    };
    since_epoch(days, clock, offset)?.map(Value::Timestamp).ok_or_else(|| out_of_range(wire))
}

/// `11:51:02.123789Z`. Midnight at the day's end is refused: in UTC it is no other time than that at its start.
pub fn zoned_time(text: &str) -> Result<Value, Reject> {
    let mut rest = Rest::of(text);
    let read = rest.clock().zip(rest.offset()).filter(|_| rest.is_empty());
    let (clock, offset) = read.ok_or_else(|| wrong(&Wire::ZonedTime, "a string that is not a time with zone"))?;
    if clock.seconds >= SECONDS_PER_DAY {
        return Err(out_of_range(&Wire::ZonedTime));
    }
    let seconds = (clock.seconds - offset).rem_euclid(SECONDS_PER_DAY);
    Ok(Value::ZonedTime(seconds * MICROS_PER_SECOND + micros_of(clock)?))
}

pub fn micro_duration(number: i64) -> Value {
    Value::Duration(Duration { months: 0, days: 0, micros: number })
}

/// `P1Y2M3DT4H5M6.78S`, with a sign for each part.
pub fn interval(text: &str) -> Result<Value, Reject> {
    let mut rest = Rest::of(text);
    let malformed = || wrong(&Wire::Interval, "a string that is not an ISO 8601 duration");
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    rest.take(b"P").ok_or_else(malformed)?;
    let mut units: &[u8] = b"YMD";
    let mut parts = 0;
    while !rest.is_empty() {
        if units != b"HMS" && rest.take(b"T").is_some() {
            units = b"HMS";
            continue;
        }
        let sign = if rest.take(b"-").is_some() { -1 } else { 1 };
        let number = rest.digits(1, 18).ok_or_else(malformed)?;
        let fraction = if rest.take(b".").is_some() { rest.fraction().ok_or_else(malformed)? } else { 0 };
        let unit = rest.take(units).filter(|unit| fraction == 0 || *unit == b'S').ok_or_else(malformed)?;
        let fraction = micros_of_nanos(fraction)?;
        let (sum, factor) = match (units, unit) {
            (b"HMS", b'H') => (&mut micros, 3600 * MICROS_PER_SECOND),
            (b"HMS", b'M') => (&mut micros, 60 * MICROS_PER_SECOND),
            (b"HMS", _) => (&mut micros, MICROS_PER_SECOND),
            (_, b'Y') => (&mut months, 12),
            (_, b'M') => (&mut months, 1),
            _ => (&mut days, 1),
        };
        let part = number.checked_mul(factor).and_then(|part| part.checked_add(fraction));
        let added = part.and_then(|part| sum.checked_add(sign * part));
        *sum = added.ok_or_else(|| out_of_range(&Wire::Interval))?;
        parts += 1;
    }
    match (i32::try_from(months), i32::try_from(days)) {
        _ if parts == 0 => Err(malformed()),
        (Ok(months), Ok(days)) => Ok(Value::Duration(Duration { months, days, micros })),
        _ => Err(out_of_range(&Wire::Interval)),
    }
}

/// A count of units as microseconds; `None` when they do not hold it.
fn micros(unit: Unit, number: i64) -> Option<i64> {
    match unit {
        Unit::Millis => number.checked_mul(1000),
        Unit::Micros => Some(number),
        Unit::Nanos if number % 1000 == 0 => Some(number / 1000),
        Unit::Nanos => None,
    }
}

fn micros_of(clock: Clock) -> Result<i64, Reject> {
    micros_of_nanos(clock.nanos)
}

/// Finer fractions would be lost and are refused.
fn micros_of_nanos(nanos: i64) -> Result<i64, Reject> {
    if nanos % 1000 == 0 {
        return Ok(nanos / 1000);
    }
    Err(Reject::new(RejectClass::OutOfRange, "the value is finer than microseconds"))
}

/// Day, time and the offset, if there is one.
fn instant(text: &str) -> Option<(i64, Clock, Option<i64>)> {
    let mut rest = Rest::of(text);
    let days = rest.date()?;
    rest.take(b"Tt ")?;
    let clock = rest.clock().filter(|clock| clock.seconds < SECONDS_PER_DAY)?;
    let offset = if rest.is_empty() { None } else { Some(rest.offset()?) };
    rest.is_empty().then_some((days, clock, offset))
}

/// Microseconds since 1970; `None` beyond 64 bits.
fn since_epoch(days: i64, clock: Clock, offset: i64) -> Result<Option<i64>, Reject> {
    let seconds = i128::from(days * SECONDS_PER_DAY + clock.seconds - offset);
    let micros = seconds * i128::from(MICROS_PER_SECOND) + i128::from(micros_of(clock)?);
    Ok(i64::try_from(micros).ok())
}
