//! Records that a transactional producer wrote: control records stand between them and at the end.

use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use crate::changes::{change, id, user};
use crate::inputs::{CANARY, assert_log_is_clean, events};
use crate::stack::{Scenario, client};
use crate::topics::Raw;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Writes two committed users and, last of all, an aborted one into partition 0.
fn produce_in_transactions(scenario: &Scenario, topic: &str, user: impl Fn(u64) -> Raw) {
    let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
        client().set("transactional.id", format!("{}-{topic}", scenario.id)).create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    for number in [1, 2, 3] {
        let raw = user(number);
        let (key, value) = (raw.key.unwrap(), raw.value.unwrap());
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::to(topic).partition(0).key(&key).payload(&value))
            .map_err(|(error, _)| error)
            .unwrap();
        match number {
            3 => {
                // On the broker before it is aborted: else there would be nothing to pass over.
                producer.flush(TIMEOUT).unwrap();
                producer.abort_transaction(TIMEOUT).unwrap();
            }
            _ => producer.commit_transaction(TIMEOUT).unwrap(),
        }
    }
}

/// 12 s.
#[tokio::test(flavor = "multi_thread")]
async fn control_records_hold_up_no_end_and_what_was_aborted_is_not_applied() {
    let scenario = Scenario::new("transactions").await;
    let (users, changes) = (scenario.topic("users"), scenario.topic("public.users"));
    tokio::task::block_in_place(|| {
        produce_in_transactions(&scenario, &users, |number| events::event(&events::user(number, CANARY)));
        produce_in_transactions(&scenario, &changes, |number| change(None, Some(&user(number, CANARY))));
    });
    assert_eq!(scenario.ends(&users)[0], (0, 6), "each transaction has left a control record behind its record");

    let consumer = scenario.consumer().arg("--exit-when-caught-up").start();
    let cdcconsumer = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    for started in [&consumer, &cdcconsumer] {
        assert_eq!(started.exit_code(30).await, 0);
        assert_log_is_clean(started);
    }

    for rows in [scenario.postgres_rows("users").await, scenario.cassandra_rows("users").await] {
        let ids: Vec<_> = rows.iter().map(|row| row["id"].clone().unwrap()).collect();
        assert_eq!(ids, [id(1), id(2)]);
    }
    assert_eq!(scenario.dead_letters(), []);
    // The next offset is the one behind the last record that was applied.
    for (group, topic) in [(scenario.postgres_group(), users), (scenario.cassandra_group(), changes)] {
        let committed = scenario.committed(&group, &[&topic]);
        assert_eq!(committed[&(topic, 0)].next_offset, 3);
    }

    // A second time there is nothing but control records and what was aborted.
    scenario.consumer_to_the_end().await;
    scenario.cdcconsumer_to_the_end().await;
}
