//! A Kafka record as every other module sees it: bytes at an offset, with no client type behind them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Key, value and headers at a topic, partition and offset. `None` is Kafka's null, which is not the same as no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970, as the record carries them; `None` when it carries none.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Shared, because the records of one connector mostly carry the same ones.
    pub headers: Arc<[Header]>,
}

/// One header. Names may repeat, and order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: Option<Bytes>,
}

/// A partition of a topic, printed as `topic[3]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl Record {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Bytes that limits on memory count for the record: key, value, and about what its bookkeeping takes.
    pub fn held_bytes(&self) -> usize {
        const BOOKKEEPING_BYTES: usize = 512;
        self.bytes() + BOOKKEEPING_BYTES
    }

    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}
