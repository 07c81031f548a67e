//! The rewind guard's part of the sink (V6): positions with rows, positions of deletes, and what is read of both.

use rowferry::change::position::{Position, Standing, Stored};
use rowferry::plan::route::{Consistency, RewindGuard, RouteSpec, Routes};
use rowferry::plan::write::{Write, WriteKind};
use rowferry::row::Value;
use rowferry::sink::{Failure, Outcome, Sink as _};

use crate::live::{Live, batch};

const TABLES: [&str; 2] = [
    "docs (a bigint, b bigint, c bigint, at blob, PRIMARY KEY ((a), b))",
    "docs_gone (a bigint, b bigint, at blob, PRIMARY KEY ((a), b))",
];

fn guarded() -> RouteSpec {
    let (column, deletes_table) = ("at".into(), "docs_gone".into());
    let guard = Some(RewindGuard { column, deletes_table, deletes_ttl_seconds: 600 });
    RouteSpec { guard, schemas: true, ..RouteSpec::new("topic.docs", "docs", &["b"]) }
}

/// A keyspace whose first table is guarded. The tables are the parts of CREATE TABLE behind the keyspace.
async fn live(tables: &[&str]) -> Live {
    let mut live = Live::new(tables).await;
    let names: Vec<&str> = tables.iter().map(|table| table.split(' ').next().unwrap()).collect();
    let described = live.cluster.tables(&names).await.unwrap();
    live.routes = Routes::resolve(&[guarded()], &described.found).unwrap();
    live.sink = live.cluster.sink(&live.routes).await.unwrap();
    live
}

fn at(lsn: u64) -> Position {
    Position { commit_lsn: lsn - 1, lsn, tx_id: 7 }
}

fn write(live: &Live, kind: WriteKind, version: i64, row: (i64, i64), position: Option<Position>) -> Write {
    let key = [("a", Value::Int(row.0)), ("b", Value::Int(row.1))];
    let c = [("c", Value::Int(version))];
    let named: Vec<(&str, Value)> = match kind {
        WriteKind::Upsert => key.into_iter().chain(c).collect(),
        WriteKind::Delete => key.into(),
    };
    let write = live.row("docs", kind, version, &named);
    Write { standing: Standing { position, ..Standing::default() }, ..write }
}

/// What the sink keeps of these rows.
async fn stored(live: &Live, rows: &[(i64, i64)]) -> Vec<Option<Stored>> {
    let writes: Vec<Write> = rows.iter().map(|row| write(live, WriteKind::Delete, 2, *row, None)).collect();
    let asked: Vec<usize> = (0..writes.len()).collect();
    live.sink.stored(&batch(writes), &asked).await.unwrap()
}

fn kept(lsn: u64, version: i64) -> Option<Stored> {
    Some(Stored { position: at(lsn), version })
}

#[tokio::test]
async fn a_position_goes_with_its_row_and_stays_when_the_row_is_gone() {
    let live = live(&TABLES).await;
    let writes = vec![
        write(&live, WriteKind::Upsert, 101, (1, 1), Some(at(11))),
        write(&live, WriteKind::Upsert, 103, (1, 2), Some(at(12))),
        write(&live, WriteKind::Upsert, 105, (2, 1), Some(Position::ZERO)),
        write(&live, WriteKind::Delete, 106, (2, 2), Some(at(13))),
        write(&live, WriteKind::Delete, 108, (2, 3), None),
    ];
    assert_eq!(live.write(writes).await, Outcome::Durable);
    let all = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (9, 9)];
    let zero = Some(Stored { position: Position::ZERO, version: 105 });
    assert_eq!(stored(&live, &all).await, [kept(11, 101), kept(12, 103), zero, kept(13, 106), None, None]);

    // Gone, and back again: the row is asked first. A write that comes late changes nothing of it.
    let delete = vec![write(&live, WriteKind::Delete, 110, (1, 1), Some(at(20)))];
    assert_eq!(live.write(delete).await, Outcome::Durable);
    let late = vec![write(&live, WriteKind::Upsert, 101, (1, 1), Some(at(11)))];
    assert_eq!(live.write(late).await, Outcome::Durable);
    assert_eq!(stored(&live, &all[..2]).await, [kept(20, 110), kept(12, 103)]);
    let back = vec![write(&live, WriteKind::Upsert, 113, (1, 1), Some(at(5)))];
    assert_eq!(live.write(back).await, Outcome::Durable);
    assert_eq!(stored(&live, &all[..1]).await, [kept(5, 113)], "another history may count from below");
    let late = vec![write(&live, WriteKind::Delete, 106, (1, 1), Some(at(19)))];
    assert_eq!(live.write(late).await, Outcome::Durable);
    assert_eq!(stored(&live, &all[..1]).await, [kept(5, 113)]);

    // What is kept of deletes ends by itself, and has the delete's own version.
    let gone = live.select("a, b, writetime(at), ttl(at)", "docs_gone").await;
    assert_eq!(gone.len(), 2);
    let number = |value: &Option<scylla::value::CqlValue>| match value {
        Some(scylla::value::CqlValue::BigInt(number)) => *number,
        Some(scylla::value::CqlValue::Int(number)) => i64::from(*number),
        other => panic!("{other:?} is no number"),
    };
    for row in &gone {
        assert!((1..=600).contains(&number(&row[3])), "{row:?}");
        assert_eq!(number(&row[2]), if number(&row[0]) == 1 { 110 } else { 106 }, "{row:?}");
    }
    assert_eq!(live.cluster.warnings(), 0);
    live.drop().await;
}

