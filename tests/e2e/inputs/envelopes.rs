//! Bad envelopes on their way to Cassandra, and those that are passed over.

use serde_json::{Value, json};

use crate::changes::{change, envelope, id, key, order, user};
use crate::inputs::{
    CANARY, CANARY_NUMBER, Case, assert_letters, assert_log_is_clean, nested, produce_between, ten_megabytes,
};
use crate::rows::Rows;
use crate::stack::Scenario;
use crate::topics::Raw;

/// The id of whatever is bad.
const BAD: u64 = 66;

fn bad_key() -> String {
    key(&user(BAD, CANARY))
}

/// A value under the right key.
fn bad(value: impl AsRef<[u8]>) -> Raw {
    Raw::new(bad_key(), value)
}

/// The envelope of a created user, with another member or value.
fn good_text() -> String {
    envelope("c", None, Some(&user(BAD, CANARY))).to_string()
}

fn with(member: &str, value: Value) -> Raw {
    let mut envelope = envelope("c", None, Some(&user(BAD, CANARY)));
    envelope[member] = value;
    bad(envelope.to_string())
}

fn without(member: &str) -> Raw {
    let mut envelope = envelope("c", None, Some(&user(BAD, CANARY)));
    envelope.as_object_mut().unwrap().remove(member).unwrap();
    bad(envelope.to_string())
}

fn bad_user(column: &str, value: Value) -> Raw {
    let mut row = user(BAD, CANARY);
    row[column] = value;
    bad(envelope("c", None, Some(&row)).to_string())
}

fn bad_order(column: &str, value: Value) -> Raw {
    let mut row = order(BAD, 7, "19.90");
    row[column] = value;
    bad(envelope("c", None, Some(&row)).to_string())
}

