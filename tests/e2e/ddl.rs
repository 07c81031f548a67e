//! A database that is not the demo's, replicated from nothing: `ddl`, `check`, a run, `verify`, and the rows compared by
//! queries of the test's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::check::{KEPT_A_WEEK, assert_told};
use crate::rows::{Row, Rows, assert_same};
use crate::stack::{Scenario, until};
use crate::zoo::cql_text;

/// A column of some type: its type, what the row number `n` has there, and what Cassandra must have of the column `$`,
/// in the form of [`cql_text`].
const TYPES: [(&str, &str, &str); 16] = [
    ("int", "n * 3", "$::text"),
    ("bigint", "n * 4000000000", "$::text"),
    ("smallint", "n % 100", "$::text"),
    ("boolean", "n % 2 = 0", "$::text"),
    ("varchar(40)", "'Name ' || n", "$"),
    ("numeric(12,4)", "round(n / 7.0, 4)", "trim_scale($)::text"),
    ("numeric", "n / 7.0", "trim_scale($)::text"),
    ("uuid", "md5(n::text)::uuid", "$::text"),
    ("date", "date '1999-12-31' + n", "($ - date '1970-01-01')::text"),
    (
        "timestamp(3)",
        "timestamp '2020-02-29 12:00:00.125' + n * interval '1 day'",
        "(extract(epoch FROM $) * 1000)::bigint::text",
    ),
    (
        "timestamptz",
        "timestamptz '2021-03-04 05:06:07.123456Z' + n * interval '1 hour'",
        "to_char($ AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    ),
    ("bytea", "decode(md5(n::text), 'hex')", "encode($, 'hex')"),
    ("double precision", "n * 0.5", "$::text"),
    ("text[]", "ARRAY['a' || n, 'b']", "'[' || array_to_string($, ',') || ']'"),
    ("jsonb", "jsonb_build_object('n', n)", "$::text"),
    ("inet", "('10.0.0.0'::inet + n)", "abbrev($)"),
];

const ROWS: usize = 60;

/// A source table, and what its columns are compared by.
struct Table {
    name: String,
    key: Vec<&'static str>,
    /// Name, type, value, text.
    columns: Vec<(String, &'static str, &'static str, &'static str)>,
}

/// Twenty tables in three schemas, with three shapes of keys and names of all sorts.
fn tables() -> Vec<Table> {
    let keys: [&[&str]; 3] = [&["id"], &["region", "Order No"], &["uid"]];
    let table = |number: usize| {
        let schema = ["public", "inv", "Sales"][number % 3];
        let name = match number {
            0 | 1 => "items".to_string(),
            number if number % 4 == 1 => format!("Line Items {number}"),
            number => format!("t{number}"),
        };
        let key = keys[number % 3].to_vec();
        let column = |at: usize| {
            let (sql_type, value, text) = TYPES[(number * 3 + at) % TYPES.len()];
            let name = if at.is_multiple_of(3) { format!("Col {at}") } else { format!("c{at}") };
            (name, sql_type, value, text)
        };
        let of_key = key.iter().map(|name| match *name {
            "region" => ("region".to_string(), "smallint", "n % 3", "$::text"),
            "uid" => ("uid".to_string(), "uuid", "md5(n::text)::uuid", "$::text"),
            other => (other.to_string(), "int", "n", "$::text"),
        });
        let columns = of_key.chain((0..5).map(column)).collect();
        Table { name: format!("{schema}.{name}"), key, columns }
    };
    (0..20).map(table).collect()
}

impl Table {
    fn quoted(&self) -> String {
        let (schema, table) = self.name.split_once('.').unwrap();
        format!("\"{schema}\".\"{table}\"")
    }

    /// CREATE TABLE, with what Debezium needs to capture it.
    fn sql(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|(name, sql_type, ..)| format!("\"{name}\" {sql_type}")).collect();
        let key: Vec<String> = self.key.iter().map(|name| format!("\"{name}\"")).collect();
        let table = self.quoted();
        format!(
            "CREATE TABLE {table} ({}, PRIMARY KEY ({})); ALTER TABLE {table} REPLICA IDENTITY FULL; \
             ALTER PUBLICATION cdc_pub ADD TABLE {table}; GRANT SELECT ON {table} TO debezium;",
            columns.join(", "),
            key.join(", ")
        )
    }

    fn insert(&self, from: usize, to: usize) -> String {
        let values: Vec<&str> = self.columns.iter().map(|(_, _, value, _)| *value).collect();
        format!("INSERT INTO {} SELECT {} FROM generate_series({from}, {to}) n;", self.quoted(), values.join(", "))
    }

    /// The rows that must be there, as text.
    async fn expected(&self, scenario: &Scenario) -> Rows {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _, _, text)| format!("{} AS \"{name}\"", text.replace('$', &format!("\"{name}\""))))
            .collect();
        scenario.postgres_query(&format!("SELECT {} FROM {}", columns.join(", "), self.quoted())).await
    }
}

