//! What the loop and whoever feeds it have counted: for the metrics and the page that operators look at. It is written
//! once a batch or once a record without a lock, and read when somebody asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::{Held, Progress, State};
use crate::change::RejectClass;
use crate::format::commit_time::committed_ms;
use crate::meter::{Counter, Gauge, Histogram};
use crate::plan::route::Routes;
use crate::plan::write::{Batch, Write, WriteKind};
use crate::record::{Record, TopicPartition};
use crate::sink::Load;

/// Everything of one process. Partitions that were given up keep their counts, so that these only go up.
#[derive(Default)]
pub struct Meters {
    partitions: Mutex<BTreeMap<TopicPartition, Entry>>,
    /// How long commits took that the brokers have.
    pub commits: Histogram,
    pub commits_failed: Counter,
    /// Rebalances that gave us partitions, took some in order, and took some after the group had left us out.
    pub assigned: Counter,
    pub revoked: Counter,
    pub lost: Counter,
    /// When the poll thread last began a round, in milliseconds since 1970; 0 before it runs.
    pub polled_ms: Gauge,
    doing: Mutex<Doing>,
    /// Kafka, and the sink.
    away: Mutex<Option<Wait>>,
    sink_away: Mutex<Option<Wait>>,
    load: Mutex<Option<Box<dyn Fn() -> Load + Send>>>,
}

/// What the process as a whole is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Doing {
    /// It has not begun to read; the text says what it waits for.
    Starting(Option<Wait>),
    #[default]
    Running,
    Stopping,
}

/// What is waited for, and since when in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub what: String,
    pub since_ms: i64,
}

struct Entry {
    meters: Arc<PartitionMeters>,
    live: Weak<Live>,
}

/// What is seen of a partition while it is ours. Whoever owns the partition holds it.
#[derive(Debug)]
pub struct Live {
    pub progress: watch::Receiver<Progress>,
    pub revoked: watch::Receiver<bool>,
    pub held: Arc<Held>,
}

/// A partition's counts, and what is seen of it now when it is ours.
pub struct Reading {
    pub id: TopicPartition,
    pub meters: Arc<PartitionMeters>,
    pub live: Option<Arc<Live>>,
}

/// What one partition has counted, over all its assignments to this process.
#[derive(Debug, Default)]
pub struct PartitionMeters {
    /// Records taken from Kafka, and their bytes of key and value.
    pub records: Counter,
    pub bytes: Counter,
    /// Records that are in the sink or the dead-letter topic, or speak of no row.
    pub finished: Counter,
    pub dead_lettered: Counter,
    pub passed_over: Counter,
    pub sent_again: Counter,
    pub guard_reads: Counter,
    pub batches: Counter,
    /// Waits before something was tried again, and how long they were to be.
    pub retries: Counter,
    pub backoff_ms: Counter,
    /// In the order of [`RejectClass::ALL`].
    rejects: [Counter; RejectClass::ALL.len()],
    /// In the order of the topic's routes.
    pub tables: Vec<TableMeters>,
    /// How long the sink took for one try of a batch.
    pub write: Histogram,
    /// From the source's commit, or the record's own time where it does not tell of one, until the batch was durable.
    /// Every record counts with what the first of its batch took.
    pub delay: Histogram,
    /// The offset after the partition's last record, as the brokers last said; below 0 while they have not.
    pub end_offset: Gauge,
    /// When the record in hand that comes first was written to Kafka, and when its batch was begun; 0 without one.
    pub oldest_ms: Gauge,
    pub begun_ms: Gauge,
    /// When its state last changed.
    pub state_since_ms: Gauge,
    /// 1 while an operator keeps it from being read.
    pub paused: Gauge,
}

/// Rows that one route wrote for a partition.
#[derive(Debug)]
pub struct TableMeters {
    pub table: String,
    pub upserts: Counter,
    pub deletes: Counter,
    recent: Mutex<VecDeque<Recent>>,
}

/// A row that was written: which record it is of, and not a word of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    pub durable_ms: i64,
    pub offset: i64,
    pub kind: WriteKind,
}

/// Rows that are remembered of each table of a partition.
pub const RECENT_MAX: usize = 10;

