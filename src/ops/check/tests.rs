//! Facts in, findings out: each planted mistake with the words that a stranger reads.

use std::collections::BTreeMap;

use super::{Facts, Severity, judge};
use crate::kafka::describe::{CommitFacts, Described, GroupFacts, PartitionFacts, Presence, TopicFacts, TopicSettings};
use crate::plan::route::{RouteSpec, Routes, TargetTable};
use crate::row::{Column, Kind};
use crate::sink::cassandra::describe::TableFacts;

const DAY_MS: i64 = 86_400_000;

/// A healthy world of one topic and one table, to be spoilt.
struct World {
    kafka: Described,
    tables: BTreeMap<String, TableFacts>,
    specs: Vec<RouteSpec>,
    may_write_letters: Option<bool>,
    key: Vec<&'static str>,
}

fn topic(name: &str) -> TopicFacts {
    let commit = |next_offset, last| CommitFacts { next_offset, metadata: Some(format!("rowferry:1:last={last}")) };
    TopicFacts {
        id: None,
        name: name.into(),
        presence: Presence::There,
        partitions: vec![PartitionFacts { number: 0, range: Some((0, 100)), commit: Some(commit(100, 4)) }],
        replicas: 3,
        settings: Some(TopicSettings {
            cleanup_policy: "delete".into(),
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            min_compaction_lag_ms: 0,
            delete_retention_ms: DAY_MS,
            message_bytes_max: 1_000_000,
            timestamp_ahead_max_ms: Some(3_600_000),
        }),
    }
}

impl World {
    fn new() -> World {
        let mut letters = topic("letters");
        letters.partitions.clear();
        letters.settings.as_mut().expect("it is set").message_bytes_max = 2_000_000;
        let table = TableFacts {
            gc_grace_seconds: Some(864_000),
            ttl_seconds: Some(0),
            may_read: Some(true),
            may_write: Some(true),
        };
        World {
            kafka: Described { topics: vec![topic("t")], dead_letters: letters, group: GroupFacts { readable: true } },
            tables: BTreeMap::from([("a".to_string(), table)]),
            specs: vec![RouteSpec::new("t", "a", &["id"]).typed(&[("id", "int"), ("v", "text")])],
            may_write_letters: None,
            key: vec!["id"],
        }
    }

    fn settings(&mut self) -> &mut TopicSettings {
        self.kafka.topics[0].settings.as_mut().expect("it is set")
    }

    fn letters(&mut self) -> &mut TopicSettings {
        self.kafka.dead_letters.settings.as_mut().expect("it is set")
    }

    fn commit(&mut self, next_offset: i64, metadata: Option<&str>) {
        let metadata = metadata.map(str::to_string);
        self.kafka.topics[0].partitions[0].commit = Some(CommitFacts { next_offset, metadata });
    }

