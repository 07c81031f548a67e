//! Findings about topics: those that are read, where the group stands in them, and the one for dead letters.

use super::{DAY_MS, Facts, Finding, Findings, Millis};
use crate::kafka::describe::{PartitionFacts, Presence, TopicFacts, TopicSettings};
use crate::kafka::place::{Found, Place, begin, place};
use crate::kafka::seek::Kept;
use crate::kafka::topic_id::Identity;
use crate::kafka::{LETTER_BYTES_MAX, LETTER_HEADERS_BYTES, lost_versions};
use crate::record::TopicPartition;

/// Who is away for a shorter time has to find all records still there.
const RETENTION_MIN_MS: i64 = DAY_MS;
/// Unread records that are among this part of a topic, counted from its oldest, may be deleted before they are read.
const NEAR_THE_BEGINNING: i64 = 10;

pub fn judge_sources(facts: &Facts<'_>, findings: &mut Findings) {
    for topic in &facts.kafka.topics {
        let name = &topic.name;
        match topic.presence {
            Presence::There => {}
            Presence::Missing => {
                findings.warning(format!(
                    "topic {name} is not there yet: a run waits for it; if the connector calls it otherwise, correct \
                     the route's `topic`"
                ));
                continue;
            }
            Presence::Hidden => {
                findings.problem(format!(
                    "topic {name} may not be seen: grant READ and DESCRIBE on it to the user that [kafka] names"
                ));
                continue;
            }
        }
        if topic.partitions.iter().any(|partition| partition.range.is_none()) {
            findings.problem(format!(
                "the offsets of topic {name} may not be read: grant READ and DESCRIBE on it to the user that [kafka] \
                 names"
            ));
        }
        if topic.replicas == 1 {
            findings.warning(format!(
                "topic {name} has one replica: a broker that is lost takes records with it that nothing else has; \
                 give it three"
            ));
        }
        match &topic.settings {
            Some(settings) => {
                judge_compaction(facts, topic, settings, findings);
                judge_retention(topic, settings, findings);
            }
            None => findings.warning(format!(
                "the settings of topic {name} may not be read, so its retention and compaction were not looked at: \
                 grant DESCRIBE_CONFIGS on it"
            )),
        }
    }
}

fn judge_compaction(facts: &Facts<'_>, topic: &TopicFacts, settings: &TopicSettings, findings: &mut Findings) {
    if !settings.cleanup_policy.contains("compact") {
        return;
    }
    let (name, policy) = (&topic.name, &settings.cleanup_policy);
    let routes = &facts.routes.routes;
    let moving: Vec<&str> =
        routes.iter().filter(|route| route.topic == *name && route.moves).map(|route| route.table.as_str()).collect();
    if !moving.is_empty() {
        findings.problem(format!(
            "topic {name} has cleanup.policy={policy}, and the rows of {} move when a column of their key changes: \
             compaction removes the changes that say where a row stood before, and it would stay there for ever; set \
             cleanup.policy=delete, and fill the table again from a snapshot",
            moving.join(", ")
        ));
        return;
    }
    let lag_ms = settings.min_compaction_lag_ms;
    if lag_ms < DAY_MS {
        findings.warning(format!(
            "topic {name} has cleanup.policy={policy} and min.compaction.lag.ms={lag_ms} ({}): of a row that changed \
             twice, the older record may be gone before it is read, and a value that only it brought (large, and left \
             alone by the newer one) is missing then; set min.compaction.lag.ms to the longest time that a consumer \
             may be behind, at least {DAY_MS} ({})",
            Millis(lag_ms),
            Millis(DAY_MS)
        ));
    }
    let deletes_ms = settings.delete_retention_ms;
    if deletes_ms < DAY_MS {
        findings.warning(format!(
            "topic {name} has cleanup.policy={policy} and delete.retention.ms={deletes_ms} ({}): who is behind for \
             longer does not see that a row was deleted, and keeps it for ever; set it to the longest time that a \
             consumer may be behind",
            Millis(deletes_ms)
        ));
    }
}

fn judge_retention(topic: &TopicFacts, settings: &TopicSettings, findings: &mut Findings) {
    if !settings.cleanup_policy.contains("delete") {
        return;
    }
    let name = &topic.name;
    if let Some(ms) = settings.retention_ms.filter(|ms| *ms < RETENTION_MIN_MS) {
        findings.warning(format!(
            "topic {name} keeps its records for {} (retention.ms={ms}): after a longer stop the group cannot go on, \
             and its tables have to be filled again from a snapshot; set retention.ms to a week, which outlasts a \
             weekend",
            Millis(ms)
        ));
    }
    let at_risk: Vec<String> =
        topic.partitions.iter().filter_map(unread_near_the_beginning).map(|text| format!("{name}{text}")).collect();
    if !at_risk.is_empty() && (settings.retention_ms.is_some() || settings.retention_bytes.is_some()) {
        findings.warning(format!(
            "the oldest unread records are about to be deleted ({}): raise retention.ms{} before the next long stop, \
             and let the group catch up",
            at_risk.join("; "),
            settings.retention_bytes.map_or_else(String::new, |bytes| format!(" and retention.bytes ({bytes} now)"))
        ));
    }
}

/// Records have expired already, and what is unread stands near the oldest that is left.
fn unread_near_the_beginning(partition: &PartitionFacts) -> Option<String> {
    let ((begin, end), commit) = (partition.range?, partition.commit.as_ref()?);
    let stands = commit.next_offset;
    let near = (begin..end).contains(&stands) && begin > 0 && stands - begin <= (end - begin) / NEAR_THE_BEGINNING;
    near.then(|| format!("[{}] stands at {stands}, the topic begins at {begin} and ends at {end}", partition.number))
}

