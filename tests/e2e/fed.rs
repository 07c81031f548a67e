//! Routes by pattern with columns that no row feeds: `ddl` makes their tables, `backfill` finds their topics, and
//! `verify` compares what a row of the source says.

use std::fmt::Write as _;

use crate::ddl::run_cql;
use crate::stack::{BROKERS, Scenario};

/// Two tables of sales with rows that were there before the connector, which takes no snapshot by itself.
async fn sales_without_a_snapshot(scenario: &Scenario) {
    let mut sql = String::from(
        "CREATE TABLE debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));",
    );
    for year in [2024, 2025] {
        write!(
            sql,
            "CREATE TABLE sales_{year} (id bigint PRIMARY KEY, title text, price numeric(10,2), gone boolean);
             ALTER TABLE sales_{year} REPLICA IDENTITY FULL;
             INSERT INTO sales_{year} SELECT n, CASE WHEN n % 4 = 0 THEN 'draft' ELSE 'S' || n END, n / 4.0
               FROM generate_series(1, 40) n;"
        )
        .unwrap();
    }
    for table in ["debezium_signal", "sales_2024", "sales_2025"] {
        write!(sql, "ALTER PUBLICATION cdc_pub ADD TABLE {table}; GRANT SELECT, INSERT ON {table} TO debezium;")
            .unwrap();
    }
    scenario.sql(&sql).await;
    for topic in ["signals", "notifications", "public.debezium_signal", "public.sales_2024", "public.sales_2025"] {
        scenario.make_topic(&scenario.topic(topic), 1, &[]).await;
    }
    let settings = format!(
        r#", "snapshot.mode": "no_data", "signal.data.collection": "public.debezium_signal",
            "signal.enabled.channels": "source,kafka", "signal.kafka.topic": "{}",
            "signal.kafka.bootstrap.servers": "{BROKERS}", "signal.kafka.groupId": "{}-signals",
            "notification.enabled.channels": "sink", "notification.sink.topic.name": "{}""#,
        scenario.topic("signals"),
        scenario.id,
        scenario.topic("notifications"),
    );
    let tables = "public.sales_2024,public.sales_2025,public.debezium_signal";
    scenario.start_debezium_on(tables, &settings).await;
}

/// The shipped configuration with one route by pattern.
fn config(scenario: &Scenario, text: &str) -> String {
    let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    let before = before.replace(
        "[source.debezium]\n",
        &format!(
            "[source.debezium]\nsignal_data_collection = \"public.debezium_signal\"\nnotification_topic = \"{}\"\n",
            scenario.topic("notifications")
        ),
    );
    format!(
        r#"{before}
[[cdcconsumer.routes]]
topic_pattern = '{}[.]public[.]sales_(?<year>[0-9]{{4}})'
table = "sales_{{year}}"
source_table = "public.sales_{{year}}"
source_key = ["id"]
where = ["title != 'draft'"]
ignore = ["gone"]
columns = {{ year = {{ constant = "{{year}}" }}, version = {{ constant = 7 }}, rate = {{ constant = 0.25 }}, trace = {{ header = "trace" }}, lsn = {{ source = "lsn" }}, at = {{ source = "ts_ms" }}, gone = {{ constant = false }} }}

[log]{log}"#,
        scenario.id
    )
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_pattern_are_made_filled_and_compared_with_columns_that_no_row_feeds() {
    let scenario = Scenario::new("fed").await;
    scenario.edit_config(|text| config(&scenario, text));
    sales_without_a_snapshot(&scenario).await;

    run_cql(&scenario, &printed_with_every_column(&scenario).await).await;

    let every_second = "ROWFERRY_CDCCONSUMER_TOPICS_INTERVAL_SECONDS";
    let refused = scenario.cdcconsumer().env(every_second, "0").start();
    assert_eq!(refused.exit_code(20).await, 64);
    assert!(refused.log().contains("topics_interval_seconds = 0: give at least 1"), "{}", refused.log());
    let run = scenario.cdcconsumer().env(every_second, "1").start();
    run.logs("assigned", 30).await;
    let refused = scenario.cdcconsumer().arg("backfill").arg("sales_2023").start();
    assert_eq!(refused.exit_code(40).await, 64);
    assert!(refused.log().contains("routed are sales_2024, sales_2025"), "{}", refused.log());
    for route in ["sales_2024".to_string(), scenario.topic("public.sales_2025")] {
        let asked = scenario.cdcconsumer().arg("backfill").arg(&route).arg("--wait").start();
        assert_eq!(asked.exit_code(120).await, 0, "{}{}", asked.out(), asked.log());
    }
    scenario.sql("UPDATE sales_2024 SET title = 'draft' WHERE id = 1; DELETE FROM sales_2025 WHERE id = 2").await;

    let verified = scenario.cdcconsumer().arg("verify").arg("--within").arg("60s").start();
    assert_eq!(verified.exit_code(120).await, 0, "{}{}", verified.out(), verified.log());
    let lines: Vec<String> = verified.out().lines().map(String::from).collect();
    for table in ["sales_2024", "sales_2025"] {
        let line = lines.iter().find(|line| line.starts_with(table)).unwrap();
        // Of 40 rows ten are drafts, and one is a draft or gone since.
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[2..7], ["29", "0", "0", "0", "0"], "{line}");
        assert!(line.contains("not compared: at, lsn, trace (only records have it)"), "{line}");
    }
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    let rows = scenario.cassandra_query(&format!("SELECT version, rate, year FROM {}.sales_2025", scenario.id)).await;
    assert_eq!(crate::rows::show(&rows[0]), "rate=0.25 version=7 year=2025");

    scenario.assert_no_dead_letters();

    // A constant that somebody changed is a difference.
    scenario.cql(&format!("UPDATE {}.sales_2025 SET year = '1999' WHERE id = 1", scenario.id)).await;
    let verified = scenario.cdcconsumer().arg("verify").start();
    assert_eq!(verified.exit_code(60).await, 1);
    assert!(verified.out().contains("* year"), "{}", verified.out());
    other_routes_have_other_columns(&scenario).await;
}

