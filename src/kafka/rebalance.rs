//! What a rebalance does, inside the client's callbacks and so on the poll thread: partitions are given a worker at
//! the place where the group left off, and taken from it with their last position committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::failpoint::{self, Stage};
use crate::kafka::ConsumerSettings;
use crate::kafka::access::judge;
use crate::kafka::commit::{COMMIT_GRACE, Committer};
use crate::kafka::owned::Owned;
use crate::kafka::partition::{Partition, Start, plain_offset};
use crate::kafka::place::{Found, Place, begin, place, recovered};
use crate::kafka::topic_id;
use crate::pipeline::Pipeline;
use crate::pipeline::meters::Meters;
use crate::record::TopicPartition;
use crate::retry::Backoff;
use crate::sink::{Checkpoint, Failure, Sink};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The callback may hold the poll thread this long while no coordinator answers; then the group is joined anew.
const ASSIGN_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two questions, for some errors come at once while the client knows no broker.
const ASSIGN_DELAY_MAX: Duration = Duration::from_secs(1);
/// Each broker and each request may have words of its own for the same outage.
const AWAY_SAID_INTERVAL: Duration = Duration::from_secs(10);

/// The client's context: everything that its callbacks and the poll loop share. Both run on one thread, so no lock is
/// ever waited for.
pub struct Context<S> {
    pub settings: ConsumerSettings,
    pub pipeline: Arc<Pipeline<S>>,
    pub meters: Arc<Meters>,
    pub runtime: Handle,
    shutdown: watch::Receiver<bool>,
    owned: Mutex<Owned>,
    committer: Mutex<Committer>,
    away: Mutex<Option<Away>>,
    /// What the last connection that was refused was refused for.
    refusal: Mutex<Option<String>>,
}

/// Kafka is away: since when, and what the client says.
#[derive(Debug, Clone)]
struct Away {
    since: Instant,
    said_at: Instant,
    text: String,
}

impl<S: Sink> Context<S> {
    pub fn new(
        settings: ConsumerSettings,
        pipeline: Arc<Pipeline<S>>,
        meters: Arc<Meters>,
        runtime: Handle,
        shutdown: watch::Receiver<bool>,
        committer: Committer,
    ) -> Self {
        Context {
            settings,
            pipeline,
            meters,
            runtime,
            shutdown,
            owned: Mutex::default(),
            committer: Mutex::new(committer),
            away: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    pub fn owned(&self) -> MutexGuard<'_, Owned> {
        // A panic elsewhere leaves nothing half-changed here that the next owner would read wrongly.
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn committer(&self) -> MutexGuard<'_, Committer> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what came of the commit under way, if it is known by now.
    pub fn hear_commit(&self) {
        let answer = self.committer().answer();
        if answer.is_some_and(|answer| answer.tell(self.owned().iter_mut())) {
            self.is_there();
        }
    }

    /// Begins to commit what was finished, unless a commit is under way.
    pub fn begin_commit(&self, consumer: &BaseConsumer<Self>) {
        self.committer().begin(consumer, self.owned().iter_mut());
    }

    /// Commits the last of what was finished of partitions that are given up. A rebalance or a coordinator that has just
    /// moved refuses it for a moment, so it is tried again until the grace is over.
    fn commit_last(&self, consumer: &BaseConsumer<Self>, revoked: &mut [Partition]) {
        let deadline = Instant::now() + COMMIT_GRACE;
        let mut backoff = Backoff::new();
        loop {
            // At first it is one that was begun before.
            let went_through = self.finish_commit(deadline, revoked);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if !went_through {
                std::thread::sleep(backoff.next_delay(rand::random()).min(left));
            }
            if !self.committer().begin(consumer, revoked.iter_mut()) {
                return;
            }
        }
    }

    /// Waits for what comes of the commit under way, of the partitions that are ours and of these. False when it did not
    /// go through.
    pub(super) fn finish_commit(&self, deadline: Instant, revoked: &mut [Partition]) -> bool {
        let answer = self.committer().wait(deadline);
        answer.is_none_or(|answer| answer.tell(self.owned().iter_mut().chain(revoked)))
    }

    /// Why Kafka is away, when it is.
    pub fn away(&self) -> Option<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|away| away.text.clone())
    }