    fn findings(&self) -> String {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = vec![column("id", Kind::Int32), column("v", Kind::Text)];
        let key = self.key.iter().map(|name| name.to_string()).collect();
        let tables = BTreeMap::from([("a".to_string(), TargetTable { name: "a".into(), columns, key })]);
        let routes = Routes::resolve(&self.specs, &tables).expect("the routes are right");
        let facts = Facts {
            group_id: "g",
            dead_letter_topic: "letters",
            kafka: &self.kafka,
            may_write_letters: self.may_write_letters,
            tables: &self.tables,
            routes: &routes,
        };
        let line = |finding: super::Finding| {
            let severity = match finding.severity {
                Severity::Problem => "problem",
                Severity::StoppedPartition => "stopped",
                Severity::Warning => "warning",
            };
            format!("{severity}: {}", finding.text)
        };
        judge(&facts).into_iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn spoilt(spoil: impl FnOnce(&mut World)) -> String {
    let mut world = World::new();
    spoil(&mut world);
    world.findings()
}

#[test]
fn nothing_is_said_of_what_is_right() {
    assert_eq!(World::new().findings(), "");
    // Not knowing is no finding either, nor is what is new.
    assert_eq!(spoilt(|world| world.tables.clear()), "");
    assert_eq!(spoilt(|world| world.kafka.topics[0].partitions[0].commit = None), "");
    assert_eq!(spoilt(|world| world.may_write_letters = Some(true)), "");
}

#[test]
fn topics_that_are_missing_hidden_or_thin() {
    insta::assert_snapshot!(spoilt(|world| world.kafka.topics[0].presence = Presence::Missing), @"warning: topic t is not there yet: a run waits for it; if the connector calls it otherwise, correct the route's `topic`");
    insta::assert_snapshot!(spoilt(|world| world.kafka.topics[0].presence = Presence::Hidden), @"problem: topic t may not be seen: grant READ and DESCRIBE on it to the user that [kafka] names");
    insta::assert_snapshot!(spoilt(|world| world.kafka.topics[0].partitions[0].range = None), @"problem: the offsets of topic t may not be read: grant READ and DESCRIBE on it to the user that [kafka] names");
    insta::assert_snapshot!(spoilt(|world| world.kafka.topics[0].settings = None), @"warning: the settings of topic t may not be read, so its retention and compaction were not looked at: grant DESCRIBE_CONFIGS on it");
    insta::assert_snapshot!(spoilt(|world| world.kafka.topics[0].replicas = 1), @"warning: topic t has one replica: a broker that is lost takes records with it that nothing else has; give it three");
    insta::assert_snapshot!(spoilt(|world| world.kafka.group.readable = false), @"problem: the offsets of group g may not be read: grant READ and DESCRIBE on the group to the user that [kafka] names");
}

#[test]
fn compaction_and_retention() {
    let compacted = |world: &mut World| {
        world.settings().cleanup_policy = "compact".into();
        world.settings().min_compaction_lag_ms = 2 * DAY_MS;
        world.settings().retention_ms = Some(DAY_MS);
        world.tables.clear();
    };
    // Retention does not concern a topic that is only compacted.
    assert_eq!(spoilt(compacted), "");
    insta::assert_snapshot!(spoilt(|world| { compacted(world); world.key = vec!["v", "id"]; }), @"problem: topic t has cleanup.policy=compact, and the rows of a move when a column of their key changes: compaction removes the changes that say where a row stood before, and it would stay there for ever; set cleanup.policy=delete, and fill the table again from a snapshot");
    insta::assert_snapshot!(spoilt(|world| { compacted(world); world.settings().min_compaction_lag_ms = 60_000; }), @"warning: topic t has cleanup.policy=compact and min.compaction.lag.ms=60000 (1 min): of a row that changed twice, the older record may be gone before it is read, and a value that only it brought (large, and left alone by the newer one) is missing then; set min.compaction.lag.ms to the longest time that a consumer may be behind, at least 86400000 (1 d)");
    insta::assert_snapshot!(spoilt(|world| { compacted(world); world.settings().delete_retention_ms = 100; }), @"warning: topic t has cleanup.policy=compact and delete.retention.ms=100 (100 ms): who is behind for longer does not see that a row was deleted, and keeps it for ever; set it to the longest time that a consumer may be behind");
    insta::assert_snapshot!(spoilt(|world| world.settings().retention_ms = Some(3_600_000)), @"warning: topic t keeps its records for 1 h (retention.ms=3600000): after a longer stop the group cannot go on, and its tables have to be filled again from a snapshot; set retention.ms to a week, which outlasts a weekend");
    let near = |world: &mut World, committed| {
        world.kafka.topics[0].partitions[0].range = Some((1_000, 2_000));
        world.commit(committed, Some("rowferry:1:last=4"));
        world.settings().retention_bytes = Some(1_000);
    };
    insta::assert_snapshot!(spoilt(|world| near(world, 1_050)), @"warning: the oldest unread records are about to be deleted (t[0] stands at 1050, the topic begins at 1000 and ends at 2000): raise retention.ms and retention.bytes (1000 now) before the next long stop, and let the group catch up");
    assert_eq!(spoilt(|world| near(world, 1_200)), "");
}

#[test]
fn the_dead_letter_topic() {
    insta::assert_snapshot!(spoilt(|world| world.kafka.dead_letters.presence = Presence::Missing), @r#"problem: kafka.dead_letter_topic = "letters": there is no such topic; create it, with a max.message.bytes above that of the topics that are read"#);
    insta::assert_snapshot!(spoilt(|world| world.kafka.dead_letters.presence = Presence::Hidden), @r#"problem: kafka.dead_letter_topic = "letters" may not be seen: grant WRITE and DESCRIBE on it to the user that [kafka] names"#);
    insta::assert_snapshot!(spoilt(|world| world.may_write_letters = Some(false)), @"problem: the dead-letter topic letters may not be written: grant WRITE on it to the user that [kafka] names");
    insta::assert_snapshot!(spoilt(|world| world.letters().cleanup_policy = "compact,delete".into()), @"problem: the dead-letter topic letters has cleanup.policy=compact,delete: of two dead letters with the same key the older one would be removed, and its record be nowhere; set cleanup.policy=delete");
    insta::assert_snapshot!(spoilt(|world| world.letters().message_bytes_max = 1_000_000), @"warning: the dead-letter topic letters has max.message.bytes=1000000, and topic t takes records of 1000000 bytes: a large record that is refused would stop its partition, for it fits nowhere; set max.message.bytes of letters to at least 1004096, which has room for a dead letter's headers");
    insta::assert_snapshot!(spoilt(|world| { world.settings().message_bytes_max = 20 << 20; world.letters().message_bytes_max = 30 << 20; }), @"warning: topic t takes records of 20971520 bytes, and a dead letter may have 16777216: a larger record that is refused would stop its partition; lower the topic's max.message.bytes");
    insta::assert_snapshot!(spoilt(|world| world.letters().retention_ms = Some(DAY_MS)), @"warning: the dead-letter topic letters keeps its records for 1 d (retention.ms=86400000): a dead letter that nobody looked at by then is lost; set retention.ms to a week or more");
    let told = spoilt(|world| world.kafka.topics.push(TopicFacts { partitions: Vec::new(), ..topic("letters") }));
    insta::assert_snapshot!(told, @r#"problem: kafka.dead_letter_topic = "letters" is a topic that a route reads: a dead letter would be refused again and again; give it a topic of its own"#);
}

#[test]
fn where_the_group_stands() {
    insta::assert_snapshot!(spoilt(|world| world.commit(101, Some("rowferry:1:last=4"))), @"stopped: t[0]: group g stands at offset 101, and the topic ends at 100: it was truncated or created anew; the target has to be filled again from a snapshot, and the group goes on after `cdcconsumer seek --to-beginning --topic t`");
    let set_back = spoilt(|world| world.commit(7, Some("rowferry:2:last=4:floor=8@101")));
    assert!(set_back.starts_with("stopped: t[0]: group g stands at offset 101"), "{set_back}");
    assert_eq!(spoilt(|world| world.commit(7, Some("rowferry:2:last=4:floor=8@100"))), "");
    let expired = |world: &mut World| {
        world.kafka.topics[0].partitions[0].range = Some((50, 100));
        world.commit(49, Some("rowferry:1:last=4"));
    };
    insta::assert_snapshot!(spoilt(expired), @"stopped: t[0]: group g stands at offset 49, and the topic begins at 50: the records between have expired unread; the target has to be filled again from a snapshot, and the group goes on after `cdcconsumer seek --to-beginning --topic t`");
    insta::assert_snapshot!(spoilt(|world| world.commit(7, Some(""))), @"stopped: t[0]: the commit carries no version state: another tool set group g to offset 7, and the versions of what follows are not known; stop the group and say where to go on: `cdcconsumer seek --to-beginning --topic t --partition 0` reads all that the topic still has, `cdcconsumer seek --to-offset 7 --topic t --partition 0` goes on where the other tool set it");
    assert!(
        spoilt(|world| world.commit(7, None))
            .starts_with("stopped: t[0]: the commit's version state is not Rowferry's")
    );
}

#[test]
fn target_tables() {
    let told = |spoil: fn(&mut TableFacts)| spoilt(|world| world.tables.values_mut().for_each(spoil));
    insta::assert_snapshot!(told(|table| table.may_write = Some(false)), @r#"problem: table "a" may not be written: GRANT MODIFY on it to the role that [sink.cassandra] names"#);
    insta::assert_snapshot!(told(|table| table.may_read = Some(false)), @r#"warning: table "a" may not be read, which `cdcconsumer verify` has to: GRANT SELECT on it to the role that [sink.cassandra] names"#);
    insta::assert_snapshot!(told(|table| table.ttl_seconds = Some(60)), @r#"warning: table "a" has default_time_to_live=60: its rows vanish after that time although the source has them; set it to 0, unless that is meant"#);
    insta::assert_snapshot!(told(|table| table.gc_grace_seconds = Some(3_600)), @r#"warning: table "a" remembers deletes for 1 h (gc_grace_seconds=3600), and topic t keeps records 7 d: when older records are read again, rows that were deleted come back until their delete is read again too; raise gc_grace_seconds above the topic's retention, or do not go back further than it"#);
    let told = spoilt(|world| {
        let more = RouteSpec { topic: "u".into(), ..world.specs[0].clone() };
        world.specs.push(more);
    });
    insta::assert_snapshot!(told, @r#"warning: table "a" is fed by several routes (t, u), which write the same columns (v): where two of them have a row with the same key, each write and delete hits the other's row; give each a table of its own"#);
}
