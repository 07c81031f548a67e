//! The bytes of every kind, checked against the protocol, against the driver's own encoding, and both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;
use std::sync::Arc;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use proptest::prelude::*;
use scylla::cluster::metadata::{CollectionType, ColumnType, NativeType, UserDefinedType};
use scylla::deserialize::FrameSlice;
use scylla::deserialize::value::DeserializeValue;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::CellWriter;
use scylla::value::CqlValue;
use uuid::Uuid;

use super::decode::decode;
use super::encode::{Misfit, encode};
use super::flaw::flaw;
use super::kind::{kind_of, kind_of_key, kind_of_value};
use super::size::{fixed_bytes, value_bytes};
use super::{DAY_MICROS, order};
use crate::row::{Duration, Float, Kind, Value};

fn native(native: NativeType) -> ColumnType<'static> {
    ColumnType::Native(native)
}

/// The CQL type of a kind.
fn cql(kind: &Kind) -> ColumnType<'static> {
    let collection = |typ| ColumnType::Collection { frozen: true, typ };
    let boxed = |kind: &Kind| Box::new(cql(kind));
    match kind {
        Kind::Bool => native(NativeType::Boolean),
        Kind::Int8 => native(NativeType::TinyInt),
        Kind::Int16 => native(NativeType::SmallInt),
        Kind::Int32 => native(NativeType::Int),
        Kind::Int64 => native(NativeType::BigInt),
        Kind::Integer => native(NativeType::Varint),
        Kind::Decimal => native(NativeType::Decimal),
        Kind::Float32 => native(NativeType::Float),
        Kind::Float64 => native(NativeType::Double),
        Kind::Ascii => native(NativeType::Ascii),
        Kind::Text => native(NativeType::Text),
        Kind::Bytes => native(NativeType::Blob),
        Kind::Uuid => native(NativeType::Uuid),
        Kind::TimeUuid => native(NativeType::Timeuuid),
        Kind::Inet => native(NativeType::Inet),
        Kind::Date => native(NativeType::Date),
        Kind::Time => native(NativeType::Time),
        Kind::TimestampMillis => native(NativeType::Timestamp),
        Kind::Duration => native(NativeType::Duration),
        Kind::List(item) => collection(CollectionType::List(boxed(item))),
        Kind::Set(item) => collection(CollectionType::Set(boxed(item))),
        Kind::Map(key, value) => collection(CollectionType::Map(boxed(key), boxed(value))),
        Kind::Vector(item, dimensions) => {
            ColumnType::Vector { typ: boxed(item), dimensions: u16::try_from(*dimensions).expect("a short vector") }
        }
        Kind::Tuple(items) => ColumnType::Tuple(items.iter().map(cql).collect()),
        Kind::Struct(fields) => udt(fields.iter().map(|(name, kind)| (name.clone(), cql(kind))).collect()),
        Kind::Timestamp => unreachable!("Cassandra has none"),
    }
}

fn udt(fields: Vec<(String, ColumnType<'static>)>) -> ColumnType<'static> {
    let field_types = fields.into_iter().map(|(name, typ)| (name.into(), typ)).collect();
    let definition = UserDefinedType { name: "place".into(), keyspace: "ks".into(), field_types };
    ColumnType::UserDefinedType { frozen: true, definition: Arc::new(definition) }
}

fn bytes_of(kind: &Kind, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(kind, value, |piece| bytes.extend_from_slice(piece)).expect("a value that fits");
    bytes
}

/// The value with its sets and maps in the server's order.
fn in_order(kind: &Kind, value: &Value) -> Value {
    let parts = |kinds: &mut dyn Iterator<Item = &Kind>, items: &[Value]| {
        Value::List(kinds.zip(items).map(|(kind, value)| in_order(kind, value)).collect())
    };
    match (kind, value) {
        (Kind::Set(item), Value::List(items)) => {
            let sorted = order::sorted(item, items).expect("no duplicates");
            Value::List(sorted.into_iter().map(|value| in_order(item, value)).collect())
        }
        (Kind::Map(key, of), Value::Map(pairs)) => {
            let sorted = order::sorted_pairs(key, pairs).expect("no duplicates");
            Value::Map(sorted.into_iter().map(|pair| (in_order(key, &pair.0), in_order(of, &pair.1))).collect())
        }
        (Kind::List(item) | Kind::Vector(item, _), Value::List(items)) => {
            Value::List(items.iter().map(|value| in_order(item, value)).collect())
        }
        (Kind::Tuple(kinds), Value::List(items)) => parts(&mut kinds.iter(), items),
        (Kind::Struct(fields), Value::List(items)) => parts(&mut fields.iter().map(|(_, kind)| kind), items),
        _ => value.clone(),
    }
}

fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).expect("a decimal"))
}

