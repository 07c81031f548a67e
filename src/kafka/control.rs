//! What operators ask of the polling thread while it runs: to read no more of a topic, to go on, to read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, oneshot};

use crate::kafka::commit::COMMIT_GRACE;
use crate::kafka::describe::{CommitFacts, PartitionFacts, Presence, TopicFacts};
use crate::kafka::partition::{Partition, plain_offset};
use crate::kafka::rebalance::{Context, metadata_of};
use crate::kafka::seek::{self, Move, To};
use crate::kafka::topic_id;
use crate::pipeline::meters::Live;
use crate::record::TopicPartition;
use crate::sink::Sink;

/// Orders that wait for the polling thread; more are turned away.
const ORDERS_MAX: usize = 8;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the polling thread. There is one thread at a time: topics that are found later come with a new one.
#[derive(Debug, Default)]
pub struct Control(Mutex<Option<mpsc::Sender<Request>>>);

/// An order, and whom to tell what came of it.
#[derive(Debug)]
pub struct Request {
    pub order: Order,
    pub answer: oneshot::Sender<Result<String, Unmet>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub wish: Wish,
    pub of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// No more is read of it. What is in hand is finished. It lasts until `Resume`, or until the process ends.
    Pause,
    Resume,
    /// It is read again from there. Records that nobody has read are passed over only when that is said.
    Seek {
        to: To,
        skip_records: bool,
    },
}

/// Which of the partitions that this process owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Of a topic, all or one.
    Topic(String, Option<i32>),
    /// Of every topic that feeds this table.
    Table(String),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// It cannot be done. The text says why, and how to mend it.
    Refused(String),
    /// It may be done later.
    Later(String),
}

impl Control {
    /// Has an order carried out, and tells what was done.
    pub async fn ask(&self, order: Order) -> Result<String, Unmet> {
        let (answer, answered) = oneshot::channel();
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let orders = orders.ok_or_else(|| Unmet::Later("it has not begun to read".into()))?;
        let sent = orders.try_send(Request { order, answer });
        sent.map_err(|_| Unmet::Later("it is stopping, or others wait for their turn".into()))?;
        answered.await.unwrap_or_else(|_| Err(Unmet::Later("it stopped before that was done".into())))
    }

    /// Where the orders arrive from now on.
    pub fn listen(&self) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

impl<S: Sink> Context<S> {
    /// Carries out an order. Blocks its thread, as a rebalance does.
    pub fn obey(&self, consumer: &BaseConsumer<Self>, order: &Order) -> Result<String, Unmet> {
        let ids = self.meant(&order.of)?;
        match order.wish {
            Wish::Pause => self.hold(consumer, &ids),
            Wish::Resume => self.let_go(consumer, &ids),
            Wish::Seek { to, skip_records } => self.move_to(consumer, &ids, to, skip_records),
        }
    }

    /// Those of our partitions that an order is about.
    fn meant(&self, of: &Of) -> Result<Vec<TopicPartition>, Unmet> {
        let routes = &self.pipeline.routes;
        let feeds = |at: &usize, table: &str| routes.routes[*at].table == table;
        let (topics, number): (BTreeSet<&str>, _) = match of {
            Of::Topic(topic, number) => (BTreeSet::from([topic.as_str()]), *number),
            Of::Table(table) => {
                let feeding = routes.topics.iter().filter(|topic| topic.routes.iter().any(|at| feeds(at, table)));
                (feeding.map(|topic| topic.name.as_str()).collect(), None)
            }
        };
        let mut owned = self.owned();
        let ours = owned.iter_mut().map(|partition| partition.id.clone());
        let is_meant = |id: &TopicPartition| topics.contains(&*id.topic) && number.is_none_or(|it| it == id.partition);
        let mut ids: Vec<TopicPartition> = ours.filter(is_meant).collect();
        ids.sort();
        if ids.is_empty() {
            let what = match of {
                Of::Topic(topic, None) => format!("topic \"{topic}\""),
                Of::Topic(topic, Some(number)) => format!("{topic}[{number}]"),
                Of::Table(table) => format!("table \"{table}\""),
            };
            return Err(Unmet::Refused(format!(
                "nothing of {what} is read by this process now: /status has what is; ask the instance that owns it"
            )));
        }
        Ok(ids)
    }

