//! Which values fit which columns and keys.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use uuid::Uuid;

use super::*;
use crate::plan::convert::Policy;
use crate::plan::feed::Feed;
use crate::plan::route::Apply;
use crate::plan::write::Expect;
use crate::row::{Duration, Float, Kind};

/// A table with one key column of `key` and one column `c` of `kind`.
fn route(key: &[Kind], kind: Kind) -> Route {
    let mut columns: Vec<RouteColumn> = key
        .iter()
        .enumerate()
        .map(|(at, kind)| RouteColumn {
            name: format!("k{at}"),
            kind: kind.clone(),
            feed: Feed::Field(at),
            policy: Policy::default(),
        })
        .collect();
    columns.push(RouteColumn { name: "c".into(), kind, feed: Feed::Field(key.len()), policy: Policy::default() });
    Route {
        topic: "topic".into(),
        table: "t".into(),
        columns,
        key: (0..key.len()).collect(),
        moves: false,
        filter: Default::default(),
        ttl: None,
        consistency: Default::default(),
        guard: None,
        soft_delete: None,
        reselect: None,
        apply: Apply::Mirror,
    }
}

fn write(kind: WriteKind, values: Vec<Value>) -> Write {
    Write {
        record: 0,
        route: 0,
        kind,
        expect: Expect::Any,
        version: Some(1),
        ends_at_ms: None,
        standing: Default::default(),
        values,
    }
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
    check_column(Kind::TimestampMillis, Value::Timestamp(-1_000), "fits");
    check_column(
        Kind::TimestampMillis,
        Value::Timestamp(1_001),
        "out_of_range: t.c (timestamp in milliseconds) would lose microseconds: Cassandra keeps milliseconds",
    );
    check_column(Kind::Decimal, decimal("1E-2147483647"), "fits");
    check_column(
        Kind::Decimal,
        decimal("1E-2147483648"),
        "out_of_range: t.c (decimal) has more decimal places than 32 bits count",
    );
    check_column(Kind::Text, text(65_536), "fits");
    check_column(Kind::Int8, Value::Int(-128), "fits");
    check_column(Kind::Int8, Value::Int(128), "out_of_range: t.c (int8) does not fit 8 bits");
    check_column(Kind::Integer, decimal("-170141183460469231731687303715884105729"), "fits");
    check_column(Kind::Integer, decimal("1.0"), "out_of_range: t.c (integer) is not a whole number");
    check_column(Kind::Float32, Value::Float32(Float(f64::NAN)), "fits");
    check_column(Kind::Float32, Value::Float32(Float(f64::NEG_INFINITY)), "fits");
    check_column(Kind::Float32, Value::Float32(Float(f32::MIN_POSITIVE.into())), "fits");
    let too_fine = "out_of_range: t.c (float32) does not fit a float of 32 bits";
    check_column(Kind::Float32, Value::Float32(Float(0.1)), too_fine);
    check_column(Kind::Float32, Value::Float32(Float(1e39)), too_fine);
    check_column(Kind::Ascii, Value::Text("\u{7f}\0".into()), "fits");
    check_column(Kind::Ascii, Value::Text("ö".into()), "out_of_range: t.c (ascii) has characters that are not ASCII");
    let uuid = |text| Value::Uuid(Uuid::from_str(text).expect("a UUID"));
    check_column(Kind::TimeUuid, uuid("d2177dd0-eaa2-11de-a572-001b779c76e3"), "fits");
    let random = uuid("d2177dd0-eaa2-41de-a572-001b779c76e3");
    check_column(Kind::TimeUuid, random, "out_of_range: t.c (timeuuid) is not a version 1 UUID");
    check_column(Kind::Time, Value::Time(86_399_999_999), "fits");
    for beyond in [-1, 86_400_000_000] {
        check_column(Kind::Time, Value::Time(beyond), "out_of_range: t.c (time) is not a time before 24:00");
    }
}

