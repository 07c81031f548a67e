//! Signals to Debezium through its signal topic, and its notifications.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Quiet;
use crate::kafka::access::Access;
use crate::kafka::describe::TopicFacts;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a signal and returns when every replica has it.
pub async fn send(access: &Access, topic: &str, key: &str, value: &str) -> KafkaResult<()> {
    let producer: FutureProducer<Quiet> = access
        .client(&[])
        .set("acks", "all")
        .set("message.timeout.ms", ANSWER_TIMEOUT.as_millis().to_string())
        .create_with_context(Quiet)?;
    let record: FutureRecord<'_, str, str> = FutureRecord::to(topic).key(key).payload(value);
    producer.send(record, rdkafka::util::Timeout::After(ANSWER_TIMEOUT)).await.map(|_| ()).map_err(|(error, _)| error)
}

/// What comes into a topic from now on.
pub struct Follow {
    consumer: BaseConsumer<Quiet>,
}

impl Follow {
    /// Begins at the ends that the topic had when it was described.
    pub fn from_ends(access: &Access, group_id: &str, topic: &TopicFacts) -> KafkaResult<Follow> {
        let consumer: BaseConsumer<Quiet> = access
            .client(&[])
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .create_with_context(Quiet)?;
        let mut ends = TopicPartitionList::new();
        for partition in &topic.partitions {
            let (_, end) = partition.range.ok_or(KafkaError::Canceled)?;
            ends.add_partition_offset(&topic.name, partition.number, Offset::Offset(end))?;
        }
        consumer.assign(&ends)?;
        Ok(Follow { consumer })
    }

    /// The next value, if one comes in time. Blocks its thread.
    pub fn next(&self, patience: Duration) -> Option<Bytes> {
        // What is wrong with a broker passes, and the client goes on by itself.
        let message = self.consumer.poll(patience)?.ok()?;
        message.payload().map(Bytes::copy_from_slice)
    }
}
