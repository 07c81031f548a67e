//! Columns read as JSON in the forms of records, where no end-to-end test goes: types of extensions that the stack does
//! not have, what a connector knows by its text only, arrays of arrays, and the ends of time.

use rowferry::format;
use rowferry::row::wire::{BytesForm, Unit, Wire};
use rowferry::row::{Duration, Float, Special, Value};
use rowferry::sink::postgres::Postgres;
use rowferry::sink::postgres::source::{SourceKey, SourceTable};

use crate::database::{on_database, text};

const MICROS: Wire = Wire::LocalTimestamp { unit: Unit::Micros, decimals: 6 };
const MILLIS: Wire = Wire::LocalTimestamp { unit: Unit::Millis, decimals: 6 };

/// A value as SQL, the form that records of its column have, and what it is.
type Case = (String, Wire, Value);

#[test]
fn values_are_read_as_records_have_them() {
    let cases: Vec<Case> = [extensions(), texts_and_arrays(), numbers_and_bits(), times()].concat();
    on_database(|db| async move {
        let columns: Vec<String> = cases.iter().enumerate().map(|(at, (sql, ..))| format!("{sql} AS c{at}")).collect();
        db.sql(&format!(
            "CREATE TYPE pair AS (a int, b int); CREATE DOMAIN octets AS bytea; \
             CREATE TABLE forms AS SELECT 1 AS id, {}; INSERT INTO forms (id) VALUES (2); \
             ALTER TABLE forms ADD PRIMARY KEY (id); GRANT SELECT ON forms TO rowferry",
            columns.join(", ")
        ))
        .await;
        let columns = cases.iter().enumerate().map(|(at, (_, wire, _))| (format!("c{at}"), wire.clone())).collect();
        let key = SourceKey { name: "id".into(), type_name: "integer".into(), millis: false };
        let table = SourceTable { name: "forms".into(), columns, key: vec![key] };
        let postgres = Postgres::connect(db.settings()).await.unwrap();
        let rows = postgres.rows_after(&table, None, 9, None).await.unwrap();
        for ((json, form), (sql, wire, expected)) in rows[0].columns.iter().zip(table.forms()).zip(&cases) {
            let value = json.as_ref().map_or(Value::Null, |json| format::value("c", &form, json).unwrap());
            assert_eq!(value, *expected, "{sql} as {wire}: {json:?}");
        }
        assert!(rows[1].columns.iter().all(Option::is_none), "{:?}", rows[1]);
    });
}

fn float(number: f64) -> Value {
    Value::Float64(Float(number))
}

fn extensions() -> Vec<Case> {
    // PostGIS's point (1, 2), without an SRID, with 4326 and with its bytes in the other order.
    let point = "000000000000f03f0000000000000040";
    let (plain, with_srid) = (format!("0101000000{point}"), format!("0101000020e6100000{point}"));
    let big_endian = "0020000001000010e63ff00000000000004000000000000000";
    let geometry = |hex: &str, srid: Value| {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        Value::Struct(vec![("wkb", Value::Bytes(bytes.into())), ("srid", srid)])
    };
    let quoted = |sql: &str| format!("'{sql}'::text");
    vec![
        (quoted(&plain), Wire::Geometry, geometry(&plain, Value::Null)),
        (quoted(&with_srid), Wire::Geometry, geometry(&with_srid, Value::Int(4326))),
        (quoted(big_endian), Wire::Geometry, geometry(big_endian, Value::Int(4326))),
        (quoted("[1,2.5,-3e-05]"), Wire::Vector, Value::List(vec![float(1.0), float(2.5), float(-3e-5)])),
        (
            quoted("{1:1.5,3:-2}/5"),
            Wire::SparseVector,
            Value::Struct(vec![
                ("dimensions", Value::Int(5)),
                ("vector", Value::Map(vec![(Value::Int(1), float(1.5)), (Value::Int(3), float(-2.0))])),
            ]),
        ),
        (
            quoted("{}/2"),
            Wire::SparseVector,
            Value::Struct(vec![("dimensions", Value::Int(2)), ("vector", Value::Map(vec![]))]),
        ),
    ]
}

