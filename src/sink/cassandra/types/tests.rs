//! Which values fit which columns, and their bytes both ways.

use std::str::FromStr as _;

use proptest::prelude::*;

use super::*;
use crate::plan::convert::Policy;
use crate::plan::route::Apply;
use crate::plan::write::Expect;

/// A table with one key column of `key` and one column `c` of `kind`.
fn route(key: &[Kind], kind: Kind) -> Route {
    let mut columns: Vec<RouteColumn> = key
        .iter()
        .enumerate()
        .map(|(at, kind)| RouteColumn {
            name: format!("k{at}"),
            kind: kind.clone(),
            source: at,
            policy: Policy::default(),
        })
        .collect();
    columns.push(RouteColumn { name: "c".into(), kind, source: key.len(), policy: Policy::default() });
    Route {
        topic: "topic".into(),
        table: "t".into(),
        columns,
        key: (0..key.len()).collect(),
        moves: false,
        reselect: None,
        apply: Apply::Mirror,
    }
}

fn write(kind: WriteKind, values: Vec<Value>) -> Write {
    Write { record: 0, route: 0, kind, expect: Expect::Any, version: Some(1), values }
}

fn text(length: usize) -> Value {
    Value::Text("x".repeat(length).into())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).expect("a decimal"))
}

#[track_caller]
fn check_column(kind: Kind, value: Value, expect: &str) {
    let checked = check(&route(&[Kind::Int64], kind), 1, &write(WriteKind::Upsert, vec![Value::Int(1), value]));
    assert_eq!(checked.map_or_else(|reject| reject.to_string(), |()| "fits".into()), expect);
}

#[track_caller]
fn check_key(kinds: &[Kind], partition_columns: usize, mut key: Vec<Value>, expect: &str) {
    for kind in [WriteKind::Upsert, WriteKind::Delete] {
        key.truncate(kinds.len());
        key.push(Value::Absent);
        let checked = check(&route(kinds, Kind::Int64), partition_columns, &write(kind, key.clone()));
        assert_eq!(checked.map_or_else(|reject| reject.to_string(), |()| "fits".into()), expect, "{kind:?}");
    }
}

#[test]
fn values_at_the_ends_of_their_types_fit_and_those_beyond_do_not() {
    check_column(Kind::Int16, Value::Int(-32_768), "fits");
    check_column(Kind::Int16, Value::Int(32_768), "out_of_range: t.c (int16) does not fit 16 bits");
    check_column(Kind::Int32, Value::Int(2_147_483_647), "fits");
    check_column(Kind::Int32, Value::Int(-2_147_483_649), "out_of_range: t.c (int32) does not fit 32 bits");
    check_column(Kind::Int64, Value::Int(i64::MIN), "fits");
    check_column(Kind::Date, Value::Date(i32::MIN), "fits");
    check_column(Kind::Timestamp, Value::Timestamp(-1_000), "fits");
    check_column(
        Kind::Timestamp,
        Value::Timestamp(1_001),
        "out_of_range: t.c (timestamp) would lose microseconds: Cassandra keeps milliseconds",
    );
    check_column(Kind::Decimal, decimal("1E-2147483647"), "fits");
    check_column(
        Kind::Decimal,
        decimal("1E-2147483648"),
        "out_of_range: t.c (decimal) has more decimal places than 32 bits count",
    );
    check_column(Kind::Text, text(65_536), "fits");
}

#[test]
fn a_column_may_have_no_value_and_not_one_of_another_type() {
    for value in [Value::Null, Value::Absent, Value::Unavailable] {
        check_column(Kind::Uuid, value, "fits");
    }
    check_column(Kind::Uuid, text(1), "wrong_type: t.c (uuid) has a value of another type");
    check_column(Kind::Int32, Value::Date(1), "wrong_type: t.c (int32) has a value of another type");
}

#[test]
fn a_row_beyond_the_servers_mutation_is_too_large() {
    check_column(Kind::Text, text(ROW_BYTES_MAX - 1_000), "fits");
    check_column(Kind::Text, text(ROW_BYTES_MAX), "too_large: the row for t is larger than 4128768 bytes");
}

#[test]
fn key_columns_have_a_value() {
    for value in [Value::Null, Value::Absent, Value::Unavailable] {
        let expect = "missing_key: t.k0 (uuid) has no value, and is in the primary key";
        check_key(&[Kind::Uuid], 1, vec![value], expect);
    }
}

#[test]
fn key_columns_are_within_the_servers_lengths() {
    let (one, two) = ([Kind::Text], [Kind::Text, Kind::Text]);
    check_key(&one, 1, vec![text(0)], "out_of_range: t.k0 (text) is empty, and is the partition key");
    check_key(&one, 1, vec![text(65_535)], "fits");
    let too_long = "out_of_range: t.k0 (text) makes the partition key longer than 65535 bytes";
    check_key(&one, 1, vec![text(65_536)], too_long);
    // As a clustering column, and as a part of the partition key.
    check_key(&two, 1, vec![text(1), text(0)], "fits");
    let too_long = "out_of_range: t.k1 (text) is longer than 65535 bytes, and is in the primary key";
    check_key(&two, 1, vec![text(1), text(65_536)], too_long);
    check_key(&two, 2, vec![text(0), text(0)], "fits");
    check_key(&two, 2, vec![text(32_000), text(33_529)], "fits");
    let too_long = "out_of_range: t.k1 (text) makes the partition key longer than 65535 bytes";
    check_key(&two, 2, vec![text(32_000), text(33_530)], too_long);
}

