//! Every CQL type: written through the sink, read back by the driver and by the reader.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use rowferry::plan::write::WriteKind;
use rowferry::row::{Duration, Float, Row, Value};
use rowferry::sink::Outcome;
use scylla::value::{CqlDate, CqlDecimal, CqlDuration, CqlTime, CqlTimestamp, CqlTimeuuid, CqlValue, CqlVarint};
use uuid::Uuid;

use crate::live::{Live, decimal, text};

/// A CQL type, a value that it holds, and what the driver must read.
struct Case(&'static str, Value, CqlValue);

fn duration(months: i32, days: i32, micros: i64) -> Value {
    Value::Duration(Duration { months, days, micros })
}

fn ints(ints: &[i64]) -> Value {
    Value::List(ints.iter().map(|int| Value::Int(*int)).collect())
}

fn cql_ints(ints: &[i32]) -> Vec<CqlValue> {
    ints.iter().map(|int| CqlValue::Int(*int)).collect()
}

fn cql_text(text: &str) -> CqlValue {
    CqlValue::Text(text.into())
}

fn numbers() -> Vec<Case> {
    let digits = "123456789012345678901234567890";
    let bytes = |hex: &[u8]| hex.to_vec();
    vec![
        Case("boolean", Value::Bool(true), CqlValue::Boolean(true)),
        Case("boolean", Value::Bool(false), CqlValue::Boolean(false)),
        Case("tinyint", Value::Int(-128), CqlValue::TinyInt(-128)),
        Case("smallint", Value::Int(-32_768), CqlValue::SmallInt(-32_768)),
        Case("int", Value::Int(i32::MIN.into()), CqlValue::Int(i32::MIN)),
        Case("bigint", Value::Int(i64::MIN), CqlValue::BigInt(i64::MIN)),
        Case("varint", decimal("-256"), CqlValue::Varint(CqlVarint::from_signed_bytes_be(bytes(&[0xff, 0])))),
        Case("varint", decimal("0"), CqlValue::Varint(CqlVarint::from_signed_bytes_be(bytes(&[0])))),
        Case(
            "varint",
            decimal("18446744073709551616"),
            CqlValue::Varint(CqlVarint::from_signed_bytes_be(bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 0]))),
        ),
        Case(
            "decimal",
            decimal("10.50"),
            CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_and_exponent(bytes(&[0x04, 0x1a]), 2)),
        ),
        Case(
            "decimal",
            decimal("1E+2147483648"),
            CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_and_exponent(bytes(&[1]), i32::MIN)),
        ),
        Case("decimal", decimal(&format!("-{digits}.{digits}")), {
            let unscaled = decimal(&format!("-{digits}{digits}"));
            let Value::Decimal(unscaled) = unscaled else { unreachable!() };
            let unscaled = unscaled.as_bigint_and_scale().0.to_signed_bytes_be();
            CqlValue::Decimal(CqlDecimal::from_signed_be_bytes_and_exponent(unscaled, 30))
        }),
        Case("float", Value::Float32(Float(-1.5)), CqlValue::Float(-1.5)),
        Case("float", Value::Float32(Float(f64::INFINITY)), CqlValue::Float(f32::INFINITY)),
        Case("double", Value::Float64(Float(0.1)), CqlValue::Double(0.1)),
        Case("double", Value::Float64(Float(f64::MIN_POSITIVE)), CqlValue::Double(f64::MIN_POSITIVE)),
    ]
}

