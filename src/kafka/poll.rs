//! The one thread that polls. It hands records to the partitions' workers and their positions to the committing thread,
//! and never stops polling: a partition that has enough is paused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::{mpsc, watch};

use crate::failpoint::{self, Stage};
use crate::kafka::control::{Control, Request};
use crate::kafka::ends_watch::EndsWatch;
use crate::kafka::partition::plain_offset;
use crate::kafka::rebalance::Context;
use crate::kafka::start::{self, Unready};
use crate::kafka::topic_watch::TopicWatch;
use crate::kafka::{ConsumerSettings, commit, group_client, verdict};
use crate::pipeline::meters::{Doing, Meters, now_ms};
use crate::pipeline::{Pipeline, State};
use crate::retry::Backoff;
use crate::sink::{Failure, Sink};

/// How the consumer ended, when it was not told by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Shutdown,
    /// Every partition has reached the end that it had at its assignment.
    CaughtUp,
    /// All others have, and at least one is stopped.
    CaughtUpButStopped,
}

/// Why the consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("refused: {0}")]
    Refused(String),
    #[error("the Kafka client cannot be made: {0}")]
    Client(KafkaError),
    #[error(
        "a partition's offset is not in its topic any more, and the client does not say which: its records expired \
         or the topic was made anew; start again to see which partition it is"
    )]
    OffsetGone,
    #[error("the Kafka client has failed for good: {0}")]
    Fatal(KafkaError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("Kafka: {0}")]
    Stopped(String),
}

const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Partitions whose waits a status line spells out.
const STATUS_WAITS_MAX: usize = 5;
/// Longest wait for a record when nothing else is due.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait for a record while a partition waits for room.
const POLL_TIMEOUT_BUSY: Duration = Duration::from_millis(5);
/// Records taken before they are handed over and the rest of the loop has its turn.
const DRAIN_RECORDS_MAX: usize = 2_000;

/// Consumes until `shutdown` turns true, or until the end when the settings say so. Blocks its thread.
pub fn run<S: Sink>(
    settings: ConsumerSettings,
    pipeline: Arc<Pipeline<S>>,
    meters: Arc<Meters>,
    control: &Control,
    runtime: tokio::runtime::Handle,
    shutdown: watch::Receiver<bool>,
) -> Result<Ended, PollError> {
    if !wait_for_topics(&settings, &*pipeline.sink, &meters, &runtime, &shutdown)? {
        return Ok(Ended::Shutdown);
    }
    meters.does(Doing::Running);
    let config = group_client(&settings);
    let topics = settings.topics.clone();
    let (committer, commits) = commit::channel();
    let context = Context::new(settings, pipeline, meters, runtime, shutdown.clone(), committer);
    let consumer: BaseConsumer<Context<S>> = config.create_with_context(context).map_err(PollError::Client)?;
    let consumer = Arc::new(consumer);
    let shared = consumer.clone();
    let commits = move || commits.run(&shared, &shared.context().meters);
    let committing = std::thread::Builder::new().name("commit".into()).spawn(commits).map_err(PollError::Thread)?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(PollError::Client)?;
    let watch = TopicWatch::new(&consumer);
    let orders = control.listen();
    let (ends, status_at) = (EndsWatch::new(), Instant::now());
    let poll = Poll { consumer: &consumer, topics, watch, ends, orders, finished: 0, status_at };
    let ended = poll.run(&shutdown);
    consumer.context().owned().is_closed = true;
    consumer.context().meters.does(Doing::Stopping);
    match &ended {
        Err(PollError::OffsetGone) => consumer.context().abandon_all(),
        Ok(_) | Err(_) => consumer.context().revoke_all(&consumer),
    }
    let mut committer = consumer.context().committer();
    committer.close();
    if committer.is_under_way() {
        // The process ends without it.
        tracing::warn!("the last commit was not answered: what it says is done again by the next owner");
    } else if committing.join().is_err() {
        tracing::error!("the committing thread panicked: what it had to say is done again by the next owner");
    }
    drop(committer);
    ended
}

