//! Answers where topics end, for records that wait for another topic. It has its own client, so that a broker that
//! does not answer never holds up polling.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use tokio::sync::mpsc;

use crate::kafka::Quiet;
use crate::kafka::access::Access;
use crate::pipeline::TopicEndsRequest;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers until the last sender is gone. Blocks its thread. A request that Kafka does not answer is dropped, which
/// tells the asker so.
pub fn run(access: &Access, mut requests: mpsc::Receiver<TopicEndsRequest>) -> KafkaResult<()> {
    let consumer: BaseConsumer<Quiet> = access.client(&[]).create_with_context(Quiet)?;
    while let Some(request) = requests.blocking_recv() {
        match ends(&consumer, &request.topic) {
            // Nobody listens when the asker's partition was revoked meanwhile.
            Ok(ends) => drop(request.answer.send(ends)),
            Err(error) => tracing::debug!("the ends of {} are not known: {error}", request.topic),
        }
    }
    Ok(())
}

fn ends(consumer: &BaseConsumer<Quiet>, topic: &str) -> KafkaResult<Vec<(i32, i64)>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
    partitions
        .map(|partition| {
            let (_, end) = consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?;
            Ok((partition, end))
        })
        .collect()
}
