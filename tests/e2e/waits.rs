//! Orders that come before their users.

use std::time::{Duration, Instant};

use crate::changes::id;
use crate::inputs::events::{event, order, user};
use crate::inputs::{CANARY, assert_holds_no_payload, assert_log_is_clean};
use crate::process::Started;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

const ANN: u64 = 1;
const BOB: u64 = 2;
const CID: u64 = 3;
/// Never comes.
const NOBODY: u64 = 9;

const WAITS: &str = "waiting for the row of \"users\" that column \"user_id\" of \"orders\" names";

/// Too big for a dead-letter topic with this limit: what stops partition 0 of `users`, so that not all of `users` is
/// applied and an order without its user has to wait.
const LETTER_BYTES_MAX: &str = "20000";
const TOO_BIG: usize = 40_000;

async fn limit_letters(scenario: &Scenario, bytes_max: &str) {
    let settings = [("cleanup.policy", "delete"), ("max.message.bytes", bytes_max)];
    scenario.alter_topic(&scenario.dead_letter_topic(), &settings).await;
}

async fn until_orders_are(scenario: &Scenario, numbers: &[u64]) {
    let expected: Vec<String> = numbers.iter().map(|number| id(*number)).collect();
    until(&format!("the orders are {numbers:?}"), 20, async || {
        scenario.postgres_rows("orders").await.iter().map(|row| row["id"].clone().unwrap()).eq(expected.iter().cloned())
    })
    .await;
}

/// Waits until the partitions of `orders` say what they wait for.
async fn until_waiting(scenario: &Scenario, consumer: &Started, partitions: &[i32]) {
    for partition in partitions {
        consumer.logs(&format!("{WAITS} partition={}[{partition}]", scenario.topic("orders")), 20).await;
    }
}

/// 17 s.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_its_user_until_all_users_are_applied() {
    let scenario = Scenario::new("waits").await;
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let user = |number| event(&user(number, CANARY));
    let order = |number, user, partition| event(&order(number, user)).to(partition);
    limit_letters(&scenario, LETTER_BYTES_MAX).await;
    let too_big = Raw::new(id(CID), CANARY.repeat(TOO_BIG / CANARY.len()));
    scenario.produce_all(&users, &[too_big.to(0), user(CID).to(0), user(ANN).to(1)]).await;
    let waiting: [Raw; 6] = [
        order(11, ANN, 0),
        order(12, BOB, 0),
        order(13, ANN, 0),
        order(21, NOBODY, 1),
        order(22, ANN, 1),
        order(31, ANN, 2),
    ];
    scenario.produce_all(&orders, &waiting).await;

    // Two partitions wait, one goes on, and a signal ends it all the same.
    let consumer = scenario.consumer().start();
    until_waiting(&scenario, &consumer, &[0, 1]).await;
    until_orders_are(&scenario, &[11, 31]).await;
    stop(&consumer).await;
    let progress = "SELECT next_offset FROM rowferry_progress WHERE topic = $1 AND partition < 3 ORDER BY partition";
    let progress = sqlx::query_scalar::<_, i64>(progress).bind(&orders).fetch_all(&scenario.postgres).await.unwrap();
    assert_eq!(progress, [1, 0, 1], "it stands where each wait began");

    // A user comes while its order waits; the other order waits on, as long as not all of users is applied.
    let consumer = scenario.consumer().start();
    until_waiting(&scenario, &consumer, &[0, 1]).await;
    scenario.produce(&users, &user(BOB).to(1)).await;
    until_orders_are(&scenario, &[11, 12, 13, 31]).await;
    // Attempts lie no more than a second apart.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scenario.dead_letters(), []);
    until_orders_are(&scenario, &[11, 12, 13, 31]).await;
    stop(&consumer).await;

    // Now all of users can be applied, and the user is not among them: the order is given up, and the next one comes.
    limit_letters(&scenario, "16777216").await;
    let consumer = scenario.consumer_to_the_end().await;
    until_orders_are(&scenario, &[11, 12, 13, 22, 31]).await;
    let letters: Vec<_> = scenario.dead_letters().iter().map(|letter| (letter.reason(), letter.origin())).collect();
    let (big, nobody) = (("not_json".into(), (users.clone(), 0, 0)), ("missing_parent".into(), (orders.clone(), 1, 0)));
    assert!(letters == [big.clone(), nobody.clone()] || letters == [nobody, big], "{letters:?}");
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&users, &orders]);
    assert_log_is_clean(&consumer);
}

/// A signal ends it within a moment, whatever waits.
async fn stop(consumer: &Started) {
    consumer.signal("TERM");
    let asked = Instant::now();
    assert_eq!(consumer.exit_code(20).await, 0);
    assert!(asked.elapsed() < Duration::from_secs(3), "it ended after {:?}", asked.elapsed());
    assert_holds_no_payload("the log", &consumer.log());
}
