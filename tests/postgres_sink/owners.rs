//! The fences of rowferry_progress: two owners, repeated batches, COMMITs whose answer is lost, dropped writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rowferry::sink::{Failure, Outcome, Sink as _};
use sqlx::Executor as _;

use crate::database::{Owner, batch, on_database, order, partition, retried, stopped, user};
use crate::proxy::{self, Faults};

#[test]
fn a_former_owner_changes_nothing() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut former = Owner::open(&sink, "users").await;
        assert_eq!(former.write(&[user("create", 1, "Ada", 10)]).await, Outcome::Durable);
        let mut next = Owner::open(&sink, "users").await;
        assert_eq!(next.next_offset, 1);
        let outcome = former.write(&[user("create", 2, "Bob", 10)]).await;
        assert!(stopped(&outcome).contains("another owner took it (epoch 2, ours was 1)"), "{outcome:?}");
        assert_eq!(db.users().await, ["01 Ada 10 f"]);
        assert_eq!(next.write(&[user("create", 3, "Eve", 10)]).await, Outcome::Durable);
        // Also when the new owner has come as far as the former one would have.
        let outcome = former.write_batch(&batch(1, &[user("create", 2, "Bob", 10)])).await;
        assert!(stopped(&outcome).contains("another owner"), "{outcome:?}");
        assert_eq!(db.users().await, ["01 Ada 10 f", "03 Eve 10 f"]);
    });
}

#[test]
fn the_same_batch_twice_takes_effect_once() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let events = [user("create", 1, "Ada", 10), user("update", 1, "Ada L", 11)];
        assert_eq!(users.write_batch(&batch(0, &events)).await, Outcome::Durable);
        db.sql("UPDATE users SET name = 'changed since'").await;
        assert_eq!(users.write_batch(&batch(0, &events)).await, Outcome::Durable);
        // A batch that begins in front of what is durable is asked for again from there on.
        let longer = [events[0].clone(), events[1].clone(), user("update", 1, "", 12)];
        assert_eq!(retried(&users.write_batch(&batch(0, &longer)).await).next_offset, 2);
        assert_eq!(db.users().await, ["01 changed since 11 f"]);
    });
}

#[test]
fn an_open_transaction_of_a_former_owner_is_waited_for() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        let mut former = db.connect().await;
        former.execute("BEGIN").await.unwrap();
        former.execute("UPDATE rowferry_progress SET next_offset = 5 WHERE owner_epoch = 1").await.unwrap();
        let waited = sink.open(&partition("users"), 0, None).await.map(|_| ());
        assert!(matches!(&waited, Err(Failure::Retry(text)) if text.contains("55P03")), "{waited:?}");
        let waiting = tokio::spawn({
            let sink = sink.clone();
            async move { Owner::open(&sink, "users").await.next_offset }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        former.execute("COMMIT").await.unwrap();
        assert_eq!(waiting.await.unwrap(), 5);
    });
}

#[test]
fn a_start_beyond_what_is_applied_stops() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        Owner::open(&sink, "users").await.write(&[user("create", 1, "Ada", 10)]).await;
        let stopped = sink.open(&partition("users"), 4, None).await.map(|_| ());
        let told = "users[0]: Kafka says that offset 4 comes next, but only the records below 1 are in Postgres";
        assert!(matches!(&stopped, Err(Failure::Stop(text)) if text.starts_with(told)), "{stopped:?}");
        assert_eq!(sink.open(&partition("users"), 1, None).await.unwrap().next_offset, 1);
    });
}

