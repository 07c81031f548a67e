//! What events do to rows, with the triggers of postgres-schema.sql.

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rowferry::row::Value;
use rowferry::sink::Outcome;

use crate::database::{Event, Owner, id, on_database, order, refused, seconds, text, user};

#[test]
fn events_create_change_and_delete_rows_and_change_nothing_again() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut orders = Owner::open(&sink, "orders").await;
        let created = [user("create", 1, "Ada", 10), user("create", 2, "Bob", 10)];
        assert_eq!(users.write(&created).await, Outcome::Durable);
        let placed = [order("create", 1, 1, "PLACED", 11), order("create", 2, 2, "PLACED", 11)];
        assert_eq!(orders.write(&placed).await, Outcome::Durable);
        assert_eq!(orders.write(&[order("update", 1, 0, "SHIPPED", 12)]).await, Outcome::Durable);
        assert_eq!(users.write(&[user("delete", 2, "", 30)]).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 Ada 10 f", "02 Bob 30 t"]);
        assert_eq!(db.orders().await, ["01 SHIPPED 01 12 f", "02 PLACED 02 30 t"]);

        // Again and late: CREATE and DELETE change nothing, UPDATE applies and leaves the row deleted.
        let again = [user("create", 2, "Eve", 40), user("delete", 2, "", 41), user("update", 1, "Ada L", 42)];
        assert_eq!(users.write(&again).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 Ada L 42 f", "02 Bob 30 t"]);
        assert_eq!(users.write(&[user("update", 2, "Rob", 50)]).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 Ada L 42 f", "02 Rob 50 t"]);
        // An order of a deleted user is born deleted; one moved to a deleted user dies.
        let late = [order("create", 3, 2, "PLACED", 11), order("update", 1, 2, "", 13)];
        assert_eq!(orders.write(&late).await, Outcome::Durable);
        assert_eq!(db.orders().await, ["01 SHIPPED 02 50 t", "02 PLACED 02 50 t", "03 PLACED 02 50 t"]);
        assert_eq!(db.progress().await, ["orders 0 5 1", "users 0 7 1"]);
    });
}

#[test]
fn what_changes_nothing_is_not_updated() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        let before = db.lines("SELECT xmin, ctid FROM users").await;
        let same = [user("update", 1, "Ada", 10), user("create", 1, "Eve", 99)];
        assert_eq!(users.write(&same).await, Outcome::Durable);
        assert_eq!(users.write(&[]).await, Outcome::Durable);
        assert_eq!(db.lines("SELECT xmin, ctid FROM users").await, before);
    });
}

#[test]
fn rows_never_seen_are_refused_all_at_once_and_nothing_is_changed() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let events = [
            user("create", 1, "Ada", 10),
            user("update", 8, "Eve", 10),
            user("update", 1, "Ada L", 11),
            user("delete", 9, "", 10),
        ];
        let outcome = users.write(&events).await;
        let text = "missing_row: no row of \"users\" with this key was ever created";
        assert_eq!(refused(&outcome), [format!("1 {text}"), format!("3 {text}")]);
        assert!(db.users().await.is_empty());
        assert_eq!(db.progress().await, ["users 0 0 1"]);
    });
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_without_its_value() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        let mut orders = Owner::open(&sink, "orders").await;
        let create = || order("create", 1, 1, "PLACED", 11);
        let mut absent = create();
        absent.columns.remove("quantity");
        let events: Vec<Event> = vec![
            create().with("status", text("SHIPPEDSHIP")),
            create().with("total_amount", Value::Decimal("0.001".parse().unwrap())),
            create().with("total_amount", Value::Decimal("100000000".parse().unwrap())),
            create().with("quantity", Value::Int(1 << 31)),
            create().with("modified_at", Value::Timestamp(1)),
            create().with("status", text("a\0b")),
            create().with("quantity", Value::Null),
            absent,
            create().with("quantity", text("3")),
        ];
        let column = |name: &str, type_name: &str| format!("column \"{name}\" of \"orders\" ({type_name})");
        let integer = column("quantity", "integer");
        assert_eq!(
            refused(&orders.write(&events).await),
            [
                format!("0 out_of_range: {} cannot hold a text this long", column("status", "character varying(10)")),
                format!(
                    "1 out_of_range: {} would lose digits after the point",
                    column("total_amount", "numeric(10,2)")
                ),
                format!("2 out_of_range: {} cannot hold a number this large", column("total_amount", "numeric(10,2)")),
                format!("3 out_of_range: {integer} cannot hold the number"),
                format!(
                    "4 out_of_range: {} would lose digits of the second",
                    column("modified_at", "timestamp(3) with time zone")
                ),
                format!("5 out_of_range: {} cannot hold a NUL character", column("status", "character varying(10)")),
                format!("6 wrong_type: {integer} must not be null"),
                format!("7 wrong_type: {integer} is not in the record and must have a value"),
                format!("8 wrong_type: {integer} got a value that is no int32"),
            ]
        );
    });
}

