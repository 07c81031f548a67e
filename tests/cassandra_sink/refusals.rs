//! What is refused, what stops, what is waited for.

use std::time::Duration;

use rowferry::change::RejectClass;
use rowferry::plan::write::{Write, WriteKind};
use rowferry::row::{Row, Value};
use rowferry::sink::cassandra::cluster::{Cluster, Login, Password, Settings};
use rowferry::sink::cassandra::types::ROW_BYTES_MAX;
use rowferry::sink::{Failure, Outcome, Sink as _};

use crate::live::{FIRST_OFFSET, Live, batch, ddl, settings, text};

#[tokio::test]
async fn a_row_that_is_too_large_is_rejected_alone() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    let row = |id, bytes: usize| {
        let named = [("id", Value::Int(id)), ("a", text(&"x".repeat(bytes))), ("b", Value::Null)];
        live.row("docs", WriteKind::Upsert, 11, &named)
    };
    let mut writes = vec![row(1, 10), row(2, ROW_BYTES_MAX), row(3, 10)];
    let Outcome::Rejected(rejected) = live.write(writes.clone()).await else { panic!("it was not rejected") };
    assert_eq!(rejected.len(), 1);
    assert_eq!((rejected[0].record, rejected[0].reject.class), (1, RejectClass::TooLarge));
    writes.remove(1);
    assert_eq!(live.write(writes).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await.len(), 2);
    // The largest row that is let through is one that the server takes.
    assert_eq!(live.write(vec![row(4, ROW_BYTES_MAX - 200)]).await, Outcome::Durable);
    live.drop().await;
}

#[tokio::test]
async fn a_row_that_only_the_server_can_judge_is_rejected_alone() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    // What is in an index is bound to the length of a key.
    ddl(&live.cluster, &format!("CREATE INDEX ON {}.docs (a) USING 'legacy_local_table'", live.keyspace)).await;
    let row = |id, a: &str| live.row("docs", WriteKind::Upsert, 11, &[("id", Value::Int(id)), ("a", text(a))]);
    let mut writes: Vec<Write> = (0..25).map(|id| row(id, "short")).collect();
    let long = "größer".repeat(10_000);
    writes[7] = row(7, &long);
    writes[19] = row(19, &long);
    let judged = live.write_until_judged(writes.clone()).await;
    let Outcome::Rejected(rejected) = judged else { panic!("it was not rejected: {judged:?}") };
    let records: Vec<usize> = rejected.iter().map(|rejected| rejected.record).collect();
    assert_eq!(records, [7, 19]);
    for rejected in &rejected {
        assert_eq!(rejected.reject.class, RejectClass::Refused);
        assert!(!rejected.reject.text.contains("größer"), "{}", rejected.reject.text);
    }
    writes.remove(19);
    writes.remove(7);
    assert_eq!(live.write_until_judged(writes).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await.len(), 23);
    live.drop().await;
}

#[tokio::test]
async fn a_missing_table_or_column_stops_with_its_name() {
    let live =
        Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)", "gone (id bigint PRIMARY KEY, a text)"]).await;
    let row = |table, id| live.row(table, WriteKind::Upsert, 11, &[("id", Value::Int(id)), ("a", text("a"))]);
    assert_eq!(live.write(vec![row("docs", 1), row("gone", 1)]).await, Outcome::Durable);
    let reader = live.cluster.reader(live.route("gone").1).await.unwrap();
    ddl(&live.cluster, &format!("DROP TABLE {}.gone", live.keyspace)).await;
    ddl(&live.cluster, &format!("ALTER TABLE {}.docs DROP b", live.keyspace)).await;
    for (table, name) in [("gone", "gone"), ("docs", "b")] {
        let judged = live.write_until_judged((0..15).map(|id| row(table, id)).collect()).await;
        let Outcome::Stop(text) = judged else { panic!("{table}: it did not stop: {judged:?}") };
        assert!(text.contains(name) && text.contains("correct the table"), "{text}");
    }
    assert!(matches!(reader.read_many(&[vec![Value::Int(1)]]).await, Err(Failure::Stop(_))));
    assert!(matches!(reader.scan().await.err(), Some(Failure::Stop(_))));
    live.drop().await;
}

#[tokio::test]
async fn a_write_without_a_usable_version_stops() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    for version in [None, Some(0), Some(i64::MAX)] {
        let mut batch = batch(vec![live.row("docs", WriteKind::Upsert, 1, &[("id", Value::Int(1))])]);
        batch.writes[0].version = version;
        assert!(matches!(live.sink.write(&mut (), &batch).await, Outcome::Stop(_)), "{version:?}");
    }
    let empty = batch(Vec::new());
    assert_eq!(live.sink.write(&mut (), &empty).await, Outcome::Durable);
    assert_eq!(live.scan("docs").await, Vec::<Row>::new());
    live.drop().await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_in_time_is_waited_for() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    let hasty = Settings { request_timeout: Duration::from_nanos(1), ..settings(&live.keyspace) };
    let cluster = Cluster::connect(&hasty).await.unwrap();
    let sink = cluster.sink(&live.routes).await;
    let sink = sink.unwrap_or_else(|why| panic!("preparing is not bound by the timeout of requests: {why:?}"));
    let writes = (0..100).map(|id| live.row("docs", WriteKind::Upsert, 11, &[("id", Value::Int(id))])).collect();
    let Outcome::Retry(retry) = sink.write(&mut (), &batch(writes)).await else { panic!("it was not to be retried") };
    assert_eq!((retry.next_offset, &*retry.waiting_for), (FIRST_OFFSET, "Cassandra: no answer within 0 ms"));
    live.drop().await;
}