    fn hold(&self, consumer: &BaseConsumer<Self>, ids: &[TopicPartition]) -> Result<String, Unmet> {
        let mut owned = self.owned();
        for id in ids {
            if let Some(partition) = owned.get_mut(&id.topic, id.partition) {
                partition.hold(true);
            }
        }
        drop(owned);
        consumer.pause(&list(ids)).map_err(later)?;
        tracing::warn!("paused by an operator: {}", named(ids));
        Ok(format!("paused until it is resumed or the process ends: {}", named(ids)))
    }

    fn let_go(&self, consumer: &BaseConsumer<Self>, ids: &[TopicPartition]) -> Result<String, Unmet> {
        let mut owned = self.owned();
        let mut resumed = Vec::new();
        for id in ids {
            if let Some(partition) = owned.get_mut(&id.topic, id.partition) {
                partition.hold(false);
                // One that holds its share goes on when it has room, and one that cannot run does not.
                if partition.runs() && !partition.is_paused() {
                    resumed.push(id.clone());
                }
            }
        }
        drop(owned);
        consumer.resume(&list(&resumed)).map_err(later)?;
        tracing::info!("resumed by an operator: {}", named(ids));
        Ok(format!("goes on: {}", named(ids)))
    }

    /// Reads partitions again from another offset: they are ended as at a rebalance, moved as `cdcconsumer seek` moves
    /// those of a stopped group, and taken again with the whole group's next rebalance, at the commit.
    fn move_to(
        &self,
        consumer: &BaseConsumer<Self>,
        ids: &[TopicPartition],
        to: To,
        skip_records: bool,
    ) -> Result<String, Unmet> {
        if !self.settings.versions {
            return Err(Unmet::Refused(
                "the position is in Postgres, in one transaction with what was applied, and every event has its effect \
                 once: there is nothing to read again"
                    .into(),
            ));
        }
        // What speaks against it is found before anything is ended.
        self.moves(consumer, ids, to, skip_records)?;
        let partitions = self.owned().remove(&list(ids));
        let seen: Vec<Arc<Live>> = partitions.iter().map(Partition::seen).collect();
        self.revoke(consumer, partitions);
        // Nobody writes or commits them from here on, as in a group that is stopped (V2), so that where the group
        // stands now is the floor of what is read again.
        let moved = self.moves(consumer, ids, to, skip_records).and_then(|moves| {
            expect_committed(&moves, &seen)?;
            self.commit_moves(&moves)?;
            Ok(moves)
        });
        // Whoever gets them begins at the commit, whatever it is.
        self.owned().rejoin = true;
        let moves = moved?;
        let told = |Move { topic, partition, from, to, .. }: &Move| match from {
            Some(from) => format!("{topic}[{partition}] from {from} to {to}"),
            None => format!("{topic}[{partition}] to {to}"),
        };
        let told = moves.iter().map(told).collect::<Vec<_>>().join(", ");
        tracing::warn!("moved by an operator: {told}");
        Ok(format!("moved: {told}"))
    }

    fn commit_moves(&self, moves: &[Move]) -> Result<(), Unmet> {
        let deadline = Instant::now() + COMMIT_GRACE;
        // One that is under way would go back over it.
        self.finish_commit(deadline, &mut []);
        match self.committer().commit(seek::list(moves).map_err(later)?, deadline) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(later(error)),
            None => {
                Err(Unmet::Later("Kafka did not say whether it was moved: look where it stands, and ask again".into()))
            }
        }
    }

