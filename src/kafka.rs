//! Kafka on both ends of the loop: records in, next offsets and dead letters out. It knows no sink and no format.

pub mod access;
pub mod poll;
mod commit;
mod rebalance;
mod owned;
pub mod place;
pub mod partition;
pub mod saved;
pub mod topic_id;
mod ends_watch;
mod topic_watch;
mod verdict;
mod start;
pub mod describe;
pub mod owners;
pub mod sample;
pub mod probe;
pub mod seek;
pub mod control;
pub mod signal;
pub mod dead_letter;
pub mod letters;
pub mod topic_ends;
pub mod topics;
pub mod produce;

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use crate::kafka::access::Access;
use crate::version::SavedError;

pub use commit::COMMIT_GRACE;

/// How to consume: plain values, filled by the binary from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    pub access: Access,
    pub group_id: String,
    pub group_instance_id: Option<String>,
    /// Partitions are all given up and handed out again at a rebalance, and not one by one.
    pub eager: bool,
    pub topics: Vec<String>,
    /// Those of them that must not be compacted: a route of theirs needs every change's image before (C4).
    pub uncompacted_topics: Vec<String>,
    /// Commits carry the state of the versions (V2), and a commit without it is refused.
    pub versions: bool,
    /// Partitions that a topic got after the group began it may be begun too.
    pub accept_added_partitions: bool,
    /// Bound on the records that are read and not yet durable, shared evenly by the assigned partitions. Each
    /// partition may hold one record beyond its share, so that none can starve another.
    pub held_bytes_max: usize,
    /// How long a revoked partition may take to finish what it is writing.
    pub revoke_grace: Duration,
    /// End when every partition has reached the end that it had when it was assigned.
    pub exit_when_caught_up: bool,
}

/// The largest dead letter that is sent.
pub const LETTER_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// What a dead letter has beside its record: the headers that say where it comes from and why it was refused.
pub const LETTER_HEADERS_BYTES: i64 = 4 * 1024;

/// The settings of rule K1 to K7, the same for everyone who reads in the group.
const GROUP_SETTINGS: [(&str, &str); 13] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("session.timeout.ms", "10000"),
    // A broker that is connected and answers nothing is left after this time, and not after a minute.
    ("socket.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    ("enable.partition.eof", "true"),
    // What librdkafka reads ahead, beside what the partitions hold (K11).
    ("queued.max.messages.kbytes", "2048"),
    // One fetch from one broker, held in addition while it is parsed. A larger record still comes, alone.
    ("fetch.max.bytes", "2097152"),
    // At its default of 1000 ms a full queue stalls the fetcher for a second at a time.
    ("fetch.queue.backoff.ms", "10"),
    ("statistics.interval.ms", "2000"),
];

/// The context of the clients beside the polling one: what they ask for says itself when it does not work, and their
/// own complaints, one a second for every broker, would only repeat that Kafka is away.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

fn group_client(settings: &ConsumerSettings) -> ClientConfig {
    let mut config = settings.access.client(&GROUP_SETTINGS);
    config.set("group.id", &settings.group_id);
    if settings.eager {
        config.set("partition.assignment.strategy", "range");
    }
    if let Some(id) = &settings.group_instance_id {
        config.set("group.instance.id", id);
    }
    config
}

/// Why a partition is refused whose commit has not the state of the versions, and the command that decides it.
pub fn lost_versions(error: &SavedError, group: &str, topic: &str, partition: i32, next_offset: i64) -> String {
    format!(
        "{error}: another tool set group {group} to offset {next_offset}, and the versions of what follows are not \
         known; stop the group and say where to go on: `cdcconsumer seek --to-beginning --topic {topic} --partition \
         {partition}` reads all that the topic still has, `cdcconsumer seek --to-offset {next_offset} --topic {topic} \
         --partition {partition}` goes on where the other tool set it"
    )
}