    /// The client says that it cannot reach Kafka. Said once, and when it says something else at a later time; the
    /// status line repeats it.
    pub fn is_away(&self, text: String) {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let is_said = away.as_ref().is_some_and(|away| away.text == text || now < away.said_at + AWAY_SAID_INTERVAL);
        if !is_said {
            tracing::warn!("waiting for Kafka: {text}");
        }
        let known = away.as_ref().map_or((now, now), |away| (away.since, away.said_at));
        let (since, said_at) = if is_said { known } else { (known.0, now) };
        self.meters.kafka_is_away(Some(&text));
        *away = Some(Away { since, said_at, text });
    }

    /// Kafka has answered.
    pub fn is_there(&self) {
        if let Some(away) = self.away.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.meters.kafka_is_away(None);
            tracing::info!("Kafka is back after {} s", away.since.elapsed().as_secs());
        }
    }

    fn is_ending(&self) -> bool {
        self.owned().is_closed || *self.shutdown.borrow()
    }

    /// Ends every worker and commits what they finished.
    pub fn revoke_all(&self, consumer: &BaseConsumer<Self>) {
        let partitions = self.owned().drain();
        self.revoke(consumer, partitions);
    }

    /// Ends every worker and commits nothing: when the offsets may be those of another topic by now.
    pub fn abandon_all(&self) {
        self.owned().drain().iter_mut().for_each(Partition::abandon);
    }

    /// Stops every partition of a topic, until the process is started again.
    pub fn stop_topic(&self, consumer: &BaseConsumer<Self>, topic: &str, why: &str, commits: bool) {
        let mut list = TopicPartitionList::new();
        for partition in self.owned().iter_mut().filter(|partition| &*partition.id.topic == topic) {
            list.add_partition(topic, partition.id.partition);
        }
        let mut partitions = self.owned().remove(&list);
        let ids: Vec<TopicPartition> = partitions.iter().map(|partition| partition.id.clone()).collect();
        if commits {
            self.revoke(consumer, partitions);
        } else {
            partitions.iter_mut().for_each(Partition::abandon);
        }
        ids.into_iter().for_each(|id| self.owned().insert(self.refused(id, why.into())));
        if let Err(error) = consumer.pause(&list) {
            // What is read of them is dropped, for they have no worker.
            tracing::debug!("{topic} could not be paused: {error}");
        }
    }

    fn refused(&self, id: TopicPartition, why: String) -> Partition {
        Partition::refused(id, why, &self.pipeline, &self.meters)
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        // One of an assignment that was lost would otherwise arrive behind the offsets that are asked for now.
        self.finish_commit(Instant::now() + COMMIT_GRACE, &mut []);
        let starts = if self.is_ending() { None } else { self.starts(consumer, list) };
        let Some(starts) = starts else {
            self.owned().rejoin = true;
            return take_over(consumer, &TopicPartitionList::new());
        };
        let mut unread = TopicPartitionList::new();
        let mut owned = self.owned();
        for (id, start) in starts {
            let partition = match start {
                Ok(start) => {
                    list.set_partition_offset(&id.topic, id.partition, Offset::Offset(start.next_offset))?;
                    tracing::info!(partition = %id, next_offset = start.next_offset, "assigned");
                    owned.epoch += 1;
                    let partition =
                        Partition::spawn(id, owned.epoch, start, &self.pipeline, &self.meters, &self.runtime);
                    if partition.is_held() {
                        tracing::warn!(partition = %partition.id, "still paused by an operator");
                        unread.add_partition(&partition.id.topic, partition.id.partition);
                    }
                    partition
                }
                Err(why) => {
                    list.set_partition_offset(&id.topic, id.partition, Offset::End)?;
                    unread.add_partition(&id.topic, id.partition);
                    self.refused(id, why)
                }
            };
            owned.insert(partition);
        }
        drop(owned);
        // What was paused when it was taken from us is still paused for the client, and would never be read again.
        consumer.resume(&list.clone())?;
        take_over(consumer, list)?;
        consumer.pause(&unread)
    }

    /// Where each partition starts, or why it cannot. `None` when Kafka did not say in time, or before we had to stop.
    fn starts(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> Option<Vec<(TopicPartition, Result<Start, String>)>> {
        let deadline = Instant::now() + ASSIGN_TIMEOUT;
        let mut backoff = Backoff::new();
        let mut until = |what: &str, error: KafkaError| {
            tracing::warn!("waiting for Kafka to tell {what}: {error}");
            std::thread::sleep(backoff.next_delay(rand::random()).min(ASSIGN_DELAY_MAX));
            (Instant::now() < deadline && !self.is_ending()).then_some(())
        };
        let mut topics: Vec<String> = list.elements().iter().map(|element| element.topic().into()).collect();
        topics.dedup();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let identities = loop {
            match topic_id::describe(consumer, &names, REQUEST_TIMEOUT) {
                Ok(identities) => break identities,
                Err(error) => until("what its topics are", error)?,
            }
        };
        // Those of others too: a partition without a commit beside some with one was added.
        let mut all = list.clone();
        for (topic, identity) in &identities {
            for partition in (0..identity.partitions).filter(|at| list.find_partition(topic, *at).is_none()) {
                all.add_partition(topic, partition);
            }
        }
        let committed = loop {
            let each = |list: TopicPartitionList| {
                list.elements().iter().try_for_each(|element| element.error())?;
                Ok(list)
            };
            match consumer.committed_offsets(all.clone(), REQUEST_TIMEOUT).and_then(each) {
                Ok(committed) => break committed,
                Err(error) => until("the group's offsets", error)?,
            }
        };
        let mut begun: HashMap<&str, usize> = HashMap::new();
        let elements = committed.elements();
        for element in elements.iter().filter(|element| plain_offset(element.offset()).is_some()) {
            *begun.entry(element.topic()).or_default() += 1;
        }
        let mut starts = Vec::with_capacity(list.count());
        for element in elements.iter().filter(|at| list.find_partition(at.topic(), at.partition()).is_some()) {
            let id = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            let (low, high) = loop {
                match consumer.fetch_watermarks(&id.topic, id.partition, REQUEST_TIMEOUT) {
                    Ok(watermarks) => break watermarks,
                    Err(error) => until("where its partitions begin and end", error)?,
                }
            };
            let next_offset = plain_offset(element.offset());
            let metadata = next_offset.and_then(|_| metadata_of(element));
            let found = Found {
                group_id: &self.settings.group_id,
                versions: self.settings.versions,
                next_offset,
                metadata: metadata.as_deref(),
                begun: begun.get(element.topic()).copied().unwrap_or_default(),
                identity: identities.get(element.topic()),
                low,
                high,
            };
            let start = self.start(&id, &found)?;
            starts.push((id, start));
        }
        drop(elements);
        Some(starts)
    }

    /// Decides where a partition starts. A commit that lost its versions is mended from what the sink has kept (V2);
    /// `None` when the sink cannot tell now.
    fn start(&self, id: &TopicPartition, found: &Found<'_>) -> Option<Result<Start, String>> {
        let mut placed = place(id, found);
        let kept = match &placed {
            Place::Lost(..) | Place::Unbegun => match kept(&*self.pipeline.sink, &self.runtime, &id.topic) {
                Ok(kept) => kept,
                Err(Failure::Retry(what)) => {
                    tracing::warn!(partition = %id, "waiting for {what}, to find its versions");
                    return None;
                }
                Err(Failure::Stop(why)) => return Some(Err(why)),
            },
            Place::At(_) | Place::Refused(_) => BTreeMap::new(),
        };
        if let Place::Lost(next_offset, error) = placed {
            placed = recovered(id, found, next_offset, &error, kept.get(&id.partition));
            if let Place::At(start) = &placed {
                tracing::warn!(
                    partition = %id,
                    "{error}: another tool has set the group to offset {next_offset}; it goes on at {} with the versions \
                     that the sink has kept",
                    start.next_offset
                );
            }
        }
        Some(match placed {
            Place::At(start) => Ok(*start),
            Place::Lost(_, error) => Err(error.to_string()),
            Place::Unbegun => Err(match begin(id, found, &kept, std::iter::empty()) {
                Err(why) => why,
                Ok(_) => format!(
                    "group {} has no commit for it, and it was not there when the group began: stop every member and \
                     start one again, which begins it",
                    found.group_id
                ),
            }),
            Place::Refused(why) => Err(why),
        })
    }

    pub(super) fn revoke(&self, consumer: &BaseConsumer<Self>, mut partitions: Vec<Partition>) {
        partitions.iter().for_each(Partition::revoke);
        let deadline = tokio::time::Instant::now() + self.settings.revoke_grace;
        for partition in &mut partitions {
            let id = partition.id.clone();
            let Some(worker) = partition.worker() else { continue };
            // Polling is what the group waits for, so this wait is bounded; the worker needs nothing of this thread.
            let ended = self.runtime.block_on(async { tokio::time::timeout_at(deadline, &mut *worker).await });
            if ended.is_err() {
                worker.abort();
                tracing::warn!(partition = %id, "what it was writing was dropped after the grace; it is written again");
            }
        }
        failpoint::reach(Stage::Revoking);
        // Of a lost assignment no commit is taken any more, and one that is under way is nothing to wait for.
        if !consumer.assignment_lost() {
            self.commit_last(consumer, &mut partitions);
        }
        for partition in &partitions {
            tracing::info!(partition = %partition.id, next_offset = partition.progress().next_offset, "revoked");
        }
    }
}

