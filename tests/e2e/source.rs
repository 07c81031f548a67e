//! What a source can do to its rows, through a real connector: Postgres → Debezium → `cdcconsumer` → Cassandra.

use std::fmt::Write as _;

use crate::stack::{Scenario, until};

const ANN: &str = "00000000-0000-4000-8000-00000000000a";
const BOB: &str = "00000000-0000-4000-8000-00000000000b";
const ORDER: &str = "00000000-0000-4000-8000-000000000001";

async fn two_users_and_an_order(scenario: &Scenario) {
    scenario
        .sql(&format!(
            "INSERT INTO users VALUES ('{ANN}', 'Ann', '1990-01-01', '2025-01-01Z', '2025-01-01Z'),
                                      ('{BOB}', 'Bob', '1985-12-31', '2025-01-01Z', '2025-01-01Z');
             INSERT INTO orders VALUES ('{ORDER}', 'PLACED', '{ANN}', 2, 19.90, '2025-01-02Z', '2025-01-02Z');"
        ))
        .await;
}

/// 17 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_user_and_an_order_with_another_user_leave_nothing_of_the_old_rows() {
    let scenario = Scenario::new("rename_and_move").await;
    scenario.start_debezium().await;
    two_users_and_an_order(&scenario).await;
    scenario.until_debezium_has_sent_all().await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;

    // Back and forth, so that an old row of the same key has to stay away, too.
    scenario
        .sql(&format!(
            "UPDATE users SET name = 'Ann Other', modified_at = '2025-02-01Z' WHERE id = '{ANN}';
             UPDATE orders SET user_id = '{BOB}', total_amount = 21.00 WHERE id = '{ORDER}';
             UPDATE orders SET user_id = '{ANN}' WHERE id = '{ORDER}';
             UPDATE orders SET user_id = '{BOB}' WHERE id = '{ORDER}';"
        ))
        .await;
    scenario.until_debezium_has_sent_all().await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    let places = scenario.cassandra_rows("orders_by_user").await;
    assert_eq!(places.len(), 1, "the order stands under one user: {places:?}");
    assert_eq!(places[0]["user_id"].as_deref(), Some(BOB));
    scenario.assert_no_dead_letters();
}

/// 29 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_ten_thousand_rows_in_one_statement_arrives_whole() {
    let scenario = Scenario::new("copy").await;
    scenario.start_debezium().await;
    let mut lines = String::new();
    for number in 0..10_000_u128 {
        let id = uuid::Uuid::from_u128((1 << 78) | (1 << 63) | number);
        let day = 1 + number % 28;
        writeln!(lines, "{id}\tUser {number}\t1990-02-{day:02}\t2025-01-01Z\t2025-01-{day:02}Z\tf").unwrap();
    }
    let mut connection = scenario.postgres.acquire().await.unwrap();
    let mut copy = connection.copy_in_raw("COPY users FROM STDIN").await.unwrap();
    copy.send(lines.into_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 10_000);
    drop(connection);

    scenario.until_debezium_has_sent_all().await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    assert_eq!(scenario.cassandra_rows("users").await.len(), 10_000);
    let topics = scenario.change_topics();
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&topics[0], &topics[1]]);
    scenario.assert_no_dead_letters();
}

/// 17 s.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_there_before_the_connector_arrive_and_later_changes_outrank_them() {
    let scenario = Scenario::new("snapshot").await;
    two_users_and_an_order(&scenario).await;
    scenario
        .sql(&format!(
            "INSERT INTO users SELECT gen_random_uuid(), 'User ' || n, '1970-01-01', '2025-01-01Z', '2025-01-01Z'
               FROM generate_series(1, 200) n;
             INSERT INTO orders SELECT gen_random_uuid(), 'SHIPPED', '{ANN}', n, n / 100.0, '2025-01-01Z', '2025-01-01Z'
               FROM generate_series(1, 200) n;"
        ))
        .await;
    scenario.start_debezium().await;
    scenario.until_debezium_has_sent_all().await;
    let topic = scenario.topic("public.orders");
    assert!(scenario.records(&topic).iter().all(|record| record.value_text().contains("\"op\":\"r\"")));

    // The consumer meets snapshot rows and what happened to them since in one go.
    scenario
        .sql(&format!(
            "UPDATE orders SET user_id = '{BOB}', status = 'DELIVERED' WHERE quantity <= 50;
             DELETE FROM orders WHERE quantity > 150;
             UPDATE users SET is_deleted = true, modified_at = '2025-03-01Z' WHERE id = '{BOB}';
             DELETE FROM users WHERE name LIKE 'User 1%';"
        ))
        .await;
    scenario.until_debezium_has_sent_all().await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    assert_eq!(scenario.cassandra_rows("orders").await.len(), 151);

    // And changes on top of what is in the target already.
    scenario
        .sql(&format!(
            "UPDATE orders SET user_id = '{BOB}' WHERE quantity > 100; DELETE FROM orders WHERE quantity = 7"
        ))
        .await;
    scenario.until_debezium_has_sent_all().await;
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    scenario.assert_no_dead_letters();
}