async fn other_routes_have_other_columns(scenario: &Scenario) {
    // The flag of deletes has a column too, and a table has the columns of all routes that lead to it.
    let another = "[[cdcconsumer.routes]]\ntopic = \"names\"\ntable = \"sales_2025\"\nsource_key = [\"id\"]\n\
                   source_table = \"public.users\"\ncolumns = { user = \"id\", id = { constant = 1 } }\n[log]";
    scenario.edit_config(|text| {
        let text = text.replace("where = [\"title != 'draft'\"]", "soft_delete = \"gone\"");
        text.replace(", gone = { constant = false }", "").replace("[log]", another)
    });
    let printed = scenario.cdcconsumer().arg("ddl").start();
    assert_eq!(printed.exit_code(40).await, 0, "{}", printed.log());
    let cql = printed.out();
    assert_eq!(cql.matches("\"gone\" boolean, -- set by deletes").count(), 2, "{cql}");
    // That of the checkpoints is the third.
    assert_eq!(cql.matches("CREATE TABLE").count(), 3, "{cql}");
    assert!(cql.contains("\"dob\" date") && cql.contains("\"user\" uuid"), "{cql}");

    scenario.edit_config(|text| text.replace("source = \"lsn\"", "source = \"lns\""));
    let refused = scenario.cdcconsumer().arg("ddl").start();
    assert_eq!(refused.exit_code(40).await, 64);
    assert!(refused.log().contains("`columns`, lsn: `source` has no such member, but version"), "{}", refused.log());
}

async fn printed_with_every_column(scenario: &Scenario) -> String {
    let printed = scenario.cdcconsumer().arg("ddl").start();
    assert_eq!(printed.exit_code(40).await, 0, "{}", printed.log());
    let cql = printed.out();
    let columns = r#"  "id" bigint, -- bigint
  "title" text, -- text
  "price" decimal, -- numeric(10,2), rejects NaN and infinity
  "at" timestamp, -- source.ts_ms, rejects infinity
  "gone" boolean, -- constant
  "lsn" bigint, -- source.lsn
  "rate" decimal, -- constant
  "trace" text, -- header "trace"
  "version" int, -- constant
  "year" text, -- constant
  PRIMARY KEY (("id"))"#;
    assert_eq!(cql.matches(columns).count(), 2, "{cql}");
    cql
}
