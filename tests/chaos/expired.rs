//! Fault 13: the log of a partition begins behind where its group stands, and a group's offsets are gone.

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use crate::changes::{change, user};
use crate::load::PARTITIONS;
use crate::process::Started;
use crate::report::{Report, seed};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// What it says when records are gone that nobody has read.
const EXPIRED: &str = "the records between have expired unread";

/// The end of each partition when the log of one begins there.
const END: i64 = 6;

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_begins_behind_the_group_stops_it_and_lost_offsets_jump_nowhere() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_expired").await;
    let mut report = Report::new(13, "log start moved past the group, offsets of the group gone", seed());
    let [users, _] = scenario.change_topics();
    let group = scenario.cassandra_group();
    let stands = |partition: i32| {
        let committed = scenario.committed(&group, &[&users]);
        committed.get(&(users.clone(), partition)).map(|commit| commit.next_offset)
    };
    write(&scenario, &users, "first").await;
    let run = scenario.cdcconsumer().start();
    until("the first are applied", 30, async || (0..PARTITIONS as i32).all(|at| stands(at) == Some(1))).await;

    // While it looks away, what it would read next goes. The answer to its last question may be on its way already.
    run.signal("STOP");
    for _ in 1..END {
        write(&scenario, &users, "second").await;
    }
    report.injected += 1;
    delete_before(&scenario, &users, 0, END).await;
    run.signal("CONT");
    // Its client does not say which partition it is, so all of them end.
    run.logs("a partition's offset is not in its topic any more", 60).await;
    assert_eq!(run.exit_code(25).await, 1);
    report.observed += 1;
    let stopped_at = stands(0);
    assert!(stopped_at < Some(END), "it jumped");

    // Who starts then says which it is, and goes on with the others.
    report.injected += 1;
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 1, "a partition that is stopped is no success");
    assert!(run.log().contains(EXPIRED), "{}", run.log());
    report.observed += u64::from(stopped(&run, &users, 0));
    assert_eq!(stands(0), stopped_at, "it jumped");
    assert!((1..PARTITIONS as i32).all(|at| stands(at) == Some(END)), "the others stand still");

    // The offsets go as those of a group that nobody ran for a week. The sink knows where it stood.
    let before = scenario.writetimes(&scenario.id, "users").await;
    write(&scenario, &users, "third").await;
    report.injected += 1;
    let deleted = scenario.kafka.delete_groups(&[&group], &AdminOptions::new()).await.unwrap();
    deleted.into_iter().for_each(|deleted| drop(deleted.unwrap()));
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    let code = run.exit_code(40).await;
    report.observed += u64::from(code == 1 && run.log().contains(EXPIRED));
    let after = scenario.writetimes(&scenario.id, "users").await;
    let names = |rows: &crate::rows::Rows| rows.iter().filter_map(|row| row["name"].clone()).collect::<Vec<_>>();
    let violation = format!("after the offsets were gone: {:?} became {:?}", names(&before), names(&after));
    let is_kept = before.iter().all(|row| after.iter().any(|now| now["id"] == row["id"]));
    report.violations.extend((!is_kept).then_some(violation));
    report.end();
}

/// A row in each partition.
async fn write(scenario: &Scenario, users: &str, name: &str) {
    for partition in 0..PARTITIONS {
        let row = user(partition, name);
        scenario.produce(users, &change(None, Some(&row)).to(partition as i32)).await;
    }
}

/// The partition begins at this offset.
async fn delete_before(scenario: &Scenario, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    let deleted = scenario.kafka.delete_records(&list, &AdminOptions::new()).await.unwrap();
    for element in deleted.elements() {
        element.error().unwrap();
    }
    until("the log begins there", 20, async || scenario.ends(topic)[partition as usize].0 == offset).await;
}

/// Whether it says of this partition, and of no other, that it stopped.
fn stopped(run: &Started, topic: &str, partition: i32) -> bool {
    let log = run.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("stopped: ")).collect();
    let place = format!("{topic}[{partition}]");
    !lines.is_empty() && lines.iter().all(|line| line.contains(&place))
}
