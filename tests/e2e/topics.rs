//! Topics, records and offsets, seen by a second client.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

use crate::rows::Row;
use crate::stack::{BROKERS, Scenario, client, stack_is_down, until};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A record to be written exactly so.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: Option<i64>,
    /// By the key's hash, as the Java client does it, when not set.
    pub partition: Option<i32>,
}

/// A record as it stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub next_offset: i64,
    /// Without the id of the topic, which every commit of ours carries beside it.
    pub metadata: String,
}

/// Commits by topic and partition.
pub type Commits = BTreeMap<(String, i32), Commit>;

impl Raw {
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Raw {
        Raw { key: Some(key.as_ref().into()), value: Some(value.as_ref().into()), ..Raw::default() }
    }

    pub fn tombstone(key: impl AsRef<[u8]>) -> Raw {
        Raw { key: Some(key.as_ref().into()), ..Raw::default() }
    }

    pub fn to(mut self, partition: i32) -> Raw {
        self.partition = Some(partition);
        self
    }

    pub fn at(mut self, timestamp_ms: i64) -> Raw {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Raw {
        self.headers.push((name.into(), Some(value.as_ref().into())));
        self
    }
}

impl Stored {
    /// The value of a header, as text. The last one counts, as ours come after the original ones.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().rfind(|(found, _)| found == name)?;
        Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
    }

    /// A dead letter's reason class.
    pub fn reason(&self) -> String {
        self.header("rowferry.reason").unwrap_or_else(|| panic!("no reason in {:?}", self.headers))
    }

    /// Where a dead letter's record came from: topic, partition, offset.
    pub fn origin(&self) -> (String, i32, i64) {
        let told = |name: &str| self.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        let number = |name: &str| told(name).parse::<i64>().unwrap();
        (told("rowferry.topic"), number("rowferry.partition") as i32, number("rowferry.offset"))
    }

    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Scenario {
    /// Makes a topic with three replicas and waits until every partition has a leader.
    pub async fn make_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(3));
        // Tests write records with old timestamps, which a broker would delete when it next looks for expired ones.
        for (name, value) in [("cleanup.policy", "delete"), ("retention.ms", "-1")].iter().chain(settings) {
            new = new.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let made = self.kafka.create_topics([&new], &options).await;
        let made = made.unwrap_or_else(|error| stack_is_down("Kafka", &error));
        made.into_iter().for_each(|made| drop(made.unwrap()));
        self.made.lock().unwrap().push(topic.into());
        let consumer = self.reader("");
        until(&format!("{topic} has leaders"), 30, async || {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            found.is_some_and(|found| {
                found.partitions().len() == partitions as usize
                    && found.partitions().iter().all(|partition| partition.leader() >= 0 && partition.error().is_none())
            })
        })
        .await;
    }

