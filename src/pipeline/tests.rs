//! The loop against a faulty memory sink: seeded schedules of failures, revocations and lost answers, in paused time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;

use super::*;
use crate::change::RejectClass;
use crate::format::Decoder;
use crate::plan::route::{RouteSpec, TargetTable};
use crate::plan::write::{Write, WriteKind};
use crate::row::{Column, Kind, Value};

const TOPIC: &str = "docs";

pub(super) fn routes() -> Arc<Routes> {
    let columns = [("id", Kind::Int64), ("a", Kind::Int64), ("b", Kind::Int64)];
    let columns = columns.map(|(name, kind)| Column { name: name.into(), kind }).into();
    let table = TargetTable { name: "docs".into(), columns, key: vec!["id".into()] };
    let types = [("id", "bigint"), ("a", "bigint"), ("b", "bigint")];
    let mut spec = RouteSpec::new(TOPIC, "docs", &["id"]).typed(&types);
    spec.reselect = Some("public.docs".into());
    Arc::new(Routes::resolve(&[spec], &BTreeMap::from([("docs".to_string(), table)])).expect("the route fits"))
}

pub(super) fn record(offset: i64, key: i64, value: Option<String>) -> Record {
    Record {
        topic: TOPIC.into(),
        partition: 0,
        offset,
        timestamp_ms: Some(1_000 + offset / 5),
        key: Some(format!(r#"{{"id":{key}}}"#).into()),
        value: value.map(Bytes::from),
        headers: [].into(),
    }
}

pub(super) fn upsert(offset: i64, key: i64) -> Record {
    record(offset, key, Some(format!(r#"{{"op":"u","after":{{"id":{key},"a":{offset}}}}}"#)))
}

/// A pipeline over a sink, with the far ends of what it is handed.
pub(super) struct Rig<S> {
    pub(super) pipeline: Arc<Pipeline<S>>,
    pub(super) letters: mpsc::Receiver<DeadLetterRequest>,
    _ends: mpsc::Receiver<TopicEndsRequest>,
    pub(super) reselects: mpsc::Receiver<ReselectRequest>,
}

pub(super) fn rig<S: Sink>(sink: S, batch_records_max: usize) -> Rig<S> {
    let (dead_letters, letters) = mpsc::channel(8);
    let (topic_ends, ends) = mpsc::channel(8);
    let (reselects, lacking) = mpsc::channel(8);
    let breaker = BreakerLimits { in_a_row_max: 20, per_minute_max: 0 };
    let limits = Limits { batch_records_max, batch_bytes_max: 1 << 20, record_bytes_max: 32 << 20, breaker };
    let (sink, said, routes, bounds) = (Arc::new(sink), Said::default(), routes(), Bounds::default());
    let pipeline = Pipeline { sink, routes, limits, dead_letters, topic_ends, reselects, said, bounds };
    Rig { pipeline: Arc::new(pipeline), letters, _ends: ends, reselects: lacking }
}

/// The poll thread's end of an assignment.
pub(super) struct Hold {
    pub(super) chunks: mpsc::Sender<Vec<Record>>,
    pub(super) held: Arc<Held>,
    pub(super) meters: Arc<PartitionMeters>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) revoke: watch::Sender<bool>,
}

pub(super) fn assignment(start_offset: i64, chain: Chain) -> (Assignment, Hold) {
    let (chunks, records) = mpsc::channel(1);
    let (revoke, revoked) = watch::channel(false);
    let (progress, seen) = watch::channel(Progress::at(start_offset, Some(chain)));
    let held = Arc::new(Held::default());
    let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
    let meters = Arc::new(PartitionMeters::of(&routes(), TOPIC));
    let given = Assignment {
        partition,
        start_offset,
        chain: Some(chain),
        topic_id: None,
        records,
        held: held.clone(),
        meters: meters.clone(),
        progress,
        revoked,
    };
    (given, Hold { chunks, held, meters, progress: seen, revoke })
}

/// A sink whose every write waits for a permit.
pub(super) struct Gated {
    pub(super) permits: Semaphore,
    pub(super) offsets: Mutex<Vec<Vec<i64>>>,
}

impl Sink for Gated {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        let offsets = batch.records.iter().map(|versioned| versioned.record.offset).collect();
        self.offsets.lock().expect("no test panics with it").push(offsets);
        self.permits.acquire().await.expect("it is never closed").forget();
        Outcome::Durable
    }
}

/// Lets every other task run until none can go on.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_batch_is_planned_before_the_first_is_durable_and_never_a_third() {
    let rig = rig(Gated { permits: Semaphore::new(0), offsets: Mutex::default() }, 2);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    let send = |offset| hold.chunks.try_send(vec![upsert(offset, offset)]);
    let mut taken = 0;
    for _ in 0..20 {
        // One record at a time, so that what was accepted counts exactly what the loop has taken.
        if send(taken).is_ok() {
            hold.held.add(&upsert(taken, taken));
            taken += 1;
        }
        settle().await;
    }
    let writes = |rig: &Rig<Gated>| rig.pipeline.sink.offsets.lock().expect("no test panics with it").clone();
    // The first record went off alone; two more fill the second batch; one waits in the channel.
    assert_eq!(writes(&rig), [vec![0]]);
    assert_eq!(taken, 4, "a third batch was begun");
    assert_eq!(hold.progress.borrow().next_offset, 0, "the position moved before the batch was durable");

    rig.pipeline.sink.permits.add_permits(1);
    settle().await;
    assert_eq!(writes(&rig), [vec![0], vec![1, 2]], "the second batch was not ready");
    assert_eq!(hold.progress.borrow().next_offset, 1);
    rig.pipeline.sink.permits.add_permits(2);
    settle().await;
    assert_eq!((hold.progress.borrow().next_offset, hold.held.bytes()), (4, 0));
    hold.revoke.send(true).expect("the worker listens");
    worker.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_finishes_what_is_being_written_and_begins_nothing() {
    let rig = rig(Gated { permits: Semaphore::new(0), offsets: Mutex::default() }, 2);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    for offset in 0..4 {
        hold.held.add(&upsert(offset, offset));
        hold.chunks.send(vec![upsert(offset, offset)]).await.expect("the worker takes");
        settle().await;
    }
    hold.revoke.send(true).expect("the worker listens");
    settle().await;
    assert!(!worker.is_finished(), "what is being written may finish");
    rig.pipeline.sink.permits.add_permits(9);
    worker.await.expect("it ends");
    let writes = rig.pipeline.sink.offsets.lock().expect("no test panics with it").clone();
    assert_eq!((writes, hold.progress.borrow().next_offset), (vec![vec![0]], 1));
}

#[tokio::test(start_paused = true)]
async fn a_truncate_stops_behind_what_came_before_it() {
    let rig = rig(Gated { permits: Semaphore::new(100), offsets: Mutex::default() }, 10);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    let chunk = vec![upsert(0, 1), record(1, 1, Some(r#"{"op":"t"}"#.into())), upsert(2, 1)];
    hold.chunks.send(chunk).await.expect("the worker listens");
    settle().await;
    let progress = hold.progress.borrow().clone();
    assert_eq!(progress.next_offset, 1);
    assert!(matches!(progress.state, State::Stopped(why) if why.contains("truncated")));
    hold.revoke.send(true).expect("the worker listens");
    worker.await.expect("it ends");
    assert_eq!(hold.progress.borrow().next_offset, 1);
}

/// A table as Cassandra keeps it: each cell by its own timestamp, a tombstone winning a tie.
#[derive(Debug, Default, Clone, PartialEq)]
struct Cells {
    rows: HashMap<i64, CellRow>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct CellRow {
    deleted: i64,
    cells: BTreeMap<usize, (i64, Value)>,
}

impl Cells {
    fn apply(&mut self, write: &Write) {
        let Value::Int(key) = write.values[0] else { panic!("the key is a number") };
        let version = write.version.expect("mirrored writes have one");
        let row = self.rows.entry(key).or_default();
        match write.kind {
            WriteKind::Delete => row.deleted = row.deleted.max(version),
            WriteKind::Upsert => {
                for (at, value) in write.values.iter().enumerate().filter(|(_, value)| value.is_sent()) {
                    let cell = row.cells.entry(at).or_insert((0, Value::Null));
                    if version > cell.0 {
                        *cell = (version, value.clone());
                    }
                }
            }
        }
        row.cells.retain(|_, (written, _)| *written > row.deleted);
    }

    /// What a reader sees: rows with at least one live cell.
    fn visible(&self) -> BTreeMap<i64, BTreeMap<usize, Value>> {
        let live = |row: &CellRow| row.cells.iter().map(|(at, (_, value))| (*at, value.clone())).collect();
        self.rows.iter().filter(|(_, row)| !row.cells.is_empty()).map(|(key, row)| (*key, live(row))).collect()
    }
}

/// A sink that fails by a seeded schedule: before or after the write took effect, in part, for one record, for long.
struct Faulty {
    dice: Mutex<ChaCha8Rng>,
    table: Mutex<Cells>,
    /// Offsets whose writes have been acknowledged.
    durable: Mutex<BTreeSet<i64>>,
    /// Records that the server will never take.
    poison: BTreeSet<i64>,
}

impl Sink for Faulty {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        if self.roll() < 0.2 {
            return Err(Failure::Retry("the faulty sink".into()));
        }
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        let is_poison = |rejected: &usize| self.poison.contains(&batch.records[*rejected].record.offset);
        let refused: Vec<Rejected> = (0..batch.records.len())
            .filter(is_poison)
            .map(|record| Rejected { record, route: Some(0), reject: Reject::new(RejectClass::Refused, "poison") })
            .collect();
        if !refused.is_empty() {
            return Outcome::Rejected(refused);
        }
        let roll = self.roll();
        let part = if roll < 0.5 { batch.writes.len() / 2 } else { batch.writes.len() };
        batch.writes[..part].iter().for_each(|write| self.table.lock().expect("no test panics with it").apply(write));
        tokio::time::sleep(Duration::from_millis(if roll < 0.1 { 60_000 } else { 1 })).await;
        match roll {
            roll if roll < 0.5 => Outcome::Retry(Retry {
                next_offset: batch.records.first().map_or(batch.next_offset, |first| first.record.offset),
                waiting_for: "the faulty sink".into(),
                parent: None,
            }),
            roll if roll < 0.55 => Outcome::Stop("the faulty sink".into()),
            _ => {
                let offsets = batch.records.iter().map(|versioned| versioned.record.offset);
                self.durable.lock().expect("no test panics with it").extend(offsets);
                Outcome::Durable
            }
        }
    }
}

impl Faulty {
    fn roll(&self) -> f64 {
        self.dice.lock().expect("no test panics with it").random()
    }
}

/// A history of a few keys: upserts of one or both columns, deletes with and without tombstone, and broken records.
fn history(dice: &mut ChaCha8Rng, records: i64) -> Vec<Record> {
    let value = |dice: &mut ChaCha8Rng, offset: i64, key: i64| match dice.random_range(0..10) {
        0 => None,
        1 => Some(format!(r#"{{"op":"d","before":{{"id":{key}}}}}"#)),
        2 => Some("broken".to_string()),
        3 => Some(format!(r#"{{"op":"u","after":{{"id":{key},"a":{offset},"b":"__debezium_unavailable_value"}}}}"#)),
        4 => Some(format!(r#"{{"op":"u","after":{{"id":{key},"b":null}}}}"#)),
        _ => Some(format!(r#"{{"op":"u","after":{{"id":{key},"a":{offset},"b":{offset}}}}}"#)),
    };
    let of = |offset| {
        let key = dice.random_range(0..5);
        record(offset, key, value(dice, offset, key))
    };
    (0..records).map(of).collect()
}

/// The table after every record that is neither broken nor poison, one by one, in order.
fn expected(history: &[Record], poison: &BTreeSet<i64>) -> Cells {
    let routes = routes();
    let shape = &routes.topic(TOPIC).expect("it is routed").shape;
    let (mut table, mut chain) = (Cells::default(), Chain::START);
    for record in history {
        let version = chain.next(record.offset, record.timestamp_ms);
        if poison.contains(&record.offset) {
            continue;
        }
        let mut draft = Draft::new(routes.clone(), record.topic_partition(), record.offset);
        let versioned = Versioned::new(record.clone(), version);
        draft.push(versioned, |versioned| Decoder::new(shape, 1 << 20).decode(&versioned.record));
        draft.take().writes.iter().for_each(|write| table.apply(write));
    }
    table
}

/// Runs one seed: assignments of random length over one history, until all of it is done.
async fn run_schedule(seed: u64) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let history = history(&mut dice, 60);
    let poison: BTreeSet<i64> = (0..60).filter(|_| dice.random_bool(0.03)).collect();
    let sink = Faulty {
        dice: Mutex::new(ChaCha8Rng::seed_from_u64(!seed)),
        table: Mutex::default(),
        durable: Mutex::default(),
        poison: poison.clone(),
    };
    let mut rig = rig(sink, dice.random_range(1..20));
    let mut letters = BTreeSet::new();
    let mut saved = Progress::at(0, Some(Chain::START));
    let mut set_back = 0;
    while saved.next_offset < 60 {
        let (given, hold) = assignment(
            saved.next_offset,
            Chain::load(&saved.chain.expect("versions are used").save()).expect("our own"),
        );
        let worker = tokio::spawn(rig.pipeline.clone().run(given));
        let (chunks, held) = (hold.chunks.clone(), hold.held.clone());
        let mut rest: Vec<Record> = history[saved.next_offset as usize..].to_vec();
        let sizes: Vec<usize> = (0..60).map(|_| dice.random_range(1..9)).collect();
        let feeder = tokio::spawn(async move {
            for size in sizes {
                let chunk: Vec<Record> = rest.drain(..size.min(rest.len())).collect();
                chunk.iter().for_each(|record| held.add(record));
                if chunk.is_empty() || chunks.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        let deadline = tokio::time::Instant::now() + Duration::from_millis(dice.random_range(1..120_000));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                request = rig.letters.recv() => {
                    let DeadLetterRequest { letter, answer } = request.expect("the pipeline lives");
                    let taken = dice.random_bool(0.8);
                    if taken {
                        letters.insert(letter.record.offset);
                    }
                    // The partition may have been revoked meanwhile.
                    let _ = answer.send(if taken { Ok(()) } else { Err("the faulty topic".into()) });
                }
            }
            let progress = hold.progress.borrow().clone();
            check_position(seed, &rig.pipeline.sink, &letters, progress.next_offset);
            if progress.next_offset == 60 {
                break;
            }
        }
        hold.revoke.send(true).expect("the worker lives");
        if dice.random_bool(0.3) {
            worker.abort();
        }
        // Aborted or ended: either way its last progress is what counts.
        let _ = worker.await;
        feeder.abort();
        saved = hold.progress.borrow().clone();
        check_position(seed, &rig.pipeline.sink, &letters, saved.next_offset);
        // Sometimes a person sets the group back.
        if set_back < 2 && saved.next_offset > 0 && dice.random_bool(0.15) {
            (saved, set_back) = (set_back_to(dice.random_range(0..saved.next_offset), saved), set_back + 1);
        }
    }
    let table = rig.pipeline.sink.table.lock().expect("no test panics with it");
    assert_eq!(table.visible(), expected(&history, &poison).visible(), "seed {seed}");
    assert!(poison.iter().all(|offset| letters.contains(offset)), "seed {seed}: a poisoned record has no dead letter");
}

/// What `seek` does (V2).
fn set_back_to(next_offset: i64, saved: Progress) -> Progress {
    let chain = saved.chain.map(|chain| chain.set_back(saved.next_offset));
    Progress { next_offset, chain, ..saved }
}

/// I7: below the position, every record is in the sink or in the dead-letter topic.
fn check_position(seed: u64, sink: &Faulty, letters: &BTreeSet<i64>, next_offset: i64) {
    let durable = sink.durable.lock().expect("no test panics with it");
    let lost: Vec<i64> = (0..next_offset).filter(|at| !durable.contains(at) && !letters.contains(at)).collect();
    assert!(lost.is_empty(), "seed {seed}: the position {next_offset} passed {lost:?}");
}

#[tokio::test(start_paused = true)]
async fn any_schedule_of_faults_and_revocations_ends_with_the_table_of_an_undisturbed_run() {
    for seed in 0..400 {
        run_schedule(seed).await;
    }
}
