//! The Cassandra sink against the running stack (`make up`): types, versions, grouping, refusals.
//!
//! Every test makes a keyspace of its own on the three nodes and drops it at the end.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigdecimal::BigDecimal;
use futures::TryStreamExt as _;
use rowferry::change::RejectClass;
use rowferry::plan::route::{Route, RouteSpec, Routes};
use rowferry::plan::write::{Batch, Expect, Versioned, Write, WriteKind};
use rowferry::record::{Record, TopicPartition};
use rowferry::row::{Row, Value};
use rowferry::sink::cassandra::Cassandra;
use rowferry::sink::cassandra::cluster::{Cluster, Login, Password, Settings};
use rowferry::sink::cassandra::statement::{put_partition_key, token};
use rowferry::sink::cassandra::types::ROW_BYTES_MAX;
use rowferry::sink::{Failure, Outcome, Sink as _};
use scylla::statement::batch::{Batch as CqlBatch, BatchType};
use uuid::Uuid;

const FIRST_OFFSET: i64 = 40;

fn settings(keyspace: &str) -> Settings {
    Settings {
        nodes: vec!["127.0.0.1:9042".into(), "127.0.0.2:9042".into(), "127.0.0.3:9042".into()],
        keyspace: keyspace.into(),
        login: None,
        in_flight_max: 64,
        request_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(10),
    }
}

/// A keyspace of one test, with its tables and a sink for routes that feed each of them from its own topic.
struct Live {
    cluster: Cluster,
    keyspace: String,
    routes: Routes,
    sink: Cassandra,
}

impl Live {
    /// `tables` are the parts of CREATE TABLE behind the keyspace, each beginning with the table's name.
    async fn new(tables: &[&str]) -> Live {
        let admin = match Cluster::connect(&settings("system")).await {
            Ok(cluster) => cluster,
            Err(why) => panic!("the stack is not running: make up ({why:?})"),
        };
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let keyspace = format!("rowferry_sink_test_{nanos:x}_{:x}", Uuid::new_v4().as_u128() as u16);
        let replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}";
        ddl(&admin, &format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}")).await;
        for table in tables {
            ddl(&admin, &format!("CREATE TABLE {keyspace}.{table}")).await;
        }
        let cluster = Cluster::connect(&settings(&keyspace)).await.unwrap();
        let names: Vec<&str> = tables.iter().map(|table| table.split(' ').next().unwrap()).collect();
        let described = cluster.tables(&names).await.unwrap();
        let specs: Vec<RouteSpec> = described
            .found
            .values()
            .map(|table| RouteSpec::new(&format!("topic.{}", table.name), &table.name, &[table.key.last().unwrap()]))
            .collect();
        let routes = Routes::resolve(&specs, &described.found).unwrap();
        let sink = cluster.sink(&routes).await.unwrap();
        Live { cluster, keyspace, routes, sink }
    }

    fn route(&self, table: &str) -> (usize, &Route) {
        self.routes.routes.iter().enumerate().find(|(_, route)| route.table == table).unwrap()
    }

    /// A write of the named columns; those not named are absent.
    fn row(&self, table: &str, kind: WriteKind, version: i64, named: &[(&str, Value)]) -> Write {
        let (at, route) = self.route(table);
        let value = |column: &str| named.iter().find(|(name, _)| *name == column).map(|(_, value)| value.clone());
        let values = route.columns.iter().map(|column| value(&column.name).unwrap_or(Value::Absent)).collect();
        Write { record: 0, route: at, kind, expect: Expect::Any, version: Some(version), values }
    }

    async fn write(&self, writes: Vec<Write>) -> Outcome {
        self.sink.write(&mut (), &batch(writes)).await
    }

    async fn scan(&self, table: &str) -> Vec<Row> {
        let reader = self.cluster.reader(self.route(table).1).await.unwrap();
        let mut rows: Vec<Row> = reader.scan().await.unwrap().try_collect().await.unwrap();
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    }

    async fn drop(self) {
        ddl(&self.cluster, &format!("DROP KEYSPACE {}", self.keyspace)).await;
    }
}

/// One record for each write, in order.
fn batch(mut writes: Vec<Write>) -> Batch {
    let topic: Arc<str> = "topic".into();
    let record = |at: usize| Record {
        topic: topic.clone(),
        partition: 0,
        offset: FIRST_OFFSET + at as i64,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: [].into(),
    };
    let records: Vec<Versioned> =
        (0..writes.len()).map(|at| Versioned { record: record(at), version: writes[at].version.unwrap() }).collect();
    writes.iter_mut().enumerate().for_each(|(at, write)| write.record = at);
    Batch {
        partition: TopicPartition { topic, partition: 0 },
        next_offset: FIRST_OFFSET + records.len() as i64,
        records,
        writes,
        rejects: Vec::new(),
        passed_over: 0,
    }
}

