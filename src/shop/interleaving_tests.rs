//! Tests only: proves that a history ends the same however its two topics interleave.
//!
//! A model of the two Postgres tables with their triggers takes the events partition by partition, in any order
//! between partitions, and must end where the oracle says. The model is written after the database, row by row and
//! trigger by trigger; the oracle folds each key alone. They share nothing but the row types.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use uuid::Uuid;

use super::dice::Dice;
use super::event::{Event, EventType, OrderEvent, UserEvent};
use super::history::HistorySpec;
use super::oracle::{OrderRow, Tables, UserRow};

/// As the demo's topics have them.
const USERS_PARTITIONS: u128 = 3;
const ORDERS_PARTITIONS: u128 = 5;

#[derive(Debug, PartialEq)]
enum Applied {
    Done,
    /// The order's user is not there yet: its partition stands still.
    WaitsForUser,
}

/// Postgres and the consumer, one event at a time.
#[derive(Default)]
struct Postgres {
    tables: Tables,
}

impl Postgres {
    fn apply(&mut self, event: &Event) -> Applied {
        match event {
            Event::User(event) => {
                self.apply_user(event);
                Applied::Done
            }
            Event::Order(event) => self.apply_order(event),
        }
    }

    fn apply_user(&mut self, event: &UserEvent) {
        if event.event_type == EventType::Create {
            let row = UserRow {
                id: event.user_id,
                name: event.name.clone().expect("name"),
                dob: event.dob.expect("dob"),
                created_at: event.created_at.expect("created_at"),
                modified_at: event.modified_at,
                is_deleted: false,
            };
            assert!(self.tables.users.insert(event.user_id, row).is_none(), "CREATE of a user that is there");
            return;
        }
        let row = self.tables.users.get_mut(&event.user_id).expect("missing_row: a user");
        assert!(!row.is_deleted, "an event of a deleted user");
        row.name = event.name.clone().unwrap_or(row.name.clone());
        row.dob = event.dob.unwrap_or(row.dob);
        row.modified_at = event.modified_at;
        row.is_deleted = event.event_type == EventType::Delete;
        if row.is_deleted {
            let user = row.clone();
            self.trigger_user_deleted(&user);
        }
    }

    fn apply_order(&mut self, event: &OrderEvent) -> Applied {
        if event.user_id.is_some_and(|user| !self.tables.users.contains_key(&user)) {
            return Applied::WaitsForUser;
        }
        if event.event_type == EventType::Create {
            let row = OrderRow {
                id: event.order_id,
                status: event.order_status,
                user_id: event.user_id.expect("user_id"),
                quantity: event.quantity.expect("quantity"),
                total_amount: event.order_total.expect("order_total"),
                placed_at: event.placed_at.expect("placed_at"),
                modified_at: event.modified_at,
                is_deleted: false,
            };
            let before = self.tables.orders.insert(event.order_id, self.trigger_order_written(row));
            assert!(before.is_none(), "CREATE of an order that is there");
            return Applied::Done;
        }
        let row = self.tables.orders.get(&event.order_id).expect("missing_row: an order").clone();
        let row = match event.event_type {
            EventType::Delete if row.is_deleted => return Applied::Done,
            EventType::Delete => OrderRow { is_deleted: true, modified_at: event.modified_at, ..row },
            _ => OrderRow {
                status: event.order_status,
                user_id: event.user_id.unwrap_or(row.user_id),
                quantity: event.quantity.unwrap_or(row.quantity),
                total_amount: event.order_total.unwrap_or(row.total_amount),
                modified_at: event.modified_at,
                ..row
            },
        };
        let row = self.trigger_order_written(row);
        self.tables.orders.insert(event.order_id, row);
        Applied::Done
    }

    /// Every insert and update of an order looks at its user.
    fn trigger_order_written(&self, mut row: OrderRow) -> OrderRow {
        let user = self.tables.users.get(&row.user_id).expect("foreign key");
        if user.is_deleted {
            row.is_deleted = true;
            row.modified_at = row.modified_at.max(user.modified_at);
        }
        row
    }

