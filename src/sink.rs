//! The contract between the pipeline and a system that rows are written to.

pub mod tls;
pub mod cassandra;
pub mod postgres;

use std::collections::BTreeMap;
use std::future::Future;

use crate::change::position::Stored;
use crate::plan::write::{Batch, Rejected};
use crate::record::TopicPartition;

/// A system that rows are written to. It knows one system and nothing of Kafka, other sinks, backoff or dead letters.
///
/// One value serves every partition of the process; what belongs to a partition is in [`Sink::Partition`].
pub trait Sink: Send + Sync + 'static {
    /// What the sink keeps for a partition that this process owns.
    type Partition: Send;

    /// Takes the partition. Called once per assignment, before any write, with the offset that Kafka says comes
    /// next and, where Kafka tells it, the id of the topic. Called again after a [`Failure`].
    fn open(
        &self,
        partition: &TopicPartition,
        start_offset: i64,
        topic_id: Option<&str>,
    ) -> impl Future<Output = Result<Opened<Self::Partition>, Failure>> + Send;

    /// Writes the batch, and returns when it is durable or when it is known why not. One call at a time for a
    /// partition, in offset order; partitions run side by side. It may be dropped at any await when the partition
    /// is revoked: what it had sent may still take effect, and must then do no harm.
    ///
    /// A batch whose records all were refused or passed over has no writes, and is written all the same: it moves
    /// the position of a sink that keeps one.
    fn write(&self, partition: &mut Self::Partition, batch: &Batch) -> impl Future<Output = Outcome> + Send;

    /// Keeps where a partition stands, in case that its commit loses what goes with it. Called now and then, after
    /// what is below it became durable. A sink that keeps positions with its rows has no need of it.
    fn keep(
        &self,
        _partition: &TopicPartition,
        _checkpoint: &Checkpoint,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// The furthest checkpoints that were kept of a topic's partitions.
    fn kept(&self, _topic: &str) -> impl Future<Output = Result<BTreeMap<i32, Checkpoint>, Failure>> + Send {
        async { Ok(BTreeMap::new()) }
    }

    /// Asks the system for something small, so that whoever looks at an idle process learns of an outage before there
    /// is something to write.
    fn reach(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// How busy the system is kept, for figures.
    fn load(&self) -> Load {
        Load::default()
    }

    /// What the system keeps of the rows of these writes (indexes into the batch's), in their order: the position that
    /// the last durable write or delete of the row left (V6). Asked for guarded routes alone, and between writes.
    fn stored(
        &self,
        _batch: &Batch,
        _writes: &[usize],
    ) -> impl Future<Output = Result<Vec<Option<Stored>>, Failure>> + Send {
        std::future::ready(Err(Failure::Stop("this sink keeps no positions: remove `rewind_guard`".into())))
    }
}

/// Requests to the system, over all partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub in_flight: usize,
    /// How many there may be now; fewer than configured while the system pushes back.
    pub in_flight_max: usize,
}

/// Where a partition stood once: everything below `next_offset` was durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub next_offset: i64,
    /// The last version given below it, in microseconds.
    pub last_version: i64,
    /// The id of the topic that the offset belongs to, where Kafka tells it.
    pub topic_id: Option<String>,
}

/// A partition that was taken. Records below `next_offset` are already in the sink.
#[derive(Debug)]
pub struct Opened<P> {
    pub state: P,
    pub next_offset: i64,
}

/// Why a partition could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work later: try again, with backoff, for ever. The text says what is waited for.
    Retry(String),
    /// A person has to act. The text says what is wrong and how to mend it.
    Stop(String),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Durable,
    Retry(Retry),
    /// Nothing of this batch counts: these records are refused, the rest is to be planned and written again.
    Rejected(Vec<Rejected>),
    /// A person has to act. The text says what is wrong and how to mend it. Nothing of this batch counts.
    Stop(String),
}

/// A batch, or its end, that has to be written again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Records below this offset are durable already, and are not written again.
    pub next_offset: i64,
    /// What is waited for, in words for the operator.
    pub waiting_for: String,
    pub parent: Option<ParentWait>,
}

/// A record that waits for a row which another topic has to bring.
///
/// It becomes a reject when every partition of that topic has been applied past the end that it had when the wait
/// began, or when the topic has made no progress for too long.
#[derive(Debug, Clone, PartialEq)]
pub struct ParentWait {
    /// The topic that feeds the parent's table.
    pub topic: String,
    /// Next offset to be applied for each partition of that topic, read before the parent was looked for.
    pub progress: Vec<(i32, i64)>,
    pub rejected: Rejected,
}
