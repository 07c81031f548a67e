//! A place of its own on the running stack: made by [`Scenario::new`], removed when it is dropped.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::FutureProducer;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::process::Started;

pub const BROKERS: &str = "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094";
const NODES: [&str; 3] = ["127.0.0.1:9042", "127.0.0.2:9042", "127.0.0.3:9042"];
const CONNECT: &str = "http://127.0.0.1:8083";
const SUPERUSER: &str = "postgres://postgres:postgres@127.0.0.1:5432";
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// 12 MiB, what Connect may produce; 16 MiB, such a record with the headers of a dead letter.
const RECORD_BYTES_MAX: &str = "12582912";
const LETTER_BYTES_MAX: &str = "16777216";

/// Two cores, and a scenario keeps about one of them busy.
static PLACES: Semaphore = Semaphore::const_new(2);

/// Everything one test has for itself.
pub struct Scenario {
    /// Unique, and the name of the database, keyspace, slot, connector and topic prefix.
    pub id: String,
    /// Configuration and logs.
    pub dir: PathBuf,
    pub postgres: PgPool,
    pub cassandra: Session,
    pub kafka: AdminClient<DefaultClientContext>,
    pub producer: FutureProducer,
    /// Clients that ask, by the group that they ask for (topics.rs).
    pub(crate) readers: Mutex<BTreeMap<String, Arc<BaseConsumer>>>,
    /// Topics that are removed at the end.
    pub(crate) made: Mutex<Vec<String>>,
    connector: Mutex<bool>,
    pub(crate) started: Mutex<Vec<Arc<Started>>>,
    begun: Instant,
    _place: SemaphorePermit<'static>,
}

impl Scenario {
    /// A database and a keyspace with the repository's schemas, empty topics, and `rowferry.toml`. No connector yet:
    /// [`Scenario::start_debezium`].
    pub async fn new(name: &str) -> Scenario {
        Scenario::without_tables(name).await.with_tables().await
    }

