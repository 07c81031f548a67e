//! Moving a stopped group to other offsets, in such a way that what is read again never overwrites what is newer (V2).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::access::Access;
use crate::kafka::describe::{self, CommitFacts, PartitionFacts, TopicFacts};
use crate::kafka::{Quiet, saved};
use crate::sink::Checkpoint;
use crate::version::Chain;

/// Where a group is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Beginning,
    Offset(i64),
    End,
}

/// A partition's next place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub topic: String,
    pub partition: i32,
    /// Where the group stands; `None` when it never read the partition.
    pub from: Option<i64>,
    pub to: i64,
    pub chain: Chain,
    pub topic_id: Option<String>,
    /// The versions of what was read before are not known.
    pub lost_versions: bool,
}

/// Why the group is not moved.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    #[error(
        "group {group} has {members} members: stop every cdcconsumer of this group first (one that was killed counts \
         for another 10 s)"
    )]
    Running { group: String, members: usize },
    #[error("{0}")]
    Refused(String),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}

/// What the sink has kept of topics' partitions, by topic.
pub type Kept = HashMap<String, BTreeMap<i32, Checkpoint>>;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Plans the move of one partition. `now_us` becomes part of a version only where another tool's commit has lost the
/// versions of what was read before: what follows is then stamped above this time.
pub fn plan(
    topic: &TopicFacts,
    partition: &PartitionFacts,
    kept: &BTreeMap<i32, Checkpoint>,
    to: To,
    skip_records: bool,
    now_us: i64,
) -> Result<Move, String> {
    let place = format!("{}[{}]", topic.name, partition.number);
    let Some((begin, end)) = partition.range else {
        return Err(format!("{place}: its offsets may not be read: grant READ and DESCRIBE on the topic"));
    };
    let target = match to {
        To::Beginning => begin,
        To::Offset(offset) => offset,
        To::End => end,
    };
    if !(begin..=end).contains(&target) {
        return Err(format!("{place}: offset {target} is not in it: it begins at {begin} and ends at {end}"));
    }
    let (stands, chain, lost_versions) = match &partition.commit {
        None => {
            let (stands, chain) = unread(topic, partition.number, kept);
            (stands.unwrap_or(begin), chain, false)
        }
        Some(commit) => {
            let known = saved_chain(commit);
            (commit.next_offset, known.unwrap_or(Chain::above(now_us)), known.is_none())
        }
    };
    // Then its offsets are others, and all of its records are new.
    let made_anew = stands > end || partition.commit.as_ref().is_some_and(|commit| topic.another(commit).is_some());
    let unread = if made_anew { begin..target } else { begin.max(stands)..target };
    if !unread.is_empty() && !skip_records {
        return Err(format!(
            "{place}: offset {target} is beyond {}, where the group stands: {} records would never be applied, \
             and their rows stay wrong until they change again; if that is what you want, say --skip-records",
            unread.start,
            unread.end - unread.start
        ));
    }
    // Behind the beginning nobody knows what the guard had passed over. In the middle of what was sent again, records
    // would get versions among those of what is in the table.
    if (begin + 1..stands).contains(&target) && chain.is_guarded() && !made_anew {
        return Err(format!(
            "{place}: offset {target} is behind the beginning, {begin}, and a route of the topic has rewind_guard: from the \
             middle of what a connector has sent again rows would go back; say --to-beginning"
        ));
    }
    let chain = match target < stands {
        _ if made_anew => chain.raised(),
        true => chain.set_back(stands),
        false => chain,
    };
    let from = partition.commit.as_ref().map(|commit| commit.next_offset);
    let (topic, topic_id) = (topic.name.clone(), topic.id.clone());
    Ok(Move { topic, partition: partition.number, from, to: target, chain, topic_id, lost_versions })
}

