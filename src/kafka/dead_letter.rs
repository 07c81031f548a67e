//! Dead letters out: the refused record as it came, with the reason in headers, acknowledged by the broker (K10).

use futures::future::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::mpsc;

use crate::failpoint::{self, Stage};
use crate::kafka::Quiet;
use crate::kafka::access::{Access, sees_topic};
use crate::pipeline::{DeadLetter, DeadLetterRequest};
use crate::sink::Failure;

/// Letters on their way at once.
const IN_FLIGHT_MAX: usize = 256;
/// It waits out an outage of the brokers, however long.
pub(super) const SETTINGS: [(&str, &str); 7] = [
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("message.timeout.ms", "0"),
    // One letter may be as large as the topic takes.
    ("message.max.bytes", "16777216"),
    ("queue.buffering.max.kbytes", "32768"),
    // A broker refuses a batch as a whole: a letter that is too big must not take others with it.
    ("batch.num.messages", "1"),
    // How long a topic that is gone is still hoped for before its letters fail.
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// Whether the dead-letter topic is there. [`Failure::Retry`] means that Kafka did not tell.
pub fn topic_exists(access: &Access, topic: &str) -> Result<bool, Failure> {
    sees_topic(access, topic)
}

/// The producer of dead letters.
pub fn producer(access: &Access) -> KafkaResult<FutureProducer<Quiet>> {
    access.client(&SETTINGS).create_with_context(Quiet)
}

/// Sends letters until the last sender is gone. What cannot be sent as things stand is answered with the reason.
pub async fn run(producer: FutureProducer<Quiet>, topic: String, mut requests: mpsc::Receiver<DeadLetterRequest>) {
    let mut sending = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = requests.recv(), if sending.len() < IN_FLIGHT_MAX => match request {
                Some(request) => sending.push(send(&producer, &topic, request).boxed()),
                None => break,
            },
            Some(()) = sending.next() => {}
        }
    }
    while sending.next().await.is_some() {}
}

async fn send(producer: &FutureProducer<Quiet>, topic: &str, request: DeadLetterRequest) {
    let DeadLetterRequest { letter, answer } = request;
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers(&letter));
    record.key = letter.record.key.as_deref();
    record.payload = letter.record.value.as_deref();
    let sent = producer.send(record, rdkafka::util::Timeout::Never).await;
    let sent = sent.map(|_| ()).map_err(|(error, _)| why(topic, &error));
    failpoint::reach(Stage::DeadLettering);
    // Nobody waits any more when the partition was revoked meanwhile: its next owner sends the letter again.
    let _ = answer.send(sent);
}

/// The original headers, then ours. A letter's identity is topic, partition and offset: after a crash it may be
/// there twice.
fn headers(letter: &DeadLetter) -> OwnedHeaders {
    let record = &letter.record;
    let original = record.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
        headers.insert(KafkaHeader { key: &header.name, value: header.value.as_deref() })
    });
    let ours = [
        ("rowferry.reason", Some(letter.reject.class.as_str().to_string())),
        ("rowferry.text", Some(letter.reject.text.clone())),
        ("rowferry.route", Some(letter.route.clone())),
        ("rowferry.topic", Some(record.topic.to_string())),
        ("rowferry.partition", Some(record.partition.to_string())),
        ("rowferry.offset", Some(record.offset.to_string())),
        ("rowferry.timestamp", record.timestamp_ms.map(|ms| ms.to_string())),
        ("rowferry.version", letter.version.map(|version| version.to_string())),
    ];
    ours.into_iter().filter_map(|(name, value)| Some((name, value?))).fold(original, |headers, (name, value)| {
        headers.insert(KafkaHeader { key: name, value: Some(value.as_bytes()) })
    })
}

fn why(topic: &str, error: &KafkaError) -> String {
    let mend = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => "raise its max.message.bytes",
        // Its partitions are the first thing that the client misses when it goes. What a partition holds when the client
        // drops it ends with "destroy", which has nothing to do with brokers there.
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::BrokerDestroy,
        ) => "create it",
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "grant WRITE on it",
        _ => "see the brokers",
    };
    format!("the dead-letter topic \"{topic}\" does not take a record: {error}; {mend}")
}
