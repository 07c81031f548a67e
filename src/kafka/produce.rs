//! Sends records to Kafka, in order, and knows of each whether the brokers have it.
//!
//! An outage is not an error: records wait in a bounded window, librdkafka reconnects with exponential backoff, and
//! what is waited for is said once and then every half minute. A record that was refused is an error, and the end:
//! whoever sent on after it would have lost it (P2).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::kafka::access::{self, Access};
use crate::record::Header;
use crate::retry::Backoff;
use crate::sink::Failure;

/// Sends records over one idempotent producer (P3). One sender belongs to one task.
pub struct Sender {
    client: ThreadedProducer<Reports>,
    shared: Arc<Shared>,
    bootstrap_servers: String,
    watch: JoinHandle<()>,
}

/// A record to send. The partition follows from the key as the Java client has it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header],
}

/// The place of a record among all that its sender has sent, from 0.
pub type Ticket = u64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("{0}")]
    Configuration(String),
    /// The record is not in Kafka and will not be. Nothing may be sent after it.
    #[error("Kafka refused a record for {topic}: {reason}")]
    Refused { topic: String, reason: String },
}

/// Limits on what is sent and not acknowledged yet.
pub const IN_FLIGHT_RECORDS_MAX: usize = 10_000;
pub const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;

/// How long no acknowledgement may come before it is said what is waited for, and how often it is said again.
const QUIET_FIRST: Duration = Duration::from_secs(3);
const QUIET_AGAIN: Duration = Duration::from_secs(30);
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

impl Sender {
    /// Builds the client; no broker needs to be there. Called inside a tokio runtime.
    pub fn new(access: &Access) -> Result<Sender, SendError> {
        let shared = Arc::new(Shared::default());
        let bootstrap_servers = access.bootstrap_servers.clone();
        let client: ThreadedProducer<Reports> = access
            .client(&SETTINGS)
            .set_log_level(RDKafkaLogLevel::Warning)
            .create_with_context(Reports { shared: shared.clone() })
            .map_err(|error| SendError::Configuration(access.told(&error)))?;
        let watch = tokio::spawn(watch(shared.clone(), bootstrap_servers.clone()));
        Ok(Sender { client, shared, bootstrap_servers, watch })
    }

    /// Returns when the brokers answer and have all of these topics. Waits for ever, with backoff, unless they refuse
    /// us for good.
    pub async fn wait_for_topics(&self, topics: &[&str]) -> Result<(), SendError> {
        let mut backoff = Backoff::new();
        let mut said = None;
        while let Some(missing) = self.missing(topics).await {
            if let Some(why) = self.shared.window().unwelcome.take() {
                return Err(SendError::Configuration(why));
            }
            if said.as_ref() != Some(&missing) {
                tracing::warn!(bootstrap_servers = self.bootstrap_servers, "waiting for Kafka: {missing}");
            }
            said = Some(missing);
            tokio::time::sleep(backoff.next_delay(rand::random())).await;
        }
        Ok(())
    }

    /// Hands the record to the client, and waits only while the window is full. `Ok` is not delivery: see
    /// [`Sender::delivered`].
    pub async fn send(&mut self, record: Outgoing<'_>) -> Result<Ticket, SendError> {
        let bytes = record.bytes();
        self.shared.room_for(bytes).await?;
        let ticket = self.shared.window().open(bytes);
        match self.client.send(record.as_kafka(ticket)) {
            Ok(()) => Ok(ticket),
            Err((error, _)) => Err(self.shared.window().refuse(record.topic, &error)),
        }
    }

    /// Returns when the brokers have this record and all before it.
    pub async fn delivered(&self, ticket: Ticket) -> Result<(), SendError> {
        self.shared.settled_below(ticket + 1).await
    }

    /// Returns when the brokers have everything that was sent.
    pub async fn all_delivered(&self) -> Result<(), SendError> {
        let next = self.shared.window().next();
        self.shared.settled_below(next).await
    }

    /// Records below this ticket are in Kafka.
    pub fn delivered_below(&self) -> Ticket {
        self.shared.window().first
    }

