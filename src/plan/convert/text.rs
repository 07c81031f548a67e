//! Values as text: what Postgres or ISO 8601 writes for them, and JSON for lists and maps.

use std::fmt::{self, Display, Write as _};
use std::ops::Range;

use bytestring::ByteString;

use crate::plan::convert::number::check_size;
use crate::plan::convert::time::DAY_MICROS;
use crate::plan::convert::{Misfit, nested, out_of_range, wrong};
use crate::row::{Duration, Float, Kind, Special, Value};

/// Powers of ten in which Postgres writes floats without an exponent.
const PLAIN_FLOAT32: Range<i32> = -4..6;
const PLAIN_FLOAT64: Range<i32> = -4..15;

/// The text of everything but bytes and geometries, of which it would be a guess.
///
/// An infinity is `Infinity` or `-Infinity`, of a date as of a number, for the value does not say of which.
pub fn to_text(value: &Value, kind: &Kind) -> Result<Value, Misfit> {
    let text = match value {
        Value::Text(text) => text.clone(),
        _ => {
            let mut out = String::new();
            write(&mut out, value)?;
            ByteString::from(out)
        }
    };
    if *kind == Kind::Ascii && !text.is_ascii() {
        return Err(out_of_range("has characters beyond ASCII"));
    }
    Ok(Value::Text(text))
}

fn write(out: &mut String, value: &Value) -> Result<(), Misfit> {
    match value {
        Value::Bool(bool) => put(out, format_args!("{bool}")),
        Value::Int(int) => put(out, format_args!("{int}")),
        Value::Decimal(decimal) => {
            check_size(decimal)?;
            out.push_str(&decimal.to_plain_string());
        }
        Value::Float32(float) => write_float32(out, float.0 as f32),
        Value::Float64(float) => write_float64(out, *float),
        Value::Text(text) => out.push_str(text),
        Value::Uuid(uuid) => put(out, format_args!("{uuid}")),
        Value::Inet(address) => put(out, format_args!("{address}")),
        Value::Date(days) => write_date(out, i64::from(*days)),
        Value::Time(micros) => write_time(out, *micros)?,
        Value::ZonedTime(micros) => {
            write_time(out, *micros)?;
            out.push('Z');
        }
        Value::LocalTimestamp(micros) => write_timestamp(out, *micros)?,
        Value::Timestamp(micros) => {
            write_timestamp(out, *micros)?;
            out.push('Z');
        }
        Value::Duration(duration) => write_duration(out, *duration),
        Value::Special(special) => out.push_str(match special {
            Special::NotANumber => "NaN",
            Special::Infinity => "Infinity",
            Special::NegativeInfinity => "-Infinity",
        }),
        Value::List(_) | Value::Map(_) => write_json(out, value)?,
        Value::Struct(parts) => write_parts(out, value, parts)?,
        Value::Absent | Value::Unavailable | Value::Null | Value::Bytes(_) => return Err(wrong(value)),
    }
    Ok(())
}

/// Numbers stand as they are, with every digit; what JSON has no form for stands as its text.
fn write_json(out: &mut String, value: &Value) -> Result<(), Misfit> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::Decimal(_) => write(out, value)?,
        Value::Float32(Float(number)) | Value::Float64(Float(number)) if number.is_finite() => write(out, value)?,
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                separate(out, at);
                write_json(out, item)?;
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (at, (key, value)) in pairs.iter().enumerate() {
                separate(out, at);
                write_quoted(out, key)?;
                out.push(':');
                write_json(out, value)?;
            }
            out.push('}');
        }
        _ => write_quoted(out, value)?,
    }
    Ok(())
}

fn write_quoted(out: &mut String, value: &Value) -> Result<(), Misfit> {
    let mut text = String::new();
    write(&mut text, value)?;
    put(out, format_args!("{}", serde_json::Value::String(text)));
    Ok(())
}

fn separate(out: &mut String, at: usize) {
    if at > 0 {
        out.push(',');
    }
}

