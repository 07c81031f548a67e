//! Conversion of lists, maps and what has named parts, as tables.

use super::tests::{CLAMP, LOSSY, NULL, STRICT, check, check_fit, decimal, float, float32, refused, text};
use super::*;
use crate::row::wire::BytesForm;

const NULL_ELEMENT: &str = "out_of_range: has a null element, which it cannot hold";
const OTHER_LENGTH: &str = "out_of_range: has another number of elements than it holds";

fn list(values: &[Value]) -> Value {
    Value::List(values.into())
}

fn ints(values: &[i64]) -> Value {
    list(&values.iter().map(|int| Value::Int(*int)).collect::<Vec<_>>())
}

fn map(pairs: &[(Value, Value)]) -> Value {
    Value::Map(pairs.into())
}

fn point() -> Value {
    Value::Struct(vec![("x", float(1.5)), ("y", float(-2.5)), ("srid", Value::Null)])
}

fn geometry() -> Value {
    Value::Struct(vec![("wkb", Value::Bytes(b"\x01"[..].into())), ("srid", Value::Int(4326))])
}

fn sparse(dimensions: i64, numbers: &[(i64, f64)]) -> Value {
    let pairs = numbers.iter().map(|(index, number)| (Value::Int(*index), float(*number))).collect();
    Value::Struct(vec![("dimensions", Value::Int(dimensions)), ("vector", Value::Map(pairs))])
}

fn list_of(item: Kind) -> Kind {
    Kind::List(Box::new(item))
}

fn set_of(item: Kind) -> Kind {
    Kind::Set(Box::new(item))
}

fn map_of(keys: Kind, values: Kind) -> Kind {
    Kind::Map(Box::new(keys), Box::new(values))
}

fn vector_of(item: Kind, dimensions: usize) -> Kind {
    Kind::Vector(Box::new(item), dimensions)
}

fn array_of(wire: Wire) -> Wire {
    Wire::Array(Box::new(wire))
}

fn named(fields: &[(&str, Kind)]) -> Kind {
    Kind::Struct(fields.iter().map(|(name, kind)| (name.to_string(), kind.clone())).collect())
}

#[test]
fn lists_convert_each_element_and_hold_no_null() {
    check(ints(&[1, -2]), list_of(Kind::Decimal), STRICT, list(&[decimal("1"), decimal("-2")]));
    check(ints(&[]), list_of(Kind::Decimal), STRICT, ints(&[]));
    check(list(&[ints(&[1]), ints(&[])]), list_of(list_of(Kind::Int8)), STRICT, list(&[ints(&[1]), ints(&[])]));
    refused(ints(&[1, 128]), list_of(Kind::Int8), STRICT, "out_of_range: has a number beyond its range");
    refused(list(&[text("1")]), list_of(Kind::Int8), STRICT, "wrong_type: takes no text");
    refused(text("1"), list_of(Kind::Text), STRICT, "wrong_type: takes no text");
    let with_null = list(&[Value::Int(1), Value::Null]);
    for kind in [list_of(Kind::Int8), set_of(Kind::Int8), vector_of(Kind::Int8, 2)] {
        for policy in [STRICT, LOSSY, CLAMP] {
            refused(with_null.clone(), kind.clone(), policy, NULL_ELEMENT);
        }
        check(with_null.clone(), kind.clone(), NULL, Value::Null);
        for missing in [Value::Absent, Value::Unavailable] {
            let why = "wrong_type: takes no missing part";
            refused(list(&[missing, Value::Int(1)]), kind.clone(), NULL, why);
        }
    }
    let infinite = list(&[Value::Date(1), Value::Special(Special::Infinity)]);
    check(infinite.clone(), list_of(Kind::Date), CLAMP, list(&[Value::Date(1), Value::Date(i32::MAX)]));
    check(infinite.clone(), list_of(Kind::Date), NULL, Value::Null);
    refused(infinite, list_of(Kind::Date), STRICT, "out_of_range: has an infinity, which it cannot hold");
}

#[test]
fn sets_hold_each_element_once() {
    let twice = "out_of_range: would lose elements that are there twice";
    check(ints(&[2, 1]), set_of(Kind::Int8), STRICT, ints(&[2, 1]));
    refused(ints(&[2, 1, 2]), set_of(Kind::Int8), STRICT, twice);
    check(ints(&[2, 1, 2, 2, 1]), set_of(Kind::Int8), LOSSY, ints(&[2, 1]));
    // Equal once they are converted.
    let instants = list(&[Value::Timestamp(1000), Value::Timestamp(1001)]);
    refused(instants.clone(), set_of(Kind::TimestampMillis), STRICT, "out_of_range: would lose microseconds");
    check(instants, set_of(Kind::TimestampMillis), LOSSY, list(&[Value::Timestamp(1000)]));
    refused(list(&[decimal("1.0"), decimal("1.00")]), set_of(Kind::Decimal), STRICT, twice);
    refused(list(&[float(f64::NAN), float(-f64::NAN)]), set_of(Kind::Float64), STRICT, twice);
}

