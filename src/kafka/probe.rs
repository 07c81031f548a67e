//! Whether a topic may be written, found out without writing to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::kafka::Quiet;
use crate::kafka::access::Access;

const ANSWER_TIMEOUT_MS: &str = "5000";
/// The broker's clock and ours may differ by this much, and its answer is still the same.
const CLOCKS_APART_MAX_MS: i64 = 24 * 3_600_000;

/// Whether we may write to a topic that refuses records stamped more than `ahead_max_ms` ahead of its clock: the
/// broker looks at rights before it looks at the record, so one from the far future tells without being stored.
/// `None` when its answer says neither.
pub async fn may_write(access: &Access, topic: &str, ahead_max_ms: i64) -> Option<bool> {
    let producer: FutureProducer<Quiet> = access
        .client(&[])
        .set("acks", "all")
        .set("message.timeout.ms", ANSWER_TIMEOUT_MS)
        .set("retries", "0")
        .create_with_context(Quiet)
        .ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let stamp = i64::try_from(now.as_millis()).ok()? + ahead_max_ms + CLOCKS_APART_MAX_MS;
    let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).timestamp(stamp).payload(b"");
    let sent = producer.send(record, rdkafka::util::Timeout::After(Duration::from_secs(5))).await;
    match sent.map_err(|(error, _)| error.rdkafka_error_code()) {
        Ok(_) | Err(Some(RDKafkaErrorCode::InvalidTimestamp)) => Some(true),
        Err(Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => Some(false),
        Err(_) => None,
    }
}