    /// Records that were sent and are not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.shared.window().open_count()
    }

    async fn missing(&self, topics: &[&str]) -> Option<String> {
        let client = self.client.clone();
        // The list of all topics, because asking for one by name makes brokers create it that are set up to.
        let fetch = move || client.client().fetch_metadata(None, METADATA_TIMEOUT);
        match tokio::task::spawn_blocking(fetch).await {
            Err(error) => Some(error.to_string()),
            Ok(Err(error)) => Some(format!("the brokers do not answer ({error})")),
            Ok(Ok(metadata)) => {
                let there = |name: &str| metadata.topics().iter().any(|topic| topic.name() == name);
                let missing: Vec<&str> = topics.iter().copied().filter(|topic| !there(topic)).collect();
                (!missing.is_empty()).then(|| format!("no topic {}: create it", missing.join(", ")))
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

pub(super) const SETTINGS: [(&str, &str); 13] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    // Never: an outage is ridden out, however long it is.
    ("message.timeout.ms", "0"),
    ("linger.ms", "5"),
    ("compression.type", "zstd"),
    // The window is the bound; these are twice and four times as much, so that the client's own queue is never what
    // is full.
    ("queue.buffering.max.messages", "20000"),
    ("queue.buffering.max.kbytes", "131072"),
    ("message.max.bytes", "16777216"),
    ("retry.backoff.ms", "100"),
    ("retry.backoff.max.ms", "10000"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "10000"),
];

impl<'a> Outgoing<'a> {
    fn bytes(self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }

    fn as_kafka(self, ticket: Ticket) -> BaseRecord<'a, [u8], [u8], usize> {
        let mut record = BaseRecord::with_opaque_to(self.topic, ticket as usize);
        record.key = self.key;
        record.payload = self.value;
        if !self.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(self.headers.len());
            record = record.headers(self.headers.iter().fold(headers, |headers, header| {
                headers.insert(KafkaHeader { key: &header.name, value: header.value.as_deref() })
            }));
        }
        record
    }
}

/// What the sending task and the client's thread share.
#[derive(Default)]
struct Shared {
    window: Mutex<Window>,
    progress: Notify,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        // Every change of the window is complete before anything could panic.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn room_for(&self, bytes: usize) -> Result<(), SendError> {
        loop {
            let wait = self.window().wait_for_room(bytes)?;
            match wait {
                Some(ticket) => self.settled_below(ticket).await?,
                None => return Ok(()),
            }
        }
    }

    async fn settled_below(&self, ticket: Ticket) -> Result<(), SendError> {
        loop {
            {
                let mut window = self.window();
                if let Some(refused) = &window.refused {
                    return Err(refused.clone());
                }
                if window.first >= ticket {
                    return Ok(());
                }
                window.wake_at = ticket;
            }
            // A report between the lock and here leaves a permit behind, so it cannot be missed.
            self.progress.notified().await;
        }
    }
}

/// Where the client puts its delivery reports and its complaints.
struct Reports {
    shared: Arc<Shared>,
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let mut window = self.shared.window();
        match result {
            Ok(_) => window.settle(ticket as Ticket),
            Err((error, message)) => {
                window.refuse(message.topic(), error);
            }
        }
        if window.first >= window.wake_at || window.refused.is_some() {
            self.shared.progress.notify_one();
        }
    }
}

impl ClientContext for Reports {
    /// The client repeats its complaints with every attempt to connect; ours are said by [`watch`].
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut window = self.shared.window();
        if let Some(Failure::Stop(why)) = access::judge(&error, reason) {
            window.unwelcome = Some(why);
        }
        window.complaint = Some(format!("{error}: {reason}"));
    }
}

/// Says that acknowledgements stay away, and that they are back.
async fn watch(shared: Arc<Shared>, bootstrap_servers: String) {
    let mut quiet = Quiet::default();
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let (settled, waiting, complaint) = {
            let window = shared.window();
            (window.settled_count, window.open_count(), window.complaint.clone())
        };
        match quiet.after_interval(settled, waiting) {
            Some(Notice::Waiting) => {
                let last_error = complaint.unwrap_or_default();
                tracing::warn!(waiting, bootstrap_servers, last_error, "waiting for Kafka to acknowledge records");
            }
            Some(Notice::Back { seconds }) => tracing::info!(seconds, "kafka acknowledges again"),
            None => {}
        }
    }
}

