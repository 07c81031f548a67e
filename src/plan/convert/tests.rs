//! The rules of conversion as tables: a value, a kind and a policy in, the canonical value or the refusal out.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;

use super::*;
use crate::row::wire::{BytesForm, Unit};
use crate::row::{Duration, Float};

pub const STRICT: Policy = Policy { lossy: false, unrepresentable: Unrepresentable::Reject };
pub const LOSSY: Policy = Policy { lossy: true, unrepresentable: Unrepresentable::Reject };
pub const CLAMP: Policy = Policy { lossy: false, unrepresentable: Unrepresentable::Clamp };
pub const NULL: Policy = Policy { lossy: false, unrepresentable: Unrepresentable::Null };

const INF: Value = Value::Special(Special::Infinity);
const NEG_INF: Value = Value::Special(Special::NegativeInfinity);
const NAN: Value = Value::Special(Special::NotANumber);

pub fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).expect("a decimal"))
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn float(number: f64) -> Value {
    Value::Float64(Float(number))
}

pub fn float32(number: f32) -> Value {
    Value::Float32(Float(number.into()))
}

fn duration(months: i32, days: i32, micros: i64) -> Value {
    Value::Duration(Duration { months, days, micros })
}

/// Compares how they are written, because 1.50 and 1.5 are equal and are not the same.
#[track_caller]
pub fn check(value: Value, kind: Kind, policy: Policy, expect: Value) {
    let converted = convert(&value, &kind, policy);
    assert_eq!(format!("{converted:?}"), format!("{:?}", Ok::<_, Misfit>(expect)), "{value:?} into {kind}, {policy:?}");
}

#[track_caller]
pub fn refused(value: Value, kind: Kind, policy: Policy, expect: &str) {
    let text = match convert(&value, &kind, policy) {
        Ok(converted) => format!("{converted:?}"),
        Err(misfit) => format!("{}: {}", misfit.class.as_str(), misfit.why),
    };
    assert_eq!(text, expect, "{value:?} into {kind}, {policy:?}");
}

/// Refused, clamped, made null.
#[track_caller]
fn unrepresentable(value: Value, kind: Kind, refusal: &str, clamped: Option<Value>) {
    refused(value.clone(), kind.clone(), STRICT, refusal);
    refused(value.clone(), kind.clone(), LOSSY, refusal);
    match clamped {
        Some(clamped) => check(value.clone(), kind.clone(), CLAMP, clamped),
        None => refused(value.clone(), kind.clone(), CLAMP, refusal),
    }
    check(value, kind, NULL, Value::Null);
}

/// Refused as it is, and cut when the column is lossy.
#[track_caller]
fn lossy(value: Value, kind: Kind, refusal: &str, cut: Value) {
    for policy in [STRICT, CLAMP, NULL] {
        refused(value.clone(), kind.clone(), policy, refusal);
    }
    check(value, kind, LOSSY, cut);
}

#[track_caller]
fn check_text(value: Value, expect: &str) {
    check(value.clone(), Kind::Text, STRICT, text(expect));
    check(value, Kind::Ascii, STRICT, text(expect));
}

#[track_caller]
pub fn check_fit(wire: Wire, kind: Kind, expect: &str) {
    let fit = match fit(&wire, &kind) {
        Fit::Exact => "exact".into(),
        Fit::Checked(text) | Fit::Lossy(text) => text,
        Fit::Never(text) => format!("never: {text}"),
    };
    assert_eq!(fit, expect, "{wire:?} into {kind}");
}