/// 14 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_deleted_inserted_again_or_changed_ends_as_it_does_in_postgres() {
    let scenario = Scenario::new("delete_insert_rekey").await;
    scenario.start_debezium().await;
    two_users_and_an_order(&scenario).await;
    let insert = |id: &str, user: &str, quantity: u32| {
        format!(
            "INSERT INTO orders VALUES ('{id}', 'PLACED', '{user}', {quantity}, 5.00, '2025-01-02Z', '2025-01-02Z');"
        )
    };
    let other = |number: u32| format!("00000000-0000-4000-8000-0000000001{number:02}");
    let again = format!("DELETE FROM orders WHERE id = '{ORDER}';{}", insert(ORDER, BOB, 9));
    // In one transaction, in several, several times over; deleted for good; inserted again elsewhere.
    scenario.sql(&format!("BEGIN;{again}{again}{again}COMMIT;")).await;
    scenario.sql(&again).await;
    scenario.sql(&format!("{}DELETE FROM orders WHERE id = '{}';", insert(&other(1), ANN, 1), other(1))).await;
    // Postgres changes the key: a delete, a tombstone and a create, in two partitions as a rule.
    for number in 2..12 {
        let (old, new) = (other(number), other(number + 20));
        scenario.sql(&format!("{}UPDATE orders SET id = '{new}' WHERE id = '{old}';", insert(&old, ANN, number))).await;
        if number % 2 == 0 {
            scenario.sql(&format!("UPDATE orders SET id = '{old}' WHERE id = '{new}';")).await;
        }
    }
    scenario.until_debezium_has_sent_all().await;
    let topic = scenario.topic("public.orders");
    let tombstones = scenario.records(&topic).iter().filter(|record| record.value.is_none()).count();
    assert!(tombstones >= 15, "{tombstones} tombstones");
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    scenario.assert_no_dead_letters();
}

/// 19 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_stops_its_partition_in_front_of_it_and_no_other() {
    let scenario = Scenario::new("truncate").await;
    scenario.start_debezium().await;
    two_users_and_an_order(&scenario).await;
    scenario.sql("TRUNCATE orders").await;
    let fresh = format!(
        "INSERT INTO orders SELECT gen_random_uuid(), 'PLACED', '{ANN}', n, 1.00, '2025-01-01Z', '2025-01-01Z'
           FROM generate_series(1, 100) n"
    );
    scenario.sql(&fresh).await;
    let topic = scenario.topic("public.orders");
    let truncate = async || {
        let records = scenario.records(&topic);
        let all_there = records.iter().filter(|record| record.value_text().contains("\"op\":\"c\"")).count() == 101;
        let found = records.iter().find(|record| record.value_text().contains("\"op\":\"t\"")).cloned();
        found.filter(|_| all_there)
    };
    until("Debezium has sent the truncate and what follows", 60, async || truncate().await.is_some()).await;
    let truncate = truncate().await.unwrap();

    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(60).await, 1, "a stopped partition is no success");
    let log = run.log();
    let stopped = format!("{topic}[{}]", truncate.partition);
    assert!(
        log.lines().any(|line| line.contains(&stopped) && line.contains("stopped: the table was truncated")),
        "no message names {stopped}"
    );
    let committed = scenario.committed(&scenario.cassandra_group(), &[&topic]);
    for (partition, (_, end)) in scenario.ends(&topic).into_iter().enumerate() {
        let expected = if partition as i32 == truncate.partition { truncate.offset } else { end };
        assert_eq!(committed[&(topic.clone(), partition as i32)].next_offset, expected, "{topic}[{partition}]");
    }
    // What came behind the truncate in the other partitions is there.
    let behind = scenario.records(&topic);
    let behind = behind
        .iter()
        .filter(|record| record.partition != truncate.partition && record.value_text().contains("\"op\":\"c\""));
    assert!(scenario.cassandra_rows("orders").await.len() >= behind.count());

    // It stands in front of it after a restart, too.
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(60).await, 1);
    assert_eq!(scenario.committed(&scenario.cassandra_group(), &[&topic]), committed);
    scenario.assert_no_dead_letters();
}