/// For how long nothing was acknowledged although something waited.
#[derive(Default)]
struct Quiet {
    settled: u64,
    lasted: Duration,
    said_at: Option<Duration>,
}

#[derive(Debug, PartialEq)]
enum Notice {
    Waiting,
    Back { seconds: u64 },
}

impl Quiet {
    /// What to say, one [`WATCH_INTERVAL`] later.
    fn after_interval(&mut self, settled: u64, waiting: usize) -> Option<Notice> {
        if waiting == 0 || settled != self.settled {
            let seconds = self.lasted.as_secs();
            let said = std::mem::replace(self, Quiet { settled, ..Quiet::default() }).said_at;
            return said.map(|_| Notice::Back { seconds });
        }
        self.lasted += WATCH_INTERVAL;
        let due = self.said_at.map_or(QUIET_FIRST, |said| said + QUIET_AGAIN);
        (self.lasted >= due).then(|| {
            self.said_at = Some(self.lasted);
            Notice::Waiting
        })
    }
}

/// The records that were sent and the oldest of which is not acknowledged. Reports come in any order between
/// partitions; the window moves when its first record is settled.
#[derive(Default)]
struct Window {
    /// The ticket of the first record in `records`: everything below is in Kafka.
    first: Ticket,
    records: VecDeque<Sent>,
    /// The bytes of all `records`.
    bytes: usize,
    settled_count: u64,
    /// The sending task is woken when `first` reaches this.
    wake_at: Ticket,
    refused: Option<SendError>,
    /// The client's last complaint, for whoever waits.
    complaint: Option<String>,
    /// Why the brokers, or TLS on the way to them, refuse us for good.
    unwelcome: Option<String>,
}

struct Sent {
    bytes: usize,
    settled: bool,
}

impl Window {
    fn next(&self) -> Ticket {
        self.first + self.records.len() as Ticket
    }

    fn open_count(&self) -> usize {
        (self.next() - self.settled_count) as usize
    }