#[test]
fn the_same_form_stays_as_it_is() {
    for (value, kind) in [
        (Value::Bool(true), Kind::Bool),
        (Value::Int(-128), Kind::Int8),
        (Value::Int(i64::MAX), Kind::Int64),
        (decimal("1.50"), Kind::Decimal),
        (float32(0.1), Kind::Float32),
        (float(f64::NAN), Kind::Float64),
        (text("ä"), Kind::Text),
        (Value::Bytes(b"\0\xff"[..].into()), Kind::Bytes),
        (Value::Uuid(Uuid::from_u128(1)), Kind::Uuid),
        (Value::Inet([127, 0, 0, 1].into()), Kind::Inet),
        (Value::Date(i32::MIN), Kind::Date),
        (Value::Time(86_399_999_999), Kind::Time),
        (Value::Timestamp(-1), Kind::Timestamp),
        (Value::Timestamp(-1000), Kind::TimestampMillis),
        (duration(-1, -2, -3), Kind::Duration),
    ] {
        check(value.clone(), kind, STRICT, value);
    }
    for value in [Value::Null, Value::Absent, Value::Unavailable] {
        for kind in [Kind::Bool, Kind::Int8, Kind::Duration, Kind::List(Box::new(Kind::Text)), Kind::Tuple(vec![])] {
            check(value.clone(), kind, STRICT, value.clone());
        }
    }
}

#[test]
fn whole_numbers_keep_to_their_width() {
    const BEYOND: &str = "out_of_range: has a number beyond its range";
    for (kind, low, high) in [
        (Kind::Int8, i64::from(i8::MIN), i64::from(i8::MAX)),
        (Kind::Int16, i16::MIN.into(), i16::MAX.into()),
        (Kind::Int32, i32::MIN.into(), i32::MAX.into()),
    ] {
        for policy in [STRICT, LOSSY, CLAMP, NULL] {
            check(Value::Int(low), kind.clone(), policy, Value::Int(low));
            check(decimal(&format!("{high}.00")), kind.clone(), policy, Value::Int(high));
            refused(Value::Int(low - 1), kind.clone(), policy, BEYOND);
            refused(Value::Int(high + 1), kind.clone(), policy, BEYOND);
        }
    }
    check(decimal("9223372036854775807"), Kind::Int64, STRICT, Value::Int(i64::MAX));
    refused(decimal("9223372036854775808"), Kind::Int64, STRICT, BEYOND);
    check(decimal("1E+3"), Kind::Int16, STRICT, Value::Int(1000));
    refused(decimal("1.5"), Kind::Int16, LOSSY, "out_of_range: has a fraction");
    refused(decimal("1E-400"), Kind::Int16, STRICT, "out_of_range: has a fraction");
    check(decimal("0E-400"), Kind::Int16, STRICT, Value::Int(0));
    check(float(-3.0), Kind::Int16, STRICT, Value::Int(-3));
    refused(float(0.5), Kind::Int16, STRICT, "out_of_range: has a fraction");
    unrepresentable(INF, Kind::Int8, "out_of_range: has an infinity, which it cannot hold", Some(Value::Int(127)));
    unrepresentable(
        float(f64::NEG_INFINITY),
        Kind::Int8,
        "out_of_range: has an infinity, which it cannot hold",
        Some(Value::Int(-128)),
    );
    unrepresentable(NAN, Kind::Int64, "out_of_range: has NaN, which it cannot hold", None);
    for value in [Value::Bool(true), text("1")] {
        let why = if value == text("1") { "wrong_type: takes no text" } else { "wrong_type: takes no boolean" };
        for kind in [Kind::Int8, Kind::Int64, Kind::Integer, Kind::Decimal, Kind::Float32, Kind::Float64] {
            refused(value.clone(), kind, LOSSY, why);
        }
    }
    refused(Value::Int(1), Kind::Bool, LOSSY, "wrong_type: takes no whole number");
}

