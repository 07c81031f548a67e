//! The newest records of topics, read beside the group and without a trace: nothing is joined and nothing committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Quiet;
use crate::kafka::access::Access;
use crate::record::{Header, Record};

/// A partition to look into: its topic, its number, its first and its next offset.
pub type Place = (String, i32, i64, i64);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// By topic and partition, in offset order.
    pub records: BTreeMap<(String, i32), Vec<Record>>,
    /// READ is not granted on these topics.
    pub forbidden: Vec<String>,
}

/// One fetch from one partition, so that a sample of many partitions stays small.
const FETCH_BYTES_MAX: u32 = 1024 * 1024;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Reads up to `records_max` of the newest records of each place. What does not come within `patience` is left out.
/// Blocks its thread.
pub fn newest(
    access: &Access,
    group_id: &str,
    places: &[Place],
    records_max: i64,
    patience: Duration,
) -> KafkaResult<Sample> {
    let mut sample = Sample::default();
    let mut from = TopicPartitionList::new();
    for (topic, partition, begin, end) in places.iter().filter(|(_, _, begin, end)| begin < end) {
        from.add_partition_offset(topic, *partition, Offset::Offset((end - records_max).max(*begin)))?;
    }
    let consumer: BaseConsumer<Quiet> = access
        .client(&[])
        .set("group.id", group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("max.partition.fetch.bytes", FETCH_BYTES_MAX.to_string())
        .create_with_context(Quiet)?;
    consumer.assign(&from)?;
    let mut open = from.count();
    let deadline = Instant::now() + patience;
    while open > 0 && Instant::now() < deadline {
        match consumer.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => {
                let place = (message.topic().to_string(), message.partition());
                let records = sample.records.entry(place).or_default();
                // Under load there is always one more: what was asked for has come long before.
                if records.len() < usize::try_from(records_max).unwrap_or_default() {
                    records.push(record(&message));
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    // The error names no topic; those that gave nothing are the ones.
                    let silent = |(topic, ..): &&Place| !sample.records.keys().any(|(seen, _)| seen == topic);
                    sample.forbidden = places.iter().filter(silent).map(|(topic, ..)| topic.clone()).collect();
                    sample.forbidden.dedup();
                    break;
                }
                _ => tracing::debug!("{error}"),
            },
        }
    }
    Ok(sample)
}

/// A record with buffers of its own, for commands that read beside the group.
pub(super) fn record(message: &BorrowedMessage<'_>) -> Record {
    let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
        name: header.key.into(),
        value: header.value.map(Bytes::copy_from_slice),
    };
    let headers = message.headers().map(|headers| headers.iter().map(header).collect::<Vec<Header>>());
    Record {
        topic: message.topic().into(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers.unwrap_or_default().into(),
    }
}
