//! Values of one kind from the text or number that the wire carries. No decimal and no 64-bit integer passes a float.

use std::str::FromStr;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate};
use uuid::Uuid;

use crate::change::{Reject, RejectClass};
use crate::row::Value;
use crate::row::wire::Wire;

/// Decimals with more characters than this are refused: Debezium sends some of 800 digits for a negative scale.
const DECIMAL_CHARS_MAX: usize = 256;
/// Exponents beyond this would make a short text a huge number.
const EXPONENT_MAX: i64 = 256;
/// A timestamp with its offset, to microseconds.
const ZONED: Wire = Wire::ZonedTimestamp { decimals: 6 };
const DAYS_OF_EPOCH_FROM_CE: i32 = 719_163;

/// Reads a value from a JSON string.
pub fn from_text(wire: &Wire, text: &str) -> Result<Value, Reject> {
    match wire {
        Wire::DecimalText => decimal(text),
        Wire::Uuid => uuid(text),
        Wire::ZonedTimestamp { .. } => timestamp(text),
        Wire::CalendarDate => date(text),
        Wire::Text => Ok(Value::Text(text.into())),
        _ => Err(wrong(wire, "a string")),
    }
}

/// Reads a value from a JSON number without fraction or exponent.
pub fn from_integer(wire: &Wire, number: i64) -> Result<Value, Reject> {
    let fits = match wire {
        Wire::Int16 => i16::try_from(number).is_ok(),
        Wire::Int32 => i32::try_from(number).is_ok(),
        Wire::Int64 => true,
        Wire::Date => return days(number),
        // An integer timestamp does not say its unit, and a guess would be off by a thousand.
        _ => return Err(wrong(wire, "a number")),
    };
    if fits { Ok(Value::Int(number)) } else { Err(out_of_range(wire)) }
}

/// Reads a decimal, from a JSON string or from the text of a JSON number.
pub fn decimal(text: &str) -> Result<Value, Reject> {
    if matches!(text, "NAN" | "NaN" | "POSITIVE_INFINITY" | "NEGATIVE_INFINITY" | "Infinity" | "-Infinity") {
        return Err(Reject::new(RejectClass::OutOfRange, "NaN and infinities have no decimal"));
    }
    if text.len() > DECIMAL_CHARS_MAX {
        let text = format!("a decimal of {} characters, the limit is {DECIMAL_CHARS_MAX}", text.len());
        return Err(Reject::new(RejectClass::OutOfRange, text));
    }
    // The crate also takes a leading plus, underscores and a bare point, which no writer of ours or Debezium's makes.
    let digits_only =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    let framed =
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.ends_with(|c: char| c.is_ascii_digit());
    if !digits_only || !framed {
        return Err(wrong(&Wire::DecimalText, "a string that is not a number"));
    }
    let number = BigDecimal::from_str(text).map_err(|_| wrong(&Wire::DecimalText, "a string that is not a number"))?;
    if number.fractional_digit_count().unsigned_abs() > EXPONENT_MAX.unsigned_abs() {
        return Err(out_of_range(&Wire::DecimalText));
    }
    Ok(Value::Decimal(number))
}

/// A value that is not of the column's kind; `found` says what JSON had there.
pub fn wrong(wire: &Wire, found: &str) -> Reject {
    Reject::new(RejectClass::WrongType, format!("expected {wire}, found {found}"))
}

/// A value that its kind cannot hold.
pub fn out_of_range(wire: &Wire) -> Reject {
    Reject::new(RejectClass::OutOfRange, format!("the value does not fit {wire}"))
}

fn uuid(text: &str) -> Result<Value, Reject> {
    const HYPHENATED: usize = 36;
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == HYPHENATED => Ok(Value::Uuid(uuid)),
        _ => Err(wrong(&Wire::Uuid, "a string that is not one")),
    }
}

fn date(text: &str) -> Result<Value, Reject> {
    let shaped = text.len() == "2026-01-31".len() && text.starts_with(|c: char| c.is_ascii_digit());
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| shaped);
    let date =
        date.ok_or_else(|| wrong(&Wire::CalendarDate, "a string that is not a day of the calendar as YYYY-MM-DD"))?;
    Ok(Value::Date(date.to_epoch_days()))
}

fn days(number: i64) -> Result<Value, Reject> {
    // Debezium's stand-ins for ±infinity overflow into days that no calendar here has: they are refused with the rest.
    let days = i32::try_from(number).map_err(|_| out_of_range(&Wire::Date))?;
    let known = days.checked_add(DAYS_OF_EPOCH_FROM_CE).and_then(NaiveDate::from_num_days_from_ce_opt);
    known.map(|_| Value::Date(days)).ok_or_else(|| out_of_range(&Wire::Date))
}

