//! The `producer` binary against the running stack, on topics of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rowferry::shop::event::Event;
use rowferry::shop::history::HistorySpec;
use rowferry::shop::oracle::Tables;
use uuid::Uuid;

const BOOTSTRAP_SERVERS: &str = "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094";
const PRODUCER: &str = env!("CARGO_BIN_EXE_producer");
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_history_arrives_whole_in_order_and_where_java_would_put_it() {
    let topics = Topics::create().await;
    let output = topics.producer(&["--seed", "7", "--users", "300", "--orders", "700"]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let records = topics.read_all();

    let history: Vec<Event> = HistorySpec { seed: 7, users: 300, orders: 700, endless: false }.history().collect();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in &history {
        expected.entry(event.id().to_string()).or_default().push(utf8(&event.to_json()));
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &records {
        found.entry(record.key.clone()).or_default().push(record.value.clone());
        assert_eq!(record.headers, [("schema-version".to_string(), "1".to_string())]);
        let is_user = record.value.contains("\"dob\"") || !record.value.contains("\"order_id\"");
        let (topic, partitions) = if is_user { (&topics.users, 3) } else { (&topics.orders, 5) };
        assert_eq!(&record.topic, topic);
        assert_eq!(record.partition, java_partition(record.key.as_bytes(), partitions), "{}", record.key);
    }
    assert_eq!(records.len(), history.len());
    assert!(found == expected, "every key has its events, in order");
    let summary = utf8(&output.stdout);
    assert!(summary.contains(&format!("{} events acknowledged in ", history.len())), "{summary}");

    // The topics stamp records as they are appended, so the log itself shows that the user was there first.
    let created: BTreeMap<&str, i64> = records
        .iter()
        .filter(|record| record.topic == topics.users && record.value.contains("\"CREATE\""))
        .map(|record| (record.key.as_str(), record.appended_ms))
        .collect();
    let mut named = 0;
    for record in records.iter().filter(|record| record.topic == topics.orders) {
        let value: serde_json::Value = serde_json::from_str(&record.value).expect("JSON");
        if let Some(user) = value["user_id"].as_str() {
            assert!(created[user] <= record.appended_ms, "order {} came before its user", record.key);
            named += 1;
        }
    }
    assert!(named >= 700);
    topics.delete().await;
}

#[tokio::test]
async fn sigterm_ends_an_endless_history_with_everything_acknowledged() {
    let topics = Topics::create().await;
    let mut producer = Running::spawn(topics.producer(&["--forever", "--rate", "2000"]));
    tokio::time::sleep(Duration::from_secs(3)).await;
    producer.terminate();
    assert_eq!(producer.wait().code(), Some(0));
    let summary = producer.stdout();
    let said: usize = summary
        .lines()
        .find_map(|line| line.split_once(" events acknowledged").and_then(|(count, _)| count.parse().ok()))
        .expect(&summary);
    assert!((100..10_000).contains(&said), "at most 2,000 a second for 3 seconds, on a busy machine less: {said}");
    assert_eq!(topics.read_all().len(), said);
    topics.delete().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_yet_is_named_and_waited_for() {
    let topics = Topics::named();
    let mut producer = Running::spawn(topics.producer(&["--users", "5", "--orders", "5"]));
    let said = producer.stderr_until("no topic");
    assert!(said.contains(&topics.users) && said.contains(&topics.orders), "{said}");
    topics.make().await;
    assert_eq!(producer.wait().code(), Some(0));
    assert_eq!(topics.read_all().len(), HistorySpec { seed: 1, users: 5, orders: 5, endless: false }.history().count());
    topics.delete().await;
}

/// Brokers of this process's own, because the stack's are not to be stopped: librdkafka's, on real sockets.
fn brokers() -> (MockCluster<'static, DefaultProducerContext>, Command) {
    let brokers = MockCluster::new(1).expect("a mock cluster");
    brokers.create_topic("users", 3, 1).expect("a topic");
    brokers.create_topic("orders", 5, 1).expect("a topic");
    let servers = brokers.bootstrap_servers();
    (brokers, command(&["--forever", "--rate", "200", "--bootstrap-servers", &servers]))
}

#[test]
fn an_outage_is_said_and_ridden_out() {
    let (brokers, command) = brokers();
    let mut producer = Running::spawn(command);
    std::thread::sleep(Duration::from_secs(2));
    brokers.broker_down(1).expect("down");
    let said = producer.stderr_until("waiting for Kafka to acknowledge");
    assert!(said.contains(&brokers.bootstrap_servers()), "{said}");
    brokers.broker_up(1).expect("up");
    producer.stderr_until("kafka acknowledges again");
    producer.terminate();
    assert_eq!(producer.wait().code(), Some(0));
}

#[test]
fn a_second_signal_during_an_outage_ends_it_at_once_with_1() {
    let (brokers, command) = brokers();
    let mut producer = Running::spawn(command);
    std::thread::sleep(Duration::from_secs(2));
    brokers.broker_down(1).expect("down");
    producer.stderr_until("waiting for Kafka to acknowledge");
    producer.terminate();
    std::thread::sleep(Duration::from_secs(1));
    assert!(producer.child.try_wait().expect("a child").is_none(), "it waits for what is on its way");
    producer.terminate();
    assert_eq!(producer.wait().code(), Some(1));
    producer.stderr_until("ending at once");
}

#[test]
fn brokers_that_are_away_are_named_and_an_interrupt_still_ends_it() {
    let nobody = ["--bootstrap-servers", "127.0.0.1:1"];
    let mut producer = Running::spawn(command(&nobody));
    let said = producer.stderr_until("waiting for Kafka");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    producer.terminate();
    assert_eq!(producer.wait().code(), Some(0));
    assert!(producer.stdout().contains("0 events acknowledged"));
}

#[test]
fn the_oracle_needs_no_kafka() {
    let arguments =
        ["--oracle", "--bootstrap-servers", "127.0.0.1:1", "--users", "30", "--orders", "70", "--seed", "2"];
    let output = command(&arguments).output().expect("it runs");
    let mut expected = Vec::new();
    let history = HistorySpec { seed: 2, users: 30, orders: 70, endless: false }.history();
    Tables::after(history).write_lines(&mut expected).expect("memory takes every write");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(utf8(&output.stdout), utf8(&expected));
}

#[test]
fn wrong_usage_is_2_and_a_refused_configuration_is_64() {
    for (arguments, code, says) in [
        (&["--rate", "0"][..], 2, "--rate"),
        (&["--users", "0"], 2, "--users"),
        (&["--oracle", "--forever"], 2, "--forever"),
        (&["--bootstrap-servers", "localhost:port"], 64, "localhost:port"),
        (&["--bootstrap-servers", "a:9092,,b:9092"], 64, "host:port"),
        (&["--users-topic", "x", "--orders-topic", "x"], 64, "--orders-topic"),
    ] {
        let output = command(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(utf8(&output.stderr).contains(says), "{arguments:?}: {output:?}");
    }
}

/// Two topics of one test, like the demo's but stamped as they are appended.
struct Topics {
    users: String,
    orders: String,
}

struct Read {
    topic: String,
    partition: i32,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
    appended_ms: i64,
}

impl Topics {
    fn named() -> Self {
        let test = Uuid::new_v4().simple().to_string();
        Topics { users: format!("test-{test}-users"), orders: format!("test-{test}-orders") }
    }

    async fn create() -> Self {
        let topics = Topics::named();
        topics.make().await;
        topics
    }

    async fn make(&self) {
        let new = [(&self.users, 3), (&self.orders, 5)].map(|(name, partitions)| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(3)).set("message.timestamp.type", "LogAppendTime")
        });
        let made = admin().create_topics(&new, &AdminOptions::new().request_timeout(Some(TIMEOUT / 3))).await;
        for topic in made.unwrap_or_else(|error| panic!("the stack is not running: make up ({error})")) {
            topic.expect("a topic");
        }
    }

    async fn delete(&self) {
        let names = [self.users.as_str(), self.orders.as_str()];
        admin().delete_topics(&names, &AdminOptions::new()).await.expect("deleted");
    }

    fn producer(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.args(["--users-topic", &self.users, "--orders-topic", &self.orders]);
        command.args(["--bootstrap-servers", BOOTSTRAP_SERVERS]);
        command
    }

    /// Every record of both topics, each partition in its order.
    fn read_all(&self) -> Vec<Read> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", BOOTSTRAP_SERVERS)
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut assigned = TopicPartitionList::new();
        let mut missing = 0;
        for (topic, partitions) in [(&self.users, 3), (&self.orders, 5)] {
            for partition in 0..partitions {
                let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT).expect("the ends");
                missing += high - low;
                assigned.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
            }
        }
        consumer.assign(&assigned).expect("assigned");
        let deadline = Instant::now() + TIMEOUT;
        let mut records = Vec::new();
        while (records.len() as i64) < missing {
            assert!(Instant::now() < deadline, "{} of {missing} records read", records.len());
            if let Some(record) = consumer.poll(Duration::from_millis(200)) {
                records.push(Read::new(&record.expect("a record")));
            }
        }
        records
    }
}