#[tokio::test]
async fn tables_are_described_as_they_are_now() {
    let live = Live::new(&["docs (z bigint, y text, x uuid, b text, a int, PRIMARY KEY ((z, y), x))"]).await;
    let odd = "odd (id bigint, k vector<duration, 1>, l list<int>, f frozen<list<int>>, d duration, \
               s set<frozen<tuple<duration>>>, PRIMARY KEY (id, k))";
    ddl(&live.cluster, &format!("CREATE TABLE {}.{odd}", live.keyspace)).await;
    ddl(&live.cluster, &format!("CREATE TABLE {}.sums (id bigint PRIMARY KEY, n counter)", live.keyspace)).await;
    ddl(&live.cluster, &format!("ALTER TABLE {}.docs ADD late timestamp", live.keyspace)).await;
    let tables = live.cluster.tables(&["docs", "odd", "sums", "none"]).await.unwrap();
    assert_eq!(tables.found.keys().collect::<Vec<_>>(), ["docs", "odd", "sums"]);
    let docs = &tables.found["docs"];
    assert_eq!(docs.key, ["z", "y", "x"]);
    let columns: Vec<String> = docs.columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    assert_eq!(columns, ["z int64", "y text", "x uuid", "a int32", "b text", "late timestamp in milliseconds"]);
    let odd: Vec<String> =
        tables.found["odd"].columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    assert_eq!(odd, ["id int64", "d duration", "f list<int32>"]);
    assert_eq!(
        tables.problems,
        [
            "odd.k has durations in a key or in a set, where they have no order: make them text",
            "odd.l is a list that is not frozen, which doubles when the same write arrives twice: make it frozen",
            "odd.s has durations in a key or in a set, where they have no order: make them text",
            "sums.n is a counter, which counts twice when the same write arrives twice: make it a bigint",
        ]
    );
    live.drop().await;
}

#[tokio::test]
async fn away_is_retried_and_a_keyspace_that_is_not_there_stops() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text, b text)"]).await;
    let nowhere = Settings { nodes: vec!["127.0.0.1:1".into()], ..settings(&live.keyspace) };
    let Some(Failure::Retry(text)) = Cluster::connect(&nowhere).await.err() else { panic!("it is not waited for") };
    assert_eq!(text, "Cassandra: no connection (Connection refused (os error 111))");
    let login = Some(Login { user: "u".into(), password: Password::new("p") });
    let Some(Failure::Stop(text)) = Cluster::connect(&Settings { login, ..settings("not_there") }).await.err() else {
        panic!("it did not stop")
    };
    assert_eq!(text, "Cassandra: there is no keyspace \"not_there\": create it or correct `keyspace`");
    live.drop().await;
}

#[tokio::test]
async fn a_type_that_the_driver_cannot_read_stops_with_its_name() {
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a text)"]).await;
    let create = |cql: &str| cql.replace("KS", &live.keyspace);
    let custom = "'org.apache.cassandra.db.marshal.LexicalUUIDType'";
    for (statements, named) in [
        (vec![create(&format!("CREATE TABLE KS.odd (id int PRIMARY KEY, c {custom})"))], custom),
        (
            vec![
                create("CREATE TYPE KS.\"Place\" (x int)"),
                create("CREATE TABLE KS.odd (id int PRIMARY KEY, c frozen<\"Place\">)"),
            ],
            "frozen<\"Place\">",
        ),
        (vec![create("CREATE TABLE KS.odd (id int PRIMARY KEY, c vector<int, 65536>)")], "vector<int, 65536>"),
    ] {
        for statement in statements {
            // The driver reads the schema after it was changed, which is what fails.
            let _ = live.cluster.session().query_unpaged(statement, ()).await;
        }
        let connected = Cluster::connect(&settings(&live.keyspace)).await.err();
        let described = live.cluster.tables(&["docs"]).await.err();
        for failure in [connected, described] {
            let Some(Failure::Stop(text)) = failure else { panic!("{named}: it did not stop") };
            assert!(text.contains(&format!("a column of type {named}, which the driver cannot read")), "{text}");
        }
        ddl(&live.cluster, &create("DROP TABLE KS.odd")).await;
    }
    assert!(live.cluster.tables(&["docs"]).await.is_ok());
    live.drop().await;
}