fn others() -> Vec<Case> {
    let day = |days: i32| CqlValue::Date(CqlDate(days.cast_unsigned() ^ 1 << 31));
    let timeuuid = "d2177dd0-eaa2-11de-a572-001b779c76e3";
    let cql_duration = |months, days, nanoseconds| CqlValue::Duration(CqlDuration { months, days, nanoseconds });
    let most = i64::MAX / 1000;
    vec![
        Case("ascii", text("a\0\u{7f}"), CqlValue::Ascii("a\0\u{7f}".into())),
        Case("ascii", text(""), CqlValue::Ascii(String::new())),
        Case("text", text("äöü\0😀"), cql_text("äöü\0😀")),
        Case("text", text(""), cql_text("")),
        Case("blob", Value::Bytes(vec![0, 255].into()), CqlValue::Blob(vec![0, 255])),
        Case("blob", Value::Bytes(Vec::new().into()), CqlValue::Blob(Vec::new())),
        Case("uuid", Value::Uuid(Uuid::max()), CqlValue::Uuid(Uuid::max())),
        Case(
            "timeuuid",
            Value::Uuid(Uuid::from_str(timeuuid).unwrap()),
            CqlValue::Timeuuid(CqlTimeuuid::from_str(timeuuid).unwrap()),
        ),
        Case("inet", Value::Inet(Ipv4Addr::LOCALHOST.into()), CqlValue::Inet(Ipv4Addr::LOCALHOST.into())),
        Case("inet", Value::Inet(Ipv6Addr::LOCALHOST.into()), CqlValue::Inet(Ipv6Addr::LOCALHOST.into())),
        Case("date", Value::Date(i32::MIN), day(i32::MIN)),
        Case("date", Value::Date(i32::MAX), day(i32::MAX)),
        Case("time", Value::Time(0), CqlValue::Time(CqlTime(0))),
        Case("time", Value::Time(86_399_999_999), CqlValue::Time(CqlTime(86_399_999_999_000))),
        Case("timestamp", Value::Timestamp(-1_000), CqlValue::Timestamp(CqlTimestamp(-1))),
        Case("timestamp", Value::Timestamp(most * 1000), CqlValue::Timestamp(CqlTimestamp(most))),
        Case("duration", duration(1, 2, 3), cql_duration(1, 2, 3_000)),
        Case("duration", duration(-1, -2, -3), cql_duration(-1, -2, -3_000)),
        Case("duration", duration(i32::MAX, i32::MAX, most), cql_duration(i32::MAX, i32::MAX, most * 1000)),
        Case("duration", duration(i32::MIN, i32::MIN, -most), cql_duration(i32::MIN, i32::MIN, -most * 1000)),
    ]
}

fn nested(keyspace: &str) -> Vec<Case> {
    let texts = |texts: &[&str]| Value::List(texts.iter().map(|item| text(item)).collect());
    let cql_texts = |texts: &[&str]| texts.iter().map(|text| cql_text(text)).collect::<Vec<_>>();
    let pairs = || Value::Map(vec![(text("a"), Value::Int(2)), (text("b"), Value::Int(1))]);
    let cql_pairs = || CqlValue::Map(vec![(cql_text("a"), CqlValue::Int(2)), (cql_text("b"), CqlValue::Int(1))]);
    let place = || Value::List(vec![Value::Float64(Float(1.5)), Value::Null, ints(&[2, 1])]);
    let cql_place = || CqlValue::UserDefinedType {
        keyspace: keyspace.into(),
        name: "place".into(),
        fields: vec![
            ("x".into(), Some(CqlValue::Double(1.5))),
            ("Name".into(), None),
            ("ids".into(), Some(CqlValue::List(cql_ints(&[2, 1])))),
        ],
    };
    let long = "x".repeat(70_000);
    vec![
        Case("frozen<list<int>>", ints(&[3, 1, 3]), CqlValue::List(cql_ints(&[3, 1, 3]))),
        Case("frozen<list<int>>", ints(&[]), CqlValue::List(Vec::new())),
        Case("frozen<list<text>>", texts(&[&long, ""]), CqlValue::List(cql_texts(&[&long, ""]))),
        Case("set<int>", ints(&[-1, 3]), CqlValue::Set(cql_ints(&[-1, 3]))),
        Case("frozen<set<int>>", ints(&[-1, 3]), CqlValue::Set(cql_ints(&[-1, 3]))),
        Case("frozen<set<text>>", Value::List(Vec::new()), CqlValue::Set(Vec::new())),
        Case("map<text, int>", pairs(), cql_pairs()),
        Case("frozen<map<text, int>>", pairs(), cql_pairs()),
        Case(
            "map<int, duration>",
            Value::Map(vec![(Value::Int(1), duration(1, 0, 1))]),
            CqlValue::Map(vec![(
                CqlValue::Int(1),
                CqlValue::Duration(CqlDuration { months: 1, days: 0, nanoseconds: 1_000 }),
            )]),
        ),
        Case(
            "frozen<tuple<int, text, frozen<list<int>>>>",
            Value::List(vec![Value::Null, text(""), ints(&[1])]),
            CqlValue::Tuple(vec![None, Some(cql_text("")), Some(CqlValue::List(cql_ints(&[1])))]),
        ),
        Case("place", place(), cql_place()),
        Case("frozen<place>", place(), cql_place()),
        Case("frozen<list<frozen<place>>>", Value::List(vec![place()]), CqlValue::List(vec![cql_place()])),
        Case(
            "vector<float, 2>",
            Value::List(vec![Value::Float32(Float(1.0)), Value::Float32(Float(-0.5))]),
            CqlValue::Vector(vec![CqlValue::Float(1.0), CqlValue::Float(-0.5)]),
        ),
        Case("vector<text, 2>", texts(&[&long, "b"]), CqlValue::Vector(cql_texts(&[&long, "b"]))),
        Case("vector<text, 2>", texts(&["", "b"]), CqlValue::Vector(cql_texts(&["", "b"]))),
        Case(
            "vector<smallint, 2>",
            ints(&[1, -1]),
            CqlValue::Vector(vec![CqlValue::SmallInt(1), CqlValue::SmallInt(-1)]),
        ),
        Case(
            "vector<frozen<vector<int, 2>>, 2>",
            Value::List(vec![ints(&[1, 2]), ints(&[3, 4])]),
            CqlValue::Vector(vec![CqlValue::Vector(cql_ints(&[1, 2])), CqlValue::Vector(cql_ints(&[3, 4]))]),
        ),
        Case(
            "frozen<map<frozen<set<int>>, frozen<list<frozen<map<text, int>>>>>>",
            Value::Map(vec![(ints(&[1, 2]), Value::List(vec![pairs()]))]),
            CqlValue::Map(vec![(CqlValue::Set(cql_ints(&[1, 2])), CqlValue::List(vec![cql_pairs()]))]),
        ),
    ]
}