impl Meters {
    /// The meters of a partition that is ours from now on, with what is seen of it.
    pub fn begin(&self, id: &TopicPartition, routes: &Routes, live: &Arc<Live>) -> Arc<PartitionMeters> {
        let mut partitions = lock(&self.partitions);
        let new = || Entry { meters: PartitionMeters::of(routes, &id.topic).into(), live: Weak::new() };
        let entry = partitions.entry(id.clone()).or_insert_with(new);
        entry.live = Arc::downgrade(live);
        let meters = entry.meters.clone();
        meters.end_offset.set(-1);
        meters.oldest(None);
        meters.state_since_ms.set(now_ms());
        meters
    }

    /// Every partition that ever was ours, in order.
    pub fn read(&self) -> Vec<Reading> {
        let read = |(id, entry): (&TopicPartition, &Entry)| Reading {
            id: id.clone(),
            meters: entry.meters.clone(),
            live: entry.live.upgrade(),
        };
        lock(&self.partitions).iter().map(read).collect()
    }

    pub fn doing(&self) -> Doing {
        lock(&self.doing).clone()
    }

    /// Says what the process is doing. A wait that goes on keeps its beginning.
    pub fn does(&self, doing: Doing) {
        *lock(&self.doing) = doing;
    }

    /// It has not begun to read, because of this.
    pub fn starts(&self, waiting_for: Option<&str>) {
        let mut doing = lock(&self.doing);
        let known = match &*doing {
            Doing::Starting(wait) => wait.as_ref(),
            Doing::Running | Doing::Stopping => None,
        };
        *doing = Doing::Starting(waiting_for.map(|what| Wait::on(what, known)));
    }

    /// Why Kafka is away, when it is.
    pub fn away(&self) -> Option<Wait> {
        lock(&self.away).clone()
    }

    pub fn kafka_is_away(&self, text: Option<&str>) {
        Wait::set(&mut lock(&self.away), text);
    }

    /// Why the sink does not answer, when it was asked and does not.
    pub fn sink_away(&self) -> Option<Wait> {
        lock(&self.sink_away).clone()
    }

    pub fn sink_is_away(&self, text: Option<&str>) {
        Wait::set(&mut lock(&self.sink_away), text);
    }

    /// How busy the sink is kept.
    pub fn load(&self) -> Load {
        lock(&self.load).as_ref().map_or_else(Load::default, |load| load())
    }

    pub fn asks_load_of(&self, load: impl Fn() -> Load + Send + 'static) {
        *lock(&self.load) = Some(Box::new(load));
    }
}

impl Wait {
    /// One outage has one beginning, whatever is said of it.
    fn set(wait: &mut Option<Wait>, text: Option<&str>) {
        let since_ms = wait.as_ref().map_or_else(now_ms, |known| known.since_ms);
        *wait = text.map(|what| Wait { what: what.into(), since_ms });
    }

    /// A wait that goes on keeps its beginning.
    fn on(what: &str, known: Option<&Wait>) -> Wait {
        let since_ms = known.filter(|known| known.what == what).map_or_else(now_ms, |known| known.since_ms);
        Wait { what: what.into(), since_ms }
    }
}

impl Live {
    /// Where it stands. A worker that ended by itself, which only a bug makes it do, counts as stopped.
    pub fn progress(&self) -> Progress {
        let ended = self.progress.has_changed().is_err() && !*self.revoked.borrow();
        let mut progress = self.progress.borrow().clone();
        if ended && !matches!(progress.state, State::Stopped(_)) {
            progress.state = State::Stopped("its worker ended by a bug: see the log, and start again".into());
        }
        progress
    }
}

impl Reading {
    /// Records between what is finished and the partition's end. `None` when it is not ours or its end is not known.
    pub fn lag_records(&self) -> Option<i64> {
        let next_offset = self.live.as_ref()?.progress.borrow().next_offset;
        let end = Some(self.meters.end_offset.get()).filter(|end| *end >= 0)?;
        Some((end - next_offset).max(0))
    }

