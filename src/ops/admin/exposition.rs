//! The metrics in Prometheus's text format 0.0.4. docs/metrics.md has a line for each, and a test holds the two together.
//!
//! Written by hand: the numbers are in [`crate::pipeline::meters`] for the page as well, and a registry of its own would
//! hold them twice. Labels are topic, partition, table, op, class, state, kind, version and binary, and nothing that a
//! record says.

use std::fmt::{Display, Write as _};

use super::Identity;
use super::seen::Seen;
use crate::meter::{BOUNDS_SECONDS, Buckets};
use crate::pipeline::State;
use crate::pipeline::meters::{Reading, TableMeters};

/// One metric with all its label values.
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    samples: Each,
}

/// Writes the lines of a metric.
type Each = fn(&Identity, &Seen, &mut Samples<'_>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// All of them as they are now.
pub(super) fn render(identity: &Identity, seen: &Seen) -> String {
    let mut text = String::new();
    for family in &FAMILIES {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "# HELP {} {}", family.name, family.help);
        let _ = writeln!(text, "# TYPE {} {}", family.name, family.kind.as_str());
        let mut samples = Samples { name: family.name, labels: family.labels, text: &mut text };
        (family.samples)(identity, seen, &mut samples);
    }
    text
}

/// The lines of one metric.
struct Samples<'t> {
    name: &'static str,
    labels: &'static [&'static str],
    text: &'t mut String,
}

impl Samples<'_> {
    fn one(&mut self, values: &[&str], value: impl Display) {
        self.line("", values, None, value);
    }

    /// A line of a partition, whose metric has the labels `topic` and `partition`.
    fn partition(&mut self, reading: &Reading, value: impl Display) {
        self.one(&[&reading.id.topic, &reading.id.partition.to_string()], value);
    }

    fn partitions<V: Display>(&mut self, seen: &Seen, value: impl Fn(&Reading) -> V) {
        seen.readings.iter().for_each(|reading| self.partition(reading, value(reading)));
    }

    /// Only of those that are ours.
    fn owned<V: Display>(&mut self, seen: &Seen, value: impl Fn(&Reading) -> V) {
        seen.owned().for_each(|reading| self.partition(reading, value(reading)));
    }

    fn topics(&mut self, seen: &Seen, of: impl Fn(&Reading) -> Buckets) {
        for topic in seen.topics() {
            self.histogram(&[topic], &seen.over(Some(topic), &of));
        }
    }

    fn histogram(&mut self, values: &[&str], buckets: &Buckets) {
        let mut below = 0;
        let bounds = BOUNDS_SECONDS.iter().map(f64::to_string).chain(std::iter::once("+Inf".to_string()));
        for (count, bound) in buckets.counts.iter().zip(bounds) {
            below += count;
            self.line("_bucket", values, Some(&bound), below);
        }
        self.line("_sum", values, None, buckets.sum_us as f64 / 1e6);
        self.line("_count", values, None, buckets.count());
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: impl Display) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let _ = write!(self.text, "{}{suffix}", self.name);
        let labels = self.labels.iter().copied().zip(values.iter().copied());
        let mut open = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(value));
            open = ',';
        }
        let _ = writeln!(self.text, "{} {value}", if open == ',' { "}" } else { "" });
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

type Text = &'static str;
type Labels = &'static [&'static str];

const PARTITION: Labels = &["topic", "partition"];
const TOPIC: Labels = &["topic"];
const NONE: Labels = &[];

const fn counter(name: Text, labels: Labels, help: Text, samples: Each) -> Family {
    Family { name, kind: Kind::Counter, labels, help, samples }
}

const fn gauge(name: Text, labels: Labels, help: Text, samples: Each) -> Family {
    Family { name, kind: Kind::Gauge, labels, help, samples }
}

const fn histogram(name: Text, labels: Labels, help: Text, samples: Each) -> Family {
    Family { name, kind: Kind::Histogram, labels, help, samples }
}