fn texts(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| Value::Text((*text).into())).collect())
}

fn boxed(kind: Kind) -> Box<Kind> {
    Box::new(kind)
}

#[track_caller]
fn check(kind: Kind, value: Value, expect: &[u8]) {
    assert_eq!(bytes_of(&kind, &value), expect);
    assert_eq!(decode(&cql(&kind), Some(expect)).expect("our own bytes"), in_order(&kind, &value));
}

#[test]
fn bytes_are_those_of_the_protocol() {
    check(Kind::Date, Value::Date(0), &[0x80, 0, 0, 0]);
    check(Kind::Date, Value::Date(-1), &[0x7f, 0xff, 0xff, 0xff]);
    check(Kind::Time, Value::Time(1), &1_000i64.to_be_bytes());
    check(Kind::TimestampMillis, Value::Timestamp(-1_000), &(-1i64).to_be_bytes());
    check(Kind::Decimal, decimal("1.27"), &[0, 0, 0, 2, 0x7f]);
    check(Kind::Decimal, decimal("1.28"), &[0, 0, 0, 2, 0x00, 0x80]);
    check(Kind::Decimal, decimal("-1.28"), &[0, 0, 0, 2, 0x80]);
    check(Kind::Decimal, decimal("-1.29"), &[0, 0, 0, 2, 0xff, 0x7f]);
    check(Kind::Decimal, decimal("0"), &[0, 0, 0, 0, 0]);
    check(Kind::Decimal, decimal("1E+3"), &[0xff, 0xff, 0xff, 0xfd, 1]);
    check(Kind::Integer, decimal("-256"), &[0xff, 0x00]);
    check(Kind::Integer, decimal("18446744073709551616"), &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    check(Kind::Int8, Value::Int(-2), &[0xfe]);
    check(Kind::Int16, Value::Int(-2), &[0xff, 0xfe]);
    check(Kind::Float32, Value::Float32(Float(-0.0)), &[0x80, 0, 0, 0]);
    check(Kind::Float64, Value::Float64(Float(-f64::NAN)), &[0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    check(Kind::Inet, Value::Inet([127, 0, 0, 1].into()), &[127, 0, 0, 1]);
    check(Kind::Inet, Value::Inet(Ipv6Addr::LOCALHOST.into()), &Ipv6Addr::LOCALHOST.octets());
    // The examples of the protocol, version 5, section 3 (vint) in zigzag.
    let duration = |months, days, micros| Value::Duration(Duration { months, days, micros });
    check(Kind::Duration, duration(1, 2, 3), &[2, 4, 0x97, 0x70]);
    check(Kind::Duration, duration(-1, -64, 0), &[1, 127, 0]);
    check(Kind::Duration, duration(0, 64, 0), &[0, 0x80, 0x80, 0]);
    check(Kind::Duration, duration(i32::MAX, 0, 0), &[0xf0, 0xff, 0xff, 0xff, 0xfe, 0, 0]);
}

#[test]
fn nested_bytes_are_those_of_the_protocol() {
    let text = || boxed(Kind::Text);
    check(Kind::List(text()), texts(&["b", "", "a"]), b"\0\0\0\x03\0\0\0\x01b\0\0\0\0\0\0\0\x01a");
    check(Kind::Set(text()), texts(&["b", "a"]), b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b");
    let pair = |key: &str, int| (Value::Text(key.into()), Value::Int(int));
    check(
        Kind::Map(text(), boxed(Kind::Int16)),
        Value::Map(vec![pair("b", 1), pair("a", 2)]),
        b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02\0\x02\0\0\0\x01b\0\0\0\x02\0\x01",
    );
    check(
        Kind::Vector(boxed(Kind::Int32), 2),
        Value::List(vec![Value::Int(1), Value::Int(2)]),
        b"\0\0\0\x01\0\0\0\x02",
    );
    check(
        Kind::Vector(boxed(Kind::Int16), 2),
        Value::List(vec![Value::Int(1), Value::Int(2)]),
        b"\x02\0\x01\x02\0\x02",
    );
    check(Kind::Vector(text(), 2), texts(&["", "ab"]), b"\0\x02ab");
    let parts = || Value::List(vec![Value::Int(1), Value::Null, Value::Text("".into())]);
    let bytes = b"\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\0\0\0\0";
    check(Kind::Tuple(vec![Kind::Int32, Kind::Text, Kind::Text]), parts(), bytes);
    let fields = [("x", Kind::Int32), ("y", Kind::Text), ("z", Kind::Text)].map(|(name, kind)| (name.into(), kind));
    check(Kind::Struct(fields.into()), parts(), bytes);
}

#[test]
fn what_does_not_fit_is_a_misfit() {
    let set = Kind::Set(boxed(Kind::Int32));
    let pair = |key| (Value::Int(key), Value::Int(1));
    let map = Kind::Map(boxed(Kind::Int32), boxed(Kind::Int32));
    let duration = |months, days, micros| Value::Duration(Duration { months, days, micros });
    for (kind, value) in [
        (Kind::Int32, Value::Null),
        (Kind::Int8, Value::Int(128)),
        (Kind::Integer, decimal("1.5")),
        (Kind::Float32, Value::Float32(Float(0.1))),
        (Kind::Float64, Value::Float32(Float(0.5))),
        (Kind::Ascii, Value::Text("ö".into())),
        (Kind::TimeUuid, Value::Uuid(Uuid::from_u128(0))),
        (Kind::Time, Value::Time(86_400_000_000)),
        (Kind::TimestampMillis, Value::Timestamp(1)),
        (Kind::Duration, duration(1, -1, 0)),
        (Kind::Duration, duration(0, 0, i64::MAX)),
        (set.clone(), Value::List(vec![Value::Int(1), Value::Int(1)])),
        (set, Value::List(vec![Value::Null])),
        (map.clone(), Value::Map(vec![pair(1), pair(1)])),
        (map, Value::Map(vec![(Value::Int(1), Value::Null)])),
        (Kind::Tuple(vec![Kind::Int32]), Value::List(Vec::new())),
        (Kind::Tuple(vec![Kind::Int32]), Value::List(vec![Value::Absent])),
        (Kind::Vector(boxed(Kind::Int32), 2), Value::List(vec![Value::Int(1)])),
    ] {
        assert!(matches!(encode(&kind, &value, |_| {}), Err(Misfit)), "{kind} {value:?}");
        assert!(value == Value::Null || flaw(&kind, &value).is_some(), "{kind} {value:?} would be a fault of ours");
    }
}

#[test]
fn values_from_before_their_type_grew_end_with_nulls() {
    let kind = Kind::Tuple(vec![Kind::Int16, Kind::Int16, Kind::Text]);
    let read = decode(&cql(&kind), Some(b"\0\0\0\x02\0\x07")).expect("a short tuple");
    assert_eq!(read, Value::List(vec![Value::Int(7), Value::Null, Value::Null]));
}

#[test]
fn forms_that_no_value_stands_for_are_not_read() {
    for (kind, bytes) in [
        (Kind::Int32, &b""[..]),
        (Kind::Integer, b""),
        (Kind::Time, b"\0\0\0\0\0\0\0\x01"),
        (Kind::TimestampMillis, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
        (Kind::Duration, b"\0\0\x02"),
        (Kind::Inet, b"\0\0\0\0\0"),
        (Kind::List(boxed(Kind::Bytes)), b"\x7f\xff\xff\xff\0\0\0\0"),
        (Kind::List(boxed(Kind::Bytes)), b"\0\0\0\x01\xff\xff\xff\xff"),
        (Kind::List(boxed(Kind::Bytes)), b"\0\0\0\x01\0\0\0\0\0"),
        (Kind::Vector(boxed(Kind::Int32), 2), b"\0\0\0\0\0\0\0"),
    ] {
        assert!(decode(&cql(&kind), Some(bytes)).is_err(), "{kind}");
    }
}

#[test]
fn columns_that_cannot_be_written_say_why() {
    let list = |frozen| ColumnType::Collection { frozen, typ: CollectionType::List(Box::new(native(NativeType::Int))) };
    let why = |typ: &ColumnType<'_>| kind_of(typ).expect_err("a type that is not written");
    let not_frozen = "is a list that is not frozen, which doubles when the same write arrives twice: make it frozen";
    assert_eq!(kind_of(&list(true)), Ok(Kind::List(boxed(Kind::Int32))));
    assert_eq!(why(&list(false)), not_frozen);
    // Statements and results never say that something is frozen, and inside another type everything is.
    assert_eq!(kind_of_value(&list(false)), Ok(Kind::List(boxed(Kind::Int32))));
    let tuple = ColumnType::Tuple(vec![list(false)]);
    assert_eq!(kind_of(&tuple), Ok(Kind::Tuple(vec![Kind::List(boxed(Kind::Int32))])));
    assert_eq!(
        why(&native(NativeType::Counter)),
        "is a counter, which counts twice when the same write arrives twice: make it a bigint"
    );
    let ordered = "has durations in a key or in a set, where they have no order: make them text";
    let duration = || native(NativeType::Duration);
    let collection = |typ| ColumnType::Collection { frozen: false, typ };
    let field = || udt(vec![("every".into(), duration())]);
    assert_eq!(kind_of(&duration()), Ok(Kind::Duration));
    for inside in [duration(), ColumnType::Tuple(vec![duration()]), field()] {
        assert_eq!(kind_of_key(&inside), Err(ordered.into()));
        assert_eq!(why(&collection(CollectionType::Set(Box::new(inside.clone())))), ordered);
        let value = Box::new(native(NativeType::Int));
        assert_eq!(why(&collection(CollectionType::Map(Box::new(inside.clone()), value.clone()))), ordered);
        assert!(kind_of(&collection(CollectionType::Map(value, Box::new(inside)))).is_ok());
    }
}

const SCALARS: [Kind; 19] = [
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
    Kind::Duration,
];

#[test]
fn vectors_leave_out_the_lengths_that_the_driver_leaves_out() {
    for kind in &SCALARS {
        assert_eq!(fixed_bytes(kind), cql(kind).type_size_for_vector(), "{kind}");
        let vector = Kind::Vector(boxed(kind.clone()), 3);
        assert_eq!(fixed_bytes(&vector), cql(&vector).type_size_for_vector(), "{vector}");
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let scalar = || prop::sample::select(&SCALARS[..]);
    // The keys of sets and maps, which have an order.
    let key = prop::sample::select(&SCALARS[..18]).prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|kind| Kind::List(boxed(kind))),
            inner.clone().prop_map(|kind| Kind::Set(boxed(kind))),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| Kind::Map(boxed(key), boxed(value))),
            (inner.clone(), 1..4usize).prop_map(|(kind, dimensions)| Kind::Vector(boxed(kind), dimensions)),
            prop::collection::vec(inner, 1..3).prop_map(Kind::Tuple),
        ]
    });
    scalar().prop_recursive(3, 12, 3, move |inner| {
        let struct_of = |kinds: Vec<Kind>| {
            Kind::Struct(kinds.into_iter().enumerate().map(|(at, kind)| (format!("f{at}"), kind)).collect())
        };
        prop_oneof![
            inner.clone().prop_map(|kind| Kind::List(boxed(kind))),
            key.clone().prop_map(|kind| Kind::Set(boxed(kind))),
            (key.clone(), inner.clone()).prop_map(|(key, value)| Kind::Map(boxed(key), boxed(value))),
            (inner.clone(), 1..5usize).prop_map(|(kind, dimensions)| Kind::Vector(boxed(kind), dimensions)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Kind::Tuple),
            prop::collection::vec(inner, 1..4).prop_map(struct_of),
        ]
    })
}

fn any_scalar(kind: &Kind) -> BoxedStrategy<Value> {
    let digits = || prop::collection::vec(any::<u8>(), 0..24).prop_map(|digits| BigInt::from_signed_bytes_be(&digits));
    // Small numbers too: where the server's order begins to matter.
    let small = || (-3i64..=3).boxed();
    let int = |most: i64| prop_oneof![small(), -most - 1..=most].prop_map(Value::Int).boxed();
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Int8 => int(i8::MAX.into()),
        Kind::Int16 => int(i16::MAX.into()),
        Kind::Int32 => int(i32::MAX.into()),
        Kind::Int64 => int(i64::MAX),
        Kind::Integer => digits().prop_map(|digits| Value::Decimal(BigDecimal::new(digits, 0))).boxed(),
        Kind::Decimal => (digits(), prop_oneof![-3i32..=3, any::<i32>()])
            .prop_map(|(digits, scale): (BigInt, i32)| Value::Decimal(BigDecimal::new(digits, scale.into())))
            .boxed(),
        Kind::Float32 => any::<u32>().prop_map(|bits| Value::Float32(Float(f32::from_bits(bits).into()))).boxed(),
        Kind::Float64 => any::<u64>().prop_map(|bits| Value::Float64(Float(f64::from_bits(bits)))).boxed(),
        Kind::Ascii => "[\\x00-\\x7f]{0,9}".prop_map(|text| Value::Text(text.into())).boxed(),
        Kind::Text => any::<String>().prop_map(|text| Value::Text(text.into())).boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
        Kind::Uuid => any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))).boxed(),
        Kind::TimeUuid => {
            any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits & !(0xf << 76) | 0x1 << 76))).boxed()
        }
        Kind::Inet => prop_oneof![
            any::<u32>().prop_map(|bits| Value::Inet(IpAddr::V4(Ipv4Addr::from_bits(bits)))),
            any::<u128>().prop_map(|bits| Value::Inet(IpAddr::V6(Ipv6Addr::from_bits(bits)))),
        ]
        .boxed(),
        Kind::Date => any::<i32>().prop_map(Value::Date).boxed(),
        Kind::Time => DAY_MICROS.prop_map(Value::Time).boxed(),
        Kind::TimestampMillis => (i64::MIN / 1000..=i64::MAX / 1000).prop_map(|v| Value::Timestamp(v * 1000)).boxed(),
        _ => (any::<bool>(), 0..=i32::MAX, 0..=i32::MAX, 0..=i64::MAX / 1000)
            .prop_map(|(negative, months, days, micros)| {
                let sign = if negative { -1 } else { 1 };
                Value::Duration(Duration { months: months * sign, days: days * sign, micros: micros * i64::from(sign) })
            })
            .boxed(),
    }
}

