//! The whole path: events that `producer` makes up, through every part, against the tables that they must lead to.

use crate::process::Program;
use crate::rows::{assert_same, oracle_rows};
use crate::stack::Scenario;

/// `producer` for this scenario's topics: 300 users, 800 orders, about 2,200 events.
pub fn producer(scenario: &Scenario) -> Program<'_> {
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let flags = ["--users", "300", "--orders", "800", "--seed", "20260821"];
    let topics = ["--users-topic", &users, "--orders-topic", &orders];
    let program = scenario.program("producer", env!("CARGO_BIN_EXE_producer"));
    flags.iter().chain(&topics).fold(program, |program, flag| program.arg(flag))
}

/// The tables that its history must lead to, as JSON lines.
pub async fn oracle(scenario: &Scenario) -> String {
    let oracle = producer(scenario).arg("--oracle").start();
    assert_eq!(oracle.exit_code(20).await, 0);
    oracle.out()
}

/// Asserts that Postgres holds what the oracle says, neither less nor more.
pub async fn assert_postgres_equals(scenario: &Scenario, oracle: &str) {
    for table in ["users", "orders"] {
        let expected = oracle_rows(oracle, table);
        assert!(expected.len() >= 300, "{} rows of {table}", expected.len());
        assert_same(&format!("{table} in Postgres"), &scenario.postgres_rows(table).await, &expected);
    }
}

/// 27 s. `consumer` runs while `producer` still writes, and Debezium and `cdcconsumer` while `consumer` does.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_events_arrives_in_postgres_and_in_all_three_tables_as_the_oracle_says() {
    let scenario = Scenario::new("whole_path").await;
    let oracle = oracle(&scenario).await;
    assert_eq!(scenario.ends(&scenario.topic("users")), [(0, 0); 3], "--oracle writes nothing to Kafka");

    let (consumer, cdcconsumer) = (scenario.consumer().start(), scenario.cdcconsumer().start());
    scenario.start_debezium().await;
    let produced = producer(&scenario).start();
    assert_eq!(produced.exit_code(60).await, 0);
    let events: i64 =
        ["users", "orders"].iter().flat_map(|topic| scenario.ends(&scenario.topic(topic))).map(|(_, end)| end).sum();
    assert!(events > 2_000, "{events} events");
    consumer.signal("TERM");
    assert_eq!(consumer.exit_code(25).await, 0);
    scenario.consumer_to_the_end().await;
    assert_postgres_equals(&scenario, &oracle).await;
    let topics = ["users", "orders"].map(|topic| scenario.topic(topic));
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&topics[0], &topics[1]]);

    scenario.until_debezium_has_sent_all().await;
    cdcconsumer.signal("TERM");
    assert_eq!(cdcconsumer.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    assert_eq!(scenario.cassandra_rows("orders_by_user").await.len(), 800, "exactly one row an order");
    let topics = scenario.change_topics();
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&topics[0], &topics[1]]);
    scenario.assert_no_dead_letters();
}