    /// Deleting a user deletes their orders, and moves the time of those that were deleted before.
    fn trigger_user_deleted(&mut self, user: &UserRow) {
        for order in self.tables.orders.values_mut().filter(|order| order.user_id == user.id) {
            order.is_deleted = true;
            order.modified_at = order.modified_at.max(user.modified_at);
        }
    }
}

/// Applies a history's partitions in an order drawn from `seed`. How eagerly a partition is read is drawn too, from
/// hardly ever to nearly always, so that topics run far ahead of each other as well as side by side.
fn applied_in_some_order(history: &[Event], seed: u64) -> Tables {
    let mut dice = Dice::new(seed);
    let mut partitions: BTreeMap<(bool, u128), (u64, VecDeque<&Event>)> = BTreeMap::new();
    for event in history {
        partitions
            .entry(partition_of(event))
            .or_insert_with(|| (1 << dice.below(12), VecDeque::new()))
            .1
            .push_back(event);
    }
    let mut partitions: Vec<_> = partitions.into_values().collect();
    let mut postgres = Postgres::default();
    let mut waiting_in_a_row = 0;
    while !partitions.is_empty() {
        let mut drawn = dice.below(partitions.iter().map(|(eagerness, _)| eagerness).sum());
        let at = partitions.iter().position(|(eagerness, _)| {
            let here = drawn < *eagerness;
            drawn = drawn.saturating_sub(*eagerness);
            here
        });
        let at = at.expect("the draw is below the sum");
        // A run of events rather than one, as batches would.
        for _ in 0..=dice.below(20) {
            match partitions[at].1.front().map(|event| postgres.apply(event)) {
                None => break,
                Some(Applied::Done) => {
                    partitions[at].1.pop_front();
                    waiting_in_a_row = 0;
                }
                Some(Applied::WaitsForUser) => {
                    waiting_in_a_row += 1;
                    assert!(waiting_in_a_row < 1_000_000, "an order waits for a user that never comes");
                    break;
                }
            }
        }
        if partitions[at].1.is_empty() {
            partitions.swap_remove(at);
        }
    }
    postgres.tables
}

/// Any function of the key will do. Users and orders are different topics.
fn partition_of(event: &Event) -> (bool, u128) {
    let key = |id: Uuid| id.as_u128() >> 7;
    match event {
        Event::User(event) => (true, key(event.user_id) % USERS_PARTITIONS),
        Event::Order(event) => (false, key(event.order_id) % ORDERS_PARTITIONS),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_interleaving_ends_where_the_oracle_says(
        seed in any::<u64>(), early in 0usize..200, users in 1u64..60, orders in 0u64..150, interleavings in prop::collection::vec(any::<u64>(), 4)
    ) {
        let spec = HistorySpec { seed, users, orders, endless: false };
        let oracle = Tables::after(spec.history());
        let history: Vec<Event> = spec.history().with_users_early(early).collect();
        for interleaving in interleavings {
            prop_assert!(applied_in_some_order(&history, interleaving) == oracle, "interleaving {}", interleaving);
        }
    }
}

/// The property is worth something only if histories reach the cases that could break it.
#[test]
fn histories_have_moves_cascades_and_deletes_overtaken_by_their_users() {
    let history: Vec<Event> = HistorySpec { seed: 3, users: 60, orders: 150, endless: false }.history().collect();
    let tables = Tables::after(history.iter().cloned());
    let moves = history.iter().filter(
        |event| matches!(event, Event::Order(order) if order.event_type == EventType::Update && order.user_id.is_some()),
    );
    assert!(moves.count() >= 5);
    let deleted: BTreeMap<Uuid, _> = history
        .iter()
        .filter(|event| event.event_type() == EventType::Delete)
        .map(|event| (event.id(), event.modified_at()))
        .collect();
    let of_deleted_user = |order: &&OrderRow| deleted.contains_key(&order.user_id);
    let cascaded = tables.orders.values().filter(of_deleted_user);
    assert!(cascaded.clone().filter(|order| !deleted.contains_key(&order.id)).count() >= 5, "by the trigger alone");
    assert!(cascaded.clone().filter(|order| deleted.contains_key(&order.id)).count() >= 5, "by their own event first");
    assert!(cascaded.into_iter().all(|order| order.modified_at == deleted[&order.user_id]));
}