#[test]
fn numbers_of_any_size_keep_every_digit() {
    check(Value::Int(i64::MIN), Kind::Integer, STRICT, decimal("-9223372036854775808"));
    check(Value::Int(7), Kind::Decimal, STRICT, decimal("7"));
    check(
        decimal("123456789012345678901234567890.00"),
        Kind::Integer,
        STRICT,
        decimal("123456789012345678901234567890"),
    );
    refused(decimal("1.01"), Kind::Integer, LOSSY, "out_of_range: has a fraction");
    check(float(0.1), Kind::Decimal, STRICT, decimal("0.1"));
    check(float32(0.1), Kind::Decimal, STRICT, decimal("0.1"));
    check(float(1e23), Kind::Integer, STRICT, decimal("100000000000000000000000"));
    for kind in [Kind::Integer, Kind::Decimal] {
        unrepresentable(INF, kind.clone(), "out_of_range: has an infinity, which it cannot hold", None);
        unrepresentable(float(f64::NAN), kind, "out_of_range: has NaN, which it cannot hold", None);
    }
    const LONG: &str = "out_of_range: has a number that is longer than Postgres has any";
    for (digits, scale) in [(1, i64::from(i32::MIN)), (1, i64::MAX), (1, i64::MIN), (1, 16_384), (0, -131_073)] {
        let huge = Value::Decimal(BigDecimal::new(digits.into(), scale));
        for kind in [Kind::Int8, Kind::Integer, Kind::Decimal, Kind::Float32, Kind::Float64, Kind::Text] {
            refused(huge.clone(), kind, LOSSY, LONG);
        }
    }
}

#[test]
fn floats_lose_digits_only_where_they_may() {
    const DIGITS: &str = "out_of_range: would lose digits";
    const BEYOND: &str = "out_of_range: has a number beyond its range";
    check(Value::Int(-(1 << 53)), Kind::Float64, STRICT, float(-9_007_199_254_740_992.0));
    lossy(Value::Int((1 << 53) + 1), Kind::Float64, DIGITS, float(9_007_199_254_740_992.0));
    check(Value::Int(1 << 24), Kind::Float32, STRICT, float32(16_777_216.0));
    lossy(Value::Int((1 << 24) + 1), Kind::Float32, DIGITS, float32(16_777_216.0));
    lossy(Value::Int(i64::MIN + 1), Kind::Float64, DIGITS, float(-9_223_372_036_854_775_808.0));
    check(decimal("0.10"), Kind::Float64, STRICT, float(0.1));
    check(decimal("0.1"), Kind::Float32, STRICT, float32(0.1));
    lossy(decimal("0.10000000000000000001"), Kind::Float64, DIGITS, float(0.1));
    lossy(decimal("16777217"), Kind::Float32, DIGITS, float32(16_777_216.0));
    lossy(decimal("1E-400"), Kind::Float64, DIGITS, float(0.0));
    check(decimal("0E-400"), Kind::Float64, STRICT, float(0.0));
    refused(decimal("1E+400"), Kind::Float64, LOSSY, BEYOND);
    refused(decimal("1E+39"), Kind::Float32, LOSSY, BEYOND);
    refused(float(1e39), Kind::Float32, LOSSY, BEYOND);
    check(float(0.1), Kind::Float32, STRICT, float32(0.1));
    check(float(f64::from(0.1f32)), Kind::Float32, STRICT, float32(0.1));
    check(float(-1.234_567_9e-38), Kind::Float32, STRICT, float32(-1.234_567_9e-38));
    lossy(float(0.123_456_789_012), Kind::Float32, DIGITS, float32(0.123_456_79));
    lossy(float(1e-60), Kind::Float32, DIGITS, float32(0.0));
    check(float32(0.1), Kind::Float64, STRICT, float(f64::from(0.1f32)));
    for (special, number) in [(NAN, f64::NAN), (INF, f64::INFINITY), (NEG_INF, f64::NEG_INFINITY)] {
        for policy in [STRICT, LOSSY, CLAMP, NULL] {
            check(special.clone(), Kind::Float64, policy, float(number));
            check(special.clone(), Kind::Float32, policy, float32(number as f32));
            check(float(number), Kind::Float32, policy, float32(number as f32));
        }
    }
}