fn any_value(kind: &Kind) -> BoxedStrategy<Value> {
    let or_null = |kind: &Kind| prop_oneof![1 => Just(Value::Null), 4 => any_value(kind)];
    let parts =
        |kinds: &mut dyn Iterator<Item = &Kind>| kinds.map(or_null).collect::<Vec<_>>().prop_map(Value::List).boxed();
    match kind {
        Kind::List(item) => prop::collection::vec(any_value(item), 0..4).prop_map(Value::List).boxed(),
        Kind::Vector(item, dimensions) => {
            prop::collection::vec(any_value(item), *dimensions).prop_map(Value::List).boxed()
        }
        Kind::Set(item) => {
            let item = item.clone();
            let distinct = move |items: &Vec<Value>| order::sorted(&item, items).is_some();
            prop::collection::vec(
                any_value(match kind {
                    Kind::Set(item) => item,
                    _ => kind,
                }),
                0..4,
            )
            .prop_filter("distinct elements", distinct)
            .prop_map(Value::List)
            .boxed()
        }
        Kind::Map(key, value) => {
            let pairs = prop::collection::vec((any_value(key), any_value(value)), 0..4);
            let key = key.clone();
            let distinct = move |pairs: &Vec<(Value, Value)>| order::sorted_pairs(&key, pairs).is_some();
            pairs.prop_filter("distinct keys", distinct).prop_map(Value::Map).boxed()
        }
        Kind::Tuple(kinds) => parts(&mut kinds.iter()),
        Kind::Struct(fields) => parts(&mut fields.iter().map(|(_, kind)| kind)),
        scalar => any_scalar(scalar),
    }
}