pub const FAMILIES: [Family; 39] = [
    gauge("rowferry_build_info", &["version", "binary"], "Always 1.", |identity, _, out| {
        out.one(&[env!("CARGO_PKG_VERSION"), identity.binary], 1);
    }),
    gauge("rowferry_ready", NONE, "1 while all that it needs is there, as /ready says.", |_, seen, out| {
        out.one(&[], u8::from(seen.unready().next().is_none()));
    }),
    gauge(
        "rowferry_poll_age_seconds",
        NONE,
        "Since the polling thread last began a round; 0 before it runs.",
        |_, seen, out| out.one(&[], age(seen, seen.meters.polled_ms.get())),
    ),
    gauge("rowferry_kafka_away_seconds", NONE, "Since no broker answers; 0 while one does.", |_, seen, out| {
        out.one(&[], age(seen, seen.meters.away().map_or(0, |away| away.since_ms)));
    }),
    gauge(
        "rowferry_sink_away_seconds",
        NONE,
        "Since the sink does not answer; 0 while it does. Asked every five seconds.",
        |_, seen, out| out.one(&[], age(seen, seen.meters.sink_away().map_or(0, |away| away.since_ms))),
    ),
    counter("rowferry_records_total", PARTITION, "Records taken from Kafka.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.records.get());
    }),
    counter("rowferry_record_bytes_total", PARTITION, "Their bytes of key and value.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.bytes.get());
    }),
    counter(
        "rowferry_records_finished_total",
        PARTITION,
        "Records that are in the sink or the dead-letter topic, or speak of no row.",
        |_, seen, out| out.partitions(seen, |of| of.meters.finished.get()),
    ),
    counter(
        "rowferry_records_passed_over_total",
        PARTITION,
        "Records that speak of no row: heartbeats, transactions, messages.",
        |_, seen, out| out.partitions(seen, |of| of.meters.passed_over.get()),
    ),
    counter(
        "rowferry_dead_letters_total",
        PARTITION,
        "Records that the dead-letter topic has acknowledged.",
        |_, seen, out| out.partitions(seen, |of| of.meters.dead_lettered.get()),
    ),
    counter(
        "rowferry_rejects_total",
        &["topic", "class"],
        "The same by reason, for the reasons that there were.",
        |_, seen, out| rejects(seen, out),
    ),
    counter("rowferry_rows_total", &["topic", "table", "op"], "Rows that are durable in the sink.", |_, seen, out| {
        rows(seen, out);
    }),
    counter("rowferry_batches_total", PARTITION, "Batches that are durable.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.batches.get());
    }),
    counter("rowferry_retries_total", PARTITION, "Waits before something was tried again.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.retries.get());
    }),
    counter("rowferry_backoff_seconds_total", PARTITION, "How long they were to be.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.backoff_ms.get() as f64 / 1e3);
    }),
    counter("rowferry_writes_sent_again_total", PARTITION, "Writes that the rewind guard left out.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.sent_again.get())
    }),
    counter("rowferry_guard_reads_total", PARTITION, "Rows that it read for that.", |_, seen, out| {
        out.partitions(seen, |of| of.meters.guard_reads.get());
    }),
    histogram("rowferry_write_seconds", TOPIC, "How long the sink took for one try of a batch.", |_, seen, out| {
        out.topics(seen, |of| of.meters.write.read());
    }),
    histogram(
        "rowferry_delay_seconds",
        TOPIC,
        "From the source's commit until the row was durable; each record with what the first of its batch took.",
        |_, seen, out| out.topics(seen, |of| of.meters.delay.read()),
    ),
    histogram("rowferry_commit_seconds", NONE, "How long commits of offsets took.", |_, seen, out| {
        out.histogram(&[], &seen.meters.commits.read());
    }),
    counter("rowferry_commits_failed_total", NONE, "Commits that were tried again.", |_, seen, out| {
        out.one(&[], seen.meters.commits_failed.get());
    }),
    counter("rowferry_rebalances_total", &["kind"], "Rebalances that changed what is ours.", |_, seen, out| {
        out.one(&["assigned"], seen.meters.assigned.get());
        out.one(&["revoked"], seen.meters.revoked.get());
        out.one(&["lost"], seen.meters.lost.get());
    }),
    gauge(
        "rowferry_partition_assigned",
        PARTITION,
        "1 for partitions that are ours, 0 for former ones.",
        |_, seen, out| {
            out.partitions(seen, |of| u8::from(of.live.is_some()));
        },
    ),
    gauge(
        "rowferry_partition_state",
        &["topic", "partition", "state"],
        "1 for the state that the partition is in: running, waiting or stopped.",
        |_, seen, out| states(seen, out),
    ),
    gauge("rowferry_partition_paused", PARTITION, "1 while an operator keeps it from being read.", |_, seen, out| {
        out.owned(seen, |of| of.meters.paused.get());
    }),
    gauge("rowferry_partition_state_seconds", PARTITION, "How long it has been in its state.", |_, seen, out| {
        out.owned(seen, |of| age(seen, of.meters.state_since_ms.get()));
    }),
    gauge("rowferry_lag_records", PARTITION, "Records between what is finished and the end.", |_, seen, out| {
        for reading in seen.owned() {
            reading.lag_records().into_iter().for_each(|lag| out.partition(reading, lag));
        }
    }),
    gauge(
        "rowferry_lag_seconds",
        PARTITION,
        "How long ago the oldest record in hand was written to Kafka; 0 without one.",
        |_, seen, out| out.owned(seen, |of| of.lag_seconds(seen.now_ms)),
    ),
    gauge(
        "rowferry_unfinished_seconds",
        PARTITION,
        "How long the oldest record in hand has been worked on; 0 without one.",
        |_, seen, out| out.owned(seen, |of| of.unfinished_seconds(seen.now_ms)),
    ),
    gauge("rowferry_held_records", PARTITION, "Records that are read and not finished.", |_, seen, out| {
        out.owned(seen, |of| of.live.as_ref().map_or(0, |live| live.held.records()));
    }),
    gauge("rowferry_held_bytes", PARTITION, "What they take of limits.held_bytes_max.", |_, seen, out| {
        out.owned(seen, |of| of.live.as_ref().map_or(0, |live| live.held.bytes()));
    }),
    gauge(
        "rowferry_version_ahead_seconds",
        PARTITION,
        "How far the last write version is ahead of this machine's clock; 0 when it is not.",
        |_, seen, out| out.owned(seen, |of| version_ahead_seconds(seen, of)),
    ),
    gauge("rowferry_requests_in_flight", NONE, "Requests to the sink, or connections in use.", |_, seen, out| {
        out.one(&[], seen.load.in_flight);
    }),
    gauge("rowferry_requests_in_flight_max", NONE, "How many there may be now.", |_, seen, out| {
        out.one(&[], seen.load.in_flight_max);
    }),
    gauge("rowferry_partitions", NONE, "Partitions that are ours.", |_, seen, out| {
        out.one(&[], seen.owned().count());
    }),
    gauge("rowferry_partitions_stopped", NONE, "Those for which a person has to act.", |_, seen, out| {
        out.one(&[], seen.reasons.iter().filter(|reason| reason.stopped).count());
    }),
    gauge("process_start_time_seconds", NONE, "When it was started, in seconds since 1970.", |identity, _, out| {
        out.one(&[], identity.started_ms as f64 / 1e3);
    }),
    gauge("process_resident_memory_bytes", NONE, "Memory in use.", |_, seen, out| {
        seen.process.rss_bytes.into_iter().for_each(|bytes| out.one(&[], bytes));
    }),
    counter("process_cpu_seconds_total", NONE, "CPU time used.", |_, seen, out| {
        seen.process.cpu_seconds.into_iter().for_each(|seconds| out.one(&[], seconds));
    }),
];