#[test]
fn maps_have_no_null_and_no_key_twice() {
    let hstore = map(&[(text("a"), text("1")), (text("b"), text("2"))]);
    check(hstore.clone(), map_of(Kind::Text, Kind::Ascii), STRICT, hstore.clone());
    refused(hstore.clone(), map_of(Kind::Text, Kind::Int8), STRICT, "wrong_type: takes no text");
    refused(hstore, named(&[("a", Kind::Text)]), STRICT, "wrong_type: takes no map");
    let with_null = map(&[(text("a"), Value::Null)]);
    refused(with_null.clone(), map_of(Kind::Text, Kind::Text), CLAMP, NULL_ELEMENT);
    check(with_null, map_of(Kind::Text, Kind::Text), NULL, Value::Null);
    let same = map(&[(text("::1"), text("1")), (text("0::1"), text("2"))]);
    refused(same, map_of(Kind::Inet, Kind::Text), LOSSY, "out_of_range: has a key twice");
    check(sparse(4, &[(3, 2.5)]), map_of(Kind::Int16, Kind::Float32), STRICT, map(&[(Value::Int(3), float32(2.5))]));
    refused(point(), map_of(Kind::Text, Kind::Float64), STRICT, "wrong_type: takes no value with these parts");
}

#[test]
fn vectors_and_tuples_have_their_length() {
    let pair = |kind: Kind| Kind::Tuple(vec![kind.clone(), kind]);
    for kind in [vector_of(Kind::Int8, 2), pair(Kind::Int8)] {
        check(ints(&[1, 2]), kind.clone(), STRICT, ints(&[1, 2]));
        refused(ints(&[1]), kind.clone(), NULL, OTHER_LENGTH);
        refused(ints(&[1, 2, 3]), kind, LOSSY, OTHER_LENGTH);
    }
    check(list(&[Value::Null, Value::Int(1)]), pair(Kind::Int8), STRICT, list(&[Value::Null, Value::Int(1)]));
    check(
        list(&[Value::Special(Special::Infinity), Value::Date(1)]),
        pair(Kind::Date),
        NULL,
        list(&[Value::Null, Value::Date(1)]),
    );
    // pgvector's numbers are decimals of 32-bit floats.
    check(list(&[float(0.1), float(-1.0)]), vector_of(Kind::Float32, 2), STRICT, list(&[float32(0.1), float32(-1.0)]));
}

#[test]
fn sparse_vectors_become_dense_ones() {
    let dense = |numbers: &[f32]| list(&numbers.iter().map(|number| float32(*number)).collect::<Vec<_>>());
    check(sparse(3, &[(1, 1.5), (3, 2.0)]), vector_of(Kind::Float32, 3), STRICT, dense(&[1.5, 0.0, 2.0]));
    check(sparse(2, &[]), vector_of(Kind::Float32, 2), STRICT, dense(&[0.0, 0.0]));
    for length in [-1, 2, 4, i64::MAX] {
        refused(sparse(length, &[]), vector_of(Kind::Float32, 3), NULL, OTHER_LENGTH);
    }
    for numbers in [[(0, 1.0), (1, 1.0)], [(1, 1.0), (4, 1.0)], [(1, 1.0), (1, 1.0)], [(-1, 1.0), (i64::MIN, 1.0)]] {
        let why = "out_of_range: has a number at an index that it does not have, or twice";
        refused(sparse(3, &numbers), vector_of(Kind::Float32, 3), LOSSY, why);
    }
}

#[test]
fn parts_go_by_their_names_and_a_point_is_its_numbers() {
    let doubles = |count: usize| Kind::Tuple(vec![Kind::Float64; count]);
    let parts = "wrong_type: takes no value with these parts";
    check(point(), doubles(2), STRICT, list(&[float(1.5), float(-2.5)]));
    check(point(), doubles(3), STRICT, list(&[float(1.5), float(-2.5), Value::Null]));
    refused(point(), doubles(1), STRICT, parts);
    refused(point(), doubles(4), STRICT, parts);
    check(point(), named(&[("srid", Kind::Int32), ("y", Kind::Float32)]), STRICT, list(&[Value::Null, float32(-2.5)]));
    refused(point(), named(&[("X", Kind::Float64)]), STRICT, parts);
    check(geometry(), Kind::Bytes, STRICT, Value::Bytes(b"\x01"[..].into()));
    check(
        geometry(),
        named(&[("srid", Kind::Int32), ("wkb", Kind::Bytes)]),
        STRICT,
        list(&[Value::Int(4326), Value::Bytes(b"\x01"[..].into())]),
    );
    for kind in [doubles(2), Kind::Text, Kind::Ascii, vector_of(Kind::Float64, 2), list_of(Kind::Float64)] {
        refused(geometry(), kind, LOSSY, parts);
    }
    refused(point(), Kind::Bytes, LOSSY, parts);
}