async fn found(scenario: &Scenario, table: &str) -> Rows {
    use futures::TryStreamExt as _;
    let query = format!("SELECT * FROM {}.\"{table}\"", scenario.id);
    let pager = scenario.cassandra.query_iter(query, ()).await.unwrap();
    let names: Vec<String> = pager.column_specs().iter().map(|spec| spec.name().to_string()).collect();
    let rows: Vec<scylla::value::Row> = pager.rows_stream::<scylla::value::Row>().unwrap().try_collect().await.unwrap();
    let row = |row: scylla::value::Row| -> Row {
        names.iter().cloned().zip(row.columns.into_iter().map(|value| value.as_ref().map(cql_text))).collect()
    };
    let mut rows: Rows = rows.into_iter().map(row).collect();
    rows.sort();
    rows
}

/// The routes of `cdcconsumer ddl --source-table`, as it proposes them in comments.
fn proposed_routes(cql: &str) -> String {
    let mut routes = String::new();
    let mut inside = false;
    for line in cql.lines() {
        let comment = line.strip_prefix("-- ").filter(|comment| inside || *comment == "[[cdcconsumer.routes]]");
        inside = comment.is_some();
        comment.into_iter().for_each(|comment| writeln!(routes, "{comment}").unwrap());
    }
    routes
}

/// What cqlsh does with a script, as far as this one needs it.
pub async fn run_cql(scenario: &Scenario, script: &str) {
    let code: Vec<&str> = script.lines().map(|line| line.split("-- ").next().unwrap_or_default()).collect();
    for statement in code.join("\n").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        scenario.cql(statement).await;
    }
}

/// 60 s. From a source with rows to equal tables, with changes on top of the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_twenty_tables_is_replicated_from_nothing() {
    let scenario = Scenario::new("another_database").await;
    let tables = tables();
    let mut sql =
        String::from("CREATE SCHEMA inv; CREATE SCHEMA \"Sales\"; GRANT USAGE ON SCHEMA inv, \"Sales\" TO debezium;");
    for table in &tables {
        sql += &table.sql();
        sql += &table.insert(1, ROWS);
    }
    scenario.sql(&sql).await;

    let ddl = || {
        let flags = ["ddl", "--topic-prefix", &scenario.id, "--replication", "3", "--source-table"];
        let program = flags.iter().fold(scenario.cdcconsumer(), |program, flag| program.arg(flag));
        tables.iter().fold(program, |program, table| program.arg(&table.name))
    };
    let printed = ddl().start();
    assert_eq!(printed.exit_code(30).await, 0, "{}", printed.log());
    let cql = printed.out();
    // Twice: it is idempotent. And nothing was there before, for ddl itself creates nothing.
    assert!(scenario.cassandra.query_unpaged(format!("SELECT * FROM {}.t2", scenario.id), ()).await.is_err());
    run_cql(&scenario, &cql).await;
    run_cql(&scenario, &cql).await;

    let routes = proposed_routes(&cql);
    assert_eq!(routes.matches("[[cdcconsumer.routes]]").count(), 20);
    scenario.edit_config(|text| {
        let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
        let (_, log) = text.split_once("[log]").unwrap();
        format!("{before}{routes}[log]{log}")
    });
    assert_told("before Debezium has made the topics", &scenario, 0, &["20 routes: 0 problems, 20 warnings"]).await;

    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let topics: BTreeMap<&str, String> =
        names.iter().map(|name| (*name, scenario.topic(&name.replace(' ', "_")))).collect();
    for topic in topics.values() {
        scenario.make_topic(topic, 2, &KEPT_A_WEEK).await;
    }
    scenario.start_debezium_on(&names.join(","), "").await;
    assert_told("before the run", &scenario, 0, &["20 routes: 0 problems, 0 warnings"]).await;
    let run = scenario.cdcconsumer().start();

    scenario.sql(&changes(&tables)).await;
    // The last row of every table; what is wrong with the others is told below.
    until("the last rows have arrived", 90, async || {
        for table in &tables {
            let rows = found(&scenario, &target_of(&cql, &table.name)).await.len();
            if rows != table.expected(&scenario).await.len() {
                return false;
            }
        }
        true
    })
    .await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    for table in &tables {
        let expected = table.expected(&scenario).await;
        assert!(expected.len() > ROWS / 2, "{} rows of {}", expected.len(), table.name);
        assert_same(&table.name, &found(&scenario, &target_of(&cql, &table.name)).await, &expected);
    }
    scenario.assert_no_dead_letters();
    verify(&scenario, &tables, &cql).await;
}

