//! Before the group is joined: topics are waited for, and a partition that the group never read gets its first
//! commit, so that a partition without records is not a special case later (V2).

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::place::{Found, begin};
use crate::kafka::rebalance::{kept, metadata_of};
use crate::kafka::{ConsumerSettings, Quiet, group_client, saved, topic_id};
use crate::record::TopicPartition;
use crate::sink::{Failure, Sink};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the group cannot be joined, in words for the operator.
pub enum Unready {
    /// It may be later.
    NotYet(String),
    /// A person has to act first.
    Refused(String),
}

/// One attempt to find the topics and to begin what nobody has begun. Does nothing for partitions with a commit.
pub fn prepare<S: Sink>(
    settings: &ConsumerSettings,
    sink: &S,
    runtime: &tokio::runtime::Handle,
) -> Result<(), Unready> {
    let mut config = group_client(settings);
    // Committing from outside is what makes this safe: the broker refuses it as soon as the group has a member, and
    // so a start can never be written over somebody's progress. A static id would make us a member.
    config.remove("group.instance.id");
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(|error| not_yet("Kafka", &error))?;
    let partitions = partitions(&consumer, &settings.topics)?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    runtime.block_on(refuse_compacted(settings))?;
    let committed = consumer.committed_offsets(partitions, REQUEST_TIMEOUT);
    let committed = committed.map_err(|error| not_yet("the group's offsets", &error))?;
    let identities = topic_id::describe(&consumer, &topics, REQUEST_TIMEOUT);
    let identities = identities.map_err(|error| not_yet("what the topics are", &error))?;
    let mut first = TopicPartitionList::new();
    for topic in topics {
        let elements = committed.elements_for_topic(topic);
        let (unbegun, begun): (Vec<_>, Vec<_>) =
            elements.iter().partition(|element| element.offset() == Offset::Invalid);
        // Those that were added later stop all of their topic in a run, which says so.
        if unbegun.is_empty() || (!begun.is_empty() && !settings.accept_added_partitions) {
            continue;
        }
        let kept = kept(sink, runtime, topic).map_err(|failure| match failure {
            Failure::Retry(what) => Unready::NotYet(what),
            Failure::Stop(why) => Unready::Refused(why),
        })?;
        let (group_id, versions, identity) = (&*settings.group_id, settings.versions, identities.get(topic));
        let mut begins = Vec::with_capacity(unbegun.len());
        for element in unbegun {
            let id = TopicPartition { topic: topic.into(), partition: element.partition() };
            let watermarks = consumer.fetch_watermarks(topic, id.partition, REQUEST_TIMEOUT);
            let (low, high) = watermarks.map_err(|error| not_yet("where the topics begin", &error))?;
            let (next_offset, metadata, begun_count) = (None, None, begun.len());
            let found = Found { group_id, versions, next_offset, metadata, begun: begun_count, identity, low, high };
            let chains = begun.iter().filter_map(|other| saved::chain(&metadata_of(other)?).ok());
            begins.push(begin(&id, &found, &kept, chains).map(|(offset, chain)| (id.partition, offset, chain)));
        }
        // A topic of which one partition cannot be begun is left alone: a run stops it, and says why.
        let Ok(begins) = begins.into_iter().collect::<Result<Vec<_>, String>>() else { continue };
        let topic_id = identity.and_then(|identity| identity.id.as_deref());
        for (partition, next_offset, chain) in begins {
            let mut begin = first.add_partition(topic, partition);
            begin.set_offset(Offset::Offset(next_offset)).map_err(|error| not_yet("Kafka", &error))?;
            begin.set_metadata(saved::metadata(versions.then_some(chain), topic_id));
        }
    }
    if first.count() == 0 {
        return Ok(());
    }
    match consumer.commit(&first, CommitMode::Sync) {
        Ok(()) => Ok(()),
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId)) => Err(Unready::NotYet(format!(
            "another member of group {} to begin its topics, or to leave",
            settings.group_id
        ))),
        Err(error) => Err(not_yet("the group's first commit", &error)),
    }
}

/// A compacted topic keeps no image of what a row was before, and a row that moves could not be found again.
async fn refuse_compacted(settings: &ConsumerSettings) -> Result<(), Unready> {
    if settings.uncompacted_topics.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<Quiet> =
        settings.access.client(&[]).create_with_context(Quiet).map_err(|error| not_yet("Kafka", &error))?;
    let topics: Vec<ResourceSpecifier<'_>> =
        settings.uncompacted_topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = admin.describe_configs(&topics, &options).await;
    let described = described.map_err(|error| not_yet("the topics' settings", &error))?;
    for (topic, described) in settings.uncompacted_topics.iter().zip(described) {
        let described =
            described.map_err(|error| Unready::NotYet(format!("the settings of topic {topic}: {error}")))?;
        let policy = described.get("cleanup.policy").and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if policy.contains("compact") {
            return Err(Unready::Refused(format!(
                "topic {topic} has cleanup.policy={policy}, and a route whose table is keyed by more than the \
                 source's key needs every change: set it to delete, and fill the table again from a snapshot"
            )));
        }
    }
    Ok(())
}

fn partitions(consumer: &BaseConsumer<Quiet>, topics: &[String]) -> Result<TopicPartitionList, Unready> {
    let mut list = TopicPartitionList::new();
    let mut missing = Vec::new();
    for name in topics {
        let metadata = consumer.fetch_metadata(Some(name), REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| not_yet("Kafka", &error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        match topic.filter(|topic| topic.error().is_none() && !topic.partitions().is_empty()) {
            Some(topic) => topic.partitions().iter().for_each(|partition| {
                list.add_partition(name, partition.id());
            }),
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() { Ok(list) } else { Err(Unready::NotYet(format!("topic {}", missing.join(", ")))) }
}

fn not_yet(what: &str, error: &KafkaError) -> Unready {
    Unready::NotYet(format!("{what}: {error}"))
}
