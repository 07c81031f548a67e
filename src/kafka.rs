//! Kafka on both ends of the loop: records in, next offsets and dead letters out. It knows no sink and no format.

pub mod poll;
mod rebalance;
mod partition;
mod start;
pub mod describe;
pub mod sample;
pub mod probe;
pub mod dead_letter;
pub mod letters;
pub mod topic_ends;
pub mod produce;

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use crate::version::SavedError;

/// How to consume: plain values, filled by the binary from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    pub bootstrap_servers: String,
    pub group_id: String,
    pub group_instance_id: Option<String>,
    pub topics: Vec<String>,
    /// Those of them that must not be compacted: a route of theirs needs every change's image before (C4).
    pub uncompacted_topics: Vec<String>,
    /// Commits carry the state of the versions (V2), and a commit without it is refused.
    pub versions: bool,
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

/// The group's session, and so the longest that a commit blocks when no coordinator answers (K5).
const SESSION_TIMEOUT_MS: u32 = 10_000;
/// What librdkafka reads ahead, beside what the partitions hold (K11).
const PREFETCH_KBYTES_MAX: u32 = 2 * 1024;
/// One fetch from one broker, which librdkafka holds in addition while it is parsed. A larger record still comes, alone.
const FETCH_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// The context of the clients beside the polling one: what they ask for says itself when it does not work, and their
/// own complaints, one a second for every broker, would only repeat that Kafka is away.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

fn client(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap_servers);
    config.set("client.id", "rowferry");
    // A broker that is away is said once by the status line; librdkafka would repeat it for every broker and try.
    config.set_log_level(RDKafkaLogLevel::Critical);
    config
}

/// The settings of rule K1 to K7, the same for everyone who reads in the group.
fn group_client(settings: &ConsumerSettings) -> ClientConfig {
    let mut config = client(&settings.bootstrap_servers);
    config.set("group.id", &settings.group_id);
    if let Some(id) = &settings.group_instance_id {
        config.set("group.instance.id", id);
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string())
        .set("heartbeat.interval.ms", "2000")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", PREFETCH_KBYTES_MAX.to_string())
        .set("fetch.max.bytes", FETCH_BYTES_MAX.to_string())
        // At its default of 1000 ms a full queue stalls the fetcher for a second at a time.
        .set("fetch.queue.backoff.ms", "10")
        .set("statistics.interval.ms", "2000");
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
