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
    sections.sort();
    alerts.sort();
    assert_eq!(sections, alerts);
    for part in ["**What it means.**", "**How to look.**", "**What to do.**"] {
        assert_eq!(runbook.matches(part).count(), alerts.len(), "{part}");
    }
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_an_alert_unless_it_is_for_looking_up() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana/rowferry.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries: String = panels.iter().map(|panel| panel["targets"].to_string()).collect();
    let rules = file("deploy/prometheus/rowferry.rules.yml");
    let used: BTreeSet<&str> =
        metrics(&queries).union(&metrics(&rules)).map(|word| word.trim_end_matches("_bucket")).collect();
    let unused: Vec<&str> = FAMILIES.iter().map(|family| family.name).filter(|name| !used.contains(name)).collect();
    let looked_up = [
        "rowferry_build_info",
        "rowferry_records_passed_over_total",
        "rowferry_batches_total",
        "rowferry_partitions",
        "process_start_time_seconds",
    ];
    assert_eq!(unused, looked_up);
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len());
}
