//! The wires and kinds that the properties range over, and the values that each wire has.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, ParseBigIntError};
use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{decimal, float, float32, text};
use super::time::DAY_MICROS;
use super::*;
use crate::row::Duration;
use crate::row::wire::{BytesForm, Unit};

/// -4713-11-24 and 5874897-12-31: Postgres's calendar.
const FIRST_DAY: i32 = -2_440_588;
const LAST_DAY: i32 = 2_145_042_905;

pub fn wires() -> Vec<Wire> {
    let time = |unit, decimals| Wire::Time { unit, decimals };
    let local = |unit, decimals| Wire::LocalTimestamp { unit, decimals };
    let scalars = vec![
        Wire::Bool,
        Wire::Int8,
        Wire::Int16,
        Wire::Int32,
        Wire::Int64,
        Wire::Float32,
        Wire::Float64,
        Wire::Decimal { scale: 0 },
        Wire::Decimal { scale: 2 },
        Wire::Decimal { scale: -2 },
        Wire::VariableScaleDecimal,
        Wire::DecimalText,
        Wire::DecimalFloat,
        Wire::Text,
        Wire::Uuid,
        Wire::Bytes(BytesForm::Base64),
        Wire::Bits { length: Some(8) },
        Wire::Bits { length: None },
        Wire::Date,
        Wire::IsoDate,
        Wire::CalendarDate,
        time(Unit::Millis, 3),
        time(Unit::Millis, 6),
        time(Unit::Micros, 6),
        Wire::IsoTime,
        local(Unit::Millis, 3),
        local(Unit::Millis, 6),
        local(Unit::Micros, 3),
        local(Unit::Nanos, 6),
        Wire::IsoTimestamp { decimals: 6 },
        Wire::ZonedTimestamp { decimals: 3 },
        Wire::ZonedTimestamp { decimals: 6 },
        Wire::ZonedTime,
        Wire::MicroDuration,
        Wire::Interval,
        Wire::HstoreJson,
        Wire::HstoreMap,
        Wire::Point,
        Wire::Geometry,
        Wire::Vector,
        Wire::SparseVector,
    ];
    let arrays: Vec<Wire> = scalars.iter().map(|wire| Wire::Array(Box::new(wire.clone()))).collect();
    scalars.into_iter().chain(arrays).collect()
}

fn scalar_kinds() -> Vec<Kind> {
    vec![
        Kind::Bool,
        Kind::Int8,
        Kind::Int16,
        Kind::Int32,
        Kind::Int64,
        Kind::Integer,
        Kind::Decimal,
        Kind::Float32,
        Kind::Float64,
        Kind::Ascii,
        Kind::Text,
        Kind::Bytes,
        Kind::Uuid,
        Kind::TimeUuid,
        Kind::Inet,
        Kind::Date,
        Kind::Time,
        Kind::TimestampMillis,
        Kind::Timestamp,
        Kind::Duration,
    ]
}

/// Every scalar, every scalar in a list, and enough of the rest.
pub fn kinds() -> Vec<Kind> {
    let named = |fields: &[(&str, Kind)]| {
        Kind::Struct(fields.iter().map(|(name, kind)| (name.to_string(), kind.clone())).collect())
    };
    let mut kinds = scalar_kinds();
    kinds.extend(scalar_kinds().into_iter().map(|kind| Kind::List(Box::new(kind))));
    for item in [Kind::Int32, Kind::Decimal, Kind::Float32, Kind::Text, Kind::Date, Kind::TimestampMillis] {
        kinds.push(Kind::Set(Box::new(item.clone())));
        kinds.push(Kind::Vector(Box::new(item.clone()), 2));
        kinds.push(Kind::Tuple(vec![item.clone(), Kind::Text]));
        kinds.push(Kind::Tuple(vec![Kind::Float64, item.clone(), Kind::Int64]));
        kinds.push(Kind::Map(Box::new(Kind::Text), Box::new(item.clone())));
        kinds.push(Kind::Map(Box::new(item.clone()), Box::new(Kind::Float64)));
        kinds.push(Kind::List(Box::new(Kind::List(Box::new(item.clone())))));
        kinds.push(named(&[("x", item.clone()), ("y", Kind::Float64)]));
        kinds.push(named(&[("wkb", Kind::Bytes), ("srid", item.clone())]));
        kinds.push(named(&[("dimensions", item.clone()), ("vector", Kind::Text)]));
        kinds.push(named(&[("dimensions", Kind::Int16), ("vector", item)]));
    }
    kinds.push(named(&[("vector", Kind::Map(Box::new(Kind::Int16), Box::new(Kind::Float64)))]));
    kinds.push(named(&[]));
    kinds
}

