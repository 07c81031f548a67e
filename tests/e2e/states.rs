//! The three states of a column (null, absent, unavailable) and the awkward tables, through a real connector.

use std::fmt::Write as _;

use crate::rows::{Rows, assert_same};
use crate::stack::{Scenario, until};
use crate::topics::Stored;

/// Text that Postgres stores out of line.
const BIG: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)";

const TABLES: &str = r#"
    CREATE TABLE toast (id int PRIMARY KEY, small text, big text, arr int[], raw bytea, doc jsonb);
    CREATE TABLE compound (a int, b text, v text, PRIMARY KEY (a, b));
    CREATE SCHEMA inv;
    CREATE TABLE inv."Mixed Case" ("Id" int PRIMARY KEY, "Some Col" text, "sel""ect" text);
    CREATE TABLE part (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
    CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
    ALTER PUBLICATION cdc_pub ADD TABLE toast, compound, inv."Mixed Case", part;
    GRANT USAGE ON SCHEMA inv TO debezium;
    GRANT SELECT ON toast, compound, inv."Mixed Case", part, part_1, part_2 TO debezium;"#;

const TARGETS: [&str; 4] = [
    "toast (id int PRIMARY KEY, small text, big text, arr text, raw blob, doc text)",
    "compound (a int, b text, v text, PRIMARY KEY (a, b))",
    r#""Mixed" ("Id" int PRIMARY KEY, some text, "sel""ect" text)"#,
    "part (id int, k int, v text, PRIMARY KEY (id, k))",
];

async fn make_tables(scenario: &Scenario) {
    scenario.sql(TABLES).await;
    for target in TARGETS {
        scenario.cql(&format!("CREATE TABLE {}.{target}", scenario.id)).await;
    }
    for topic in ["public.toast", "public.compound", "inv.Mixed_Case", "public.part_1", "public.part_2"] {
        scenario.make_topic(&scenario.topic(topic), 2, &[]).await;
    }
    let tables = r"public.toast,public.compound,inv.Mixed Case,public.part_1,public.part_2";
    scenario.start_debezium_on(tables, "").await;
}

/// A route of this scenario, as it stands in the configuration.
fn route(scenario: &Scenario, topic: &str, table: &str, key: &str, rest: &str) -> String {
    let topic = scenario.topic(topic);
    format!("[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = '{table}'\nsource_key = [{key}]\n{rest}\n")
}

fn routes(scenario: &Scenario) -> String {
    let mixed = "source_table = 'inv.Mixed Case'\ncolumns = { some = \"Some Col\" }";
    [
        route(scenario, "public.toast", "toast", "\"id\"", "source_table = \"public.toast\""),
        route(scenario, "public.compound", "compound", "\"a\", \"b\"", "source_table = \"public.compound\""),
        route(scenario, "inv.Mixed_Case", "Mixed", "\"Id\"", mixed),
        route(scenario, "public.part_1", "part", "\"id\", \"k\"", "source_table = \"public.part_1\""),
        route(scenario, "public.part_2", "part", "\"id\", \"k\"", "source_table = \"public.part_2\""),
    ]
    .concat()
}

/// The configuration with these routes for `cdcconsumer`.
fn with_routes(text: &str, routes: &str) -> String {
    let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    format!("{before}{routes}[log]{log}")
}

async fn until_in_topic(scenario: &Scenario, topic: &str, key: &str) {
    let topic = scenario.topic(topic);
    until(&format!("{key} is in {topic}"), 60, async || {
        let is_it = |record: &Stored| record.key.as_deref() == Some(key.as_bytes()) && record.value.is_some();
        scenario.records(&topic).iter().any(is_it)
    })
    .await;
}

async fn assert_equal(scenario: &Scenario, table: &str, source: &str, target: &str) {
    let found: Rows = scenario.cassandra_query(&target.replace("FROM ", &format!("FROM {}.", scenario.id))).await;
    assert_same(table, &found, &scenario.postgres_query(source).await);
}

/// 25 s.
#[tokio::test(flavor = "multi_thread")]
async fn unchanged_out_of_line_values_stay_and_moved_rows_get_theirs_from_the_source() {
    let scenario = Scenario::new("states").await;
    make_tables(&scenario).await;
    scenario.edit_config(|text| with_routes(text, &routes(&scenario)));
    let numbers = "ARRAY(SELECT generate_series(1, 4000))";
    let raw = format!("decode({BIG}, 'hex')");
    let doc = "(SELECT jsonb_object_agg(md5(i::text), md5((i + 1)::text)) FROM generate_series(1, 300) i)";
    let mut sql = String::new();
    for id in 1..=4 {
        writeln!(sql, "INSERT INTO toast VALUES ({id}, 's', {BIG}, {numbers}, {raw}, {doc});").unwrap();
    }
    sql.push_str(
        "UPDATE toast SET small = 'changed' WHERE id IN (1, 2, 3);
         UPDATE toast SET big = NULL WHERE id = 1;
         UPDATE toast SET id = 20 WHERE id = 2;
         UPDATE toast SET id = 30, big = 'short' WHERE id = 3;
         UPDATE toast SET id = 40 WHERE id = 4; DELETE FROM toast WHERE id = 40;
         INSERT INTO compound VALUES (1, 'x', '1'), (1, 'y', '2');
         BEGIN; UPDATE compound SET v = '3' WHERE b = 'x'; UPDATE compound SET b = 'z' WHERE b = 'x';
         DELETE FROM compound WHERE b = 'y'; INSERT INTO compound VALUES (1, 'y', 'again'); COMMIT;
         INSERT INTO part VALUES (1, 5, 'a'); UPDATE part SET k = 15 WHERE id = 1; UPDATE part SET v = 'b' WHERE id = 1;
         INSERT INTO inv.\"Mixed Case\" VALUES (1, 'x', 'y'); UPDATE inv.\"Mixed Case\" SET \"Some Col\" = 'z';
         INSERT INTO toast (id) VALUES (99); INSERT INTO inv.\"Mixed Case\" VALUES (99);",
    );
    scenario.sql(&sql).await;
    until_in_topic(&scenario, "public.toast", r#"{"id":99}"#).await;
    until_in_topic(&scenario, "inv.Mixed_Case", r#"{"Id":99}"#).await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_no_dead_letters();
    assert_equal(
        &scenario,
        "toast",
        "SELECT id, small, big, array_to_json(arr)::text AS arr, encode(raw, 'hex') AS raw, doc::text AS doc FROM toast",
        "SELECT id, small, big, arr, raw, doc FROM toast",
    )
    .await;
    assert_equal(&scenario, "compound", "SELECT * FROM compound", "SELECT * FROM compound").await;
    assert_equal(&scenario, "part", "SELECT * FROM part", "SELECT * FROM part").await;
    let mixed = r#"SELECT "Id", "Some Col" AS some, "sel""ect" FROM inv."Mixed Case""#;
    assert_equal(&scenario, "Mixed", mixed, r#"SELECT * FROM "Mixed""#).await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_moved_row_without_its_out_of_line_value_is_a_dead_letter_where_no_source_is_configured() {
    let scenario = Scenario::new("states_alone").await;
    make_tables(&scenario).await;
    scenario.edit_config(|text| {
        let types = "types = { id = \"int\", small = \"text\", big = \"text\", arr = \"int[]\", raw = \"bytea\", doc = \"jsonb\" }";
        let routes = route(&scenario, "public.toast", "toast", "\"id\"", types);
        let (before, after) = text.split_once("[source.postgres]").unwrap();
        let (_, after) = after.split_once("\n[").unwrap();
        with_routes(&format!("{before}[{after}"), &routes)
    });
    scenario.sql(&format!("INSERT INTO toast (id, small, big) VALUES (1, 's', {BIG}), (2, 's', {BIG});")).await;
    scenario.sql("UPDATE toast SET small = 'changed'; UPDATE toast SET id = 20 WHERE id = 2;").await;
    scenario.sql("INSERT INTO toast (id) VALUES (99)").await;
    until_in_topic(&scenario, "public.toast", r#"{"id":99}"#).await;
    scenario.cdcconsumer_to_the_end().await;
    let letters = scenario.dead_letters();
    let told: Vec<_> = letters.iter().map(|letter| (letter.reason(), letter.key.clone().unwrap())).collect();
    assert_eq!(told, [("unavailable".to_string(), br#"{"id":20}"#.to_vec())]);
    assert_equal(
        &scenario,
        "toast",
        "SELECT id, small, big FROM toast WHERE id IN (1, 99)",
        "SELECT id, small, big FROM toast",
    )
    .await;
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_come_go_change_name_and_type_in_mid_stream_are_followed_by_schema_blocks() {
    let scenario = Scenario::new("evolve").await;
    scenario
        .sql(
            "CREATE TABLE evolve (id int PRIMARY KEY, a text); ALTER PUBLICATION cdc_pub ADD TABLE evolve;
             GRANT SELECT ON evolve TO debezium;",
        )
        .await;
    scenario.cql(&format!("CREATE TABLE {}.evolve (id int PRIMARY KEY, a text, b text, bb text)", scenario.id)).await;
    let topic = scenario.topic("public.evolve");
    scenario.make_topic(&topic, 1, &[]).await;
    let schemas = r#", "key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true""#;
    scenario.start_debezium_on("public.evolve", schemas).await;
    let rest = "debezium = { schemas = true }";
    scenario.edit_config(|text| with_routes(text, &route(&scenario, "public.evolve", "evolve", "\"id\"", rest)));
    for change in [
        "INSERT INTO evolve VALUES (1, 'a')",
        "ALTER TABLE evolve ADD COLUMN b int DEFAULT 5",
        "INSERT INTO evolve VALUES (2, 'b', 6)",
        "ALTER TABLE evolve DROP COLUMN a",
        "INSERT INTO evolve VALUES (3, 7)",
        "ALTER TABLE evolve RENAME COLUMN b TO bb",
        "INSERT INTO evolve VALUES (4, 8), (5, 9)",
        "ALTER TABLE evolve ALTER COLUMN bb TYPE text",
        "UPDATE evolve SET bb = 'nine' WHERE id = 4",
        "ALTER TABLE evolve ADD COLUMN c text DEFAULT 'x'",
        "INSERT INTO evolve VALUES (6, 'ten', 'y')",
    ] {
        scenario.sql(change).await;
    }
    until("the last row is in the topic", 60, async || scenario.records(&topic).len() >= 7).await;
    let ran = scenario.cdcconsumer_to_the_end().await;
    scenario.assert_no_dead_letters();
    // Old rows keep what their records said: a change of the table itself sends no record.
    let row = |id: &str, columns: [Option<&str>; 3]| {
        let [a, b, bb] = columns.map(|value| value.map(str::to_string));
        [("id", Some(id.to_string())), ("a", a), ("b", b), ("bb", bb)].map(|(name, value)| (name.to_string(), value))
    };
    let mut expected: Rows = [
        row("1", [Some("a"), None, None]),
        row("2", [Some("b"), Some("6"), None]),
        row("3", [None, Some("7"), None]),
        row("4", [None, None, Some("nine")]),
        row("5", [None, None, Some("9")]),
        row("6", [None, None, Some("ten")]),
    ]
    .into_iter()
    .map(|row| row.into_iter().collect())
    .collect();
    expected.sort();
    assert_same("evolve", &scenario.cassandra_rows("evolve").await, &expected);
    // The column that no route wants is named, once.
    assert_eq!(ran.log().matches("\"c\"").count(), 1, "{}", ran.log());
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_can_be_passed_over_and_an_unmapped_column_can_stop_the_partition() {
    let scenario = Scenario::new("policies").await;
    make_tables(&scenario).await;
    scenario.edit_config(|text| {
        let rest = "source_table = \"public.compound\"\non_truncate = \"ignore\"\nunmapped = \"stop\"";
        with_routes(text, &route(&scenario, "public.compound", "compound", "\"a\", \"b\"", rest))
    });
    scenario.sql("INSERT INTO compound VALUES (1, 'x', '1')").await;
    scenario.sql("TRUNCATE compound; INSERT INTO compound VALUES (2, 'x', '2')").await;
    until_in_topic(&scenario, "public.compound", r#"{"a":2,"b":"x"}"#).await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_no_dead_letters();
    assert_eq!(scenario.cassandra_rows("compound").await.len(), 2, "the rows of before the truncate stay");

    scenario.sql("ALTER TABLE compound ADD COLUMN extra text; INSERT INTO compound VALUES (3, 'x', '3', 'e')").await;
    until_in_topic(&scenario, "public.compound", r#"{"a":3,"b":"x"}"#).await;
    let stopped = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    stopped.logs("extra", 60).await;
    assert_eq!(stopped.exit_code(60).await, 1, "a stopped partition is no success");
    assert_eq!(scenario.cassandra_rows("compound").await.len(), 2, "nothing behind it was written");
    scenario.assert_no_dead_letters();
}
