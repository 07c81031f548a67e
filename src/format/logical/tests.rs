//! Values of every wire form as Debezium writes them, what stands for an unchanged one, and what is refused.

use bytestring::ByteString;

use super::*;
use crate::row::UNAVAILABLE_DEFAULT;
use crate::row::wire::{BytesForm, Unit};

const BASE64: Wire = Wire::Bytes(BytesForm::Base64);
const HEX: Wire = Wire::Bytes(BytesForm::Hex);

fn array(item: Wire) -> Wire {
    Wire::Array(Box::new(item))
}

fn read_with(placeholder: &str, wire: &Wire, json: &str) -> Result<Value, Reject> {
    let text = ByteString::from(json);
    let notes = Notes::new(&text);
    let placeholder = Placeholder::new(placeholder);
    let seed = ValueSeed { wire, column: "c", placeholder: &placeholder, notes: &notes, place: Place::Column };
    notes.read("the value", &text, seed)
}

/// The value in few words: decimals in plain notation, parts in braces.
fn shown(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(shown).collect::<Vec<_>>().join(" ");
    match value {
        Value::Decimal(number) => format!("{} scale {}", number.to_plain_string(), number.fractional_digit_count()),
        Value::Int(number) => number.to_string(),
        Value::Float32(float) | Value::Float64(float) => float.0.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:x?}"),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Map(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| shown(key) + "=" + &shown(value)).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Value::Struct(parts) => {
            let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("({})", parts.join(" "))
        }
        Value::Duration(duration) => format!("{}m {}d {}us", duration.months, duration.days, duration.micros),
        other => format!("{other:?}"),
    }
}

fn check(wire: &Wire, json: &str, expected: &str) {
    let read = match read_with(UNAVAILABLE_DEFAULT, wire, json) {
        Ok(value) => shown(&value),
        Err(reject) => reject.class.as_str().to_string(),
    };
    assert_eq!(read, expected, "{wire:?} of {json}");
}

fn check_all(wire: &Wire, cases: &[(&str, &str)]) {
    cases.iter().for_each(|(json, expected)| check(wire, json, expected));
}

#[test]
fn integers_keep_to_their_width() {
    check_all(&Wire::Int8, &[("-128", "-128"), ("128", "out_of_range")]);
    check_all(&Wire::Int16, &[("32767", "32767"), ("32768", "out_of_range"), ("1.0", "wrong_type")]);
    check_all(&Wire::Int32, &[("-2147483648", "-2147483648"), ("2147483648", "out_of_range")]);
    let large = [("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")];
    check_all(&Wire::Int64, &large);
    check_all(&Wire::Int64, &[("9223372036854775808", "out_of_range"), ("1e3", "wrong_type"), ("\"5\"", "wrong_type")]);
    check_all(&Wire::Bool, &[("true", "Bool(true)"), ("1", "wrong_type"), ("\"AQ==\"", "Bool(true)")]);
}

#[test]
fn floats_are_the_nearest_ones() {
    check_all(&Wire::Float32, &[("0.1", "0.10000000149011612"), ("1e39", "out_of_range")]);
    let nearest = read_with("", &Wire::Float32, "1.4E-45").unwrap();
    assert_eq!(nearest, Value::Float32(crate::row::Float(f64::from(f32::from_bits(1)))));
    check_all(&Wire::Float64, &[("\"NaN\"", "NaN"), ("\"-Infinity\"", "-inf"), ("\"1\"", "wrong_type")]);
    // serde_json's own reading of this one is off by a bit.
    let text = "8.5371e-317";
    let nearest = Value::Float64(crate::row::Float(text.parse().unwrap()));
    assert_eq!(read_with("", &Wire::Float64, text).unwrap(), nearest);
    check_all(&Wire::DecimalFloat, &[("149.9", "149.9"), ("\"NaN\"", "NaN"), ("1e999", "out_of_range")]);
}

