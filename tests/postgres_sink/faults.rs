//! Errors of the server: what is tried again, what is refused, what stops.

use std::sync::Arc;
use std::time::Duration;

use rowferry::sink::postgres::{Postgres, Settings};
use rowferry::sink::{Failure, Outcome};
use sqlx::Executor as _;

use crate::database::{Event, HOST, Owner, on_database, order, port, refused, retried, stopped, user};

async fn failure(settings: Settings) -> Failure {
    match Postgres::connect(settings).await {
        Ok(_) => panic!("connected"),
        Err(failure) => failure,
    }
}

#[test]
fn a_server_that_is_away_is_told_from_one_that_refuses_us() {
    on_database(|db| async move {
        let at = |user: &str, port: u16, database: &str| {
            Settings::new(format!("postgres://{user}@{HOST}:{port}/{database}"), "group")
        };
        let away = failure(at("rowferry:rowferry", 1, &db.name)).await;
        assert!(matches!(&away, Failure::Retry(text) if text.contains("cannot be reached")), "{away:?}");
        let wrong = failure(at("rowferry:wrong-secret", port(), &db.name)).await;
        assert!(
            matches!(&wrong, Failure::Stop(text) if text.contains("28P01") && text.contains("correct user")),
            "{wrong:?}"
        );
        assert!(!format!("{wrong:?}").contains("secret"));
        let unknown = failure(at("rowferry:rowferry", port(), "no_such")).await;
        assert!(matches!(&unknown, Failure::Stop(text) if text.contains("create the database")), "{unknown:?}");
        let settings = Settings::new("postgres:/rowferry:secret", "group");
        assert!(!format!("{settings:?}").contains("secret"));
        let unreadable = failure(settings).await;
        assert!(matches!(&unreadable, Failure::Stop(text) if !text.contains("secret")), "{unreadable:?}");
    });
}

#[test]
fn rows_that_only_the_server_refuses_are_found_and_told_without_values() {
    on_database(|db| async move {
        db.sql("ALTER TABLE users ADD CONSTRAINT polite CHECK (name NOT LIKE 'rude%')").await;
        db.sql("CREATE UNIQUE INDEX one_name ON users (name)").await;
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut events: Vec<_> = (1..20).map(|number| user("create", number, &format!("n{number}"), 10)).collect();
        events[4] = user("create", 5, "rude five", 10);
        events[11] = user("create", 12, "n1", 10);
        events.push(user("update", 3, "rude three", 11));
        // A consequence of the first one: refused when the rest is written again, as a row that was never seen.
        events.push(user("update", 5, "better", 11));
        let outcome = users.write(&events).await;
        assert_eq!(
            refused(&outcome),
            [
                "4 refused: Postgres: a check is not met (SQLSTATE 23514), table \"users\", constraint \"polite\"",
                "11 refused: Postgres: another row has the same unique values (SQLSTATE 23505), table \"users\", \
                 constraint \"one_name\"",
                "19 refused: Postgres: a check is not met (SQLSTATE 23514), table \"users\", constraint \"polite\"",
            ]
        );
        assert!(db.users().await.is_empty());
        assert_eq!(db.progress().await, ["users 0 0 1"]);
        for refused in [20, 19, 11, 4] {
            events.remove(refused);
        }
        assert_eq!(users.write(&events).await, Outcome::Durable);
    });
}

#[test]
fn a_deadlock_with_a_soft_delete_is_tried_again() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        Owner::open(&sink, "users").await.write(&[user("create", 1, "Ada", 10)]).await;
        let mut orders = Owner::open(&sink, "orders").await;
        orders.write(&[order("create", 1, 1, "PLACED", 11)]).await;
        // Another writer takes the order first and its user then, as no batch of ours does; its own look for
        // deadlocks comes too late, so that ours is the transaction that ends.
        let mut other = db.connect().await;
        other.execute("SET deadlock_timeout = '30s'").await.unwrap();
        other.execute("BEGIN").await.unwrap();
        other.execute("SELECT FROM orders FOR UPDATE").await.unwrap();
        let other = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            other.execute("UPDATE users SET is_deleted = true, modified_at = to_timestamp(50)").await.unwrap();
            other.execute("COMMIT").await.unwrap();
        });
        let events = [order("update", 1, 0, "SHIPPED", 12)];
        let outcome = orders.write(&events).await;
        assert!(retried(&outcome).waiting_for.contains("40P01"), "{outcome:?}");
        other.await.unwrap();
        assert_eq!(orders.write(&events).await, Outcome::Durable);
        assert_eq!(db.orders().await, ["01 SHIPPED 01 50 t"]);
    });
}

/// Writes again for as long as that is what the sink asks for; anything else is not what these tests expect.
async fn until_durable(owner: &mut Owner, events: &[Event]) {
    loop {
        match owner.write(events).await {
            Outcome::Durable => return,
            Outcome::Retry(_) => {}
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn batches_and_soft_deletes_side_by_side_lose_nothing() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut orders = Owner::open(&sink, "orders").await;
        let people: Vec<_> = (1..=50).map(|number| user("create", number, "n", 1)).collect();
        users.write(&people).await;
        let writes_orders = tokio::spawn(async move {
            for round in 0..20_i64 {
                let changed: Vec<_> = (1..=100_u128)
                    .map(|number| match round {
                        0 => order("create", number, number % 50 + 1, "PLACED", 2),
                        _ => {
                            order("update", number, 0, if round % 2 == 0 { "SHIPPED" } else { "DELIVERED" }, 2 + round)
                        }
                    })
                    .collect();
                until_durable(&mut orders, &changed).await;
            }
        });
        for number in (1..=50).rev() {
            until_durable(&mut users, &[user("delete", number, "", 1000 + number as i64)]).await;
        }
        writes_orders.await.unwrap();
        let wrong = "SELECT count(*), count(*) FILTER (WHERE o.is_deleted AND o.modified_at = u.modified_at AND \
                     o.status = 'DELIVERED') FROM orders o JOIN users u ON u.id = o.user_id";
        assert_eq!(db.lines(wrong).await, ["100 100"]);
    });
}

#[test]
fn a_lock_that_is_held_too_long_and_a_killed_connection_are_tried_again() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        let mut other = db.connect().await;
        other.execute("BEGIN; SELECT FROM users FOR UPDATE").await.unwrap();
        let events = [user("update", 1, "Ada L", 11)];
        let outcome = users.write(&events).await;
        assert!(retried(&outcome).waiting_for.contains("55P03"), "{outcome:?}");
        other.execute("ROLLBACK").await.unwrap();
        db.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = 'rowferry'",
        )
        .await;
        assert_eq!(retried(&users.write(&events).await).next_offset, 1);
        assert_eq!(users.write(&events).await, Outcome::Durable);
    });
}

#[test]
fn a_table_that_is_gone_and_a_right_that_is_missing_stop() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        db.sql("REVOKE INSERT ON users FROM rowferry").await;
        let outcome = users.write(&[user("create", 1, "Ada", 10)]).await;
        assert!(stopped(&outcome).contains("grant it to the user"), "{outcome:?}");
        db.sql("DROP TABLE orders, users").await;
        let outcome = users.write(&[user("create", 1, "Ada", 10)]).await;
        assert!(stopped(&outcome).contains("42P01"), "{outcome:?}");
    });
}
