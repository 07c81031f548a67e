//! Where a partition starts: each case with its own message.

use super::*;

const GROUP: &str = "g";

fn id() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 1 }
}

fn identity() -> Identity {
    Identity { id: Some("new".into()), partitions: 3 }
}

/// A partition of offsets 10 to 100, of a topic whose three partitions were all begun.
fn told(next_offset: Option<i64>, metadata: Option<&str>, change: impl FnOnce(&mut Found<'_>)) -> Place {
    let identity = identity();
    let (low, high) = (10, 100);
    let mut found = Found {
        group_id: GROUP,
        versions: true,
        next_offset,
        metadata,
        begun: 3,
        identity: Some(&identity),
        low,
        high,
    };
    change(&mut found);
    place(&id(), &found)
}

fn refusal(place: Place) -> String {
    match place {
        Place::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

fn start(place: Place) -> (i64, String) {
    match place {
        Place::At(start) => (start.next_offset, start.chain.map_or_else(String::new, |chain| chain.save())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_starts_where_the_group_stands() {
    let plain = "rowferry:1:last=40 topic=new";
    assert_eq!(start(told(Some(50), Some(plain), |_| ())), (50, "rowferry:1:last=40".into()));
    assert_eq!(start(told(Some(10), Some(plain), |_| ())).0, 10, "the first that is there");
    assert_eq!(start(told(Some(100), Some(plain), |_| ())).0, 100, "nothing is unread");
    // Commits of before topics had ids, and brokers without ids.
    assert_eq!(start(told(Some(50), Some("rowferry:1:last=40"), |_| ())).0, 50);
    assert_eq!(start(told(Some(50), Some(plain), |found| found.identity = None)).0, 50);
    assert_eq!(start(told(Some(50), Some("topic=new"), |found| found.versions = false)), (50, String::new()));
}

#[test]
fn what_cannot_be_told_is_refused_with_its_mend() {
    let plain = Some("rowferry:1:last=40 topic=new");
    insta::assert_snapshot!(refusal(told(Some(9), plain, |_| ())), @"group g stands at offset 9, and the topic begins at 10: the records between have expired unread; the target has to be filled again from a snapshot, and the group goes on after `cdcconsumer seek --to-beginning --topic t`");
    insta::assert_snapshot!(refusal(told(Some(101), plain, |_| ())), @"group g stands at offset 101, and the topic ends at 100: it was truncated or created anew; the target has to be filled again from a snapshot, and the group goes on after `cdcconsumer seek --to-beginning --topic t`");
    let back = Some("rowferry:2:last=40:floor=90@101 topic=new");
    assert!(refusal(told(Some(50), back, |_| ())).contains("stands at offset 101"), "where it stood before counts too");
    insta::assert_snapshot!(refusal(told(Some(50), Some("rowferry:1:last=40 topic=old"), |_| ())), @"topic t was deleted and made anew (its id was old and is new), so that offsets and versions of group g belong to records that are gone; stop the group, and begin the new topic with `cdcconsumer seek --to-beginning --topic t`");
    insta::assert_snapshot!(refusal(told(Some(50), Some("topic=old"), |found| found.versions = false)), @"topic t was deleted and made anew (its id was old and is new), so that offsets and versions of group g belong to records that are gone; stop the group, and begin the new topic with deleting the group's offsets of the topic in Kafka, and its rows in rowferry_progress (consumer_group = 'g', topic = 't')");
    insta::assert_snapshot!(refusal(told(Some(50), plain, |found| found.begun = 2)), @"topic t had 2 partitions and has 3: keys have changed their partition, and what is new of a row could be applied before what is old; stop every member of group g, look that nothing is unread in the old partitions that matters, and start one with --accept-added-partitions");
    assert_eq!(told(None, None, |found| found.begun = 0), Place::Unbegun);
}

#[test]
fn lost_versions_are_taken_from_the_sink_at_the_older_of_the_two_offsets() {
    let lost = |next_offset, checkpoint: Option<(i64, i64, Option<&str>)>| {
        let identity = identity();
        let found = Found {
            group_id: GROUP,
            versions: true,
            next_offset: Some(next_offset),
            metadata: Some("theirs"),
            begun: 3,
            identity: Some(&identity),
            low: 10,
            high: 100,
        };
        let Place::Lost(offset, error) = place(&id(), &found) else { panic!("it is lost") };
        let checkpoint = checkpoint.map(|(next_offset, last_version, topic_id)| Checkpoint {
            next_offset,
            last_version,
            topic_id: topic_id.map(str::to_string),
        });
        recovered(&id(), &found, offset, &error, checkpoint.as_ref())
    };
    let kept = |next_offset| Some((next_offset, 40, Some("new")));
    // Set back: what is read again stays below what was written, up to where it stood.
    assert_eq!(start(lost(50, kept(60))), (50, "rowferry:2:last=0:floor=40@60".into()));
    // Set forward, or committed after the checkpoint was kept: the records between are read again.
    assert_eq!(start(lost(50, kept(30))), (30, "rowferry:1:last=40".into()));
    assert_eq!(start(lost(50, kept(50))), (50, "rowferry:1:last=40".into()));
    for nothing in [None, Some((60, 40, Some("old"))), Some((60, 40, None)), kept(9)] {
        assert!(refusal(lost(50, nothing)).contains("cdcconsumer seek --to-offset 50 --topic t --partition 1"));
    }
    assert!(refusal(lost(50, kept(101))).contains("the topic ends at 100"));
    assert!(matches!(told(Some(9), Some("theirs"), |_| ()), Place::Refused(_)), "and it has expired");
}

#[test]
fn a_partition_without_a_commit_begins_where_the_sink_knows_that_it_was() {
    let begun = |kept: &[(i32, i64, i64, &str)], low: i64, beside: &[&str]| {
        let identity = identity();
        let (versions, next_offset, metadata, high) = (true, None, None, 100);
        let identity = Some(&identity);
        let found = Found { group_id: GROUP, versions, next_offset, metadata, begun: 0, identity, low, high };
        let checkpoint = |(partition, next_offset, last_version, topic_id): &(i32, i64, i64, &str)| {
            let (next_offset, last_version) = (*next_offset, *last_version);
            (*partition, Checkpoint { next_offset, last_version, topic_id: Some((*topic_id).into()) })
        };
        let kept = kept.iter().map(checkpoint).collect();
        let beside = beside.iter().map(|saved| Chain::load(saved).expect("it is ours"));
        begin(&id(), &found, &kept, beside).map(|(next_offset, chain)| (next_offset, chain.save()))
    };
    let at = |offset: i64, saved: &str| Ok((offset, saved.to_string()));
    assert_eq!(begun(&[], 10, &[]), at(10, "rowferry:1:last=0"), "nobody has read it yet");
    assert_eq!(
        begun(&[], 10, &["rowferry:1:last=8", "rowferry:1:last=6"]),
        at(10, "rowferry:1:last=8"),
        "it was added"
    );
    // The commits have expired, and the records have not.
    assert_eq!(begun(&[(1, 60, 40, "new")], 10, &[]), at(10, "rowferry:2:last=0:floor=40@60"));
    assert_eq!(begun(&[(1, 60, 40, "new")], 60, &[]), at(60, "rowferry:1:last=40"));
    assert!(begun(&[(1, 60, 40, "new")], 61, &[]).expect_err("one record").contains("stands at offset 60"));
    assert!(begun(&[(1, 101, 40, "new")], 10, &[]).expect_err("too far").contains("the topic ends at 100"));
    // The topic was made anew, and no record of this partition was ever applied.
    assert!(begun(&[(0, 60, 40, "old")], 10, &[]).expect_err("anew").contains("its id was old and is new"));
    // A command has begun it since, and partition 0 got no record yet.
    assert_eq!(begun(&[(0, 60, 40, "old"), (2, 5, 44, "new")], 10, &[]), at(10, "rowferry:1:last=0"));
}