    /// Nothing but the names, the configuration file and the clients' connections; the keyspace is not there.
    async fn without_tables(name: &str) -> Scenario {
        let place = PLACES.acquire().await.unwrap();
        let begun = Instant::now();
        let random = RandomState::new().build_hasher().finish();
        let id = format!("e2e_{}_{:010x}", name.chars().take(24).collect::<String>(), random >> 24);
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir(&dir).unwrap();

        let postgres = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(20));
        let postgres = postgres.connect_lazy(&format!("{SUPERUSER}/{id}?options[timezone]=UTC")).unwrap();
        let cassandra = session().await;
        let kafka = client().create().unwrap();
        let producer = client()
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("message.max.bytes", LETTER_BYTES_MAX)
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        let scenario = Scenario {
            id,
            dir,
            postgres,
            cassandra,
            kafka,
            producer,
            readers: Mutex::default(),
            made: Mutex::default(),
            connector: Mutex::default(),
            started: Mutex::default(),
            begun,
            _place: place,
        };
        scenario.write_config();
        scenario
    }

    async fn with_tables(self) -> Scenario {
        tokio::join!(self.make_database(), self.make_keyspace(&self.id), self.make_topics());
        self
    }

    /// A topic's name in this scenario: `users`, `orders`, `dead-letters`, `public.users`, `public.orders`.
    pub fn topic(&self, short: &str) -> String {
        format!("{}.{short}", self.id)
    }

    pub fn dead_letter_topic(&self) -> String {
        self.topic("dead-letters")
    }

    /// The group of `consumer`.
    pub fn postgres_group(&self) -> String {
        format!("{}-postgres", self.id)
    }

    /// The group of `cdcconsumer`.
    pub fn cassandra_group(&self) -> String {
        format!("{}-cassandra", self.id)
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("rowferry.toml")
    }

    /// Changes the configuration. Fails when that changes nothing, so that no test goes on without its change.
    pub fn edit_config(&self, change: impl FnOnce(&str) -> String) {
        let before = fs::read_to_string(self.config()).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "the configuration did not change");
        fs::write(self.config(), after).unwrap();
    }

    /// The shipped configuration with this scenario's names in it.
    fn write_config(&self) {
        let mut text = fs::read_to_string(Path::new(REPOSITORY).join("rowferry.toml")).unwrap();
        let id = &self.id;
        for (shipped, ours) in [
            ("\"rowferry.dead-letters\"", format!("\"{}\"", self.dead_letter_topic())),
            ("5432/cdc_db\"", format!("5432/{id}\"")),
            ("keyspace = \"cdc\"", format!("keyspace = \"{id}\"")),
            ("\"rowferry-postgres\"", format!("\"{}\"", self.postgres_group())),
            ("\"rowferry-cassandra\"", format!("\"{}\"", self.cassandra_group())),
            ("topic = \"cdc.", format!("topic = \"{id}.")),
            ("topic = \"users\"", format!("topic = \"{}\"", self.topic("users"))),
            ("topic = \"orders\"", format!("topic = \"{}\"", self.topic("orders"))),
        ] {
            assert!(text.contains(shipped), "rowferry.toml has no {shipped} any more: bring stack.rs up to date");
            text = text.replace(shipped, &ours);
        }
        // In the file and not in the environment: an override would take the lines out of messages.
        text.push_str("\n[log]\nformat = \"text\"\n");
        // Many processes at once: each takes a port that is free, and its log says which.
        for section in ["consumer", "cdcconsumer"] {
            text.push_str(&format!("[{section}.admin]\naddress = \"127.0.0.1:0\"\n"));
        }
        fs::write(self.config(), text).unwrap();
    }

    async fn make_database(&self) {
        let postgres = superuser().await;
        // Not a copy of template1, which another scenario may be looking at.
        let create = format!("CREATE DATABASE {} TEMPLATE template0", self.id);
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&postgres).await.unwrap();
        let schema = fs::read_to_string(Path::new(REPOSITORY).join("postgres-schema.sql")).unwrap();
        self.sql(&schema).await;
    }

    async fn make_keyspace(&self, name: &str) {
        let schema = fs::read_to_string(Path::new(REPOSITORY).join("cassandra-schema.cql")).unwrap();
        let code: Vec<&str> = schema.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        let renamed = code.join("\n").replace("EXISTS cdc", &format!("EXISTS {name}"));
        for statement in renamed.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            self.cql(statement).await;
        }
    }

    async fn make_topics(&self) {
        for (topic, partitions, bytes_max) in [
            ("users", 3, RECORD_BYTES_MAX),
            ("orders", 5, RECORD_BYTES_MAX),
            ("public.users", 5, RECORD_BYTES_MAX),
            ("public.orders", 5, RECORD_BYTES_MAX),
            ("dead-letters", 3, LETTER_BYTES_MAX),
        ] {
            self.make_topic(&self.topic(topic), partitions, &[("max.message.bytes", bytes_max)]).await;
        }
    }

    /// Runs statements in this scenario's database as superuser.
    pub async fn sql(&self, statements: &str) {
        let ran = sqlx::raw_sql(AssertSqlSafe(statements.to_string())).execute(&self.postgres).await;
        ran.unwrap_or_else(|error| panic!("{error}: {}", &statements[..statements.len().min(300)]));
    }

    /// Runs one statement in Cassandra. The keyspace has the scenario's [`id`](Scenario::id).
    pub async fn cql(&self, statement: &str) {
        let ran = self.cassandra.query_unpaged(statement, ()).await;
        ran.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }

    /// A second keyspace with the same tables, for a comparison. It is removed at the end.
    pub async fn another_keyspace(&self) -> String {
        let name = format!("{}_b", self.id);
        self.make_keyspace(&name).await;
        name
    }

    /// Starts a connector on this scenario's database and waits until it runs. Its topics have the scenario's prefix.
    pub async fn start_debezium(&self) {
        self.start_debezium_on("public.users,public.orders", "").await;
    }

    /// The same for other tables, with settings over those of `debezium-config.sh`: JSON members, each behind a comma.
    pub async fn start_debezium_on(&self, tables: &str, settings: &str) {
        *self.connector.lock().unwrap() = true;
        let mut command = Command::new("sh");
        command.arg(Path::new(REPOSITORY).join("debezium-config.sh"));
        for (name, value) in
            [("CONNECTOR", &self.id), ("TOPIC_PREFIX", &self.id), ("SLOT", &self.id), ("PG_DATABASE", &self.id)]
        {
            command.env(format!("DEBEZIUM_{name}"), value);
        }
        command.env("DEBEZIUM_TABLES", tables).env("DEBEZIUM_SETTINGS", settings);
        let output = run(command).await;
        assert!(output.status.success(), "no connector: {}", String::from_utf8_lossy(&output.stderr));
        // RUNNING says that the task was started; the slot in use says that it streams.
        until("Debezium streams", 60, async || {
            let active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND active";
            sqlx::query_scalar::<_, i64>(active).bind(&self.id).fetch_one(&self.postgres).await.unwrap() == 1
        })
        .await;
    }

    /// A connector of this scenario's name is made by what is tested, and removed at the end.
    pub fn expect_connector(&self) {
        *self.connector.lock().unwrap() = true;
    }

    /// So is a topic.
    pub fn expect_topic(&self, topic: &str) {
        self.made.lock().unwrap().push(topic.into());
    }

    /// Everything that was written about this scenario, for a failing test.
    fn print_logs(&self) {
        for started in self.started.lock().unwrap().iter() {
            eprintln!("---- {} (last 60 lines of {})", started.name, started.log.display());
            let log = fs::read_to_string(&started.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(60)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        self.started.lock().unwrap().iter().for_each(|started| started.end());
        if failed {
            self.print_logs();
        }
        if std::env::var_os("E2E_KEEP").is_some() {
            eprintln!("kept: {} ({})", self.id, self.dir.display());
            return;
        }
        let remains = Remains {
            id: self.id.clone(),
            connector: *self.connector.lock().unwrap(),
            topics: std::mem::take(&mut *self.made.lock().unwrap()),
        };
        // On a thread of its own: this one may belong to a runtime, which may not be blocked on.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.unwrap().block_on(remains.remove());
        });
        let removed = removed.join();
        let _ = fs::remove_dir_all(&self.dir);
        eprintln!("{} took {:.1} s", self.id, self.begun.elapsed().as_secs_f64());
        if removed.is_err() && !failed {
            panic!("not everything of {} could be removed", self.id);
        }
    }
}