    /// Deletes a topic and waits until every broker has forgotten it.
    pub async fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let deleted = self.kafka.delete_topics(&[topic], &options).await.unwrap();
        deleted.into_iter().for_each(|deleted| drop(deleted.unwrap()));
        self.made.lock().unwrap().retain(|made| made != topic);
        for broker in BROKERS.split(',') {
            let consumer: BaseConsumer = client().set("bootstrap.servers", broker).create().unwrap();
            until(&format!("{topic} is gone from {broker}"), 30, async || {
                let metadata = consumer.fetch_metadata(None, TIMEOUT).unwrap();
                metadata.topics().iter().all(|found| found.name() != topic)
            })
            .await;
        }
    }

    /// Gives a topic these settings, in place of all that it had.
    pub async fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let entries = settings.iter().copied().collect();
        let alter = AlterConfig { specifier: ResourceSpecifier::Topic(topic), entries };
        let altered = self.kafka.alter_configs([&alter], &AdminOptions::new()).await.unwrap();
        altered.into_iter().for_each(|altered| drop(altered.unwrap()));
    }

    /// A client that asks, in the name of a group where that matters. It stays: tests ask twenty times a second, and to
    /// connect costs more than all else.
    fn reader(&self, group: &str) -> Arc<BaseConsumer> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.entry(group.into()).or_insert_with(|| Arc::new(consumer(group))).clone()
    }

    /// Writes a record and returns where it went: partition and offset.
    pub async fn produce(&self, topic: &str, raw: &Raw) -> (i32, i64) {
        self.produce_all(topic, std::slice::from_ref(raw)).await[0]
    }

    /// Writes records in this order (within a partition) and returns where they went.
    pub async fn produce_all(&self, topic: &str, records: &[Raw]) -> Vec<(i32, i64)> {
        let mut sent = Vec::with_capacity(records.len());
        for raw in records {
            let headers = raw.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
                headers.insert(Header { key: name, value: value.as_deref() })
            });
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers);
            record.key = raw.key.as_deref();
            record.payload = raw.value.as_deref();
            record.timestamp = raw.timestamp_ms;
            record.partition = raw.partition;
            let queued = self.producer.send_result(record);
            sent.push(queued.map_err(|(error, _)| error).unwrap());
        }
        let mut places = Vec::with_capacity(sent.len());
        for delivery in sent {
            let delivered = delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
            places.push((delivered.partition, delivered.offset));
        }
        places
    }

    /// First and next offset of every partition.
    pub fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer = self.reader("");
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions().len() as i32;
        (0..partitions).map(|partition| consumer.fetch_watermarks(topic, partition, TIMEOUT).unwrap()).collect()
    }

    /// Everything in a topic, by partition and offset.
    pub fn records(&self, topic: &str) -> Vec<Stored> {
        self.records_from(topic, |_| 0)
    }

    /// The same from an offset on in each partition.
    pub fn records_from(&self, topic: &str, from: impl Fn(i32) -> i64) -> Vec<Stored> {
        let ends = self.ends(topic);
        let mut assignment = TopicPartitionList::new();
        let mut open = 0;
        for (partition, (low, high)) in (0..).zip(&ends) {
            let start = from(partition).max(*low);
            if start < *high {
                assignment.add_partition_offset(topic, partition, Offset::Offset(start)).unwrap();
                open += 1;
            }
        }
        let mut stored = Vec::new();
        if open == 0 {
            return stored;
        }
        let consumer = consumer("");
        consumer.assign(&assignment).unwrap();
        while open > 0 {
            let message = consumer.poll(TIMEOUT).unwrap_or_else(|| panic!("{topic} does not give its records"));
            let message = message.unwrap();
            let (partition, offset) = (message.partition(), message.offset());
            let (_, high) = ends[partition as usize];
            open -= usize::from(offset + 1 == high);
            if offset >= high {
                continue;
            }
            let header = |header: Header<'_, &[u8]>| (header.key.to_string(), header.value.map(<[u8]>::to_vec));
            stored.push(Stored {
                partition,
                offset,
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
            });
        }
        stored.sort_by_key(|stored| (stored.partition, stored.offset));
        stored
    }

    /// Every dead letter of this scenario.
    pub fn dead_letters(&self) -> Vec<Stored> {
        self.records(&self.dead_letter_topic())
    }

    pub fn assert_no_dead_letters(&self) {
        let letters = self.dead_letters();
        let shown = letters.iter().take(5).map(|letter| {
            format!(
                "{:?}: {} ({})",
                letter.origin(),
                letter.reason(),
                letter.header("rowferry.text").unwrap_or_default()
            )
        });
        assert!(letters.is_empty(), "{} dead letters:\n{}", letters.len(), shown.collect::<Vec<_>>().join("\n"));
    }

    /// What the group committed. A partition without a commit is left out.
    pub fn committed(&self, group: &str, topics: &[&str]) -> Commits {
        let consumer = self.reader(group);
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
            for partition in metadata.topics()[0].partitions() {
                asked.add_partition(topic, partition.id());
            }
        }
        let deadline = Instant::now() + TIMEOUT;
        let committed = loop {
            match consumer.committed_offsets(asked.clone(), TIMEOUT) {
                Ok(committed) => break committed,
                // After a broker came or went the coordinator is another one for a while.
                Err(error) => assert!(Instant::now() < deadline, "the commits of {group}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let commit = |next_offset: i64, metadata: &str| {
            let words: Vec<&str> = metadata.split(' ').filter(|word| !word.starts_with("topic=")).collect();
            Commit { next_offset, metadata: words.join(" ") }
        };
        committed
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(next_offset) => {
                    Some(((element.topic().into(), element.partition()), commit(next_offset, element.metadata())))
                }
                _ => None,
            })
            .collect()
    }

    /// The next offsets that the group committed, summed up.
    pub fn committed_sum(&self, group: &str, topics: &[&str]) -> i64 {
        self.committed(group, topics).values().map(|commit| commit.next_offset).sum()
    }

    /// The next offsets of all partitions, summed up.
    pub fn ends_sum(&self, topics: &[&str]) -> i64 {
        topics.iter().flat_map(|topic| self.ends(topic)).map(|(_, end)| end).sum()
    }

    /// The next offset of each partition in `rowferry_progress`.
    pub async fn progress(&self) -> BTreeMap<(String, i32), i64> {
        let rows = self.postgres_query("SELECT topic, partition, next_offset FROM rowferry_progress").await;
        let text = |row: &Row, column: &str| row[column].clone().unwrap();
        rows.iter()
            .map(|row| {
                let place = (text(row, "topic"), text(row, "partition").parse().unwrap());
                (place, text(row, "next_offset").parse().unwrap())
            })
            .collect()
    }

    /// Waits until Postgres has done, or not done, what a `consumer` that was killed had sent.
    pub async fn until_consumer_is_gone(&self) {
        until("its connections are gone", 20, async || {
            let theirs = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() \
                          AND application_name = 'rowferry'";
            self.postgres_query(theirs).await[0]["n"].as_deref() == Some("0")
        })
        .await;
    }

    /// Writes commits into a group that has no members.
    pub fn commit(&self, group: &str, commits: &Commits) {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), commit) in commits {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(commit.next_offset)).unwrap();
            element.set_metadata(&commit.metadata);
        }
        self.reader(group).commit(&list, CommitMode::Sync).unwrap();
    }

    /// The topics that `cdcconsumer` reads.
    pub fn change_topics(&self) -> [String; 2] {
        [self.topic("public.users"), self.topic("public.orders")]
    }

    /// Asserts that the group committed the end of every partition of these topics.
    pub fn assert_committed_to_the_ends(&self, group: &str, topics: &[&str]) {
        let committed = self.committed(group, topics);
        for topic in topics {
            for (partition, (_, end)) in self.ends(topic).into_iter().enumerate() {
                let found = committed.get(&(topic.to_string(), partition as i32)).map(|commit| commit.next_offset);
                assert_eq!(found, Some(end), "{group} at {topic}[{partition}]");
            }
        }
    }
}

fn consumer(group: &str) -> BaseConsumer {
    let group = if group.is_empty() { "nobody" } else { group };
    client().set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
}