/// The driver waits until the nodes agree about the schema.
async fn ddl(cluster: &Cluster, cql: &str) {
    let mut statement = scylla::statement::unprepared::Statement::new(cql);
    statement.set_request_timeout(Some(Duration::from_secs(60)));
    cluster.session().query_unpaged(statement, ()).await.unwrap();
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).unwrap())
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_written() {
    let live = Live::new(&[
        "every (id uuid PRIMARY KEY, a ascii, b boolean, d date, i16 smallint, i32 int, i64 bigint, n decimal, \
         t text, ts timestamp)",
    ])
    .await;
    let ids: Vec<Value> = (0..4).map(|id| Value::Uuid(Uuid::from_u128(id))).collect();
    let (low, high) = (Value::Timestamp(-62_135_596_800_000_000), Value::Timestamp(i64::MAX / 1000 * 1000));
    let rows = [
        vec![text(""), Value::Bool(false), Value::Date(i32::MIN), Value::Int(-32_768), Value::Int(i32::MIN.into())],
        vec![text("a"), Value::Bool(true), Value::Date(i32::MAX), Value::Int(32_767), Value::Int(i32::MAX.into())],
        vec![text("b"), Value::Bool(true), Value::Date(-719_162), Value::Int(0), Value::Int(0)],
        vec![Value::Null; 5],
    ];
    let more = [
        vec![Value::Int(i64::MIN), decimal("-12345678901234567890123456789.0123456789"), text("äöü\u{0}😀"), low],
        vec![Value::Int(i64::MAX), decimal("1E+2147483648"), text(""), high],
        vec![Value::Int(0), decimal("10.50"), text("x"), Value::Timestamp(1_700_000_000_123_000)],
        vec![Value::Null; 4],
    ];
    let (_, route) = live.route("every");
    assert_eq!(
        route.columns.iter().map(|column| &*column.name).collect::<Vec<_>>(),
        ["id", "a", "b", "d", "i16", "i32", "i64", "n", "t", "ts"]
    );
    let expect: Vec<Row> = (0..4)
        .map(|at| [ids[at].clone()].into_iter().chain(rows[at].clone()).chain(more[at].clone()).collect())
        .collect();
    let writes = expect.iter().map(|row| Write {
        record: 0,
        route: 0,
        kind: WriteKind::Upsert,
        expect: Expect::Any,
        version: Some(1_000_001),
        values: row.clone(),
    });
    assert_eq!(live.write(writes.collect()).await, Outcome::Durable);

    let mut sorted = expect.clone();
    sorted.sort_by_key(|row| format!("{row:?}"));
    assert_eq!(live.scan("every").await, sorted);
    let reader = live.cluster.reader(route).await.unwrap();
    let missing = Value::Uuid(Uuid::from_u128(99));
    let keys = [vec![ids[2].clone()], vec![missing], vec![ids[0].clone()], vec![Value::Null]];
    let read = reader.read_many(&keys).await.unwrap();
    assert_eq!(read, [Some(expect[2].clone()), None, Some(expect[0].clone()), None]);
    live.drop().await;
}

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
    assert_eq!(live.write(writes).await, Outcome::Durable);
    assert_eq!(live.scan("wide").await.len(), 1_000);
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
    let live = Live::new(&["docs (id bigint PRIMARY KEY, a ascii, b text)"]).await;
    let row = |id, a: &str| live.row("docs", WriteKind::Upsert, 11, &[("id", Value::Int(id)), ("a", text(a))]);
    let mut writes: Vec<Write> = (0..25).map(|id| row(id, "ascii")).collect();
    writes[7] = row(7, "größer");
    writes[19] = row(19, "größer");
    let Outcome::Rejected(rejected) = live.write(writes.clone()).await else { panic!("it was not rejected") };
    let records: Vec<usize> = rejected.iter().map(|rejected| rejected.record).collect();
    assert_eq!(records, [7, 19]);
    for rejected in &rejected {
        assert_eq!(rejected.reject.class, RejectClass::Refused);
        assert!(!rejected.reject.text.contains("größer"), "{}", rejected.reject.text);
    }
    writes.remove(19);
    writes.remove(7);
    assert_eq!(live.write(writes).await, Outcome::Durable);
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
        let Outcome::Stop(text) = live.write((0..15).map(|id| row(table, id)).collect()).await else {
            panic!("{table}: it did not stop")
        };
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
    let live = Live::new(&[
        "docs (z bigint, y text, x uuid, b text, a int, PRIMARY KEY ((z, y), x))",
        "odd (id bigint PRIMARY KEY, l list<int>, f frozen<list<int>>, v blob)",
    ])
    .await;
    ddl(&live.cluster, &format!("CREATE TABLE {}.sums (id bigint PRIMARY KEY, n counter)", live.keyspace)).await;
    ddl(&live.cluster, &format!("ALTER TABLE {}.docs ADD late timestamp", live.keyspace)).await;
    let tables = live.cluster.tables(&["docs", "odd", "sums", "none"]).await.unwrap();
    assert_eq!(tables.found.keys().collect::<Vec<_>>(), ["docs", "odd", "sums"]);
    let docs = &tables.found["docs"];
    assert_eq!(docs.key, ["z", "y", "x"]);
    let columns: Vec<String> = docs.columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    assert_eq!(columns, ["z int64", "y text", "x uuid", "a int32", "b text", "late timestamp"]);
    assert_eq!(
        tables.problems,
        [
            "odd.f has type frozen<list<int>>, which Rowferry does not write yet",
            "odd.l is a list that is not frozen, which doubles when the same write arrives twice: make it frozen",
            "odd.v has type blob, which Rowferry does not write yet",
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
