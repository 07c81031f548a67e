//! A database for one test, the sink on it, and batches made by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use rowferry::plan::route::{RouteSpec, Routes};
use rowferry::plan::write::{Batch, Expect, Versioned, Write, WriteKind};
use rowferry::record::{Record, TopicPartition};
use rowferry::row::Value;
use rowferry::sink::postgres::{Postgres, PostgresSink, Settings};
use rowferry::sink::{Opened, Outcome, Retry, Sink as _};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

pub const HOST: &str = "127.0.0.1";

/// The stack's port, unless another server is tried by hand.
pub fn port() -> u16 {
    std::env::var("ROWFERRY_TEST_POSTGRES_PORT").map_or(5432, |port| port.parse().expect("a port"))
}

pub struct Database {
    pub name: String,
}

/// Runs the test on a new database with the schema of the repository, and removes it whatever happens.
pub fn on_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Database) -> F) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("rowferry_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut server = superuser("postgres").await;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut server).await.unwrap();
        let database = Database { name: name.clone() };
        database.sql(include_str!("../../postgres-schema.sql")).await;
        let ended = tokio::spawn(test(database)).await;
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut server).await.unwrap();
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    });
}

async fn superuser(database: &str) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass().host(HOST).port(port()).username("postgres");
    let options = options.password("postgres").database(database).disable_statement_logging();
    match PgConnection::connect_with(&options).await {
        Ok(connection) => connection,
        Err(error) => panic!("the stack is not running: make up ({error})"),
    }
}

impl Database {
    pub fn settings(&self) -> Settings {
        self.settings_at(port())
    }

    /// As the role that `consumer` has, which may not do more.
    pub fn settings_at(&self, port: u16) -> Settings {
        let url = format!("postgres://rowferry:rowferry@{HOST}:{port}/{}", self.name);
        Settings { lock_timeout: Duration::from_secs(2), ..Settings::new(url, "group") }
    }

    pub async fn connect(&self) -> PgConnection {
        superuser(&self.name).await
    }

    pub async fn sql(&self, text: &str) {
        sqlx::raw_sql(AssertSqlSafe(text.to_string())).execute(&mut self.connect().await).await.unwrap();
    }

    /// Rows as lines of text, values with a blank between.
    pub async fn lines(&self, text: &'static str) -> Vec<String> {
        let text = format!("SELECT translate(btrim(q::text, '()'), ',\"', ' ') FROM ({text}) AS q");
        let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.connect().await).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Users and orders, with their flags and the seconds of modified_at.
    pub async fn users(&self) -> Vec<String> {
        self.lines(
            "SELECT right(id::text, 2), name, extract(epoch FROM modified_at)::int, is_deleted FROM users ORDER BY id",
        )
        .await
    }

    pub async fn orders(&self) -> Vec<String> {
        self.lines(
            "SELECT right(id::text, 2), status, right(user_id::text, 2), extract(epoch FROM modified_at)::int, \
             is_deleted FROM orders ORDER BY id",
        )
        .await
    }

    pub async fn progress(&self) -> Vec<String> {
        self.lines("SELECT topic, partition, next_offset, owner_epoch FROM rowferry_progress ORDER BY 1, 2").await
    }

    pub async fn sink(&self) -> PostgresSink {
        self.sink_with(self.settings()).await
    }

    pub async fn sink_with(&self, settings: Settings) -> PostgresSink {
        let postgres = Postgres::connect(settings).await.unwrap();
        let tables = postgres.tables(&["users".into(), "orders".into()]).await.unwrap();
        postgres.sink(&Arc::new(Routes::resolve(&specs(), &tables).unwrap())).await.unwrap()
    }
}

pub fn specs() -> Vec<RouteSpec> {
    let spec = |topic: &str, key: &str, renamed: &[(&str, &str)]| RouteSpec {
        renamed: renamed.iter().map(|(target, source)| (target.to_string(), source.to_string())).collect(),
        ..RouteSpec::events(topic, topic, &[key], "is_deleted")
    };
    vec![
        spec("users", "user_id", &[("id", "user_id")]),
        spec("orders", "order_id", &[("id", "order_id"), ("status", "order_status"), ("total_amount", "order_total")]),
    ]
}

pub fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

/// One event: the route, what it says, and the columns it names.
#[derive(Debug, Clone)]
pub struct Event {
    pub route: usize,
    pub what: &'static str,
    pub columns: BTreeMap<&'static str, Value>,
}

const COLUMNS: [&[&str]; 2] = [
    &["id", "name", "dob", "created_at", "modified_at"],
    &["id", "status", "user_id", "quantity", "total_amount", "placed_at", "modified_at"],
];