#[test]
fn everything_with_a_text_becomes_it() {
    check_text(Value::Bool(false), "false");
    check_text(Value::Int(i64::MIN), "-9223372036854775808");
    check_text(decimal("1.50"), "1.50");
    check_text(decimal("-0.000000001"), "-0.000000001");
    check_text(decimal("12E+3"), "12000");
    check_text(float(0.1), "0.1");
    check_text(float32(0.1), "0.1");
    check_text(float(-0.0), "-0");
    check_text(float(100.0), "100");
    check_text(float(0.0001), "0.0001");
    check_text(float(1.5e-5), "1.5e-05");
    check_text(float(123_456_789_012_345.0), "123456789012345");
    check_text(float(1e15), "1e+15");
    check_text(float32(999_999.0), "999999");
    check_text(float32(1e6), "1e+06");
    check_text(float(f64::MIN), "-1.7976931348623157e+308");
    check_text(float(f64::NAN), "NaN");
    check_text(float32(f32::INFINITY), "Infinity");
    check_text(float(f64::NEG_INFINITY), "-Infinity");
    check_text(NAN, "NaN");
    check_text(INF, "Infinity");
    check_text(NEG_INF, "-Infinity");
    check_text(Value::Uuid(Uuid::from_u128(0xab)), "00000000-0000-0000-0000-0000000000ab");
    check_text(Value::Inet([10, 0, 0, 1].into()), "10.0.0.1");
    check_text(text("00101010"), "00101010");
    check(text("ä"), Kind::Text, STRICT, text("ä"));
    refused(text("ä"), Kind::Ascii, LOSSY, "out_of_range: has characters beyond ASCII");
    refused(Value::Bytes(b"a"[..].into()), Kind::Text, LOSSY, "wrong_type: takes no bytes");
}

#[test]
fn dates_and_times_are_written_as_iso_8601_does() {
    check_text(Value::Date(19_782), "2024-02-29");
    check_text(Value::Date(-1), "1969-12-31");
    check_text(Value::Date(-735_160), "-0043-03-15");
    check_text(Value::Date(6956408), "+21016-01-01");
    check_text(Value::Date(-719_528), "0000-01-01");
    check_text(Value::Date(2_932_897), "+10000-01-01");
    check_text(Value::Date(-2_440_588), "-4713-11-24");
    check_text(Value::Date(i32::MAX), "+5881580-07-11");
    check_text(Value::Time(0), "00:00:00");
    check_text(Value::Time(86_400_000_000), "24:00:00");
    check_text(Value::Time(86_399_123_400), "23:59:59.1234");
    check_text(Value::ZonedTime(42_662_123_789), "11:51:02.123789Z");
    check_text(Value::LocalTimestamp(1_709_251_199_123_456), "2024-02-29T23:59:59.123456");
    check_text(Value::Timestamp(-1), "1969-12-31T23:59:59.999999Z");
    check_text(Value::Timestamp(i64::MIN), "-290308-12-21T19:59:05.224192Z");
    refused(Value::Time(-1), Kind::Text, STRICT, "out_of_range: has a time outside of the day");
    check_text(duration(14, 3, 14_706_789_000), "P1Y2M3DT4H5M6.789S");
    check_text(duration(0, 0, 0), "PT0S");
    check_text(duration(0, -1, 0), "P-1D");
    check_text(duration(-14, 0, -500_000), "P-1Y-2MT-0.5S");
    check_text(duration(0, 0, 3_600_000_000), "PT1H");
    check_text(duration(0, 0, 60_000_001), "PT1M0.000001S");
    check_text(duration(i32::MIN, i32::MIN, i64::MIN), "P-178956970Y-8M-2147483648DT-2562047788H-54.775808S");
}

