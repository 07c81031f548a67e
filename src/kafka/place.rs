//! Where a partition starts, or why it cannot: a pure decision over what the group committed, what the topic holds
//! and what the topic is. When it cannot be told, the partition stops and says how to go on; it never jumps.

use std::collections::BTreeMap;

use crate::kafka::partition::Start;
use crate::kafka::topic_id::Identity;
use crate::kafka::{lost_versions, saved};
use crate::ownership::{self, Unstartable};
use crate::record::TopicPartition;
use crate::sink::Checkpoint;
use crate::version::guard::Guard;
use crate::version::{Chain, Floor, SavedError};

/// What is known of a partition at its assignment.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub group_id: &'a str,
    /// Commits carry the state of the versions.
    pub versions: bool,
    /// What the group committed; `None` when it never did.
    pub next_offset: Option<i64>,
    /// What was committed with it; `None` when it is no text.
    pub metadata: Option<&'a str>,
    /// Partitions of the topic for which the group has a commit.
    pub begun: usize,
    /// What the topic is now, where the brokers tell.
    pub identity: Option<&'a Identity>,
    /// The first offset that the partition holds, and the next one that it will get.
    pub low: i64,
    pub high: i64,
}

/// Where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    At(Box<Start>),
    /// Another tool has set the group to this offset, and the versions of what follows are not known: the sink may
    /// know them (V2).
    Lost(i64, SavedError),
    /// The group has no commit for it. Partitions are begun before the group is joined, by [`begin`].
    Unbegun,
    Refused(String),
}

/// Decides from the commit.
pub fn place(id: &TopicPartition, found: &Found<'_>) -> Place {
    if let Some(why) = another_topic(id, found).or_else(|| added_partitions(id, found)) {
        return Place::Refused(why);
    }
    let saved = || found.metadata.ok_or(SavedError::Foreign).and_then(saved::chain);
    match ownership::start(found.next_offset, saved, found.versions, found.low, found.high) {
        Ok((next_offset, chain)) => at(found, next_offset, chain),
        Err(Unstartable::Versions { next_offset, error }) => Place::Lost(next_offset, error),
        Err(Unstartable::NoCommit) => Place::Unbegun,
        Err(Unstartable::Expired { next_offset, .. }) => Place::Refused(expired(id, found, next_offset)),
        Err(Unstartable::Truncated { furthest, .. }) => Place::Refused(truncated(id, found, furthest)),
    }
}

/// Where a partition without a commit begins, and with which versions, or why it cannot. Commits expire in a group
/// that nobody ran for a week, and go with a topic that is deleted: then the sink knows that it was read before.
/// `kept` is what the sink has of the topic's partitions, `beside` are the chains of those that have a commit.
pub fn begin(
    id: &TopicPartition,
    found: &Found<'_>,
    kept: &BTreeMap<i32, Checkpoint>,
    beside: impl Iterator<Item = Chain>,
) -> Result<(i64, Chain), String> {
    // A partition that got no record since a command began the new topic still has its old checkpoint.
    let mut ids = kept.values().filter_map(|checkpoint| checkpoint.topic_id.as_deref());
    if let Some((then, now)) = ids.next().zip(topic_id(found)).filter(|(then, now)| then != now)
        && ids.all(|id| id != now)
    {
        return Err(made_anew(&id.topic, found.group_id, found.versions, then, now));
    }
    let Some(kept) = kept.get(&id.partition).filter(|kept| kept.topic_id.as_deref() == topic_id(found)) else {
        return Ok((found.low, Chain::beside(beside)));
    };
    let furthest = Floor { offset: kept.next_offset, last: kept.last_version, guard: Guard::NEW };
    let (next_offset, chain) = Chain::recover(furthest, found.low);
    within(id, found, next_offset, chain)
}

