//! `cdcconsumer backfill`: rows that no topic has come by an incremental snapshot, by both ways of signalling, while
//! the source goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rows::debezium_row;
use crate::stack::{BROKERS, Scenario, until};

/// Rows that were there before the connector, which takes no snapshot by itself.
pub async fn rows_without_a_snapshot(scenario: &Scenario, orders: u32) {
    scenario
        .sql(&format!(
            "CREATE TABLE debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
             ALTER PUBLICATION cdc_pub ADD TABLE debezium_signal;
             GRANT SELECT, INSERT, UPDATE, DELETE ON debezium_signal TO debezium;
             INSERT INTO users SELECT md5('u' || n)::uuid, 'User ' || n, '1970-01-01', '2025-01-01Z', '2025-01-01Z'
               FROM generate_series(1, 50) n;
             INSERT INTO orders SELECT md5('o' || n)::uuid, 'PLACED', md5('u' || (1 + n % 50))::uuid, n, n / 100.0,
                                       '2025-01-01Z', '2025-01-01Z' FROM generate_series(1, {orders}) n",
        ))
        .await;
    let (signals, notices) = (scenario.topic("signals"), scenario.topic("notifications"));
    // That of the signal table too, so that it is removed in the end.
    for topic in [&signals, &scenario.topic("public.debezium_signal")] {
        scenario.make_topic(topic, 1, &[]).await;
    }
    scenario.make_topic(&notices, 1, &[]).await;
    let settings = format!(
        r#", "snapshot.mode": "no_data", "signal.data.collection": "public.debezium_signal",
            "signal.enabled.channels": "source,kafka", "signal.kafka.topic": "{signals}",
            "signal.kafka.bootstrap.servers": "{BROKERS}", "signal.kafka.groupId": "{}-signals",
            "notification.enabled.channels": "sink", "notification.sink.topic.name": "{notices}""#,
        scenario.id
    );
    scenario.start_debezium_on("public.users,public.orders,public.debezium_signal", &settings).await;
    scenario.edit_config(|text| {
        text.replace(
            "[source.debezium]\n",
            &format!(
                "[source.debezium]\nsignal_data_collection = \"public.debezium_signal\"\n\
                 signal_kafka_topic = \"{signals}\"\nnotification_topic = \"{notices}\"\n"
            ),
        )
    });
}

