//! Every Postgres type through a real connector, under several of its settings, into every Cassandra type that can hold
//! it. What must stand there is computed by Postgres, in SQL.

mod columns;
mod setting;
mod verified;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bigdecimal::BigDecimal;
use futures::TryStreamExt as _;
use scylla::value::{CqlValue, Row as CqlRow};
use sqlx::{AssertSqlSafe, Row as _};

use self::columns::{Compared, SOURCE, Target, targets};
use self::setting::{FLAT, KnownBy, LOSSY, PLAIN, SCHEMAS, Setting, TEXTS};
use crate::stack::{Scenario, until};

/// A row by column; `None` is null.
type Row = BTreeMap<String, Option<String>>;

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_from_records_without_schemas_and_types_written_by_hand() {
    replicate(&PLAIN).await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_from_records_with_schemas_and_nothing_else_known() {
    replicate(&SCHEMAS).await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_from_flattened_records_and_the_catalog() {
    replicate(&FLAT).await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_from_records_that_write_everything_as_text() {
    replicate(&TEXTS).await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lossy_connector_sends_arrives_as_it_sends_it() {
    replicate(&LOSSY).await;
}

async fn replicate(setting: &Setting) {
    let scenario = Scenario::new(&format!("zoo_{}", setting.name)).await;
    let targets = targets(setting);
    make_target(&scenario, &targets).await;
    scenario.sql(include_str!("zoo/source.sql")).await;
    scenario.edit_config(|text| config(&scenario, setting, text, &targets));
    let topic = scenario.topic("public.zoo");
    scenario.make_topic(&topic, 1, &[]).await;
    scenario.start_debezium_on("public.zoo", setting.connector).await;
    // The snapshot first, so that the changes are streamed on top of it.
    until("the snapshot is in the topic", 60, async || scenario.records(&topic).len() >= 6).await;
    scenario.sql(include_str!("zoo/changes.sql")).await;
    until("the last change is in the topic", 60, async || {
        let is_last = |record: &crate::topics::Stored| {
            record.key.as_deref().is_some_and(|key| String::from_utf8_lossy(key).contains("1000"))
        };
        scenario.records(&topic).iter().any(is_last)
    })
    .await;

    let ran = scenario.cdcconsumer_to_the_end().await;
    scenario.assert_no_dead_letters();
    let expected = expected(&scenario, &targets).await;
    let found = found(&scenario).await;
    assert_eq!(
        found.keys().collect::<BTreeSet<_>>(),
        expected.keys().collect::<BTreeSet<_>>(),
        "the ids that are there"
    );
    let mut wrong = String::new();
    for (id, expected) in &expected {
        for target in &targets {
            let (found, expected) = (&found[id][target.name], &expected[target.name]);
            if !is_same(target.compared, found.as_deref(), expected.as_deref()) {
                writeln!(wrong, "  row {id}, {}: found {found:?}, expected {expected:?}", target.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", setting.name);
    // Every loss that a column was allowed was announced before.
    let log = ran.log();
    for target in targets.iter().filter(|target| target.policy.contains("lossy")) {
        assert!(log.contains(target.name), "nothing was said of {}", target.name);
    }
    verified::verify(&scenario, setting).await;
}

async fn make_target(scenario: &Scenario, targets: &[Target]) {
    scenario.cql(&format!("CREATE TYPE {}.place (x double, y double)", scenario.id)).await;
    let columns: Vec<String> = targets.iter().map(|target| format!("\"{}\" {}", target.name, target.cql)).collect();
    let columns = columns.join(", ").replace("frozen<place>", &format!("frozen<{}.place>", scenario.id));
    scenario.cql(&format!("CREATE TABLE {}.zoo ({columns}, PRIMARY KEY (id))", scenario.id)).await;
}

/// The shipped configuration with one route, into the zoo.
fn config(scenario: &Scenario, setting: &Setting, text: &str, targets: &[Target]) -> String {
    let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    // The shipped file describes its own connector, and this is another one.
    let mut out = without_section(before, "[source.debezium]");
    if setting.known_by != KnownBy::Catalog {
        out = without_section(&out, "[source.postgres]");
    }
    let topic = scenario.topic("public.zoo");
    write!(out, "[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = \"zoo\"\nsource_key = [\"id\"]\n").unwrap();
    writeln!(out, "format = \"{}\"", setting.format).unwrap();
    writeln!(out, "unmapped = \"stop\"").unwrap();
    let is_fed = |name: &&str| targets.iter().any(|target| target.source == *name);
    let ignored: Vec<&str> = SOURCE.iter().map(|(name, _)| *name).filter(|name| !is_fed(name)).collect();
    writeln!(out, "ignore = {ignored:?}").unwrap();
    match setting.known_by {
        KnownBy::Catalog => writeln!(out, "source_table = \"public.zoo\"").unwrap(),
        KnownBy::Types => {
            writeln!(out, "[cdcconsumer.routes.types]").unwrap();
            SOURCE.iter().for_each(|(name, pg_type)| writeln!(out, "{name} = \"{pg_type}\"").unwrap());
        }
        // A block has one form for varbit and bit, and one for hstore and json.
        KnownBy::Schemas => {
            let types = [("bt8", "bit(8)"), ("vb", "varbit(12)"), ("h", "hstore"), ("h2", "hstore")];
            writeln!(out, "[cdcconsumer.routes.types]").unwrap();
            types.iter().for_each(|(name, pg_type)| writeln!(out, "{name} = \"{pg_type}\"").unwrap());
        }
    }
    writeln!(out, "[cdcconsumer.routes.columns]").unwrap();
    for Target { name, source, policy, .. } in targets {
        let comma = if policy.is_empty() { "" } else { ", " };
        writeln!(out, "{name} = {{ from = \"{source}\"{comma}{policy} }}").unwrap();
    }
    write!(out, "[source.debezium]\n{}\n[log]{log}", setting.debezium).unwrap();
    out
}

/// The text without this section, from its heading to the next one.
fn without_section(text: &str, heading: &str) -> String {
    let Some((before, section)) = text.split_once(heading) else { return text.into() };
    let rest = section.find("\n[").map_or("", |at| &section[at + 1..]);
    format!("{before}{rest}")
}

/// What Postgres says must be there, by id.
async fn expected(scenario: &Scenario, targets: &[Target]) -> BTreeMap<String, Row> {
    let columns: Vec<String> =
        targets.iter().map(|target| format!("({})::text AS {}", target.sql, target.name)).collect();
    let query = format!("SELECT {} FROM zoo", columns.join(", "));
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&scenario.postgres).await.unwrap();
    let row = |row: &sqlx::postgres::PgRow| -> Row {
        targets.iter().map(|target| (target.name.to_string(), row.get::<Option<String>, _>(target.name))).collect()
    };
    rows.iter().map(row).map(|row| (row["id"].clone().unwrap(), row)).collect()
}

/// What Cassandra has, by id.
async fn found(scenario: &Scenario) -> BTreeMap<String, Row> {
    let pager = scenario.cassandra.query_iter(format!("SELECT * FROM {}.zoo", scenario.id), ()).await.unwrap();
    let names: Vec<String> = pager.column_specs().iter().map(|spec| spec.name().to_string()).collect();
    let rows: Vec<CqlRow> = pager.rows_stream::<CqlRow>().unwrap().try_collect().await.unwrap();
    let row = |row: CqlRow| -> Row {
        names.iter().cloned().zip(row.columns.into_iter().map(|value| value.as_ref().map(cql_text))).collect()
    };
    rows.into_iter().map(row).map(|row| (row["id"].clone().unwrap(), row)).collect()
}

fn is_same(compared: Compared, found: Option<&str>, expected: Option<&str>) -> bool {
    let (Some(found), Some(expected)) = (found, expected) else { return found == expected };
    match compared {
        Compared::Text => found == expected,
        Compared::Float32 => {
            let float = |text: &str| text.parse::<f32>().unwrap().to_bits();
            float(found) == float(expected)
        }
        Compared::Float64 => {
            let float = |text: &str| text.parse::<f64>().unwrap().to_bits();
            float(found) == float(expected)
        }
        Compared::Json => {
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            json(found) == json(expected)
        }
    }
}

/// A value of Cassandra in the form of the SQL in `columns`: dates in days, times in nanoseconds and timestamps in
/// milliseconds, all since the epoch or midnight.
pub fn cql_text(value: &CqlValue) -> String {
    let listed = |values: &[CqlValue]| format!("[{}]", values.iter().map(cql_text).collect::<Vec<_>>().join(","));
    let or_null = |value: &Option<CqlValue>| value.as_ref().map_or("null".into(), cql_text);
    match value {
        CqlValue::Ascii(text) | CqlValue::Text(text) => text.clone(),
        CqlValue::Boolean(flag) => flag.to_string(),
        CqlValue::TinyInt(number) => number.to_string(),
        CqlValue::SmallInt(number) => number.to_string(),
        CqlValue::Int(number) => number.to_string(),
        CqlValue::BigInt(number) => number.to_string(),
        CqlValue::Varint(number) => {
            bigdecimal::num_bigint::BigInt::from_signed_bytes_be(number.as_signed_bytes_be_slice()).to_string()
        }
        CqlValue::Decimal(number) => BigDecimal::from(number.clone()).normalized().to_plain_string(),
        CqlValue::Float(number) => number.to_string(),
        CqlValue::Double(number) => number.to_string(),
        CqlValue::Blob(bytes) => bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
        CqlValue::Uuid(uuid) => uuid.to_string(),
        CqlValue::Timeuuid(uuid) => uuid.to_string(),
        CqlValue::Inet(address) => address.to_string(),
        CqlValue::Date(days) => (i64::from(days.0) - (1 << 31)).to_string(),
        CqlValue::Time(nanos) => nanos.0.to_string(),
        CqlValue::Timestamp(millis) => millis.0.to_string(),
        CqlValue::Duration(parts) => format!("{},{},{}", parts.months, parts.days, parts.nanoseconds),
        CqlValue::List(values) | CqlValue::Set(values) | CqlValue::Vector(values) => listed(values),
        CqlValue::Tuple(values) => format!("[{}]", values.iter().map(or_null).collect::<Vec<_>>().join(",")),
        CqlValue::Map(pairs) => {
            let mut pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}={}", cql_text(key), cql_text(value))).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        CqlValue::UserDefinedType { fields, .. } => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", or_null(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        other => panic!("no test has read a {other:?} yet"),
    }
}
