//! The one test: records through all three clusters, then every mistake that one can make with them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::mistakes;
use crate::program::{CDCCONSUMER, CONSUMER, Ended, PRODUCER, run};
use crate::servers::{CASSANDRA_PASSWORD, KAFKA_PASSWORD, POSTGRES_PASSWORD, REPOSITORY, Servers, until};

const ANN: &str = "00000000-0000-4000-8000-00000000000a";
const TOPICS: [&str; 5] = ["users", "orders", "dead-letters", "cdc.public.users", "cdc.public.orders"];

/// 70 s on two busy cores, half of it for servers to start and stop.
#[tokio::test(flavor = "multi_thread")]
async fn the_pipelines_run_through_secured_clusters_and_each_mistake_is_told_with_its_mend() {
    let Some(servers) = Servers::start() else { return };
    let config = configuration(&servers);
    tokio::join!(set_up_kafka(&servers), set_up_postgres(&servers));
    let cassandra = set_up_cassandra(&servers).await;

    records_arrive(&servers, &config, &cassandra).await;
    mistakes::are_told(&servers, &config);
    no_secret_is_told(&servers);
}

/// The configuration in which nothing is wrong. Secrets come from files.
fn configuration(servers: &Servers) -> String {
    let secrets = servers.dir.join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    for (name, secret) in
        [("kafka", KAFKA_PASSWORD), ("cassandra", CASSANDRA_PASSWORD), ("postgres", POSTGRES_PASSWORD)]
    {
        fs::write(secrets.join(name), format!("{secret}\n")).unwrap();
    }
    include_str!("rowferry.toml")
        .replace("@TLS@", &servers.tls().display().to_string())
        .replace("@SECRETS@", &secrets.display().to_string())
}

async fn set_up_kafka(servers: &Servers) {
    let tls = servers.tls();
    let path = |name: &str| tls.join(name).display().to_string();
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", "127.0.0.1:19195")
        .set("security.protocol", "SSL")
        .set("ssl.ca.location", path("ca.pem"))
        .set("ssl.certificate.location", path("admin.pem"))
        .set("ssl.key.location", path("admin.key"));
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let topics = TOPICS.map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    for made in admin.create_topics(&topics, &options).await.unwrap() {
        made.unwrap();
    }
    servers.script("grant");
    let producer: FutureProducer = client.create().unwrap();
    let event = serde_json::json!({
        "event_type": "CREATE", "user_id": ANN, "name": "Ann", "dob": "1990-01-01",
        "created_at": "2025-01-01T00:00:00Z", "modified_at": "2025-01-01T00:00:00Z",
    });
    let change = serde_json::json!({
        "before": null,
        "after": {
            "id": ANN, "name": "Ann", "dob": 7_305, "created_at": "2025-01-01T00:00:00Z",
            "modified_at": "2025-01-01T00:00:00Z", "is_deleted": false,
        },
        "source": { "connector": "postgresql", "ts_ms": 1_735_689_600_000_i64, "snapshot": "false", "lsn": 200 },
        "op": "c", "ts_ms": 1_735_689_600_001_i64,
    });
    for (topic, key, value) in [
        ("users", ANN.to_string(), event.to_string()),
        ("cdc.public.users", serde_json::json!({ "id": ANN }).to_string(), change.to_string()),
    ] {
        producer.send(FutureRecord::to(topic).key(&key).payload(&value), Duration::from_secs(20)).await.unwrap();
    }
}

async fn set_up_postgres(servers: &Servers) {
    let schema = fs::read_to_string(Path::new(REPOSITORY).join("postgres-schema.sql")).unwrap();
    let mut connection = until("Postgres", async || postgres(servers).await).await;
    let password = POSTGRES_PASSWORD;
    let roles = format!("ALTER ROLE rowferry PASSWORD '{password}'; ALTER ROLE debezium PASSWORD '{password}'");
    for statements in [schema, roles] {
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
    }
}

