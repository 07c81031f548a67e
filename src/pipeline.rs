//! The loop: next → decode → plan → rejects → write → position, for one partition.
//!
//! One batch is being written, one is being filled, never a third. It knows the sink's contract and nothing of Kafka
//! or of any one system: it is handed records, a place for dead letters and a place for positions, and asks where a
//! topic ends when a record has to wait for another topic.

mod parent;
mod intake;
pub mod bounds;
mod guard;
pub mod breaker;
mod checkpoint;
mod letters;
pub mod meters;
pub mod reading;
pub mod reselect;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::change::{Decoded, Reject};
use crate::failpoint::{self, Stage};
use crate::mutation::{self, Mutation};
use crate::ownership::Epoch;
use crate::pipeline::bounds::{Bounds, Room};
use crate::pipeline::breaker::{Breaker, BreakerLimits};
use crate::pipeline::intake::Intake;
use crate::pipeline::meters::{PartitionMeters, now_ms};
use crate::pipeline::parent::{PARENT_DELAY_MAX, ParentPatience};
use crate::pipeline::reading::Said;
use crate::pipeline::reselect::ReselectRequest;
use crate::plan::route::Routes;
use crate::plan::write::{Batch, Rejected, Versioned};
use crate::plan::{self, Draft};
use crate::record::{Record, TopicPartition};
use crate::retry::Backoff;
use crate::sink::{Failure, Opened, Outcome, ParentWait, Retry, Sink};
use crate::version::guard::Guard;
use crate::version::{Chain, Version};

/// A stopped partition tries again this often: a person may have mended what stopped it.
pub const STOPPED_RETRY: Duration = Duration::from_secs(30);

/// What all partitions of a binary share.
pub struct Pipeline<S> {
    pub sink: Arc<S>,
    pub routes: Arc<Routes>,
    pub limits: Limits,
    pub dead_letters: mpsc::Sender<DeadLetterRequest>,
    pub topic_ends: mpsc::Sender<TopicEndsRequest>,
    pub reselects: mpsc::Sender<ReselectRequest>,
    /// What was said about the topics' columns, so that each thing is said once.
    pub said: Said,
    pub bounds: Bounds,
}

/// Limits of one batch and one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub record_bytes_max: usize,
    pub breaker: BreakerLimits,
}

/// A partition that this process was given: where to start, what comes in, what goes back, when to stop.
pub struct Assignment {
    pub partition: TopicPartition,
    pub start_offset: i64,
    /// The versions as of `start_offset`; `None` where the sink orders by position instead.
    pub chain: Option<Chain>,
    /// The id of the topic, where Kafka tells it.
    pub topic_id: Option<String>,
    pub records: mpsc::Receiver<Vec<Record>>,
    pub held: Arc<Held>,
    pub meters: Arc<PartitionMeters>,
    pub progress: watch::Sender<Progress>,
    /// Turns true when the partition is revoked. Taking ends, what is being written may finish.
    pub revoked: watch::Receiver<bool>,
}

/// Records that were handed to a partition and are not durable yet. The poll thread adds, the loop takes off.
#[derive(Debug, Default)]
pub struct Held {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// The only thing that flows back from the loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The assignment that it is the progress of.
    pub epoch: Epoch,
    /// Everything below it is in the sink or in the dead-letter topic.
    pub next_offset: i64,
    /// The versions as of `next_offset`.
    pub chain: Option<Chain>,
    pub state: State,
}

/// What a partition is doing, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running,
    /// It tries again by itself; the text says what it waits for.
    Waiting(String),
    /// A person has to act; the text says why and how. What can be mended from outside is tried again every
    /// [`STOPPED_RETRY`].
    Stopped(String),
}

/// A refused record on its way out. The answer says that the broker has it, or why it never will as things stand.
#[derive(Debug)]
pub struct DeadLetterRequest {
    pub letter: DeadLetter,
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// A refused record with all that its dead letter tells.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    pub record: Record,
    pub reject: Reject,
    /// The route that refused it, or all of its topic when it was refused before any.
    pub route: String,
    pub version: Option<i64>,
}

/// Asks for the end of every partition of a topic; no answer when Kafka cannot be asked now.
#[derive(Debug)]
pub struct TopicEndsRequest {
    pub topic: String,
    pub answer: oneshot::Sender<Vec<(i32, i64)>>,
}