/// A point as `(1.5,-2.5)`, a sparse vector as `{1:1.5,3:2}/5`.
fn write_parts(out: &mut String, value: &Value, parts: &[(&'static str, Value)]) -> Result<(), Misfit> {
    if let (Some(x), Some(y)) = (nested::part(parts, "x"), nested::part(parts, "y")) {
        out.push('(');
        write(out, x)?;
        out.push(',');
        write(out, y)?;
        out.push(')');
        return Ok(());
    }
    match (nested::part(parts, "dimensions"), nested::part(parts, "vector")) {
        (Some(dimensions), Some(Value::Map(pairs))) => {
            out.push('{');
            for (at, (index, number)) in pairs.iter().enumerate() {
                separate(out, at);
                write(out, index)?;
                out.push(':');
                write(out, number)?;
            }
            out.push_str("}/");
            write(out, dimensions)
        }
        _ => Err(wrong(value)),
    }
}

fn write_float32(out: &mut String, number: f32) {
    write_float(out, number, &format!("{number:e}"), PLAIN_FLOAT32);
}

fn write_float64(out: &mut String, Float(number): Float) {
    write_float(out, number, &format!("{number:e}"), PLAIN_FLOAT64);
}

/// The fewest digits that read back as the float, in Postgres's notation: `0.0001`, `1e-05`, `1e+15`, `Infinity`.
fn write_float(out: &mut String, number: impl Display + Into<f64> + Copy, scientific: &str, plain: Range<i32>) {
    let exponent = scientific.split_once('e').and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?)));
    match exponent {
        Some((digits, power)) if !plain.contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            put(out, format_args!("{digits}e{sign}{:02}", power.unsigned_abs()));
        }
        _ if number.into() == f64::INFINITY => out.push_str("Infinity"),
        _ if number.into() == f64::NEG_INFINITY => out.push_str("-Infinity"),
        _ => put(out, format_args!("{number}")),
    }
}

/// `2024-02-29`; years before 0 and after 9999 with a sign, where year 0 is 1 BC.
fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil(days);
    match year {
        0..=9999 => put(out, format_args!("{year:04}")),
        10_000.. => put(out, format_args!("+{year}")),
        _ => put(out, format_args!("-{:04}", year.unsigned_abs())),
    }
    put(out, format_args!("-{month:02}-{day:02}"));
}

/// Year, month and day in the proleptic Gregorian calendar, of any number of days that 32 bits or the microseconds of
/// 64 bits count. From "chrono-Compatible Low-Level Date Algorithms" by Howard Hinnant, `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march = days + 719_468;
    let (era, day) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// `23:59:59.123456`, without zeros at the end of the fraction.
fn write_time(out: &mut String, micros: i64) -> Result<(), Misfit> {
    if !(0..=DAY_MICROS).contains(&micros) {
        return Err(out_of_range("has a time outside of the day"));
    }
    let seconds = micros / 1_000_000;
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    write_fraction(out, micros.unsigned_abs() % 1_000_000);
    Ok(())
}

fn write_timestamp(out: &mut String, micros: i64) -> Result<(), Misfit> {
    write_date(out, micros.div_euclid(DAY_MICROS));
    out.push('T');
    write_time(out, micros.rem_euclid(DAY_MICROS))
}

/// `P1Y2M3DT4H5M6.789S`, each part with its sign and without those that are zero; `PT0S`.
fn write_duration(out: &mut String, Duration { months, days, micros }: Duration) {
    if (months, days, micros) == (0, 0, 0) {
        out.push_str("PT0S");
        return;
    }
    let minutes = micros / 60_000_000;
    let rest = micros % 60_000_000;
    out.push('P');
    for (amount, letter) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        write_part(out, amount.into(), letter);
    }
    if micros != 0 {
        out.push('T');
        write_part(out, minutes / 60, 'H');
        write_part(out, minutes % 60, 'M');
    }
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        put(out, format_args!("{sign}{}", rest.unsigned_abs() / 1_000_000));
        write_fraction(out, rest.unsigned_abs() % 1_000_000);
        out.push('S');
    }
}

fn write_part(out: &mut String, amount: i64, letter: char) {
    if amount != 0 {
        put(out, format_args!("{amount}{letter}"));
    }
}

fn write_fraction(out: &mut String, micros: u64) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        put(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // A String takes every text; the error is there for writers that can be full.
    let _ = out.write_fmt(text);
}
