//! Topics by pattern: waited for, read from their beginning when they come, and no reason to end while nothing fits them.

use std::fmt::Write as _;

use serde_json::json;

use crate::rows::{Row, Rows};
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// The shipped configuration with one route by pattern in the place of the demo's.
fn config(scenario: &Scenario, text: &str) -> String {
    let (before, _) = text.split_once("[[cdcconsumer.routes]]").unwrap();
    let (_, log) = text.split_once("[log]").unwrap();
    let mut out = before.trim_end().to_string();
    write!(
        out,
        r#"
topics_interval_seconds = 1
[[cdcconsumer.routes]]
topic_pattern = '{}[.]public[.]sales_(?<year>[0-9]{{4}})'
table = "sales_{{year}}"
source_key = ["id"]
types = {{ id = "bigint", title = "text" }}
columns = {{ year = {{ constant = "{{year}}" }} }}
[log]{log}"#,
        scenario.id
    )
    .unwrap();
    // The last comment of the shipped file stood before its routes.
    out
}

async fn make_table(scenario: &Scenario, year: u32) {
    let table = format!("{}.sales_{year} (id bigint PRIMARY KEY, title text, year text)", scenario.id);
    scenario.cql(&format!("CREATE TABLE {table}")).await;
}

async fn sell(scenario: &Scenario, year: u32, ids: std::ops::Range<u64>) {
    let sale = |id: u64| {
        let value = json!({ "op": "c", "before": null, "after": { "id": id, "title": format!("S{id}") } });
        Raw::new(json!({ "id": id }).to_string(), value.to_string())
    };
    let sales: Vec<Raw> = ids.map(sale).collect();
    scenario.produce_all(&scenario.topic(&format!("public.sales_{year}")), &sales).await;
}

fn sold(year: u32, ids: std::ops::Range<u64>) -> Rows {
    let mut rows: Rows = ids
        .map(|id| {
            let row = [("id", id.to_string()), ("title", format!("S{id}")), ("year", year.to_string())];
            row.into_iter().map(|(name, value)| (name.to_string(), Some(value))).collect::<Row>()
        })
        .collect();
    rows.sort();
    rows
}

async fn until_sold(scenario: &Scenario, year: u32, ids: std::ops::Range<u64>) {
    let expected = sold(year, ids);
    until(&format!("the sales of {year}"), 40, async || {
        scenario.cassandra_rows(&format!("sales_{year}")).await == expected
    })
    .await;
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_read_from_its_beginning_and_the_others_lose_nothing() {
    let scenario = Scenario::new("patterns").await;
    scenario.edit_config(|text| config(&scenario, text));
    make_table(&scenario, 2024).await;
    let running = scenario.cdcconsumer().start();
    running.logs("waiting for a topic that matches", 20).await;

    let topics = [2024, 2025].map(|year| scenario.topic(&format!("public.sales_{year}")));
    scenario.make_topic(&topics[0], 3, &[]).await;
    // Near enough to be taken for one by a pattern that is not anchored.
    scenario.make_topic(&scenario.topic("public.sales_20245"), 1, &[]).await;
    sell(&scenario, 2024, 0..500).await;
    until_sold(&scenario, 2024, 0..500).await;

    // It has no table yet: said, and the others go on.
    scenario.make_topic(&topics[1], 3, &[]).await;
    sell(&scenario, 2025, 0..500).await;
    running.logs("sales_2025 is not read yet", 20).await;
    assert!(running.log().contains("the target has no table \"sales_2025\": create it"), "{}", running.log());
    sell(&scenario, 2024, 500..1_000).await;
    until_sold(&scenario, 2024, 0..1_000).await;

    // Sales of both years go on while the routes change.
    make_table(&scenario, 2025).await;
    for part in 0..20 {
        sell(&scenario, 2024, 1_000 + part * 50..1_050 + part * 50).await;
        sell(&scenario, 2025, 500 + part * 50..550 + part * 50).await;
    }
    until_sold(&scenario, 2025, 0..1_500).await;
    until_sold(&scenario, 2024, 0..2_000).await;
    assert!(running.is_running(), "one process all the time");
    running.signal("TERM");
    assert_eq!(running.exit_code(25).await, 0);
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&topics[0], &topics[1]]);
    scenario.assert_no_dead_letters();
    // Each record once: neither topic was begun anew.
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(running.log().matches("going on with the new topics").count(), 1);
}

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn two_of_a_group_both_go_on_with_a_new_topic() {
    let scenario = Scenario::new("patterns_two").await;
    scenario.edit_config(|text| config(&scenario, text));
    let topics = [2024, 2025].map(|year| scenario.topic(&format!("public.sales_{year}")));
    for year in [2024, 2025] {
        make_table(&scenario, year).await;
    }
    scenario.make_topic(&topics[0], 4, &[]).await;
    let both = [scenario.cdcconsumer().start(), scenario.cdcconsumer().start()];
    sell(&scenario, 2024, 0..500).await;
    until_sold(&scenario, 2024, 0..500).await;
    scenario.make_topic(&topics[1], 4, &[]).await;
    sell(&scenario, 2025, 0..500).await;
    sell(&scenario, 2024, 500..1_000).await;
    until_sold(&scenario, 2025, 0..500).await;
    until_sold(&scenario, 2024, 0..1_000).await;
    for running in &both {
        running.logs("going on with the new topics", 20).await;
        assert!(running.is_running());
        running.signal("TERM");
    }
    for running in &both {
        assert_eq!(running.exit_code(25).await, 0);
    }
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&topics[0], &topics[1]]);
    scenario.assert_no_dead_letters();
}