pub fn id(number: u128) -> Value {
    Value::Uuid(Uuid::from_u128(number))
}

pub fn text(text: &str) -> Value {
    Value::Text(ByteString::from(text))
}

pub fn seconds(seconds: i64) -> Value {
    Value::Timestamp(seconds * 1_000_000)
}

/// A user, complete, modified at this second.
pub fn user(what: &'static str, number: u128, name: &str, modified: i64) -> Event {
    let mut columns = BTreeMap::from([("id", id(number)), ("modified_at", seconds(modified))]);
    if what == "create" {
        columns.extend([("name", text(name)), ("dob", Value::Date(1)), ("created_at", seconds(1))]);
    } else if !name.is_empty() {
        columns.insert("name", text(name));
    }
    Event { route: 0, what, columns }
}

/// An order: complete when it is created, otherwise with what is not empty.
pub fn order(what: &'static str, number: u128, user: u128, status: &str, modified: i64) -> Event {
    let mut columns = BTreeMap::from([("id", id(number)), ("modified_at", seconds(modified))]);
    if what == "create" {
        let total = Value::Decimal("12.34".parse().unwrap());
        columns.extend([("quantity", Value::Int(3)), ("total_amount", total), ("placed_at", seconds(1))]);
    }
    if user > 0 {
        columns.insert("user_id", id(user));
    }
    if !status.is_empty() {
        columns.insert("status", text(status));
    }
    Event { route: 1, what, columns }
}

impl Event {
    pub fn with(mut self, column: &'static str, value: Value) -> Event {
        self.columns.insert(column, value);
        self
    }
}

/// Events at consecutive offsets of partition 0 of the topic that the first one is of.
pub fn batch(first_offset: i64, events: &[Event]) -> Batch {
    let topic: Arc<str> = ["users", "orders"][events.first().map_or(0, |event| event.route)].into();
    let record = |offset| Record {
        topic: topic.clone(),
        partition: 0,
        offset,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: [].into(),
    };
    let offsets = first_offset..first_offset + events.len() as i64;
    let writes = events.iter().enumerate().map(|(record, event)| {
        let (kind, expect) = match event.what {
            "create" => (WriteKind::Upsert, Expect::Absent),
            "update" => (WriteKind::Upsert, Expect::Present),
            "delete" => (WriteKind::Delete, Expect::Present),
            what => panic!("no event {what}"),
        };
        let value = |column: &&str| event.columns.get(column).cloned().unwrap_or(Value::Absent);
        let values = COLUMNS[event.route].iter().map(value).collect();
        Write {
            record,
            route: event.route,
            kind,
            expect,
            version: None,
            ends_at_ms: None,
            standing: Default::default(),
            values,
        }
    });
    Batch {
        partition: TopicPartition { topic: topic.clone(), partition: 0 },
        next_offset: offsets.end,
        writes: writes.collect(),
        records: offsets.map(|offset| Versioned::new(record(offset), 0)).collect(),
        rejects: Vec::new(),
        passed_over: 0,
    }
}

/// A partition of one topic and the sink that took it, from offset 0 the first time.
pub struct Owner {
    pub sink: Arc<PostgresSink>,
    pub state: <PostgresSink as rowferry::sink::Sink>::Partition,
    pub next_offset: i64,
}

impl Owner {
    pub async fn open(sink: &Arc<PostgresSink>, topic: &str) -> Owner {
        let Opened { state, next_offset } = sink.open(&partition(topic), 0, None).await.unwrap();
        Owner { sink: sink.clone(), state, next_offset }
    }

    /// Writes the events behind those written before.
    pub async fn write(&mut self, events: &[Event]) -> Outcome {
        let outcome = self.write_batch(&batch(self.next_offset, events)).await;
        if outcome == Outcome::Durable {
            self.next_offset += events.len() as i64;
        }
        outcome
    }

    pub async fn write_batch(&mut self, batch: &Batch) -> Outcome {
        self.sink.write(&mut self.state, batch).await
    }
}

/// The refused records as text: index, class, text.
pub fn refused(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Rejected(rejects) => {
            rejects.iter().map(|rejected| format!("{} {}", rejected.record, rejected.reject)).collect()
        }
        outcome => panic!("no rejects but {outcome:?}"),
    }
}

pub fn retried(outcome: &Outcome) -> &Retry {
    match outcome {
        Outcome::Retry(retry) => retry,
        outcome => panic!("no retry but {outcome:?}"),
    }
}

pub fn stopped(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Stop(text) => text,
        outcome => panic!("no stop but {outcome:?}"),
    }
}