impl Read {
    fn new(record: &BorrowedMessage<'_>) -> Self {
        let headers = record.headers().expect("headers");
        Read {
            topic: record.topic().into(),
            partition: record.partition(),
            key: utf8(record.key().expect("a key")),
            value: utf8(record.payload().expect("a value")),
            headers: headers.iter().map(|it| (it.key.into(), utf8(it.value.expect("a value")))).collect(),
            appended_ms: record.timestamp().to_millis().expect("a timestamp"),
        }
    }
}

/// A producer that runs beside the test. It is killed when the test ends without it.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
        Running { child, stderr }
    }

    /// The next line of its log that says this.
    fn stderr_until(&mut self, text: &str) -> String {
        self.stderr.by_ref().map(|line| line.expect("text")).find(|line| line.contains(text)).expect(text)
    }

    fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stdout(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.as_mut().expect("piped").read_to_string(&mut text).expect("text");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PRODUCER);
    command.args(arguments).env_remove("RUST_LOG").env_remove("ROWFERRY_KAFKA_BOOTSTRAP_SERVERS");
    command
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", BOOTSTRAP_SERVERS).create().expect("a client")
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Where the Java client's default partitioner puts a key: `org.apache.kafka.common.utils.Utils.murmur2`, made
/// positive, modulo the number of partitions.
fn java_partition(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % partitions) as i32
}

/// From the tests of the Java client (`UtilsTest.testMurmur2`): "21" hashes to -973932308.
#[test]
fn the_partition_is_that_of_the_java_client() {
    assert_eq!(java_partition(b"21", 0x8000_0000), -973_932_308_i32 & 0x7fff_ffff);
    assert_eq!(java_partition(b"foobar", 0x8000_0000), -790_332_482_i32 & 0x7fff_ffff);
}
