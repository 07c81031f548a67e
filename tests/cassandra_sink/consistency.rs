//! Routes with a consistency of their own.

use rowferry::plan::route::{Consistency, RouteSpec};
use rowferry::plan::write::Write;
use rowferry::row::Value;
use rowferry::sink::Outcome;

use crate::live::{Live, ddl, text};

#[tokio::test]
async fn each_route_waits_for_as_many_replicas_as_it_asks_for() {
    let tables = ["strict (id bigint PRIMARY KEY, a text)", "loose (id bigint PRIMARY KEY, a text)"];
    let live = Live::routed(&[], &tables, |spec| {
        let consistency = if spec.table == "strict" { Consistency::Three } else { Consistency::One };
        RouteSpec { consistency, ..spec }
    })
    .await;
    let rows = |table: &str| -> Vec<Write> {
        let row = |id| live.upsert(table, 11, &[("id", Value::Int(id)), ("a", text("a"))]);
        (0..30).map(row).collect()
    };
    let both: Vec<Write> = rows("strict").into_iter().chain(rows("loose")).collect();
    assert_eq!(live.write(both).await, Outcome::Durable);
    assert_eq!(live.scan("strict").await.len() + live.scan("loose").await.len(), 60);

    // Two replicas cannot be three.
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 2}";
    ddl(&live.cluster, &format!("ALTER KEYSPACE {} WITH replication = {replication}", live.keyspace)).await;
    assert_eq!(live.write(rows("loose")).await, Outcome::Durable);
    match live.write(rows("strict")).await {
        Outcome::Retry(retry) => assert!(retry.waiting_for.contains("Cassandra"), "{}", retry.waiting_for),
        other => panic!("{other:?}"),
    }
    live.drop().await;
}
