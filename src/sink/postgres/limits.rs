//! What a column can hold, and whether a value fits, before it is sent. Pure.
//!
//! Postgres rounds and cuts silently in some of these cases (numeric scale, sub-millisecond instants), and in the
//! others one bad row would cost the whole batch: so both are found here, with a text that names no value.

use bigdecimal::BigDecimal;

use crate::change::{Reject, RejectClass};
use crate::plan::write::{Expect, Write, WriteKind};
use crate::row::{Kind, Value};
use crate::sink::postgres::schema::{ColumnPlan, TablePlan};

/// How wide a column is, beyond its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As much as the type holds.
    Type,
    /// varchar(n), char(n): characters, not bytes.
    Characters(usize),
    /// numeric(precision, scale). The scale may be negative or above the precision.
    Digits { precision: i64, scale: i64 },
    /// timestamptz(p): digits after the second.
    Fraction(u32),
}

/// Days from 1970-01-01 that a Postgres date holds: 4713 BC to 5874897 AD.
const DATE_DAYS: std::ops::Range<i32> = -2_440_588..2_145_042_906;
/// First microsecond that a Postgres timestamp holds: 4713 BC. Its last one is beyond what `i64` counts from 1970.
const TIMESTAMP_MICROS_MIN: i64 = -210_866_803_200_000_000;
/// Digits of an unconstrained numeric, before and after the point.
const NUMERIC_BEFORE_MAX: i64 = 131_072;
const NUMERIC_AFTER_MAX: i64 = 16_383;
/// Digits that can be sent: the driver counts groups of four in 16 bits with a sign.
const NUMERIC_DIGITS_MAX: i64 = 131_060;

/// The first flaw that makes the write impossible whatever its row is.
pub fn flaw(table: &TablePlan, write: &Write) -> Option<Reject> {
    if write.values.len() != table.columns.len() {
        return Some(Reject::new(RejectClass::WrongType, format!("not a row of \"{}\"", table.name)));
    }
    let creates = write.kind == WriteKind::Upsert && !matches!(write.expect, Expect::Present | Expect::PresentOlder(_));
    table.columns.iter().zip(&write.values).enumerate().find_map(|(at, (column, value))| {
        if table.key.contains(&at) && (!value.is_sent() || *value == Value::Null) {
            return Some(Reject::new(RejectClass::MissingKey, format!("{} has no value", column.place(table))));
        }
        column_flaw(column, value, creates)
            .map(|(class, text)| Reject::new(class, format!("{} ({}) {text}", column.place(table), column.type_name)))
    })
}

/// Why the column cannot take the value; `creates` when it is part of a new row.
fn column_flaw(column: &ColumnPlan, value: &Value, creates: bool) -> Option<(RejectClass, String)> {
    use RejectClass::{OutOfRange, WrongType};
    let text = |class, text: &str| Some((class, text.to_string()));
    match (&column.kind, value) {
        (_, Value::Absent | Value::Unavailable) if creates && column.required && !column.has_default => {
            text(WrongType, "is not in the record and must have a value")
        }
        (_, Value::Null) if column.required => text(WrongType, "must not be null"),
        (_, Value::Absent | Value::Unavailable | Value::Null) => None,
        (Kind::Bool, Value::Bool(_)) | (Kind::Int64, Value::Int(_)) | (Kind::Uuid, Value::Uuid(_)) => None,
        (Kind::Int16, Value::Int(int)) if i16::try_from(*int).is_err() => text(OutOfRange, "cannot hold the number"),
        (Kind::Int32, Value::Int(int)) if i32::try_from(*int).is_err() => text(OutOfRange, "cannot hold the number"),
        (Kind::Int16 | Kind::Int32, Value::Int(_)) => None,
        (Kind::Text, Value::Text(value)) => text_flaw(column.limit, value),
        (Kind::Decimal, Value::Decimal(value)) => decimal_flaw(column.limit, value),
        (Kind::Date, Value::Date(days)) if !DATE_DAYS.contains(days) => text(OutOfRange, "cannot hold the date"),
        (Kind::Date, Value::Date(_)) => None,
        (Kind::Timestamp, Value::Timestamp(micros)) => instant_flaw(column.limit, *micros),
        (kind, _) => Some((WrongType, format!("got a value that is no {kind}"))),
    }
}

fn text_flaw(limit: Limit, text: &str) -> Option<(RejectClass, String)> {
    if text.contains('\0') {
        return Some((RejectClass::OutOfRange, "cannot hold a NUL character".into()));
    }
    match limit {
        // Bytes are never fewer than characters, so that most texts are not counted.
        Limit::Characters(max) if text.len() > max && text.chars().count() > max => {
            Some((RejectClass::OutOfRange, "cannot hold a text this long".into()))
        }
        _ => None,
    }
}

