//! The guard in the loop: a connector that crashes and sends again, a sink that fails in between, owners that die, and a
//! reader that looks after every single write.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, watch};

use crate::change::position::{Position, Stored};
use crate::pipeline::bounds::Bounds;
use crate::pipeline::breaker::BreakerLimits;
use crate::pipeline::meters::PartitionMeters;
use crate::pipeline::reading::Said;
use crate::pipeline::{Assignment, Held, Limits, Pipeline, Progress};
use crate::plan::route::{RewindGuard, RouteSpec, Routes, TargetTable};
use crate::plan::write::{Batch, Write, WriteKind};
use crate::record::{Record, TopicPartition};
use crate::row::{Column, Kind, Value};
use crate::sink::{Failure, Opened, Outcome, Retry, Sink};
use crate::version::Chain;

const TOPIC: &str = "docs";

fn routes(guarded: bool) -> Arc<Routes> {
    let table = |name: &str, columns: &[(&str, Kind)]| {
        let columns =
            columns.iter().map(|(name, kind)| Column { name: name.to_string(), kind: kind.clone() }).collect();
        (name.to_string(), TargetTable { name: name.into(), columns, key: vec!["id".into()] })
    };
    let (id, a, b, at) = (("id", Kind::Int64), ("a", Kind::Int64), ("b", Kind::Int64), ("at", Kind::Bytes));
    let tables = BTreeMap::from([
        table("docs", &[id.clone(), a.clone(), b.clone(), at.clone()]),
        table("gone", &[id.clone(), at]),
        table("plain", &[id, a, b]),
    ]);
    let types = [("id", "bigint"), ("a", "bigint"), ("b", "bigint")];
    let guard = RewindGuard { column: "at".into(), deletes_table: "gone".into(), deletes_ttl_seconds: 60 };
    let name = if guarded { "docs" } else { "plain" };
    let spec = RouteSpec { guard: guarded.then_some(guard), ..RouteSpec::new(TOPIC, name, &["id"]).typed(&types) };
    Arc::new(Routes::resolve(&[spec], &tables).expect("the route fits"))
}

/// The nth change of the source: of a row, by an update or a delete. Every transaction has one change.
#[derive(Debug, Clone, Copy)]
struct Change {
    n: i64,
    key: i64,
    op: char,
}

