//! The names of the topics that are there.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;

use crate::kafka::Quiet;
use crate::kafka::access::Access;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How Kafka's own topics begin.
const INTERNAL_PREFIX: &str = "__";

/// Every topic but Kafka's own, in the order of their names. Blocks.
pub fn list(access: &Access) -> KafkaResult<Vec<String>> {
    let consumer: BaseConsumer<Quiet> = access.client(&[]).create_with_context(Quiet)?;
    let metadata = consumer.fetch_metadata(None, TIMEOUT)?;
    let names = metadata.topics().iter().map(|topic| topic.name().to_string());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(INTERNAL_PREFIX)).collect();
    names.sort();
    Ok(names)
}
