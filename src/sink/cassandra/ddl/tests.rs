//! Tables as they are written, and that no type loses what another one would hold.

use super::*;
use crate::row::Kind;
use crate::row::wire::{BinaryMode, DecimalMode, HstoreMode, IntervalMode, Modes, TimeMode};

/// Every type that Debezium sends, as docs/types.md lists them, arrays of those that it sends as arrays included.
const TYPES: [&str; 71] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "oid",
    "real",
    "double precision",
    "numeric(10,2)",
    "numeric(10)",
    "numeric",
    "money",
    "text",
    "character varying(50)",
    "character(3)",
    "citext",
    "name",
    "json",
    "jsonb",
    "xml",
    "enum",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "ltree",
    "tsvector",
    "isbn",
    "uuid",
    "bytea",
    "bit(1)",
    "bit(8)",
    "bit varying(12)",
    "bit varying",
    "date",
    "time(3) without time zone",
    "time without time zone",
    "time with time zone",
    "timestamp(3) without time zone",
    "timestamp without time zone",
    "timestamp(3) with time zone",
    "timestamp with time zone",
    "interval",
    "hstore",
    "point",
    "geometry(Point,4326)",
    "geography",
    "vector(3)",
    "vector",
    "halfvec(3)",
    "sparsevec(4)",
    "integer[]",
    "text[]",
    "boolean[]",
    "numeric(10,2)[]",
    "numeric[]",
    "uuid[]",
    "date[]",
    "time without time zone[]",
    "timestamp with time zone[]",
    "timestamp(3) without time zone[]",
    "bytea[]",
    "inet[]",
    "double precision[]",
    "enum[]",
    "box",
];

/// Everything that a column could be instead.
fn kinds() -> Vec<Kind> {
    let plain = vec![
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
        Kind::Inet,
        Kind::Date,
        Kind::Time,
        Kind::TimestampMillis,
        Kind::Duration,
    ];
    let lists = plain.iter().cloned().map(|kind| Kind::List(Box::new(kind)));
    lists.chain(plain.clone()).collect()
}