    /// The moves as they would be now, or what speaks against them.
    fn moves(
        &self,
        consumer: &BaseConsumer<Self>,
        ids: &[TopicPartition],
        to: To,
        skip_records: bool,
    ) -> Result<Vec<Move>, Unmet> {
        let topics: BTreeSet<&str> = ids.iter().map(|id| &*id.topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let identities = topic_id::describe(consumer, &topics, REQUEST_TIMEOUT).map_err(later)?;
        let committed = consumer.committed_offsets(list(ids), REQUEST_TIMEOUT).map_err(later)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX / 2);
        let mut moves = Vec::with_capacity(ids.len());
        for id in ids {
            let element = committed.find_partition(&id.topic, id.partition);
            let element = element.ok_or_else(|| Unmet::Later(format!("Kafka did not tell where {id} stands")))?;
            element.error().map_err(later)?;
            let Some(next_offset) = plain_offset(element.offset()) else {
                return Err(Unmet::Refused(format!("{id} has no commit: it is stopped, and /status says why")));
            };
            let commit = Some(CommitFacts { next_offset, metadata: metadata_of(&element) });
            let range = consumer.fetch_watermarks(&id.topic, id.partition, REQUEST_TIMEOUT).map_err(later)?;
            let partition = PartitionFacts { number: id.partition, range: Some(range), commit };
            let topic = TopicFacts {
                name: id.topic.to_string(),
                presence: Presence::There,
                id: identities.get(&*id.topic).and_then(|identity| identity.id.clone()),
                partitions: Vec::new(),
                replicas: 0,
                settings: None,
            };
            // It has a commit, so that nothing is asked of what the sink has kept.
            let planned = seek::plan(&topic, &partition, &BTreeMap::new(), to, skip_records, now_us);
            moves.push(planned.map_err(Unmet::Refused)?);
        }
        Ok(moves)
    }
}

/// Refuses to move what was finished and could not be committed: versions were given beyond where the group stands, and
/// what is passed over from there would begin below them.
fn expect_committed(moves: &[Move], seen: &[Arc<Live>]) -> Result<(), Unmet> {
    let is_committed = |(moved, live): (&Move, &Arc<Live>)| moved.from >= Some(live.progress.borrow().next_offset);
    if moves.iter().zip(seen).all(is_committed) {
        Ok(())
    } else {
        Err(Unmet::Later("what was finished could not be committed, and nothing was moved: ask again".into()))
    }
}

fn list(ids: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    ids.iter().for_each(|id| {
        list.add_partition(&id.topic, id.partition);
    });
    list
}

fn named(ids: &[TopicPartition]) -> String {
    ids.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(", ")
}

fn later(error: KafkaError) -> Unmet {
    Unmet::Later(format!("Kafka: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order { wish: Wish::Pause, of: Of::Table("users".into()) }
    }

    #[tokio::test]
    async fn an_order_is_answered_by_whoever_listens_last_and_never_waits_for_nobody() {
        let control = Control::default();
        assert!(matches!(control.ask(order()).await, Err(Unmet::Later(why)) if why.contains("not begun")));
        let former = control.listen();
        let mut listening = control.listen();
        drop(former);
        let (asked, ()) = tokio::join!(control.ask(order()), async {
            let request = listening.recv().await.expect("it is asked");
            assert_eq!(request.order, order());
            request.answer.send(Ok("done".into())).expect("it waits");
        });
        assert_eq!(asked, Ok("done".into()));
        let (asked, ()) = tokio::join!(control.ask(order()), async { drop(listening.recv().await) });
        assert!(matches!(asked, Err(Unmet::Later(why)) if why.contains("before that was done")));
        drop(listening);
        assert!(matches!(control.ask(order()).await, Err(Unmet::Later(_))));
    }

    #[tokio::test]
    async fn no_more_orders_wait_than_there_is_room_for() {
        let control = Control::default();
        let _listening = control.listen();
        let waiting: Vec<_> = (0..ORDERS_MAX).map(|_| Box::pin(control.ask(order()))).collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(matches!(control.ask(order()).await, Err(Unmet::Later(why)) if why.contains("their turn")));
    }
}
