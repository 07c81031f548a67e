//! What `fit` says of a wire and a kind is what `convert` does with the values of that wire.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use proptest::prelude::*;
use proptest::sample::select;

use super::domain_tests::{edges, kinds, values, wires};
use super::pairs::{Verdict, lost_by_connector, verdict};
use super::tests::{LOSSY, NULL, STRICT, decimal, float, text};
use super::time::DAY_MICROS;
use super::*;
use crate::row::{Duration, Float};

/// Values whose form alone does not say what they are of.
fn is_vague(value: &Value, kind: &Kind) -> bool {
    match value {
        Value::Struct(parts) => {
            matches!(kind, Kind::Struct(_) | Kind::Tuple(_)) && parts.iter().any(|(_, part)| *part == Value::Null)
        }
        Value::Special(_) | Value::Null => true,
        Value::List(items) => items.iter().any(|item| is_vague(item, kind)) || items.is_empty(),
        _ => false,
    }
}

/// Whether nothing was lost. Null parts stay null.
fn is_same(value: &Value, converted: &Value) -> bool {
    match (value, converted) {
        (Value::List(items), Value::List(converted)) => {
            items.len() == converted.len() && items.iter().zip(converted).all(|(item, of)| is_same(item, of))
        }
        (Value::Map(pairs), Value::Map(converted)) => {
            let same = |((key, value), (of_key, of_value)): (&(Value, Value), &(Value, Value))| {
                is_same(key, of_key) && is_same(value, of_value)
            };
            pairs.len() == converted.len() && pairs.iter().zip(converted).all(same)
        }
        (Value::Struct(parts), Value::List(converted)) if parts[0].0 == "dimensions" => {
            let part = |of: &Value| is_same(&float(0.0), of) || parts.iter().any(|(_, part)| is_same(part, of));
            let number = |of: &Value| match &parts[1].1 {
                Value::Map(pairs) => pairs.iter().any(|(_, number)| is_same(number, of)),
                _ => false,
            };
            converted.iter().all(|of| part(of) || number(of))
        }
        // Parts that nobody asked for are left out.
        (Value::Struct(parts), Value::List(converted)) => {
            parts.iter().zip(converted).all(|((_, part), of)| is_same(part, of))
        }
        (Value::Struct(parts), Value::Map(_)) => parts.iter().any(|(_, part)| is_same(part, converted)),
        (Value::Struct(parts), Value::Bytes(_)) => parts.iter().any(|(_, part)| part == converted),
        (Value::LocalTimestamp(micros) | Value::Timestamp(micros), Value::Timestamp(of)) => micros == of,
        (Value::LocalTimestamp(micros) | Value::Timestamp(micros), Value::Date(days)) => {
            *micros == i64::from(*days) * DAY_MICROS
        }
        (Value::Date(days), Value::Timestamp(micros)) => *micros == i64::from(*days) * DAY_MICROS,
        (Value::Duration(duration), Value::Int(micros)) => {
            *duration == Duration { months: 0, days: 0, micros: *micros }
        }
        (Value::Text(text), Value::Uuid(uuid)) => text.to_lowercase() == uuid.to_string(),
        (Value::Text(text), Value::Inet(address)) => text.parse() == Ok(*address),
        (Value::Text(text), Value::Text(of)) => text == of,
        (Value::Int(_), Value::Float64(Float(of))) if *of == 9_223_372_036_854_775_807.0 => false,
        (Value::Int(int), Value::Float32(Float(of)) | Value::Float64(Float(of))) => {
            // Beyond the last whole number without a gap nothing is known to be the same.
            let gapless = if matches!(converted, Value::Float32(_)) { 1 << 24 } else { 1 << 53 };
            int.unsigned_abs() <= gapless && *of as i64 == *int
        }
        (
            Value::Float32(Float(number)) | Value::Float64(Float(number)),
            Value::Float32(Float(of)) | Value::Float64(Float(of)),
        ) if number == of => true,
        (_, Value::Text(text)) => match (number(value), BigDecimal::from_str(text)) {
            // A decimal has its scale in the text too.
            (Some(_), Ok(of)) if matches!(value, Value::Decimal(_)) => {
                format!("{:?}", plain(value)) == format!("{:?}", Value::Decimal(of))
            }
            (Some(number), of) => of.is_ok_and(|of| Value::Decimal(of) == number),
            (None, _) => true,
        },
        _ => match (number(value), number(converted)) {
            (Some(number), Some(converted)) => number == converted,
            _ => value == converted || (special_of(value).is_some() && special_of(value) == special_of(converted)),
        },
    }
}