fn records_of(change: Change, offset: i64) -> Vec<Record> {
    let Change { n, key, op } = change;
    let source = format!(
        r#""source":{{"name":"s","db":"d","sequence":"[\"{}\",\"{n}0\"]","lsn":{n}0,"txId":{n},"ts_us":{n}000}}"#,
        10 * n - 5
    );
    let value = match op {
        'd' => format!(r#"{{"op":"d","before":{{"id":{key}}},{source}}}"#),
        // The connector leaves out what an update left alone.
        'p' => format!(r#"{{"op":"u","after":{{"id":{key},"a":{n},"b":"__debezium_unavailable_value"}},{source}}}"#),
        _ => format!(r#"{{"op":"u","after":{{"id":{key},"a":{n},"b":{n}}},{source}}}"#),
    };
    let record = |offset, value: Option<String>| Record {
        topic: TOPIC.into(),
        partition: 0,
        offset,
        timestamp_ms: Some(1_000 + offset / 4),
        key: Some(format!(r#"{{"id":{key}}}"#).into()),
        value: value.map(Into::into),
        headers: [].into(),
    };
    let mut records = vec![record(offset, Some(value))];
    if op == 'd' {
        records.push(record(offset + 1, None));
    }
    records
}

/// A table as Cassandra keeps it, with what readers saw of it.
#[derive(Default)]
struct Table {
    rows: HashMap<i64, Row>,
    /// The highest change that a reader saw of each row, deletes among them.
    seen: HashMap<i64, i64>,
    stale: Vec<String>,
}

#[derive(Default)]
struct Row {
    deleted: i64,
    /// Column → version and value.
    cells: BTreeMap<usize, (i64, Value)>,
    position: Option<Stored>,
    of_delete: Option<Stored>,
}

impl Table {
    fn apply(&mut self, write: &Write, record_version: i64) {
        let Value::Int(key) = write.values[0] else { panic!("the key is a number") };
        let row = self.rows.entry(key).or_default();
        let version = write.version.expect("mirrored writes have one");
        let kept = write.standing.position.map(|position| Stored { position, version: record_version });
        match write.kind {
            WriteKind::Delete => {
                row.deleted = row.deleted.max(version);
                row.of_delete = [row.of_delete, kept].into_iter().flatten().max_by_key(|stored| stored.version);
            }
            WriteKind::Upsert => {
                for (at, value) in write.values.iter().enumerate().filter(|(_, value)| value.is_sent()) {
                    let cell = row.cells.entry(at).or_insert((0, Value::Null));
                    if version > cell.0 {
                        *cell = (version, value.clone());
                    }
                }
                row.position = [row.position, kept].into_iter().flatten().max_by_key(|stored| stored.version);
            }
        }
        let deleted = row.deleted;
        row.cells.retain(|_, (written, _)| *written > deleted);
        row.position = row.position.filter(|stored| stored.version + 1 > deleted);
        self.look(key, write);
    }

    /// What a reader sees now may not be older than what it saw before.
    fn look(&mut self, key: i64, write: &Write) {
        let row = &self.rows[&key];
        let now = match row.cells.get(&1) {
            Some((_, Value::Int(n))) => *n,
            _ => row.of_delete.map_or(0, |stored| stored.position.lsn as i64 / 10),
        };
        let seen = self.seen.entry(key).or_default();
        if now < *seen {
            self.stale.push(format!("row {key}: {now} after {seen}, by {write:?}"));
        }
        *seen = now.max(*seen);
    }

    fn visible(&self) -> BTreeMap<i64, BTreeMap<usize, Value>> {
        let live = |row: &Row| row.cells.iter().map(|(at, (_, value))| (*at, value.clone())).collect();
        self.rows.iter().filter(|(_, row)| !row.cells.is_empty()).map(|(key, row)| (*key, live(row))).collect()
    }
}

/// A sink that fails by a seeded schedule, with all, a part or none of a batch in effect, in any order.
struct Faulty {
    dice: Mutex<ChaCha8Rng>,
    table: Mutex<Table>,
    written: Mutex<Vec<Write>>,
    failing: f64,
}

impl Faulty {
    fn roll(&self) -> f64 {
        self.dice.lock().expect("no test panics with it").random()
    }
}

impl Sink for Faulty {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        assert!(batch.writes.iter().all(|write| !write.standing.suspect), "a suspect was not settled");
        let fails = self.roll() < self.failing;
        let turn = (self.roll() * 7.0) as usize;
        for at in 0..batch.writes.len() {
            let write = &batch.writes[(at + turn) % batch.writes.len()];
            if !fails || self.roll() < 0.5 {
                let version = batch.records[write.record].version;
                self.table.lock().expect("no test panics with it").apply(write, version);
                self.written.lock().expect("no test panics with it").push(write.clone());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if !fails {
            return Outcome::Durable;
        }
        let next_offset = batch.records[0].record.offset;
        Outcome::Retry(Retry { next_offset, waiting_for: "the faulty sink".into(), parent: None })
    }

    async fn stored(&self, batch: &Batch, writes: &[usize]) -> Result<Vec<Option<Stored>>, Failure> {
        if self.roll() < self.failing {
            return Err(Failure::Retry("the faulty sink".into()));
        }
        let table = self.table.lock().expect("no test panics with it");
        let of = |at: &usize| {
            let Value::Int(key) = batch.writes[*at].values[0] else { panic!("the key is a number") };
            table.rows.get(&key).and_then(|row| row.position.or(row.of_delete))
        };
        Ok(writes.iter().map(of).collect())
    }
}

fn pipeline(guarded: bool, seed: u64, failing: f64, batch_records_max: usize) -> Arc<Pipeline<Faulty>> {
    let sink = Faulty {
        dice: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        table: Mutex::default(),
        written: Mutex::default(),
        failing,
    };
    let breaker = BreakerLimits { in_a_row_max: 0, per_minute_max: 0 };
    let limits = Limits { batch_records_max, batch_bytes_max: 1 << 20, record_bytes_max: 1 << 20, breaker };
    let (dead_letters, _) = mpsc::channel(1);
    let (topic_ends, _) = mpsc::channel(1);
    let (reselects, _) = mpsc::channel(1);
    let (sink, routes, said) = (Arc::new(sink), routes(guarded), Said::default());
    Arc::new(Pipeline { sink, routes, limits, dead_letters, topic_ends, reselects, said, bounds: Bounds::default() })
}

/// What an owner leaves: what it committed, and what it counted.
#[derive(Clone)]
struct Left {
    saved: Progress,
    meters: Arc<PartitionMeters>,
}

impl Left {
    /// Writes that were left out, and rows that were read for it.
    fn guarded(&self) -> (u64, u64) {
        (self.meters.sent_again.get(), self.meters.guard_reads.get())
    }
}

/// One owner: reads from where the last one stood until the deadline or the end, and leaves what it committed.
async fn own(pipeline: &Arc<Pipeline<Faulty>>, log: &[Record], saved: Progress, deadline: Duration) -> Left {
    let (chunks, records) = mpsc::channel(1);
    let (revoke, revoked) = watch::channel(false);
    // What goes through the commit is text.
    let chain = saved.chain.map(|chain| Chain::load(&chain.save()).expect("our own"));
    let (progress, mut seen) = watch::channel(Progress::at(saved.next_offset, chain));
    let held = Arc::new(Held::default());
    let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
    let start_offset = saved.next_offset;
    let meters = Arc::new(PartitionMeters::default());
    let given = Assignment {
        partition,
        start_offset,
        chain,
        topic_id: None,
        records,
        held: held.clone(),
        meters: meters.clone(),
        progress,
        revoked,
    };
    let worker = tokio::spawn(pipeline.clone().run(given));
    let rest: Vec<Record> = log.iter().filter(|record| record.offset >= saved.next_offset).cloned().collect();
    let feeder = tokio::spawn(async move {
        for chunk in rest.chunks(5) {
            chunk.iter().for_each(|record| held.add(record));
            if chunks.send(chunk.to_vec()).await.is_err() {
                return;
            }
        }
        // The worker waits for more until it is revoked.
        std::future::pending::<()>().await;
    });
    let end = log.last().map_or(0, |record| record.offset + 1);
    // Either way it is over.
    let _ = tokio::time::timeout(deadline, seen.wait_for(|progress| progress.next_offset >= end)).await;
    revoke.send(true).expect("the worker lives");
    if deadline.as_millis().is_multiple_of(2) {
        worker.abort();
    }
    // Aborted or ended: its last progress is what counts.
    let _ = worker.await;
    feeder.abort();
    let saved = seen.borrow().clone();
    Left { saved, meters }
}

/// A history, as a connector sends it that crashes now and then, and what an undisturbed reader of the source ends with.
fn history(dice: &mut ChaCha8Rng, changes: i64) -> (Vec<Record>, BTreeMap<i64, i64>) {
    let ops = ['u', 'u', 'p', 'd'];
    let of = |n| Change { n, key: dice.random_range(0..4), op: ops[dice.random_range(0..ops.len())] };
    let source: Vec<Change> = (1..=changes).map(of).collect();
    let mut log: Vec<Record> = Vec::new();
    let mut sent = 0;
    while sent < source.len() {
        let until = (sent + dice.random_range(1..15)).min(source.len());
        for change in &source[sent..until] {
            let offset = log.len() as i64;
            log.extend(records_of(*change, offset));
        }
        sent = if until == source.len() || dice.random_bool(0.4) {
            until
        } else {
            until - dice.random_range(0..=until.min(9))
        };
    }
    let mut ends = BTreeMap::new();
    for Change { n, key, op } in source {
        if op == 'd' {
            ends.remove(&key);
        } else {
            ends.insert(key, n);
        }
    }
    (log, ends)
}

/// Runs one seed, and checks where it ends. Returns the stale states that readers saw, and how much the guard dropped.
/// Now and then a person sets the group back: to the beginning, or anywhere.
async fn run(seed: u64, guarded: bool, anywhere: bool) -> (Vec<String>, u64) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (log, ends) = history(&mut dice, 60);
    let pipeline = pipeline(guarded, !seed, 0.2, dice.random_range(1..20));
    let end = log.last().map_or(0, |record| record.offset + 1);
    let mut saved = Progress::at(0, Some(Chain::START));
    let (mut sent_again, mut set_back) = (0, 0);
    while saved.next_offset < end {
        let deadline = Duration::from_millis(dice.random_range(1..2_000));
        let left = own(&pipeline, &log, saved, deadline).await;
        sent_again += left.guarded().0;
        saved = left.saved;
        if set_back < 2 && saved.next_offset > 0 && dice.random_bool(0.1) {
            set_back += 1;
            let chain = saved.chain.map(|chain| chain.set_back(saved.next_offset));
            let next_offset = if anywhere { dice.random_range(0..saved.next_offset) } else { 0 };
            saved = Progress { next_offset, chain, ..saved };
        }
    }
    let mut table = pipeline.sink.table.lock().expect("no test panics with it");
    let visible = table.visible();
    let found: BTreeMap<i64, i64> = visible
        .iter()
        .map(|(key, cells)| match cells.get(&1) {
            Some(Value::Int(n)) => (*key, *n),
            other => panic!("seed {seed}: row {key} has {other:?}"),
        })
        .collect();
    assert_eq!(found, ends, "seed {seed}");
    (std::mem::take(&mut table.stale), sent_again)
}

#[tokio::test(start_paused = true)]
async fn readers_never_see_a_row_go_back_over_crashes_of_the_connector_the_sink_and_ourselves() {
    let (mut without, mut dropped) = (0, 0);
    for seed in 0..80 {
        let (stale, sent_again) = run(seed, true, false).await;
        assert!(stale.is_empty(), "seed {seed}: {}", stale.join("\n"));
        dropped += sent_again;
        without += run(seed, false, false).await.0.len();
        // Set back into the middle of what was sent again, nothing says that it was: it may be seen, and ends right.
        run(seed, true, true).await;
    }
    // The reader can see it: without the guard it does.
    assert!(without > 300 && dropped > 300, "{without} stale states without the guard, {dropped} writes dropped");
}

/// The changes in this order, with offsets of their own.
fn log(changes: &[Change]) -> Vec<Record> {
    let mut log: Vec<Record> = Vec::new();
    for change in changes {
        let offset = log.len() as i64;
        log.extend(records_of(*change, offset));
    }
    log
}

fn written(pipeline: &Pipeline<Faulty>) -> Vec<i64> {
    let written = pipeline.sink.written.lock().expect("no test panics with it");
    let n = |write: &Write| write.standing.position.map_or(0, |position: Position| position.lsn as i64 / 10);
    let mut written: Vec<i64> = written.iter().map(n).collect();
    // Within a batch writes have no order.
    written.sort_unstable();
    written
}

fn change(n: i64) -> Change {
    Change { n, key: 1, op: 'u' }
}

#[tokio::test(start_paused = true)]
async fn the_mark_comes_with_the_commit_and_what_is_skipped_and_read_is_counted() {
    // Batches of one record, so that nothing is covered.
    let pipeline = pipeline(true, 0, 0.0, 1);
    let whole = Duration::from_secs(3_601);
    let first = own(&pipeline, &log(&[1, 2, 3].map(change)), Progress::at(0, Some(Chain::START)), whole).await;
    assert_eq!((written(&pipeline), first.guarded()), (vec![1, 2, 3], (0, 0)));
    let again = log(&[1, 2, 3, 1, 2, 3, 4].map(change));
    let second = own(&pipeline, &again, first.saved, whole).await;
    // 3 is the mark itself, and is taken as it is.
    assert_eq!((written(&pipeline), second.guarded()), (vec![1, 2, 3, 3, 4], (2, 2)));
    assert_eq!((second.saved.next_offset, second.meters.finished.get()), (7, 4));
    // A new owner without the marks takes what was sent again for news: the commit is what carries them.
    let bare = Chain::START.after(2, second.saved.chain.expect("it has versions").last());
    own(&pipeline, &log(&[1, 2, 3, 1].map(change)), Progress::at(3, Some(bare)), whole).await;
    assert_eq!(written(&pipeline), [1, 1, 2, 3, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_before_a_death_is_dropped_again_though_a_later_write_has_arrived() {
    for batch_records_max in [1, 2, 3, 100] {
        let pipeline = pipeline(true, 0, 0.0, batch_records_max);
        let whole = Duration::from_secs(3_601);
        // 5 leaves out `b`, so that writing 3 once more would bring back its `b` below the `a` of 5.
        let partial = Change { op: 'p', ..change(5) };
        let first = own(&pipeline, &log(&[3, 4].map(change)), Progress::at(0, Some(Chain::START)), whole).await;
        let again = log(&[change(3), change(4), change(3), partial]);
        let second = own(&pipeline, &again, first.saved.clone(), whole).await;
        assert_eq!(second.guarded().0, 1);
        // Nobody committed that.
        let third = own(&pipeline, &again, first.saved, whole).await;
        assert_eq!((third.guarded().0, third.saved.next_offset), (1, 4), "batches of {batch_records_max}");
        let b = pipeline.sink.table.lock().expect("no test panics with it").rows[&1].cells[&2].1.clone();
        assert_eq!(b, Value::Int(4), "batches of {batch_records_max}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_durable_before_what_is_none_is_written() {
    let pipeline = pipeline(true, 0, 0.0, 100);
    let whole = Duration::from_secs(3_601);
    let other = Change { n: 9, key: 2, op: 'u' };
    // 5 comes behind the mark and is news. 10 would cover it, were they of one batch.
    let log = log(&[change(3), other, change(5), change(10)]);
    own(&pipeline, &log, Progress::at(0, Some(Chain::START)), whole).await;
    assert_eq!(written(&pipeline), [3, 5, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn what_was_half_written_before_a_death_is_written_again_and_not_taken_for_done() {
    let pipeline = pipeline(true, 0, 0.0, 100);
    let whole = Duration::from_secs(3_601);
    let other = Change { n: 9, key: 2, op: 'u' };
    // The row stands at 3, by a record that somebody's commit already passed.
    let before = log(&[change(3), other]);
    let first = own(&pipeline, &before, Progress::at(0, Some(Chain::START)), whole).await;
    // 5 comes behind the mark and is news: it is written, and nobody commits it.
    let again = log(&[change(3), other, change(5)]);
    own(&pipeline, &again, first.saved.clone(), whole).await;
    assert_eq!(written(&pipeline), [3, 5, 9]);
    // The next owner finds 5 in the target. It is from this very record, so it is written once more.
    let second = own(&pipeline, &again, first.saved, whole).await;
    assert_eq!((written(&pipeline), second.guarded()), (vec![3, 5, 5, 9], (0, 1)));
    // Once it is committed, the same position at another offset is what was sent again.
    let more = log(&[change(3), other, change(5), change(5)]);
    let third = own(&pipeline, &more, second.saved, whole).await;
    assert_eq!((written(&pipeline).len(), third.guarded().0), (4, 1));
}