/// The partition was revoked, so the loop ends.
struct Revoked;

impl Progress {
    /// An assignment of which nothing is finished yet.
    pub fn at(next_offset: i64, chain: Option<Chain>) -> Self {
        Progress { epoch: 0, next_offset, chain, state: State::Running }
    }
}

impl Held {
    pub fn add(&self, record: &Record) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(record.held_bytes(), Ordering::Relaxed);
    }

    pub fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn release(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl<S: Sink> Pipeline<S> {
    /// Runs one partition until it is revoked. The last progress sent is the answer: it counts whatever happens
    /// after, and whoever comes next starts there.
    pub async fn run(self: Arc<Self>, assignment: Assignment) {
        let Assignment { partition, start_offset, chain, topic_id, records, held, meters, progress, revoked } =
            assignment;
        let breaker = Breaker::new(self.limits.breaker);
        let (pipeline, kept_at) = (&*self, None);
        let held_too = held.clone();
        let mut run =
            Run { pipeline, partition, topic_id, held: held_too, meters, progress, revoked, breaker, kept_at };
        let Ok(Opened { state, next_offset }) = run.open(start_offset).await else { return };
        let draft = Draft::new(self.routes.clone(), run.partition.clone(), next_offset);
        let mut reading = self.reading(&run.partition);
        let decode = |versioned: &Versioned| reading.decode(&versioned.record);
        let guard = chain.map(|chain| chain.guard()).filter(|_| self.routes.is_guarded(&run.partition.topic));
        let intake = Intake::new(decode, records, chain, guard, draft, held, next_offset);
        // The only error is that the partition was revoked, and then the last progress has been sent.
        let _ = run.carry(intake, state).await;
    }
}

/// The loop's hold on one partition.
struct Run<'p, S> {
    pipeline: &'p Pipeline<S>,
    partition: TopicPartition,
    topic_id: Option<String>,
    held: Arc<Held>,
    meters: Arc<PartitionMeters>,
    progress: watch::Sender<Progress>,
    revoked: watch::Receiver<bool>,
    breaker: Breaker,
    /// When the sink last kept a checkpoint.
    kept_at: Option<Instant>,
}

