//! What is shipped for Prometheus and Grafana, and the pages about it, name metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rowferry::ops::admin::exposition::{FAMILIES, Kind};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every word that looks like a metric of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()));
    words.filter(|word| word.starts_with("rowferry_") || word.starts_with("process_")).collect()
}

/// The names under which the metrics are scraped.
fn scraped() -> BTreeSet<String> {
    let of = |family: &rowferry::ops::admin::exposition::Family| match family.kind {
        Kind::Counter | Kind::Gauge => vec![family.name.to_string()],
        Kind::Histogram => ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", family.name)).into(),
    };
    FAMILIES.iter().flat_map(of).collect()
}

#[test]
fn rules_dashboard_and_pages_name_metrics_that_there_are() {
    // A table of Cassandra and Postgres, not a metric.
    let known = |name: &&str| *name == "rowferry_progress" || scraped().contains(*name);
    for path in [
        "deploy/prometheus/rowferry.rules.yml",
        "deploy/prometheus/rowferry.rules.test.yml",
        "deploy/grafana/rowferry.json",
        "docs/metrics.md",
        "docs/runbook.md",
        "docs/operations.md",
    ] {
        let text = file(path);
        let unknown: Vec<&str> = metrics(&text).into_iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{path} names metrics that there are not: {unknown:?}");
    }
}

#[test]
fn the_page_of_metrics_has_a_line_for_each_and_no_other() {
    let page = file("docs/metrics.md");
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels = family.labels.join(", ");
            format!("| `{}` | {} | {labels} | {} |", family.name, family.kind.as_str(), family.help)
        })
        .collect();
    assert_eq!(lines, expected, "docs/metrics.md: write it as\n{}", expected.join("\n"));
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() {
    let (rules, runbook) = (file("deploy/prometheus/rowferry.rules.yml"), file("docs/runbook.md"));
    let after = |text: &str, start: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.trim().strip_prefix(start)?.trim().to_string())).collect()
    };
    let alerts = after(&rules, "- alert:");
    let anchors = after(&rules, "runbook:");
    let expected: Vec<String> =
        alerts.iter().map(|alert| format!("docs/runbook.md#{}", alert.to_lowercase())).collect();
    assert_eq!(anchors, expected);
    let mut sections = after(&runbook, "## ");
    let mut alerts: Vec<String> = alerts;
    (sections.sort(), alerts.sort());
    assert_eq!(sections, alerts);
    for part in ["**What it means.**", "**How to look.**", "**What to do.**"] {
        assert_eq!(runbook.matches(part).count(), alerts.len(), "{part}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_that_is_not_about_the_process_itself() {
    let text = file("deploy/grafana/rowferry.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries: String = panels.iter().map(|panel| panel["targets"].to_string()).collect();
    let shown = metrics(&queries);
    let beside = |name: &str| {
        ["rowferry_build_info", "process_start_time_seconds"].contains(&name)
            || file("deploy/prometheus/rowferry.rules.yml").contains(name)
    };
    let missing: Vec<&str> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !beside(name) && !shown.iter().any(|word| word.starts_with(name)))
        .collect();
    // What a person looks up when the panels raise a question.
    assert_eq!(missing, ["rowferry_records_passed_over_total", "rowferry_batches_total", "rowferry_partitions"]);
    let mut ids: Vec<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
}