    /// `None` when this many bytes may be sent, else the ticket below which everything has to be settled first: half
    /// of the window, because waking up for every single report is dear. Any record may enter an empty window.
    fn wait_for_room(&self, bytes: usize) -> Result<Option<Ticket>, SendError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let full = self.records.len() >= IN_FLIGHT_RECORDS_MAX || self.bytes + bytes > IN_FLIGHT_BYTES_MAX;
        let older_half = (self.records.len() as Ticket).div_ceil(2);
        Ok((full && older_half > 0).then_some(self.first + older_half))
    }

    fn open(&mut self, bytes: usize) -> Ticket {
        let ticket = self.next();
        self.records.push_back(Sent { bytes, settled: false });
        self.bytes += bytes;
        ticket
    }

    /// The first refusal is kept: what follows it is its consequence.
    fn refuse(&mut self, topic: &str, error: &KafkaError) -> SendError {
        let refused = || SendError::Refused { topic: topic.to_owned(), reason: error.to_string() };
        self.refused.get_or_insert_with(refused).clone()
    }

    fn settle(&mut self, ticket: Ticket) {
        self.settled_count += 1;
        self.records[(ticket - self.first) as usize].settled = true;
        while self.records.front().is_some_and(|sent| sent.settled) {
            self.bytes -= self.records.pop_front().map_or(0, |sent| sent.bytes);
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCluster;
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

    use super::*;

    #[test]
    fn the_window_moves_when_its_first_record_is_settled() {
        let mut window = Window::default();
        let tickets: Vec<Ticket> = (0..4).map(|_| window.open(10)).collect();
        window.settle(tickets[1]);
        window.settle(tickets[2]);
        assert_eq!((window.first, window.open_count(), window.bytes), (0, 2, 40));
        window.settle(tickets[0]);
        assert_eq!((window.first, window.open_count(), window.bytes), (3, 1, 10));
        assert_eq!(window.next(), 4);
    }

    #[test]
    fn a_full_window_waits_for_its_older_half_and_an_empty_one_takes_anything() {
        let mut window = Window::default();
        assert_eq!(window.wait_for_room(IN_FLIGHT_BYTES_MAX + 1), Ok(None));
        for _ in 0..IN_FLIGHT_RECORDS_MAX - 1 {
            window.open(1);
        }
        assert_eq!(window.wait_for_room(1), Ok(None));
        assert_eq!(window.wait_for_room(IN_FLIGHT_BYTES_MAX), Ok(Some(IN_FLIGHT_RECORDS_MAX as Ticket / 2)));
        window.open(1);
        assert_eq!(window.wait_for_room(1), Ok(Some(IN_FLIGHT_RECORDS_MAX as Ticket / 2)));
    }

    #[test]
    fn an_outage_is_said_after_three_seconds_then_every_thirty_and_its_end_once() {
        let mut quiet = Quiet::default();
        // Nothing to acknowledge is no outage.
        assert!((0..60).all(|_| quiet.after_interval(0, 0).is_none()));
        let said: Vec<u64> = (1..=70).filter(|_| quiet.after_interval(0, 5) == Some(Notice::Waiting)).collect();
        assert_eq!(said, [3, 33, 63]);
        assert_eq!(quiet.after_interval(4, 1), Some(Notice::Back { seconds: 70 }));
        assert_eq!(quiet.after_interval(5, 1), None);
    }

    fn numbered<'a>(value: &'a [u8]) -> Outgoing<'a> {
        Outgoing { topic: "numbers", key: Some(b"one key"), value: Some(value), headers: &[] }
    }

    #[tokio::test]
    async fn an_outage_delays_records_and_neither_loses_nor_repeats_nor_reorders_them() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("numbers", 1, 1).expect("a topic");
        let mut sender = Sender::new(&Access::new(&cluster.bootstrap_servers())).expect("a sender");
        sender.wait_for_topics(&["numbers"]).await.expect("it is welcome");
        for number in 0..300 {
            match number {
                100 => cluster.broker_down(1).expect("down"),
                200 => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => {}
            }
            sender.send(numbered(number.to_string().as_bytes())).await.expect("an outage is not an error");
        }
        assert!(sender.in_flight() >= 200, "nothing is acknowledged while the broker is down");
        cluster.broker_up(1).expect("up");
        sender.all_delivered().await.expect("delivered");
        assert_eq!((sender.in_flight(), sender.delivered_below()), (0, 300));

        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "reader")
            .create()
            .expect("a consumer");
        let mut from_start = TopicPartitionList::new();
        from_start.add_partition_offset("numbers", 0, Offset::Beginning).expect("a place");
        consumer.assign(&from_start).expect("assigned");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut read = Vec::new();
        while read.len() < 300 && Instant::now() < deadline {
            if let Some(record) = consumer.poll(Duration::from_millis(200)) {
                let record = record.expect("a record");
                read.push(String::from_utf8(record.payload().expect("a value").to_vec()).expect("text"));
            }
        }
        assert_eq!(read, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(consumer.poll(Duration::from_millis(500)).is_none(), "nothing is there twice");
    }

    #[tokio::test]
    async fn a_topic_that_is_missing_is_waited_for() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        let sender = Sender::new(&Access::new(&cluster.bootstrap_servers())).expect("a sender");
        let soon = tokio::time::timeout(Duration::from_secs(1), sender.wait_for_topics(&["numbers"]));
        assert!(soon.await.is_err());
        cluster.create_topic("numbers", 1, 1).expect("a topic");
        sender.wait_for_topics(&["numbers"]).await.expect("it is welcome");
    }

    #[tokio::test]
    async fn a_refused_record_is_the_end() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("numbers", 1, 1).expect("a topic");
        let mut sender = Sender::new(&Access::new(&cluster.bootstrap_servers())).expect("a sender");
        let huge = vec![0; 17 << 20];
        let refused = sender.send(numbered(&huge)).await.expect_err("it is too large");
        assert_eq!(sender.send(numbered(b"1")).await, Err(refused.clone()));
        assert_eq!(sender.all_delivered().await, Err(refused));
    }
}
