//! What Kafka says about topics and a group: read without joining the group, and without writing anything.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::access::Access;
use crate::kafka::partition::plain_offset;
use crate::kafka::rebalance::metadata_of;
use crate::kafka::{Quiet, saved, topic_id};

/// Whom and what to ask.
#[derive(Debug, Clone)]
pub struct Asked {
    pub access: Access,
    pub group_id: String,
    /// The topics that the group reads.
    pub topics: Vec<String>,
    pub dead_letter_topic: String,
}

/// What the cluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// In the order in which they were asked for.
    pub topics: Vec<TopicFacts>,
    pub dead_letters: TopicFacts,
    pub group: GroupFacts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    pub name: String,
    pub presence: Presence,
    /// Which topic it is, where the brokers tell (K8).
    pub id: Option<String>,
    pub partitions: Vec<PartitionFacts>,
    /// The fewest that a partition of it has.
    pub replicas: usize,
    /// `None` when they may not be read.
    pub settings: Option<TopicSettings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    There,
    Missing,
    /// We may not know: DESCRIBE is not granted.
    Hidden,
}

/// The settings of a topic that matter to whoever reads it. `None` is for ever, or without bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    pub cleanup_policy: String,
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<i64>,
    pub min_compaction_lag_ms: i64,
    pub delete_retention_ms: i64,
    pub message_bytes_max: i64,
    /// How far ahead of the broker's clock a record's timestamp may be; `None` where nothing is refused.
    pub timestamp_ahead_max_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    pub number: i32,
    /// Its first offset and its next one; `None` when they may not be read.
    pub range: Option<(i64, i64)>,
    /// What the group committed for it.
    pub commit: Option<CommitFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    pub next_offset: i64,
    /// `None` when it is no text.
    pub metadata: Option<String>,
}

impl TopicFacts {
    /// The id of the topic that a commit was made in, when it is not the one that is there now.
    pub fn another(&self, commit: &CommitFacts) -> Option<String> {
        let now = self.id.as_deref()?;
        saved::topic_id(commit.metadata.as_deref()?).filter(|then| *then != now).map(str::to_string)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its offsets may be read.
    pub readable: bool,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A longer limit of timestamps is none.
const TIMESTAMP_AHEAD_BELIEVED_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// Asks for all of it. An error means that the cluster does not answer; what it refuses to tell is in the facts.
pub async fn describe(asked: &Asked) -> KafkaResult<Described> {
    let names: Vec<String> = asked.topics.iter().chain([&asked.dead_letter_topic]).cloned().collect();
    let blocking = asked.clone();
    let positions = tokio::task::spawn_blocking(move || positions(&blocking));
    let (settings, positions) = tokio::join!(settings(&asked.access, &names), positions);
    let (mut topics, group) = positions.map_err(|_| KafkaError::Canceled)??;
    // The settings of a topic that is not there are its error.
    for (topic, settings) in topics.iter_mut().zip(settings?) {
        topic.settings = settings;
    }
    let dead_letters = topics.pop().ok_or(KafkaError::Canceled)?;
    Ok(Described { topics, dead_letters, group })
}

/// Whether the group has members now.
pub fn members(access: &Access, group_id: &str) -> KafkaResult<usize> {
    let consumer: BaseConsumer<Quiet> = access.client(&[]).create_with_context(Quiet)?;
    let groups = consumer.fetch_group_list(Some(group_id), REQUEST_TIMEOUT)?;
    Ok(groups.groups().iter().filter(|group| group.name() == group_id).map(|group| group.members().len()).sum())
}

/// The topics with their partitions, offsets and commits, the dead-letter topic last, still without settings.
fn positions(asked: &Asked) -> KafkaResult<(Vec<TopicFacts>, GroupFacts)> {
    let consumer: BaseConsumer<Quiet> =
        asked.access.client(&[]).set("group.id", &asked.group_id).create_with_context(Quiet)?;
    let mut topics = Vec::with_capacity(asked.topics.len() + 1);
    for name in asked.topics.iter().chain([&asked.dead_letter_topic]) {
        topics.push(topic(&consumer, name)?);
    }
    let there: Vec<&str> = topics.iter().filter(|t| t.presence == Presence::There).map(|t| t.name.as_str()).collect();
    let identities = topic_id::describe(&consumer, &there, REQUEST_TIMEOUT)?;
    topics.iter_mut().for_each(|topic| topic.id = identities.get(&topic.name).and_then(|found| found.id.clone()));
    let mut all = TopicPartitionList::new();
    for topic in &topics[..asked.topics.len()] {
        for partition in &topic.partitions {
            all.add_partition(&topic.name, partition.number);
        }
    }
    if all.count() == 0 {
        return Ok((topics, GroupFacts { readable: true }));
    }
    let begins = offsets(&consumer, &all, Offset::Beginning)?;
    let ends = offsets(&consumer, &all, Offset::End)?;
    // An offset that could not be told now must not look like none.
    let whole = |list: TopicPartitionList| {
        list.elements().iter().try_for_each(|element| element.error())?;
        Ok(list)
    };
    let committed = match consumer.committed_offsets(all, REQUEST_TIMEOUT).and_then(whole) {
        Ok(committed) => Some(committed),
        Err(error) if is_forbidden(&error) => None,
        Err(error) => return Err(error),
    };
    for topic in &mut topics[..asked.topics.len()] {
        for partition in &mut topic.partitions {
            let at = |list: &TopicPartitionList| {
                let element = list.find_partition(&topic.name, partition.number);
                element.filter(|element| element.error().is_ok()).and_then(|element| plain_offset(element.offset()))
            };
            partition.range = at(&begins).zip(at(&ends));
            partition.commit = committed.as_ref().and_then(|list| {
                let metadata = metadata_of(&list.find_partition(&topic.name, partition.number)?);
                Some(CommitFacts { next_offset: at(list)?, metadata })
            });
        }
    }
    Ok((topics, GroupFacts { readable: committed.is_some() }))
}

fn topic(consumer: &BaseConsumer<Quiet>, name: &str) -> KafkaResult<TopicFacts> {
    let metadata = consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT)?;
    let found = metadata.topics().iter().find(|topic| topic.name() == name);
    let presence = match found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from) {
        None if found.is_some() => Presence::There,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Presence::Hidden,
        None
        | Some(
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::InvalidTopic,
        ) => Presence::Missing,
        // It has no leader just now, or the like.
        Some(passing) => return Err(KafkaError::MetadataFetch(passing)),
    };
    let partitions = found.filter(|_| presence == Presence::There).map_or(&[][..], |topic| topic.partitions());
    let mut numbers: Vec<i32> = partitions.iter().map(|partition| partition.id()).collect();
    numbers.sort_unstable();
    Ok(TopicFacts {
        name: name.into(),
        presence,
        id: None,
        replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or_default(),
        partitions: numbers.into_iter().map(|number| PartitionFacts { number, range: None, commit: None }).collect(),
        settings: None,
    })
}

