//! Bad business events on their way to Postgres.

use serde_json::{Value, json};

use crate::changes::id;
use crate::inputs::{
    CANARY, CANARY_NUMBER, Case, assert_letters, assert_log_is_clean, nested, produce_between, ten_megabytes,
};
use crate::rows::Rows;
use crate::stack::Scenario;
use crate::topics::Raw;

/// The user of every good order, in a partition of its own.
const ANN: u64 = 1;
/// The id of whatever is bad. No two bad events can help each other, as none creates it.
const BAD: u64 = 66;

/// A user's CREATE.
pub fn user(number: u64, name: &str) -> Value {
    json!({
        "event_type": "CREATE", "user_id": id(number), "name": name, "dob": "1990-02-03",
        "created_at": "2025-01-01T00:00:00.000Z", "modified_at": "2025-01-01T00:00:00.000Z",
    })
}

/// An order's CREATE.
pub fn order(number: u64, user: u64) -> Value {
    json!({
        "event_type": "CREATE", "order_id": id(number), "order_status": "PLACED", "user_id": id(user), "quantity": 3,
        "order_total": "19.90", "placed_at": "2025-01-01T00:00:00.000Z", "modified_at": "2025-01-01T00:00:00.000Z",
    })
}

/// The event with the key that belongs to it.
pub fn event(value: &Value) -> Raw {
    let id = value.get("order_id").or(value.get("user_id")).and_then(Value::as_str).unwrap();
    Raw::new(id, value.to_string())
}

fn with(mut event: Value, member: &str, value: Value) -> Value {
    event[member] = value;
    event
}

fn without(mut event: Value, member: &str) -> Value {
    event.as_object_mut().unwrap().remove(member).unwrap();
    event
}

/// A bad user whose key is right.
fn bad(value: impl AsRef<[u8]>) -> Raw {
    Raw::new(id(BAD), value)
}

fn bad_user(member: &str, value: Value) -> Raw {
    bad(with(user(BAD, CANARY), member, value).to_string())
}

fn bad_order(member: &str, value: Value) -> Raw {
    bad(with(order(BAD, ANN), member, value).to_string())
}