/// RFC 3339 with any offset, to microseconds. Finer fractions would be lost and are refused.
fn timestamp(text: &str) -> Result<Value, Reject> {
    if matches!(text, "infinity" | "-infinity") {
        return Err(Reject::new(RejectClass::OutOfRange, "an infinite timestamp has no instant"));
    }
    let instant =
        DateTime::parse_from_rfc3339(text).map_err(|_| wrong(&ZONED, "a string that is not an RFC 3339 timestamp"))?;
    let nanos = instant.timestamp_subsec_nanos();
    if nanos >= 1_000_000_000 || nanos % 1000 != 0 {
        return Err(Reject::new(RejectClass::OutOfRange, "the timestamp is finer than microseconds"));
    }
    Ok(Value::Timestamp(instant.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(wire: Wire, text: &str) -> String {
        match from_text(&wire, text) {
            Ok(value) => format!("{value:?}"),
            Err(reject) => reject.class.as_str().to_string(),
        }
    }

    #[test]
    fn decimals_are_exact_and_strict() {
        let digits = "123456789012345678901234567890.123456789";
        let exact = BigDecimal::from_str(digits).expect("a number");
        assert_eq!(from_text(&Wire::DecimalText, digits), Ok(Value::Decimal(exact)));
        for (given, class) in [
            ("", "wrong_type"),
            ("Oo4=", "wrong_type"),
            ("1_000", "wrong_type"),
            ("+1", "wrong_type"),
            (".5", "wrong_type"),
            ("5.", "wrong_type"),
            ("1-2", "wrong_type"),
            ("1e999999999", "out_of_range"),
            ("NAN", "out_of_range"),
        ] {
            assert_eq!(text(Wire::DecimalText, given), class, "{given}");
        }
        assert_eq!(text(Wire::DecimalText, &"9".repeat(257)), "out_of_range");
    }

    #[test]
    fn times_and_ids_are_strict() {
        assert_eq!(text(ZONED, "2026-01-01T02:00:00.123456+02:00"), "Timestamp(1767225600123456)");
        assert_eq!(text(ZONED, "1969-12-31T23:59:59.999Z"), "Timestamp(-1000)");
        assert_eq!(text(ZONED, "2026-01-01T00:00:00.1234567Z"), "out_of_range");
        assert_eq!(text(ZONED, "infinity"), "out_of_range");
        assert_eq!(text(ZONED, "yesterday"), "wrong_type");
        assert_eq!(text(Wire::CalendarDate, "2024-02-29"), "Date(19782)");
        for bad in ["2023-02-29", "2024-2-29", "24-02-29", "2024-02-29Z", "+2024-02-2"] {
            assert_eq!(text(Wire::CalendarDate, bad), "wrong_type", "{bad}");
        }
        assert_eq!(text(Wire::Uuid, "7f1c0a525b1c4a0e9df01a2b3c4d5e6f"), "wrong_type");
    }

    #[test]
    fn integers_keep_to_their_width() {
        let of = |wire: Wire, number| from_integer(&wire, number).map_err(|reject| reject.class);
        assert_eq!(of(Wire::Int16, 32767), Ok(Value::Int(32767)));
        assert_eq!(of(Wire::Int16, 32768), Err(RejectClass::OutOfRange));
        assert_eq!(of(Wire::Int64, i64::MIN), Ok(Value::Int(i64::MIN)));
        assert_eq!(of(Wire::Date, 20454), Ok(Value::Date(20454)));
        assert_eq!(of(Wire::Date, -2_147_472_692), Err(RejectClass::OutOfRange));
        assert_eq!(of(ZONED, 0), Err(RejectClass::WrongType));
    }

    proptest! {
        #[test]
        fn a_decimal_reads_back_what_was_written(unscaled in any::<i128>(), scale in 0i64..40) {
            let number = BigDecimal::new(unscaled.into(), scale);
            prop_assert_eq!(decimal(&number.to_plain_string()), Ok(Value::Decimal(number)));
        }

        #[test]
        fn a_timestamp_reads_back_what_was_written(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
            let text = DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339();
            prop_assert_eq!(timestamp(&text), Ok(Value::Timestamp(micros)));
        }

        #[test]
        fn nothing_panics(given in ".*", number in any::<i64>()) {
            for wire in [Wire::Bool, Wire::Int16, Wire::DecimalText, Wire::Text, Wire::Uuid, Wire::CalendarDate, ZONED] {
                let _ = from_text(&wire, &given);
                let _ = from_integer(&wire, number);
            }
        }
    }
}
