//! Business events as they stand in Kafka. `schemas/user-event.v1.json` and `schemas/order-event.v1.json` are the
//! contract; a test holds every event of a history against them.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The header that names the contract's version, and the version written here.
pub const SCHEMA_VERSION_HEADER: &str = "schema-version";
pub const SCHEMA_VERSION: &str = "1";

/// One event of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    User(UserEvent),
    Order(OrderEvent),
}

/// What happened to a user. Members that are absent did not change; a DELETE carries none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserEvent {
    pub event_type: EventType,
    pub user_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dob: Option<CalendarDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    pub modified_at: Timestamp,
}

/// What happened to an order. The status stands in every event; a DELETE repeats the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderEvent {
    pub event_type: EventType,
    pub order_id: Uuid,
    pub order_status: OrderStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_total: Option<Cents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Timestamp>,
    pub modified_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    Create,
    Update,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderStatus {
    Placed,
    Shipped,
    Delivered,
    Cancelled,
}

/// An instant in milliseconds since 1970, printed as RFC 3339 with three digits and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// An amount of money, printed with two places: `12.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub u64);

/// A calendar date, printed as `2006-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarDate(pub NaiveDate);

impl Event {
    /// The entity's id: the record's key, so that the events of one entity stay in order.
    pub fn id(&self) -> Uuid {
        match self {
            Event::User(event) => event.user_id,
            Event::Order(event) => event.order_id,
        }
    }

    pub fn event_type(&self) -> EventType {
        match self {
            Event::User(event) => event.event_type,
            Event::Order(event) => event.event_type,
        }
    }

    pub fn modified_at(&self) -> Timestamp {
        match self {
            Event::User(event) => event.modified_at,
            Event::Order(event) => event.modified_at,
        }
    }

    /// The record's value.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("no map with odd keys and no failing writer: nothing here can fail")
    }
}

impl OrderStatus {
    /// Nothing more happens to the goods: the order was delivered or cancelled.
    pub fn is_final(self) -> bool {
        matches!(self, OrderStatus::Delivered | OrderStatus::Cancelled)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Display for CalendarDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for CalendarDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::shop::history::HistorySpec;

    fn contract(text: &str) -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(text).expect("a schema is JSON");
        jsonschema::meta::validate(&schema).expect("a schema is a valid schema");
        jsonschema::draft202012::options().should_validate_formats(true).build(&schema).expect("a schema compiles")
    }

    fn user_contract() -> jsonschema::Validator {
        contract(include_str!("../../schemas/user-event.v1.json"))
    }

    fn order_contract() -> jsonschema::Validator {
        contract(include_str!("../../schemas/order-event.v1.json"))
    }

    #[test]
    fn every_event_of_a_history_keeps_its_contract() {
        let (users, orders) = (user_contract(), order_contract());
        for event in (HistorySpec { seed: 11, users: 400, orders: 800, endless: false }).history() {
            let json: Value = serde_json::from_slice(&event.to_json()).expect("JSON");
            let contract = if matches!(event, Event::User(_)) { &users } else { &orders };
            assert!(contract.validate(&json).is_ok(), "{:?}: {json}", contract.validate(&json));
        }
    }

    #[test]
    fn the_contracts_refuse_what_they_should_and_let_events_grow() {
        let id = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        let at = "2025-01-01T00:00:00.000Z";
        let user = |more: Value| merged(json!({"event_type": "UPDATE", "user_id": id, "modified_at": at}), more);
        let order = |more: Value| {
            let least = json!({"event_type": "UPDATE", "order_id": id, "order_status": "PLACED", "modified_at": at});
            merged(least, more)
        };
        let users = user_contract();
        for (more, valid) in [
            (json!({}), true),
            (json!({"nickname": "Zoë"}), true),
            (json!({"name": "李".repeat(50)}), true),
            (json!({"name": "李".repeat(51)}), false),
            (json!({"name": null}), false),
            (json!({"dob": "1970-02-30"}), false),
            (json!({"event_type": "CREATE"}), false),
            (json!({"event_type": "UPSERT"}), false),
            (json!({"user_id": "7"}), false),
            (json!({"modified_at": "yesterday"}), false),
        ] {
            assert_eq!(users.is_valid(&user(more.clone())), valid, "user {more}");
        }
        let orders = order_contract();
        for (more, valid) in [
            (json!({}), true),
            (json!({"coupon": {"code": 1}}), true),
            (json!({"order_total": "12.50"}), true),
            (json!({"order_total": 12.5}), true),
            (json!({"order_total": "12.5"}), false),
            (json!({"order_total": "100000000.00"}), false),
            (json!({"quantity": 1.5}), false),
            (json!({"quantity": 2147483648_u32}), false),
            (json!({"order_status": "LOST"}), false),
            (json!({"event_type": "CREATE"}), false),
        ] {
            assert_eq!(orders.is_valid(&order(more.clone())), valid, "order {more}");
        }
    }

    fn merged(mut object: Value, more: Value) -> Value {
        for (name, value) in more.as_object().expect("an object") {
            object[name] = value.clone();
        }
        object
    }

    #[test]
    fn events_look_like_this() {
        let text: Vec<String> = HistorySpec { seed: 5, users: 1, orders: 1, endless: false }
            .history()
            .map(|event| String::from_utf8(event.to_json()).expect("JSON is UTF-8"))
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        {"event_type":"CREATE","user_id":"4f31f5ab-3e9e-4aaa-b7d6-f1b525fd8e6f","name":"Grażyna Zieliński","dob":"1945-12-31","created_at":"2025-01-01T00:00:04.069Z","modified_at":"2025-01-01T00:00:04.069Z"}
        {"event_type":"CREATE","order_id":"faedb4e4-6f09-4b8d-bc6e-f70f24d2c994","order_status":"PLACED","user_id":"4f31f5ab-3e9e-4aaa-b7d6-f1b525fd8e6f","quantity":2,"order_total":"379.98","placed_at":"2025-01-01T00:00:12.144Z","modified_at":"2025-01-01T00:00:12.144Z"}
        {"event_type":"UPDATE","user_id":"4f31f5ab-3e9e-4aaa-b7d6-f1b525fd8e6f","name":"Grażyna Nowak","modified_at":"2025-01-01T00:00:17.341Z"}
        {"event_type":"UPDATE","order_id":"faedb4e4-6f09-4b8d-bc6e-f70f24d2c994","order_status":"SHIPPED","modified_at":"2025-01-01T00:00:22.677Z"}
        {"event_type":"DELETE","order_id":"faedb4e4-6f09-4b8d-bc6e-f70f24d2c994","order_status":"SHIPPED","modified_at":"2025-01-01T00:00:29.447Z"}
        "#);
    }
}
