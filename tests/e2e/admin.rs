//! The admin server of a running `cdcconsumer`: its figures against what was sent, and what it says of an outage.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::load::Load;
use crate::process::Started;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// Where a process serves it, as its log says.
async fn address(started: &Started) -> String {
    const SAID: &str = "status are at http://";
    started.logs(SAID, 30).await;
    let log = started.log();
    let rest = log.split(SAID).nth(1).unwrap();
    rest.split('/').next().unwrap().to_string()
}

/// Status code and body.
async fn get(address: &str, path: &str) -> (u16, String) {
    let (address, path) = (address.to_string(), path.to_string());
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
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

async fn running(scenario: &Scenario) -> (Arc<Started>, String) {
    let started = scenario.cdcconsumer().start();
    let address = address(&started).await;
    (started, address)
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_what_was_sent() {
    let scenario = Scenario::new("admin").await;
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let (started, address) = running(&scenario).await;
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
        ("rowferry_delay_seconds_count", "", sent),
        ("rowferry_ready", "", 1.0),
    ] {
        assert_eq!(sum(&address, metric, labels).await, expected, "{metric} {labels}");
    }
    // Every order is written twice, and writes that a later one covers are left out.
    let rows = |table: &str| format!("table=\"{table}\"");
    let of_orders = sum(&address, "rowferry_rows_total", &rows("orders")).await;
    assert!(of_orders > 0.0 && of_orders <= scenario.ends_sum(&[orders.as_str()]) as f64, "{of_orders}");
    assert!(sum(&address, "rowferry_rows_total", &rows("orders_by_user")).await >= of_orders);
    assert!(sum(&address, "rowferry_record_bytes_total", "").await > 100.0 * sent);
    assert!(sum(&address, "process_resident_memory_bytes", "").await > 1e6);
    until("no lag", 20, async || sum(&address, "rowferry_lag_records", "").await == 0.0).await;
    until("a commit", 20, async || sum(&address, "rowferry_commit_seconds_count", "").await > 0.0).await;

    let status: Value = serde_json::from_str(&get(&address, "/status").await.1).unwrap();
    assert_eq!((&status["phase"], &status["ready"]), (&"running".into(), &true.into()));
    assert_eq!(status["partitions"].as_array().unwrap().len(), 10);
    let routes: Vec<&str> =
        status["routes"].as_array().unwrap().iter().map(|route| route["table"].as_str().unwrap()).collect();
    assert_eq!(routes, ["orders", "orders_by_user", "users"]);
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
}

/// 20 s. A table that is not there any more keeps its partitions from their work, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_is_a_reason_not_to_be_ready_and_none_to_be_restarted() {
    let scenario = Scenario::new("admin_away").await;
    let [users, _] = scenario.change_topics();
    let (_started, address) = running(&scenario).await;
    until("it is ready", 30, async || get(&address, "/ready").await.0 == 200).await;
    scenario.cql(&format!("DROP TABLE {}.users", scenario.id)).await;
    let row = crate::changes::user(1, "One");
    scenario.produce(&users, &crate::changes::change(None, Some(&row)).to(0)).await;
    until("it says why", 30, async || {
        let (code, body) = get(&address, "/ready").await;
        code == 503 && body.contains(&format!("{users}[0]"))
    })
    .await;
    assert_eq!(get(&address, "/live").await.0, 200, "a restart would not mend it");
}
