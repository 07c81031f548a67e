//! The tables that a history must lead to, whatever happens on the way: what every end-to-end test compares with.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use uuid::Uuid;

use super::event::{CalendarDate, Cents, Event, EventType, OrderEvent, OrderStatus, Timestamp, UserEvent};

/// Both tables, as `postgres-schema.sql` defines them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub users: BTreeMap<Uuid, UserRow>,
    pub orders: BTreeMap<Uuid, OrderRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    pub id: Uuid,
    pub name: String,
    pub dob: CalendarDate,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
    pub is_deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderRow {
    pub id: Uuid,
    pub status: OrderStatus,
    pub user_id: Uuid,
    pub quantity: u32,
    pub total_amount: Cents,
    pub placed_at: Timestamp,
    pub modified_at: Timestamp,
    pub is_deleted: bool,
}

/// One line of the oracle's output.
#[derive(Serialize)]
struct Line<'a, R> {
    table: &'a str,
    row: &'a R,
}

impl Tables {
    /// Where a finite history ends. Each row is its own events folded; only then are the orders of deleted users
    /// deleted, at the time of that user's DELETE, which is later than anything that happened to them.
    pub fn after(history: impl Iterator<Item = Event>) -> Tables {
        let mut tables = Tables::default();
        for event in history {
            match event {
                Event::User(event) => tables.fold_user(event),
                Event::Order(event) => tables.fold_order(event),
            }
        }
        for order in tables.orders.values_mut() {
            let user = &tables.users[&order.user_id];
            if user.is_deleted {
                order.is_deleted = true;
                order.modified_at = order.modified_at.max(user.modified_at);
            }
        }
        tables
    }

    /// Every row as a JSON line, `{"table":…,"row":{…}}`. The lines are sorted as text.
    pub fn write_lines(&self, mut out: impl io::Write) -> io::Result<()> {
        for row in self.orders.values() {
            write_line(&mut out, "orders", row)?;
        }
        for row in self.users.values() {
            write_line(&mut out, "users", row)?;
        }
        out.flush()
    }

    fn fold_user(&mut self, event: UserEvent) {
        if event.event_type == EventType::Create {
            let row = UserRow {
                id: event.user_id,
                name: event.name.expect(CREATE_IS_WHOLE),
                dob: event.dob.expect(CREATE_IS_WHOLE),
                created_at: event.created_at.expect(CREATE_IS_WHOLE),
                modified_at: event.modified_at,
                is_deleted: false,
            };
            self.users.insert(event.user_id, row);
            return;
        }
        let row = self.users.get_mut(&event.user_id).expect(ONLY_WHAT_EXISTS);
        if let Some(name) = event.name {
            row.name = name;
        }
        row.dob = event.dob.unwrap_or(row.dob);
        row.modified_at = event.modified_at;
        row.is_deleted |= event.event_type == EventType::Delete;
    }

    fn fold_order(&mut self, event: OrderEvent) {
        if event.event_type == EventType::Create {
            let row = OrderRow {
                id: event.order_id,
                status: event.order_status,
                user_id: event.user_id.expect(CREATE_IS_WHOLE),
                quantity: event.quantity.expect(CREATE_IS_WHOLE),
                total_amount: event.order_total.expect(CREATE_IS_WHOLE),
                placed_at: event.placed_at.expect(CREATE_IS_WHOLE),
                modified_at: event.modified_at,
                is_deleted: false,
            };
            self.orders.insert(event.order_id, row);
            return;
        }
        let row = self.orders.get_mut(&event.order_id).expect(ONLY_WHAT_EXISTS);
        row.status = event.order_status;
        row.user_id = event.user_id.unwrap_or(row.user_id);
        row.quantity = event.quantity.unwrap_or(row.quantity);
        row.total_amount = event.order_total.unwrap_or(row.total_amount);
        row.modified_at = event.modified_at;
        row.is_deleted |= event.event_type == EventType::Delete;
    }
}

const CREATE_IS_WHOLE: &str = "a CREATE of our own history carries every column";
const ONLY_WHAT_EXISTS: &str = "our own history changes only what it created";

fn write_line(out: &mut impl io::Write, table: &str, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { table, row })?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::history::HistorySpec;

    fn lines(seed: u64, users: u64, orders: u64) -> String {
        let mut out = Vec::new();
        let spec = HistorySpec { seed, users, orders, endless: false };
        Tables::after(spec.history()).write_lines(&mut out).expect("memory takes every write");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn a_tiny_history_ends_here() {
        insta::assert_snapshot!(lines(1, 3, 4), @r#"
        {"table":"orders","row":{"id":"0bc9a48e-3b77-4454-b652-4297cb36db70","status":"PLACED","user_id":"753632ea-fb46-41bf-90e5-dea0cf827a25","quantity":1,"total_amount":"249.99","placed_at":"2025-01-01T00:01:19.094Z","modified_at":"2025-01-01T00:01:19.094Z","is_deleted":false}}
        {"table":"orders","row":{"id":"2ad62dd9-8b59-4ebe-bc3c-0e2a04e2e56a","status":"PLACED","user_id":"753632ea-fb46-41bf-90e5-dea0cf827a25","quantity":6,"total_amount":"215.40","placed_at":"2025-01-01T00:00:46.667Z","modified_at":"2025-01-01T00:00:55.788Z","is_deleted":true}}
        {"table":"orders","row":{"id":"2e3967c0-4dcd-4632-b4c0-7832e52f9867","status":"SHIPPED","user_id":"4b805b72-edd5-453e-8c5a-63ee65a4f412","quantity":1,"total_amount":"15.95","placed_at":"2025-01-01T00:00:13.765Z","modified_at":"2025-01-01T00:00:34.891Z","is_deleted":true}}
        {"table":"orders","row":{"id":"ba53e7ca-c48c-4114-8c31-65e99e7e5553","status":"SHIPPED","user_id":"753632ea-fb46-41bf-90e5-dea0cf827a25","quantity":12,"total_amount":"239.40","placed_at":"2025-01-01T00:00:57.688Z","modified_at":"2025-01-01T00:01:11.269Z","is_deleted":true}}
        {"table":"users","row":{"id":"03d69def-fec4-4ee6-906a-a993a9430709","name":"赵娜","dob":"2006-11-05","created_at":"2025-01-01T00:00:29.946Z","modified_at":"2025-01-01T00:00:46.444Z","is_deleted":true}}
        {"table":"users","row":{"id":"4b805b72-edd5-453e-8c5a-63ee65a4f412","name":"عمر الحسيني","dob":"1988-07-09","created_at":"2025-01-01T00:00:04.044Z","modified_at":"2025-01-01T00:00:34.891Z","is_deleted":true}}
        {"table":"users","row":{"id":"753632ea-fb46-41bf-90e5-dea0cf827a25","name":"Søren Dvořák","dob":"1957-02-23","created_at":"2025-01-01T00:00:39.090Z","modified_at":"2025-01-01T00:01:17.613Z","is_deleted":false}}
        "#);
    }

    #[test]
    fn lines_are_sorted_as_text() {
        let text = lines(2, 300, 700);
        assert!(text.lines().is_sorted());
        assert_eq!(text.lines().count(), 1000);
    }
}