/// The first or the next offset of every partition, in one request to each broker. The logical offsets are those that
/// Kafka's own protocol uses in place of a time.
fn offsets(consumer: &BaseConsumer<Quiet>, all: &TopicPartitionList, which: Offset) -> KafkaResult<TopicPartitionList> {
    let mut asked = all.clone();
    asked.set_all_offsets(which)?;
    match consumer.offsets_for_times(asked, REQUEST_TIMEOUT) {
        Ok(told) => {
            let passing = told.elements().iter().filter_map(|element| element.error().err()).find(|e| !is_forbidden(e));
            passing.map_or(Ok(told), Err)
        }
        Err(error) if is_forbidden(&error) => Ok(TopicPartitionList::new()),
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed)
    )
}

async fn settings(access: &Access, names: &[String]) -> KafkaResult<Vec<Option<TopicSettings>>> {
    let admin: AdminClient<Quiet> = access.client(&[]).create_with_context(Quiet)?;
    let topics: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = admin.describe_configs(&topics, &options).await?;
    Ok(described.into_iter().map(|described| described.ok().and_then(|described| topic_settings(&described))).collect())
}

fn topic_settings(described: &ConfigResource) -> Option<TopicSettings> {
    let text = |name: &str| described.get(name)?.value.as_deref();
    let number = |name: &str| text(name)?.parse::<i64>().ok();
    // Kafka writes "for ever" as -1.
    let bounded = |name: &str| number(name).filter(|value| *value >= 0);
    let by_broker = text("message.timestamp.type") == Some("LogAppendTime");
    let ahead = bounded("message.timestamp.after.max.ms").filter(|ms| *ms <= TIMESTAMP_AHEAD_BELIEVED_MS);
    Some(TopicSettings {
        cleanup_policy: text("cleanup.policy")?.into(),
        retention_ms: bounded("retention.ms"),
        retention_bytes: bounded("retention.bytes"),
        min_compaction_lag_ms: number("min.compaction.lag.ms").unwrap_or_default(),
        delete_retention_ms: number("delete.retention.ms").unwrap_or_default(),
        message_bytes_max: number("max.message.bytes")?,
        timestamp_ahead_max_ms: ahead.filter(|_| !by_broker),
    })
}
