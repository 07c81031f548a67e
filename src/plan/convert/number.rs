//! Numbers, without a float on the way of a decimal or a whole number.
//!
//! A float stands for the shortest decimal that reads back as it. So a decimal that goes into a float loses nothing
//! when that decimal is the same number, and so does a float that goes into a narrower one.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::str::FromStr as _;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, Pow as _};

use crate::plan::convert::{Misfit, Policy, out_of_range, special, wrong};
use crate::row::{Float, Kind, Special, Value};

/// The longest numeric that Postgres has, in digits before and behind the point. Longer ones are refused, so that a
/// short record with a large exponent makes no large number.
const WHOLE_DIGITS_MAX: i64 = 131_072;
const FRACTION_DIGITS_MAX: i64 = 16_383;
/// More than the bits of so many digits.
const BITS_MAX: u64 = (WHOLE_DIGITS_MAX as u64 + FRACTION_DIGITS_MAX as u64) * 10 / 3 + 1;

/// Whole numbers up to these fit a float, each and without a gap.
const FLOAT32_WHOLE_MAX: u64 = 1 << 24;
const FLOAT64_WHOLE_MAX: u64 = 1 << 53;

const BEYOND_WIDTH: &str = "has a number beyond its range";
const WOULD_LOSE_DIGITS: &str = "would lose digits";

/// Into a whole number of a width. Microseconds of an interval without months and days are an [`Kind::Int64`].
pub fn to_int(value: &Value, kind: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let range = range(kind);
    let whole = match value {
        Value::Int(int) => Some(*int),
        Value::Decimal(decimal) => i64::try_from(&*whole(decimal)?).ok(),
        Value::Duration(duration) if *kind == Kind::Int64 => match (duration.months, duration.days) {
            (0, 0) => Some(duration.micros),
            _ => return Err(out_of_range("has an interval with months or days")),
        },
        Value::Special(found) => {
            let ends = (Value::Int(*range.start()), Value::Int(*range.end()));
            return special(*found, Some(ends), policy);
        }
        Value::Float32(_) | Value::Float64(_) => return to_int(&exact(value)?, kind, policy),
        _ => return Err(wrong(value)),
    };
    match whole {
        Some(whole) if range.contains(&whole) => Ok(Value::Int(whole)),
        _ => Err(out_of_range(BEYOND_WIDTH)),
    }
}

pub fn to_integer(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    match value {
        Value::Int(int) => Ok(Value::Decimal(BigDecimal::from(*int))),
        Value::Decimal(decimal) => Ok(Value::Decimal(BigDecimal::from_bigint(whole(decimal)?.into_owned(), 0))),
        Value::Float32(_) | Value::Float64(_) => to_integer(&exact(value)?, policy),
        Value::Special(found) => special(*found, None, policy),
        _ => Err(wrong(value)),
    }
}

pub fn to_decimal(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    match value {
        Value::Int(int) => Ok(Value::Decimal(BigDecimal::from(*int))),
        Value::Decimal(decimal) => {
            check_size(decimal)?;
            Ok(value.clone())
        }
        Value::Float32(_) | Value::Float64(_) => to_decimal(&exact(value)?, policy),
        Value::Special(found) => special(*found, None, policy),
        _ => Err(wrong(value)),
    }
}

pub fn to_float64(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    let number = match value {
        Value::Float32(Float(number)) | Value::Float64(Float(number)) => *number,
        Value::Int(int) if policy.lossy || int.unsigned_abs() <= FLOAT64_WHOLE_MAX => *int as f64,
        Value::Int(_) => return Err(out_of_range(WOULD_LOSE_DIGITS)),
        Value::Decimal(decimal) => {
            let number: f64 = nearest(decimal)?;
            check_loss(policy, || parse(&number.to_string()).is_ok_and(|back| back == *decimal))?;
            number
        }
        Value::Special(found) => float_of(*found),
        _ => return Err(wrong(value)),
    };
    Ok(Value::Float64(Float(number)))
}

pub fn to_float32(value: &Value, policy: Policy) -> Result<Value, Misfit> {
    let number: f32 = match value {
        Value::Float32(Float(number)) => *number as f32,
        Value::Float64(Float(number)) => {
            let narrow = *number as f32;
            if narrow.is_infinite() && number.is_finite() {
                return Err(out_of_range(BEYOND_WIDTH));
            }
            check_loss(policy, || f64::from(narrow) == *number || number.is_nan() || reads_back(narrow, *number))?;
            narrow
        }
        Value::Int(int) if policy.lossy || int.unsigned_abs() <= FLOAT32_WHOLE_MAX => *int as f32,
        Value::Int(_) => return Err(out_of_range(WOULD_LOSE_DIGITS)),
        Value::Decimal(decimal) => {
            let number: f32 = nearest(decimal)?;
            check_loss(policy, || parse(&number.to_string()).is_ok_and(|back| back == *decimal))?;
            number
        }
        Value::Special(found) => float_of(*found) as f32,
        _ => return Err(wrong(value)),
    };
    Ok(Value::Float32(Float(number.into())))
}