fn modes() -> Vec<Modes> {
    let mut all = Vec::new();
    for decimal_handling_mode in [DecimalMode::Precise, DecimalMode::Double, DecimalMode::String] {
        for time_precision_mode in [
            TimeMode::Adaptive,
            TimeMode::AdaptiveTimeMicroseconds,
            TimeMode::Connect,
            TimeMode::Isostring,
            TimeMode::Microseconds,
            TimeMode::Nanoseconds,
        ] {
            for interval_handling_mode in [IntervalMode::Numeric, IntervalMode::String] {
                for hstore_handling_mode in [HstoreMode::Json, HstoreMode::Map] {
                    for binary_handling_mode in [BinaryMode::Bytes, BinaryMode::Hex] {
                        all.push(Modes {
                            decimal_handling_mode,
                            time_precision_mode,
                            interval_handling_mode,
                            hstore_handling_mode,
                            binary_handling_mode,
                            include_unknown_datatypes: true,
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn no_type_loses_what_another_one_would_hold() {
    for modes in modes() {
        for source_type in TYPES {
            let wire =
                Wire::of_postgres(source_type, &modes).unwrap_or_else(|unsent| panic!("{source_type}: {unsent}"));
            for in_key in [false, true] {
                let typ = cql_type(&wire, source_type, in_key, Grain::Exact);
                match fit(&wire, &typ.kind) {
                    Fit::Exact | Fit::Checked(_) => {}
                    Fit::Lossy(what) => {
                        let better: Vec<Kind> = kinds()
                            .into_iter()
                            .filter(|kind| matches!(fit(&wire, kind), Fit::Exact | Fit::Checked(_)))
                            .collect();
                        assert!(better.is_empty(), "{source_type} as {} {what}, and not as {better:?}", typ.cql);
                    }
                    Fit::Never(why) => panic!("{source_type} as {}: {why}", typ.cql),
                }
                assert!(!in_key || !typ.cql.contains("duration"), "{source_type} has no order");
            }
        }
    }
}

fn draft(columns: &[(&str, &str)], source_key: &[&str], key: Option<&str>) -> Draft {
    let modes = Modes::default();
    let column = |(name, source_type): &(&str, &str)| DraftColumn {
        name: name.to_string(),
        source_type: source_type.to_string(),
        wire: Wire::of_postgres(source_type, &modes).expect("it is sent"),
    };
    Draft {
        source: "inv.items".into(),
        name: "items".into(),
        columns: columns.iter().map(column).collect(),
        source_key: source_key.iter().map(|name| name.to_string()).collect(),
        key: key.map(|key| key.parse().expect("a key")),
        guard: None,
        left_out: vec![("b".into(), "is of a type\nthat is not sent".into())],
    }
}

const COLUMNS: [(&str, &str); 6] = [
    ("id", "uuid"),
    ("Some \"Col\"", "text"),
    ("at", "timestamp with time zone"),
    ("place", "point"),
    ("tags", "text[]"),
    ("bits", "bit varying"),
];

#[test]
fn a_table_is_written_with_what_its_choices_cost() {
    insta::assert_snapshot!(table("ks", &draft(&COLUMNS, &["id"], None), Grain::Exact).expect("it is right"), @r#"
    -- inv.items
    -- Left out: "b" is of a type that is not sent.
    CREATE TABLE IF NOT EXISTS "ks"."items" (
      "id" uuid, -- uuid
      "Some ""Col""" text, -- text
      "at" text, -- timestamp with time zone, a CQL timestamp would cut microseconds, --milliseconds makes it one, and the text is ordered as text
      "place" frozen<tuple<double, double>>, -- point
      "tags" frozen<list<text>>, -- text[], rejects null elements, text would hold null elements too
      "bits" text, -- bit varying, loses leading zeros, which the connector does not send: the route needs lossy = true for it
      PRIMARY KEY (("id"))
    );
    "#);
    let other = draft(&COLUMNS[..3], &["id"], Some("(\"Some \"\"Col\"\"\"), at, id"));
    insta::assert_snapshot!(table("ks", &other, Grain::Milliseconds).expect("it is right"), @r#"
    -- inv.items
    -- Left out: "b" is of a type that is not sent.
    -- The key holds more than the source's key, so a row moves when such a column changes: that needs
    -- REPLICA IDENTITY FULL on the source table and a topic that is not compacted. A row in which such a
    -- column is null is refused.
    CREATE TABLE IF NOT EXISTS "ks"."items" (
      "Some ""Col""" text, -- text
      "at" timestamp, -- timestamp with time zone, loses microseconds: the route needs lossy = true for it
      "id" uuid, -- uuid
      PRIMARY KEY (("Some ""Col"""), "at", "id")
    );
    "#);
}

#[test]
fn a_guarded_table_has_a_place_for_positions_and_a_table_for_those_of_deletes() {
    let guard = RewindGuard { column: "At".into(), deletes_table: "gone".into(), deletes_ttl_seconds: 60 };
    let plain = Draft { left_out: Vec::new(), ..draft(&COLUMNS[..2], &["id"], Some("(\"Some \"\"Col\"\"\"), id")) };
    let guarded = Draft { guard: Some(guard.clone()), ..plain.clone() };
    let text = table("ks", &guarded, Grain::Exact).expect("it is right");
    let (of_rows, of_deletes) = text.split_once("\n\n").expect("two tables");
    let before = table("ks", &plain, Grain::Exact).expect("it is right");
    let column = "  \"At\" blob, -- rewind_guard: the position of the row's last change\n  PRIMARY KEY";
    assert_eq!(format!("{of_rows}\n"), before.replace("  PRIMARY KEY", column));
    insta::assert_snapshot!(of_deletes, @r#"
    -- The deletes of items, for its rewind_guard.
    CREATE TABLE IF NOT EXISTS "ks"."gone" (
      "Some ""Col""" text,
      "id" uuid,
      "At" blob,
      PRIMARY KEY (("Some ""Col"""), "id")
    );
    "#);
    let wrong = Draft { guard: Some(RewindGuard { deletes_table: "no name".into(), ..guard }), ..plain };
    assert_eq!(table("ks", &wrong, Grain::Exact).expect_err("it is wrong").len(), 1);
}

#[test]
fn what_cannot_be_is_told_at_once() {
    let mut wrong = draft(&COLUMNS, &["id", "at"], Some("(place), nowhere"));
    wrong.name = "no name".into();
    insta::assert_snapshot!(table("ks", &wrong, Grain::Exact).expect_err("it is wrong").join("\n"), @r#"
    table "no name": Cassandra takes no table called "no name": letters, digits and _ only, at most 48 of them
    table "no name": the key names "nowhere", and the table has no such column: correct --key
    table "no name": the key does not contain "id", which is in the source's key: two source rows could then share one row; add it to --key, at the end if it shall not group the rows
    table "no name": the key does not contain "at", which is in the source's key: two source rows could then share one row; add it to --key, at the end if it shall not group the rows
    "#);
    assert!(table("ks", &draft(&COLUMNS, &[], None), Grain::Exact).expect_err("no key")[0].contains("no primary key"));
    assert!(keyspace("a-b", &Replication::EveryDatacenter(3)).is_err());
}

#[test]
fn keyspaces_have_copies_in_every_or_in_named_datacenters() {
    let told = |text: &str| keyspace("cdc", &text.parse().expect("a replication")).expect("a name");
    insta::assert_snapshot!(told("3"), @r#"
    CREATE KEYSPACE IF NOT EXISTS "cdc"
      WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 3};
    "#);
    insta::assert_snapshot!(told("dc1=3, dc2=2"), @r#"
    CREATE KEYSPACE IF NOT EXISTS "cdc"
      WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2};
    "#);
    for wrong in ["", "0", "dc1=", "dc1=0", "dc1=3,", "three"] {
        assert!(wrong.parse::<Replication>().is_err(), "{wrong}");
    }
    assert_eq!(table_name("Mixed Case-1"), "Mixed_Case_1");
}
