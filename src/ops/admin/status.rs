//! `/status` and `/ready`: the process at one moment as JSON, for the page and for scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Identity;
use super::exposition::version_ahead_seconds;
use super::seen::{Reason, Seen};
use crate::change::RejectClass;
use crate::pipeline::State;
use crate::pipeline::meters::{Doing, RECENT_MAX, Reading, Recent, TableMeters};
use crate::plan::write::WriteKind;

/// Whether it can do its work, and what keeps it from it.
#[derive(Serialize)]
pub struct Ready<'s> {
    pub ready: bool,
    pub reasons: Vec<&'s Reason>,
}

/// Everything that is seen.
#[derive(Serialize)]
pub struct Status<'s> {
    binary: &'s str,
    version: &'s str,
    group_id: &'s str,
    group_instance_id: Option<&'s str>,
    process_id: u32,
    started_ms: i64,
    now_ms: i64,
    /// `starting`, `running` or `stopping`.
    phase: &'s str,
    ready: bool,
    reasons: &'s [Reason],
    rss_bytes: Option<u64>,
    requests_in_flight: usize,
    requests_in_flight_max: usize,
    routes: Vec<Route<'s>>,
    partitions: Vec<Partition<'s>>,
    rejects: Vec<Rejects<'s>>,
}

/// What went from a topic into a table.
#[derive(Serialize)]
struct Route<'s> {
    topic: &'s str,
    table: &'s str,
    upserts: u64,
    deletes: u64,
    /// The last rows, newest first.
    changes: Vec<Change>,
}

/// A row that was written. What is in it is asked of the table, or of `cdcconsumer explain`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    durable_ms: i64,
    /// `upsert` or `delete`.
    op: &'static str,
    /// Of the record that it came from.
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Partition<'s> {
    topic: &'s str,
    partition: i32,
    /// `running`, `waiting`, `stopped`, or `elsewhere` for one that was ours.
    state: &'s str,
    state_since_ms: i64,
    /// An operator keeps it from being read.
    paused: bool,
    records: u64,
    bytes: u64,
    finished: u64,
    dead_lettered: u64,
    retries: u64,
    next_offset: Option<i64>,
    end_offset: Option<i64>,
    lag_records: Option<i64>,
    lag_seconds: f64,
    unfinished_seconds: f64,
    held_records: usize,
    held_bytes: usize,
    version_ahead_seconds: f64,
}

#[derive(Serialize)]
struct Rejects<'s> {
    topic: &'s str,
    class: &'static str,
    count: u64,
}

impl<'s> Ready<'s> {
    pub fn of(seen: &'s Seen) -> Ready<'s> {
        let reasons: Vec<&Reason> = seen.unready().collect();
        Ready { ready: reasons.is_empty(), reasons }
    }
}

impl<'s> Status<'s> {
    pub fn of(identity: &'s Identity, seen: &'s Seen) -> Status<'s> {
        let route = |(topic, table): (&'s str, &'s str)| Route {
            topic,
            table,
            upserts: rows(seen, topic, table, |table| table.upserts.get()),
            deletes: rows(seen, topic, table, |table| table.deletes.get()),
            changes: changes(seen, topic, table),
        };
        let rejects = rejects(seen).map(|(topic, class, count)| Rejects { topic, class: class.as_str(), count });
        Status {
            binary: identity.binary,
            version: env!("CARGO_PKG_VERSION"),
            group_id: &identity.group_id,
            group_instance_id: identity.group_instance_id.as_deref(),
            process_id: std::process::id(),
            started_ms: identity.started_ms,
            now_ms: seen.now_ms,
            phase: match seen.doing {
                Doing::Starting(_) => "starting",
                Doing::Running => "running",
                Doing::Stopping => "stopping",
            },
            ready: seen.unready().next().is_none(),
            reasons: &seen.reasons,
            rss_bytes: seen.process.rss_bytes,
            requests_in_flight: seen.load.in_flight,
            requests_in_flight_max: seen.load.in_flight_max,
            routes: tables(seen).into_iter().map(route).collect(),
            partitions: seen.readings.iter().map(|reading| Partition::of(seen, reading)).collect(),
            rejects: rejects.collect(),
        }
    }
}

