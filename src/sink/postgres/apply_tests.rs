//! Tests of the decisions: cases by hand, and a batch against its events one by one on a model of the tables with
//! their triggers.

use std::collections::{BTreeSet, HashMap};

use bytestring::ByteString;
use proptest::prelude::*;

use super::*;
use crate::row::Kind;
use crate::sink::postgres::limits::Limit;
use crate::sink::postgres::schema::ColumnPlan;

const USERS: usize = 0;
const ORDERS: usize = 1;

fn column(name: &str, kind: Kind, limit: Limit) -> ColumnPlan {
    ColumnPlan { name: name.into(), type_name: kind.to_string(), kind, limit, required: true, has_default: false }
}

/// users(id, modified_at) and orders(id, user_id → users, status varchar(3), modified_at), both with a flag.
fn plans(orders_topic: &str) -> Vec<TablePlan> {
    let id = || column("id", Kind::Int64, Limit::Type);
    let modified_at = || column("modified_at", Kind::Int64, Limit::Type);
    let plan = |name: &str, topic: &str, columns, parents| TablePlan {
        name: name.into(),
        topic: topic.into(),
        columns,
        key: vec![0],
        flag: "is_deleted".into(),
        parents,
        checked: Vec::new(),
    };
    let user = Parent {
        table: "users".into(),
        topic: "users".into(),
        route: USERS,
        columns: vec![1],
        referenced: vec!["id".into()],
        referenced_at: vec![0],
    };
    let status = column("status", Kind::Text, Limit::Characters(3));
    vec![
        plan("users", "users", vec![id(), modified_at()], vec![]),
        plan(
            "orders",
            orders_topic,
            vec![id(), column("user_id", Kind::Int64, Limit::Type), status, modified_at()],
            vec![user],
        ),
    ]
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

fn text(value: &str) -> Value {
    Value::Text(ByteString::from(value))
}

fn write(record: usize, route: usize, what: &str, values: Vec<Value>) -> Write {
    let (kind, expect) = match what {
        "create" => (WriteKind::Upsert, Expect::Absent),
        "update" => (WriteKind::Upsert, Expect::Present),
        "delete" => (WriteKind::Delete, Expect::Present),
        "update if newer" => (WriteKind::Upsert, Expect::PresentOlder(values.len() - 1)),
        "delete if newer" => (WriteKind::Delete, Expect::PresentOlder(values.len() - 1)),
        what => panic!("no event {what}"),
    };
    Write { record, route, kind, expect, version: None, ends_at_ms: None, standing: Default::default(), values }
}

fn order(record: usize, what: &str, id: i64, user: Value, status: Value, modified: Value) -> Write {
    write(record, ORDERS, what, vec![int(id), user, status, modified])
}

/// The tables and their triggers, as postgres-schema.sql has them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    users: HashMap<Key, Current>,
    orders: HashMap<Key, Current>,
}

impl Model {
    fn rows(&mut self, route: usize) -> &mut HashMap<Key, Current> {
        if route == USERS { &mut self.users } else { &mut self.orders }
    }

    fn existing(&self, plans: &[TablePlan]) -> Existing {
        let mut existing = Existing::default();
        existing.rows.extend(self.users.keys().map(|key| (USERS, key.clone())));
        existing.rows.extend(self.orders.keys().map(|key| (ORDERS, key.clone())));
        if !plans[ORDERS].parents.is_empty() {
            existing.parents.extend(self.users.keys().map(|key| (ORDERS, 0, key.clone())));
        }
        existing
    }

    /// What the BEFORE trigger makes of an order.
    fn order(&self, mut order: Current) -> Current {
        let user = &self.users[&order.values[1..2]];
        if user.deleted {
            order.deleted = true;
            order.values[3] = later(&order.values[3], &user.values[1]);
        }
        order
    }

    fn put(&mut self, route: usize, row: Current, is_update: bool) {
        let key = row.values[..1].to_vec();
        if route == ORDERS {
            let row = self.order(row);
            self.orders.insert(key, row);
            return;
        }
        self.users.insert(key.clone(), row.clone());
        if is_update && row.deleted {
            for order in self.orders.values_mut().filter(|order| order.values[1] == key[0]) {
                order.deleted = true;
                order.values[3] = later(&order.values[3], &row.values[1]);
            }
        }
    }

