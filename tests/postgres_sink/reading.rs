//! Tables read from the catalog, and rows of every kind written and read back.

use std::sync::Arc;

use rowferry::plan::route::{RouteSpec, Routes};
use rowferry::plan::write::{Expect, Write, WriteKind};
use rowferry::row::wire::Wire;
use rowferry::row::{Column, Kind, Row, Special, Value};
use rowferry::sink::postgres::Postgres;
use rowferry::sink::postgres::source::{Read, SourceKey, SourceTable};
use rowferry::sink::{Failure, Outcome, Sink as _};

use crate::database::{batch, id, on_database, partition, text};

#[test]
fn tables_come_with_columns_and_key_and_all_problems_at_once() {
    on_database(|db| async move {
        db.sql(
            "CREATE TABLE pair (b int, a smallint, c text, d int GENERATED ALWAYS AS (b + 1) STORED, PRIMARY KEY (a, b)); \
             CREATE TABLE odd (id bigint GENERATED ALWAYS AS IDENTITY, at timestamp, tags text[])",
        )
        .await;
        let postgres = Postgres::connect(db.settings()).await.unwrap();
        let tables = postgres.tables(&["public.pair".into(), "nowhere".into()]).await.unwrap();
        assert_eq!(tables.len(), 1);
        let pair = &tables["public.pair"];
        let column = |name: &str, kind| Column { name: name.into(), kind };
        assert_eq!(pair.columns, [column("b", Kind::Int32), column("a", Kind::Int16), column("c", Kind::Text)]);
        assert_eq!(pair.key, ["a", "b"]);
        let Err(Failure::Stop(text)) = postgres.tables(&["odd".into()]).await else { panic!("accepted") };
        let lines: Vec<&str> = text.lines().map(|line| line.split(':').take(2).last().unwrap().trim()).collect();
        assert_eq!(
            lines,
            [
                "add one, or route to another table",
                "column \"id\" is GENERATED ALWAYS AS IDENTITY and cannot be written",
                "column \"at\" has type timestamp without time zone, which is not carried",
                "column \"tags\" has type text[], which is not carried",
            ]
        );
    });
}

#[test]
fn every_kind_is_written_and_read_back_to_its_ends() {
    on_database(|db| async move {
        db.sql(
            "CREATE TABLE kinds (id uuid, n int8, b bool, s int2, i int4, l int8, m numeric, t text, v varchar(9), \
             c char(4), d date, z timestamptz, gone bool, PRIMARY KEY (id, n)); \
             GRANT SELECT, INSERT, UPDATE ON kinds TO rowferry",
        )
        .await;
        let postgres = Postgres::connect(db.settings()).await.unwrap();
        let tables = postgres.tables(&["kinds".into()]).await.unwrap();
        let spec = RouteSpec::events("users", "kinds", &["id", "n"], "gone");
        let sink = postgres.sink(&Arc::new(Routes::resolve(&[spec], &tables).unwrap())).await.unwrap();
        let rows = ends_of_every_kind();
        let writes = rows.iter().enumerate().map(|(record, values)| Write {
            record,
            route: 0,
            kind: WriteKind::Upsert,
            expect: Expect::Absent,
            version: None,
            ends_at_ms: None,
            standing: Default::default(),
            values: values.clone(),
        });
        let nothing = crate::database::user("create", 1, "", 1);
        let mut batch = batch(0, &vec![nothing; rows.len()]);
        batch.writes = writes.collect();
        let mut opened = sink.open(&partition("users"), 0, None).await.unwrap();
        assert_eq!(sink.write(&mut opened.state, &batch).await, Outcome::Durable);

        let postgres = Postgres::connect(db.settings()).await.unwrap();
        let table = &kinds();
        let mut read = postgres.rows_after(table, None, 2, None).await.unwrap();
        loop {
            let last = read.last().unwrap().key.clone();
            let page = postgres.rows_after(table, Some(&last), 2, None).await.unwrap();
            let is_last = page.len() < 2;
            read.extend(page);
            if is_last {
                break;
            }
        }
        let forms = table.forms();
        let values = |read: &Read| -> Row { read.columns.iter().zip(&forms).map(value).collect() };
        // char(4) is read as logical decoding sends it, with the blanks that fill it.
        let mut rows = rows;
        for value in rows.iter_mut().flatten().filter(|value| **value == Value::Text("ab".into())) {
            *value = Value::Text("ab  ".into());
        }
        assert_eq!(read.iter().map(values).collect::<Vec<Row>>(), rows);

        let key = |user: u128, n: &str| vec![uuid::Uuid::from_u128(user).to_string(), n.to_string()];
        let keys = [key(7, "3"), key(8, "3"), key(7, "5")];
        let mut found = postgres.rows_with(table, &keys).await.unwrap();
        found.sort_by_key(|read| read.key[1].clone());
        assert_eq!(found.iter().map(values).collect::<Vec<Row>>(), [rows[2].clone(), rows[4].clone()]);
        // Those that the key's type cannot be are keys of no row, whatever stands beside them.
        let keys = [key(7, "no number"), key(7, "3"), key(7, "99999999999999999999"), vec!["x".into(), "3".into()]];
        assert_eq!(postgres.rows_with(table, &keys).await.unwrap(), found[..1]);

        db.sql("UPDATE kinds SET z = 'infinity', d = '-infinity' WHERE n = 5").await;
        let read = postgres.rows_with(table, &[key(7, "5")]).await.unwrap();
        let special = [Value::Special(Special::NegativeInfinity), Value::Special(Special::Infinity)];
        assert_eq!(values(&read[0])[10..], special);
    });
}

