//! What a position stands on: the topic it was made in, the partitions that there were, the versions beside it.

use std::fs;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::changes::{change, user};
use crate::stack::{Scenario, client, until};
use crate::topics::{Commit, Commits};

/// As many partitions as the harness gives a change topic.
const PARTITIONS: i32 = 5;

async fn names(scenario: &Scenario) -> Vec<String> {
    let mut names: Vec<String> =
        scenario.cassandra_rows("users").await.iter().filter_map(|row| row["name"].clone()).collect();
    names.sort();
    names
}

/// 40 s. The new topic holds as many records as the old one, so that its offsets alone tell nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_stops_until_a_command_begins_it() {
    let scenario = Scenario::new("identity_anew").await;
    let [users, orders] = scenario.change_topics();
    for number in 0..3 {
        scenario.produce(&users, &change(None, Some(&user(number, "old"))).to(0)).await;
    }
    scenario.cdcconsumer_to_the_end().await;
    let before = scenario.writetimes(&scenario.id, "users").await;

    scenario.delete_topic(&users).await;
    scenario.make_topic(&users, PARTITIONS, &[]).await;
    for number in 0..4 {
        // A clock that went back must not hide the new rows behind the old ones.
        scenario.produce(&users, &change(None, Some(&user(number, "new"))).to(0).at(1_000)).await;
    }
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 1, "partitions that are stopped are no success");
    let log = run.log();
    let stopped = format!("stopped: topic {users} was deleted and made anew (its id was ");
    assert_eq!(log.matches(&stopped).count(), PARTITIONS as usize, "{log}");
    for part in [format!("`cdcconsumer seek --to-beginning --topic {users}`"), format!("{orders}[0] next_offset=0")] {
        assert!(log.contains(&part), "no \"{part}\" in: {log}");
    }
    assert_eq!(scenario.writetimes(&scenario.id, "users").await, before, "nothing of it was read");
    let check = scenario.cdcconsumer().arg("check").start();
    assert_eq!(check.exit_code(40).await, 64);
    assert!(format!("{}{}", check.out(), check.log()).contains("was deleted and made anew"), "{}", check.out());

    let seek = scenario.cdcconsumer().arg("seek").arg("--to-beginning").arg("--topic").arg(&users).start();
    assert_eq!(seek.exit_code(40).await, 0, "{}", seek.log());
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(names(&scenario).await, ["new"; 4]);
    scenario.assert_no_dead_letters();
}

/// 100 s: the topics are looked at once a minute.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_stop_their_topic_until_they_are_accepted() {
    let scenario = Scenario::new("identity_added").await;
    let [users, orders] = scenario.change_topics();
    let group = scenario.cassandra_group();
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    for partition in 0..PARTITIONS {
        let row = user(partition as u64, "before");
        scenario.produce(&users, &change(None, Some(&row)).to(partition).at(now_ms + 3_000_000)).await;
    }
    let run = scenario.cdcconsumer().start();
    until("all is applied", 40, async || names(&scenario).await.len() == PARTITIONS as usize).await;
    let more = NewPartitions::new(&users, PARTITIONS as usize + 1);
    let added = scenario.kafka.create_partitions([&more], &AdminOptions::new()).await.unwrap();
    added.into_iter().for_each(|added| drop(added.unwrap()));
    run.logs(&format!("topic {users} had 5 partitions and has 6: keys have changed their partition"), 90).await;
    // The rest goes on.
    let user_of_order = user(1, "before");
    let order = crate::changes::order(1, 1, "9.50");
    scenario.produce(&orders, &change(None, Some(&order)).to(2)).await;
    until("an order is applied", 30, async || !scenario.cassandra_rows("orders").await.is_empty()).await;
    let renamed = change(Some(&user_of_order), Some(&user(1, "after")));
    // The harness's producer does not know the new partition yet.
    let producer: FutureProducer = client().create().unwrap();
    let (key, value) = (renamed.key.unwrap(), renamed.value.unwrap());
    let record = FutureRecord::to(&users).partition(PARTITIONS).key(&key).payload(&value);
    producer.send(record, Duration::from_secs(20)).await.unwrap();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 1, "a restart accepts nothing");
    assert!(run.log().contains("--accept-added-partitions"), "{}", run.log());
    assert_eq!(names(&scenario).await, ["before"; 5]);
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").arg("--accept-added-partitions").start();
    assert_eq!(run.exit_code(40).await, 0, "{}", run.log());
    // Its record is stamped with the present, and the older one of its row with a time fifty minutes ahead.
    assert_eq!(names(&scenario).await, ["after", "before", "before", "before", "before"]);
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 0, "what was accepted stays so");
    assert_eq!(scenario.committed(&group, &[&users]).len(), PARTITIONS as usize + 1);
}

