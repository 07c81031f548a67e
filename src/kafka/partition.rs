//! One assigned partition as the poll thread keeps it: its worker, the records on their way there, what came back.

use std::sync::Arc;

use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use bytes::{Bytes, BytesMut};

use crate::kafka::saved;
use crate::kafka::topic_id::Identity;
use crate::ownership::{Epoch, Tenure};
use crate::pipeline::meters::{Live, Meters, PartitionMeters};
use crate::pipeline::{Assignment, Pipeline, Progress, State};
use crate::record::{Header, Record, TopicPartition};
use crate::sink::Sink;
use crate::version::Chain;

/// Chunks of records between the poll thread and the worker. Their bytes are bounded by the partition's share; a
/// chunk that finds no place waits and grows.
const CHUNKS_MAX: usize = 16;

/// Where a partition starts, as found at its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub next_offset: i64,
    pub chain: Option<Chain>,
    /// The high watermark at the assignment.
    pub end: i64,
    /// What its topic was then, where the brokers tell.
    pub identity: Option<Identity>,
}

/// A partition that is ours.
#[derive(Debug)]
pub struct Partition {
    pub id: TopicPartition,
    chunks: mpsc::Sender<Vec<Record>>,
    /// Records that found no place in the channel yet.
    staged: Vec<Record>,
    /// It holds its share, and the client reads nothing more of it.
    is_paused: bool,
    live: Arc<Live>,
    meters: Arc<PartitionMeters>,
    revoke: watch::Sender<bool>,
    worker: Option<JoinHandle<()>>,
    tenure: Tenure,
    pub end_at_start: i64,
    identity: Option<Identity>,
    /// The offset after the last record that was taken.
    taken_offset: i64,
    headers: Arc<[Header]>,
}

impl Partition {
    /// Starts the partition's worker on the runtime.
    pub fn spawn<S: Sink>(
        id: TopicPartition,
        epoch: Epoch,
        start: Start,
        pipeline: &Arc<Pipeline<S>>,
        meters: &Meters,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let (chunks, records) = mpsc::channel(CHUNKS_MAX);
        let (revoke, revoked) = watch::channel(false);
        let (progress, seen) = watch::channel(Progress { epoch, ..Progress::at(start.next_offset, start.chain) });
        let live = Arc::new(Live { progress: seen, revoked: revoked.clone(), held: Arc::default() });
        let meters = meters.begin(&id, &pipeline.routes, &live);
        meters.end_offset.set(start.end);
        let assignment = Assignment {
            partition: id.clone(),
            start_offset: start.next_offset,
            chain: start.chain,
            topic_id: start.identity.as_ref().and_then(|identity| identity.id.clone()),
            records,
            held: live.held.clone(),
            meters: meters.clone(),
            progress,
            revoked,
        };
        let worker = Some(runtime.spawn(pipeline.clone().run(assignment)));
        Partition::new(id, start, chunks, (live, meters), revoke, worker)
    }

    /// A partition that is ours and cannot run: it is never read, and its commit is left alone.
    pub fn refused<S>(id: TopicPartition, why: String, pipeline: &Pipeline<S>, meters: &Meters) -> Self {
        tracing::error!(partition = %id, "stopped: {why}");
        let (chunks, _) = mpsc::channel(1);
        let (revoke, revoked) = watch::channel(false);
        let (_, progress) = watch::channel(Progress { state: State::Stopped(why), ..Progress::at(0, None) });
        let live = Arc::new(Live { progress, revoked, held: Arc::default() });
        let meters = meters.begin(&id, &pipeline.routes, &live);
        let start = Start { next_offset: 0, chain: None, end: i64::MAX, identity: None };
        Partition::new(id, start, chunks, (live, meters), revoke, None)
    }

    fn new(
        id: TopicPartition,
        start: Start,
        chunks: mpsc::Sender<Vec<Record>>,
        (live, meters): (Arc<Live>, Arc<PartitionMeters>),
        revoke: watch::Sender<bool>,
        worker: Option<JoinHandle<()>>,
    ) -> Self {
        let tenure = Tenure::begin(live.progress.borrow().epoch, start.next_offset, start.chain);
        Partition {
            id,
            chunks,
            staged: Vec::new(),
            is_paused: false,
            live,
            meters,
            revoke,
            worker,
            tenure,
            end_at_start: start.end,
            identity: start.identity,
            taken_offset: start.next_offset,
            headers: [].into(),
        }
    }

    /// Takes a record. False when the share of `bytes_max` is reached with it and the partition has to be paused. So a
    /// partition holds at most its share and one record.
    pub fn take(&mut self, message: &BorrowedMessage<'_>, bytes_max: usize) -> bool {
        // It does not run, and what the client had read before it was paused has no place to go.
        if self.worker.is_none() {
            return true;
        }
        let record = self.record(message);
        self.taken_offset = record.offset + 1;
        self.live.held.add(&record);
        self.meters.records.add(1);
        self.meters.bytes.add(record.bytes() as u64);
        self.staged.push(record);
        self.is_paused |= self.live.held.bytes() >= bytes_max;
        !self.is_paused
    }