/// Decides from what the sink has of a partition whose commit lost its versions: the older of the two offsets is
/// where reading begins, as after a rewind by `seek`.
pub fn recovered(
    id: &TopicPartition,
    found: &Found<'_>,
    next_offset: i64,
    error: &SavedError,
    checkpoint: Option<&Checkpoint>,
) -> Place {
    let refused = || Place::Refused(lost_versions(error, found.group_id, &id.topic, id.partition, next_offset));
    let Some(checkpoint) = checkpoint else { return refused() };
    let same_topic = checkpoint.topic_id.as_deref() == topic_id(found);
    let furthest = Floor { offset: checkpoint.next_offset, last: checkpoint.last_version, guard: Guard::NEW };
    let (next_offset, chain) = Chain::recover(furthest, next_offset);
    if !same_topic || next_offset < found.low {
        return refused();
    }
    match within(id, found, next_offset, chain) {
        Ok((next_offset, chain)) => at(found, next_offset, Some(chain)),
        Err(why) => Place::Refused(why),
    }
}

fn topic_id<'a>(found: &Found<'a>) -> Option<&'a str> {
    found.identity.and_then(|identity| identity.id.as_deref())
}

/// Where this chain begins at this offset, if the topic still holds what comes next.
fn within(id: &TopicPartition, found: &Found<'_>, next_offset: i64, chain: Chain) -> Result<(i64, Chain), String> {
    match ownership::start(Some(next_offset), || Ok(chain), true, found.low, found.high) {
        Ok(_) | Err(Unstartable::NoCommit | Unstartable::Versions { .. }) => Ok((next_offset, chain)),
        Err(Unstartable::Expired { next_offset, .. }) => Err(expired(id, found, next_offset)),
        Err(Unstartable::Truncated { furthest, .. }) => Err(truncated(id, found, furthest)),
    }
}

fn at(found: &Found<'_>, next_offset: i64, chain: Option<Chain>) -> Place {
    Place::At(Box::new(Start { next_offset, chain, end: found.high, identity: found.identity.cloned() }))
}

fn truncated(id: &TopicPartition, found: &Found<'_>, furthest: i64) -> String {
    format!(
        "group {} stands at offset {furthest}, and the topic ends at {}: it was truncated or created anew; the target \
         has to be filled again from a snapshot, and the group goes on after {}",
        found.group_id,
        found.high,
        mend(&id.topic, found.group_id, found.versions)
    )
}

fn expired(id: &TopicPartition, found: &Found<'_>, next_offset: i64) -> String {
    format!(
        "group {} stands at offset {next_offset}, and the topic begins at {}: the records between have expired unread; \
         the target has to be filled again from a snapshot, and the group goes on after {}",
        found.group_id,
        found.low,
        mend(&id.topic, found.group_id, found.versions)
    )
}

fn another_topic(id: &TopicPartition, found: &Found<'_>) -> Option<String> {
    let now = topic_id(found)?;
    let then = saved::topic_id(found.metadata?).filter(|then| *then != now)?;
    Some(made_anew(&id.topic, found.group_id, found.versions, then, now))
}

/// Why all partitions of a topic stop that is not the one that it was.
pub fn made_anew(topic: &str, group: &str, versions: bool, then: &str, now: &str) -> String {
    format!(
        "topic {topic} was deleted and made anew (its id was {then} and is {now}), so that offsets and versions of group \
         {group} belong to records that are gone; stop the group, and begin the new topic with {}",
        mend(topic, group, versions)
    )
}

fn added_partitions(id: &TopicPartition, found: &Found<'_>) -> Option<String> {
    let partitions = found.identity?.partitions;
    let begun = i32::try_from(found.begun).unwrap_or(i32::MAX);
    (0 < begun && begun < partitions).then(|| more_partitions(&id.topic, found.group_id, begun, partitions))
}

/// Why all partitions of a topic stop that got more of them.
pub fn more_partitions(topic: &str, group: &str, then: i32, now: i32) -> String {
    format!(
        "topic {topic} had {then} partitions and has {now}: keys have changed their partition, and what is new of a \
         row could be applied before what is old; stop every member of group {group}, look that nothing is unread in \
         the old partitions that matters, and start one with --accept-added-partitions"
    )
}

/// How a group begins a topic anew.
fn mend(topic: &str, group: &str, versions: bool) -> String {
    if versions {
        format!("`cdcconsumer seek --to-beginning --topic {topic}`")
    } else {
        format!(
            "deleting the group's offsets of the topic in Kafka, and its rows in rowferry_progress (consumer_group = \
             '{group}', topic = '{topic}')"
        )
    }
}

#[cfg(test)]
mod tests;