#[test]
fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        Owner::open(&sink, "users").await.write(&[user("create", 1, "Ada", 10)]).await;
        // A row of before there were ids takes the first that it is told.
        for id in [Some("old"), None, Some("old")] {
            assert_eq!(sink.open(&partition("users"), 0, id).await.unwrap().next_offset, 1, "{id:?}");
        }
        let stopped = sink.open(&partition("users"), 0, Some("new")).await.map(|_| ());
        let Err(Failure::Stop(text)) = stopped else { panic!("{stopped:?}") };
        assert!(text.contains("(its id was old and is new)"), "{text}");
        let mend = text.split_once("to read it from its beginning, ").expect("it says how").1;
        db.connect().await.execute(sqlx::AssertSqlSafe(mend.to_string())).await.unwrap();
        assert_eq!(sink.open(&partition("users"), 0, Some("new")).await.unwrap().next_offset, 0);
    });
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_done() {
    on_database(|db| async move {
        let faults = Faults::default();
        let at = proxy::start(faults.clone()).await;
        let sink = Arc::new(db.sink_with(db.settings_at(at)).await);
        let mut users = Owner::open(&sink, "users").await;
        faults.lose_commit.store(true, Ordering::SeqCst);
        assert_eq!(users.write(&[user("create", 1, "Ada", 10)]).await, Outcome::Durable);
        assert!(!faults.lose_commit.load(Ordering::SeqCst), "a COMMIT was lost");
        assert_eq!(users.write(&[user("update", 1, "Ada L", 11)]).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 Ada L 11 f"]);
        assert_eq!(db.progress().await, ["users 0 2 1"]);
    });
}

#[test]
fn a_commit_whose_answer_is_lost_with_the_server_is_found_done_by_the_next_write() {
    on_database(|db| async move {
        let faults = Faults::default();
        let at = proxy::start(faults.clone()).await;
        let sink = Arc::new(db.sink_with(db.settings_at(at)).await);
        let mut users = Owner::open(&sink, "users").await;
        faults.refuse_after_lost.store(true, Ordering::SeqCst);
        faults.lose_commit.store(true, Ordering::SeqCst);
        let events = [user("create", 1, "Ada", 10)];
        assert_eq!(retried(&users.write(&events).await).next_offset, 0);
        assert_eq!(retried(&users.write(&events).await).next_offset, 0);
        faults.refuse.store(false, Ordering::SeqCst);
        db.sql("UPDATE users SET name = 'changed since'").await;
        // With more behind it, only the rest is asked for; as it was, it is done.
        let longer = [events[0].clone(), user("update", 1, "", 12)];
        assert_eq!(retried(&users.write(&longer).await).next_offset, 1);
        assert_eq!(users.write(&events).await, Outcome::Durable);
        assert_eq!(db.users().await, ["01 changed since 10 f"]);
    });
}

#[test]
fn a_lost_commit_of_a_prefix_is_found_too() {
    on_database(|db| async move {
        let faults = Faults::default();
        let at = proxy::start(faults.clone()).await;
        let sink = Arc::new(db.sink_with(db.settings_at(at)).await);
        Owner::open(&sink, "users").await.write(&[user("create", 1, "Ada", 10)]).await;
        let mut orders = Owner::open(&sink, "orders").await;
        faults.lose_commit.store(true, Ordering::SeqCst);
        let events = [order("create", 1, 1, "PLACED", 11), order("create", 2, 9, "PLACED", 11)];
        assert_eq!(retried(&orders.write(&events).await).next_offset, 1);
        assert!(retried(&orders.write_batch(&batch(1, &events[1..])).await).parent.is_some());
        assert_eq!(db.orders().await, ["01 PLACED 01 11 f"]);
    });
}

#[test]
fn a_write_dropped_anywhere_does_no_harm() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        let mut dropped = 0;
        for offset in 1..60 {
            let events = [user("update", 1, &format!("name {offset}"), offset), user("create", offset as u128, "x", 1)];
            let written = batch(2 * offset - 1, &events);
            let patience = Duration::from_micros(150 * offset as u64);
            if tokio::time::timeout(patience, users.write_batch(&written)).await.is_err() {
                dropped += 1;
                // What was dropped may be on its way still.
                let mut outcome = users.write_batch(&written).await;
                while let Outcome::Retry(retry) = &outcome {
                    assert_eq!(retry.next_offset, 2 * offset - 1);
                    outcome = users.write_batch(&written).await;
                }
                assert_eq!(outcome, Outcome::Durable);
            }
        }
        assert!(dropped > 0);
        let lines = db.lines("SELECT name, (SELECT next_offset FROM rowferry_progress), (SELECT count(*) FROM users) FROM users WHERE id::text LIKE '%01'").await;
        assert_eq!(lines, ["name 59 119 59"]);
    });
}