#[test]
fn days_and_instants_become_each_other_as_if_in_utc() {
    const INFINITE: &str = "out_of_range: has an infinity, which it cannot hold";
    const MICROS: &str = "out_of_range: would lose microseconds";
    const LATEST: i64 = 9_223_372_036_854_775_000;
    const EARLIEST: i64 = -210_866_803_200_000_000;
    for kind in [Kind::Timestamp, Kind::TimestampMillis] {
        check(Value::Date(-1), kind.clone(), STRICT, Value::Timestamp(-86_400_000_000));
        check(Value::LocalTimestamp(-1000), kind.clone(), STRICT, Value::Timestamp(-1000));
        unrepresentable(INF, kind.clone(), INFINITE, Some(Value::Timestamp(LATEST)));
        unrepresentable(NEG_INF, kind.clone(), INFINITE, Some(Value::Timestamp(EARLIEST)));
        unrepresentable(NAN, kind.clone(), "out_of_range: has NaN, which it cannot hold", None);
        let late = "out_of_range: has a date that no timestamp reaches";
        check(Value::Date(106_751_991), kind.clone(), STRICT, Value::Timestamp(106_751_991 * 86_400_000_000));
        unrepresentable(Value::Date(106_751_992), kind.clone(), late, Some(Value::Timestamp(LATEST)));
        unrepresentable(Value::Date(i32::MIN), kind.clone(), late, Some(Value::Timestamp(EARLIEST)));
        refused(Value::Int(0), kind.clone(), LOSSY, "wrong_type: takes no whole number");
        refused(Value::Time(0), kind, LOSSY, "wrong_type: takes no time of day");
    }
    for of in [Value::Timestamp, Value::LocalTimestamp] {
        check(of(1_999_999), Kind::Timestamp, STRICT, Value::Timestamp(1_999_999));
        lossy(of(1_999_999), Kind::TimestampMillis, MICROS, Value::Timestamp(1_999_000));
        lossy(of(-1), Kind::TimestampMillis, MICROS, Value::Timestamp(-1000));
        refused(of(i64::MIN), Kind::TimestampMillis, LOSSY, "out_of_range: has a timestamp beyond 64 bits");
        check(of(-86_400_000_000), Kind::Date, STRICT, Value::Date(-1));
        lossy(of(-1), Kind::Date, "out_of_range: would lose the time of day", Value::Date(-1));
    }
    unrepresentable(INF, Kind::Date, INFINITE, Some(Value::Date(i32::MAX)));
    unrepresentable(NEG_INF, Kind::Date, INFINITE, Some(Value::Date(i32::MIN)));
}

#[test]
fn times_of_day_end_before_24_00() {
    let late = "out_of_range: has the time 24:00, which it cannot hold";
    unrepresentable(Value::Time(86_400_000_000), Kind::Time, late, Some(Value::Time(86_399_999_999)));
    lossy(Value::ZonedTime(1), Kind::Time, "out_of_range: would lose the time zone", Value::Time(1));
    refused(Value::ZonedTime(86_400_000_000), Kind::Time, LOSSY, late);
    refused(Value::Time(86_400_000_001), Kind::Time, CLAMP, "out_of_range: has a time outside of the day");
    refused(Value::Timestamp(0), Kind::Time, LOSSY, "wrong_type: takes no timestamp");
}

#[test]
fn intervals_keep_their_parts() {
    check(duration(14, 3, 5), Kind::Duration, STRICT, duration(14, 3, 5));
    let mixed = "out_of_range: has an interval with parts of both signs";
    refused(duration(1, -1, 0), Kind::Duration, LOSSY, mixed);
    refused(duration(0, 1, -1), Kind::Duration, CLAMP, mixed);
    let long = "out_of_range: has an interval with more hours than 292 years";
    refused(duration(0, 0, i64::MAX / 1000 + 1), Kind::Duration, STRICT, long);
    check(duration(0, 0, -5), Kind::Int64, STRICT, Value::Int(-5));
    refused(duration(1, 0, 5), Kind::Int64, LOSSY, "out_of_range: has an interval with months or days");
    refused(duration(0, 0, 5), Kind::Int32, LOSSY, "wrong_type: takes no interval");
}