/// All tables are equal to `verify` too, and a cell of each type that is changed by hand is found.
async fn verify(scenario: &Scenario, tables: &[Table], cql: &str) {
    let verify = async |code: i32| {
        let within = if code == 0 { "30s" } else { "0s" };
        let verify = scenario.cdcconsumer().arg("verify").arg("--within").arg(within).start();
        assert_eq!(verify.exit_code(120).await, code, "{}{}", verify.out(), verify.log());
        verify.out()
    };
    let told = verify(0).await;
    for table in tables {
        let line = told.lines().find(|line| line.contains(&format!("  {}  ", table.name)));
        let line = line.unwrap_or_else(|| panic!("{} is left out: {told}", table.name));
        let rows = table.expected(scenario).await.len();
        let mut words = line[line.find(&table.name).unwrap() + table.name.len()..].split_whitespace();
        assert_eq!(words.next(), Some(&*rows.to_string()), "{line}");
    }

    let mut planted = Vec::new();
    for ((sql_type, ..), value) in TYPES.iter().zip(ELSEWHERE) {
        let (table, column) = tables
            .iter()
            .find_map(|table| {
                let mut columns = table.columns.iter().skip(table.key.len());
                Some((table, columns.find(|(_, of, ..)| of == sql_type)?.0.as_str()))
            })
            .unwrap();
        let target = target_of(cql, &table.name);
        let row = found(scenario, &target).await.remove(0);
        let place: Vec<String> =
            table.key.iter().map(|name| format!("\"{name}\" = {}", row[*name].clone().unwrap())).collect();
        let (place, id) = (place.join(" AND "), &scenario.id);
        scenario.cql(&format!("UPDATE {id}.\"{target}\" SET \"{column}\" = {value} WHERE {place}")).await;
        planted.push((table.name.as_str(), target, column));
    }
    let told = verify(1).await;
    let marked = told.lines().filter(|line| line.starts_with("  * ")).count();
    assert_eq!(marked, planted.len(), "{told}");
    for (source, target, column) in planted {
        let differences: Vec<&str> =
            told.split("\n\n").filter(|part| part.starts_with(&format!("{target} "))).collect();
        let is_named = differences.iter().any(|part| part.contains(&format!("\n  * {column} ")));
        assert!(is_named, "{source}, {column}: {told}");
    }
}

/// For each of [`TYPES`] a value that no row has there, as CQL in the type that `ddl` gives the column.
const ELSEWHERE: [&str; 16] = [
    "-1",
    "-1",
    "-1",
    "null",
    "'Name'",
    "-1.5",
    "-1.5",
    "00000000-0000-4000-8000-000000000001",
    "'1970-01-01'",
    "'1999-01-01'",
    "'1999-01-01T00:00:00Z'",
    "0x00",
    "-1.25",
    "['a']",
    "'{}'",
    "'10.9.9.9'",
];

/// For while the snapshot is under way or just over: rows come, go and change.
fn changes(tables: &[Table]) -> String {
    let mut changes = String::new();
    for table in tables {
        let (name, key, column) = (table.quoted(), table.key[table.key.len() - 1], &table.columns[table.key.len()].0);
        let some = if key == "uid" { "left(uid::text, 1) < '4'".into() } else { format!("\"{key}\" % 3 = 0") };
        let gone = if key == "uid" { "left(uid::text, 1) > 'c'".into() } else { format!("\"{key}\" % 5 = 0") };
        write!(changes, "UPDATE {name} SET \"{column}\" = NULL WHERE {some}; DELETE FROM {name} WHERE {gone};")
            .unwrap();
        changes += &table.insert(ROWS + 1, ROWS + 10);
    }
    changes
}