/// Where a partition without a commit stands, if it was read before, and with which versions: commits expire, and go
/// with a topic that is deleted, and then the sink remembers.
fn unread(topic: &TopicFacts, number: i32, kept: &BTreeMap<i32, Checkpoint>) -> (Option<i64>, Chain) {
    if let Some(here) = kept.get(&number).filter(|kept| kept.topic_id == topic.id) {
        return (Some(here.next_offset), Chain::above(here.last_version));
    }
    // Keys may stand in any partition by now, so that the highest of all counts.
    let others = topic.partitions.iter().filter_map(|other| saved_chain(other.commit.as_ref()?));
    let before = kept.values().map(|kept| Chain::above(kept.last_version));
    (None, Chain::beside(others.chain(before)))
}

fn saved_chain(commit: &CommitFacts) -> Option<Chain> {
    saved::chain(commit.metadata.as_deref()?).ok()
}

impl Move {
    fn metadata(&self) -> String {
        saved::metadata(Some(self.chain), self.topic_id.as_deref())
    }
}

/// Refuses a group that somebody reads in. Blocks its thread.
pub fn expect_stopped(access: &Access, group: &str) -> Result<(), SeekError> {
    match describe::members(access, group)? {
        0 => Ok(()),
        members => Err(SeekError::Running { group: group.into(), members }),
    }
}

/// Commits the moves, all at once, and reads them back. Blocks its thread. A group that has got a member meanwhile is
/// left alone: the broker takes no commit from outside of it.
pub fn commit(access: &Access, group: &str, moves: &[Move]) -> Result<(), SeekError> {
    let consumer: BaseConsumer<Quiet> = access.client(&[]).set("group.id", group).create_with_context(Quiet)?;
    match consumer.commit(&list(moves)?, CommitMode::Sync) {
        Ok(()) => {}
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId)) => {
            return Err(SeekError::Running { group: group.into(), members: 1 });
        }
        Err(error) => return Err(error.into()),
    }
    if read_back(&consumer, moves)? {
        Ok(())
    } else {
        Err(SeekError::Refused(format!(
            "group {group} does not stand where it was moved to: somebody else moves it too; look at it with \
             `cdcconsumer check`"
        )))
    }
}

/// The commit that makes these moves.
pub(super) fn list(moves: &[Move]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for moved in moves {
        let mut element = list.add_partition(&moved.topic, moved.partition);
        element.set_offset(Offset::Offset(moved.to))?;
        element.set_metadata(moved.metadata());
    }
    Ok(list)
}

fn read_back(consumer: &BaseConsumer<Quiet>, moves: &[Move]) -> KafkaResult<bool> {
    let mut asked = TopicPartitionList::new();
    for moved in moves {
        asked.add_partition(&moved.topic, moved.partition);
    }
    let committed = consumer.committed_offsets(asked, REQUEST_TIMEOUT)?;
    Ok(moves.iter().all(|moved| {
        let element = committed.find_partition(&moved.topic, moved.partition);
        element.is_some_and(|element| {
            element.offset() == Offset::Offset(moved.to)
                && super::rebalance::metadata_of(&element).is_some_and(|metadata| metadata == moved.metadata())
        })
    }))
}

