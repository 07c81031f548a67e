//! Dead letters in: their topic from where it begins to the end that it had when asked. It joins no group and commits
//! nothing, so it may be read at any time beside everything else.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::kafka::Quiet;
use crate::kafka::access::Access;
use crate::kafka::sample::record;
use crate::record::Record;

/// The dead-letter topic, open for reading.
pub struct LetterTopic {
    consumer: BaseConsumer<Quiet>,
    topic: String,
}

/// A part of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub partition: i32,
    pub next_offset: i64,
    pub end: i64,
}

/// How reading ended, when it was not told by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    AtTheEnd,
    /// The reader of the records had enough.
    Enough,
    /// It was asked to stop.
    Shutdown,
}

#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    #[error("there is no topic \"{0}\"")]
    NoTopic(String),
    #[error("Kafka does not answer: {0}")]
    Away(KafkaError),
    #[error("Kafka has sent nothing for {seconds} s: {0}", seconds = PATIENCE.as_secs())]
    Silent(String),
    #[error("the Kafka client cannot be made: {0}")]
    Client(KafkaError),
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Silence after which reading is given up.
const PATIENCE: Duration = Duration::from_secs(30);

impl LetterTopic {
    /// Opens the topic. `group_id` is what a principal is commonly granted to READ; the group is never joined.
    pub fn open(access: &Access, group_id: &str, topic: &str) -> Result<LetterTopic, LettersError> {
        let consumer = access
            .client(&[])
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What expired while it was read is gone, and the rest counts.
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            // What is read ahead, and one fetch beside it: the bound on the memory of a long topic.
            .set("queued.max.messages.kbytes", "2048")
            .set("fetch.max.bytes", "2097152")
            .set("fetch.queue.backoff.ms", "10")
            .create_with_context(Quiet)
            .map_err(LettersError::Client)?;
        Ok(LetterTopic { consumer, topic: topic.into() })
    }

    /// What the topic holds now; only what was written at `since_ms` or later, where that is given.
    pub fn spans(&self, since_ms: Option<i64>) -> Result<Vec<Span>, LettersError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), REQUEST_TIMEOUT).map_err(LettersError::Away)?;
        let found = metadata.topics().iter().find(|found| found.name() == self.topic && found.error().is_none());
        let found = found.ok_or_else(|| LettersError::NoTopic(self.topic.clone()))?;
        let mut spans = Vec::new();
        for partition in found.partitions().iter().map(|partition| partition.id()) {
            let watermarks = self.consumer.fetch_watermarks(&self.topic, partition, REQUEST_TIMEOUT);
            let (low, end) = watermarks.map_err(LettersError::Away)?;
            let next_offset = match since_ms {
                Some(ms) => self.offset_at(partition, ms)?.unwrap_or(end).max(low),
                None => low,
            };
            spans.push(Span { partition, next_offset, end });
        }
        spans.retain(|span| span.next_offset < span.end);
        Ok(spans)
    }

    /// The first offset with this timestamp or a later one; `None` when there is none.
    fn offset_at(&self, partition: i32, ms: i64) -> Result<Option<i64>, LettersError> {
        let mut asked = TopicPartitionList::new();
        let timed = asked.add_partition_offset(&self.topic, partition, Offset::Offset(ms.max(0)));
        let found = timed.and_then(|()| self.consumer.offsets_for_times(asked, REQUEST_TIMEOUT));
        let found = found.map_err(LettersError::Away)?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// Hands every record of these spans to `each`, which may end it. Blocks its thread; one record is held at a time.
    pub fn read(
        &self,
        spans: &[Span],
        shutdown: &watch::Receiver<bool>,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Ended, LettersError> {
        let mut open: BTreeMap<i32, i64> = spans.iter().map(|span| (span.partition, span.end)).collect();
        let mut assignment = TopicPartitionList::new();
        for span in spans {
            let offset = Offset::Offset(span.next_offset);
            assignment.add_partition_offset(&self.topic, span.partition, offset).map_err(LettersError::Client)?;
        }
        self.consumer.assign(&assignment).map_err(LettersError::Client)?;
        // An earlier call paused what it had finished.
        self.consumer.resume(&assignment).map_err(LettersError::Client)?;
        let mut heard = Instant::now();
        let mut complaint = "no record came".to_string();
        while !open.is_empty() {
            if *shutdown.borrow() {
                return Ok(Ended::Shutdown);
            }
            let done = match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let Some(end) = open.get(&message.partition()).copied() else { continue };
                    if message.offset() < end && each(record(&message)).is_break() {
                        return Ok(Ended::Enough);
                    }
                    // What was done with it may have taken its time.
                    heard = Instant::now();
                    (message.offset() + 1 >= end).then(|| message.partition())
                }
                // What is left up to the end are records of the broker's own, or of a transaction that is still open.
                Some(Err(KafkaError::PartitionEOF(partition))) => Some(partition),
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition,
                ))) => return Err(LettersError::NoTopic(self.topic.clone())),
                Some(Err(error)) => {
                    complaint = error.to_string();
                    None
                }
                None => None,
            };
            if let Some(partition) = done {
                heard = Instant::now();
                open.remove(&partition);
                self.pause(partition)?;
            }
            if heard.elapsed() > PATIENCE {
                return Err(LettersError::Silent(complaint));
            }
        }
        Ok(Ended::AtTheEnd)
    }

    /// Nothing more is wanted of it.
    fn pause(&self, partition: i32) -> Result<(), LettersError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        self.consumer.pause(&list).map_err(LettersError::Client)
    }
}