/// 35 s. The sink knows what the commit has lost, in both directions, and every write time stays as it was.
#[tokio::test(flavor = "multi_thread")]
async fn versions_that_another_tool_erased_are_found_in_the_sink() {
    let scenario = Scenario::new("identity_lost").await;
    let [users, _] = scenario.change_topics();
    let group = scenario.cassandra_group();
    // The stamps fall, so that only the chain keeps the versions rising.
    let stamps = [1_700_000_000_000, 1_600_000_000_000, 1_500_000_000_000];
    for (stamp, name) in stamps.into_iter().zip(["first", "second", "third"]) {
        scenario.produce(&users, &change(None, Some(&user(1, name))).to(1).at(stamp)).await;
    }
    scenario.cdcconsumer_to_the_end().await;
    let before = scenario.writetimes(&scenario.id, "users").await;
    let kept = scenario.cassandra_rows("rowferry_progress").await;
    let row = kept.iter().find(|row| row["partition"].as_deref() == Some("1")).expect("a checkpoint was kept");
    assert_eq!(row["next_offset"].as_deref(), Some("3"));

    // Set back by another tool, then read to the end again, then with something new behind.
    let foreign = |next_offset| Commit { next_offset, metadata: "theirs".into() };
    scenario.commit(&group, &Commits::from([((users.clone(), 1), foreign(0))]));
    let log = run_to_the_end(&scenario).await;
    assert!(log.contains("it goes on at 0 with the versions that the sink has kept"), "{log}");
    assert_eq!(scenario.writetimes(&scenario.id, "users").await, before);
    scenario.produce(&users, &change(None, Some(&user(1, "fourth"))).to(1).at(1_400_000_000_000)).await;
    scenario.produce(&users, &change(None, Some(&user(2, "fifth"))).to(1).at(1_300_000_000_000)).await;
    // Set forward: what lies between is read all the same.
    scenario.commit(&group, &Commits::from([((users.clone(), 1), foreign(4))]));
    let log = run_to_the_end(&scenario).await;
    assert!(log.contains("it goes on at 3 with the versions that the sink has kept"), "{log}");
    assert_eq!(names(&scenario).await, ["fifth", "fourth"], "the newest record wins, whatever its stamp");
    scenario.assert_no_dead_letters();
}

async fn run_to_the_end(scenario: &Scenario) -> String {
    let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(40).await, 0, "{}", run.log());
    run.log()
}

/// 25 s. Partitions are given up all at once, and handed out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_may_rebalance_eagerly() {
    let scenario = Scenario::new("identity_eager").await;
    let [users, _] = scenario.change_topics();
    let setting = |text: &str| text.replace("[cdcconsumer]\n", "[cdcconsumer]\nrebalance_protocol = \"eager\"\n");
    scenario.edit_config(setting);
    let first = scenario.cdcconsumer().start();
    first.logs("assigned", 40).await;
    let second = scenario.cdcconsumer().start();
    second.logs("assigned", 40).await;
    let revoked = || first.log().matches("revoked").count();
    until("the first has given up all ten", 30, async || revoked() >= 10).await;
    for partition in 0..PARTITIONS {
        let row = user(partition as u64, "there");
        scenario.produce(&users, &change(None, Some(&row)).to(partition)).await;
    }
    until("all is applied", 40, async || names(&scenario).await.len() == PARTITIONS as usize).await;
    for run in [first, second] {
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    let config = fs::read_to_string(scenario.config()).unwrap();
    fs::write(scenario.config(), config.replace("\"eager\"", "\"lazy\"")).unwrap();
    let run = scenario.cdcconsumer().start();
    assert_eq!(run.exit_code(30).await, 64);
    assert!(run.log().contains("lazy") && run.log().contains("cooperative"), "{}", run.log());
}
