//! `cdcconsumer verify` against the running stack (`make up`): planted damage, rows that change, many rows.
//!
//! Every test fills a database and a keyspace of its own and drops both at the end.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

mod parts;
mod routes;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, Utc};
use futures::{StreamExt as _, stream};
use rowferry::sink::cassandra::cluster::{Cluster, Settings};
use scylla::serialize::row::SerializeRow;
use scylla::statement::unprepared::Statement;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

const POSTGRES: &str = "postgres:postgres@127.0.0.1:5432";
/// What the sample configuration reads the source as: nothing but SELECT on the two tables.
const READER: &str = "debezium:debezium@127.0.0.1:5432";
const WRITES_IN_FLIGHT: usize = 128;

type User = (Uuid, String, NaiveDate, DateTime<Utc>, DateTime<Utc>, bool);
type Order = (Uuid, String, Uuid, i32, BigDecimal, DateTime<Utc>, DateTime<Utc>, bool);

/// A source and a target of one test.
struct Live {
    name: String,
    source: PgConnection,
    target: Cluster,
}

impl Live {
    /// The shipped schemas, empty, under another name.
    async fn new() -> Live {
        let name = format!("rowferry_verify_{:x}", Uuid::new_v4().as_u128() as u64);
        let mut admin = postgres("postgres").await;
        sql(&mut admin, &format!("CREATE DATABASE {name}")).await;
        let mut source = postgres(&name).await;
        sql(&mut source, &read("postgres-schema.sql")).await;
        let system = cassandra("system").await;
        let schema: Vec<String> = read("cassandra-schema.cql")
            .lines()
            .filter(|line| !line.starts_with("--"))
            .map(|line| line.replace("cdc.", &format!("{name}.")).replace("EXISTS cdc", &format!("EXISTS {name}")))
            .collect();
        for statement in schema.join("\n").split(';').filter(|statement| !statement.trim().is_empty()) {
            ddl(&system, statement).await;
        }
        let target = cassandra(&name).await;
        Live { name, source, target }
    }

    /// Users and orders in Postgres, made up from their numbers, and the same rows in the three tables.
    async fn fill(&mut self, users: u32, orders: u32) {
        let text = format!(
            "INSERT INTO users SELECT md5('u' || n)::uuid, 'user ' || n, date '1980-01-01' + n % 9000, \
                    timestamptz '2026-01-01' + n * interval '1 ms', timestamptz '2026-02-01', false \
               FROM generate_series(1, {users}) n; \
             INSERT INTO orders SELECT md5('o' || n)::uuid, 'PLACED', md5('u' || 1 + n % {users})::uuid, n % 9 + 1, \
                    (n % 1000) / 100.0, timestamptz '2026-01-02', timestamptz '2026-02-02', n % 7 = 0 \
               FROM generate_series(1, {orders}) n"
        );
        sql(&mut self.source, &text).await;
        self.copy().await;
    }