fn texts_and_arrays() -> Vec<Case> {
    let bytes = |bytes: &'static [u8]| Value::Bytes(bytes.into());
    let unknown = Wire::Bytes(BytesForm::Base64);
    vec![
        ("box '(1,1),(0,0)'".into(), unknown.clone(), bytes(b"(1,1),(0,0)")),
        ("row(1, NULL)::pair".into(), unknown.clone(), bytes(b"(1,)")),
        ("row(NULL, NULL)::pair".into(), unknown.clone(), bytes(b"(,)")),
        (r"'\x5c78'::octets".into(), unknown, bytes(b"\\x")),
        ("ARRAY[[1,2],[3,4]]".into(), Wire::Array(Box::new(Wire::Int32)), Value::List(vec![Value::Null, Value::Null])),
        ("'{}'::int[]".into(), Wire::Array(Box::new(Wire::Int32)), Value::List(vec![])),
        (
            "ARRAY['NaN', '1.50', NULL]::numeric[]".into(),
            Wire::Array(Box::new(Wire::VariableScaleDecimal)),
            Value::List(vec![Value::Null, Value::Decimal("1.50".parse().unwrap()), Value::Null]),
        ),
    ]
}

fn numbers_and_bits() -> Vec<Case> {
    vec![
        ("'NaN'::numeric".into(), Wire::DecimalText, Value::Special(Special::NotANumber)),
        ("'-Infinity'::numeric".into(), Wire::Decimal { scale: 2 }, Value::Null),
        ("0.1::numeric + 0.2".into(), Wire::DecimalFloat, float(0.3)),
        ("'-0'::float8".into(), Wire::Float64, float(-0.0)),
        ("B'00101'".into(), Wire::Bits { length: Some(5) }, text("00101")),
        ("B'00101'::varbit".into(), Wire::Bits { length: None }, text("101")),
    ]
}

fn times() -> Vec<Case> {
    vec![
        ("time '24:00'".into(), Wire::IsoTime, Value::Time(0)),
        ("time '24:00'".into(), Wire::Time { unit: Unit::Nanos, decimals: 6 }, Value::Time(86_400_000_000)),
        ("time '00:00:00.0019'".into(), Wire::Time { unit: Unit::Millis, decimals: 6 }, Value::Time(1_000)),
        ("timetz '01:00:00.5+02'".into(), Wire::ZonedTime, Value::ZonedTime(82_800_500_000)),
        ("timestamp '1969-12-31 23:59:59.9999'".into(), MILLIS, Value::LocalTimestamp(-1_000)),
        ("timestamp '1969-12-31 23:59:59.9999'".into(), MICROS, Value::LocalTimestamp(-100)),
        ("timestamp '4714-11-24 BC'".into(), MICROS, Value::LocalTimestamp(-210_866_803_200_000_000)),
        ("timestamp 'infinity'".into(), MILLIS, Value::Special(Special::Infinity)),
        ("timestamp '-infinity'".into(), Wire::IsoTimestamp { decimals: 6 }, Value::Special(Special::NegativeInfinity)),
        (
            "timestamptz '4714-11-24 00:00:00Z BC'".into(),
            Wire::ZonedTimestamp { decimals: 6 },
            Value::Timestamp(-210_866_803_200_000_000),
        ),
        (
            "timestamptz '0001-12-31 23:59:59.000001Z BC'".into(),
            Wire::ZonedTimestamp { decimals: 6 },
            Value::Timestamp(-62_135_596_800_999_999),
        ),
        (
            "timestamptz '20000-01-01 00:00:00Z'".into(),
            Wire::ZonedTimestamp { decimals: 6 },
            Value::Timestamp(568_971_820_800_000_000),
        ),
        (
            "interval '-1 year 3 days -04:05:06.5'".into(),
            Wire::Interval,
            Value::Duration(Duration { months: -12, days: 3, micros: -14_706_500_000 }),
        ),
        ("interval '0'".into(), Wire::Interval, Value::Duration(Duration { months: 0, days: 0, micros: 0 })),
        (
            "interval '1 mon -1 us'".into(),
            Wire::MicroDuration,
            Value::Duration(Duration { months: 0, days: 0, micros: 2_629_799_999_999 }),
        ),
    ]
}