#[test]
fn decimals_are_exact() {
    let two = Wire::Decimal { scale: 2 };
    check_all(&two, &[("\"Oo4=\"", "149.90 scale 2"), ("\"AIA=\"", "1.28 scale 2"), ("\"gA==\"", "-1.28 scale 2")]);
    check_all(&two, &[("\"AA==\"", "0.00 scale 2"), ("\"nA==\"", "-1.00 scale 2"), ("149.9", "149.90 scale 2")]);
    check_all(
        &two,
        &[("null", "Null"), ("\"\"", "wrong_type"), ("\"149.90\"", "wrong_type"), ("1.001", "1.001 scale 3")],
    );
    let four = Wire::Decimal { scale: 4 };
    check(&four, "\"GiSbHxCgbJav8g==\"", "12345678901234567890.1234 scale 4");
    check(&Wire::VariableScaleDecimal, r#"{"scale":2,"value":"MDk="}"#, "123.45 scale 2");
    check(&Wire::VariableScaleDecimal, r#"{"value":"AQ==","more":[],"scale":0}"#, "1 scale 0");
    for bad in [r#"{"scale":2}"#, r#"{"scale":2,"scale":2,"value":"AQ=="}"#, "\"AQ==\"", r#"{"scale":null,"value":""}"#]
    {
        check(&Wire::VariableScaleDecimal, bad, "wrong_type");
    }
    check(&Wire::DecimalText, "123456789012345678901234567890.10", "123456789012345678901234567890.10 scale 2");
    check(&Wire::DecimalText, "\"NAN\"", "Special(NotANumber)");
    check(&Wire::DecimalText, "\"NEGATIVE_INFINITY\"", "Special(NegativeInfinity)");
    for bad in ["\"\"", "\"1_000\"", "\"+1\"", "\".5\"", "\"5.\"", "\"1-2\"", "true", "[1]"] {
        check(&Wire::DecimalText, bad, "wrong_type");
    }
}

#[test]
fn decimals_of_absurd_length_are_refused() {
    // numeric(5,-2) arrives like this: a scale of 2046 and some 800 digits.
    let base64 = format!("\"{}\"", "AQAB".repeat(84));
    check(&Wire::Decimal { scale: 2046 }, &base64, "out_of_range");
    check(&Wire::Decimal { scale: 2 }, &base64, "out_of_range");
    check(&Wire::Decimal { scale: 2046 }, "\"AQ==\"", "out_of_range");
    check(&Wire::VariableScaleDecimal, &format!(r#"{{"scale":0,"value":{base64}}}"#), "out_of_range");
    check(&Wire::VariableScaleDecimal, r#"{"scale":2000000000,"value":"AQ=="}"#, "out_of_range");
    check(&Wire::DecimalText, &"9".repeat(257), "out_of_range");
    check(&Wire::DecimalText, "1e999999999", "out_of_range");
    check(&Wire::Decimal { scale: 2_000_000_000 }, "1", "out_of_range");
}

#[test]
fn bytes_and_bits_are_those_of_postgres() {
    check_all(&BASE64, &[("\"yv4B\"", "b\"\\xca\\xfe\\x01\""), ("\"\"", "b\"\""), ("\"yv4\"", "wrong_type")]);
    check(&Wire::Bytes(BytesForm::Base64UrlSafe), "\"_-8=\"", "b\"\\xff\\xef\"");
    check_all(&HEX, &[("\"cafe01\"", "b\"\\xca\\xfe\\x01\""), ("\"caf\"", "wrong_type"), ("\"zz\"", "wrong_type")]);
    check(&Wire::Bits { length: Some(16) }, "\"AgE=\"", "\"0000000100000010\"");
    check(&Wire::Bits { length: Some(8) }, "\"Kg==\"", "\"00101010\"");
    check(&Wire::Bits { length: Some(8) }, "\"\"", "\"00000000\"");
    check(&Wire::Bits { length: Some(8) }, "\"AAE=\"", "out_of_range");
    check(&Wire::Bits { length: Some(8) }, "\"KgA=\"", "\"00101010\"");
    check(&Wire::Bits { length: None }, "\"Cg==\"", "\"1010\"");
    check(&Wire::Bits { length: None }, "\"\"", "\"\"");
    check(&Wire::Bits { length: Some(i32::MAX.unsigned_abs()) }, "\"AQ==\"", "out_of_range");
}

#[test]
fn dates_go_to_the_ends_of_postgres_and_to_infinity() {
    let cases = [
        ("20454", "Date(20454)"),
        ("-2440588", "Date(-2440588)"),
        ("2145042905", "Date(2145042905)"),
        ("-622191234", "Special(Infinity)"),
        ("-2147472692", "Special(Infinity)"),
        ("-625821272", "Special(NegativeInfinity)"),
        ("-2147472691", "Special(NegativeInfinity)"),
        ("-2440589", "out_of_range"),
        ("2145042906", "out_of_range"),
        ("\"2026-01-01\"", "wrong_type"),
    ];
    check_all(&Wire::Date, &cases);
    let cases = [
        ("\"2017-09-15Z\"", "Date(17424)"),
        ("\"1970-01-01\"", "Date(0)"),
        ("\"-0043-03-15Z\"", "Date(-735160)"),
        ("\"+21016-01-01Z\"", "Date(6956408)"),
        ("\"-4713-11-24Z\"", "Date(-2440588)"),
        ("\"+5874897-12-31Z\"", "Date(2145042905)"),
        ("\"-4713-11-23Z\"", "Special(NegativeInfinity)"),
        ("\"+292278994-08-16Z\"", "Special(Infinity)"),
        ("\"2017-02-29Z\"", "wrong_type"),
        ("\"17-02-28Z\"", "wrong_type"),
        ("\"2017-02-28+01:00\"", "wrong_type"),
        ("17424", "wrong_type"),
    ];
    check_all(&Wire::IsoDate, &cases);
    check_all(&Wire::CalendarDate, &[("\"2024-02-29\"", "Date(19782)"), ("\"0001-01-01\"", "Date(-719162)")]);
    for bad in ["2023-02-29", "2024-2-29", "24-02-29", "2024-02-29Z", "+2024-02-2", "-2024-2-29"] {
        check(&Wire::CalendarDate, &format!("\"{bad}\""), "wrong_type");
    }
}

#[test]
fn times_know_midnight_at_both_ends() {
    let time = |unit| Wire::Time { unit, decimals: 6 };
    check_all(&time(Unit::Micros), &[("86400000000", "Time(86400000000)"), ("86400000001", "out_of_range")]);
    check_all(&time(Unit::Millis), &[("86399123", "Time(86399123000)"), ("-1", "out_of_range")]);
    check_all(&time(Unit::Nanos), &[("86399123456000", "Time(86399123456)"), ("1", "out_of_range")]);
    check(&time(Unit::Millis), "9223372036854775807", "out_of_range");
    let cases = [
        ("\"04:05:11.789Z\"", "Time(14711789000)"),
        ("\"00:00:00Z\"", "Time(0)"),
        ("\"24:00:00Z\"", "Time(86400000000)"),
        ("\"24:00:01Z\"", "wrong_type"),
        ("\"04:60:00Z\"", "wrong_type"),
        ("\"04:05:11.1234567Z\"", "out_of_range"),
    ];
    check_all(&Wire::IsoTime, &cases);
    let cases = [
        ("\"11:51:02.123789Z\"", "ZonedTime(42662123789)"),
        ("\"11:51:02Z\"", "ZonedTime(42662000000)"),
        ("\"23:59:59.123456-08:00\"", "ZonedTime(28799123456)"),
        ("\"00:30:00+01:00\"", "ZonedTime(84600000000)"),
        ("\"24:00:00Z\"", "out_of_range"),
        ("\"11:51:02\"", "wrong_type"),
    ];
    check_all(&Wire::ZonedTime, &cases);
}

#[test]
fn timestamps_know_infinity_in_every_unit() {
    let local = |unit| Wire::LocalTimestamp { unit, decimals: 6 };
    let micros = [
        ("1709251199123456", "LocalTimestamp(1709251199123456)"),
        ("9223372036825200000", "Special(Infinity)"),
        ("-9223372036832400000", "Special(NegativeInfinity)"),
        ("-210866803200000001", "out_of_range"),
    ];
    check_all(&local(Unit::Micros), &micros);
    let millis = [
        ("1709251199123", "LocalTimestamp(1709251199123000)"),
        ("9223372036825200", "Special(Infinity)"),
        ("-9223372036832400", "Special(NegativeInfinity)"),
        ("9223372036854776", "out_of_range"),
    ];
    check_all(&local(Unit::Millis), &millis);
    let nanos = [
        ("1709251199123456000", "LocalTimestamp(1709251199123456)"),
        ("9223372036854775807", "Special(Infinity)"),
        ("-9223372036854775808", "Special(NegativeInfinity)"),
        ("1709251199123456001", "out_of_range"),
    ];
    check_all(&local(Unit::Nanos), &nanos);
    let iso = [
        ("\"2017-09-15T04:05:11.789Z\"", "LocalTimestamp(1505448311789000)"),
        ("\"-0001-12-31T23:59:59.999999Z\"", "LocalTimestamp(-62167219200000001)"),
        ("\"+294247-01-10T04:00:25.2Z\"", "Special(Infinity)"),
        ("\"-290308-12-21T19:59:27.6Z\"", "Special(NegativeInfinity)"),
        ("\"-290308-12-21T19:59:27.5Z\"", "out_of_range"),
        ("\"2017-09-15T04:05:11+02:00\"", "wrong_type"),
    ];
    check_all(&Wire::IsoTimestamp { decimals: 6 }, &iso);
    let zoned = [
        ("\"2026-01-01T02:00:00.123456+02:00\"", "Timestamp(1767225600123456)"),
        ("\"2026-01-01T00:00:00Z\"", "Timestamp(1767225600000000)"),
        ("\"1969-12-31T23:59:59.999Z\"", "Timestamp(-1000)"),
        ("\"0001-01-01T00:00:00.000000Z\"", "Timestamp(-62135596800000000)"),
        ("\"+21016-01-01T00:00:00Z\"", "Timestamp(601033651200000000)"),
        ("\"-4713-12-31T23:59:59.999999Z\"", "Timestamp(-210863520000000001)"),
        ("\"infinity\"", "Special(Infinity)"),
        ("\"-infinity\"", "Special(NegativeInfinity)"),
        ("\"2026-01-01T00:00:00.1234567Z\"", "out_of_range"),
        ("\"+999999999-01-01T00:00:00Z\"", "out_of_range"),
        ("\"2026-01-01T00:00:00\"", "wrong_type"),
        ("\"2026-01-01T24:00:00Z\"", "wrong_type"),
        ("\"yesterday\"", "wrong_type"),
        ("0", "wrong_type"),
    ];
    check_all(&Wire::ZonedTimestamp { decimals: 6 }, &zoned);
}

#[test]
fn intervals_keep_their_parts() {
    check(&Wire::MicroDuration, "37091106789000", "0m 0d 37091106789000us");
    let cases = [
        ("\"P1Y2M3DT4H5M6.78S\"", "14m 3d 14706780000us"),
        ("\"P0Y0M0DT0H0M0S\"", "0m 0d 0us"),
        ("\"P-1Y2M-3DT4H-5M-0.5S\"", "-10m -3d 14099500000us"),
        ("\"P0Y0M0DT0H0M0.000001S\"", "0m 0d 1us"),
        ("\"PT100000H\"", "0m 0d 360000000000000us"),
        ("\"P178956971Y\"", "out_of_range"),
        ("\"PT9999999999999S\"", "out_of_range"),
        ("\"PT0.0000001S\"", "out_of_range"),
        ("\"P1.5Y\"", "wrong_type"),
        ("\"P\"", "wrong_type"),
        ("\"PT\"", "wrong_type"),
        ("\"P1H\"", "wrong_type"),
        ("\"1 mon\"", "wrong_type"),
        ("5", "wrong_type"),
    ];
    check_all(&Wire::Interval, &cases);
}

#[test]
fn nested_values_keep_their_nulls() {
    check_all(&array(Wire::Int32), &[("[1,null,3]", "[1 Null 3]"), ("[]", "[]"), ("[null,null]", "[Null Null]")]);
    check_all(&array(Wire::Int32), &[("[\"1\"]", "wrong_type"), ("{}", "wrong_type"), ("null", "Null")]);
    check(&array(Wire::Decimal { scale: 2 }), "[\"AJY=\",null]", "[1.50 scale 2 Null]");
    let hstore = r#"{k="v" n=Null}"#.replace("k=", "\"k\"=").replace("n=", "\"n\"=");
    check(&Wire::HstoreJson, r#""{\"k\":\"v\",\"n\":null}""#, &hstore);
    check(&Wire::HstoreMap, r#"{"k":"v","n":null}"#, &hstore);
    check_all(
        &Wire::HstoreJson,
        &[(r#""{\"k\":1}""#, "wrong_type"), ("\"[]\"", "wrong_type"), ("\"{}x\"", "wrong_type")],
    );
    check(&Wire::HstoreMap, r#"{"k":1}"#, "wrong_type");
    let point = r#"{"x":1.5,"y":-2.5,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAATA","srid":null}"#;
    check(&Wire::Point, point, "(x=1.5 y=-2.5 srid=Null)");
    check_all(&Wire::Point, &[(r#"{"x":1.5}"#, "wrong_type"), (r#"{"x":null,"y":1}"#, "wrong_type")]);
    check(&Wire::Geometry, r#"{"wkb":"AQE=","srid":4326}"#, "(wkb=b\"\\x01\\x01\" srid=4326)");
    check_all(&Wire::Vector, &[("[1.0,0.5,\"NaN\"]", "[1 0.5 NaN]"), ("[1.0,null]", "wrong_type")]);
    let sparse = r#"{"dimensions":4,"vector":[[1,1.0],[3,2.5]]}"#;
    check(&Wire::SparseVector, sparse, "(dimensions=4 vector={1=1 3=2.5})");
    for bad in [r#"{"dimensions":4,"vector":[[1]]}"#, r#"{"dimensions":4,"vector":[[1,1.0,2]]}"#, r#"{"vector":[]}"#] {
        check(&Wire::SparseVector, bad, "wrong_type");
    }
}

#[test]
fn a_placeholder_is_found_in_each_of_its_forms_and_nowhere_else() {
    const PLAIN: &str = "\"__debezium_unavailable_value\"";
    const IN_BASE64: &str = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
    const IN_UUID: &str = "\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"";
    const NUMBERS: &str = "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,\
                           108,117,101]";
    let is = |wire: &Wire, json: &str| check(wire, json, "Unavailable");
    for wire in [Wire::Text, Wire::DecimalText, BASE64, HEX, Wire::HstoreJson, Wire::Int32, Wire::Interval] {
        is(&wire, PLAIN);
    }
    is(&BASE64, IN_BASE64);
    is(&Wire::Bytes(BytesForm::Base64UrlSafe), IN_BASE64);
    is(&array(Wire::Text), &format!("[{PLAIN}]"));
    is(&array(BASE64), &format!("[{IN_BASE64}]"));
    is(&array(Wire::Uuid), &format!("[{IN_UUID}]"));
    [Wire::Int32, Wire::Int64, Wire::Date].into_iter().for_each(|item| is(&array(item), NUMBERS));
    is(&Wire::HstoreMap, &format!("{{{PLAIN}:{PLAIN}}}"));
    is(&Wire::HstoreJson, &serde_json::Value::from(format!("{{{PLAIN}:{PLAIN}}}")).to_string());

    let text = "\"__debezium_unavailable_value\"";
    check(&Wire::Text, IN_BASE64, IN_BASE64);
    check(&Wire::Uuid, IN_UUID, "Uuid(b68a35a7-17ad-35b3-af2a-ae46edb4545a)");
    check(&array(Wire::Text), &format!("[{PLAIN},\"b\"]"), &format!("[{text} \"b\"]"));
    check(&array(Wire::Text), &format!("[\"b\",{PLAIN}]"), &format!("[\"b\" {text}]"));
    check(&array(Wire::Int32), &format!("[{PLAIN},1]"), "wrong_type");
    check(&array(Wire::Int32), "[95,95]", "[95 95]");
    check(&Wire::HstoreMap, &format!("{{{PLAIN}:\"x\"}}"), &format!("{{{text}=\"x\"}}"));
    assert!(matches!(read_with("", &array(Wire::Int16), NUMBERS), Ok(Value::List(_))));
    assert!(matches!(read_with("other", &array(Wire::Int32), NUMBERS), Ok(Value::List(_))));
    assert_eq!(read_with("hex:deadbeef", &BASE64, "\"3q2+7w==\"").unwrap(), Value::Unavailable);
    assert_eq!(read_with("hex:deadbeef", &array(Wire::Int32), "[-34,-83,-66,-17]").unwrap(), Value::Unavailable);
}