    fn run(&mut self, round: Round, route: usize) {
        for row in round.inserts {
            assert!(!self.rows(route).contains_key(&row.values[..1]), "inserted twice");
            self.put(route, row, false);
        }
        for row in round.updates {
            let deleted = row.deleted || self.rows(route)[&row.values[..1]].deleted;
            self.put(route, Current { deleted, ..row }, true);
        }
    }

    /// The whole of `writes` as one batch, as the sink does it: records behind a cut are left out, refused ones too.
    fn batch(&mut self, plans: &[TablePlan], writes: &[Write]) -> Judged {
        let checked = check(plans, writes);
        let judged = judge(plans, &checked, &self.existing(plans));
        let end = judged.cut.as_ref().map_or(usize::MAX, |cut| cut.record);
        let refused: BTreeSet<usize> = judged.rejects.iter().map(|rejected| rejected.record).collect();
        for route in [USERS, ORDERS] {
            let kept = writes
                .iter()
                .filter(|write| write.route == route && write.record < end && !refused.contains(&write.record));
            let mut rounds = Rounds::new(&plans[route], kept);
            while !rounds.is_done() {
                let round = rounds.take(&plans[route], self.rows(route)).expect("rows stay");
                self.run(round, route);
            }
        }
        judged
    }
}

fn later(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => int(*one.max(other)),
        _ => panic!("modified_at is a number here"),
    }
}

/// Users 1 (live) and 2 (deleted, modified at 50); order 1 of user 1.
fn some() -> Model {
    let current = |values: Vec<Value>, deleted| (values[..1].to_vec(), Current { values, deleted });
    Model {
        users: [current(vec![int(1), int(10)], false), current(vec![int(2), int(50)], true)].into(),
        orders: [current(vec![int(1), int(1), text("new"), int(20)], false)].into(),
    }
}

/// Rounds of these writes on [`some`], printed.
fn check_rounds(writes: &[Write], expect: &[&str]) {
    check_rounds_of(&plans("orders"), writes, expect);
}

fn check_rounds_of(plans: &[TablePlan], writes: &[Write], expect: &[&str]) {
    let mut model = some();
    let mut rounds = Rounds::new(&plans[ORDERS], writes.iter());
    let mut said = Vec::new();
    while !rounds.is_done() {
        let round = rounds.take(&plans[ORDERS], &model.orders).expect("rows stay");
        let row = |row: &Current| {
            let values = row.values.iter().map(|value| match value {
                Value::Int(int) => int.to_string(),
                Value::Text(text) => text.to_string(),
                value => format!("{value:?}"),
            });
            format!("{}{}", values.collect::<Vec<_>>().join(" "), if row.deleted { " deleted" } else { "" })
        };
        let inserts = round.inserts.iter().map(|insert| format!("insert {}", row(insert)));
        said.push(inserts.chain(round.updates.iter().map(|update| format!("update {}", row(update)))).collect());
        model.run(round, ORDERS);
    }
    let said: Vec<String> = said.iter().map(|round: &Vec<String>| round.join("; ")).collect();
    assert_eq!(said, expect);
}

#[test]
fn events_of_a_row_fold_into_one_statement() {
    let absent = || Value::Absent;
    check_rounds(
        &[
            order(0, "create", 7, int(1), text("new"), int(1)),
            order(1, "update", 7, absent(), text("sent"), int(2)),
            order(2, "update", 1, absent(), absent(), int(21)),
            order(3, "update", 1, absent(), text("got"), Value::Unavailable),
        ],
        &["insert 7 1 sent 2; update 1 1 got 21"],
    );
}

#[test]
fn a_value_that_the_server_may_refuse_is_not_hidden_by_the_next_one() {
    const STATUS: usize = 2;
    let absent = || Value::Absent;
    let mut plans = plans("orders");
    plans[ORDERS].checked = vec![STATUS];
    check_rounds_of(
        &plans,
        &[
            order(0, "create", 7, int(1), text("bad"), int(1)),
            order(1, "update", 7, absent(), text("new"), int(2)),
            order(2, "update", 7, absent(), text("new"), int(3)),
        ],
        &["insert 7 1 bad 1", "update 7 1 new 3"],
    );
}

