//! Versions, grouping and placement: rows that arrive in any order and any number of times.

use std::time::Duration;

use rowferry::plan::write::{Write, WriteKind};
use rowferry::row::{Row, Value};
use rowferry::sink::Outcome;
use rowferry::sink::cassandra::statement::{put_partition_key, token};
use scylla::statement::batch::{Batch as CqlBatch, BatchType};
use uuid::Uuid;

use crate::live::{Live, text};

#[tokio::test]
async fn null_clears_a_cell_and_absent_and_unavailable_leave_it() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text, c text)"]).await;
    let upsert = |version, b: Value, c: Value| {
        let values = [("id", Value::Int(1)), ("a", text("a")), ("b", b), ("c", c)];
        live.row("docs", WriteKind::Upsert, version, &values)
    };
    assert_eq!(live.write(vec![upsert(11, text("b"), text("c"))]).await, Outcome::Durable);
    assert_eq!(live.write(vec![upsert(13, Value::Unavailable, Value::Absent)]).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await, [vec![Value::Int(1), text("a"), text("b"), text("c")]]);
    assert_eq!(live.write(vec![upsert(15, Value::Null, Value::Absent)]).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await, [vec![Value::Int(1), text("a"), Value::Null, text("c")]]);
    live.drop().await;
}

/// What a table holds, with the version of every cell.
async fn cells(live: &Live, table: &str) -> Vec<(i64, Option<i64>, Option<i64>)> {
    let cql = format!("SELECT id, writetime(a), writetime(b) FROM {}.{table}", live.keyspace);
    let answer = live.cluster.session().query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
    let mut cells: Vec<_> = answer.rows().unwrap().map(Result::unwrap).collect();
    cells.sort();
    cells
}

#[tokio::test]
async fn writes_in_any_order_and_twice_end_the_same() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    // One row is written, deleted, written without `b` and moved away again; the order of sending varies.
    let history = |id: i64| {
        let key = ("id", Value::Int(id));
        let upsert = |version, named: &[(&str, Value)]| {
            let named: Vec<_> = [key.clone()].into_iter().chain(named.iter().cloned()).collect();
            live.row("docs", WriteKind::Upsert, version, &named)
        };
        vec![
            upsert(101, &[("a", text("1")), ("b", text("1"))]),
            live.row("docs", WriteKind::Delete, 102, std::slice::from_ref(&key)),
            upsert(103, &[("a", text("2")), ("b", Value::Null)]),
            upsert(105, &[("a", text("3")), ("b", Value::Unavailable)]),
        ]
    };
    let orders = permutations(4);
    for (id, order) in orders.iter().enumerate() {
        let history = history(id as i64);
        for at in order.iter().chain(order) {
            assert_eq!(live.write(vec![history[*at].clone()]).await, Outcome::Durable);
        }
        // And all at once, where they share one request.
        let together = order.iter().map(|at| history[*at].clone()).collect();
        assert_eq!(live.write(together).await, Outcome::Durable);
    }
    let rows: Vec<Row> = live.scan("docs").await;
    assert_eq!(rows.len(), orders.len());
    assert!(rows.iter().all(|row| row[1..] == [text("3"), Value::Null]), "{rows:?}");
    assert!(cells(&live, "docs").await.iter().all(|(_, a, b)| (*a, *b) == (Some(105), None)));

    let deletes =
        (0..orders.len()).map(|id| live.row("docs", WriteKind::Delete, 106, &[("id", Value::Int(id as i64))]));
    assert_eq!(live.write(deletes.collect()).await, Outcome::Durable);
    assert_eq!(live.write(history(0)).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await, Vec::<Row>::new());
    live.drop().await;
}

fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1);
    shorter
        .iter()
        .flat_map(|order| {
            (0..length).map(|at| {
                let mut order = order.clone();
                order.insert(at, length - 1);
                order
            })
        })
        .collect()
}