    /// Writes every source row to its tables, as a pipeline would have.
    async fn copy(&mut self) {
        let users: Vec<User> = sqlx::query_as("SELECT * FROM users").fetch_all(&mut self.source).await.unwrap();
        let orders: Vec<Order> = sqlx::query_as("SELECT * FROM orders").fetch_all(&mut self.source).await.unwrap();
        self.insert("users (id, name, dob, created_at, modified_at, is_deleted) VALUES (?, ?, ?, ?, ?, ?)", users)
            .await;
        for table in ["orders (order_id", "orders_by_user (order_id"] {
            let columns = "status, user_id, quantity, total_amount, placed_at, modified_at, is_deleted";
            let text = format!("{table}, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
            self.insert(&text, orders.clone()).await;
        }
    }

    async fn insert(&self, into: &str, rows: Vec<impl SerializeRow>) {
        let session = self.target.session();
        let statement = &session.prepare(format!("INSERT INTO {}.{into}", self.name)).await.unwrap();
        let write = |row| async move { session.execute_unpaged(statement, row).await.map(drop).unwrap() };
        stream::iter(rows).map(write).buffer_unordered(WRITES_IN_FLIGHT).collect::<()>().await;
    }

    /// Runs a statement in the target; tables are named without their keyspace, behind `@`.
    async fn cql(&self, text: &str) {
        ddl(&self.target, &text.replace('@', &format!("{}.", self.name))).await;
    }

    async fn sql(&mut self, text: &str) {
        sql(&mut self.source, text).await;
    }

    /// The real binary with the sample configuration.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdcconsumer"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["verify", "--set"])
            .arg(format!("source.postgres.url=postgres://{READER}/{}", self.name))
            .arg("--set")
            .arg(format!("sink.cassandra.keyspace={}", self.name))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn verify(&self, arguments: &[&str]) -> Verified {
        let mut command = self.command(arguments);
        Verified::from(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    }

    async fn drop(self) {
        ddl(&self.target, &format!("DROP KEYSPACE {}", self.name)).await;
        self.source.close().await.unwrap();
        let mut admin = postgres("postgres").await;
        sql(&mut admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// How the binary ended and what it said.
#[derive(Debug)]
struct Verified {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Verified {
    fn from(output: Output) -> Verified {
        Verified {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Verified {
    /// equal, different, missing, extra and unsettled of a table.
    fn counts(&self, table: &str) -> [u64; 5] {
        let line = self.out.lines().find(|line| line.starts_with(&format!("{table} ")));
        let line = line.unwrap_or_else(|| panic!("{table} is not told: {self:?}"));
        let numbers = line.split_whitespace().skip(2).take(5).map(|number| number.parse().unwrap());
        numbers.collect::<Vec<u64>>().try_into().unwrap()
    }

    /// Everything is equal, with these counts of rows.
    fn expect_equal(&self, users: u64, orders: u64) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.counts("users"), [users, 0, 0, 0, 0]);
        assert_eq!(self.counts("orders"), [orders, 0, 0, 0, 0]);
        assert_eq!(self.counts("orders_by_user"), [orders, 0, 0, 0, 0]);
    }

    /// It ended with 1, named each of these rows, and no other.
    fn expect_named(&self, rows: &[String]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let named: Vec<&str> = self.out.lines().filter(|line| line.contains('=') && !line.starts_with(' ')).collect();
        assert_eq!(named, rows, "{self:?}");
    }
}

async fn postgres(database: &str) -> PgConnection {
    match PgConnection::connect(&format!("postgres://{POSTGRES}/{database}")).await {
        Ok(connection) => connection,
        Err(why) => panic!("the stack is not running: make up ({why})"),
    }
}

async fn cassandra(keyspace: &str) -> Cluster {
    let settings = Settings {
        nodes: vec!["127.0.0.1:9042".into(), "127.0.0.2:9042".into(), "127.0.0.3:9042".into()],
        keyspace: keyspace.into(),
        login: None,
        tls: None,
        in_flight_max: WRITES_IN_FLIGHT,
        request_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
    };
    match Cluster::connect(&settings).await {
        Ok(cluster) => cluster,
        Err(why) => panic!("the stack is not running: make up ({why:?})"),
    }
}

async fn sql(connection: &mut PgConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_string())).execute(connection).await.unwrap();
}

async fn ddl(cluster: &Cluster, text: &str) {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(Duration::from_secs(60)));
    cluster.session().query_unpaged(statement, ()).await.unwrap_or_else(|why| panic!("{text}: {why}"));
    cluster.session().await_schema_agreement().await.unwrap();
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Reads what it logs until it has compared once and is not content. What it logs later is left to be read.
fn wait_until_it_looks_again(running: &mut Child) -> BufReader<ChildStderr> {
    let mut errors = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("looking again") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended");
    }
    errors
}

/// The id that `fill` gave a user (`u3`) or an order (`o3`), as Postgres computes it.
async fn id(live: &mut Live, name: &str) -> Uuid {
    sqlx::query_scalar("SELECT md5($1)::uuid").bind(name).fetch_one(&mut live.source).await.unwrap()
}

#[tokio::test]
async fn planted_damage_is_found_and_named() {
    let mut live = Live::new().await;
    live.verify(&[]).await.expect_equal(0, 0);
    live.fill(20, 60).await;
    live.verify(&[]).await.expect_equal(20, 60);
    let (user, order, owner) = (id(&mut live, "u3").await, id(&mut live, "o5").await, id(&mut live, "u6").await);
    let by_user = format!("user_id={owner}, order_id={order}");

    live.cql(&format!("UPDATE @users SET name = 'someone else' WHERE id = {user}")).await;
    let verified = live.verify(&[]).await;
    verified.expect_named(&[format!("users id={user}: different")]);
    assert_eq!(verified.counts("users"), [19, 1, 0, 0, 0]);
    let cells: Vec<&str> = verified.out.lines().filter(|line| line.starts_with("  * ")).collect();
    let words: Vec<&str> = cells.iter().flat_map(|line| line.split_whitespace()).collect();
    assert_eq!(words, ["*", "name", "\"user", "3\"", "\"someone", "else\""]);
    assert!(!verified.err.contains("someone else") && !verified.err.contains(&user.to_string()), "{}", verified.err);

    live.copy().await;
    live.cql(&format!("UPDATE @orders SET total_amount = 0.06 WHERE order_id = {order}")).await;
    live.cql(&format!("DELETE quantity FROM @orders_by_user WHERE user_id = {owner} AND order_id = {order}")).await;
    let verified = live.verify(&[]).await;
    let different = |table: &str, key: &str| format!("{table} {key}: different");
    verified.expect_named(&[different("orders", &format!("order_id={order}")), different("orders_by_user", &by_user)]);

    live.copy().await;
    live.cql(&format!("DELETE FROM @users WHERE id = {user}")).await;
    live.cql(&format!("DELETE FROM @orders WHERE order_id = {order}")).await;
    live.cql(&format!("DELETE FROM @orders_by_user WHERE user_id = {owner} AND order_id = {order}")).await;
    live.verify(&[]).await.expect_named(&[
        format!("users id={user}: missing"),
        format!("orders order_id={order}: missing"),
        format!("orders_by_user {by_user}: missing"),
    ]);

    live.copy().await;
    let nobody = Uuid::from_u128(1);
    // An UPDATE makes a row without a row marker, which is a row all the same.
    live.cql(&format!("UPDATE @users SET name = 'nobody' WHERE id = {nobody}")).await;
    live.cql(&format!("INSERT INTO @orders (order_id) VALUES ({nobody})")).await;
    live.cql(&format!("INSERT INTO @orders_by_user (user_id, order_id) VALUES ({owner}, {nobody})")).await;
    let verified = live.verify(&[]).await;
    verified.expect_named(&[
        format!("users id={nobody}: extra"),
        format!("orders order_id={nobody}: extra"),
        format!("orders_by_user user_id={owner}, order_id={nobody}: extra"),
    ]);
    assert_eq!(verified.counts("orders_by_user"), [60, 0, 0, 1, 0]);
    assert_eq!(live.verify(&["--table", "users"]).await.out.matches("extra\n").count(), 1);
    live.cql("TRUNCATE @users").await;
    live.cql("TRUNCATE @orders").await;
    live.cql("TRUNCATE @orders_by_user").await;

    // The order got another user, and the row under the old one was left.
    live.copy().await;
    live.sql(&format!("UPDATE orders SET user_id = '{user}' WHERE id = '{order}'")).await;
    live.copy().await;
    let verified = live.verify(&[]).await;
    verified.expect_named(&[format!("orders_by_user {by_user}: extra")]);
    let belongs = format!("the source row belongs under user_id={user}, order_id={order}");
    assert!(verified.out.contains(&belongs), "{}", verified.out);
    live.drop().await;
}

#[tokio::test]
async fn a_row_that_changes_all_the_time_is_unsettled_until_it_rests() {
    let mut live = Live::new().await;
    live.fill(5, 10).await;
    let order = id(&mut live, "o5").await;
    let mut busy = live.command(&["--table", "orders"]).spawn().unwrap();
    while busy.try_wait().unwrap().is_none() {
        live.sql(&format!("UPDATE orders SET quantity = quantity + 1 WHERE id = '{order}'")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let verified = Verified::from(busy.wait_with_output().unwrap());
    assert_eq!((verified.code, verified.counts("orders")), (Some(1), [9, 0, 0, 0, 1]), "{verified:?}");

    // At rest and not followed it is a difference; followed within the time it is none.
    let mut patient = live.command(&["--within", "5m"]).spawn().unwrap();
    let errors = wait_until_it_looks_again(&mut patient);
    live.copy().await;
    let verified = Verified::from(tokio::task::spawn_blocking(|| patient.wait_with_output().unwrap()).await.unwrap());
    verified.expect_equal(5, 10);
    drop(errors);
    live.drop().await;
}

#[tokio::test]
async fn a_signal_ends_it_with_1() {
    let mut live = Live::new().await;
    live.fill(1, 1).await;
    live.cql("TRUNCATE @users").await;
    let mut running = live.command(&["--within", "1h"]).spawn().unwrap();
    let errors = wait_until_it_looks_again(&mut running);
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap().success());
    let verified = Verified::from(running.wait_with_output().unwrap());
    assert_eq!((verified.code, &*verified.out), (Some(1), ""), "{verified:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(errors.lines().any(|line| line.unwrap().contains("stopped before")));
    live.drop().await;
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_64() {
    let live = Live::new().await;
    let refused = async |arguments: &[&str], what: &str| {
        let verified = live.verify(arguments).await;
        assert_eq!(verified.code, Some(64), "{verified:?}");
        assert!(verified.err.contains(what) && verified.out.is_empty(), "{what}: {verified:?}");
    };
    refused(&["--table", "nothing"], "routed are users, orders, orders_by_user").await;
    let sample = read("rowferry.toml");
    let place = std::env::temp_dir().join(&live.name);
    let file = place.to_str().unwrap();
    let with = |text: String| std::fs::write(&place, text).unwrap();
    with(sample.replace("source_table = \"public.orders\"\n", ""));
    refused(&["--config", file], "source_table = \\\"schema.table\\\"").await;
    with(sample.replace("public.users", "public.people"));
    refused(&["--config", file], "the source has no table \\\"public.people\\\"").await;
    live.cql("ALTER TABLE @users ADD mail text").await;
    let table = "source_table = \"public.users\"\n";
    with(sample.replace(table, &format!("{table}columns = {{ mail = \"email\" }}\n")));
    refused(&["--config", file], "source column \\\"email\\\", which feeds \\\"mail\\\"").await;
    live.cql("ALTER TABLE @users DROP mail").await;
    with(sample);
    live.cql("DROP TABLE @users").await;
    live.cql("CREATE TABLE @users (id text, name text, PRIMARY KEY (id, name))").await;
    let key = "table = \"users\"\nsource_key = [\"id\"";
    with(read("rowferry.toml").replace(key, &format!("{key}, \"name\"")));
    refused(&["--config", file], "the primary key of \\\"public.users\\\" is [id]").await;
    std::fs::write(&place, "[kafka]\nbootstrap_servers = \"h:1\"\n[cdcconsumer]\ngroup_id = \"g\"\nroutes = [\
        { topic = \"t\", table = \"users\", source_key = [\"id\"] }]\n[sink.cassandra]\nnodes = [\"h:1\"]\nkeyspace = \"k\"\n")
        .unwrap();
    let bare = Command::new(env!("CARGO_BIN_EXE_cdcconsumer")).args(["verify", "--config", file]).output().unwrap();
    let bare = Verified::from(bare);
    assert!(bare.code == Some(64) && bare.err.contains("add [source.postgres]"), "{bare:?}");
    std::fs::remove_file(&place).unwrap();
    live.drop().await;
}

#[tokio::test]
async fn forms_of_a_value_do_not_matter_and_values_do() {
    let mut live = Live::new().await;
    live.sql(
        "CREATE TABLE things (b int2, a varchar(9), c char(5), d numeric, t timestamptz, n text, unused jsonb, \
                PRIMARY KEY (a, b)); \
         GRANT SELECT ON things TO debezium; \
         INSERT INTO things VALUES (1, 'x', 'ab', 1.50, '2026-01-01 00:00:00.001', NULL, '{}'), \
                (2, 'x', NULL, 0, '2026-01-01 00:00:00.000001', '', NULL), (3, 'é', 'abcde', 1e20, NULL, 'n', NULL)",
    )
    .await;
    live.cql("CREATE TABLE @things (a text, b bigint, c text, d decimal, t timestamp, n text, PRIMARY KEY (a, b))")
        .await;
    for row in [
        "'x', 1, 'ab   ', 1.5, '2026-01-01T00:00:00.001Z', null",
        "'x', 2, null, 0.000, '2026-01-01T00:00:00.001Z', ''",
        "'é', 3, 'abcde', 100000000000000000000.0, null, 'n'",
        "'x', 70000, null, null, null, null",
    ] {
        live.cql(&format!("INSERT INTO @things (a, b, c, d, t, n) VALUES ({row})")).await;
    }
    let route = "\n[[cdcconsumer.routes]]\ntopic = \"things\"\ntable = \"things\"\nsource_table = \"things\"\n\
                 source_key = [\"b\", \"a\"]\ncolumns = { t = { lossy = true } }\n";
    let place = std::env::temp_dir().join(&live.name);
    std::fs::write(&place, read("rowferry.toml") + route).unwrap();
    let verified = live.verify(&["--config", place.to_str().unwrap(), "--table", "things"]).await;
    verified.expect_named(&["things a=\"x\", b=2: different".into(), "things a=\"x\", b=70000: extra".into()]);
    assert_eq!(verified.counts("things"), [2, 1, 0, 1, 0]);
    assert_eq!(verified.out.lines().filter(|line| line.starts_with("  * ")).count(), 1, "{}", verified.out);
    std::fs::remove_file(&place).unwrap();
    live.drop().await;
}

/// Peak memory of the process while it compares 20,000 users and 20,000 orders in three tables.
const RSS_MIB_MAX: u64 = 96;

#[tokio::test]
async fn many_rows_are_compared_in_bounded_memory() {
    const ROWS: u32 = 20_000;
    let mut live = Live::new().await;
    live.fill(ROWS, ROWS).await;
    let began = Instant::now();
    let mut running = live.command(&[]).spawn().unwrap();
    let (mut peak_kib, status) = (0, format!("/proc/{}/status", running.id()));
    while running.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("compared 3 × {ROWS} rows in {:?}, peak memory {} MiB", began.elapsed(), peak_kib / 1024);
    Verified::from(running.wait_with_output().unwrap()).expect_equal(ROWS.into(), ROWS.into());
    assert!((1..RSS_MIB_MAX * 1024).contains(&peak_kib), "{peak_kib} KiB");
    live.drop().await;
}