#[test]
fn a_column_that_no_record_sends_gets_its_default_and_a_null_stays_null() {
    on_database(|db| async move {
        db.sql(
            "ALTER TABLE users ALTER name SET DEFAULT 'nobody', ALTER dob DROP NOT NULL, \
             ALTER dob SET DEFAULT '2000-01-01'",
        )
        .await;
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut nameless = user("create", 1, "", 10);
        nameless.columns.remove("name");
        nameless.columns.remove("dob");
        let events = [nameless, user("create", 2, "Bob", 10).with("dob", Value::Null)];
        assert_eq!(users.write(&events).await, Outcome::Durable);
        let lines = db.lines("SELECT name, coalesce(dob::text, 'null') FROM users ORDER BY id").await;
        assert_eq!(lines, ["nobody 2000-01-01", "Bob null"]);
    });
}

/// Two databases get the same random history, one in batches and one event by event.
#[test]
fn batches_on_the_server_are_their_events_one_by_one() {
    on_database(|whole| async move {
        let seed: u64 =
            std::env::var("ROWFERRY_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
        println!("ROWFERRY_TEST_SEED={seed}");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let sink = Arc::new(whole.sink().await);
        let mut batches: Vec<Vec<Event>> = Vec::new();
        for _ in 0..40 {
            let route = random.random_range(0..2);
            let events = (0..random.random_range(1..25)).map(|_| random_event(&mut random, route)).collect();
            batches.push(events);
        }
        let in_batches = history(&sink, &batches, false).await;
        let rows = (whole.users().await, whole.orders().await);
        whole.sql("TRUNCATE users, orders, rowferry_progress").await;
        let one_by_one = history(&sink, &batches, true).await;
        assert_eq!(in_batches, one_by_one);
        assert_eq!(rows, (whole.users().await, whole.orders().await));
        assert!(!rows.1.is_empty() && in_batches > 0);
    });
}

fn random_event(random: &mut rand_chacha::ChaCha8Rng, route: usize) -> Event {
    let what = ["create", "create", "update", "update", "delete"][random.random_range(0..5)];
    let modified = random.random_range(1..100);
    let number = random.random_range(1..9);
    let name = ["", "a", "b"][random.random_range(0..3)];
    let event = match (route, what) {
        (0, what) => user(what, number, name, modified),
        (_, "create") => order("create", number, random.random_range(1..9), "PLACED", modified),
        (_, what) => order(what, number, random.random_range(0..9), name, modified),
    };
    match (what, random.random_range(0..4)) {
        ("update" | "delete", 0) => event.with("modified_at", Value::Absent),
        _ => event,
    }
}

/// Writes the batches, passing over the records that are refused or wait, and returns how many those were.
async fn history(sink: &Arc<rowferry::sink::postgres::PostgresSink>, batches: &[Vec<Event>], single: bool) -> usize {
    let mut owners = [Owner::open(sink, "users").await, Owner::open(sink, "orders").await];
    let mut passed_over = 0;
    for events in batches {
        let owner = &mut owners[events[0].route];
        let mut rest: Vec<Event> = events.clone();
        while !rest.is_empty() {
            let length = if single { 1 } else { rest.len() };
            let start = owner.next_offset;
            match owner.write(&rest[..length]).await {
                Outcome::Durable => rest = rest.split_off(length),
                Outcome::Rejected(rejects) => {
                    passed_over += rejects.len();
                    for rejected in rejects.iter().rev() {
                        rest.remove(rejected.record);
                    }
                }
                Outcome::Retry(retry) => {
                    let done = (retry.next_offset - start) as usize;
                    assert_eq!(retry.parent.unwrap().rejected.record, done);
                    rest = rest.split_off(done + 1);
                    owner.next_offset = retry.next_offset;
                    passed_over += 1;
                }
                Outcome::Stop(text) => panic!("{text}"),
            }
        }
    }
    passed_over
}

#[test]
fn a_deleted_user_takes_its_orders_along_in_the_same_batch_as_its_later_changes() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut orders = Owner::open(&sink, "orders").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        orders.write(&[order("create", 1, 1, "PLACED", 11)]).await;
        let events = [
            user("update", 1, "Ada L", 20),
            user("delete", 1, "", 40),
            user("update", 1, "", 30).with("id", id(1)).with("modified_at", seconds(30)),
        ];
        assert_eq!(users.write(&events).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 Ada L 30 t"]);
        // 40 and not 30: the order met the user as it was deleted, too.
        assert_eq!(db.orders().await, ["01 PLACED 01 40 t"]);
    });
}
