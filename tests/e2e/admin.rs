//! The admin server of the running binaries: its figures against what was sent, what it says of an outage, and who may
//! change what.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::load::Load;
use crate::process::{Program, Started};
use crate::relay::Relay;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// Where a process serves it, as its log says.
pub async fn address(started: &Started) -> String {
    const SAID: &str = "status are at http://";
    started.logs(SAID, 30).await;
    let log = started.log();
    let rest = log.split(SAID).nth(1).unwrap();
    rest.split('/').next().unwrap().to_string()
}

/// Status code and body.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}"), "", "").await
}

/// The same for a change, with what is sent to allow it.
pub async fn post(address: &str, path: &str, authorization: &str, body: &str) -> (u16, String) {
    ask(address, &format!("POST {path}"), authorization, body).await
}

async fn ask(address: &str, what: &str, authorization: &str, body: &str) -> (u16, String) {
    let authorization =
        if authorization.is_empty() { "".into() } else { format!("Authorization: {authorization}\r\n") };
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let address = address.to_string();
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    });
    asked.await.unwrap()
}

/// The sum of a metric's samples whose labels hold this text.
async fn sum(address: &str, metric: &str, labels: &str) -> f64 {
    let (code, text) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    let samples = text.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit_once(' '));
    let samples = samples.filter(|(rest, _)| rest.is_empty() || rest.starts_with('{') && rest.contains(labels));
    samples.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

async fn served(program: Program<'_>) -> (Arc<Started>, String) {
    let started = program.start();
    let address = address(&started).await;
    (started, address)
}

/// Waits until `/ready` says that something of this name is missing, and why.
async fn until_missing(address: &str, of: &str, why: &str) {
    until(&format!("/ready names {of} and {why}"), 60, async || {
        let (code, body) = get(address, "/ready").await;
        let ready: Value = serde_json::from_str(&body).unwrap();
        let reasons = ready["reasons"].as_array().unwrap();
        let is = |it: &Value| it["of"] == of && it["text"].as_str().unwrap().contains(why);
        assert_eq!(code == 200, reasons.is_empty(), "{body}");
        reasons.iter().any(is)
    })
    .await;
}

async fn until_ready(address: &str) {
    until("it is ready", 60, async || get(address, "/ready").await.0 == 200).await;
}

async fn stop(started: &Started) {
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_what_was_sent() {
    let scenario = Scenario::new("admin").await;
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let (started, address) = served(scenario.cdcconsumer()).await;
    assert_eq!(get(&address, "/live").await.0, 200);
    let mut load = Load::new(9402);
    for _ in 0..4 {
        load.go_on(&scenario, 500).await;
    }
    scenario.produce(&users, &Raw::new("{\"id\":1}", "no json").to(0)).await;
    let sent = scenario.ends_sum(&topics) as f64;
    until("all is finished", 60, async || sum(&address, "rowferry_records_finished_total", "").await == sent).await;

    for (metric, labels, expected) in [
        ("rowferry_records_total", "", sent),
        ("rowferry_dead_letters_total", "", 1.0),
        ("rowferry_rejects_total", "class=\"not_json\"", 1.0),
        ("rowferry_held_records", "", 0.0),
        ("rowferry_held_bytes", "", 0.0),
        ("rowferry_partitions", "", 10.0),
        ("rowferry_partitions_stopped", "", 0.0),
        ("rowferry_partition_state", "state=\"running\"", 10.0),
        ("rowferry_delay_seconds_count", "", sent - 1.0),
        ("rowferry_kafka_away_seconds", "", 0.0),
        ("rowferry_sink_away_seconds", "", 0.0),
        ("rowferry_ready", "", 1.0),
    ] {
        assert_eq!(sum(&address, metric, labels).await, expected, "{metric} {labels}");
    }
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let records = topics.into_iter().flat_map(|topic| scenario.records(topic));
    let bytes = records.map(|record| length(&record.key) + length(&record.value)).sum::<usize>() as f64;
    assert_eq!(sum(&address, "rowferry_record_bytes_total", "").await, bytes);
    // Every order is written twice, and writes that a later one covers are left out.
    let rows = |table: &str| format!("table=\"{table}\"");
    let of_orders = sum(&address, "rowferry_rows_total", &rows("orders")).await;
    assert!(of_orders > 0.0 && of_orders <= scenario.ends_sum(&[orders.as_str()]) as f64, "{of_orders}");
    assert!(sum(&address, "rowferry_rows_total", &rows("orders_by_user")).await >= of_orders);
    assert!(sum(&address, "process_resident_memory_bytes", "").await > 1e6);
    until("no lag", 20, async || sum(&address, "rowferry_lag_records", "").await == 0.0).await;
    until("a commit", 20, async || sum(&address, "rowferry_commit_seconds_count", "").await > 0.0).await;

    let status: Value = serde_json::from_str(&get(&address, "/status").await.1).unwrap();
    assert_eq!((&status["phase"], &status["ready"]), (&"running".into(), &true.into()));
    assert_eq!(status["partitions"].as_array().unwrap().len(), 10);
    let committed: i64 =
        status["partitions"].as_array().unwrap().iter().map(|it| it["next_offset"].as_i64().unwrap()).sum();
    assert_eq!(committed as f64, sent);
    let routes = status["routes"].as_array().unwrap();
    let tables: Vec<&str> = routes.iter().map(|route| route["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["orders", "orders_by_user", "users"]);
    assert!(routes.iter().all(|route| route["changes"].as_array().unwrap().len() == 10), "{routes:?}");
    stop(&started).await;
}

/// 20 s. A table that is not there any more keeps its partitions from their work, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_is_a_reason_not_to_be_ready_and_none_to_be_restarted() {
    let scenario = Scenario::new("admin_away").await;
    let [users, _] = scenario.change_topics();
    let (_started, address) = served(scenario.cdcconsumer()).await;
    until_ready(&address).await;
    scenario.cql(&format!("DROP TABLE {}.users", scenario.id)).await;
    let row = crate::changes::user(1, "One");
    scenario.produce(&users, &crate::changes::change(None, Some(&row)).to(0)).await;
    until_missing(&address, &format!("{users}[0]"), "users").await;
    assert_eq!(get(&address, "/live").await.0, 200, "a restart would not mend it");
}

/// 20 s. Nothing listens there, so each waits at its start; a signal ends it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_at_the_start_is_a_reason() {
    let scenario = Scenario::new("admin_start").await;
    let without = async |setting: &str, server: &str| {
        let (started, address) = served(scenario.cdcconsumer().set(setting)).await;
        until_missing(&address, "start", server).await;
        assert_eq!(get(&address, "/live").await.0, 200, "a restart would not mend it");
        let status: Value = serde_json::from_str(&get(&address, "/status").await.1).unwrap();
        assert_eq!((&status["phase"], &status["ready"]), (&"starting".into(), &false.into()));
        stop(&started).await;
    };
    without("kafka.bootstrap_servers=127.0.0.1:1", "Kafka").await;
    without("sink.cassandra.nodes=127.0.0.1:1", "Cassandra").await;
}

/// 40 s. Nothing is sent, so only the question itself can tell that the way to Postgres is cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_goes_is_missed_without_anything_to_write_and_comes_back() {
    let scenario = Scenario::new("admin_sink").await;
    let relay = Relay::before("127.0.0.1:5432").await;
    scenario.edit_config(|text| text.replace("127.0.0.1:5432", &relay.address));
    let (started, address) = served(scenario.consumer()).await;
    until_ready(&address).await;
    relay.cut();
    until_missing(&address, "sink", "Postgres").await;
    assert!(sum(&address, "rowferry_sink_away_seconds", "").await > 0.0);
    assert_eq!(sum(&address, "rowferry_ready", "").await, 0.0);
    assert_eq!(get(&address, "/live").await.0, 200);
    relay.mend();
    until_ready(&address).await;
    stop(&started).await;
}

