//! A keyspace of one test on the running stack, and what is written into it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigdecimal::BigDecimal;
use futures::TryStreamExt as _;
use rowferry::plan::route::{Route, RouteSpec, Routes};
use rowferry::plan::write::{Batch, Expect, Versioned, Write, WriteKind};
use rowferry::record::{Record, TopicPartition};
use rowferry::row::{Row, Value};
use rowferry::sink::cassandra::Cassandra;
use rowferry::sink::cassandra::cluster::{Cluster, Settings};
use rowferry::sink::{Outcome, Sink as _};
use scylla::value::CqlValue;
use uuid::Uuid;

pub const FIRST_OFFSET: i64 = 40;

pub fn settings(keyspace: &str) -> Settings {
    Settings {
        nodes: vec!["127.0.0.1:9042".into(), "127.0.0.2:9042".into(), "127.0.0.3:9042".into()],
        keyspace: keyspace.into(),
        login: None,
        tls: None,
        in_flight_max: 64,
        request_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(10),
    }
}

/// A keyspace of one test, with its tables and a sink for routes that feed each of them from its own topic.
pub struct Live {
    pub cluster: Cluster,
    pub keyspace: String,
    pub routes: Routes,
    pub sink: Cassandra,
}

impl Live {
    /// `tables` are the parts of CREATE TABLE behind the keyspace, each beginning with the table's name.
    pub async fn new(tables: &[&str]) -> Live {
        Live::with_types(&[], tables).await
    }

    /// `types` are the parts of CREATE TYPE behind the keyspace.
    pub async fn with_types(types: &[&str], tables: &[&str]) -> Live {
        Live::routed(types, tables, |spec| spec).await
    }

    /// The same with routes that `change` made of the plain ones.
    pub async fn routed(types: &[&str], tables: &[&str], change: impl Fn(RouteSpec) -> RouteSpec) -> Live {
        let admin = match Cluster::connect(&settings("system")).await {
            Ok(cluster) => cluster,
            Err(why) => panic!("the stack is not running: make up ({why:?})"),
        };
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let keyspace = format!("rowferry_sink_test_{nanos:x}_{:x}", Uuid::new_v4().as_u128() as u16);
        let replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}";
        ddl(&admin, &format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}")).await;
        for typ in types {
            ddl(&admin, &format!("CREATE TYPE {keyspace}.{typ}")).await;
        }
        for table in tables {
            ddl(&admin, &format!("CREATE TABLE {keyspace}.{table}")).await;
        }
        let cluster = Cluster::connect(&settings(&keyspace)).await.unwrap();
        let names: Vec<&str> = tables.iter().map(|table| table.split(' ').next().unwrap()).collect();
        let described = cluster.tables(&names).await.unwrap();
        let specs: Vec<RouteSpec> = described
            .found
            .values()
            .map(|table| RouteSpec {
                // Nothing is decoded here.
                schemas: true,
                ..RouteSpec::new(&format!("topic.{}", table.name), &table.name, &[table.key.last().unwrap()])
            })
            .map(change)
            .collect();
        let routes = Routes::resolve(&specs, &described.found).unwrap();
        let sink = cluster.sink(&routes).await.unwrap();
        Live { cluster, keyspace, routes, sink }
    }

    pub fn route(&self, table: &str) -> (usize, &Route) {
        self.routes.routes.iter().enumerate().find(|(_, route)| route.table == table).unwrap()
    }

    /// A write of the named columns; those not named are absent.
    pub fn row(&self, table: &str, kind: WriteKind, version: i64, named: &[(&str, Value)]) -> Write {
        let (at, route) = self.route(table);
        let value = |column: &str| named.iter().find(|(name, _)| *name == column).map(|(_, value)| value.clone());
        let values = route.columns.iter().map(|column| value(&column.name).unwrap_or(Value::Absent)).collect();
        Write {
            record: 0,
            route: at,
            kind,
            expect: Expect::Any,
            version: Some(version),
            ends_at_ms: None,
            standing: Default::default(),
            values,
        }
    }

    pub fn upsert(&self, table: &str, version: i64, named: &[(&str, Value)]) -> Write {
        self.row(table, WriteKind::Upsert, version, named)
    }

    /// What the driver reads, which passes through no code of ours.
    pub async fn select(&self, select: &str, table: &str) -> Vec<Vec<Option<CqlValue>>> {
        let cql = format!("SELECT {select} FROM {}.{table}", self.keyspace);
        let answer = self.cluster.session().query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
        answer.rows::<scylla::value::Row>().unwrap().map(|row| row.unwrap().columns).collect()
    }

    pub async fn write(&self, writes: Vec<Write>) -> Outcome {
        self.sink.write(&mut (), &batch(writes)).await
    }

    /// Writes like the pipeline, again while the sink asks for it: while the nodes do not agree about the schema yet it
    /// cannot say who is to blame for a refusal.
    pub async fn write_until_judged(&self, writes: Vec<Write>) -> Outcome {
        let mut waited_for = Vec::new();
        for _ in 0..60 {
            match self.write(writes.clone()).await {
                Outcome::Retry(retry) => waited_for.push(retry.waiting_for),
                judged => return judged,
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("it was never judged: {waited_for:?}");
    }

    pub async fn scan(&self, table: &str) -> Vec<Row> {
        let reader = self.cluster.reader(self.route(table).1).await.unwrap();
        let mut rows: Vec<Row> = reader.scan().await.unwrap().try_collect().await.unwrap();
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    }

    pub async fn drop(self) {
        ddl(&self.cluster, &format!("DROP KEYSPACE {}", self.keyspace)).await;
    }
}

/// One record for each write, in order.
pub fn batch(mut writes: Vec<Write>) -> Batch {
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
        (0..writes.len()).map(|at| Versioned::new(record(at), writes[at].version.unwrap())).collect();
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
pub async fn ddl(cluster: &Cluster, cql: &str) {
    let mut statement = scylla::statement::unprepared::Statement::new(cql);
    statement.set_request_timeout(Some(Duration::from_secs(60)));
    cluster.session().query_unpaged(statement, ()).await.unwrap();
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).unwrap())
}