/// What a scenario leaves on the servers.
struct Remains {
    id: String,
    connector: bool,
    topics: Vec<String>,
}

impl Remains {
    /// The connector first, for it holds the slot, and the slot holds the database.
    async fn remove(self) {
        if self.connector {
            let mut delete = Command::new("curl");
            delete.args(["-s", "-m", "30", "-X", "DELETE", &format!("{CONNECT}/connectors/{}", self.id)]);
            run(delete).await;
        }
        tokio::join!(self.remove_database(), self.remove_keyspaces(), self.remove_topics());
    }

    async fn remove_database(&self) {
        let postgres = superuser().await;
        until("the slot is free to be dropped", 60, async || {
            let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                        WHERE slot_name = $1 AND NOT active";
            let _ = sqlx::query(drop).bind(&self.id).execute(&postgres).await;
            let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1";
            sqlx::query_scalar::<_, i64>(left).bind(&self.id).fetch_one(&postgres).await.unwrap() == 0
        })
        .await;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.id);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&postgres).await.unwrap();
    }

    async fn remove_keyspaces(&self) {
        // A node may be busy, or just back from a test that killed it.
        until("the keyspaces are dropped", 120, async || {
            let cassandra = session().await;
            let drop = async |name: &str| {
                let dropped = cassandra.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), ()).await;
                dropped.inspect_err(|error| eprintln!("{name} is not dropped yet: {error}")).is_ok()
            };
            drop(&self.id).await && drop(&format!("{}_b", self.id)).await
        })
        .await;
    }

    async fn remove_topics(&self) {
        let kafka: AdminClient<DefaultClientContext> = client().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        kafka.delete_topics(&topics, &options).await.unwrap();
        // Groups that were never begun are not there, which is fine.
        let groups = [format!("{}-postgres", self.id), format!("{}-cassandra", self.id), format!("{}-b", self.id)];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let _ = kafka.delete_groups(&groups, &options).await;
    }
}

/// Looks again and again until `look` is true; panics with `what` when it is not in time.
pub async fn until(what: &str, seconds_max: u64, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds_max);
    while !look().await {
        assert!(Instant::now() < deadline, "not within {seconds_max} s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", BROKERS);
    config
}

async fn superuser() -> PgPool {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(20));
    pool.connect(&format!("{SUPERUSER}/postgres")).await.unwrap_or_else(|error| stack_is_down("Postgres", &error))
}

async fn session() -> Session {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::Quorum)
        .request_timeout(Some(Duration::from_secs(60)))
        .build();
    let builder = SessionBuilder::new().known_nodes(NODES).default_execution_profile_handle(profile.into_handle());
    builder.build().await.unwrap_or_else(|error| stack_is_down("Cassandra", &error))
}

pub fn stack_is_down(server: &str, error: &dyn std::fmt::Display) -> ! {
    panic!("the stack is not running: make up ({server}: {error})")
}

/// Runs a command to its end without holding up the runtime.
pub async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}