    /// Hands over what is staged, when there is a place for it.
    pub fn hand_over(&mut self) {
        if !self.staged.is_empty()
            && let Ok(place) = self.chunks.try_reserve()
        {
            place.send(std::mem::take(&mut self.staged));
        }
    }

    /// Whether a paused partition may go on: half of its share is free again. True once.
    pub fn resumes(&mut self, bytes_max: usize) -> bool {
        let resumes = self.is_paused && self.live.held.bytes() <= bytes_max / 2;
        self.is_paused &= !resumes;
        resumes
    }

    /// An operator stops its reading, or lets it go on. It outlasts the assignment.
    pub fn hold(&self, is_held: bool) {
        self.meters.paused.set(i64::from(is_held));
    }

    pub fn is_held(&self) -> bool {
        self.meters.paused.get() == 1
    }

    /// Whether the client reads on. One that cannot run is not read either, and nobody asks for its end.
    pub fn is_read(&self) -> bool {
        !self.is_paused && !self.is_held()
    }

    /// What is seen of it, also after it was given up.
    pub fn seen(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// False for one that is ours and cannot run.
    pub fn runs(&self) -> bool {
        self.worker.is_some()
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    pub fn progress(&self) -> Progress {
        self.live.progress()
    }

    /// What the brokers say of its end. One that cannot run has no use for it.
    pub fn ends_at(&self, offset: i64) {
        if self.worker.is_some() {
            self.meters.end_offset.set(offset);
        }
    }

    /// Which assignment this is.
    pub fn epoch(&self) -> Epoch {
        self.tenure.epoch()
    }

    /// The offset and metadata to commit, if there is news.
    pub fn pending_commit(&mut self) -> Option<(i64, String)> {
        self.worker.as_ref()?;
        let progress = self.live.progress.borrow();
        self.tenure.report(progress.epoch, progress.next_offset, progress.chain);
        let (offset, chain) = self.tenure.pending()?;
        let topic_id = self.identity.as_ref().and_then(|identity| identity.id.as_deref());
        Some((offset, saved::metadata(chain, topic_id)))
    }

    pub fn committed(&mut self, next_offset: i64) {
        self.tenure.committed(next_offset);
    }

    /// Whether all that was there at the assignment is done. `position` is where the client stands: it counts
    /// control records, which are never handed out.
    pub fn is_caught_up(&self, position: Option<i64>) -> bool {
        let done = self.live.progress.borrow().next_offset;
        let read = position.unwrap_or(self.taken_offset).max(self.taken_offset);
        done >= self.end_at_start || (read >= self.end_at_start && done >= self.taken_offset)
    }

    /// What its topic was at the assignment; `None` when the brokers did not tell, or it does not run.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Tells the worker to finish what it is writing and end.
    pub fn revoke(&self) {
        // Nobody listens when the worker has ended already.
        let _ = self.revoke.send(true);
    }

    /// Ends the worker at once. What it was writing does no harm: it is written again, or never counts.
    pub fn abandon(&mut self) {
        self.revoke();
        self.worker.iter().for_each(JoinHandle::abort);
    }

    /// The worker, to be waited for after [`Partition::revoke`].
    pub fn worker(&mut self) -> Option<&mut JoinHandle<()>> {
        self.worker.as_mut()
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> Record {
        let (key, value) = own(message.key(), message.payload());
        Record {
            topic: self.id.topic.clone(),
            partition: self.id.partition,
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key,
            value,
            headers: self.headers(message),
        }
    }

    /// The record's headers, shared with the record before when they are the same.
    fn headers(&mut self, message: &BorrowedMessage<'_>) -> Arc<[Header]> {
        let count = message.headers().map_or(0, |headers| headers.count());
        let headers = || (0..count).filter_map(|at| message.headers().and_then(|headers| headers.try_get(at)));
        let same = self.headers.len() == count
            && headers()
                .zip(self.headers.iter())
                .all(|(new, old)| new.key == old.name && new.value == old.value.as_deref());
        if !same {
            let own = |header: rdkafka::message::Header<'_, &[u8]>| Header {
                name: header.key.into(),
                value: header.value.map(Bytes::copy_from_slice),
            };
            self.headers = headers().map(own).collect();
        }
        self.headers.clone()
    }
}

/// Key and value out of librdkafka's buffers, in one allocation for both.
fn own(key: Option<&[u8]>, value: Option<&[u8]>) -> (Option<Bytes>, Option<Bytes>) {
    let mut buffer = BytesMut::with_capacity(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
    let mut part = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| {
            buffer.extend_from_slice(bytes);
            buffer.split().freeze()
        })
    };
    (part(key), part(value))
}

/// The offset of a list's element, when it is one.
pub fn plain_offset(offset: Offset) -> Option<i64> {
    match offset {
        Offset::Offset(offset) => Some(offset),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    }
}