/// Values at the ends of a wire's domain, so many that each thing which can be lost or refused is among them.
pub fn edges(wire: &Wire) -> Vec<Value> {
    let ints = |values: &[i64]| values.iter().map(|int| Value::Int(*int)).collect::<Vec<_>>();
    let specials = [Special::NotANumber, Special::Infinity, Special::NegativeInfinity].map(Value::Special);
    match wire {
        Wire::Bool => vec![Value::Bool(true)],
        Wire::Int8 => ints(&[0, i8::MIN.into(), i8::MAX.into()]),
        Wire::Int16 => ints(&[0, i16::MIN.into(), i16::MAX.into()]),
        Wire::Int32 => ints(&[0, i32::MIN.into(), i32::MAX.into(), (1 << 24) + 1]),
        Wire::Int64 => ints(&[0, i64::MIN, i64::MAX, (1 << 53) + 1, 1 << 53]),
        Wire::Float32 => [0.1, f32::MAX, f32::NAN, f32::INFINITY, 1e20, 3.0].map(float32).into(),
        Wire::Float64 | Wire::DecimalFloat => {
            [0.1, 0.123_456_789_012, 3.0, 1e300, 1e-300, f64::NAN, f64::INFINITY].map(float).into()
        }
        Wire::Decimal { scale } => {
            let long = format!("1{}", "0".repeat(400));
            let digits = ["0", "1", "100", "-12345678901234567800", "16777217", &long].map(BigInt::from_str);
            let of =
                |digits: Result<BigInt, ParseBigIntError>| BigDecimal::new(digits.expect("digits"), i64::from(*scale));
            digits.map(|digits| Value::Decimal(of(digits))).into()
        }
        Wire::VariableScaleDecimal => {
            ["0", "0.1", "100", "0.12345678901234567890", "1E+39", "1E+400"].map(decimal).into()
        }
        Wire::DecimalText => {
            let numbers = ["1.50", "0.12345678901234567890", "1E+39", "1E+400", "100.00"].map(decimal);
            [numbers.as_slice(), &specials].concat()
        }
        Wire::Text => {
            ["", "ä", "10.0.0.1", "58e0a7d7-eebc-11d8-9669-0800200c9a66", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
                .map(text)
                .into()
        }
        Wire::Uuid => vec![Value::Uuid(Uuid::from_u128(0)), Value::Uuid(Uuid::from_u128(1 << 76))],
        Wire::Bytes(_) => vec![Value::Bytes(b"a"[..].into())],
        Wire::Bits { length: Some(_) } => vec![text("00101010")],
        Wire::Bits { length: None } => vec![text(""), text("101010")],
        Wire::HstoreJson | Wire::HstoreMap | Wire::Point | Wire::Geometry => edges_of_parts(wire),
        Wire::Vector | Wire::SparseVector | Wire::Array(_) => edges_of_parts(wire),
        _ => edges_in_time(wire),
    }
}

fn edges_in_time(wire: &Wire) -> Vec<Value> {
    let infinities = [Special::Infinity, Special::NegativeInfinity].map(Value::Special);
    let infinities = infinities.as_slice();
    let micros = |of: fn(i64) -> Value, step: i64| [0, -DAY_MICROS, step, -step, DAY_MICROS - step].map(of).to_vec();
    let step = |decimals: u8| if decimals > 3 { 1 } else { 1000 };
    let interval = |months, days, micros| Value::Duration(Duration { months, days, micros });
    match wire {
        Wire::Date | Wire::IsoDate => {
            [&[Value::Date(FIRST_DAY), Value::Date(LAST_DAY), Value::Date(0)], infinities].concat()
        }
        Wire::CalendarDate => vec![Value::Date(-719_528), Value::Date(2_932_896)],
        Wire::Time { unit: Unit::Millis, .. } => vec![Value::Time(0), Value::Time(1000), Value::Time(DAY_MICROS)],
        Wire::Time { .. } | Wire::IsoTime => vec![Value::Time(0), Value::Time(1), Value::Time(DAY_MICROS)],
        Wire::LocalTimestamp { unit: Unit::Millis, .. } => [&micros(Value::LocalTimestamp, 1000), infinities].concat(),
        Wire::LocalTimestamp { decimals, .. } | Wire::IsoTimestamp { decimals } => {
            [&micros(Value::LocalTimestamp, step(*decimals)), infinities].concat()
        }
        Wire::ZonedTimestamp { decimals } => [&micros(Value::Timestamp, step(*decimals)), infinities].concat(),
        Wire::ZonedTime => vec![Value::ZonedTime(0), Value::ZonedTime(DAY_MICROS)],
        Wire::MicroDuration => vec![interval(0, 0, 0), interval(0, 0, i64::MIN), interval(0, 0, i64::MAX)],
        Wire::Interval => vec![interval(0, 0, -1), interval(1, -1, 0), interval(14, 3, 1), interval(0, 0, i64::MAX)],
        _ => panic!("{wire} is not in time"),
    }
}

fn edges_of_parts(wire: &Wire) -> Vec<Value> {
    match wire {
        Wire::HstoreJson | Wire::HstoreMap => {
            let of = |key: &str, value: Value| Value::Map(vec![(text(key), value)]);
            vec![of("ä", text("1")), of("a", Value::Null), of("a", text(""))]
        }
        Wire::Point => [(0.123_456_789_012, -2.0), (0.1, 0.123_456_789_012), (1e300, 1e300), (f64::NAN, f64::INFINITY)]
            .map(point)
            .into(),
        Wire::Geometry => {
            vec![Value::Null, Value::Int(4326), Value::Int((1 << 24) + 1)].into_iter().map(geometry).collect()
        }
        Wire::Vector => vec![Value::List(vec![float(0.1), float(0.1)]), Value::List(vec![float(3.0); 3])],
        Wire::SparseVector => vec![sparse(2, &[(1, 0.1), (2, 3.0)]), sparse(2, &[(2, 3.0)]), sparse(4, &[(4, 2.5)])],
        Wire::Array(of) => {
            let items = edges(of);
            let mut lists = vec![vec![], vec![items[0].clone()], vec![items[0].clone(), Value::Null]];
            for (one, other) in items.iter().flat_map(|one| items.iter().map(move |other| (one, other))) {
                lists.extend(
                    [vec![one, other], vec![one, other, one], vec![one, other, other]]
                        .map(|list| list.into_iter().cloned().collect()),
                );
            }
            lists.into_iter().map(Value::List).collect()
        }
        _ => panic!("{wire} has no parts"),
    }
}

fn point((x, y): (f64, f64)) -> Value {
    Value::Struct(vec![("x", float(x)), ("y", float(y)), ("srid", Value::Null)])
}

fn geometry(srid: Value) -> Value {
    Value::Struct(vec![("wkb", Value::Bytes(b"\x01"[..].into())), ("srid", srid)])
}

fn sparse(dimensions: i64, numbers: &[(i64, f64)]) -> Value {
    let pairs = numbers.iter().map(|(index, number)| (Value::Int(*index), float(*number))).collect();
    Value::Struct(vec![("dimensions", Value::Int(dimensions)), ("vector", Value::Map(pairs))])
}

/// Values of the wire's domain as Postgres has it.
pub fn values(wire: &Wire) -> BoxedStrategy<Value> {
    let wide = (any::<i128>(), 0i64..40).prop_map(|(digits, scale)| BigDecimal::new(digits.into(), scale));
    let narrow = (any::<i16>(), 0i64..4).prop_map(|(digits, scale)| BigDecimal::new(digits.into(), scale));
    let decimals = prop_oneof![wide, narrow].prop_map(Value::Decimal);
    let doubles = prop_oneof![any::<f64>(), any::<i16>().prop_map(f64::from), any::<f32>().prop_map(f64::from)];
    let instants = || i64::from(FIRST_DAY) * DAY_MICROS..=i64::MAX / 1000 * 1000;
    let to_millis = |decimals: u8| move |micros: i64| if decimals > 3 { micros } else { micros / 1000 * 1000 };
    let random = match wire {
        Wire::Int8 => any::<i8>().prop_map(|int| Value::Int(int.into())).boxed(),
        Wire::Int16 => any::<i16>().prop_map(|int| Value::Int(int.into())).boxed(),
        Wire::Int32 => any::<i32>().prop_map(|int| Value::Int(int.into())).boxed(),
        Wire::Int64 => any::<i64>().prop_map(Value::Int).boxed(),
        Wire::Float32 => any::<f32>().prop_map(float32).boxed(),
        Wire::Float64 | Wire::DecimalFloat => doubles.prop_map(float).boxed(),
        Wire::Decimal { scale } => {
            let scale = i64::from(*scale);
            prop_oneof![any::<i128>(), any::<i16>().prop_map(i128::from)]
                .prop_map(move |digits| Value::Decimal(BigDecimal::new(digits.into(), scale)))
                .boxed()
        }
        Wire::VariableScaleDecimal | Wire::DecimalText => decimals.boxed(),
        Wire::Text => any::<String>().prop_map(|string| text(&string)).boxed(),
        Wire::Uuid => any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))).boxed(),
        Wire::Date | Wire::IsoDate => (FIRST_DAY..=LAST_DAY).prop_map(Value::Date).boxed(),
        Wire::Time { unit: Unit::Millis, .. } => {
            (0..86_400_000i64).prop_map(|millis| Value::Time(millis * 1000)).boxed()
        }
        Wire::Time { .. } | Wire::IsoTime => (0..DAY_MICROS).prop_map(Value::Time).boxed(),
        Wire::LocalTimestamp { unit: Unit::Millis, .. } => {
            instants().prop_map(to_millis(3)).prop_map(Value::LocalTimestamp).boxed()
        }
        Wire::LocalTimestamp { decimals, .. } | Wire::IsoTimestamp { decimals } => {
            instants().prop_map(to_millis(*decimals)).prop_map(Value::LocalTimestamp).boxed()
        }
        Wire::ZonedTimestamp { decimals } => {
            instants().prop_map(to_millis(*decimals)).prop_map(Value::Timestamp).boxed()
        }
        Wire::ZonedTime => (0..DAY_MICROS).prop_map(Value::ZonedTime).boxed(),
        Wire::Interval => (any::<i32>(), any::<i32>(), any::<i64>())
            .prop_map(|(months, days, micros)| Value::Duration(Duration { months, days, micros }))
            .boxed(),
        Wire::Point => (doubles.clone(), doubles).prop_map(point).boxed(),
        Wire::Vector => prop::collection::vec(any::<f32>(), 1..4)
            .prop_map(|numbers| Value::List(numbers.iter().map(|number| float(shortest(*number))).collect()))
            .boxed(),
        Wire::Array(of) => {
            let item = prop_oneof![9 => values(of), 1 => Just(Value::Null)];
            prop::collection::vec(item, 1..4).prop_map(Value::List).boxed()
        }
        _ => select(edges(wire)).boxed(),
    };
    prop_oneof![1 => select(edges(wire)), 2 => random].boxed()
}

/// The double that Debezium reads from pgvector's text of a 32-bit float; it has no NaN and no infinity.
fn shortest(number: f32) -> f64 {
    if number.is_finite() { number.to_string().parse().expect("a float") } else { 0.0 }
}
