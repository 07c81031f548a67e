//! Debezium's records made by hand, for tests that need no connector: rows of the demo's tables in envelopes.

use serde_json::{Value, json};

use crate::topics::Raw;

/// A uuid that is easy to read in a log: `id(7)` ends in 7.
pub fn id(number: u64) -> String {
    uuid::Uuid::from_u64_pair(0x4000, 0x8000_0000_0000_0000 | number).to_string()
}

/// A row of `public.users` as Debezium writes it.
pub fn user(number: u64, name: &str) -> Value {
    json!({
        "id": id(number), "name": name, "dob": 10_957, "created_at": "2025-01-01T00:00:00.000000Z",
        "modified_at": "2025-01-02T03:04:05.678000Z", "is_deleted": false,
    })
}

/// A row of `public.orders` as Debezium writes it.
pub fn order(number: u64, user: u64, total: &str) -> Value {
    json!({
        "id": id(number), "status": "PLACED", "user_id": id(user), "quantity": 3, "total_amount": total,
        "placed_at": "2025-01-03T00:00:00.000000Z", "modified_at": "2025-01-03T00:00:00.000000Z", "is_deleted": false,
    })
}

/// A change: c without `before`, d without `after`, else u. The key is that of the row.
pub fn change(before: Option<&Value>, after: Option<&Value>) -> Raw {
    let op = match (before, after) {
        (None, _) => "c",
        (Some(_), None) => "d",
        (Some(_), Some(_)) => "u",
    };
    let row = after.or(before).expect("a change has a row");
    Raw::new(key(row), envelope(op, before, after).to_string())
}

pub fn key(row: &Value) -> String {
    json!({ "id": row["id"] }).to_string()
}

pub fn envelope(op: &str, before: Option<&Value>, after: Option<&Value>) -> Value {
    json!({
        "before": before, "after": after,
        "source": {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "e2e", "ts_ms": 1_735_689_600_000_i64,
            "snapshot": "false", "db": "e2e", "sequence": "[\"100\",\"200\"]", "schema": "public", "table": "t",
            "txId": 700, "lsn": 200, "xmin": null,
        },
        "transaction": null, "op": op, "ts_ms": 1_735_689_600_001_i64,
    })
}