fn age(seen: &Seen, then_ms: i64) -> f64 {
    if then_ms == 0 { 0.0 } else { (seen.now_ms - then_ms).max(0) as f64 / 1e3 }
}

pub(super) fn version_ahead_seconds(seen: &Seen, of: &Reading) -> f64 {
    let last_us = of.live.as_ref().and_then(|live| live.progress.borrow().chain).map_or(0, |chain| chain.last());
    (last_us / 1_000 - seen.now_ms).max(0) as f64 / 1e3
}

fn rejects(seen: &Seen, out: &mut Samples<'_>) {
    for (topic, class, count) in super::status::rejects(seen) {
        out.one(&[topic, class.as_str()], count);
    }
}

fn rows(seen: &Seen, out: &mut Samples<'_>) {
    for (topic, table) in super::status::tables(seen) {
        let sum = |of: fn(&TableMeters) -> u64| super::status::rows(seen, topic, table, of);
        out.one(&[topic, table, "upsert"], sum(|table| table.upserts.get()));
        out.one(&[topic, table, "delete"], sum(|table| table.deletes.get()));
    }
}

fn states(seen: &Seen, out: &mut Samples<'_>) {
    for reading in seen.owned() {
        let Some(live) = &reading.live else { continue };
        let is = match live.progress().state {
            State::Running => "running",
            State::Waiting(_) => "waiting",
            State::Stopped(_) => "stopped",
        };
        let partition = reading.id.partition.to_string();
        for state in ["running", "waiting", "stopped"] {
            out.one(&[&reading.id.topic, &partition, state], u8::from(state == is));
        }
    }
}

#[cfg(test)]
mod tests;