impl<'s> Partition<'s> {
    fn of(seen: &Seen, reading: &'s Reading) -> Partition<'s> {
        let (meters, live) = (&reading.meters, reading.live.as_ref());
        Partition {
            topic: &reading.id.topic,
            partition: reading.id.partition,
            state: match live.map(|live| live.progress().state) {
                Some(State::Running) => "running",
                Some(State::Waiting(_)) => "waiting",
                Some(State::Stopped(_)) => "stopped",
                None => "elsewhere",
            },
            state_since_ms: meters.state_since_ms.get(),
            paused: meters.paused.get() == 1,
            records: meters.records.get(),
            bytes: meters.bytes.get(),
            finished: meters.finished.get(),
            dead_lettered: meters.dead_lettered.get(),
            retries: meters.retries.get(),
            next_offset: live.map(|live| live.progress.borrow().next_offset),
            end_offset: live.map(|_| meters.end_offset.get()).filter(|end| *end >= 0),
            lag_records: reading.lag_records(),
            lag_seconds: live.map_or(0.0, |_| reading.lag_seconds(seen.now_ms)),
            unfinished_seconds: live.map_or(0.0, |_| reading.unfinished_seconds(seen.now_ms)),
            held_records: live.map_or(0, |live| live.held.records()),
            held_bytes: live.map_or(0, |live| live.held.bytes()),
            version_ahead_seconds: version_ahead_seconds(seen, reading),
        }
    }
}

/// Every topic with every table that it feeds, in order.
pub(super) fn tables(seen: &Seen) -> Vec<(&str, &str)> {
    let mut tables: Vec<(&str, &str)> = seen
        .readings
        .iter()
        .flat_map(|reading| reading.meters.tables.iter().map(|table| (&*reading.id.topic, table.table.as_str())))
        .collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// What all partitions of a topic wrote into a table.
pub(super) fn rows(seen: &Seen, topic: &str, table: &str, of: fn(&TableMeters) -> u64) -> u64 {
    written(seen, topic, table).map(|(_, table)| of(table)).sum()
}

/// The table in each partition of the topic, with the partition's number.
fn written<'s>(seen: &'s Seen, topic: &str, table: &str) -> impl Iterator<Item = (i32, &'s TableMeters)> {
    let readings = seen.readings.iter().filter(move |reading| *reading.id.topic == *topic);
    let tables = readings.flat_map(|reading| reading.meters.tables.iter().map(|table| (reading.id.partition, table)));
    tables.filter(move |(_, counted)| counted.table == table)
}

fn changes(seen: &Seen, topic: &str, table: &str) -> Vec<Change> {
    let of = |(partition, table): (i32, &TableMeters)| {
        let change = move |row: Recent| Change {
            durable_ms: row.durable_ms,
            op: match row.kind {
                WriteKind::Upsert => "upsert",
                WriteKind::Delete => "delete",
            },
            partition,
            offset: row.offset,
        };
        table.recent().into_iter().map(change).collect::<Vec<_>>()
    };
    let mut changes: Vec<Change> = written(seen, topic, table).flat_map(of).collect();
    changes.sort_by_key(|change| std::cmp::Reverse((change.durable_ms, change.offset)));
    changes.truncate(RECENT_MAX);
    changes
}

/// Dead letters by topic and reason.
pub(super) fn rejects(seen: &Seen) -> impl Iterator<Item = (&str, RejectClass, u64)> {
    let mut counts: BTreeMap<(&str, usize), u64> = BTreeMap::new();
    for reading in &seen.readings {
        for (class, count) in reading.meters.rejects() {
            *counts.entry((&*reading.id.topic, class as usize)).or_default() += count;
        }
    }
    counts.into_iter().map(|((topic, class), count)| (topic, RejectClass::ALL[class], count))
}