#[test]
fn a_delete_is_checked_by_its_key_alone() {
    let route = route(&[Kind::Int64], Kind::Int16);
    assert_eq!(check(&route, 1, &write(WriteKind::Delete, vec![Value::Int(1), Value::Int(i64::MAX)])), Ok(()));
}

#[test]
fn bytes_are_those_of_the_protocol() {
    let bytes = |kind: Kind, value: Value| {
        let mut bytes = Vec::new();
        encode(&kind, &value, |piece| bytes.extend_from_slice(piece)).expect("a value that fits");
        bytes
    };
    assert_eq!(bytes(Kind::Date, Value::Date(0)), [0x80, 0, 0, 0]);
    assert_eq!(bytes(Kind::Date, Value::Date(-1)), [0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(bytes(Kind::Timestamp, Value::Timestamp(-1_000)), (-1i64).to_be_bytes());
    assert_eq!(bytes(Kind::Decimal, decimal("1.27")), [0, 0, 0, 2, 0x7f]);
    assert_eq!(bytes(Kind::Decimal, decimal("1.28")), [0, 0, 0, 2, 0x00, 0x80]);
    assert_eq!(bytes(Kind::Decimal, decimal("-1.28")), [0, 0, 0, 2, 0x80]);
    assert_eq!(bytes(Kind::Decimal, decimal("-1.29")), [0, 0, 0, 2, 0xff, 0x7f]);
    assert_eq!(bytes(Kind::Decimal, decimal("0")), [0, 0, 0, 0, 0]);
    assert_eq!(bytes(Kind::Decimal, decimal("1E+3")), [0xff, 0xff, 0xff, 0xfd, 1]);
    assert_eq!(bytes(Kind::Int16, Value::Int(-2)), [0xff, 0xfe]);
}

#[test]
fn columns_that_cannot_be_written_say_why() {
    let native = ColumnType::Native;
    let list = |frozen| ColumnType::Collection { frozen, typ: CollectionType::List(Box::new(native(NativeType::Int))) };
    assert_eq!(kind_of(&native(NativeType::Ascii)), Ok(Kind::Text));
    let why = |typ| kind_of(&typ).expect_err("a type that is not written");
    assert_eq!(why(native(NativeType::Blob)), "has type blob, which Rowferry does not write yet");
    assert_eq!(why(list(true)), "has type frozen<list<int>>, which Rowferry does not write yet");
    assert_eq!(
        why(list(false)),
        "is a list that is not frozen, which doubles when the same write arrives twice: make it frozen"
    );
    assert_eq!(
        why(native(NativeType::Counter)),
        "is a counter, which counts twice when the same write arrives twice: make it a bigint"
    );
}

fn any_value() -> impl Strategy<Value = (Kind, NativeType, Value)> {
    let decimals = (prop::collection::vec(any::<u8>(), 0..24), any::<i32>()).prop_map(|(digits, scale)| {
        Value::Decimal(BigDecimal::new(BigInt::from_signed_bytes_be(&digits), scale.into()))
    });
    prop_oneof![
        any::<bool>().prop_map(|v| (Kind::Bool, NativeType::Boolean, Value::Bool(v))),
        any::<i16>().prop_map(|v| (Kind::Int16, NativeType::SmallInt, Value::Int(v.into()))),
        any::<i32>().prop_map(|v| (Kind::Int32, NativeType::Int, Value::Int(v.into()))),
        any::<i64>().prop_map(|v| (Kind::Int64, NativeType::BigInt, Value::Int(v))),
        decimals.prop_map(|v| (Kind::Decimal, NativeType::Decimal, v)),
        any::<String>().prop_map(|v| (Kind::Text, NativeType::Text, Value::Text(v.into()))),
        any::<u128>().prop_map(|v| (Kind::Uuid, NativeType::Uuid, Value::Uuid(Uuid::from_u128(v)))),
        any::<i32>().prop_map(|v| (Kind::Date, NativeType::Date, Value::Date(v))),
        (i64::MIN / 1000..=i64::MAX / 1000).prop_map(|v| (
            Kind::Timestamp,
            NativeType::Timestamp,
            Value::Timestamp(v * 1000)
        )),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((kind, native, value) in any_value()) {
        let mut bytes = Vec::new();
        encode(&kind, &value, |piece| bytes.extend_from_slice(piece)).expect("a value that fits");
        prop_assert!(bytes.len() <= value_bytes(&kind, &value), "more bytes than were counted");
        prop_assert_eq!(decode(&ColumnType::Native(native), Some(&bytes)).expect("our own bytes"), value);
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        for native in [NativeType::Boolean, NativeType::SmallInt, NativeType::Int, NativeType::BigInt,
            NativeType::Decimal, NativeType::Text, NativeType::Uuid, NativeType::Date, NativeType::Timestamp] {
            let _ = decode(&ColumnType::Native(native), Some(&bytes));
        }
    }
}
