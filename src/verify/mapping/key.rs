//! Values of a target's key, as texts to find the source's row by.

use bigdecimal::BigDecimal;

use crate::plan::convert::{Fit, fit};
use crate::row::wire::Wire;
use crate::row::{Float, Kind, Value};

/// A column of the source's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    pub wire: Wire,
    pub in_target_key: usize,
}

/// How a source row is found by a value of the target's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Equal,
    /// The target has lost the microseconds.
    Millis,
}

/// How the source's value is found from the target's; `None` where it cannot be.
pub fn matched(wire: &Wire, kind: &Kind) -> Option<Match> {
    let is_instant =
        matches!(wire, Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } | Wire::ZonedTimestamp { .. });
    match (wire, kind, fit(wire, kind)) {
        // A time with a zone is equal only to itself in the same zone, and a list as text is no list of Postgres's.
        (Wire::ZonedTime | Wire::Array(_) | Wire::HstoreJson | Wire::HstoreMap | Wire::Vector, ..) => None,
        (_, Kind::TimestampMillis, Fit::Lossy(_)) if is_instant => Some(Match::Millis),
        (_, _, Fit::Exact | Fit::Checked(_)) => Some(Match::Equal),
        (_, _, Fit::Lossy(_) | Fit::Never(_)) => None,
    }
}

/// Digits that a numeric has at most, before and behind its point.
const DIGITS_MAX: i64 = 131_072;
const DECIMALS_MAX: i64 = 16_383;
/// Where Postgres's count of days begins, in days from 1970-01-01.
const FIRST_DAY: i64 = -2_440_588;
const DAY_MICROS: i64 = 86_400_000_000;

/// The value as a text that the source's type reads; `None` where no row of the source can have it. What the text
/// means to the type is the server's to say.
pub fn key_text(wire: &Wire, value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(bool) => if *bool { "1" } else { "0" }.into(),
        Value::Int(int) => int.to_string(),
        Value::Decimal(decimal) => decimal_text(decimal)?,
        Value::Float32(Float(number)) => (*number as f32).to_string(),
        Value::Float64(Float(number)) => number.to_string(),
        // What a domain or an enum does not know is found out by asking.
        Value::Text(text) if !text.contains('\0') => text.to_string(),
        Value::Bytes(bytes) => bytes.iter().fold("\\x".into(), |text: String, byte| text + &format!("{byte:02x}")),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Inet(address) => address.to_string(),
        Value::Date(days) => julian(i64::from(*days))?,
        Value::Timestamp(micros) if matches!(wire, Wire::Date | Wire::IsoDate) => {
            julian(micros.div_euclid(DAY_MICROS)).filter(|_| micros.rem_euclid(DAY_MICROS) == 0)?
        }
        Value::Timestamp(micros) => {
            let day = julian(micros.div_euclid(DAY_MICROS))?;
            format!("{day} {}+00", clock(micros.rem_euclid(DAY_MICROS)))
        }
        Value::Time(micros) => clock(*micros),
        _ => return None,
    })
}

/// `J2440588`, which Postgres reads for days of any era.
fn julian(days: i64) -> Option<String> {
    (days >= FIRST_DAY).then(|| format!("J{}", days - FIRST_DAY))
}

fn clock(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
}

/// What a target may hold can be written out as gigabytes of zeros.
fn decimal_text(decimal: &BigDecimal) -> Option<String> {
    let (digits, decimals) = decimal.as_bigint_and_scale();
    // Ten bits hold three digits and a little more.
    let digits = i64::try_from(digits.bits()).unwrap_or(i64::MAX) / 10 * 3;
    let fits = decimals <= DECIMALS_MAX && digits.saturating_sub(decimals) <= DIGITS_MAX;
    fits.then(|| decimal.to_plain_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_that_postgres_reads() {
        for (value, text) in [
            (Value::Int(-7), "-7"),
            (Value::Bool(true), "1"),
            (Value::Decimal("1.50".parse().expect("a number")), "1.50"),
            (Value::Decimal("12e3".parse().expect("a number")), "12000"),
            (Value::Float64(Float(f64::NAN)), "NaN"),
            (Value::Float64(Float(f64::NEG_INFINITY)), "-inf"),
            (Value::Float32(Float(f64::from(1.1_f32))), "1.1"),
            (Value::Date(0), "J2440588"),
            (Value::Timestamp(-1), "J2440587 23:59:59.999999+00"),
            (Value::Time(3_723_000_004), "01:02:03.000004"),
            (Value::Bytes(vec![0, 255].into()), "\\x00ff"),
        ] {
            assert_eq!(key_text(&Wire::Text, &value).as_deref(), Some(text));
        }
        assert_eq!(key_text(&Wire::Date, &Value::Timestamp(DAY_MICROS)).as_deref(), Some("J2440589"));
    }

    #[test]
    fn what_the_source_cannot_hold_is_not_asked_for() {
        for value in [
            Value::Text("a\0".into()),
            Value::Date(i32::MIN),
            Value::Timestamp(i64::MIN),
            Value::Decimal("1e-20000".parse().expect("a number")),
            Value::Decimal("1e200000".parse().expect("a number")),
            Value::Null,
        ] {
            assert_eq!(key_text(&Wire::Text, &value), None, "{value:?}");
        }
        assert_eq!(key_text(&Wire::Date, &Value::Timestamp(1)), None, "a date has no time of day");
    }

    #[test]
    fn a_source_row_is_found_by_a_value_that_has_lost_nothing_or_only_microseconds() {
        let zoned = Wire::ZonedTimestamp { decimals: 6 };
        for (wire, kind, found) in [
            (Wire::Int64, Kind::Int16, Some(Match::Equal)),
            (Wire::Text, Kind::Ascii, Some(Match::Equal)),
            (Wire::Uuid, Kind::Text, Some(Match::Equal)),
            (Wire::Date, Kind::TimestampMillis, Some(Match::Equal)),
            (zoned.clone(), Kind::TimestampMillis, Some(Match::Millis)),
            (Wire::ZonedTimestamp { decimals: 3 }, Kind::TimestampMillis, Some(Match::Equal)),
            (zoned, Kind::Date, None),
            (Wire::Int64, Kind::Float64, None),
            (Wire::Text, Kind::Bytes, None),
            (Wire::ZonedTime, Kind::Text, None),
            (Wire::Array(Box::new(Wire::Int32)), Kind::Text, None),
        ] {
            assert_eq!(matched(&wire, &kind), found, "{wire} {kind}");
        }
    }
}