const PLACE: &str = "place (x double, \"Name\" text, ids frozen<list<int>>)";

/// One table with a column for each case.
async fn one_of_each() -> (Live, Vec<String>, Vec<Case>) {
    let cases = |keyspace: &str| numbers().into_iter().chain(others()).chain(nested(keyspace)).collect::<Vec<Case>>();
    let columns: Vec<String> = (0..cases("").len()).map(|at| format!("c{at:03}")).collect();
    let types: Vec<&str> = cases("").iter().map(|case| case.0).collect();
    let columned: Vec<String> = columns.iter().zip(&types).map(|(name, typ)| format!("{name} {typ}")).collect();
    let live = Live::with_types(&[PLACE], &[&format!("every (id int PRIMARY KEY, {})", columned.join(", "))]).await;
    let cases = cases(&live.keyspace);
    (live, columns, cases)
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_written() {
    let (live, columns, cases) = one_of_each().await;
    let named = |value: &dyn Fn(&Case) -> Value| -> Vec<(&str, Value)> {
        let cells = columns.iter().zip(&cases).map(|(column, case)| (column.as_str(), value(case)));
        [("id", Value::Int(1))].into_iter().chain(cells).collect()
    };
    let full = live.upsert("every", 11, &named(&|case| case.1.clone()));
    let expect: [Row; 1] = [full.values.clone()];
    assert_eq!(live.write(vec![full.clone()]).await, Outcome::Durable);
    let check = async |what: &str| {
        let read = live.select(&columns.join(", "), "every").await;
        for ((column, case), read) in columns.iter().zip(&cases).zip(&read[0]) {
            assert_eq!(read.as_ref(), Some(&case.2), "{what}: {column} {}", case.0);
        }
        assert_eq!(live.scan("every").await, expect, "{what}");
    };
    check("once").await;
    assert_eq!(live.write(vec![full.clone()]).await, Outcome::Durable);
    assert_eq!(live.write(vec![full.clone(), full.clone()]).await, Outcome::Durable);
    check("more than once").await;
    let absent = live.upsert("every", 13, &named(&|_| Value::Absent));
    let unavailable = live.upsert("every", 15, &named(&|_| Value::Unavailable));
    assert_eq!(live.write(vec![absent, unavailable]).await, Outcome::Durable);
    check("absent and unavailable").await;
    let null = live.upsert("every", 17, &named(&|_| Value::Null));
    assert_eq!(live.write(vec![null]).await, Outcome::Durable);
    assert_eq!(live.write(vec![full]).await, Outcome::Durable);
    let read = live.select(&columns.join(", "), "every").await;
    for ((column, case), read) in columns.iter().zip(&cases).zip(&read[0]) {
        assert_eq!(*read, None, "{column} {} is not cleared", case.0);
    }
    live.drop().await;
}

#[tokio::test]
async fn floats_keep_their_bits() {
    let live = Live::new(&["floats (id int PRIMARY KEY, f float, d double)"]).await;
    for (id, float) in [-0.0, 0.0, f64::NAN, -f64::NAN].into_iter().enumerate() {
        let named =
            [("id", Value::Int(id as i64)), ("f", Value::Float32(Float(float))), ("d", Value::Float64(Float(float)))];
        assert_eq!(live.write(vec![live.upsert("floats", 11, &named)]).await, Outcome::Durable);
        let expect: Row = named.into_iter().map(|(_, value)| value).collect();
        let columns = live.route("floats").1.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
        assert_eq!(columns, ["id", "d", "f"]);
        let row = live.scan("floats").await.into_iter().find(|row| row[0] == expect[0]).unwrap();
        assert_eq!(row, [expect[0].clone(), expect[2].clone(), expect[1].clone()]);
    }
    live.drop().await;
}

/// The driver's own value takes such an element for null and does not read the row.
#[tokio::test]
async fn a_vector_may_end_with_an_empty_element() {
    let live = Live::new(&["vectors (id int PRIMARY KEY, v vector<text, 2>)"]).await;
    let row: Row = vec![Value::Int(1), Value::List(vec![text("a"), text("")])];
    let write = live.upsert("vectors", 11, &[("id", row[0].clone()), ("v", row[1].clone())]);
    assert_eq!(live.write(vec![write]).await, Outcome::Durable);
    assert_eq!(live.scan("vectors").await, [row]);
    live.drop().await;
}

#[tokio::test]
async fn rows_are_found_by_keys_of_every_type() {
    let types = [
        "boolean",
        "tinyint",
        "varint",
        "decimal",
        "double",
        "ascii",
        "blob",
        "timeuuid",
        "inet",
        "date",
        "time",
        "timestamp",
        "frozen<list<int>>",
        "frozen<set<int>>",
        "frozen<map<text, int>>",
        "frozen<tuple<int, text, frozen<list<int>>>>",
        "frozen<place>",
        "vector<float, 2>",
        "vector<text, 2>",
    ];
    let tables: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(at, typ)| format!("t{at:02} (k {typ}, c {typ}, a int, PRIMARY KEY ((k), c))"))
        .collect();
    let live = Live::with_types(&[PLACE], &tables.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let cases: Vec<Case> = numbers().into_iter().chain(others()).chain(nested(&live.keyspace)).collect();
    for (at, typ) in types.iter().enumerate() {
        // A partition key is not empty, and not longer than 65535 bytes.
        let is_key = |value: &Value| {
            let empty = [text(""), Value::Bytes(Vec::new().into())];
            !empty.contains(value) && format!("{value:?}").len() < 65_000
        };
        let values = cases.iter().filter(|case| case.0 == *typ && is_key(&case.1)).map(|case| case.1.clone());
        let table = format!("t{at:02}");
        let reader = live.cluster.reader(live.route(&table).1).await.unwrap();
        let mut count = 0;
        for value in values {
            count += 1;
            let key = [("k", value.clone()), ("c", value.clone())];
            let named = [&key[..], &[("a", Value::Int(count))]].concat();
            assert_eq!(live.write(vec![live.upsert(&table, 11, &named)]).await, Outcome::Durable, "{typ}");
            let read = reader.read_many(&[vec![value.clone(), value.clone()]]).await.unwrap();
            assert_eq!(read, [Some(vec![value.clone(), value, Value::Int(count)])], "{typ}");
            assert_eq!(live.write(vec![live.row(&table, WriteKind::Delete, 12, &key)]).await, Outcome::Durable);
            assert_eq!(live.scan(&table).await, Vec::<Row>::new(), "{typ}");
        }
        assert!(count > 0, "{typ} has no case");
    }
    live.drop().await;
}