pub fn judge_dead_letters(facts: &Facts<'_>, findings: &mut Findings) {
    let (topic, name) = (&facts.kafka.dead_letters, facts.dead_letter_topic);
    if facts.kafka.topics.iter().any(|source| source.name == name) {
        findings.problem(format!(
            "kafka.dead_letter_topic = \"{name}\" is a topic that a route reads: a dead letter would be refused again \
             and again; give it a topic of its own"
        ));
    }
    match topic.presence {
        Presence::There => {}
        Presence::Missing => {
            findings.problem(format!(
                "kafka.dead_letter_topic = \"{name}\": there is no such topic; create it, with a max.message.bytes \
                 above that of the topics that are read"
            ));
            return;
        }
        Presence::Hidden => {
            findings.problem(format!(
                "kafka.dead_letter_topic = \"{name}\" may not be seen: grant WRITE and DESCRIBE on it to the user that \
                 [kafka] names"
            ));
            return;
        }
    }
    if facts.may_write_letters == Some(false) {
        findings.problem(format!(
            "the dead-letter topic {name} may not be written: grant WRITE on it to the user that [kafka] names"
        ));
    }
    let Some(settings) = &topic.settings else { return };
    if settings.cleanup_policy.contains("compact") {
        findings.problem(format!(
            "the dead-letter topic {name} has cleanup.policy={}: of two dead letters with the same key the older one \
             would be removed, and its record be nowhere; set cleanup.policy=delete",
            settings.cleanup_policy
        ));
    }
    let sources = facts.kafka.topics.iter().filter_map(|topic| Some((topic.settings.as_ref()?, topic)));
    if let Some((largest, source)) = sources.max_by_key(|(settings, _)| settings.message_bytes_max) {
        let needed = largest.message_bytes_max.saturating_add(LETTER_HEADERS_BYTES);
        if settings.message_bytes_max < needed {
            findings.warning(format!(
                "the dead-letter topic {name} has max.message.bytes={}, and topic {} takes records of {} bytes: a \
                 large record that is refused would stop its partition, for it fits nowhere; set max.message.bytes of \
                 {name} to at least {needed}, which has room for a dead letter's headers",
                settings.message_bytes_max, source.name, largest.message_bytes_max
            ));
        } else if largest.message_bytes_max > LETTER_BYTES_MAX {
            findings.warning(format!(
                "topic {} takes records of {} bytes, and a dead letter may have {LETTER_BYTES_MAX}: a larger record \
                 that is refused would stop its partition; lower the topic's max.message.bytes",
                source.name, largest.message_bytes_max
            ));
        }
    }
    if let Some(ms) = settings.retention_ms.filter(|ms| *ms < 7 * DAY_MS) {
        findings.warning(format!(
            "the dead-letter topic {name} keeps its records for {} (retention.ms={ms}): a dead letter that nobody \
             looked at by then is lost; set retention.ms to a week or more",
            Millis(ms)
        ));
    }
}

/// Where the group stands: each of these is what an assignment would stop for.
pub fn judge_positions(facts: &Facts<'_>, findings: &mut Findings) {
    let group = facts.group_id;
    if !facts.kafka.group.readable {
        findings.problem(format!(
            "the offsets of group {group} may not be read: grant READ and DESCRIBE on the group to the user that \
             [kafka] names"
        ));
    }
    for topic in &facts.kafka.topics {
        let begun = topic.partitions.iter().filter(|partition| partition.commit.is_some()).count();
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let identity = Identity { id: topic.id.clone(), partitions };
        // A topic that nobody has read yet is begun by a run.
        for partition in topic.partitions.iter().filter(|_| begun > 0) {
            let Some((low, high)) = partition.range else { continue };
            let id = TopicPartition { topic: topic.name.as_str().into(), partition: partition.number };
            let commit = partition.commit.as_ref();
            let found = Found {
                group_id: group,
                versions: true,
                next_offset: commit.map(|commit| commit.next_offset),
                metadata: commit.and_then(|commit| commit.metadata.as_deref()),
                begun,
                identity: Some(&identity),
                low,
                high,
            };
            let refusal = match place(&id, &found) {
                // One that is not begun is told by those that are: its topic got more partitions.
                Place::At(_) | Place::Unbegun => continue,
                Place::Lost(next_offset, error) => lost_versions(&error, group, &id.topic, id.partition, next_offset),
                Place::Refused(why) => why,
            };
            findings.stopped(format!("{id}: {refusal}"));
        }
    }
}

/// Judges topics that have no commit, from what the sink has kept of them: they may have been read before.
pub fn judge_unread(group: &str, topics: &[TopicFacts], kept: &Kept) -> Vec<Finding> {
    let mut findings = Findings::default();
    for topic in topics.iter().filter(|topic| topic.partitions.iter().all(|partition| partition.commit.is_none())) {
        let Some(kept) = kept.get(&topic.name) else { continue };
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let identity = Identity { id: topic.id.clone(), partitions };
        for partition in &topic.partitions {
            let Some((low, high)) = partition.range else { continue };
            let id = TopicPartition { topic: topic.name.as_str().into(), partition: partition.number };
            let (versions, next_offset, metadata, identity) = (true, None, None, Some(&identity));
            let found = Found { group_id: group, versions, next_offset, metadata, begun: 0, identity, low, high };
            if let Err(why) = begin(&id, &found, kept, std::iter::empty()) {
                findings.stopped(format!("{id}: {why}"));
            }
        }
    }
    findings.0
}