#[tokio::test]
async fn grouped_batches_raise_no_warning() {
    let live = Live::new(&[
        "wide (id bigint PRIMARY KEY, a text, b text, c text, d text, e text, f int, g int, h int)",
        "by_user (user bigint, id bigint, note text, PRIMARY KEY ((user), id))",
        "sets (id bigint PRIMARY KEY, s set<int>, m map<int, int>)",
    ])
    .await;
    // Rows of all sizes, so that groups are filled up to their limits: many cells, few large ones, nulls, deletes.
    let mut writes = Vec::new();
    for id in 0..600i64 {
        let long = text(&"x".repeat((id as usize * 37) % 3_000));
        let cells = [("a", long), ("b", Value::Null), ("c", text("c")), ("d", text("")), ("f", Value::Int(1))];
        let named: Vec<_> = [("id", Value::Int(id))].into_iter().chain(cells).collect();
        writes.push(live.row("wide", WriteKind::Upsert, 11, &named));
        let key = [("user", Value::Int(id % 3)), ("id", Value::Int(id)), ("note", text("note"))];
        writes.push(live.row("by_user", WriteKind::Upsert, 11, &key));
        if id % 7 == 0 {
            writes.push(live.row("by_user", WriteKind::Delete, 12, &key[..2]));
        }
    }
    // Small rows, where the server's own bytes for each cell count the most.
    for id in 1_000..1_400i64 {
        let cells = ["f", "g", "h"].map(|name| (name, Value::Int(id)));
        let texts = ["a", "b", "c", "d", "e"].map(|name| (name, text("xxxxxxxxxxxxxxx")));
        let named: Vec<_> = [("id", Value::Int(id))].into_iter().chain(cells).chain(texts).collect();
        writes.push(live.row("wide", WriteKind::Upsert, 11, &named));
    }
    // Elements that are cells of their own.
    for id in 0..300i64 {
        let elements = 0..id % 30;
        let set = Value::List(elements.clone().map(Value::Int).collect());
        let map = Value::Map(elements.map(|element| (Value::Int(element), Value::Int(element))).collect());
        writes.push(live.upsert("sets", 11, &[("id", Value::Int(id)), ("s", set), ("m", map)]));
    }
    assert_eq!(live.write(writes).await, Outcome::Durable);
    assert_eq!(live.scan("wide").await.len(), 1_000);
    assert_eq!(live.scan("sets").await.len(), 300);
    assert_eq!(live.scan("by_user").await.len(), 600 - 86);
    assert_eq!(live.cluster.warnings(), 0, "warnings of the server");

    // The server does warn: one partition more than a group may have.
    let mut eleven = CqlBatch::new(BatchType::Unlogged);
    (0..11).for_each(|id| {
        let cql = format!("INSERT INTO {}.wide (id) VALUES ({id}) USING TIMESTAMP 1", live.keyspace);
        eleven.append_statement(&*cql);
    });
    let answer = live.cluster.session().batch(&eleven, vec![(); 11]).await.unwrap();
    assert_eq!(answer.warnings().count(), 1);
    live.drop().await;
}

#[tokio::test]
async fn rows_are_placed_where_the_cluster_keeps_them() {
    let live = Live::new(&[
        "one (id uuid PRIMARY KEY, a text)",
        "two (a text, b bigint, c int, d text, PRIMARY KEY ((a, b), c))",
    ])
    .await;
    let state = live.cluster.session().get_cluster_state();
    let token = |table, partition_columns, values: &[Value]| {
        let mut key = Vec::new();
        put_partition_key(live.route(table).1, partition_columns, values, &mut key).unwrap();
        token(&key)
    };
    let id = Uuid::from_u128(7);
    assert_eq!(
        token("one", 1, &[Value::Uuid(id), Value::Null]),
        state.compute_token(&live.keyspace, "one", &(id,)).unwrap()
    );
    assert_eq!(
        token("two", 2, &[text("key"), Value::Int(9), Value::Int(1), Value::Null]),
        state.compute_token(&live.keyspace, "two", &("key", 9i64)).unwrap()
    );
    live.drop().await;
}

#[tokio::test]
async fn a_write_that_is_dropped_on_the_way_does_no_harm() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    let write = |id| live.row("docs", WriteKind::Upsert, 11, &[("id", Value::Int(id)), ("a", text("a"))]);
    let writes: Vec<Write> = (0..2_000).map(write).collect();
    for micros in [0, 500, 5_000, 20_000] {
        let _ = tokio::time::timeout(Duration::from_micros(micros), live.write(writes.clone())).await;
    }
    assert_eq!(live.write(writes).await, Outcome::Durable);
    let cells = cells(&live, "docs").await;
    assert_eq!(cells.len(), 2_000);
    assert!(cells.iter().all(|(_, a, b)| (*a, *b) == (Some(11), None)));
    live.drop().await;
}