/// The moves of all partitions, or of the chosen ones; or everything that speaks against them.
pub fn plan_all(
    topics: &[TopicFacts],
    kept: &Kept,
    partition: Option<i32>,
    to: To,
    skip_records: bool,
    now_us: i64,
) -> Result<Vec<Move>, Vec<String>> {
    let (mut moves, mut problems) = (Vec::new(), Vec::new());
    for topic in topics {
        if topic.partitions.is_empty() {
            problems.push(format!("topic {} is not there, or may not be seen", topic.name));
        }
        let chosen = |found: &&PartitionFacts| partition.is_none_or(|number| found.number == number);
        let found: Vec<&PartitionFacts> = topic.partitions.iter().filter(chosen).collect();
        if let (true, Some(number)) = (found.is_empty() && !topic.partitions.is_empty(), partition) {
            problems.push(format!("topic {} has {} partitions, and no {number}", topic.name, topic.partitions.len()));
        }
        for partition in found {
            match plan(topic, partition, kept.get(&topic.name).unwrap_or(&BTreeMap::new()), to, skip_records, now_us) {
                Ok(moved) => moves.push(moved),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() { Ok(moves) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::describe::Presence;

    const NOW_US: i64 = 1_800_000_000_000_001;

    fn plan_from(commit: Option<(i64, &str)>, range: (i64, i64), to: To, skip: bool) -> Result<(i64, String), String> {
        let commit = commit.map(|(next_offset, metadata)| CommitFacts { next_offset, metadata: Some(metadata.into()) });
        let partition = PartitionFacts { number: 3, range: Some(range), commit };
        plan(&topic(&[]), &partition, &BTreeMap::new(), to, skip, NOW_US).map(|moved| (moved.to, moved.chain.save()))
    }

    fn topic(commits: &[&str]) -> TopicFacts {
        let commit = |metadata: &&str| CommitFacts { next_offset: 7, metadata: Some((*metadata).into()) };
        let partition = |commit| PartitionFacts { number: 0, range: Some((0, 9)), commit: Some(commit) };
        let partitions = commits.iter().map(commit).map(partition).collect();
        let (name, presence, id, settings) = ("t".into(), Presence::There, Some("new".into()), None);
        TopicFacts { name, presence, id, partitions, replicas: 3, settings }
    }

    #[test]
    fn going_back_keeps_the_furthest_checkpoint() {
        let moved = |commit, range, to| plan_from(Some(commit), range, to, false).expect("it may");
        let told = |to: i64, saved: &str| (to, saved.to_string());
        let stands = (70, "rowferry:1:last=500");
        assert_eq!(moved(stands, (10, 100), To::Beginning), told(10, "rowferry:2:last=0:floor=500@70"));
        assert_eq!(moved(stands, (10, 100), To::Offset(69)), told(69, "rowferry:2:last=0:floor=500@70"));
        let half_way = (40, "rowferry:2:last=300:floor=500@70");
        assert_eq!(moved(half_way, (10, 100), To::Beginning), told(10, "rowferry:2:last=0:floor=500@70"));
        // Where it stands already: nothing changes.
        assert_eq!(moved(half_way, (10, 100), To::Offset(40)), told(40, "rowferry:2:last=300:floor=500@70"));
        assert_eq!(plan_from(None, (10, 100), To::Beginning, false), Ok(told(10, "rowferry:1:last=0")));
    }

    #[test]
    fn with_the_rewind_guard_only_the_beginning_is_read_again() {
        let mark = format!("mark={:016x}.{:040x}.7", 1, 2);
        for saved in [format!("rowferry:3:last=500:{mark}"), format!("rowferry:4:last=30:floor=500@80:floor-{mark}")] {
            let moved = |to| plan_from(Some((70, &saved)), (10, 100), to, false);
            assert_eq!(moved(To::Beginning).map(|(to, _)| to), Ok(10));
            assert_eq!(moved(To::Offset(10)).map(|(to, _)| to), Ok(10));
            assert_eq!(moved(To::Offset(70)), Ok((70, saved.clone())), "where it stands");
            let refused = moved(To::Offset(69)).expect_err("in the middle");
            assert!(refused.starts_with("t[3]: offset 69 is behind the beginning, 10,"), "{refused}");
            assert!(moved(To::Offset(11)).is_err());
        }
    }

    #[test]
    fn records_are_skipped_only_when_that_is_said() {
        let stands = Some((70, "rowferry:1:last=500"));
        insta::assert_snapshot!(plan_from(stands, (10, 100), To::Offset(71), false).expect_err("one record"), @"t[3]: offset 71 is beyond 70, where the group stands: 1 records would never be applied, and their rows stay wrong until they change again; if that is what you want, say --skip-records");
        assert!(plan_from(stands, (10, 100), To::End, false).is_err());
        assert!(plan_from(None, (10, 100), To::End, false).is_err());
        assert_eq!(plan_from(stands, (10, 100), To::End, true), Ok((100, "rowferry:1:last=500".into())));
        // At the end there is nothing to skip.
        assert_eq!(plan_from(stands, (10, 70), To::End, false), Ok((70, "rowferry:1:last=500".into())));
        insta::assert_snapshot!(plan_from(stands, (10, 100), To::Offset(101), true).expect_err("no such offset"), @"t[3]: offset 101 is not in it: it begins at 10 and ends at 100");
        assert!(plan_from(stands, (10, 100), To::Offset(9), false).is_err());
    }

    #[test]
    fn what_expired_or_was_made_anew_is_gone_on_from_above_all_that_was() {
        // The records between 5 and 10 are gone, and nobody skips them by going on at 10.
        let expired = plan_from(Some((5, "rowferry:1:last=500")), (10, 100), To::Beginning, false);
        assert_eq!(expired, Ok((10, "rowferry:1:last=500".into())));
        let anew = plan_from(Some((70, "rowferry:2:last=300:floor=500@90")), (0, 20), To::Beginning, false);
        assert_eq!(anew, Ok((0, "rowferry:1:last=500".into())));
    }

    #[test]
    fn another_tools_commit_goes_on_above_the_present() {
        let even = "1800000000000002";
        for metadata in ["", "theirs"] {
            let back = plan_from(Some((70, metadata)), (10, 100), To::Beginning, false);
            assert_eq!(back, Ok((10, format!("rowferry:2:last=0:floor={even}@70"))));
            let here = plan_from(Some((70, metadata)), (10, 100), To::Offset(70), false);
            assert_eq!(here, Ok((70, format!("rowferry:1:last={even}"))));
        }
    }

    #[test]
    fn a_topic_with_another_id_is_read_from_its_beginning_above_all_that_was() {
        let anew = |to, skip| plan_from(Some((70, "rowferry:1:last=500 topic=old")), (0, 100), to, skip);
        assert_eq!(anew(To::Beginning, false), Ok((0, "rowferry:1:last=500".into())));
        assert!(anew(To::Offset(70), false).is_err(), "70 records of the new topic were never read");
        assert_eq!(anew(To::Offset(70), true), Ok((70, "rowferry:1:last=500".into())));
        let same = plan_from(Some((70, "rowferry:1:last=500 topic=new")), (0, 100), To::Offset(70), false);
        assert_eq!(same, Ok((70, "rowferry:1:last=500".into())));
    }

    #[test]
    fn a_partition_whose_commit_is_gone_is_known_by_the_sink() {
        let kept = |topic_id: &str| {
            let checkpoint = Checkpoint { next_offset: 70, last_version: 500, topic_id: Some(topic_id.into()) };
            BTreeMap::from([(3, checkpoint)])
        };
        let gone = PartitionFacts { number: 3, range: Some((0, 100)), commit: None };
        let moved = |kept, to| {
            plan(&topic(&[]), &gone, &kept, to, false, NOW_US).map(|moved| (moved.to, moved.chain.save())).ok()
        };
        let floor = "rowferry:2:last=0:floor=500@70".to_string();
        assert_eq!(moved(kept("new"), To::Beginning), Some((0, floor)));
        assert_eq!(moved(kept("new"), To::Offset(71)), None, "a record would be lost");
        assert_eq!(moved(kept("old"), To::Beginning), Some((0, "rowferry:1:last=500".into())));
    }

    #[test]
    fn a_partition_that_was_added_begins_above_its_neighbours() {
        let neighbours = topic(&["rowferry:1:last=40", "rowferry:2:last=6:floor=90@12", "theirs"]);
        let added = PartitionFacts { number: 3, range: Some((0, 5)), commit: None };
        let moved = plan(&neighbours, &added, &BTreeMap::new(), To::Beginning, false, NOW_US).expect("it may");
        assert_eq!((moved.to, moved.chain.save()), (0, "rowferry:1:last=90".into()));
    }
}
