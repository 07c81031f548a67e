//! Rows that end by themselves: replays with less time left, rows that have ended, and what the server does with both.

use std::time::Duration;

use rowferry::change::RejectClass;
use rowferry::plan::route::RouteSpec;
use rowferry::plan::ttl::TtlSpec;
use rowferry::plan::write::Write;
use rowferry::row::Value;
use rowferry::sink::Outcome;
use rowferry::sink::cassandra::expiry::now_ms;

use crate::live::{Live, text};

const TABLE: &str = "docs (id bigint PRIMARY KEY, a text)";

async fn live(table: &str) -> Live {
    Live::routed(&[], &[table], |spec| RouteSpec { ttl: Some(TtlSpec::Seconds(60)), ..spec }).await
}

fn row(live: &Live, version: i64, ends_at_ms: Option<i64>) -> Write {
    let write = live.upsert("docs", version, &[("id", Value::Int(1)), ("a", text("a"))]);
    Write { ends_at_ms, ..write }
}

async fn write(live: &Live, write: Write) {
    assert_eq!(live.write(vec![write]).await, Outcome::Durable);
}

/// The seconds that the cell has left; `None` when it has no end, and no element when there is no row.
async fn left(live: &Live) -> Vec<Option<i32>> {
    let cql = format!("SELECT ttl(a) FROM {}.docs", live.keyspace);
    let answer = live.cluster.session().query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
    answer.rows::<(Option<i32>,)>().unwrap().map(|row| row.unwrap().0).collect()
}

#[tokio::test]
async fn a_replay_with_less_time_left_changes_nothing() {
    let live = live(TABLE).await;
    let now = now_ms();
    for order in [[1_000, 500], [500, 1_000]] {
        // Another version for each order, so that they do not meet.
        let version = 101 + order[0];
        for seconds in order {
            write(&live, row(&live, version, Some(now + seconds * 1_000))).await;
        }
        let left = left(&live).await;
        assert!(matches!(left[..], [Some(901..=1_001)]), "the later end wins at equal timestamps: {left:?}");
    }
    // The same record some time later: the same end.
    let ends = now_ms() + 1_000_000;
    write(&live, row(&live, 2_001, Some(ends))).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    write(&live, row(&live, 2_001, Some(ends))).await;
    let expected = i32::try_from((ends - now_ms()) / 1_000).unwrap();
    let left = left(&live).await;
    assert!(matches!(left[..], [Some(seconds)] if (expected - 1..=expected + 2).contains(&seconds)), "{left:?}");
    live.drop().await;
}

#[tokio::test]
async fn a_row_that_has_ended_takes_what_older_records_left_with_it() {
    let live = live(TABLE).await;
    let past = Some(now_ms() - 1);
    write(&live, row(&live, 101, None)).await;
    assert_eq!(left(&live).await, [None]);
    write(&live, row(&live, 103, past)).await;
    assert_eq!(left(&live).await, []);
    // Replays in any order; a newer record brings the row back.
    write(&live, row(&live, 101, None)).await;
    write(&live, row(&live, 103, past)).await;
    assert_eq!(left(&live).await, []);
    write(&live, row(&live, 105, None)).await;
    write(&live, row(&live, 103, past)).await;
    assert_eq!(left(&live).await, [None]);
    // Whoever wrote the row while it had time left wrote the same record: its delete leaves that copy to its end.
    let soon = now_ms() + 100_000;
    write(&live, row(&live, 107, Some(soon))).await;
    write(&live, row(&live, 107, past)).await;
    assert!(matches!(left(&live).await[..], [Some(_)]));
    live.drop().await;
}

#[tokio::test]
async fn a_row_is_there_until_its_end() {
    let live = live(TABLE).await;
    let ends = now_ms() + 3_000;
    write(&live, row(&live, 101, Some(ends))).await;
    assert!(matches!(left(&live).await[..], [Some(1..=4)]));
    let late = ends + 3_000;
    while !left(&live).await.is_empty() {
        assert!(now_ms() < late, "the row does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(now_ms() >= ends, "it ended too early");
    live.drop().await;
}

#[tokio::test]
async fn no_end_is_none_whatever_the_tables_default_is() {
    let live = live("docs (id bigint PRIMARY KEY, a text) WITH default_time_to_live = 1000").await;
    write(&live, row(&live, 101, None)).await;
    assert_eq!(left(&live).await, [None]);
    live.drop().await;
}

#[tokio::test]
async fn more_than_the_server_takes_is_the_records_fault() {
    let live = live(TABLE).await;
    let in_21_years = now_ms() + 21 * 365 * 86_400_000;
    match live.write(vec![row(&live, 101, Some(in_21_years))]).await {
        Outcome::Rejected(rejected) => assert_eq!(rejected[0].reject.class, RejectClass::OutOfRange),
        other => panic!("{other:?}"),
    }
    live.drop().await;
}