async fn postgres(servers: &Servers) -> sqlx::Result<PgConnection> {
    let tls = servers.tls();
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(15432)
        .username("postgres")
        .password("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(tls.join("ca.pem"))
        .ssl_client_cert(tls.join("client.pem"))
        .ssl_client_key(tls.join("client.key"));
    PgConnection::connect_with(&options).await
}

async fn set_up_cassandra(servers: &Servers) -> Session {
    let session = until("Cassandra", async || cassandra(servers).await).await;
    let password = CASSANDRA_PASSWORD.replace('\'', "''");
    let schema = fs::read_to_string(Path::new(REPOSITORY).join("cassandra-schema.cql")).unwrap();
    let code: Vec<&str> = schema.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let schema = code.join("\n").replace("'datacenter1': 3", "'datacenter1': 1");
    let mut statements: Vec<String> = schema.split(';').map(|statement| statement.trim().to_string()).collect();
    statements.push(format!("CREATE ROLE rowferry WITH PASSWORD = '{password}' AND LOGIN = true"));
    for right in ["SELECT", "MODIFY"] {
        // Exactly the tables that are routed to, and that of the checkpoints.
        for table in ["users", "orders_by_user", "rowferry_progress"] {
            statements.push(format!("GRANT {right} ON cdc.{table} TO rowferry"));
        }
    }
    for statement in statements.iter().filter(|statement| !statement.is_empty()) {
        session.query_unpaged(statement.as_str(), ()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    session
}

async fn cassandra(servers: &Servers) -> Result<Session, scylla::errors::NewSessionError> {
    let tls = servers.tls();
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(X509::from_pem(&fs::read(tls.join("ca.pem")).unwrap()).unwrap()).unwrap();
    builder.set_cert_store(store.build());
    builder.set_certificate_file(tls.join("client.pem"), SslFiletype::PEM).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(tls.join("client.key")).unwrap()).unwrap();
    builder.set_private_key(&key).unwrap();
    let session = SessionBuilder::new().known_node("127.0.0.4:9042").user("cassandra", "cassandra");
    session.tls_context(Some(builder)).build().await
}

/// One record each way, with the least rights and the most logging.
async fn records_arrive(servers: &Servers, config: &str, cassandra: &Session) {
    for program in [CONSUMER, CDCCONSUMER] {
        let Ended { code, said } = run(&servers.dir, program, config, &flags_of_a_loud_run(), None);
        assert_eq!(code, Some(0), "{program}: {}", tail(&said));
        assert!(!said.contains("WARN rowferry"), "nothing is turned off: {}", tail(&said));
    }
    let mut connection = postgres(servers).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT name FROM users").fetch_one(&mut connection).await.unwrap();
    assert_eq!(name, "Ann");
    let rows = cassandra.query_unpaged("SELECT name FROM cdc.users", ()).await.unwrap().into_rows_result().unwrap();
    assert_eq!(rows.first_row::<(String,)>().unwrap().0, "Ann");

    let (flags, to) = (["--users", "3", "--orders", "2"], ["--users-topic", "users", "--orders-topic", "orders"]);
    let Ended { code, said } = run(&servers.dir, PRODUCER, config, &[flags, to].concat(), None);
    assert_eq!(code, Some(0), "producer: {}", tail(&said));

    // By our certificate alone, given as text: the key is a secret too.
    let kafka = config.find("security.protocol").unwrap()..config.find("[source.postgres]").unwrap();
    let tls = servers.tls().display().to_string();
    let mut mutual = config.to_string();
    mutual.replace_range(kafka, &BY_CERTIFICATE.replace("@TLS@", &tls));
    let mutual = mutual.replace("127.0.0.1:19193", "127.0.0.1:19195");
    let Ended { code, said } = run(&servers.dir, CONSUMER, &mutual, &flags_of_a_loud_run(), None);
    assert_eq!(code, Some(0), "by certificate: {}", tail(&said));
}

const BY_CERTIFICATE: &str = "\
security.protocol = \"SSL\"
ssl.ca.location = \"@TLS@/ca.pem\"
[kafka.properties_from_files]
ssl.certificate.pem = \"@TLS@/client.pem\"
ssl.key.pem = \"@TLS@/client.key\"
";

fn flags_of_a_loud_run() -> [&'static str; 5] {
    ["--exit-when-caught-up", "--set", "log.level=trace", "--set", "kafka.properties.debug=all"]
}

/// In everything that the binaries said in this test.
fn no_secret_is_told(servers: &Servers) {
    let key = fs::read_to_string(servers.tls().join("client.key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    let encoded = "canary%40postgres";
    let mut looked = 0;
    for entry in fs::read_dir(servers.dir.join("runs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "log") {
            looked += 1;
            let said = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for secret in [KAFKA_PASSWORD, "canary", encoded, line] {
                let place = said.find(secret).map(|at| &said[at.saturating_sub(200)..at]);
                assert_eq!(place, None, "{} tells {secret}", path.display());
            }
        }
    }
    assert!(looked > 20, "{looked} logs");
}

pub fn tail(said: &str) -> &str {
    let from = said.len().saturating_sub(3_000);
    &said[(from..).find(|at| said.is_char_boundary(*at)).unwrap()..]
}