#[test]
fn durations_have_one_sign_and_nanoseconds_of_64_bits() {
    let duration = |months, days, micros| Value::Duration(Duration { months, days, micros });
    let most = i64::MAX / 1000;
    check_column(Kind::Duration, duration(0, 0, 0), "fits");
    check_column(Kind::Duration, duration(i32::MAX, 0, most), "fits");
    check_column(Kind::Duration, duration(0, i32::MIN, -most), "fits");
    let both = "out_of_range: t.c (duration) has parts of both signs, and Cassandra's durations have one";
    check_column(Kind::Duration, duration(1, -1, 0), both);
    check_column(Kind::Duration, duration(-1, 0, 1), both);
    check_column(Kind::Duration, duration(0, 1, -1), both);
    let too_long = "out_of_range: t.c (duration) has more nanoseconds than 64 bits count";
    check_column(Kind::Duration, duration(0, 0, most + 1), too_long);
    check_column(Kind::Duration, duration(0, 0, -most - 1), too_long);
}

fn boxed(kind: Kind) -> Box<Kind> {
    Box::new(kind)
}

fn ints(ints: &[i64]) -> Vec<Value> {
    ints.iter().map(|int| Value::Int(*int)).collect()
}

#[test]
fn nested_values_fit_when_all_inside_them_do() {
    let list = || Kind::List(boxed(Kind::Int16));
    check_column(list(), Value::List(ints(&[2, 1, 2])), "fits");
    check_column(list(), Value::List(Vec::new()), "fits");
    check_column(
        list(),
        Value::List(ints(&[1, 32_768])),
        "out_of_range: t.c (list<int16>) holds an element that does not fit 16 bits",
    );
    for nothing in [Value::Null, Value::Absent, Value::Unavailable] {
        let problem = "wrong_type: t.c (list<int16>) holds an element that has no value";
        check_column(list(), Value::List(vec![Value::Int(1), nothing]), problem);
    }
    let set = || Kind::Set(boxed(Kind::Decimal));
    check_column(set(), Value::List(vec![decimal("2"), decimal("1.5")]), "fits");
    let twice = "out_of_range: t.c (set<decimal>) holds one element twice";
    check_column(set(), Value::List(vec![decimal("1.50"), decimal("2"), decimal("1.5")]), twice);
    let map = || Kind::Map(boxed(Kind::Text), boxed(list()));
    let pair = |key: usize, ints: &[i64]| (text(key), Value::List(self::ints(ints)));
    check_column(map(), Value::Map(vec![pair(2, &[1]), pair(1, &[])]), "fits");
    let twice = "out_of_range: t.c (map<text, list<int16>>) holds one key twice";
    check_column(map(), Value::Map(vec![pair(1, &[1]), pair(1, &[])]), twice);
    let inside = "out_of_range: t.c (map<text, list<int16>>) holds an element that does not fit 16 bits";
    check_column(map(), Value::Map(vec![pair(1, &[40_000])]), inside);
    let no_value = "wrong_type: t.c (map<text, list<int16>>) holds an element that has no value";
    check_column(map(), Value::Map(vec![(text(1), Value::Null)]), no_value);
    check_column(map(), Value::Map(vec![(Value::Null, Value::List(Vec::new()))]), no_value);
    let vector = || Kind::Vector(boxed(Kind::Int32), 3);
    check_column(vector(), Value::List(ints(&[1, 2, 3])), "fits");
    let count = "out_of_range: t.c (vector<int32, 3>) has another number of elements than the vector";
    check_column(vector(), Value::List(ints(&[1, 2])), count);
    check_column(vector(), Value::List(ints(&[1, 2, 3, 4])), count);
}