#[test]
fn identifiers_and_addresses_are_read_strictly_from_text() {
    let written = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let version_1 = "58e0a7d7-eebc-11d8-9669-0800200c9a66";
    let uuid = |text: &str| Value::Uuid(Uuid::parse_str(text).expect("a UUID"));
    check(text(written), Kind::Uuid, STRICT, uuid(written));
    check(text(version_1), Kind::TimeUuid, STRICT, uuid(version_1));
    check(uuid(version_1), Kind::TimeUuid, STRICT, uuid(version_1));
    for value in [text(written), uuid(written)] {
        refused(value, Kind::TimeUuid, NULL, "out_of_range: has a UUID that is not of version 1");
    }
    for bad in ["", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99"] {
        refused(text(bad), Kind::Uuid, NULL, "out_of_range: has a text that is no UUID with hyphens");
    }
    check(text("10.1.2.3"), Kind::Inet, STRICT, Value::Inet([10, 1, 2, 3].into()));
    check(text("::1"), Kind::Inet, STRICT, Value::Inet(std::net::Ipv6Addr::LOCALHOST.into()));
    for bad in ["10.1.2.3/24", "10.1.2.0/32", "10.1", "::1/128", ""] {
        refused(text(bad), Kind::Inet, NULL, "out_of_range: has a text that is no address of a host");
    }
    refused(Value::Int(1), Kind::Inet, LOSSY, "wrong_type: takes no whole number");
}

#[test]
fn a_fit_says_what_is_lost_and_what_is_rejected() {
    let zoned = |decimals| Wire::ZonedTimestamp { decimals };
    let micros = |decimals| Wire::LocalTimestamp { unit: Unit::Micros, decimals };
    let millis = |decimals| Wire::LocalTimestamp { unit: Unit::Millis, decimals };
    check_fit(Wire::Int32, Kind::Int64, "exact");
    check_fit(Wire::Int32, Kind::Int16, "rejects numbers beyond its range");
    check_fit(Wire::Int64, Kind::Float64, "loses digits that the float has not");
    check_fit(Wire::Int32, Kind::Float64, "exact");
    check_fit(Wire::Decimal { scale: 0 }, Kind::Integer, "exact");
    check_fit(Wire::Decimal { scale: 2 }, Kind::Int32, "rejects fractions and numbers beyond its range");
    check_fit(Wire::DecimalText, Kind::Decimal, "rejects NaN and infinity");
    check_fit(Wire::DecimalFloat, Kind::Decimal, "loses digits beyond the fifteenth, which the connector cut");
    check_fit(Wire::Bool, Kind::Int8, "never: takes no boolean");
    check_fit(Wire::Int8, Kind::Bool, "never: takes no int8");
    check_fit(zoned(6), Kind::TimestampMillis, "loses microseconds");
    check_fit(zoned(3), Kind::TimestampMillis, "rejects infinity");
    check_fit(micros(6), Kind::TimestampMillis, "loses microseconds");
    check_fit(micros(6), Kind::Timestamp, "rejects infinity");
    check_fit(millis(3), Kind::TimestampMillis, "rejects infinity");
    check_fit(millis(6), Kind::TimestampMillis, "loses microseconds, which the connector cut");
    check_fit(millis(6), Kind::Text, "loses microseconds, which the connector cut");
    check_fit(zoned(6), Kind::Date, "loses the time of day");
    check_fit(zoned(6), Kind::Text, "exact");
    check_fit(Wire::Date, Kind::Date, "rejects infinity");
    check_fit(Wire::CalendarDate, Kind::TimestampMillis, "exact");
    check_fit(Wire::Time { unit: Unit::Micros, decimals: 6 }, Kind::Time, "rejects 24:00");
    check_fit(Wire::ZonedTime, Kind::Time, "loses the time zone");
    check_fit(Wire::MicroDuration, Kind::Int64, "loses its months, of which the connector made 365.25/12 days each");
    check_fit(Wire::Bits { length: None }, Kind::Text, "loses leading zeros, which the connector does not send");
    check_fit(Wire::Bits { length: Some(8) }, Kind::Ascii, "exact");
    check_fit(Wire::Bits { length: Some(8) }, Kind::Int8, "never: takes no bits in Base64");
    check_fit(
        Wire::Bytes(BytesForm::Hex),
        Kind::Text,
        "never: takes no bytes in hexadecimal digits: a text of them would be a guess",
    );
    check_fit(Wire::Text, Kind::Int64, "never: takes no text");
    check_fit(
        Wire::Text,
        Kind::TimeUuid,
        "rejects text that is no UUID with hyphens and UUIDs that are not of version 1",
    );
}