fn any_kind_and_value() -> impl Strategy<Value = (Kind, Value)> {
    any_kind().prop_flat_map(|kind| any_value(&kind).prop_map(move |value| (kind.clone(), value)))
}

/// Whether a vector somewhere inside ends with an empty element, which the driver (scylla-cql-core 1.9.0,
/// `read_n_bytes`) takes for null.
fn ends_empty(kind: &Kind, value: &Value) -> bool {
    let any = |kinds: &mut dyn Iterator<Item = &Kind>, items: &[Value]| {
        kinds.zip(items).any(|(kind, value)| ends_empty(kind, value))
    };
    match (kind, value) {
        (Kind::Vector(item, _), Value::List(items)) => {
            items.last().is_some_and(|last| value_bytes(item, last) == 0)
                || items.iter().any(|value| ends_empty(item, value))
        }
        (Kind::List(item) | Kind::Set(item), Value::List(items)) => items.iter().any(|value| ends_empty(item, value)),
        (Kind::Map(key, of), Value::Map(pairs)) => {
            pairs.iter().any(|pair| ends_empty(key, &pair.0) || ends_empty(of, &pair.1))
        }
        (Kind::Tuple(kinds), Value::List(items)) => any(&mut kinds.iter(), items),
        (Kind::Struct(fields), Value::List(items)) => any(&mut fields.iter().map(|(_, kind)| kind), items),
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((kind, value) in any_kind_and_value()) {
        prop_assert_eq!(kind_of(&cql(&kind)), Ok(kind.clone()));
        prop_assert_eq!(flaw(&kind, &value), None);
        let bytes = bytes_of(&kind, &value);
        prop_assert_eq!(bytes.len(), value_bytes(&kind, &value), "the bytes are not as many as were counted");
        let read = decode(&cql(&kind), Some(&bytes)).expect("our own bytes");
        prop_assert_eq!(&read, &in_order(&kind, &value));
        prop_assert_eq!(bytes_of(&kind, &read), bytes);
    }

    #[test]
    fn the_driver_reads_what_is_written_and_writes_the_same((kind, value) in any_kind_and_value()) {
        prop_assume!(!ends_empty(&kind, &value));
        let (typ, bytes) = (cql(&kind), Bytes::from(bytes_of(&kind, &value)));
        let read = <CqlValue as DeserializeValue>::deserialize(&typ, Some(FrameSlice::new(&bytes))).expect("our bytes");
        let mut written = Vec::new();
        SerializeValue::serialize(&read, &typ, CellWriter::new(&mut written)).expect("the driver's own value");
        prop_assert_eq!(&written[4..], &bytes[..]);
    }

    #[test]
    fn reading_never_panics(kind in any_kind(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(&cql(&kind), Some(&bytes));
    }

    #[test]
    fn reading_broken_bytes_never_panics((kind, value) in any_kind_and_value(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = bytes_of(&kind, &value);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&cql(&kind), Some(&bytes));
            let _ = decode(&cql(&kind), Some(&bytes[..at]));
        }
    }

    #[test]
    fn what_is_written_passed_the_check((kind, _) in any_kind_and_value(), (_, value) in any_kind_and_value()) {
        // A value of whatever kind: what has no flaw is written, so that no record stops a partition.
        let is_written = encode(&kind, &value, |_| {}).is_ok();
        prop_assert_eq!(flaw(&kind, &value).is_none(), is_written);
    }
}