impl<S: Sink> Run<'_, S> {
    async fn open(&mut self, start_offset: i64) -> Result<Opened<S::Partition>, Revoked> {
        let mut backoff = Backoff::new();
        loop {
            match self.pipeline.sink.open(&self.partition, start_offset, self.topic_id.as_deref()).await {
                Ok(opened) => {
                    self.progress.send_modify(|progress| progress.next_offset = opened.next_offset);
                    self.say(State::Running);
                    return Ok(opened);
                }
                Err(Failure::Retry(waiting_for)) => {
                    self.say(State::Waiting(waiting_for));
                    self.wait(backoff.next_delay(rand::random())).await?;
                }
                Err(Failure::Stop(why)) => self.stop(why).await?,
            }
        }
    }

    /// Fills, plans and writes batch after batch. While one is being written the next is filled.
    async fn carry(
        mut self,
        mut intake: Intake<impl FnMut(&Versioned) -> Decoded>,
        mut state: S::Partition,
    ) -> Result<(), Revoked> {
        let pipeline = self.pipeline;
        let mut revoked = self.revoked.clone();
        loop {
            // What is filled but not yet being written is dropped: whoever comes next reads it again.
            if *revoked.borrow() {
                return Err(Revoked);
            }
            if intake.is_empty() {
                self.meters.oldest(intake.waiting());
                if let Some(why) = intake.end() {
                    self.say(State::Stopped(why.into()));
                    self.until_revoked().await;
                    return Err(Revoked);
                }
                tokio::select! {
                    biased;
                    open = intake.begin(pipeline) => if !open { return Err(Revoked) },
                    _ = revoked.wait_for(|revoked| *revoked) => return Err(Revoked),
                }
                continue;
            }
            let (batch, room) = intake.take();
            self.meters.oldest(batch.records.first().map(|first| &first.record));
            failpoint::reach(Stage::Decoded);
            self.breaker.begin(batch.records.iter().map(|versioned| versioned.record.offset));
            let write = self.write(&mut state, batch, room, intake.guard());
            tokio::pin!(write);
            let mut open = true;
            loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written?,
                    // Dropped while it receives, it has taken nothing; what it has received it keeps at once.
                    more = intake.take_more(pipeline), if open && intake.may_take(&pipeline.limits) => open = more,
                }
            }
        }
    }

    /// Writes a batch until it is durable, and only then moves the position.
    async fn write(
        &mut self,
        state: &mut S::Partition,
        mut batch: Batch,
        mut room: Option<Room>,
        guard: Option<Guard>,
    ) -> Result<(), Revoked> {
        let mut size = Size::of(&batch, guard);
        if mutation::is(Mutation::CommitBeforeWrite) {
            self.progress.send_modify(|progress| progress.next_offset = batch.next_offset);
        }
        let pipeline = self.pipeline;
        let replan = |batch: Batch, next_offset: i64, refused: &[Rejected]| {
            let mut reading = pipeline.reading(&batch.partition);
            let decode = |versioned: &mut Versioned| reading.decode(&versioned.record);
            plan::again(&pipeline.routes, batch, next_offset, refused, decode)
        };
        let anew = |batch: Batch| replan(batch, i64::MIN, &[]);
        let mut backoff = Backoff::new();
        let mut parent: Option<ParentPatience> = None;
        loop {
            if !batch.rejects.is_empty() {
                self.dead_letter(&batch, &batch.rejects).await?;
                batch = anew(batch);
            }
            size.sent_again = self.drop_sent_again(&mut batch).await?.unwrap_or(size.sent_again);
            let refused = self.complete(&mut batch).await?;
            if !refused.is_empty() {
                self.dead_letter(&batch, &refused).await?;
                batch = replan(batch, i64::MIN, &refused);
                continue;
            }
            match self.attempt(state, &batch).await {
                Outcome::Durable => break,
                Outcome::Rejected(refused) => {
                    self.dead_letter(&batch, &refused).await?;
                    batch = replan(batch, i64::MIN, &refused);
                }
                Outcome::Stop(why) => {
                    self.say(State::Stopped(why));
                    batch = self.wait_without(&mut room, batch, STOPPED_RETRY, anew).await?;
                }
                Outcome::Retry(Retry { next_offset, waiting_for, parent: missing }) => {
                    self.say(State::Waiting(waiting_for));
                    let delay = backoff.next_delay(rand::random());
                    let (delay, refused) = self.patience(delay, &mut parent, &batch, missing).await?;
                    let moved = batch.records.first().is_some_and(|first| first.record.offset < next_offset);
                    self.advance(&batch, next_offset);
                    match refused {
                        Some(rejected) => {
                            let rejected = [rejected];
                            self.dead_letter(&batch, &rejected).await?;
                            batch = replan(batch, next_offset, &rejected);
                        }
                        None if moved => {
                            batch = replan(batch, next_offset, &[]);
                            backoff.reset();
                            batch = self.wait_without(&mut room, batch, delay, anew).await?;
                        }
                        None => batch = self.wait_without(&mut room, batch, delay, anew).await?,
                    }
                }
            }
        }
        failpoint::reach(Stage::Written);
        self.finish(&batch, &size);
        self.keep().await
    }

    async fn attempt(&self, state: &mut S::Partition, batch: &Batch) -> Outcome {
        let begun = Instant::now();
        let outcome = self.pipeline.sink.write(state, batch).await;
        self.meters.write.observe(begun.elapsed());
        outcome
    }

    /// All of a batch is in the sink or in the dead-letter topic: the position goes behind it.
    fn finish(&mut self, batch: &Batch, size: &Size) {
        self.breaker.finish();
        self.progress.send_modify(|progress| {
            progress.next_offset = batch.next_offset;
            let after = |chain: Chain| size.last.map_or(chain, |(offset, version)| chain.after(offset, version));
            let after = |chain: Chain| after(chain).guarded(size.guard);
            progress.chain = progress.chain.map(after);
        });
        self.meters.wrote(&self.pipeline.routes, batch, i64::MAX);
        self.meters.finish(batch, size.records as u64);
        self.meters.sent_again.add(size.sent_again);
        self.held.release(size.records, size.held_bytes);
        self.say(State::Running);
    }

    /// Part of a batch is durable. Where versions are saved with the position they are known at its end only.
    fn advance(&self, batch: &Batch, next_offset: i64) {
        self.meters.wrote(&self.pipeline.routes, batch, next_offset);
        self.progress.send_modify(|progress| {
            if progress.chain.is_none() {
                progress.next_offset = progress.next_offset.max(next_offset);
            }
        });
    }

    /// How long a batch waits before it is written again, and the record that has waited too long for its parent.
    async fn patience(
        &self,
        delay: Duration,
        parent: &mut Option<ParentPatience>,
        batch: &Batch,
        missing: Option<ParentWait>,
    ) -> Result<(Duration, Option<Rejected>), Revoked> {
        match missing {
            Some(missing) => Ok((delay.min(PARENT_DELAY_MAX), self.parent_is_late(parent, batch, missing).await?)),
            None => {
                parent.iter_mut().for_each(ParentPatience::away);
                Ok((self.pipeline.bounds.turn(delay), None))
            }
        }
    }

    /// Looks at a record whose parent is missing: the reject, when it has waited long enough.
    async fn parent_is_late(
        &self,
        patience: &mut Option<ParentPatience>,
        batch: &Batch,
        missing: ParentWait,
    ) -> Result<Option<Rejected>, Revoked> {
        let offset = batch.records[missing.rejected.record].record.offset;
        let ends = self.topic_ends(&missing.topic).await?;
        let now = Instant::now().into_std();
        let late = match patience {
            Some(patience) if patience.offset() == offset => patience.is_over(now, missing.progress, ends.is_some()),
            _ => {
                *patience = ends.map(|ends| ParentPatience::begin(now, offset, ends, missing.progress));
                false
            }
        };
        Ok(late.then_some(missing.rejected))
    }

    /// The ends of a topic now, or `None` when Kafka does not tell.
    async fn topic_ends(&self, topic: &str) -> Result<Option<Vec<(i32, i64)>>, Revoked> {
        let (answer, ends) = oneshot::channel();
        let request = TopicEndsRequest { topic: topic.into(), answer };
        self.unless_revoked(async {
            self.pipeline.topic_ends.send(request).await.ok()?;
            ends.await.ok()
        })
        .await
    }

    /// Says that a person has to act, and waits for the next attempt.
    async fn stop(&self, why: String) -> Result<(), Revoked> {
        self.say(State::Stopped(why));
        self.wait(STOPPED_RETRY).await
    }

    async fn wait(&self, delay: Duration) -> Result<(), Revoked> {
        self.meters.retries.add(1);
        self.meters.backoff_ms.add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.unless_revoked(tokio::time::sleep(delay)).await
    }

    async fn unless_revoked<T>(&self, future: impl Future<Output = T>) -> Result<T, Revoked> {
        self.unless_revoked_for(Duration::ZERO, future).await
    }

    /// Gives up when the partition has been revoked for as long as this.
    async fn unless_revoked_for<T>(&self, grace: Duration, future: impl Future<Output = T>) -> Result<T, Revoked> {
        let given_up = async {
            self.until_revoked().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            biased;
            done = future => Ok(done),
            () = given_up => Err(Revoked),
        }
    }

    async fn until_revoked(&self) {
        // An error means that the sender is gone, and with it whoever gave us the partition.
        let _ = self.revoked.clone().wait_for(|revoked| *revoked).await;
    }

    /// Reports what the partition is doing; logged when it changes.
    fn say(&self, state: State) {
        self.progress.send_if_modified(|progress| {
            if progress.state == state {
                return false;
            }
            match &state {
                State::Running => tracing::info!(partition = %self.partition, "running"),
                State::Waiting(what) => tracing::warn!(partition = %self.partition, "waiting for {what}"),
                State::Stopped(why) => tracing::error!(partition = %self.partition, "stopped: {why}"),
            }
            progress.state = state;
            self.meters.state_since_ms.set(now_ms());
            true
        });
    }
}

/// What a batch was before records were taken out of it.
struct Size {
    records: usize,
    held_bytes: usize,
    /// Offset and version of its last record, and what the source has sent as of it.
    last: Option<(i64, Version)>,
    guard: Guard,
    sent_again: u64,
}

impl Size {
    fn of(batch: &Batch, guard: Option<Guard>) -> Size {
        Size {
            records: batch.records.len(),
            held_bytes: batch.records.iter().map(|versioned| versioned.record.held_bytes()).sum(),
            last: batch.records.last().map(|versioned| (versioned.record.offset, versioned.version)),
            guard: guard.unwrap_or_default(),
            sent_again: 0,
        }
    }
}

#[cfg(test)]
mod tests;
