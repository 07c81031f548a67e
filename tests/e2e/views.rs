//! Materialised views by hand: one source table feeds differently keyed tables, with conditions, ends, constants and
//! flags, and each of them holds what Postgres says.

use std::fmt::Write as _;

use serde_json::json;

use crate::rows::{Rows, assert_same};
use crate::stack::{Scenario, until};
use crate::topics::Raw;

const SOURCE: &str = "
    CREATE TABLE tickets (
      id bigint PRIMARY KEY, board int NOT NULL, state text, title text NOT NULL, ends_at timestamptz(3)
    );
    ALTER TABLE tickets REPLICA IDENTITY FULL;
    ALTER PUBLICATION cdc_pub ADD TABLE tickets;
    GRANT SELECT ON tickets TO debezium;";

const TABLES: [&str; 4] = [
    "open_tickets (id bigint PRIMARY KEY, state text, title text, lsn bigint, sent_at timestamp)",
    "ending_tickets (tenant text, id bigint, title text, ends_at timestamp, PRIMARY KEY (tenant, id))",
    "tickets_by_board (board int, id bigint, state text, title text, PRIMARY KEY (board, id))",
    "kept_tickets (id bigint PRIMARY KEY, board int, gone boolean, noted text)",
];

/// Each table, and what must be in it as a query of Postgres.
const VIEWS: [(&str, &str, &str); 3] = [
    (
        "open_tickets",
        "SELECT id, state, title FROM tickets WHERE state NOT IN ('CLOSED', 'SPAM') AND board > 0",
        "id, state, title",
    ),
    (
        "ending_tickets",
        "SELECT 'eu' AS tenant, id, title, ends_at FROM tickets WHERE ends_at IS NULL OR ends_at > now()",
        "*",
    ),
    ("tickets_by_board", "SELECT board, id, state, title FROM tickets", "*"),
];

/// The shipped configuration with the routes of this file in the place of the demo's.
fn config(scenario: &Scenario, text: &str) -> String {
    let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    let mut out = before.to_string();
    let topic = scenario.topic("public.tickets");
    for (table, rest) in [
        (
            "open_tickets",
            r#"
            where = ["state not in ('CLOSED', 'SPAM')", "board > 0"]
            columns = { lsn = { source = "lsn" }, sent_at = { source = "ts_ms" }, id = { key = "id" } }"#,
        ),
        ("ending_tickets", "ttl = { column = \"ends_at\" }\ncolumns = { tenant = { constant = \"eu\" } }"),
        ("tickets_by_board", "consistency = \"QUORUM\"\nunmapped = \"warn\""),
        ("kept_tickets", "soft_delete = \"gone\"\ndrop = [\"noted\"]"),
    ] {
        write!(
            out,
            "[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = \"{table}\"\nsource_key = [\"id\"]\n\
             source_table = \"public.tickets\"\n{rest}\n"
        )
        .unwrap();
    }
    write!(out, "[log]{log}").unwrap();
    out
}

/// Every state of every ticket that the table goes through, in transactions of some statements each.
fn changes() -> Vec<String> {
    // A fixed stream of numbers, so that a failure can be had again.
    let mut state = 20_261_125_u64;
    let mut dice = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let states = ["'OPEN'", "'CLOSED'", "'SPAM'", "'WAITING'", "NULL"];
    let ends = ["NULL", "now() + interval '1 day'", "now() + interval '30 days'", "now() - interval '1 day'"];
    let mut transactions = Vec::new();
    for _ in 0..120 {
        let mut text = String::from("BEGIN;");
        for _ in 0..=dice(6) {
            let id = dice(60);
            let (board, state) = (dice(4), states[dice(5) as usize]);
            let (end, title) = (ends[dice(4) as usize], dice(1_000));
            let statement = match dice(10) {
                0..3 => format!(
                    "INSERT INTO tickets VALUES ({id}, {board}, {state}, 'T{title}', {end}) ON CONFLICT DO NOTHING"
                ),
                3..5 => format!("UPDATE tickets SET state = {state} WHERE id = {id}"),
                5..7 => format!("UPDATE tickets SET board = {board}, title = 'T{title}' WHERE id = {id}"),
                7 => format!("UPDATE tickets SET ends_at = {end} WHERE id = {id}"),
                // The key itself changes: a delete, a tombstone and a create.
                8 => format!(
                    "UPDATE tickets SET id = {} WHERE id = {id} AND NOT EXISTS (SELECT FROM tickets WHERE id = {})",
                    id + 100,
                    id + 100
                ),
                _ => format!("DELETE FROM tickets WHERE id IN ({id}, {})", id + 100),
            };
            write!(text, "{statement};").unwrap();
        }
        transactions.push(text + "COMMIT;");
    }
    transactions
}

/// An envelope of a ticket, as Debezium would write it.
fn ticket(op: &str, row: &serde_json::Value) -> Raw {
    let source =
        json!({ "db": "e2e", "schema": "public", "table": "tickets", "lsn": 1, "ts_ms": 1_735_689_600_000_i64 });
    let value = json!({ "before": row, "after": row, "op": op, "source": source });
    Raw::new(json!({ "id": row["id"] }).to_string(), value.to_string())
}

async fn view(scenario: &Scenario, table: &str, columns: &str) -> Rows {
    scenario.cassandra_query(&format!("SELECT {columns} FROM {}.{table}", scenario.id)).await
}