#[test]
fn parts_of_tuples_and_structs_may_be_null_and_none_may_be_missing() {
    let tuple = || Kind::Tuple(vec![Kind::Int32, Kind::Text]);
    let fields = || Kind::Struct(vec![("x".into(), Kind::Int32), ("y".into(), tuple())]);
    check_column(tuple(), Value::List(vec![Value::Int(1), Value::Null]), "fits");
    check_column(fields(), Value::List(vec![Value::Null, Value::List(vec![Value::Null, text(1)])]), "fits");
    let absent = "wrong_type: t.c (tuple<int32, text>) holds an element that has no value";
    check_column(tuple(), Value::List(vec![Value::Int(1), Value::Unavailable]), absent);
    let count = "wrong_type: t.c (tuple<int32, text>) has a value of another type";
    check_column(tuple(), Value::List(vec![Value::Int(1)]), count);
    check_column(tuple(), Value::List(vec![Value::Int(1), text(1), text(1)]), count);
    let count = "wrong_type: t.c (struct<int32, tuple<int32, text>>) has a value of another type";
    check_column(fields(), Value::List(vec![Value::Int(1)]), count);
    check_column(fields(), Value::Struct(vec![("x", Value::Int(1)), ("y", Value::Null)]), count);
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
fn keys_of_every_kind_are_measured_as_they_are_sent() {
    let check = |kind: Kind, fits: Value, too_long: Value, named: &str| {
        check_key(std::slice::from_ref(&kind), 1, vec![fits.clone()], "fits");
        let expect = format!("out_of_range: t.k0 ({named}) makes the partition key longer than 65535 bytes");
        check_key(std::slice::from_ref(&kind), 1, vec![too_long.clone()], &expect);
        check_key(&[Kind::Int64, kind.clone()], 1, vec![Value::Int(1), fits], "fits");
        let expect = format!("out_of_range: t.k1 ({named}) is longer than 65535 bytes, and is in the primary key");
        check_key(&[Kind::Int64, kind], 1, vec![Value::Int(1), too_long], &expect);
    };
    let bytes = |length| Value::Bytes(vec![0; length].into());
    check(Kind::Bytes, bytes(65_535), bytes(65_536), "bytes");
    let list = |length| Value::List(vec![bytes(length)]);
    check(Kind::Set(boxed(Kind::Bytes)), list(65_527), list(65_528), "set<bytes>");
    check(Kind::Tuple(vec![Kind::Bytes]), list(65_531), list(65_532), "tuple<bytes>");
    // The length of a vector's element is a vint, of three bytes here.
    check(Kind::Vector(boxed(Kind::Bytes), 1), list(65_532), list(65_533), "vector<bytes, 1>");
    // 65535 bytes of digits end at -2^524279, which takes no byte more than the number above it.
    let power = |bits: u32| BigDecimal::from(-(num_bigint(1) << bits));
    check(Kind::Integer, Value::Decimal(power(524_279)), Value::Decimal(power(524_279) - 1), "integer");
    check_key(&[Kind::Bytes], 1, vec![bytes(0)], "out_of_range: t.k0 (bytes) is empty, and is the partition key");
    check_key(&[Kind::Set(boxed(Kind::Bytes))], 1, vec![Value::List(Vec::new())], "fits");
}

fn num_bigint(int: i64) -> bigdecimal::num_bigint::BigInt {
    int.into()
}

#[test]
fn elements_that_may_be_cells_of_their_own_are_counted_so_for_a_batch() {
    let set = Value::List((0..200_000).map(Value::Int).collect());
    let route = route(&[Kind::Int64], Kind::Set(boxed(Kind::Int32)));
    let write = write(WriteKind::Upsert, vec![Value::Int(1), set]);
    assert_eq!(row_bytes(&route, &write), 50 + 8 + (20 + 8) + (20 + 4 + 200_000 * (20 + 4 + 4)));
    // The server takes it: what it refuses is a mutation, where such a cell is smaller.
    assert_eq!(check(&route, 1, &write), Ok(()));
}

#[test]
fn a_delete_is_checked_by_its_key_alone() {
    let route = route(&[Kind::Int64], Kind::Int16);
    assert_eq!(check(&route, 1, &write(WriteKind::Delete, vec![Value::Int(1), Value::Int(i64::MAX)])), Ok(()));
}