/// Waits until the topics are there and begun. False when asked to stop.
fn wait_for_topics<S: Sink>(
    settings: &ConsumerSettings,
    sink: &S,
    meters: &Meters,
    runtime: &tokio::runtime::Handle,
    shutdown: &watch::Receiver<bool>,
) -> Result<bool, PollError> {
    let mut backoff = Backoff::new();
    let mut said = String::new();
    loop {
        match start::prepare(settings, sink, runtime) {
            Ok(()) => return Ok(!*shutdown.borrow()),
            Err(Unready::Refused(why)) => return Err(PollError::Refused(why)),
            Err(Unready::NotYet(what)) => {
                meters.starts(Some(&what));
                if said != what {
                    tracing::warn!("waiting for {what}");
                    said = what;
                }
            }
        }
        let delay = backoff.next_delay(rand::random()).min(STATUS_INTERVAL);
        let mut shutdown = shutdown.clone();
        let asked = async { tokio::time::timeout(delay, shutdown.wait_for(|asked| *asked)).await.is_ok() };
        if runtime.block_on(asked) {
            return Ok(false);
        }
    }
}

struct Poll<'c, S: Sink> {
    consumer: &'c BaseConsumer<Context<S>>,
    topics: Vec<&'c str>,
    watch: TopicWatch<'c, S>,
    ends: EndsWatch,
    orders: mpsc::Receiver<Request>,
    /// Records finished as of the last status line, and when that was.
    finished: u64,
    status_at: Instant,
}