/// What is no envelope.
fn no_envelopes() -> Vec<Case> {
    let good = good_text();
    let twice = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let name_twice = good.replace("\"name\":", &format!("\"name\":\"{CANARY}\",\"name\":"));
    let wrapped = json!({ "schema": { "type": "struct" }, "payload": envelope("c", None, Some(&user(BAD, CANARY))) });
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find(CANARY).unwrap();
    not_utf8[at] = 0xff;
    vec![
        Case::new(bad(""), "empty", "the value has no bytes"),
        Case::new(bad(CANARY), "not_json", "the value is not JSON at line 1 column 1"),
        Case::new(bad(&good[..good.len() / 2]), "not_json", "in the middle of JSON"),
        Case::new(bad(format!("{good}{good}")), "not_json", "the value is not JSON"),
        Case::new(bad(not_utf8), "not_json", "the value is not UTF-8 at byte"),
        Case::new(bad(format!("[{good}]")), "wrong_type", "another shape"),
        Case::new(bad(CANARY_NUMBER), "wrong_type", "another shape"),
        Case::new(bad(nested(&good)), "too_deep", "nests deeper than 128"),
        // A schema block that does not say what the row is.
        Case::new(bad(wrapped.to_string()), "wrong_type", "nothing says its type"),
        Case::new(without("op"), "wrong_type", "no `op`"),
        Case::new(with("op", CANARY.into()), "unknown_op", "`op` is none of"),
        Case::new(with("op", 7.into()), "wrong_type", "another shape"),
        Case::new(with("op", Value::Null), "wrong_type", "another shape"),
        Case::new(bad(twice(r#""op":"c""#)), "wrong_type", "\"op\" comes twice"),
        Case::new(bad(twice(r#""before":null"#)), "wrong_type", "\"before\" comes twice"),
        Case::new(bad(twice(r#""after":null"#)), "wrong_type", "\"after\" comes twice"),
        Case::new(bad(name_twice), "wrong_type", "\"name\" comes twice"),
        Case::new(with("after", Value::Null), "missing_image", "no `after`"),
        Case::new(without("after"), "missing_image", "no `after`"),
        Case::new(with("after", json!([CANARY])), "wrong_type", "another shape"),
    ]
}

/// What has a key that is none, or that of another row.
fn bad_keys() -> Vec<Case> {
    let keyed = |key: &[u8]| Raw::new(key, good_text());
    let foreign = json!({ "id": id(BAD), CANARY: CANARY_NUMBER }).to_string();
    let of = |id: Value| json!({ "id": id }).to_string();
    let deleted = envelope("d", Some(&user(BAD + 1, CANARY)), None).to_string();
    vec![
        Case::new(Raw { value: Some(good_text().into()), ..Raw::default() }, "missing_key", "the record has no key"),
        Case::new(keyed(b""), "missing_key", "the record has no key"),
        Case::new(keyed(b"{}"), "missing_key", "the record's key has no column \"id\""),
        Case::new(keyed(of(Value::Null).as_bytes()), "missing_key", "the record's key has no column \"id\""),
        Case::new(keyed(id(BAD).as_bytes()), "not_json", "the key is not JSON"),
        Case::new(keyed(&[0xff]), "not_json", "the key is not UTF-8 at byte 0"),
        Case::new(keyed(format!("\"{CANARY}\"").as_bytes()), "wrong_type", "the key has another shape"),
        Case::new(keyed(of(CANARY.into()).as_bytes()), "wrong_type", "\"id\": expected uuid"),
        Case::new(keyed(foreign.as_bytes()), "key_mismatch", "`source_key`"),
        Case::new(keyed(of(id(BAD + 1).into()).as_bytes()), "key_mismatch", "differ in key column \"id\""),
        Case::new(bad(deleted), "key_mismatch", "differ in key column \"id\""),
        Case::new(Raw::tombstone(CANARY), "not_json", "the key is not JSON"),
        Case::new(bad_user("id", Value::Null), "missing_key", "the row has no key column \"id\""),
        Case::new(bad(good_text().replacen("\"id\"", "\"ident\"", 1)), "missing_key", "no key column \"id\""),
    ]
}

fn bad_users() -> Vec<Case> {
    let number: Value = CANARY_NUMBER.parse::<i64>().unwrap().into();
    let five_megabytes = CANARY.repeat(5_000_000 / CANARY.len());
    let mut cases = no_envelopes();
    cases.extend(bad_keys());
    cases.extend([
        Case::new(bad_user("name", ten_megabytes().into()), "too_large", "bytes, the limit is"),
        Case::new(bad_user("id", CANARY.into()), "wrong_type", "\"id\": expected uuid, found a string"),
        Case::new(bad_user("name", number.clone()), "wrong_type", "\"name\": expected text, found a number"),
        Case::new(bad_user("name", json!([[CANARY]])), "wrong_type", "\"name\": expected text, found an array"),
        Case::new(bad_user("dob", CANARY.into()), "wrong_type", "\"dob\": expected date in days, found a string"),
        Case::new(bad_user("dob", number.clone()), "out_of_range", "\"dob\": the value does not fit date"),
        Case::new(bad_user("dob", i32::MAX.into()), "out_of_range", "\"dob\": the value does not fit date"),
        Case::new(bad_user("created_at", CANARY.into()), "wrong_type", "\"created_at\": expected timestamp"),
        Case::new(bad_user("created_at", number), "wrong_type", "expected timestamp, found a number"),
        Case::new(bad_user("created_at", "infinity".into()), "out_of_range", "has an infinity").at("users"),
        Case::new(bad_user("is_deleted", CANARY.into()), "wrong_type", "\"is_deleted\": expected boolean"),
        Case::new(bad_user("is_deleted", 1.into()), "wrong_type", "expected boolean, found a number"),
        Case::new(bad_user("modified_at", "2025-01-01T00:00:00.000001Z".into()), "out_of_range", "lose microseconds")
            .at("users"),
        // What only the sink knows.
        Case::new(bad_user("name", five_megabytes.into()), "too_large", "is larger than").at("users"),
    ]);
    cases
}

fn bad_orders() -> Vec<Case> {
    let row = order(BAD, 7, "19.90");
    let mut nobody = row.clone();
    nobody["user_id"] = Value::Null;
    let literal = |number: &str| bad(envelope("c", None, Some(&row)).to_string().replace("\"19.90\"", number));
    let total = |text: &str| bad_order("total_amount", text.into());
    let updated = |before: Option<&Value>| bad(envelope("u", before, Some(&row)).to_string());
    let moves = |raw: Raw, class, says| Case::new(raw, class, says).at("orders_by_user");
    vec![
        Case::new(bad_order("user_id", CANARY.into()), "wrong_type", "\"user_id\": expected uuid"),
        Case::new(bad_order("quantity", CANARY.into()), "wrong_type", "\"quantity\": expected int32, found a string"),
        Case::new(bad_order("quantity", 1.5.into()), "wrong_type", "a fraction or an exponent"),
        Case::new(bad_order("quantity", 3_000_000_000_i64.into()), "out_of_range", "does not fit int32"),
        Case::new(bad_order("quantity", u64::MAX.into()), "out_of_range", "does not fit int32"),
        Case::new(total(CANARY), "wrong_type", "\"total_amount\": expected decimal, found a string"),
        Case::new(total("B8Y="), "wrong_type", "expected decimal, found a string that is not a number"),
        Case::new(bad_order("total_amount", json!({ CANARY: 1 })), "wrong_type", "expected decimal, found an object"),
        Case::new(total("NaN"), "out_of_range", "has NaN").at("orders"),
        Case::new(literal("NaN"), "not_json", "the value is not JSON"),
        Case::new(total(&"9".repeat(300)), "out_of_range", "a decimal of 300 characters"),
        Case::new(literal("1e99999999"), "out_of_range", "does not fit decimal"),
        // The table whose key holds the user needs the user, of the old row as well: no table gets the record.
        moves(updated(None), "missing_image", "no image before"),
        moves(updated(Some(&json!({ "id": id(BAD) }))), "missing_image", "\"user_id\" of \"orders_by_user\""),
        moves(bad(envelope("d", None, None).to_string()), "missing_image", "\"user_id\" of \"orders_by_user\""),
        moves(bad_order("user_id", Value::Null), "missing_key", "\"user_id\" of \"orders_by_user\""),
        moves(updated(Some(&nobody)), "missing_image", "\"user_id\" of \"orders_by_user\""),
    ]
}

/// Asserts that the table holds exactly these ids, each cell of a column with its record's version.
async fn assert_good_rows(scenario: &Scenario, table: &str, columns: (&str, &str), first: u64, laid: &[Raw]) {
    let (id_column, column) = columns;
    let asked = format!("SELECT {id_column}, writetime({column}) FROM {}.{table}", scenario.id);
    let found: Rows = scenario.cassandra_query(&asked).await;
    let found: Vec<Vec<String>> = found.into_iter().map(|row| row.into_values().flatten().collect()).collect();
    let written = |raw: &Raw| (1000 * raw.timestamp_ms.unwrap() + 1).to_string();
    let good = laid.iter().step_by(2).zip(first..);
    let expected: Vec<Vec<String>> = good.map(|(raw, number)| vec![id(number), written(raw)]).collect();
    assert_eq!(found, expected, "{table}");
}

/// 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_envelope_is_a_dead_letter_and_its_neighbours_are_applied() {
    let scenario = Scenario::new("bad_envelopes").await;
    let [users, orders] = scenario.change_topics();
    let (of_users, of_orders) = (bad_users(), bad_orders());
    let good_user = |at: u64| change(None, Some(&user(1000 + at, &format!("{CANARY} {at}"))));
    let laid_users = produce_between(&scenario, &users, good_user, &of_users).await;
    let good_order = |at: u64| change(None, Some(&order(2000 + at, 7, "19.90")));
    let laid_orders = produce_between(&scenario, &orders, good_order, &of_orders).await;

    let cdcconsumer = scenario.cdcconsumer_to_the_end().await;

    let letters = scenario.dead_letters();
    assert_letters(&letters, &users, "users", &laid_users, &of_users, true);
    assert_letters(&letters, &orders, "orders, orders_by_user", &laid_orders, &of_orders, true);
    assert_eq!(letters.len(), of_users.len() + of_orders.len());
    assert_good_rows(&scenario, "users", ("id", "name"), 1000, &laid_users).await;
    assert_good_rows(&scenario, "orders", ("order_id", "status"), 2000, &laid_orders).await;
    assert_good_rows(&scenario, "orders_by_user", ("order_id", "status"), 2000, &laid_orders).await;
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&users, &orders]);
    assert_log_is_clean(&cdcconsumer);
}

/// 12 s.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_change_of_a_row_are_passed_over() {
    let scenario = Scenario::new("passed_over").await;
    let [users, orders] = scenario.change_topics();
    let good = |number| change(None, Some(&user(number, CANARY)));
    let moved = |number| change(None, Some(&order(number, 7, "19.90")));
    let message = json!({ "op": "m", "ts_ms": 1, "message": { "prefix": CANARY, "content": "eHl6" } });
    let ended = json!({ "status": "END", "id": "571:53", "event_count": 2, "ts_ms": 1, "data_collections": [] });
    let none = [
        Raw::tombstone(bad_key()),
        Raw::new(bad_key(), "null"),
        Raw::new(r#"{"serverName":"e2e"}"#, r#"{"ts_ms":1735689600000}"#),
        Raw::new(json!({ "prefix": CANARY }).to_string(), message.to_string()),
        Raw::new(r#"{"id":"571:53"}"#, r#"{"status":"BEGIN","id":"571:53","ts_ms":1}"#),
        Raw::new(r#"{"id":"571:53"}"#, ended.to_string()),
        // No key at all, which these need not have.
        Raw { value: Some(br#"{"ts_ms":1735689600000}"#.into()), ..Raw::default() },
    ];
    // A tombstone comes after the delete of its row; where rows move, the delete has done everything.
    let mut records = vec![good(1)];
    records.extend(none.iter().cloned());
    records.push(good(2));
    records.push(Raw::tombstone(key(&user(2, CANARY))));
    records.push(good(3));
    let records: Vec<Raw> = records.into_iter().map(|record| record.to(0)).collect();
    scenario.produce_all(&users, &records).await;
    let mut records = vec![moved(1)];
    records.extend(none);
    records.push(moved(2));
    let records: Vec<Raw> = records.into_iter().map(|record| record.to(0)).collect();
    scenario.produce_all(&orders, &records).await;

    let cdcconsumer = scenario.cdcconsumer_to_the_end().await;

    assert_eq!(scenario.dead_letters(), []);
    let ids = |rows: Rows, column: &str| rows.iter().map(|row| row[column].clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(scenario.cassandra_rows("users").await, "id"), [id(1), id(3)]);
    assert_eq!(ids(scenario.cassandra_rows("orders").await, "order_id"), [id(1), id(2)]);
    assert_eq!(ids(scenario.cassandra_rows("orders_by_user").await, "order_id"), [id(1), id(2)]);
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&users, &orders]);
    assert_log_is_clean(&cdcconsumer);
}
