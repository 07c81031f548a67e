//! `cdcconsumer explain`: one row's events, their writes and its cells, against what stands in the servers.

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::changes::{change, id, key, order, user};
use crate::stack::Scenario;
use crate::topics::Raw;

/// Exit code, standard output, and the log.
async fn explain(scenario: &Scenario, words: &[&str]) -> (i32, String, String) {
    let run = words.iter().fold(scenario.cdcconsumer().arg("explain"), |program, word| program.arg(word)).start();
    (run.exit_code(60).await, run.out(), run.log())
}

async fn as_json(scenario: &Scenario, words: &[&str]) -> Value {
    let (code, out, log) = explain(scenario, &[words, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{out}{log}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// The partition that all of these records go to.
const PARTITION: i32 = 1;
/// 2025-01-01; the second is earlier, so that only the chain makes the version of the third.
const STAMPS: [i64; 3] = [1_735_689_600_000, 1_735_689_500_000, 1_735_689_500_000];

/// An order that moves to another user, a record of it that cannot be read, and neighbours.
async fn produce_orders(scenario: &Scenario, topic: &str) {
    let (before, after) = (order(1, 1, "9.50"), order(1, 2, "9.50"));
    let records = [
        change(None, Some(&before)).at(STAMPS[0]),
        change(None, Some(&order(7, 1, "1.00"))).at(STAMPS[1]),
        change(Some(&before), Some(&after)).at(STAMPS[2]),
        Raw::new(key(&after), "{\"op\":").at(STAMPS[2]),
    ];
    for record in records {
        scenario.produce(topic, &record.to(PARTITION)).await;
    }
}

/// 25 s. What is told of versions is what stands in the cells, and nothing is changed by telling it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_explained_from_its_events_to_its_cells() {
    let scenario = Scenario::new("explain").await;
    let [users, orders] = scenario.change_topics();
    let group = scenario.cassandra_group();
    produce_orders(&scenario, &orders).await;
    scenario.produce(&users, &change(None, Some(&user(5, "Ann"))).to(0).at(STAMPS[0])).await;
    scenario.cdcconsumer_to_the_end().await;
    // And one that is not read yet.
    let last = order(1, 2, "9.50");
    scenario.produce(&orders, &change(Some(&last), None).to(PARTITION).at(STAMPS[2])).await;
    let committed = scenario.committed(&group, &[&users, &orders]);

    let (first, version) = (STAMPS[0] * 1000, |at: i64| STAMPS[0] * 1000 + 2 * at);
    let words = [format!("order_id={}", id(1)), format!("user_id={}", id(2))];
    let told = as_json(&scenario, &["orders_by_user", &words[0], &words[1]]).await;
    let events = told["topics"][0]["events"].as_array().unwrap();
    let seen: Vec<(i64, i64, &str, &str, bool)> = events
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap();
            let number = |name: &str| event[name].as_i64().unwrap();
            let unread = event["unread"].as_bool().unwrap();
            (number("offset"), number("version"), text("op"), text("version_is"), unread)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, first, "create", "exact", false),
            (2, version(2), "update", "exact", false),
            (3, version(3), "unreadable", "exact", false),
            (4, version(4), "delete", "exact", true),
        ]
    );
    let moved = &events[1]["writes"];
    assert_eq!((&moved[0]["op"], &moved[0]["asked_key"]), (&json!("delete"), &json!(false)));
    assert_eq!((&moved[1]["op"], &moved[1]["timestamp"]), (&json!("upsert"), &json!(version(2) + 1)));
    assert_eq!(events[2]["refused"]["class"], json!("not_json"));
    let cells = told["cassandra"]["row"].as_array().unwrap();
    let timed: Vec<&Value> = cells.iter().filter(|cell| !cell["written"].is_null()).collect();
    assert!(timed.len() >= 3, "{told}");
    for cell in timed {
        assert_eq!(cell["written_by"], json!(format!("{orders}:{PARTITION}:2")), "{cell}");
        assert_eq!(cell["written"], json!(version(2) + 1));
    }
    // Under the old key there is no row, and the same events speak of it.
    let told = as_json(&scenario, &["orders_by_user", &id(1), &id(1)]).await;
    assert_eq!((told["topics"][0]["events"].as_array().unwrap().len(), &told["cassandra"]["row"]), (4, &Value::Null));

    let (code, out, log) = explain(&scenario, &["users", &id(5)]).await;
    assert_eq!(code, 0, "{log}");
    for part in [format!("upsert @{}", first + 1), "\"Ann\"".into(), format!("by {users}:0:0"), "are exact".into()] {
        assert!(out.contains(&part), "no \"{part}\" in: {out}");
    }
    assert!(!log.contains("Ann"), "the log has values: {log}");
    assert_eq!(scenario.committed(&group, &[&users, &orders]), committed);

    // The first record expires: versions are what they were, and it is said that this is not certain any more.
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&orders, PARTITION, Offset::Offset(1)).unwrap();
    scenario.kafka.delete_records(&gone, &AdminOptions::new()).await.unwrap();
    let told = as_json(&scenario, &["orders", &id(7)]).await;
    let event = &told["topics"][0]["events"][0];
    assert_eq!((&event["version_is"], &event["offset"]), (&json!("at_least"), &json!(1)));
    assert_eq!(told["cassandra"]["row"][0]["column"], json!("order_id"));
    let told = as_json(&scenario, &["orders", &id(1)]).await;
    let unread = told["topics"][0]["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&unread["version_is"], &unread["version"]), (&json!("exact"), &json!(version(4))));
}

/// 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_is_refused_with_how_it_is_typed() {
    let scenario = Scenario::new("explain_refused").await;
    for (words, code, parts) in [
        (&["nothing", "1"][..], 64, &["no route leads to a table \"nothing\"", "orders_by_user"][..]),
        (&["users", "5"], 64, &["id = \"5\" is no uuid", "the key of users is id=…"]),
        (&["orders_by_user", &id(1)], 64, &["2 values are needed", "user_id=… order_id=…"]),
        (&["users", "id=x", "id=y"], 64, &["id is given twice"]),
        (&["users"], 2, &["<KEY>..."]),
    ] {
        let (found, out, log) = explain(&scenario, words).await;
        assert_eq!((found, out.as_str()), (code, ""), "{words:?}: {log}");
        parts.iter().for_each(|part| assert!(log.contains(part), "{words:?}: {log}"));
    }
    let (code, out, _) = explain(&scenario, &["users", &id(1)]).await;
    assert!(code == 1 && out.contains("none of the 0 records") && out.contains("no row"), "exit {code}: {out}");
}
