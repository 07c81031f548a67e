//! `cdcconsumer ctl`: a running process pauses, goes on, and reads again, and nothing newer is written over.

use serde_json::Value;

use crate::admin::{address, get};
use crate::load::Load;
use crate::process::Program;
use crate::stack::{Scenario, until};

const TOKEN: &str = "a-token-of-some-length";

/// Runs `ctl` with these words: exit code, and everything it said.
async fn ctl(scenario: &Scenario, address: &str, words: &str) -> (i32, String) {
    let program = words.split(' ').fold(with_token(scenario).arg("ctl"), |program, word| program.arg(word));
    let run = program.arg("--address").arg(address).start();
    let code = run.exit_code(60).await;
    (code, format!("{}{}", run.out(), run.log()))
}

fn with_token(scenario: &Scenario) -> Program<'_> {
    scenario.cdcconsumer().env("ROWFERRY_CDCCONSUMER_ADMIN_TOKEN", TOKEN)
}

async fn partitions(address: &str) -> Vec<Value> {
    let status: Value = serde_json::from_str(&get(address, "/status").await.1).unwrap();
    status["partitions"].as_array().unwrap().clone()
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_topic_waits_in_kafka_and_goes_on_where_it_was() {
    let scenario = Scenario::new("ctl_pause").await;
    let [users, orders] = scenario.change_topics();
    let started = with_token(&scenario).start();
    let address = address(&started).await;
    let mut load = Load::new(31);
    load.go_on(&scenario, 500).await;
    let group = scenario.cassandra_group();
    let at_the_end = |topic: &str| scenario.committed_sum(&group, &[topic]) == scenario.ends_sum(&[topic]);
    until("all is applied", 60, async || at_the_end(&users) && at_the_end(&orders)).await;

    let (code, told) = ctl(&scenario, &address, &format!("pause --topic {orders}")).await;
    assert!(code == 0 && told.contains(&format!("{orders}[4]")), "exit {code}: {told}");
    let before = scenario.committed_sum(&group, &[&orders]);
    load.go_on(&scenario, 500).await;
    until("the other topic is applied", 60, async || at_the_end(&users)).await;
    until("what waits is counted", 30, async || {
        let all = partitions(&address).await;
        let of_orders = || all.iter().filter(|it| it["topic"] == orders.as_str());
        assert!(of_orders().all(|it| it["paused"] == true && it["state"] == "running"), "{all:?}");
        let lag: i64 = of_orders().map(|it| it["lag_records"].as_i64().unwrap_or(0)).sum();
        before + lag == scenario.ends_sum(&[&orders])
    })
    .await;
    assert_eq!(scenario.committed_sum(&group, &[&orders]), before, "something was read while it was paused");
    assert_eq!(get(&address, "/ready").await.0, 200, "it does what it was told");

    let (code, told) = ctl(&scenario, &address, "resume --table orders").await;
    assert!(code == 0 && told.contains("goes on"), "exit {code}: {told}");
    until("all is applied", 60, async || at_the_end(&users) && at_the_end(&orders)).await;
    assert!(partitions(&address).await.iter().all(|it| it["paused"] == false));
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());

    let (code, told) = ctl(&scenario, &address, "pause --table nothing").await;
    assert!(code == 64 && told.contains("nothing of table \"nothing\""), "exit {code}: {told}");
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
}

/// 60 s. Under load, and twice in a row: every cell has the write time that an undisturbed run gives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_that_reads_again_leaves_every_write_time_as_it_was() {
    let scenario = Scenario::new("ctl_seek").await;
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let group = scenario.cassandra_group();
    let started = with_token(&scenario).start();
    let address = address(&started).await;
    let mut load = Load::new(32);
    load.go_on(&scenario, 3_000).await;
    until("it reads", 60, async || scenario.committed_sum(&group, &topics) > 500).await;

    let (code, told) = ctl(&scenario, &address, &format!("seek --to-beginning --topic {orders}")).await;
    assert!(code == 0 && told.contains(&format!("{orders}[0] from ")), "exit {code}: {told}");
    load.go_on(&scenario, 1_000).await;
    let (code, told) = ctl(&scenario, &address, &format!("seek --to-offset 1 --topic {users} --partition 0")).await;
    assert!(code == 0 && told.contains(&format!("{users}[0] from ")), "exit {code}: {told}");
    load.go_on(&scenario, 1_000).await;
    let all = || scenario.committed_sum(&group, &topics) == scenario.ends_sum(&topics);
    until("all is applied", 120, async || all()).await;
    let expected = load.expected();
    assert_eq!(scenario.all_writetimes(&scenario.id).await, expected);
    let commits = scenario.committed(&group, &topics);
    let is_past = |commit: &crate::topics::Commit| commit.metadata.starts_with("rowferry:1:last=");
    assert!(commits.values().all(is_past), "a floor is left: {commits:?}");

    // Over what nobody has read it goes only when that is said.
    let (_, end) = scenario.ends(&users)[0];
    let beyond = format!("seek --to-offset {} --topic {users} --partition 0", end + 1);
    let (code, told) = ctl(&scenario, &address, &beyond).await;
    assert!(code == 64 && told.contains("is not in it"), "exit {code}: {told}");
    assert!(started.log().matches(" revoked ").count() >= 10, "it gives up what it moves");
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
    assert_eq!(scenario.all_writetimes(&scenario.id).await, expected);
    scenario.assert_no_dead_letters();
}