#[test]
fn lists_and_maps_are_written_as_json() {
    let number = |digits: &str| list(&[decimal(digits)]);
    for (value, expect) in [
        (list(&[]), "[]"),
        (list(&[Value::Int(1), Value::Null, Value::Bool(true)]), "[1,null,true]"),
        (number("123456789012345678901234567890.50"), "[123456789012345678901234567890.50]"),
        (list(&[float(1e300), float(f64::NAN)]), r#"[1e+300,"NaN"]"#),
        (list(&[text("a\"\n"), text("{\"b\":1}")]), r#"["a\"\n","{\"b\":1}"]"#),
        (list(&[Value::Date(0), Value::Special(Special::Infinity)]), r#"["1970-01-01","Infinity"]"#),
        (list(&[ints(&[1]), ints(&[])]), "[[1],[]]"),
        (map(&[(text("a\\"), text("1")), (text("b"), Value::Null)]), r#"{"a\\":"1","b":null}"#),
        (map(&[(Value::Int(1), float(1.5))]), r#"{"1":1.5}"#),
        (list(&[map(&[(text("a"), text("1"))]), point()]), r#"[{"a":"1"},"(1.5,-2.5)"]"#),
        (point(), "(1.5,-2.5)"),
        (sparse(5, &[(1, 1.5), (3, 2.0)]), "{1:1.5,3:2}/5"),
    ] {
        check(value, Kind::Text, STRICT, text(expect));
    }
    refused(list(&[Value::Bytes(b"a"[..].into())]), Kind::Text, LOSSY, "wrong_type: takes no bytes");
    refused(list(&[Value::Absent]), Kind::Text, NULL, "wrong_type: takes no missing part");
    refused(list(&[text("ä")]), Kind::Ascii, LOSSY, "out_of_range: has characters beyond ASCII");
}

#[test]
fn a_fit_of_parts_is_no_better_than_the_worst_of_them() {
    let doubles = |count: usize| Kind::Tuple(vec![Kind::Float64; count]);
    check_fit(array_of(Wire::Int32), list_of(Kind::Int32), "rejects null elements");
    check_fit(array_of(Wire::Int32), list_of(Kind::Int8), "rejects numbers beyond its range and null elements");
    check_fit(array_of(Wire::Int32), list_of(Kind::Bool), "never: takes no int32");
    check_fit(array_of(Wire::Int32), set_of(Kind::Int32), "loses order and duplicates");
    check_fit(array_of(Wire::Int32), vector_of(Kind::Float64, 3), "rejects null elements and lists of another length");
    check_fit(array_of(Wire::Int32), doubles(3), "rejects lists of another length");
    check_fit(array_of(Wire::Int64), doubles(3), "loses digits that the float has not");
    check_fit(
        array_of(Wire::Bytes(BytesForm::Base64)),
        Kind::Text,
        "never: takes no bytes in Base64: a text of them would be a guess",
    );
    check_fit(array_of(Wire::Int32), Kind::Int32, "never: takes no array of int32");
    check_fit(Wire::Text, list_of(Kind::Text), "never: takes no text");
    check_fit(Wire::HstoreMap, map_of(Kind::Text, Kind::Text), "rejects null values");
    check_fit(Wire::HstoreJson, map_of(Kind::Text, Kind::Int32), "never: takes no text");
    check_fit(Wire::HstoreJson, named(&[("a", Kind::Text)]), "never: takes no hstore as text");
    check_fit(Wire::Vector, vector_of(Kind::Float32, 3), "rejects lists of another length");
    check_fit(Wire::Vector, list_of(Kind::Float32), "exact");
    check_fit(Wire::SparseVector, vector_of(Kind::Float32, 3), "rejects lists of another length");
    check_fit(Wire::SparseVector, map_of(Kind::Int16, Kind::Float64), "exact");
    check_fit(Wire::Point, doubles(2), "exact");
    check_fit(Wire::Point, doubles(3), "exact");
    check_fit(Wire::Point, doubles(4), "never: takes no point");
    check_fit(
        Wire::Point,
        named(&[("y", Kind::Float64), ("z", Kind::Float64)]),
        "never: names a part that no point has",
    );
    check_fit(Wire::Geometry, Kind::Bytes, "exact");
    check_fit(Wire::Geometry, named(&[("wkb", Kind::Bytes), ("srid", Kind::Int32)]), "exact");
    check_fit(Wire::Geometry, Kind::Text, "never: takes no geometry: a text of them would be a guess");
}