/// The table of the test above, as it is read.
fn kinds() -> SourceTable {
    let wires = [
        ("id", Wire::Uuid),
        ("n", Wire::Int64),
        ("b", Wire::Bool),
        ("s", Wire::Int16),
        ("i", Wire::Int32),
        ("l", Wire::Int64),
        ("m", Wire::VariableScaleDecimal),
        ("t", Wire::Text),
        ("v", Wire::Text),
        ("c", Wire::Text),
        ("d", Wire::Date),
        ("z", Wire::ZonedTimestamp { decimals: 6 }),
    ];
    let key = |name: &str, type_name: &str| SourceKey { name: name.into(), type_name: type_name.into(), millis: false };
    SourceTable {
        name: "kinds".into(),
        columns: wires.into_iter().map(|(name, wire)| (name.into(), wire)).collect(),
        key: vec![key("id", "uuid"), key("n", "bigint")],
    }
}

/// What the decoder makes of it. A decimal is read here, for the decoder takes none of so many digits.
fn value((json, form): (&Option<String>, &Wire)) -> Value {
    let Some(json) = json else { return Value::Null };
    match form {
        Wire::DecimalText => Value::Decimal(json.trim_matches('"').parse().unwrap()),
        _ => rowferry::format::value("c", form, json).unwrap(),
    }
}

/// Rows at both ends of what each type holds, and one of nulls.
fn ends_of_every_kind() -> [Row; 5] {
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    let row = |n: i64, low: bool, m: &str, t: &str, days: i32, micros: i64| {
        let int = |low_end: i64, high_end: i64| Value::Int(if low { low_end } else { high_end });
        vec![
            id(7),
            Value::Int(n),
            Value::Bool(low),
            int(i16::MIN.into(), i16::MAX.into()),
            int(i32::MIN.into(), i32::MAX.into()),
            int(i64::MIN, i64::MAX),
            decimal(m),
            text(t),
            text("väröö"),
            text("ab"),
            Value::Date(days),
            Value::Timestamp(micros),
        ]
    };
    let (huge, tiny) = (format!("-1{}", "0".repeat(131_071)), format!("-0.{}1", "0".repeat(16_382)));
    [
        row(1, true, &huge, "", -2_440_588, -210_866_803_200_000_000),
        row(2, false, "0.00", "\u{1F600}'\"\\", 2_145_042_905, i64::MAX),
        row(3, false, "1e20", "x", 0, -1),
        row(4, false, &tiny, "x", -1, 1),
        [vec![id(7), Value::Int(5)], vec![Value::Null; 10]].concat(),
    ]
}
