//! Conditions as tables: texts that are refused with their place, and rows that meet them or not.

use insta::assert_snapshot;

use super::*;
use crate::row::wire::{BytesForm, Unit};
use crate::row::{Float, Special};

fn condition(text: &str, wire: &Wire) -> Result<Condition, String> {
    let draft = Draft::read(text)?;
    match draft.column() {
        Some(_) => draft.of_field(0, Some(wire)),
        None => draft.of_op(),
    }
}

fn refused(text: &str, wire: Wire) -> String {
    condition(text, &wire).expect_err("it is wrong")
}

/// What the condition says of one value: true, not true, or unknown.
fn judge(text: &str, wire: Wire, value: Value) -> &'static str {
    match condition(text, &wire).expect("it can be read").judge(&[value], Some(Op::Update)) {
        Truth::True => "true",
        Truth::NotTrue => "not",
        Truth::Unknown => "unknown",
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().expect("a number"))
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let told = |text| refused(text, Wire::Text);
    assert_snapshot!(told(""), @r#""", at character 1: begin with a column's name, or with `op`"#);
    assert_snapshot!(told("status"), @r#""status", at character 7: write =, !=, <, <=, >, >=, is null, is not null, in (…) or not in (…)"#);
    assert_snapshot!(told("status == 'a'"), @r#""status == 'a'", at character 9: write a text in single quotes, a number, true or false"#);
    assert_snapshot!(told("status = 'a"), @r#""status = 'a", at character 10: the ' that opens here is never closed"#);
    assert_snapshot!(told("status = DRAFT"), @r#""status = DRAFT", at character 10: write a text in single quotes, a number, true or false"#);
    assert_snapshot!(told("status = null"), @r#""status = null", at character 10: nothing is equal to null: write `is null` or `is not null`"#);
    assert_snapshot!(told("status is 'a'"), @r#""status is 'a'", at character 11: write `is null` or `is not null`"#);
    assert_snapshot!(told("status in 'a'"), @r#""status in 'a'", at character 11: a list begins with (, as in ('a', 'b')"#);
    assert_snapshot!(told("status in ('a' 'b')"), @r#""status in ('a' 'b')", at character 16: write , or ) here"#);
    assert_snapshot!(told("status in ()"), @r#""status in ()", at character 12: write a text in single quotes, a number, true or false"#);
    assert_snapshot!(told("status = 'a' and total > 1"), @r#""status = 'a' and total > 1", at character 14: the condition ends here: give each one as a text of its own, for all of them must hold"#);
    assert!(told(&format!("a = '{}'", "x".repeat(5_000))).contains("at most 4096 characters"));
}

#[test]
fn a_literal_is_of_its_columns_type() {
    assert_snapshot!(refused("total > 'ten'", Wire::Int64), @r#""total > 'ten'", at character 9: the column is compared with a number, as in 10 or -0.5"#);
    assert_snapshot!(refused("status = 10", Wire::Text), @r#""status = 10", at character 10: the column is compared with a text in single quotes"#);
    assert_snapshot!(refused("status in ('a', true)", Wire::Text), @r#""status in ('a', true)", at character 17: the column is compared with a text in single quotes"#);
    assert_snapshot!(refused("name > 'm'", Wire::Text), @r#""name > 'm'", at character 6: this type has no order here that is certainly the source's: use = or in"#);
    assert_snapshot!(refused("day = '31.1.2026'", Wire::Date), @r#""day = '31.1.2026'", at character 7: the column is compared with a date, as in '2026-01-31'"#);
    assert_snapshot!(refused("at < '2026-01-31 12:00'", Wire::ZonedTimestamp { decimals: 6 }), @r#""at < '2026-01-31 12:00'", at character 6: the column is compared with a timestamp with its zone, as in '2026-01-31T12:00:00Z'"#);
    assert_snapshot!(refused("total = 1e999999999", Wire::Int64), @r#""total = 1e999999999", at character 9: this is no number"#);
    assert_snapshot!(refused("total = --1", Wire::Int64), @r#""total = --1", at character 9: this is no number"#);
    assert_snapshot!(refused("raw = 'ff'", Wire::Bytes(BytesForm::Hex)), @r#""raw = 'ff'", at character 7: a column of bytes in hexadecimal digits can only be asked for `is null`"#);
    assert_snapshot!(refused("op in ('r', 'd')", Wire::Text), @r#""op in ('r', 'd')", at character 13: a delete always deletes, and asks no condition"#);
    assert_snapshot!(refused("op = 'x'", Wire::Text), @r#""op = 'x'", at character 6: `op` is one of 'r' (read), 'c' (create), 'u' (update)"#);
    let untyped = Draft::read("a = 1").expect("it can be read").of_field(0, None).expect_err("nobody knows the type");
    assert!(untyped.contains("nothing says the column's type"), "{untyped}");
    assert!(Draft::read("a is null").expect("it can be read").of_field(0, None).is_ok());
}

#[test]
fn a_comparison_with_null_is_never_true() {
    for asked in ["a = 'x'", "a != 'x'", "a <> 'x'", "a in ('x', 'y')", "a not in ('x', 'y')"] {
        assert_eq!(judge(asked, Wire::Text, Value::Null), "not", "{asked}");
        assert_eq!(judge(asked, Wire::Text, Value::Absent), "unknown", "{asked}");
        assert_eq!(judge(asked, Wire::Text, Value::Unavailable), "unknown", "{asked}");
    }
    for asked in ["a < 1", "a <= 1", "a > 1", "a >= 1"] {
        assert_eq!(judge(asked, Wire::Int64, Value::Null), "not", "{asked}");
    }
    assert_eq!(judge("a is null", Wire::Text, Value::Null), "true");
    assert_eq!(judge("a IS NOT NULL", Wire::Text, Value::Null), "not");
    assert_eq!(judge("a is not null", Wire::Text, text("")), "true");
    assert_eq!(judge("a is null", Wire::Text, Value::Unavailable), "unknown");
}

#[test]
fn values_are_compared_as_postgres_does() {
    let all = |wire: Wire, cases: &[(&str, Value, &str)]| {
        for (asked, value, expected) in cases {
            assert_eq!(judge(asked, wire.clone(), value.clone()), *expected, "{asked} for {value:?}");
        }
    };
    all(
        Wire::Text,
        &[
            ("status != 'DRAFT'", text("PAID"), "true"),
            ("status != 'DRAFT'", text("DRAFT"), "not"),
            ("\"Mixed Case\" = 'it''s'", text("it's"), "true"),
            ("\"op\"='r'", text("r"), "true"),
            ("kind in ('a','b')", text("b"), "true"),
            ("kind NOT IN ('a', 'b')", text("c"), "true"),
            ("kind in ('a', 'b')", Value::Int(1), "unknown"),
        ],
    );
    all(
        Wire::DecimalText,
        &[
            ("total > 10", decimal("10.00"), "not"),
            ("total >= 10", decimal("10.00"), "true"),
            ("total = 10.0", Value::Int(10), "true"),
            ("total < -0.5", decimal("-0.50001"), "true"),
            ("total > 1e3", decimal("1000.1"), "true"),
            ("total > 10", Value::Special(Special::NotANumber), "true"),
            ("total = 10", Value::Special(Special::Infinity), "not"),
            ("total < 10", Value::Special(Special::NegativeInfinity), "true"),
        ],
    );
    all(
        Wire::Float32,
        &[
            ("f = 0.1", Value::Float32(Float(f64::from(0.1_f32))), "true"),
            ("f > 0.1", Value::Float32(Float(f64::NAN)), "true"),
            ("f <= 0.1", Value::Float32(Float(f64::NEG_INFINITY)), "true"),
        ],
    );
    all(
        Wire::Float64,
        &[("f = 0.1", Value::Float64(Float(0.1)), "true"), ("f != 0", Value::Float64(Float(-0.0)), "not")],
    );
    all(Wire::Bool, &[("b = true", Value::Bool(true), "true"), ("b != TRUE", Value::Bool(true), "not")]);
    all(Wire::Date, &[("d >= '1970-01-02'", Value::Date(1), "true"), ("d < '1969-12-31'", Value::Date(-1), "not")]);
    all(
        Wire::LocalTimestamp { unit: Unit::Micros, decimals: 6 },
        &[
            ("t = '1970-01-01 00:00:01.5'", Value::LocalTimestamp(1_500_000), "true"),
            ("t >= '1970-01-02'", Value::LocalTimestamp(86_400_000_000 - 1), "not"),
            ("t > '2026-01-01'", Value::Special(Special::Infinity), "true"),
        ],
    );
    let zoned = Wire::ZonedTimestamp { decimals: 6 };
    all(zoned, &[("t = '1970-01-01T01:00:00+01:00'", Value::Timestamp(0), "true")]);
    all(Wire::IsoTime, &[("t > '23:59:59'", Value::Time(86_400_000_000), "true")]);
    let uuid = "00000000-0000-4000-8000-00000000000A".parse().expect("a UUID");
    all(Wire::Uuid, &[("u = '00000000-0000-4000-8000-00000000000a'", Value::Uuid(uuid), "true")]);
}

#[test]
fn the_op_is_asked_for_by_letter_or_by_word() {
    let judge = |text: &str, op| condition(text, &Wire::Text).expect("it can be read").judge(&[], op);
    assert_eq!(judge("op in ('r', 'create')", Some(Op::Create)), Truth::True);
    assert_eq!(judge("op in ('read', 'c')", Some(Op::Update)), Truth::NotTrue);
    assert_eq!(judge("op != 'r'", Some(Op::Update)), Truth::True);
    assert_eq!(judge("op != 'r'", None), Truth::Unknown, "what happened to an older row is not known");
}

#[test]
fn a_condition_fits_only_columns_that_compare_alike() {
    let total = condition("total > 10", &Wire::Int32).expect("it can be read");
    assert!(total.fits(&Wire::Decimal { scale: 2 }) && !total.fits(&Wire::Float64) && !total.fits(&Wire::Text));
    assert!(condition("total is null", &Wire::Int32).is_ok_and(|condition| condition.fits(&Wire::Point)));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\"'()=<>!, 0-9.eE+-]{0,24}") {
        for wire in [Wire::Text, Wire::Int64, Wire::Float32, Wire::Date, Wire::Uuid] {
            let _ = condition(&text, &wire);
        }
    }
}