async fn backfill_by(way: &str) {
    let scenario = Scenario::new(&format!("backfill_{way}")).await;
    rows_without_a_snapshot(&scenario, 5000).await;
    let run = scenario.cdcconsumer().start();
    run.logs("assigned", 30).await;
    let done = AtomicBool::new(false);
    let load = async {
        // Rows change, go, come and move to another user while they are read.
        let mut round = 0;
        while !done.load(Ordering::Relaxed) && round < 2_000 {
            let some = |part: i32| format!("quantity % 1000 = {}", (round * 7 + part) % 1000);
            let status = ["SHIPPED", "DELIVERED"][round as usize % 2];
            scenario
                .sql(&format!(
                    "UPDATE orders SET status = '{status}' WHERE {};
                     UPDATE orders SET user_id = md5('u' || (1 + (quantity + {round}) % 50))::uuid WHERE {};
                     DELETE FROM orders WHERE quantity = {};
                     INSERT INTO orders VALUES (md5('n{round}')::uuid, 'PLACED', md5('u1')::uuid, 100000 + {round}, 1,
                                                '2025-01-01Z', '2025-01-01Z')",
                    some(0),
                    some(1),
                    (round * 37) % 5000
                ))
                .await;
            round += 1;
            // A pace that Connect and a debug build keep up with on two busy cores: every chunk of the snapshot waits until
            // Debezium has read the stream up to its watermark.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        round
    };
    let filling = async {
        for route in ["users", "orders_by_user"] {
            let asked =
                scenario.cdcconsumer().arg("backfill").arg(route).arg("--wait").arg("--through").arg(way).start();
            assert_eq!(asked.exit_code(240).await, 0, "{}{}", asked.out(), asked.log());
            let out = asked.out();
            assert!(out.contains("the snapshot is completed") && out.contains("are applied"), "{out}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (rounds, ()) = tokio::join!(load, filling);
    assert!(rounds > 3, "{rounds} rounds of load");
    change_what_was_read_late(&scenario).await;
    scenario.until_debezium_has_sent_all().await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    scenario.assert_cassandra_equals_postgres().await;
    assert!(scenario.cassandra_rows("orders_by_user").await.len() > 4_000);
    scenario.assert_no_dead_letters();
}

/// Postgres shows a commit a little later than its log has it, on busy cores much later. A chunk of the snapshot that is
/// read in between has rows from before what was streamed already, and Debezium sends them behind it: the topic ends
/// wrong, whoever reads it. Such rows, of which there are few, get one change more.
async fn change_what_was_read_late(scenario: &Scenario) {
    const ROWS_MAX: usize = 5;
    let topic = scenario.topic("public.orders");
    let order = |id: &str| {
        format!(
            "INSERT INTO orders VALUES ('{id}', 'PLACED', md5('u1')::uuid, 1, 1, '2025-01-01Z', '2025-01-01Z')
             ON CONFLICT DO NOTHING;"
        )
    };
    let last = crate::changes::id(999_999);
    scenario.sql(&order(&last)).await;
    let mut newest = BTreeMap::new();
    until("the stream has come to its end", 240, async || {
        newest = scenario.newest(&topic);
        newest.keys().any(|key| String::from_utf8_lossy(key).contains(&last))
    })
    .await;
    let rows = scenario.postgres_rows("orders").await;
    let read = newest.values().filter(|value| value["op"] == "r").map(|value| debezium_row(&value["after"]));
    let late: Vec<String> = read.filter(|row| !rows.contains(row)).map(|row| row["id"].clone().unwrap()).collect();
    assert!(late.len() <= ROWS_MAX, "{} rows were read late: {late:?}", late.len());
    for id in late {
        eprintln!("order {id} was read late");
        let is_there = rows.iter().any(|row| row["id"].as_ref() == Some(&id));
        let gone_again = format!("{} DELETE FROM orders WHERE id = '{id}'", order(&id));
        let changed = format!("UPDATE orders SET status = status WHERE id = '{id}'");
        scenario.sql(if is_there { &changed } else { &gone_again }).await;
    }
}

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_filled_in_under_load_by_a_signal_in_the_table() {
    backfill_by("table").await;
}

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_filled_in_under_load_by_a_signal_in_the_topic() {
    backfill_by("topic").await;
}

/// 30 s. A part of the rows, without waiting; and what is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_chooses_rows_and_what_cannot_work_is_refused() {
    let scenario = Scenario::new("backfill_where").await;
    let refused = async |flags: &[&str], parts: &[&str]| {
        let run = flags.iter().fold(scenario.cdcconsumer().arg("backfill"), |program, flag| program.arg(flag)).start();
        assert_eq!(run.exit_code(40).await, 64, "{flags:?}: {}", run.log());
        parts.iter().for_each(|part| assert!(run.log().contains(part), "{flags:?}: {}", run.log()));
    };
    refused(&["orders"], &["signal_data_collection", "signal_kafka_topic"]).await;
    rows_without_a_snapshot(&scenario, 5000).await;
    refused(&["nothing"], &["no route leads to a table \"nothing\"", "orders_by_user"]).await;
    let url = format!("postgres://rowferry:rowferry@127.0.0.1:5432/{}", scenario.id);
    let flags = ["orders", "--through", "table", "--signal-url", &url];
    refused(&flags, &["--signal-url", "permission denied for table debezium_signal"]).await;

    let condition = ["backfill", "orders", "--where", "quantity <= 10"];
    let asked = condition.iter().fold(scenario.cdcconsumer(), |program, flag| program.arg(flag)).start();
    assert_eq!(asked.exit_code(40).await, 0, "{}", asked.log());
    assert!(asked.out().contains("with op r, beside the stream"), "{}", asked.out());
    let topic = scenario.topic("public.orders");
    crate::stack::until("the ten rows are in the topic", 60, async || scenario.records(&topic).len() == 10).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.cassandra_rows("orders").await.len(), 10);
}