fn decimal_flaw(limit: Limit, value: &BigDecimal) -> Option<(RejectClass, String)> {
    // Digits are counted, never produced: the exponent of a decimal in a record can be as large as it likes.
    let value = value.normalized();
    let (before_max, after_max) = match limit {
        Limit::Digits { precision, scale } => (precision - scale, scale),
        _ => (NUMERIC_BEFORE_MAX, NUMERIC_AFTER_MAX),
    };
    let after = value.fractional_digit_count();
    let digits = i64::try_from(value.digits()).unwrap_or(i64::MAX);
    if value == 0 {
        None
    } else if digits.saturating_sub(after) > before_max || digits > NUMERIC_DIGITS_MAX {
        Some((RejectClass::OutOfRange, "cannot hold a number this large".into()))
    } else if after > after_max {
        Some((RejectClass::OutOfRange, "would lose digits after the point".into()))
    } else {
        None
    }
}

fn instant_flaw(limit: Limit, micros: i64) -> Option<(RejectClass, String)> {
    let unit = match limit {
        Limit::Fraction(digits) => 10_i64.pow(6 - digits.min(6)),
        _ => 1,
    };
    if micros < TIMESTAMP_MICROS_MIN {
        Some((RejectClass::OutOfRange, "cannot hold the instant".into()))
    } else if micros % unit != 0 {
        Some((RejectClass::OutOfRange, "would lose digits of the second".into()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(BigDecimal::from_str(text).expect("a decimal"))
    }

    /// The text of the flaw, or "" when the value fits.
    fn check(kind: Kind, limit: Limit, value: Value, expect: &str) {
        let column =
            ColumnPlan { name: "c".into(), kind, type_name: "t".into(), limit, required: true, has_default: false };
        let text = column_flaw(&column, &value, true).map(|(class, text)| format!("{}: {text}", class.as_str()));
        assert_eq!(text.unwrap_or_default(), expect, "{} {limit:?} {value:?}", column.kind);
    }

    #[test]
    fn text_is_counted_in_characters() {
        check(Kind::Text, Limit::Characters(3), Value::Text("äöü".into()), "");
        check(
            Kind::Text,
            Limit::Characters(3),
            Value::Text("äöüx".into()),
            "out_of_range: cannot hold a text this long",
        );
        check(Kind::Text, Limit::Type, Value::Text("a\0".into()), "out_of_range: cannot hold a NUL character");
    }

    #[test]
    fn decimals_fit_exactly_or_not() {
        let money = Limit::Digits { precision: 10, scale: 2 };
        for fits in ["0", "0e-30", "0e30", "99999999.99", "-99999999.99", "1.500", "1e7", "12.30"] {
            check(Kind::Decimal, money, decimal(fits), "");
        }
        for large in ["100000000", "1e8", "-1e8", "1e1000000000"] {
            check(Kind::Decimal, money, decimal(large), "out_of_range: cannot hold a number this large");
        }
        for fine in ["0.001", "1.999", "1e-1000000000"] {
            check(Kind::Decimal, money, decimal(fine), "out_of_range: would lose digits after the point");
        }
        let thousands = Limit::Digits { precision: 2, scale: -3 };
        check(Kind::Decimal, thousands, decimal("99000"), "");
        check(Kind::Decimal, thousands, decimal("99500"), "out_of_range: would lose digits after the point");
        check(Kind::Decimal, thousands, decimal("100000"), "out_of_range: cannot hold a number this large");
        check(Kind::Decimal, Limit::Type, decimal("1e131071"), "");
        check(Kind::Decimal, Limit::Type, decimal("1e131072"), "out_of_range: cannot hold a number this large");
    }

    #[test]
    fn numbers_dates_and_instants_have_ends() {
        check(Kind::Int16, Limit::Type, Value::Int(-32768), "");
        check(Kind::Int16, Limit::Type, Value::Int(32768), "out_of_range: cannot hold the number");
        check(Kind::Int32, Limit::Type, Value::Int(1 << 31), "out_of_range: cannot hold the number");
        check(Kind::Int64, Limit::Type, Value::Int(i64::MIN), "");
        check(Kind::Date, Limit::Type, Value::Date(i32::MAX), "out_of_range: cannot hold the date");
        check(Kind::Date, Limit::Type, Value::Date(-2_440_588), "");
        check(Kind::Date, Limit::Type, Value::Date(-2_440_589), "out_of_range: cannot hold the date");
        check(Kind::Timestamp, Limit::Fraction(3), Value::Timestamp(-5_000), "");
        check(
            Kind::Timestamp,
            Limit::Fraction(3),
            Value::Timestamp(1_500),
            "out_of_range: would lose digits of the second",
        );
        check(Kind::Timestamp, Limit::Fraction(6), Value::Timestamp(1), "");
        check(Kind::Timestamp, Limit::Type, Value::Timestamp(i64::MIN), "out_of_range: cannot hold the instant");
    }

    #[test]
    fn nulls_absences_and_wrong_kinds() {
        check(Kind::Text, Limit::Type, Value::Null, "wrong_type: must not be null");
        check(Kind::Text, Limit::Type, Value::Absent, "wrong_type: is not in the record and must have a value");
        check(Kind::Text, Limit::Type, Value::Int(1), "wrong_type: got a value that is no text");
    }
}