/// What the sink has kept of a topic's partitions.
pub fn kept<S: Sink>(sink: &S, runtime: &Handle, topic: &str) -> Result<BTreeMap<i32, Checkpoint>, Failure> {
    let asked = runtime.block_on(async { tokio::time::timeout(REQUEST_TIMEOUT, sink.kept(topic)).await });
    asked.unwrap_or_else(|_| Err(Failure::Retry("the sink".into())))
}

/// What a commit carries beside its offset; `None` when that is no text. The client panics over metadata that is no
/// UTF-8, which only another tool writes.
pub fn metadata_of(committed: &TopicPartitionListElem<'_>) -> Option<String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| committed.metadata().to_string())).ok()
}

fn take_over<S: Sink>(consumer: &BaseConsumer<Context<S>>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list),
    }
}

impl<S: Sink> ClientContext for Context<S> {
    fn stats(&self, statistics: Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.is_there();
        }
        let mut owned = self.owned();
        for (name, topic) in &statistics.topics {
            // The end of what can be read: records of a transaction that is open are behind it.
            for (number, told) in topic.partitions.iter().filter(|(_, told)| told.ls_offset >= 0) {
                // Of one that is not read the client tells what it knew before.
                if let Some(partition) = owned.get_mut(name, *number).filter(|partition| partition.is_read()) {
                    partition.ends_at(told.ls_offset);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        match error.rdkafka_error_code() {
            // One broker may refuse us while others serve, so a refusal is told when none does.
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                let why = refusal.take().map_or_else(String::new, |why| format!(" ({why})"));
                self.is_away(format!("no broker answers{why}"));
            }
            _ => {
                tracing::debug!("{error}: {reason}");
                if let Some(Failure::Stop(why)) = judge(&error, reason) {
                    *refusal = Some(why);
                }
            }
        }
    }
}

impl<S: Sink> ConsumerContext for Context<S> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.meters.assigned.add(1);
                self.assign(consumer, list)
            }
            _ => {
                let counted = if consumer.assignment_lost() { &self.meters.lost } else { &self.meters.revoked };
                counted.add(1);
                let partitions = self.owned().remove(list);
                self.revoke(consumer, partitions);
                match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
                }
            }
        };
        if let Err(error) = done {
            tracing::error!("a rebalance could not be carried out, the group is joined again: {error}");
            self.owned().rejoin = true;
        }
    }
}
