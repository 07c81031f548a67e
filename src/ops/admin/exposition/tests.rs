//! The exposition is in Prometheus's format and keeps to its conventions, whatever a name holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::ops::admin::tests::{identity, meters};
use crate::pipeline::meters::Meters;

/// Name, labels and value of every sample, in order.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        (name.to_string(), labels.trim_end_matches('}').to_string(), value.parse().expect("a number"))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(of).collect()
}

fn rendered(meters: &Arc<Meters>) -> String {
    render(&identity(), &Seen::now(meters))
}

#[test]
fn what_was_counted_is_told_under_its_labels() {
    let (meters, _live) = meters();
    let text = rendered(&meters);
    for line in [
        "rowferry_records_total{topic=\"docs\",partition=\"3\"} 5",
        "rowferry_records_finished_total{topic=\"docs\",partition=\"3\"} 4",
        "rowferry_rows_total{topic=\"docs\",table=\"a \\\"table\\\"\",op=\"upsert\"} 7",
        "rowferry_rows_total{topic=\"docs\",table=\"a \\\"table\\\"\",op=\"delete\"} 0",
        "rowferry_lag_records{topic=\"docs\",partition=\"3\"} 6",
        "rowferry_partition_state{topic=\"docs\",partition=\"3\",state=\"waiting\"} 1",
        "rowferry_partition_state{topic=\"docs\",partition=\"3\",state=\"running\"} 0",
        "rowferry_delay_seconds_bucket{topic=\"docs\",le=\"0.25\"} 0",
        "rowferry_delay_seconds_bucket{topic=\"docs\",le=\"0.5\"} 4",
        "rowferry_delay_seconds_bucket{topic=\"docs\",le=\"+Inf\"} 4",
        "rowferry_delay_seconds_sum{topic=\"docs\"} 1.2",
        "rowferry_delay_seconds_count{topic=\"docs\"} 4",
        "rowferry_backoff_seconds_total{topic=\"docs\",partition=\"3\"} 1.5",
        "rowferry_requests_in_flight_max 8",
        "rowferry_partitions 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
    }
}

#[test]
fn a_partition_that_is_given_up_keeps_its_counts_and_loses_what_it_was() {
    let (meters, live) = meters();
    drop(live);
    let text = rendered(&meters);
    assert!(text.contains("rowferry_records_total{topic=\"docs\",partition=\"3\"} 5\n"));
    assert!(text.contains("rowferry_partition_assigned{topic=\"docs\",partition=\"3\"} 0\n"));
    assert!(!text.contains("\nrowferry_lag_records{"), "nobody here knows it");
}

#[test]
fn names_and_labels_keep_to_the_conventions() {
    const LABELS: [&str; 9] = ["topic", "partition", "table", "op", "class", "state", "kind", "version", "binary"];
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len(), "a name stands for one metric");
    for Family { name, kind, labels, help, .. } in &FAMILIES {
        let is_total = name.ends_with("_total");
        assert_eq!(is_total, *kind == Kind::Counter, "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(!name.contains("_ms") && !name.contains("milli") && !name.contains("kib"), "{name}: base units");
        assert!(labels.iter().all(|label| LABELS.contains(label)), "{name}: {labels:?}");
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
    }
}

#[test]
fn every_sample_is_one_and_belongs_to_its_family() {
    let (meters, _live) = meters();
    let text = rendered(&meters);
    let mut seen = BTreeSet::new();
    let mut family = ("", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').expect("a type");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.contains(' '), "{line}");
        } else {
            let suffix = line.strip_prefix(family.0).expect("the samples of a family stand together");
            let plain = suffix.starts_with([' ', '{']);
            let of_histogram = ["_bucket{", "_sum", "_count"].iter().any(|start| suffix.starts_with(start));
            assert!(if family.1 == "histogram" { of_histogram } else { plain }, "{line}");
            assert!(seen.insert(line.rsplit_once(' ').expect("a value").0.to_string()), "twice: {line}");
        }
    }
    // Buckets have everything up to their bound.
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for (name, labels, value) in samples(&text).into_iter().filter(|(name, ..)| name.ends_with("_bucket")) {
        let of = format!("{name}{}", labels.split("le=").next().unwrap_or_default());
        assert!(last.insert(of.clone(), value).is_none_or(|before| before <= value), "{of}");
    }
}
