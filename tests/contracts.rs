//! The wire contracts in `schemas/` against what `consumer` accepts: all that a contract allows is read, and what is
//! refused is against the contract. (What `producer` writes is held against them beside its types.)

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rowferry::change::Decoded;
use rowferry::format::Decoder;
use rowferry::plan::route::{RouteSpec, Routes, TargetTable};
use rowferry::record::Record;
use rowferry::row::{Column, Kind};
use serde_json::{Value, json};

const USER: &str = include_str!("../schemas/user-event.v1.json");
const ORDER: &str = include_str!("../schemas/order-event.v1.json");
const ID: &str = "7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f";

/// The demo's routes, as rowferry.toml has them.
fn routes() -> Routes {
    let table = |name: &str, columns: &[(&str, Kind)]| {
        let columns =
            columns.iter().map(|(name, kind)| Column { name: name.to_string(), kind: kind.clone() }).collect();
        (name.to_string(), TargetTable { name: name.into(), columns, key: vec!["id".into()] })
    };
    let at = [("modified_at", Kind::Timestamp), ("is_deleted", Kind::Bool)];
    let users = [("id", Kind::Uuid), ("name", Kind::Text), ("dob", Kind::Date), ("created_at", Kind::Timestamp)];
    let orders = [
        ("id", Kind::Uuid),
        ("status", Kind::Text),
        ("user_id", Kind::Uuid),
        ("quantity", Kind::Int32),
        ("total_amount", Kind::Decimal),
        ("placed_at", Kind::Timestamp),
    ];
    let tables =
        BTreeMap::from([table("users", &[&users[..], &at].concat()), table("orders", &[&orders[..], &at].concat())]);
    let spec = |topic: &str, key: &str, renamed: &[(&str, &str)]| RouteSpec {
        renamed: renamed.iter().map(|(target, source)| (target.to_string(), source.to_string())).collect(),
        ..RouteSpec::events(topic, topic, &[key], "is_deleted")
    };
    let orders = [("id", "order_id"), ("status", "order_status"), ("total_amount", "order_total")];
    let specs = [spec("users", "user_id", &[("id", "user_id")]), spec("orders", "order_id", &orders)];
    Routes::resolve(&specs, &tables).expect("the demo's routes fit the demo's tables")
}

fn is_accepted(topic: &str, event: &Value) -> bool {
    let routes = routes();
    let record = Record {
        topic: topic.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(Bytes::from_static(ID.as_bytes())),
        value: Some(event.to_string().into()),
        headers: Arc::default(),
    };
    let shape = &routes.topic(topic).expect("it is routed").shape;
    matches!(Decoder::new(shape, 1 << 20).decode(&record), Decoded::Change(_))
}

fn is_allowed(contract: &str, event: &Value) -> bool {
    let schema: Value = serde_json::from_str(contract).expect("a contract is JSON");
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema);
    validator.expect("a contract compiles").is_valid(event)
}

fn order(change: Value) -> Value {
    let mut order = json!({
        "event_type": "CREATE", "order_id": ID, "order_status": "PLACED", "user_id": ID, "quantity": 3,
        "order_total": "149.90", "placed_at": "2026-01-01T00:00:00.123Z", "modified_at": "2026-01-01T00:00:00.123Z"
    });
    change.as_object().expect("an object").iter().for_each(|(name, value)| order[name] = value.clone());
    order
}

#[test]
fn what_a_contract_allows_is_read() {
    let bare = json!({ "event_type": "UPDATE", "order_id": ID, "order_status": "SHIPPED", "modified_at": "2026-01-01T02:00:00+02:00" });
    let user = json!({
        "event_type": "CREATE", "user_id": ID, "name": "José", "dob": "2000-02-29",
        "created_at": "2026-01-01T00:00:00Z", "modified_at": "2026-01-01T00:00:00.5Z"
    });
    let gone = json!({ "event_type": "DELETE", "user_id": ID, "modified_at": "2026-01-01T00:00:00Z" });
    let orders = [
        order(json!({})),
        order(json!({ "order_total": 149.9 })),
        order(json!({ "order_total": 10 })),
        order(json!({ "order_total": "-0.01", "added_later": { "by": ["anyone"] } })),
        bare,
    ];
    for event in &orders {
        assert!(is_allowed(ORDER, event) && is_accepted("orders", event), "{event}");
    }
    for event in [&user, &gone] {
        assert!(is_allowed(USER, event) && is_accepted("users", event), "{event}");
    }
}

#[test]
fn what_is_refused_is_against_the_contract() {
    let changes = [
        json!({ "event_type": "UPSERT" }),
        json!({ "event_type": null }),
        json!({ "order_id": "7f1c0a52" }),
        json!({ "user_id": "somebody" }),
        json!({ "quantity": "3" }),
        json!({ "quantity": 2_147_483_648_i64 }),
        json!({ "quantity": 1.5 }),
        json!({ "order_total": "a lot" }),
        json!({ "order_total": true }),
        json!({ "placed_at": "yesterday" }),
        json!({ "placed_at": 1_767_225_600 }),
        json!({ "modified_at": "2026-02-30T00:00:00Z" }),
    ];
    for event in changes.into_iter().map(order) {
        assert!(!is_accepted("orders", &event), "it is read: {event}");
        assert!(!is_allowed(ORDER, &event), "it is refused and the contract allows it: {event}");
    }
}
