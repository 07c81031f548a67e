//! Integers, floats and decimals, exact: from JSON numbers by their own text, and from Base64.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use crate::change::{Reject, RejectClass};
use crate::format::logical::{out_of_range, wrong};
use crate::row::wire::Wire;
use crate::row::{Float, Special, Value};

/// Decimals with more characters than this are refused: Debezium sends some of 800 digits for a negative scale.
const DECIMAL_CHARS_MAX: usize = 256;
/// As many bytes hold so many digits.
const DECIMAL_BYTES_MAX: usize = 107;
/// Exponents and scales beyond this would make a short text a huge number.
const EXPONENT_MAX: i64 = 256;

/// An integer that its width holds.
pub fn integer(wire: &Wire, number: i64) -> Result<Value, Reject> {
    let fits = match wire {
        Wire::Int8 => i8::try_from(number).is_ok(),
        Wire::Int16 => i16::try_from(number).is_ok(),
        Wire::Int32 => i32::try_from(number).is_ok(),
        _ => true,
    };
    if fits { Ok(Value::Int(number)) } else { Err(out_of_range(wire)) }
}

/// A float or decimal from the text of a JSON number.
pub fn number(wire: &Wire, text: &str) -> Result<Value, Reject> {
    match wire {
        Wire::Float32 => {
            let number: f32 = text.parse().map_err(|_| wrong(wire, "what is no number"))?;
            if number.is_finite() { Ok(Value::Float32(Float(number.into()))) } else { Err(out_of_range(wire)) }
        }
        Wire::Float64 | Wire::DecimalFloat => {
            let number: f64 = text.parse().map_err(|_| wrong(wire, "what is no number"))?;
            if number.is_finite() { Ok(Value::Float64(Float(number))) } else { Err(out_of_range(wire)) }
        }
        Wire::Decimal { scale } => match decimal(text)? {
            // `decimal.format=NUMERIC`. Trailing zeros may be missing there; a digit is never cut.
            Value::Decimal(number) if number.fractional_digit_count() < i64::from(*scale) => {
                check_scale(i64::from(*scale))?;
                Ok(Value::Decimal(number.with_scale(i64::from(*scale))))
            }
            read => Ok(read),
        },
        _ => decimal(text),
    }
}

/// What JSON has no number for. A decimal that became a float has the same texts.
pub fn special_float(wire: &Wire, text: &str) -> Result<Value, Reject> {
    let number = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return Err(wrong(wire, "a string")),
    };
    Ok(if *wire == Wire::Float32 { Value::Float32(Float(number)) } else { Value::Float64(Float(number)) })
}

/// A decimal in a JSON string, or the text of a JSON number.
pub fn decimal(text: &str) -> Result<Value, Reject> {
    match text {
        "NAN" | "NaN" => return Ok(Value::Special(Special::NotANumber)),
        "POSITIVE_INFINITY" | "Infinity" => return Ok(Value::Special(Special::Infinity)),
        "NEGATIVE_INFINITY" | "-Infinity" => return Ok(Value::Special(Special::NegativeInfinity)),
        _ => {}
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
    check_scale(number.fractional_digit_count())?;
    Ok(Value::Decimal(number))
}

/// Kafka Connect's `Decimal`: Base64 of the unscaled integer. A text like `1234` is Base64 as well, so digits in a
/// string are never read as a number here.
pub fn decimal_of_base64(wire: &Wire, scale: i32, text: &str) -> Result<Value, Reject> {
    const CHARS_MAX: usize = DECIMAL_BYTES_MAX.div_ceil(3) * 4;
    if text.len() > CHARS_MAX {
        return Err(too_long());
    }
    // base64 asks for room for whole groups of three bytes.
    let mut bytes = [0; CHARS_MAX];
    let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| wrong(wire, "a string that is not Base64"))?;
    unscaled(wire, &bytes[..length], scale)
}

/// A decimal from the big-endian two's complement of its unscaled integer.
pub fn unscaled(wire: &Wire, bytes: &[u8], scale: i32) -> Result<Value, Reject> {
    let Some(first) = bytes.first() else { return Err(wrong(wire, "a string without bytes")) };
    if bytes.len() > DECIMAL_BYTES_MAX {
        return Err(too_long());
    }
    check_scale(i64::from(scale))?;
    let sign = if *first < 0x80 { 0 } else { 0xff };
    let mut wide = [sign; 8];
    let integer = match wide.len().checked_sub(bytes.len()) {
        // Nearly every decimal.
        Some(free) => {
            wide[free..].copy_from_slice(bytes);
            BigInt::from(i64::from_be_bytes(wide))
        }
        None => BigInt::from_signed_bytes_be(bytes),
    };
    Ok(Value::Decimal(BigDecimal::new(integer, i64::from(scale))))
}

fn check_scale(scale: i64) -> Result<(), Reject> {
    if scale.unsigned_abs() > EXPONENT_MAX.unsigned_abs() { Err(out_of_range(&Wire::DecimalText)) } else { Ok(()) }
}

fn too_long() -> Reject {
    Reject::new(RejectClass::OutOfRange, format!("a decimal of more than {DECIMAL_BYTES_MAX} bytes"))
}