#[tokio::test]
async fn a_thousand_rows_are_asked_for_in_one_call_and_their_deletes_travel_together() {
    let live = live(&TABLES).await;
    let rows: Vec<(i64, i64)> = (0..1_000).map(|at| (at % 100, at)).collect();
    let kind = |at: usize| if at.is_multiple_of(2) { WriteKind::Upsert } else { WriteKind::Delete };
    let of = |(at_row, row): (usize, &(i64, i64))| {
        write(&live, kind(at_row), 101 + at_row as i64 * 2, *row, Some(at(1 + at_row as u64)))
    };
    let writes: Vec<Write> = rows.iter().enumerate().map(of).collect();
    assert_eq!(live.write(writes).await, Outcome::Durable);
    let found = stored(&live, &rows).await;
    let expected: Vec<_> = (0..1_000).map(|at_row| kept(1 + at_row, 101 + at_row as i64 * 2)).collect();
    assert!(found == expected, "{found:?}");
    assert_eq!(live.cluster.warnings(), 0);
    live.drop().await;
}

#[tokio::test]
async fn what_the_guard_cannot_rely_on_is_refused_before_anything_is_written() {
    let live = live(&[TABLES[0], TABLES[1], "whole (a bigint, b bigint, at blob, PRIMARY KEY ((a, b)))"]).await;
    let described = live.cluster.tables(&["docs", "docs_gone", "whole"]).await.unwrap().found;
    let told = async |spec: RouteSpec| {
        let routes = Routes::resolve(&[spec], &described).unwrap();
        match live.cluster.sink(&routes).await {
            Err(Failure::Stop(why)) => why,
            other => panic!("it was not refused: {:?}", other.err()),
        }
    };
    let weak = told(RouteSpec { consistency: Consistency::LocalOne, ..guarded() }).await;
    assert!(weak.contains("it reads at LOCAL_QUORUM") && weak.contains("another `consistency`"), "{weak}");
    let guard = guarded().guard.map(|guard| RewindGuard { deletes_table: "whole".into(), ..guard });
    let other = told(RouteSpec { guard, ..guarded() }).await;
    assert!(other.contains("\"whole\" has another partition key than that of \"docs\""), "{other}");

    // Somebody else's bytes are no position, and are not guessed at.
    let bytes = format!("INSERT INTO {}.docs (a, b, at) VALUES (1, 1, 0x00)", live.keyspace);
    live.cluster.session().query_unpaged(bytes, ()).await.unwrap();
    let asked = batch(vec![write(&live, WriteKind::Delete, 2, (1, 1), None)]);
    let Err(Failure::Stop(why)) = live.sink.stored(&asked, &[0]).await else { panic!("it was read") };
    assert!(why.contains("holds what is no position"), "{why}");
    live.drop().await;
}

#[tokio::test]
async fn a_row_that_ended_by_itself_or_was_written_before_the_guard_has_no_position() {
    let live = live(&TABLES).await;
    for row in ["(1, 1, 1)", "(1, 2, 1)"] {
        let before = format!("INSERT INTO {}.docs (a, b, c) VALUES {row} USING TIMESTAMP 3", live.keyspace);
        live.cluster.session().query_unpaged(before, ()).await.unwrap();
    }
    let delete = vec![write(&live, WriteKind::Delete, 110, (1, 2), Some(at(20)))];
    assert_eq!(live.write(delete).await, Outcome::Durable);
    assert_eq!(stored(&live, &[(1, 1), (1, 2)]).await, [None, kept(20, 110)]);
    let forget = format!("DELETE FROM {}.docs_gone WHERE a = 1", live.keyspace);
    live.cluster.session().query_unpaged(forget, ()).await.unwrap();
    assert_eq!(stored(&live, &[(1, 2)]).await, [None], "as when the replay window is over");
    live.drop().await;
}