/// What is no event at all, or has the wrong key.
fn no_events() -> Vec<Case> {
    let good = user(BAD, CANARY).to_string();
    let keyed = |key: &[u8]| Raw::new(key, &good);
    let quoted = format!("\"{}\"", id(BAD));
    let twice = good.replacen('{', &format!(r#"{{"name":"{CANARY}","#), 1);
    let typed_twice = good.replacen('{', r#"{"event_type":"CREATE","#, 1);
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find(CANARY).unwrap();
    not_utf8[at] = 0xff;
    vec![
        Case::new(Raw::tombstone(id(BAD)), "empty", "the event has no value"),
        Case::new(bad(""), "empty", "the event has no value"),
        Case::new(bad(CANARY), "not_json", "the value is not JSON at line 1 column 1"),
        Case::new(bad(&good[..good.len() / 2]), "not_json", "in the middle of JSON"),
        Case::new(bad(format!("{good} {good}")), "not_json", "the value is not JSON"),
        Case::new(bad(good.replace(CANARY, r"zqcanary\ud800")), "not_json", "the value is not JSON"),
        Case::new(bad(not_utf8), "not_json", "is not UTF-8 at byte"),
        Case::new(bad(format!("[{good}]")), "wrong_type", "another shape"),
        Case::new(bad(format!("\"{CANARY}\"")), "wrong_type", "another shape"),
        Case::new(bad("null"), "wrong_type", "another shape"),
        Case::new(bad(nested(&good)), "too_deep", "nests deeper than 128"),
        Case::new(bad(user(BAD, &ten_megabytes()).to_string()), "too_large", "bytes, the limit is"),
        Case::new(bad(twice), "wrong_type", "\"name\" comes twice"),
        Case::new(bad(typed_twice), "wrong_type", "\"event_type\" comes twice"),
        Case::new(bad_user("event_type", CANARY.into()), "unknown_op", "`event_type` is none of"),
        Case::new(bad_user("event_type", 7.into()), "wrong_type", "another shape"),
        Case::new(bad(without(user(BAD, CANARY), "event_type").to_string()), "wrong_type", "no `event_type`"),
        Case::new(bad(without(user(BAD, CANARY), "user_id").to_string()), "missing_key", "has no \"user_id\""),
        Case::new(bad_user("user_id", Value::Null), "missing_key", "has no \"user_id\""),
        Case::new(Raw { value: Some(good.clone().into()), ..Raw::default() }, "missing_key", "the record has no key"),
        Case::new(keyed(b""), "missing_key", "the record has no key"),
        Case::new(keyed(id(BAD + 1).as_bytes()), "key_mismatch", "is not the event's \"user_id\""),
        Case::new(keyed(CANARY.as_bytes()), "key_mismatch", "is not the event's \"user_id\""),
        Case::new(keyed(quoted.as_bytes()), "key_mismatch", "is not the event's \"user_id\""),
        Case::new(keyed(&[0xff, 0xfe]), "key_mismatch", "is not the event's \"user_id\""),
    ]
}

fn bad_users() -> Vec<Case> {
    let number: Value = CANARY_NUMBER.parse::<i64>().unwrap().into();
    let fits = CANARY.repeat(6) + "äöü";
    let mut cases = no_events();
    cases.extend([
        Case::new(bad_user("user_id", CANARY.into()), "wrong_type", "\"user_id\": expected uuid, found a string"),
        Case::new(bad_user("user_id", number.clone()), "wrong_type", "\"user_id\": expected uuid, found a number"),
        Case::new(bad_user("name", number.clone()), "wrong_type", "\"name\": expected text, found a number"),
        Case::new(bad_user("name", json!({ CANARY: 1 })), "wrong_type", "\"name\": expected text, found an object"),
        Case::new(bad_user("name", json!([[CANARY]])), "wrong_type", "\"name\": expected text, found an array"),
        Case::new(bad_user("dob", CANARY.into()), "wrong_type", "\"dob\": expected date, found a string"),
        Case::new(bad_user("dob", number.clone()), "wrong_type", "\"dob\": expected date, found a number"),
        Case::new(bad_user("dob", "2023-02-29".into()), "wrong_type", "not a day of the calendar"),
        Case::new(bad_user("dob", "98765-01-01".into()), "wrong_type", "not a day of the calendar"),
        Case::new(bad_user("created_at", CANARY.into()), "wrong_type", "\"created_at\": expected timestamp"),
        Case::new(bad_user("created_at", number), "wrong_type", "expected timestamp, found a number"),
        Case::new(bad_user("created_at", true.into()), "wrong_type", "expected timestamp, found a boolean"),
        Case::new(bad_user("created_at", "infinity".into()), "out_of_range", "has an infinity").at("users"),
        Case::new(bad_user("created_at", "2025-01-01T00:00:00.0000001Z".into()), "out_of_range", "finer than micro"),
        // What only the table knows.
        Case::new(bad_user("modified_at", "2025-01-01T00:00:00.0001Z".into()), "out_of_range", "digits of the second")
            .at("users"),
        Case::new(bad_user("name", fits.into()), "out_of_range", "cannot hold a text this long").at("users"),
        Case::new(bad_user("name", "zqcanary\0".into()), "out_of_range", "cannot hold a NUL character").at("users"),
        Case::new(bad_user("name", Value::Null), "wrong_type", "must not be null").at("users"),
        Case::new(bad(without(user(BAD, CANARY), "name").to_string()), "wrong_type", "must have a value").at("users"),
        Case::new(bad_user("event_type", "UPDATE".into()), "missing_row", "with this key was ever created").at("users"),
        Case::new(bad_user("event_type", "DELETE".into()), "missing_row", "with this key was ever created").at("users"),
    ]);
    cases
}

fn bad_orders() -> Vec<Case> {
    let total = |text: &str| bad_order("order_total", text.into());
    let literal = |number: &str| bad(order(BAD, ANN).to_string().replace("\"19.90\"", number));
    let huge = order(BAD, ANN).to_string().replace("\"quantity\":3", "\"quantity\":1e400");
    vec![
        Case::new(bad_order("user_id", CANARY.into()), "wrong_type", "\"user_id\": expected uuid"),
        Case::new(bad_order("quantity", CANARY.into()), "wrong_type", "\"quantity\": expected int32, found a string"),
        Case::new(bad_order("quantity", 1.5.into()), "wrong_type", "a fraction or an exponent"),
        Case::new(bad_order("quantity", 3_000_000_000_i64.into()), "out_of_range", "\"quantity\": the value does not"),
        Case::new(bad_order("quantity", u64::MAX.into()), "out_of_range", "\"quantity\": the value does not"),
        Case::new(bad(huge), "out_of_range", "a number beyond 64-bit floats"),
        Case::new(total(CANARY), "wrong_type", "\"order_total\": expected decimal, found a string"),
        Case::new(bad_order("order_total", true.into()), "wrong_type", "expected decimal, found a boolean"),
        Case::new(bad_order("order_total", json!([1])), "wrong_type", "expected decimal, found an array"),
        Case::new(total("NaN"), "out_of_range", "has NaN").at("orders"),
        Case::new(literal("NaN"), "not_json", "the value is not JSON"),
        Case::new(total(&"9".repeat(300)), "out_of_range", "a decimal of 300 characters"),
        Case::new(literal("1e99999999"), "out_of_range", "does not fit decimal"),
        // What only the table knows.
        Case::new(total(CANARY_NUMBER), "out_of_range", "cannot hold a number this large").at("orders"),
        Case::new(literal("100000000.00"), "out_of_range", "cannot hold a number this large").at("orders"),
        Case::new(total("19.905"), "out_of_range", "would lose digits after the point").at("orders"),
        Case::new(bad_order("order_status", "zqcanary+++".into()), "out_of_range", "this long").at("orders"),
        Case::new(bad_order("order_status", "zqcanary".into()), "refused", "orders_status_check").at("orders"),
        Case::new(bad_order("user_id", Value::Null), "wrong_type", "must not be null").at("orders"),
        Case::new(bad_order("event_type", "UPDATE".into()), "missing_row", "was ever created").at("orders"),
        Case::new(bad_order("event_type", "DELETE".into()), "missing_row", "was ever created").at("orders"),
        Case::new(bad_order("user_id", id(BAD).into()), "missing_parent", "no row of \"users\"").at("orders"),
    ]
}

/// One column of all rows, sorted.
fn column(rows: &Rows, name: &str) -> Vec<String> {
    let mut values: Vec<String> = rows.iter().map(|row| row[name].clone().unwrap_or_default()).collect();
    values.sort();
    values
}

/// 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_a_dead_letter_and_its_neighbours_are_applied() {
    let scenario = Scenario::new("bad_events").await;
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let (of_users, of_orders) = (bad_users(), bad_orders());
    scenario.produce(&users, &event(&user(ANN, CANARY)).to(1)).await;
    let good_user = |at: u64| event(&user(1000 + at, &format!("{CANARY} {at}")));
    let laid_users = produce_between(&scenario, &users, good_user, &of_users).await;
    let good_order = |at: u64| event(&order(2000 + at, ANN));
    let laid_orders = produce_between(&scenario, &orders, good_order, &of_orders).await;

    let consumer = scenario.consumer_to_the_end().await;

    let letters = scenario.dead_letters();
    assert_letters(&letters, &users, "users", &laid_users, &of_users, false);
    assert_letters(&letters, &orders, "orders", &laid_orders, &of_orders, false);
    assert_eq!(letters.len(), of_users.len() + of_orders.len());
    let expected = (1000..=1000 + of_users.len() as u64).map(id);
    let expected: Vec<String> = std::iter::once(id(ANN)).chain(expected).collect();
    assert_eq!(column(&scenario.postgres_rows("users").await, "id"), expected);
    let expected: Vec<String> = (2000..=2000 + of_orders.len() as u64).map(id).collect();
    assert_eq!(column(&scenario.postgres_rows("orders").await, "id"), expected);
    scenario.assert_committed_to_the_ends(&scenario.postgres_group(), &[&users, &orders]);
    assert_log_is_clean(&consumer);

    // Once more: nothing is left to be done, and no letter comes twice.
    scenario.consumer_to_the_end().await;
    assert_eq!(scenario.dead_letters().len(), letters.len());
}
