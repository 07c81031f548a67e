//! Commits, on a thread of their own: one blocks for as long as no coordinator answers, and polling has to go on
//! meanwhile. One is under way at a time, so that they arrive in the order in which they were made (K4).

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use crate::failpoint::{self, Stage};
use crate::kafka::partition::Partition;
use crate::ownership::Epoch;
use crate::pipeline::meters::Meters;
use crate::record::TopicPartition;

/// Whoever has to wait for a commit waits no longer than this (K5): what it says is done again by the next owner.
pub const COMMIT_GRACE: Duration = Duration::from_secs(5);

/// The poll thread's end.
#[derive(Debug)]
pub struct Committer {
    /// `None` once it is closed.
    lists: Option<SyncSender<TopicPartitionList>>,
    answers: Receiver<KafkaResult<()>>,
    under_way: Option<News>,
}

/// The committing thread's end.
#[derive(Debug)]
pub struct Commits {
    lists: Receiver<TopicPartitionList>,
    answers: SyncSender<KafkaResult<()>>,
}

/// What a commit says of each partition.
type News = HashMap<TopicPartition, Reached>;

#[derive(Debug)]
struct Reached {
    epoch: Epoch,
    next_offset: i64,
    metadata: String,
}

/// What came of a commit.
#[derive(Debug)]
pub struct Answer {
    news: News,
    result: KafkaResult<()>,
}

/// Both ends.
pub fn channel() -> (Committer, Commits) {
    let (list_sender, lists) = sync_channel(1);
    let (answers, answer_receiver) = sync_channel(1);
    (Committer { lists: Some(list_sender), answers: answer_receiver, under_way: None }, Commits { lists, answers })
}

impl Commits {
    /// Commits what is sent, one list after the other, until the other end is closed.
    pub fn run<C: ConsumerContext>(self, consumer: &BaseConsumer<C>, meters: &Meters) {
        for list in self.lists {
            failpoint::reach(Stage::BeforeCommit);
            let begun = Instant::now();
            let result = consumer.commit(&list, CommitMode::Sync);
            if result.is_ok() {
                meters.commits.observe(begun.elapsed());
                failpoint::reach(Stage::AfterCommit);
            } else {
                meters.commits_failed.add(1);
            }
            if self.answers.send(result).is_err() {
                return;
            }
        }
    }
}

impl Committer {
    /// Begins to commit what the partitions have finished, unless a commit is under way. True when one was begun.
    pub fn begin<'p, C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        partitions: impl Iterator<Item = &'p mut Partition>,
    ) -> bool {
        if self.under_way.is_some() {
            return false;
        }
        let news: News = partitions
            .filter_map(|partition| {
                let (next_offset, metadata) = partition.pending_commit()?;
                Some((partition.id.clone(), Reached { epoch: partition.epoch(), next_offset, metadata }))
            })
            .collect();
        if news.is_empty() {
            return false;
        }
        let sent = list(consumer, &news).and_then(|list| {
            let lists = self.lists.as_ref().ok_or(CLOSED)?;
            lists.send(list).map_err(|_| CLOSED)
        });
        match sent {
            Ok(()) => self.under_way = Some(news),
            Err(error) => tried_again(&error),
        }
        self.under_way.is_some()
    }

    /// Commits exactly this and waits for it; `None` when it is not known by then what came of it. None may be under way.
    pub fn commit(&mut self, list: TopicPartitionList, deadline: Instant) -> Option<KafkaResult<()>> {
        let lists = self.lists.as_ref().filter(|_| self.under_way.is_none());
        if lists.is_none_or(|lists| lists.send(list).is_err()) {
            return Some(Err(CLOSED));
        }
        // It is news for no partition.
        self.under_way = Some(News::new());
        self.wait(deadline).map(|answer| answer.result)
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// What came of the commit under way, if it is known by now.
    pub fn answer(&mut self) -> Option<Answer> {
        self.under_way.as_ref()?;
        let result = self.answers.try_recv().ok()?;
        Some(Answer { news: self.under_way.take()?, result })
    }

    /// Waits for what comes of the commit under way; `None` when there is none, and when it is not known by then.
    pub fn wait(&mut self, deadline: Instant) -> Option<Answer> {
        self.under_way.as_ref()?;
        let result = match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err(CLOSED),
        };
        Some(Answer { news: self.under_way.take()?, result })
    }

    /// Lets the committing thread end.
    pub fn close(&mut self) {
        self.lists = None;
    }
}

impl Answer {
    /// Tells the partitions, of which those of another assignment do not listen. What did not go through is committed
    /// with the next call. True when the broker has it.
    pub fn tell<'p>(self, partitions: impl Iterator<Item = &'p mut Partition>) -> bool {
        if let Err(error) = &self.result {
            tried_again(error);
            return false;
        }
        for partition in partitions {
            if let Some(reached) = self.news.get(&partition.id)
                && reached.epoch == partition.epoch()
            {
                partition.committed(reached.next_offset);
            }
        }
        true
    }
}

/// The committing thread is gone.
const CLOSED: KafkaError = KafkaError::Canceled;

fn tried_again(error: &KafkaError) {
    tracing::warn!("a commit did not go through and is tried again: {error}");
}

/// The client's positions with these offsets and metadata. They carry leader epochs, which no other way of committing
/// can set (K3). An element without news gets no offset, and the client leaves it out.
fn list<C: ConsumerContext>(consumer: &BaseConsumer<C>, news: &News) -> KafkaResult<TopicPartitionList> {
    let list = consumer.position()?;
    for mut element in list.elements() {
        let id = TopicPartition { topic: element.topic().into(), partition: element.partition() };
        match news.get(&id) {
            Some(reached) => {
                element.set_offset(Offset::Offset(reached.next_offset))?;
                element.set_metadata(&reached.metadata);
            }
            None => element.set_offset(Offset::Invalid)?,
        }
    }
    Ok(list)
}
