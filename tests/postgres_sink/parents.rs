//! Orders that come before their users.

use std::sync::Arc;

use rowferry::sink::Outcome;

use crate::database::{Owner, batch, on_database, order, refused, retried, user};

#[test]
fn a_batch_is_cut_before_the_first_order_whose_user_is_missing() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut users = Owner::open(&sink, "users").await;
        let mut orders = Owner::open(&sink, "orders").await;
        users.write(&[user("create", 1, "Ada", 10)]).await;
        db.sql("INSERT INTO rowferry_progress VALUES ('group', 'users', 2, 77, 1), ('other', 'users', 3, 5, 1)").await;
        let events = [
            order("create", 1, 1, "PLACED", 11),
            order("create", 2, 9, "PLACED", 11),
            // Behind the cut: neither refused nor applied.
            order("update", 8, 0, "SHIPPED", 12),
            order("update", 1, 0, "SHIPPED", 12),
        ];
        let outcome = orders.write(&events).await;
        let retry = retried(&outcome);
        assert_eq!(
            (retry.next_offset, &*retry.waiting_for),
            (1, "the row of \"users\" that column \"user_id\" of \"orders\" names")
        );
        let parent = retry.parent.as_ref().unwrap();
        assert_eq!((&*parent.topic, &parent.progress), ("users", &vec![(0, 1), (2, 77)]));
        assert_eq!((parent.rejected.record, parent.rejected.route), (1, Some(1)));
        let text = "missing_parent: no row of \"users\" for column \"user_id\" of \"orders\"";
        assert_eq!(parent.rejected.reject.to_string(), text);
        assert_eq!(db.orders().await, ["01 PLACED 01 11 f"]);
        assert_eq!(db.progress().await, ["orders 0 1 1", "users 0 1 1", "users 2 77 1", "users 3 5 1"]);

        // The rest, while the user is still missing: nothing is committed.
        let rest = batch(1, &events[1..]);
        let outcome = orders.write_batch(&rest).await;
        assert_eq!((retried(&outcome).next_offset, retried(&outcome).parent.as_ref().unwrap().rejected.record), (1, 0));
        assert_eq!(
            db.lines(
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
            )
            .await,
            ["0"]
        );

        users.write(&[user("create", 9, "Eve", 10)]).await;
        let outcome = orders.write_batch(&rest).await;
        assert_eq!(refused(&outcome), ["1 missing_row: no row of \"orders\" with this key was ever created"]);
        let mut accepted = batch(1, &[events[1].clone(), events[3].clone()]);
        accepted.next_offset = 4;
        assert_eq!(orders.write_batch(&accepted).await, Outcome::Durable);
        assert_eq!(db.orders().await, ["01 SHIPPED 01 12 f", "02 PLACED 09 11 f"]);
    });
}

#[test]
fn positions_of_refused_records_are_committed_before_the_one_that_waits() {
    on_database(|db| async move {
        let sink = Arc::new(db.sink().await);
        let mut orders = Owner::open(&sink, "orders").await;
        // Offsets 0 to 4 were refused, and are not part of the batch any more.
        let outcome = orders.write_batch(&batch(5, &[order("create", 1, 9, "PLACED", 11)])).await;
        assert_eq!(retried(&outcome).next_offset, 5);
        assert_eq!(db.progress().await, ["orders 0 5 1"]);
    });
}