#[test]
fn what_was_produced_again_changes_no_row_that_is_as_new_or_newer() {
    let absent = || Value::Absent;
    check_rounds(
        &[
            order(0, "update if newer", 1, absent(), text("old"), int(19)),
            order(1, "delete if newer", 1, absent(), absent(), int(20)),
            order(2, "update if newer", 1, absent(), text("got"), int(21)),
            order(3, "update if newer", 1, absent(), text("bad"), int(21)),
        ],
        &["update 1 1 got 21"],
    );
    // A row that is not there yet is created by an event in front of it, which may have been produced again as well.
    check_rounds(
        &[
            order(0, "create", 7, int(1), text("new"), int(1)),
            order(1, "update if newer", 7, absent(), text("got"), int(2)),
        ],
        &["insert 7 1 new 1", "update 7 1 got 2"],
    );
    let never_seen = order(0, "update if newer", 9, absent(), text("got"), int(1));
    check_judged(
        "orders",
        &[never_seen],
        &["0 missing_row: no row of \"orders\" with this key was ever created"],
        None,
    );
}

#[test]
fn what_changes_nothing_is_not_sent() {
    let absent = || Value::Absent;
    check_rounds(
        &[
            order(0, "create", 1, int(2), text("xxx"), int(99)),
            order(1, "update", 1, int(1), text("new"), absent()),
            order(2, "update", 1, absent(), text("a"), absent()),
            order(3, "update", 1, absent(), text("new"), absent()),
        ],
        &[""],
    );
}

#[test]
fn a_delete_and_a_changed_parent_see_what_triggers_did() {
    let absent = || Value::Absent;
    // Created under a deleted user, the order is deleted: its DELETE changes nothing, not even modified_at.
    check_rounds(
        &[order(0, "create", 7, int(2), text("new"), int(1)), order(1, "delete", 7, absent(), absent(), int(99))],
        &["insert 7 2 new 1", ""],
    );
    check_rounds(
        &[
            order(0, "update", 1, int(2), absent(), absent()),
            order(1, "update", 1, int(1), absent(), absent()),
            order(2, "delete", 1, absent(), absent(), int(60)),
            order(3, "delete", 1, absent(), absent(), int(70)),
        ],
        &["update 1 2 new 20", "update 1 1 new 50"],
    );
    // The flag is set by the DELETE alone, and an update of a deleted row does not write it back.
    check_rounds(
        &[order(0, "delete", 1, absent(), absent(), int(60)), order(1, "update", 1, absent(), text("got"), int(61))],
        &["update 1 1 new 60 deleted", "update 1 1 got 61"],
    );
}

/// What [`judge`] says of these writes on [`some`].
fn check_judged(orders_topic: &str, writes: &[Write], rejects: &[&str], cut: Option<usize>) {
    let plans = plans(orders_topic);
    let judged = judge(&plans, &check(&plans, writes), &some().existing(&plans));
    let said: Vec<String> =
        judged.rejects.iter().map(|rejected| format!("{} {}", rejected.record, rejected.reject)).collect();
    assert_eq!(said, rejects);
    assert_eq!(judged.cut.map(|cut| cut.record), cut);
}

#[test]
fn a_row_never_seen_is_refused_and_one_created_before_is_not() {
    let absent = || Value::Absent;
    check_judged(
        "orders",
        &[
            order(0, "update", 9, absent(), text("got"), absent()),
            order(1, "create", 9, int(1), text("new"), int(1)),
            order(2, "delete", 9, absent(), absent(), absent()),
            order(3, "delete", 8, absent(), absent(), absent()),
        ],
        &[
            "0 missing_row: no row of \"orders\" with this key was ever created",
            "3 missing_row: no row of \"orders\" with this key was ever created",
        ],
        None,
    );
}

#[test]
fn what_follows_a_refused_create_is_refused_with_it() {
    let absent = || Value::Absent;
    check_judged(
        "orders",
        &[order(0, "create", 9, int(1), text("much"), int(1)), order(1, "update", 9, absent(), text("got"), absent())],
        &[
            "0 out_of_range: column \"status\" of \"orders\" (text) cannot hold a text this long",
            "1 missing_row: no row of \"orders\" with this key was ever created",
        ],
        None,
    );
}