const TOKEN: &str = "canary-of-the-token-7c1f";
/// Given to a client that has no use for it.
const PASSWORD: &str = "canary-of-the-password-55aa";

/// 15 s. What is configured is shown without its secrets, a change needs the token, and no secret is said anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_and_a_change_needs_the_token() {
    let scenario = Scenario::new("admin_token").await;
    let [users, _] = scenario.change_topics();
    let with = |token: &str| {
        let program = scenario.cdcconsumer().env("ROWFERRY_KAFKA_PROPERTIES_SASL_PASSWORD", PASSWORD);
        if token.is_empty() { program } else { program.env("ROWFERRY_CDCCONSUMER_ADMIN_TOKEN", token) }
    };
    let (started, address) = served(with(TOKEN)).await;
    until_ready(&address).await;
    for wrong in ["", "Bearer ", "Bearer canary-of-the-token-7c1g", &format!("Basic {TOKEN}")] {
        assert_eq!(post(&address, "/log-level", wrong, "debug").await.0, 401, "{wrong}");
    }
    assert!(!started.log().contains("DEBUG"), "it was changed without the token");
    let right = format!("Bearer {TOKEN}");
    assert_eq!(post(&address, "/log-level", &right, "rowferry=loud").await.0, 400);
    assert_eq!(post(&address, "/log-level", &right, "debug").await.0, 200);
    // A refused record, so that there is a letter with its headers.
    scenario.produce(&users, &Raw::new("{\"id\":1}", "no json").to(0)).await;
    until("the letter is there", 30, async || !scenario.dead_letters().is_empty()).await;

    let config: Value = serde_json::from_str(&get(&address, "/config").await.1).unwrap();
    assert_eq!(config["source"]["postgres"]["url"], format!("postgres://debezium:***@127.0.0.1:5432/{}", scenario.id));
    assert_eq!(config["kafka"]["properties"]["sasl.password"], "***");
    assert_eq!(config["cdcconsumer"]["admin"]["token"], "***");
    for path in ["/config", "/status", "/ready", "/metrics", "/history", "/dead-letters", "/", "/page.js"] {
        let (code, body) = get(&address, path).await;
        assert_eq!(code, 200, "{path}: {body}");
        assert!(!body.contains(TOKEN) && !body.contains(PASSWORD), "{path} has a secret");
    }
    stop(&started).await;
    let log = started.log();
    assert!(log.contains("DEBUG"), "the level was not changed");
    assert!(!log.contains(TOKEN) && !log.contains(PASSWORD), "the log has a secret");
    for letter in scenario.dead_letters() {
        let letter = format!("{:?}{}", letter.headers, letter.value_text());
        assert!(!letter.contains(TOKEN) && !letter.contains(PASSWORD), "a dead letter has a secret");
    }

    let (started, address) = served(with("")).await;
    assert_eq!(post(&address, "/log-level", &right, "debug").await.0, 403, "without a token nobody may");
    stop(&started).await;
}