async fn assert_views(scenario: &Scenario) {
    for (table, query, columns) in VIEWS {
        assert_same(table, &view(scenario, table, columns).await, &scenario.postgres_query(query).await);
    }
    let living = view(scenario, "kept_tickets", "id, board, gone").await;
    let (living, gone): (Rows, Rows) = living.into_iter().partition(|row| row["gone"].as_deref() == Some("false"));
    let expected = scenario.postgres_query("SELECT id, board, false AS gone FROM tickets").await;
    assert_same("kept_tickets", &living, &expected);
    assert!(gone.iter().all(|row| row["gone"].as_deref() == Some("true")), "{gone:?}");
}

/// Waits until the last change, a ticket of this id, is in the topic, and those before it.
async fn until_sent(scenario: &Scenario, id: u64) {
    scenario.sql(&format!("INSERT INTO tickets VALUES ({id}, 1, 'OPEN', 'the last', NULL)")).await;
    let key = json!({ "id": id }).to_string().into_bytes();
    until("Debezium has sent the last ticket", 90, async || {
        scenario.records(&scenario.topic("public.tickets")).iter().any(|record| record.key.as_ref() == Some(&key))
    })
    .await;
}

/// 13 s.
#[tokio::test(flavor = "multi_thread")]
async fn one_table_feeds_four_and_each_holds_what_postgres_says() {
    let scenario = Scenario::new("views").await;
    for table in TABLES {
        scenario.cql(&format!("CREATE TABLE {}.{table}", scenario.id)).await;
    }
    scenario.sql(SOURCE).await;
    scenario.sql("INSERT INTO tickets SELECT n, n % 4, 'OPEN', 'T' || n, NULL FROM generate_series(0, 40) n").await;
    scenario.edit_config(|text| config(&scenario, text));
    let topic = scenario.topic("public.tickets");
    // One partition, so that the last record is the last.
    scenario.make_topic(&topic, 1, &[]).await;
    scenario.start_debezium_on("public.tickets", "").await;
    let running = scenario.cdcconsumer().start();
    for transaction in changes() {
        scenario.sql(&transaction).await;
    }
    until_sent(&scenario, 9_001).await;

    // Poison, each of it for one of the routes only.
    let row = |id: u64, board: i64, state: &str, ends_at: &str| json!({ "id": id, "board": board, "state": state, "title": "poison", "ends_at": ends_at });
    let (later, unavailable) = ("2999-01-01T00:00:00.000Z", "__debezium_unavailable_value");
    let poison = [
        (
            "tickets_by_board",
            "missing_key",
            ticket("c", &{
                let mut row = row(501, 1, "OPEN", "2030-01-01T00:00:00.000Z");
                row["board"] = serde_json::Value::Null;
                row
            }),
        ),
        ("open_tickets", "unavailable", ticket("u", &row(502, 1, unavailable, "2030-01-01T00:00:00.000Z"))),
        ("ending_tickets", "out_of_range", ticket("c", &row(503, 1, "OPEN", later))),
    ];
    for (_, _, raw) in &poison {
        scenario.produce(&topic, raw).await;
    }
    scenario.sql("DELETE FROM tickets WHERE id % 7 = 3; UPDATE tickets SET board = 3 - board WHERE id % 5 = 1").await;
    until_sent(&scenario, 9_002).await;
    running.signal("TERM");
    assert_eq!(running.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    assert_views(&scenario).await;
    let by_hand = "SELECT id FROM {}.open_tickets WHERE lsn < 1 ALLOW FILTERING".replace("{}", &scenario.id);
    assert_eq!(scenario.cassandra_query(&by_hand).await, Rows::new(), "every row has its lsn");

    // A record is refused for all its routes, and its letter names the one that refused it.
    let mut letters: Vec<(String, String)> = scenario
        .dead_letters()
        .iter()
        .map(|letter| (letter.header("rowferry.route").unwrap_or_default(), letter.reason()))
        .collect();
    letters.sort();
    let mut expected: Vec<(String, String)> =
        poison.iter().map(|(table, reason, _)| (format!("{topic} → {table}"), reason.to_string())).collect();
    expected.sort();
    assert_eq!(letters, expected);
    for (table, ..) in VIEWS {
        let poisoned = view(&scenario, table, "id, title").await;
        assert!(poisoned.iter().all(|row| row["title"].as_deref() != Some("poison")), "{table}");
    }

    // Everything once more, by a group that begins at the beginning.
    let again = scenario.cdcconsumer().set(&format!("cdcconsumer.group_id={}-b", scenario.id));
    assert_eq!(again.arg("--exit-when-caught-up").start().exit_code(60).await, 0);
    assert_views(&scenario).await;
    assert_verified(&scenario).await;
}

async fn assert_verified(scenario: &Scenario) {
    let verify = scenario.cdcconsumer().arg("verify").start();
    assert_eq!(verify.exit_code(60).await, 0, "{}{}", verify.out(), verify.log());
    // Rows that end are compared, too, and what only records have is named.
    let out = verify.out();
    let line = |table: &str| out.lines().find(|line| line.starts_with(table)).unwrap_or_else(|| panic!("{out}"));
    assert_ne!(line("ending_tickets ").split_whitespace().nth(2), Some("0"), "{out}");
    assert!(line("open_tickets ").contains("not compared: lsn, sent_at (only records have it)"), "{out}");
}