    /// How long ago the oldest record that is read and not finished was written to Kafka; 0 without one.
    pub fn lag_seconds(&self, now_ms: i64) -> f64 {
        age_seconds(now_ms, self.meters.oldest_ms.get())
    }

    /// How long that record has been worked on.
    pub fn unfinished_seconds(&self, now_ms: i64) -> f64 {
        age_seconds(now_ms, self.meters.begun_ms.get())
    }
}

fn age_seconds(now_ms: i64, then_ms: i64) -> f64 {
    if then_ms == 0 { 0.0 } else { now_ms.saturating_sub(then_ms).max(0) as f64 / 1e3 }
}

impl PartitionMeters {
    /// Nothing counted yet.
    pub(super) fn of(routes: &Routes, topic: &str) -> PartitionMeters {
        let fed = routes.topic(topic).map_or(&[][..], |topic| &topic.routes);
        let table = |at: &usize| TableMeters {
            table: routes.routes[*at].table.clone(),
            upserts: Counter::default(),
            deletes: Counter::default(),
            recent: Mutex::default(),
        };
        PartitionMeters { tables: fed.iter().map(table).collect(), ..PartitionMeters::default() }
    }

    /// The broker has a dead letter of this class.
    pub(super) fn reject(&self, class: RejectClass) {
        self.dead_lettered.add(1);
        self.rejects[class as usize].add(1);
    }

    /// Dead letters by class, those that there are.
    pub fn rejects(&self) -> impl Iterator<Item = (RejectClass, u64)> {
        let counted = RejectClass::ALL.into_iter().zip(&self.rejects).map(|(class, count)| (class, count.get()));
        counted.filter(|(_, count)| *count > 0)
    }

    /// The record in hand that comes first, when there is one.
    pub(super) fn oldest(&self, first: Option<&Record>) {
        let now = now_ms();
        self.oldest_ms.set(first.map_or(0, |first| first.timestamp_ms.unwrap_or(now)));
        self.begun_ms.set(first.map_or(0, |_| now));
    }

    /// These rows of a batch are durable: of its records below an offset.
    pub(super) fn wrote(&self, routes: &Routes, batch: &Batch, below: i64) {
        let Some(topic) = routes.topic(&batch.partition.topic) else { return };
        for (route, table) in topic.routes.iter().zip(&self.tables) {
            let offset = |write: &Write| batch.records[write.record].record.offset;
            let durable = || batch.writes.iter().filter(|write| write.route == *route && offset(write) < below);
            let deletes = durable().filter(|write| write.kind == WriteKind::Delete).count() as u64;
            table.deletes.add(deletes);
            table.upserts.add(durable().count() as u64 - deletes);
            let last: Vec<&Write> = durable().rev().take(RECENT_MAX).collect();
            let durable_ms = now_ms();
            let last = last.into_iter().rev();
            table.remember(last.map(|write| Recent { durable_ms, offset: offset(write), kind: write.kind }));
        }
    }

    /// A batch is durable that had so many records when it was begun. Those that are dead letters by now had no delay.
    pub(super) fn finish(&self, batch: &Batch, records: u64) {
        self.batches.add(1);
        self.finished.add(records);
        self.passed_over.add(batch.passed_over);
        if let Some(first) = batch.records.first() {
            let record = &first.record;
            let value = record.value.as_deref().filter(|value| value.len() <= READ_BYTES_MAX);
            if let Some(then) = value.and_then(committed_ms).or(record.timestamp_ms) {
                let ms = u64::try_from(now_ms().saturating_sub(then)).unwrap_or(0);
                self.delay.observe_many(Duration::from_millis(ms), batch.records.len() as u64);
            }
        }
    }
}

impl TableMeters {
    /// The last rows, oldest first.
    pub fn recent(&self) -> Vec<Recent> {
        lock(&self.recent).iter().copied().collect()
    }

    fn remember(&self, rows: impl Iterator<Item = Recent>) {
        let mut recent = lock(&self.recent);
        recent.extend(rows);
        let surplus = recent.len().saturating_sub(RECENT_MAX);
        recent.drain(..surplus);
    }
}

/// A record of more than this is not read once more for the time of its commit.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Our clock, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it left one whole value or the other.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
