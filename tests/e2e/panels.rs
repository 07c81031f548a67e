//! Every query of the shipped dashboard and every shipped alert, against a Prometheus that scraped a real run.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::admin::address;
use crate::load::Load;
use crate::process::Started;
use crate::stack::{REPOSITORY, Scenario, run, until};
use crate::topics::Raw;

/// A server of this scenario's own, with the shipped rules.
struct Prometheus {
    url: String,
    _started: Arc<Started>,
}

impl Prometheus {
    async fn start(scenario: &Scenario, target: &str) -> Prometheus {
        // `make test` puts it there.
        let ours = Path::new(REPOSITORY).join(".stack/tools/bin/prometheus");
        let program = if ours.exists() { ours.display().to_string() } else { "prometheus".into() };
        let is_there = Command::new(&program).arg("--version").output().is_ok();
        assert!(is_there, "prometheus is missing: make test gets it, or install it");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{REPOSITORY}/deploy/prometheus/rowferry.rules.yml\"]\n\
             scrape_configs:\n- job_name: rowferry\n  static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        fs::write(scenario.dir.join("prometheus.yml"), config).unwrap();
        let flags = [
            "--config.file=prometheus.yml".to_string(),
            "--storage.tsdb.path=prometheus".to_string(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let started = flags.iter().fold(scenario.program("prometheus", &program), |program, flag| program.arg(flag));
        Prometheus { url: format!("http://127.0.0.1:{port}"), _started: started.start() }
    }

    /// What the API answers under `data`. Null while it does not answer.
    async fn ask(&self, path: &str, query: &str) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "10", "-G", &format!("{}/api/v1/{path}", self.url)]);
        curl.arg("--data-urlencode").arg(format!("query={query}"));
        let answer: Value = serde_json::from_slice(&run(curl).await.stdout).unwrap_or_default();
        assert!(answer.is_null() || answer["status"] == "success", "{query}: {answer}");
        answer["data"].clone()
    }

    /// The value of each series that a query has now.
    async fn values(&self, query: &str) -> Vec<f64> {
        let data = self.ask("query", query).await;
        let series = data["result"].as_array().cloned().unwrap_or_default();
        series.iter().map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_its_figures_and_every_alert_its_expression() {
    let scenario = Scenario::new("panels").await;
    let [users, _] = scenario.change_topics();
    let started = scenario.cdcconsumer().start();
    let prometheus = Prometheus::start(&scenario, &address(&started).await).await;
    let mut load = Load::new(22);
    load.go_on(&scenario, 500).await;
    scenario.produce(&users, &Raw::new("{\"id\":1}", "no json").to(0)).await;
    until("it has seen the letter", 60, async || prometheus.values("sum(rowferry_dead_letters_total)").await == [1.0])
        .await;
    load.go_on(&scenario, 500).await;

    let dashboard = fs::read_to_string(Path::new(REPOSITORY).join("deploy/grafana/rowferry.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$job", "rowferry");
            // A rate needs a second sample.
            until(&format!("{} has figures: {query}", panel["title"]), 20, async || {
                !prometheus.values(&query).await.is_empty()
            })
            .await;
            queries += 1;
        }
    }
    assert!(queries > 20, "the dashboard is written in another way");
    for moves in ["sum(rate(rowferry_rows_total[1m]))", "sum(rate(rowferry_records_finished_total[1m]))"] {
        until(moves, 20, async || prometheus.values(moves).await.iter().any(|rate| *rate > 0.0)).await;
    }

    let is_of_rules = |rule: &Value| rule["health"] == "ok" && rule["lastError"].is_null();
    until("every alert was evaluated", 20, async || {
        let data = prometheus.ask("rules", "").await;
        let rules = data["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        rules.len() > 10 && rules.iter().all(is_of_rules)
    })
    .await;
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
}
