//! Groups and topics: members that come and go, topics that come late.

use crate::changes::{change, user};
use crate::load::Load;
use crate::path::{assert_postgres_equals, oracle, producer};
use crate::stack::{Scenario, until};
use crate::versions::slowly;

/// 22 s.
#[tokio::test(flavor = "multi_thread")]
async fn two_cdcconsumers_share_the_partitions_and_one_may_leave_and_come_back_under_load() {
    let scenario = Scenario::new("two_members").await;
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let mut load = Load::new(2);
    load.go_on(&scenario, 1_000).await;
    let sum = || {
        let committed = scenario.committed(&group, &[&users, &orders]);
        committed.values().map(|commit| commit.next_offset).sum::<i64>()
    };
    let first = slowly(scenario.cdcconsumer()).start();
    until("the first member works", 30, async || sum() > 100).await;

    let second = slowly(scenario.cdcconsumer()).start();
    second.logs(" assigned ", 30).await;
    first.logs(" revoked ", 30).await;
    let joined_at = sum();
    // Fed at every look, so that there is work for them however fast the machine is.
    until("both work", 30, async || {
        load.go_on(&scenario, 40).await;
        sum() > joined_at + 400
    })
    .await;
    assert!(second.log().lines().filter(|line| line.contains(" assigned ")).count() >= 4, "it has its share");

    assert!(first.rss_bytes() < 256 << 20, "{} bytes", first.rss_bytes());

    second.signal("TERM");
    assert_eq!(second.exit_code(25).await, 0);
    let left_at = sum();
    until("the first goes on alone", 30, async || {
        load.go_on(&scenario, 40).await;
        sum() > left_at + 400
    })
    .await;
    load.go_on(&scenario, 1_000).await;

    // Comes back, and this time the one that stayed leaves.
    let third = slowly(scenario.cdcconsumer()).start();
    third.logs(" assigned ", 30).await;
    first.signal("TERM");
    assert_eq!(first.exit_code(25).await, 0);
    third.signal("TERM");
    assert_eq!(third.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &[&users, &orders]);
    scenario.assert_no_dead_letters();
}

/// 35 s.
#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_partitions_and_apply_every_event_once_though_one_comes_and_goes() {
    let scenario = Scenario::new("two_consumers").await;
    let oracle = oracle(&scenario).await;
    let topics = ["users", "orders"].map(|topic| scenario.topic(topic));
    let group = scenario.postgres_group();
    // 28 s, long enough for both to come and go while it writes.
    let produced = producer(&scenario).arg("--rate").arg("80").start();
    let sum = || {
        let committed = scenario.committed(&group, &[&topics[0], &topics[1]]);
        committed.values().map(|commit| commit.next_offset).sum::<i64>()
    };
    let slowly = || scenario.consumer().set("limits.batch_records_max=5").start();
    let first = slowly();
    until("the first member works", 30, async || sum() > 50).await;
    for _ in 0..2 {
        let second = slowly();
        second.logs(" assigned ", 30).await;
        let joined_at = sum();
        until("both work", 30, async || sum() > joined_at + 100 || !produced.is_running()).await;
        second.signal("TERM");
        assert_eq!(second.exit_code(25).await, 0);
    }
    if !produced.is_running() {
        eprintln!("a slow machine: not all of the coming and going was under load");
    }
    first.signal("TERM");
    assert_eq!(first.exit_code(25).await, 0);
    assert_eq!(produced.exit_code(60).await, 0);
    scenario.consumer_to_the_end().await;
    assert_postgres_equals(&scenario, &oracle).await;
    scenario.assert_committed_to_the_ends(&group, &[&topics[0], &topics[1]]);
    scenario.assert_no_dead_letters();
}

/// 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_yet_is_waited_for_and_read_from_its_first_record() {
    let scenario = Scenario::new("late_topic").await;
    let late = scenario.topic("late");
    let [users, orders] = scenario.change_topics();
    scenario.edit_config(|config| config.replace(&users, &late));
    let run = scenario.cdcconsumer().start();
    run.logs(&format!("waiting for topic {late}"), 30).await;
    let caught_up = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    caught_up.logs("waiting for topic", 30).await;
    assert!(run.is_running() && caught_up.is_running(), "a topic that is missing is no end to catch up with");
    caught_up.signal("TERM");
    assert_eq!(caught_up.exit_code(20).await, 0, "it may be asked to stop while it waits");
    assert!(scenario.committed(&scenario.cassandra_group(), &[&orders]).is_empty(), "nothing was begun");

    // With a record before the consumer can know of the topic: its first record counts, too.
    scenario.make_topic(&late, 2, &[]).await;
    scenario.produce(&late, &change(None, Some(&user(1, "Ann"))).to(1)).await;
    until("the first record arrives", 30, async || scenario.cassandra_rows("users").await.len() == 1).await;
    scenario.produce(&late, &change(None, Some(&user(2, "Bob"))).to(0)).await;
    until("the second arrives", 30, async || scenario.cassandra_rows("users").await.len() == 2).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&late, &orders]);
}

/// 20 s. The client does not notice by itself that it is another topic; what gives it away is that it is shorter.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_under_a_running_consumer_is_not_passed_over_in_silence() {
    let scenario = Scenario::new("made_anew").await;
    let [users, _] = scenario.change_topics();
    for number in 0..5 {
        scenario.produce(&users, &change(None, Some(&user(number, "before"))).to(0)).await;
    }
    let run = scenario.cdcconsumer().start();
    let committed = || scenario.committed(&scenario.cassandra_group(), &[&users]);
    until("the rows are committed", 30, async || {
        committed().get(&(users.clone(), 0)).is_some_and(|commit| commit.next_offset == 5)
    })
    .await;
    scenario.delete_topic(&users).await;
    scenario.make_topic(&users, 5, &[]).await;
    scenario.produce(&users, &change(None, Some(&user(9, "after"))).to(0)).await;
    until("it says that it cannot go on", 60, async || {
        let log = run.log();
        let told = ["made anew", "created anew", "has no commit for it"];
        let line = log.lines().find(|line| told.iter().any(|told| line.contains(told)));
        line.inspect(|line| eprintln!("it says: {line}")).is_some()
    })
    .await;
    assert_eq!(run.exit_code(25).await, 1);
    // The brokers forgot the group's offsets with the old topic, and the sink has not.
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 1);
    assert!(run.log().contains("was deleted and made anew"), "{}", run.log());
    let seek = scenario.cdcconsumer().arg("seek").arg("--to-beginning").arg("--topic").arg(&users).start();
    assert_eq!(seek.exit_code(40).await, 0, "{}", seek.log());
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.cassandra_rows("users").await.len(), 6);
}