#[test]
fn nothing_behind_a_missing_parent_is_judged() {
    let absent = || Value::Absent;
    check_judged(
        "orders",
        &[
            order(0, "delete", 8, absent(), absent(), absent()),
            order(1, "create", 9, int(77), text("new"), int(1)),
            order(2, "delete", 7, absent(), absent(), absent()),
        ],
        &["0 missing_row: no row of \"orders\" with this key was ever created"],
        Some(1),
    );
    // An existing row created again refers to nobody.
    check_judged("orders", &[order(0, "create", 1, int(77), text("new"), int(1))], &[], None);
    check_judged("orders", &[order(0, "update", 1, int(77), absent(), absent())], &[], Some(0));
}

#[test]
fn a_parent_of_the_same_topic_counts_when_it_comes_first_and_is_not_waited_for() {
    check_judged(
        "users",
        &[
            order(0, "create", 8, int(77), text("new"), int(1)),
            write(1, USERS, "create", vec![int(77), int(1)]),
            order(1, "create", 9, int(77), text("new"), int(1)),
            // Its user is part of a refused record.
            write(2, USERS, "create", vec![int(78), int(1)]),
            order(2, "create", 10, int(78), text("much"), int(1)),
            order(3, "create", 11, int(78), text("new"), int(1)),
        ],
        &[
            "0 missing_parent: no row of \"users\" for column \"user_id\" of \"orders\"",
            "2 out_of_range: column \"status\" of \"orders\" (text) cannot hold a text this long",
            "3 missing_parent: no row of \"users\" for column \"user_id\" of \"orders\"",
        ],
        None,
    );
}

/// Route, what it says, id, user, status, modified_at.
type Event = (usize, usize, i64, Option<i64>, Option<String>, Option<i64>);

fn sent<T: std::fmt::Debug + Clone>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(some)
}

/// An event on few rows, so that they meet often. Orders 1–3, users 1–4 of which 3 and 4 are not there at first.
fn event(route: usize) -> impl Strategy<Value = Event> {
    (Just(route), 0..3_usize, 1..4_i64, sent(1..5_i64), sent("[ab]{1,4}"), sent(0..100_i64))
}

fn writes(events: Vec<Event>) -> Vec<Write> {
    let events = events.into_iter().enumerate();
    let or_absent = |int: Option<i64>| int.map_or(Value::Absent, Value::Int);
    events
        .map(|(record, (route, what, id, user, status, modified))| {
            let what = ["create", "update", "delete"][what];
            // A new row needs all its columns; mostly it has them.
            let modified = if what == "create" { int(modified.unwrap_or(5)) } else { or_absent(modified) };
            if route == USERS {
                return write(record, USERS, what, vec![int(id), modified]);
            }
            let user = if what == "create" { int(user.unwrap_or(1)) } else { or_absent(user) };
            let status = match status {
                None if what == "create" => text("new"),
                status => status.map_or(Value::Absent, |status| text(&status)),
            };
            order(record, what, id, user, status, modified)
        })
        .collect()
}

/// Runs the writes as one batch and one by one: same rows, same refusals, same place of the cut.
fn check_same(writes: &[Write]) -> Result<(), TestCaseError> {
    let plans = plans("orders");
    let (mut whole, mut single) = (some(), some());
    let judged = whole.batch(&plans, writes);
    let mut one_by_one = Judged::default();
    for write in writes {
        let said = single.batch(&plans, std::slice::from_ref(write));
        one_by_one.rejects.extend(said.rejects);
        if said.cut.is_some() {
            one_by_one.cut = said.cut;
            break;
        }
    }
    prop_assert_eq!(judged, one_by_one);
    prop_assert_eq!(whole, single);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_batch_of_orders_is_its_events_one_by_one(events in prop::collection::vec(event(ORDERS), 1..12)) {
        check_same(&writes(events))?;
    }

    #[test]
    fn a_batch_of_users_is_its_events_one_by_one(events in prop::collection::vec(event(USERS), 1..12)) {
        check_same(&writes(events))?;
    }
}