/// Refuses a decimal that is longer than any that Postgres has.
pub fn check_size(decimal: &BigDecimal) -> Result<(), Misfit> {
    let (digits, scale) = decimal.as_bigint_and_scale();
    if (-WHOLE_DIGITS_MAX..=FRACTION_DIGITS_MAX).contains(&scale) && digits.bits() <= BITS_MAX {
        Ok(())
    } else {
        Err(out_of_range("has a number that is longer than Postgres has any"))
    }
}

fn range(kind: &Kind) -> RangeInclusive<i64> {
    match kind {
        Kind::Int8 => i8::MIN.into()..=i8::MAX.into(),
        Kind::Int16 => i16::MIN.into()..=i16::MAX.into(),
        Kind::Int32 => i32::MIN.into()..=i32::MAX.into(),
        _ => i64::MIN..=i64::MAX,
    }
}

/// The decimal as a whole number, when it has no fraction.
fn whole(decimal: &BigDecimal) -> Result<Cow<'_, BigInt>, Misfit> {
    check_size(decimal)?;
    let (digits, scale) = decimal.as_bigint_and_scale();
    if scale == 0 || digits.sign() == Sign::NoSign {
        return Ok(digits);
    }
    let power = BigInt::from(10).pow(scale.unsigned_abs());
    if scale < 0 {
        return Ok(Cow::Owned(&*digits * power));
    }
    let quotient = &*digits / &power;
    if &quotient * power == *digits { Ok(Cow::Owned(quotient)) } else { Err(out_of_range("has a fraction")) }
}

/// A float as the shortest decimal that reads back as it, or as what it is instead of a number.
fn exact(value: &Value) -> Result<Value, Misfit> {
    let text = match value {
        Value::Float32(Float(number)) | Value::Float64(Float(number)) if number.is_nan() => {
            return Ok(Value::Special(Special::NotANumber));
        }
        Value::Float32(Float(number)) | Value::Float64(Float(number)) if number.is_infinite() => {
            let negative = number.is_sign_negative();
            return Ok(Value::Special(if negative { Special::NegativeInfinity } else { Special::Infinity }));
        }
        Value::Float32(Float(number)) => (*number as f32).to_string(),
        Value::Float64(Float(number)) => number.to_string(),
        _ => return Err(wrong(value)),
    };
    parse(&text).map(Value::Decimal)
}

fn parse(text: &str) -> Result<BigDecimal, Misfit> {
    BigDecimal::from_str(text).map_err(|_| out_of_range("has a float that is no decimal"))
}

/// The nearest float; a decimal beyond the last one is refused.
fn nearest<F: std::str::FromStr + Into<f64> + Copy>(decimal: &BigDecimal) -> Result<F, Misfit> {
    check_size(decimal)?;
    let (digits, scale) = decimal.as_bigint_and_scale();
    let number: F = format!("{digits}e{}", -scale).parse().map_err(|_| out_of_range(BEYOND_WIDTH))?;
    if number.into().is_finite() { Ok(number) } else { Err(out_of_range(BEYOND_WIDTH)) }
}

fn check_loss(policy: Policy, is_same: impl FnOnce() -> bool) -> Result<(), Misfit> {
    if policy.lossy || is_same() { Ok(()) } else { Err(out_of_range(WOULD_LOSE_DIGITS)) }
}

/// Whether the shortest decimal of the narrow float reads as the wide one, without an allocation: vectors have
/// thousands of them.
fn reads_back(narrow: f32, wide: f64) -> bool {
    const LONGEST: usize = "-1.23456789e-45".len();
    let mut text = [0; LONGEST];
    let mut rest = &mut text[..];
    if write!(rest, "{narrow:e}").is_err() {
        return false;
    }
    let free = rest.len();
    std::str::from_utf8(&text[..LONGEST - free]).is_ok_and(|text| text.parse() == Ok(wide))
}

fn float_of(special: Special) -> f64 {
    match special {
        Special::NotANumber => f64::NAN,
        Special::Infinity => f64::INFINITY,
        Special::NegativeInfinity => f64::NEG_INFINITY,
    }
}