/// A number in plain notation, where the scale is never below zero.
fn plain(value: &Value) -> Value {
    match value {
        Value::Decimal(number) if number.fractional_digit_count() < 0 => Value::Decimal(number.with_scale(0)),
        _ => value.clone(),
    }
}

fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Int(int) => Some(Value::Decimal((*int).into())),
        Value::Decimal(_) => Some(value.clone()),
        Value::Float32(Float(number)) if number.is_finite() => Some(decimal(&(*number as f32).to_string())),
        Value::Float64(Float(number)) if number.is_finite() => Some(decimal(&number.to_string())),
        _ => None,
    }
}

fn special_of(value: &Value) -> Option<Special> {
    match value {
        Value::Special(special) => Some(*special),
        Value::Float32(Float(number)) | Value::Float64(Float(number)) => match *number {
            f64::INFINITY => Some(Special::Infinity),
            f64::NEG_INFINITY => Some(Special::NegativeInfinity),
            _ if number.is_nan() => Some(Special::NotANumber),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the value has the form in which sinks take the kind, as `row` and the contract say it.
fn is_canonical(value: &Value, kind: &Kind) -> bool {
    let all =
        |items: &[Value], item: &Kind| items.iter().all(|value| *value != Value::Null && is_canonical(value, item));
    match (kind, value) {
        (_, Value::Null)
        | (Kind::Bool, Value::Bool(_))
        | (Kind::Int64, Value::Int(_))
        | (Kind::Decimal, Value::Decimal(_))
        | (Kind::Float64, Value::Float64(_))
        | (Kind::Text, Value::Text(_))
        | (Kind::Bytes, Value::Bytes(_))
        | (Kind::Uuid, Value::Uuid(_))
        | (Kind::Inet, Value::Inet(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Timestamp, Value::Timestamp(_))
        | (Kind::Duration, Value::Duration(_)) => true,
        (Kind::Int8, Value::Int(int)) => i8::try_from(*int).is_ok(),
        (Kind::Int16, Value::Int(int)) => i16::try_from(*int).is_ok(),
        (Kind::Int32, Value::Int(int)) => i32::try_from(*int).is_ok(),
        (Kind::Integer, Value::Decimal(decimal)) => decimal.fractional_digit_count() == 0,
        (Kind::Float32, Value::Float32(Float(number))) => number.is_nan() || f64::from(*number as f32) == *number,
        (Kind::Ascii, Value::Text(text)) => text.is_ascii(),
        (Kind::TimeUuid, Value::Uuid(uuid)) => uuid.get_version_num() == 1,
        (Kind::Time, Value::Time(micros)) => (0..DAY_MICROS).contains(micros),
        (Kind::TimestampMillis, Value::Timestamp(micros)) => micros % 1000 == 0,
        (Kind::List(item), Value::List(items)) => all(items, item),
        (Kind::Set(item), Value::List(items)) => {
            all(items, item) && items.iter().enumerate().all(|(at, value)| !items[..at].contains(value))
        }
        (Kind::Vector(item, dimensions), Value::List(items)) => items.len() == *dimensions && all(items, item),
        (Kind::Map(keys, values), Value::Map(pairs)) => {
            let (of_keys, of_values): (Vec<Value>, Vec<Value>) = pairs.iter().cloned().unzip();
            let twice = of_keys.iter().enumerate().any(|(at, key)| of_keys[..at].contains(key));
            all(&of_keys, keys) && all(&of_values, values) && !twice
        }
        (Kind::Tuple(kinds), Value::List(items)) => {
            items.len() == kinds.len() && items.iter().zip(kinds).all(|(item, kind)| is_canonical(item, kind))
        }
        (Kind::Struct(fields), Value::List(items)) => {
            items.len() == fields.len() && items.iter().zip(fields).all(|(item, (_, kind))| is_canonical(item, kind))
        }
        _ => false,
    }
}

fn check(wire: &Wire, value: &Value, kind: &Kind) {
    let (strict, lossy) = (convert(value, kind, STRICT), convert(value, kind, LOSSY));
    let shown = format!("{value:?} of {wire:?} into {kind:?}: {strict:?}, lossy {lossy:?}");
    if let Ok(converted) = &strict {
        assert!(is_same(value, converted), "lost without a word: {shown}");
    }
    match verdict(wire, kind) {
        Verdict::Never(_) => assert!(is_vague(value, kind) || lossy.is_err() && strict.is_err(), "never: {shown}"),
        Verdict::Fits { lost, rejected } => {
            assert!(!rejected.is_empty() || lossy.is_ok(), "nothing was said to be rejected: {shown}");
            let lost_here = lost.iter().any(|lost| !lost_by_connector(wire).contains(lost));
            let loses = lossy.as_ref().is_ok_and(|cut| !is_same(value, cut));
            match loses {
                true => assert!(lost_here && strict.is_err(), "lossy: {shown}"),
                false => assert_eq!(strict.ok(), lossy.ok(), "nothing is lost: {shown}"),
            }
        }
    }
}

fn any_values() -> impl Strategy<Value = (Wire, Value)> {
    select(wires()).prop_flat_map(|wire| values(&wire).prop_map(move |value| (wire.clone(), value)))
}

/// Values that no wire has: every form with anything in it.
fn wild_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any_values().prop_map(|(_, value)| value),
        select(vec![Value::Null, Value::Absent, Value::Unavailable]),
        any::<i64>().prop_map(Value::Time),
        any::<i64>().prop_map(Value::ZonedTime),
        any::<i64>().prop_map(Value::LocalTimestamp),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i32>().prop_map(Value::Date),
        any::<f64>().prop_map(float),
        (any::<i128>(), any::<i64>()).prop_map(|(digits, scale)| Value::Decimal(BigDecimal::new(digits.into(), scale))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = select(vec!["x", "y", "srid", "wkb", "dimensions", "vector"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            prop::collection::vec((names, inner), 0..4).prop_map(Value::Struct),
        ]
    })
}

#[test]
fn edges_do_what_was_said_and_everything_that_was_said_happens() {
    let mut broken = Vec::new();
    for (wire, kind) in wires().iter().flat_map(|wire| kinds().into_iter().map(move |kind| (wire, kind))) {
        let edges = edges(wire);
        edges.iter().for_each(|value| check(wire, value, &kind));
        let Verdict::Fits { lost, rejected } = verdict(wire, &kind) else { continue };
        let cut: Vec<_> = edges.iter().map(|value| (value, convert(value, &kind, LOSSY))).collect();
        let refuses = cut.iter().any(|(_, converted)| converted.is_err());
        if refuses == rejected.is_empty() {
            broken.push(format!("{wire:?} into {kind:?} rejects {rejected:?}: {refuses}"));
        }
        let loses = cut.iter().any(|(value, converted)| converted.as_ref().is_ok_and(|cut| !is_same(value, cut)));
        let said = lost.iter().any(|lost| !lost_by_connector(wire).contains(lost));
        if loses != said {
            broken.push(format!("{wire:?} into {kind:?} loses {lost:?}: {loses}"));
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn convert_does_what_fit_says((wire, value) in any_values()) {
        kinds().iter().for_each(|kind| check(&wire, &value, kind));
    }

    #[test]
    fn whatever_comes_out_is_canonical(
        value in wild_values(),
        lossy in any::<bool>(),
        unrepresentable in select(vec![Unrepresentable::Reject, Unrepresentable::Clamp, Unrepresentable::Null]),
    ) {
        let missing = matches!(value, Value::Absent | Value::Unavailable);
        for kind in kinds() {
            match convert(&value, &kind, Policy { lossy, unrepresentable }) {
                Ok(converted) if missing => prop_assert_eq!(&converted, &value),
                Ok(converted) => prop_assert!(is_canonical(&converted, &kind), "{:?} in {:?}", converted, kind),
                Err(misfit) => prop_assert!(!missing, "{:?}", misfit),
            }
        }
    }

    #[test]
    fn what_is_canonical_stays_as_it_is((_, value) in any_values()) {
        for kind in kinds() {
            if let Ok(once) = convert(&value, &kind, LOSSY)
                && !matches!(kind, Kind::Struct(_))
            {
                prop_assert_eq!(convert(&once, &kind, NULL), Ok(once.clone()), "{:?}", kind);
            }
        }
    }

    #[test]
    fn cutting_keeps_the_order(mut micros in prop::array::uniform2(i64::MIN / 2..i64::MAX / 2)) {
        micros.sort();
        for kind in [Kind::TimestampMillis, Kind::Date] {
            let [earlier, later] = micros.map(|micros| match convert(&Value::Timestamp(micros), &kind, LOSSY) {
                Ok(Value::Timestamp(micros)) => micros,
                Ok(Value::Date(days)) => days.into(),
                other => panic!("{other:?}"),
            });
            prop_assert!(earlier <= later);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar(days in -95_000_000i32..95_000_000) {
        // chrono has the years from -262143 to 262142, and writes those beyond 9999 and below 0 as ISO 8601 does.
        let date = NaiveDate::from_epoch_days(days).expect("a date that chrono has");
        prop_assert_eq!(convert(&Value::Date(days), &Kind::Text, STRICT), Ok(text(&date.to_string())));
    }
}