impl<S: Sink> Poll<'_, S> {
    fn run(mut self, shutdown: &watch::Receiver<bool>) -> Result<Ended, PollError> {
        let mut commit_at = Instant::now() + COMMIT_INTERVAL;
        let mut busy = false;
        while !*shutdown.borrow() {
            self.consumer.context().meters.polled_ms.set(now_ms());
            self.take_records(if busy { POLL_TIMEOUT_BUSY } else { POLL_TIMEOUT })?;
            busy = self.serve_partitions();
            self.obey();
            let now = Instant::now();
            self.consumer.context().hear_commit();
            if now >= commit_at {
                self.consumer.context().begin_commit(self.consumer);
                commit_at = Instant::now() + COMMIT_INTERVAL;
            }
            self.watch.look(now);
            self.ends.look(self.consumer.context(), now);
            if now >= self.status_at + STATUS_INTERVAL {
                self.say_status(now);
            }
            if std::mem::take(&mut self.consumer.context().owned().rejoin) {
                self.rejoin()?;
            }
            if self.consumer.context().settings.exit_when_caught_up
                && let Some(ended) = self.caught_up()
            {
                return Ok(ended);
            }
        }
        Ok(Ended::Shutdown)
    }

    /// Waits for a record, then takes what else is there without waiting.
    fn take_records(&mut self, timeout: Duration) -> Result<(), PollError> {
        let mut polled = self.consumer.poll(timeout);
        for _ in 0..DRAIN_RECORDS_MAX {
            match polled {
                None => break,
                Some(polled) => self.take(polled)?,
            }
            polled = self.consumer.poll(Duration::ZERO);
        }
        if let Some(polled) = polled {
            self.take(polled)?;
        }
        Ok(())
    }

    fn take(&mut self, polled: KafkaResult<BorrowedMessage<'_>>) -> Result<(), PollError> {
        let message = match polled {
            Ok(message) => message,
            Err(error) => return self.error(error),
        };
        let context = self.consumer.context();
        context.is_there();
        let mut owned = context.owned();
        let share = context.settings.held_bytes_max / owned.len().max(1);
        // A record of a partition that was just revoked is dropped: its next owner reads it.
        if let Some(partition) = owned.get_mut(message.topic(), message.partition())
            && !partition.take(&message, share)
        {
            self.consumer.pause(&one(message.topic(), message.partition())).map_err(PollError::Fatal)?;
        }
        failpoint::reach(Stage::Polled);
        Ok(())
    }

    fn error(&mut self, error: KafkaError) -> Result<(), PollError> {
        match error {
            KafkaError::PartitionEOF(_) => {}
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => return Err(PollError::OffsetGone),
            KafkaError::MessageConsumptionFatal(_) => return Err(PollError::Fatal(error)),
            other => match verdict::polled(&other) {
                // The client goes on by itself.
                Failure::Retry(what) => self.consumer.context().is_away(what),
                Failure::Stop(why) => return Err(PollError::Stopped(why)),
            },
        }
        Ok(())
    }

    /// Hands over records and lets partitions go on that have room again. True while one of them waits for room.
    fn serve_partitions(&mut self) -> bool {
        let context = self.consumer.context();
        let mut owned = context.owned();
        let share = context.settings.held_bytes_max / owned.len().max(1);
        let mut resumed = TopicPartitionList::new();
        let mut busy = false;
        for partition in owned.iter_mut() {
            if partition.is_paused() && partition.resumes(share) && !partition.is_held() {
                resumed.add_partition(&partition.id.topic, partition.id.partition);
            }
            partition.hand_over();
            busy |= partition.has_staged() || partition.is_paused();
        }
        if resumed.count() > 0
            && let Err(error) = self.consumer.resume(&resumed)
        {
            // The partitions would stand still for ever: joining anew resets what is paused.
            tracing::error!("partitions could not be resumed: {error}");
            owned.rejoin = true;
        }
        busy
    }

    /// Carries out what operators have asked for.
    fn obey(&mut self) {
        while let Ok(Request { order, answer }) = self.orders.try_recv() {
            // Whoever asked may have gone.
            let _ = answer.send(self.consumer.context().obey(self.consumer, &order));
        }
    }

    fn rejoin(&self) -> Result<(), PollError> {
        self.consumer.context().revoke_all(self.consumer);
        self.consumer.unsubscribe();
        self.consumer.subscribe(&self.topics).map_err(PollError::Client)
    }

    fn caught_up(&self) -> Option<Ended> {
        let mut owned = self.consumer.context().owned();
        if owned.is_empty() {
            return None;
        }
        let positions = self.consumer.position().ok()?;
        let mut stopped = false;
        for partition in owned.iter_mut() {
            let position = positions.find_partition(&partition.id.topic, partition.id.partition);
            let position = position.and_then(|element| plain_offset(element.offset()));
            if !partition.is_caught_up(position) {
                match partition.progress().state {
                    State::Stopped(_) => stopped = true,
                    State::Running | State::Waiting(_) => return None,
                }
            }
        }
        Some(if stopped { Ended::CaughtUpButStopped } else { Ended::CaughtUp })
    }

    fn say_status(&mut self, now: Instant) {
        let context = self.consumer.context();
        let (mut finished, mut dead_lettered, mut passed_over) = (0, 0, 0);
        let (mut sent_again, mut guard_reads, mut lag_records) = (0, 0, 0);
        let mut waits: Vec<String> = Vec::new();
        for reading in context.meters.read() {
            finished += reading.meters.finished.get();
            dead_lettered += reading.meters.dead_lettered.get();
            passed_over += reading.meters.passed_over.get();
            sent_again += reading.meters.sent_again.get();
            guard_reads += reading.meters.guard_reads.get();
            lag_records += reading.lag_records().unwrap_or(0);
            match reading.live.map(|live| live.progress().state) {
                None | Some(State::Running) => {}
                Some(State::Waiting(what)) => waits.push(format!("{}: waiting for {what}", reading.id)),
                Some(State::Stopped(why)) => waits.push(format!("{}: stopped: {why}", reading.id)),
            }
        }
        waits.extend(context.away().map(|text| format!("Kafka: {text}")));
        let more = waits.len().saturating_sub(STATUS_WAITS_MAX);
        waits.truncate(STATUS_WAITS_MAX);
        if more > 0 {
            waits.push(format!("and {more} more"));
        }
        let seconds = now.duration_since(self.status_at).as_secs_f64();
        let rate = finished.saturating_sub(self.finished) as f64 / seconds;
        tracing::info!(
            records_per_second = format_args!("{rate:.0}"),
            lag_records,
            partitions = context.owned().len(),
            records = finished,
            dead_lettered,
            passed_over,
            // Only where a guard has had something to do.
            sent_again = (guard_reads > 0).then_some(sent_again),
            guard_reads = (guard_reads > 0).then_some(guard_reads),
            waiting = waits.join("; "),
            "status"
        );
        self.finished = finished;
        self.status_at = now;
    }
}

fn one(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}