/// The table that `ddl` made for a source table.
fn target_of(cql: &str, source: &str) -> String {
    let after = cql.split_once(&format!("-- {source}\n")).unwrap().1;
    let name = after.split_once("EXISTS \"").unwrap().1;
    name.split('"').nth(2).unwrap().to_string()
}

/// 12 s. The tables of the routes with another key, and what is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_the_routes_are_printed_with_their_chosen_keys() {
    let scenario = Scenario::new("ddl_routes").await;
    let fresh = format!("{}_b", scenario.id);
    let ddl = |flags: &[&str]| {
        let keyspace = format!("sink.cassandra.keyspace={fresh}");
        flags.iter().fold(scenario.cdcconsumer().arg("ddl").set(&keyspace), |program, flag| program.arg(flag)).start()
    };
    let printed = ddl(&["--key", "orders_by_user=(user_id), order_id"]);
    assert_eq!(printed.exit_code(30).await, 0, "{}", printed.log());
    run_cql(&scenario, &printed.out()).await;
    run_cql(&scenario, &printed.out()).await;
    // They are the same as those that people wrote by hand.
    let columns = async |keyspace: &str| {
        let query =
            "SELECT table_name, column_name, kind, position, type FROM system_schema.columns WHERE keyspace_name";
        scenario.cassandra_query(&format!("{query} = '{keyspace}'")).await
    };
    assert_same("columns", &columns(&fresh).await, &columns(&scenario.id).await);

    for (flags, parts) in [
        (&["--key", "orders_by_user=(user_id)"][..], &["does not contain \"order_id\"", "add it to --key"][..]),
        (&["--key", "(user_id), order_id"], &["say of which table", "users, orders, orders_by_user"]),
        (&["--key", "users=(id"], &["is no key", "write it as in"]),
        (
            &["--source-table", "public.nothing", "nowhere.x"],
            &["no table \"public.nothing\"", "no table \"nowhere.x\""],
        ),
        (&["--from-topic", &scenario.topic("public.users")], &["none of its newest records has schema blocks"]),
    ] {
        let refused = ddl(flags);
        assert_eq!(refused.exit_code(40).await, 64, "{flags:?}");
        assert_eq!(refused.out(), "", "nothing half-made is printed");
        parts.iter().for_each(|part| assert!(refused.log().contains(part), "{flags:?}: {}", refused.log()));
    }
}

/// 30 s. No catalog: what the schema blocks of a topic say becomes the table and the route.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_schema_blocks_is_enough() {
    let scenario = Scenario::new("ddl_topic").await;
    scenario
        .sql(
            "CREATE TABLE events (region text, no int, at timestamp, n numeric(9,3), v text, u uuid, p point, \
                                  PRIMARY KEY (no, region));
             ALTER PUBLICATION cdc_pub ADD TABLE events; GRANT SELECT ON events TO debezium;
             INSERT INTO events SELECT 'r' || n % 3, n, '2020-01-01 00:00:00.000001', n / 8.0, 'v' || n, \
                                       md5(n::text)::uuid, point(n, 1) FROM generate_series(1, 50) n",
        )
        .await;
    let topic = scenario.topic("public.events");
    scenario.make_topic(&topic, 2, &KEPT_A_WEEK).await;
    let schemas = r#", "key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true""#;
    scenario.start_debezium_on("public.events", schemas).await;
    until("the snapshot is there", 60, async || scenario.records(&topic).len() >= 50).await;
    let printed = scenario.cdcconsumer().arg("ddl").arg("--from-topic").arg(&topic).start();
    assert_eq!(printed.exit_code(40).await, 0, "{}", printed.log());
    let cql = printed.out();
    run_cql(&scenario, &cql).await;
    let routes = proposed_routes(&cql);
    scenario.edit_config(|text| {
        let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
        let (_, log) = text.split_once("[log]").unwrap();
        let before = before.replace("[source.debezium]", "[source.debezium]\nschemas = true");
        format!("{before}{routes}[log]{log}")
    });
    assert_told("a topic with blocks", &scenario, 0, &["1 routes: 0 problems, 0 warnings", "no, region"]).await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_no_dead_letters();
    let text = r#"to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at"#;
    let point = "'[' || p[0] || ',' || p[1] || ']' AS p";
    let expected = format!("SELECT region, no::text, {text}, n::text, v, u::text, {point} FROM events");
    assert_same("events", &found(&scenario, "events").await, &scenario.postgres_query(&expected).await);
}
