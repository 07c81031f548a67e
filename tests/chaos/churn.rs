//! Faults 9 and 17: members that come and go all the time, as in a rollout that does not end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::journal::assert_tables;
use crate::load::Load;
use crate::process::Started;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// A member comes or goes this often.
const TURN: Duration = Duration::from_secs(5);
/// In each turn the group has to come forward within this time.
const PROGRESS_SECONDS_MAX: u64 = 15;
/// Per turn; the load is light, for what is looked at is that it never stands still.
const CHANGES: usize = 200;

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_or_leaves_all_the_time_cooperatively() {
    members_come_and_go("cooperative-sticky", &[]).await;
}

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn a_member_joins_or_leaves_all_the_time_eagerly() {
    members_come_and_go("eager", &["cdcconsumer.rebalance_protocol=eager"]).await;
}

async fn members_come_and_go(protocol: &str, settings: &[&str]) {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_churn").await;
    let mut report = Report::new(9, &format!("members come and go, {protocol}"), seed());
    let mut load = Load::new(report.seed);
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let committed = || scenario.committed_sum(&group, &[&users, &orders]);
    let start = || settings.iter().fold(scenario.cdcconsumer(), |program, setting| program.set(setting)).start();
    let stays = start();
    let mut guest: Option<Arc<Started>> = None;
    for _ in 0..times(4, 24) {
        let turn = Instant::now();
        report.injected += 1;
        match guest.take() {
            None => {
                let joins = start();
                joins.logs(" assigned ", 40).await;
                guest = Some(joins);
            }
            Some(leaves) => {
                leaves.signal("TERM");
                assert_eq!(leaves.exit_code(30).await, 0, "a member that leaves");
            }
        }
        report.observed += 1;
        let before = committed();
        load.go_on(&scenario, CHANGES).await;
        let begun = Instant::now();
        until("the group comes forward", PROGRESS_SECONDS_MAX, async || committed() > before).await;
        report.recovered.push(begun.elapsed());
        sleep(TURN.saturating_sub(turn.elapsed())).await;
    }
    until("everything is applied", 60, async || committed() == scenario.ends_sum(&[&users, &orders])).await;
    report.rss_bytes_max = stays.rss_bytes();
    for run in [Some(stays), guest].into_iter().flatten() {
        run.signal("TERM");
        assert_eq!(run.exit_code(30).await, 0);
    }
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    report.end();
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_is_restarted_again_and_again_under_load_eagerly() {
    restarted_again_and_again("eager").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fails at times: a static member that ends between the two rounds of a cooperative rebalance leaves partitions to nobody"]
async fn one_of_two_is_restarted_again_and_again_under_load_cooperatively() {
    restarted_again_and_again("cooperative").await;
}

/// What a member finished it has committed when it ends in order: nothing comes twice.
async fn restarted_again_and_again(protocol: &str) {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_rolling").await;
    let mut report = Report::new(17, &format!("rolling restarts of two members, {protocol}"), seed());
    let mut load = Load::new(report.seed);
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let committed = || scenario.committed_sum(&group, &[&users, &orders]);
    let end = || scenario.ends_sum(&[&users, &orders]);
    let member = |name: &str| {
        let run = scenario.cdcconsumer().set(&format!("cdcconsumer.rebalance_protocol={protocol}"));
        run.set(&format!("cdcconsumer.group_instance_id={name}")).start()
    };
    let mut members = [member("a"), member("b")];
    let mut lives: Vec<Arc<Started>> = members.to_vec();
    for round in 0..times(4, 50) {
        load.go_on(&scenario, 2 * CHANGES).await;
        let at = (round % 2) as usize;
        report.injected += 1;
        members[at].signal("TERM");
        assert_eq!(members[at].exit_code(30).await, 0, "a member that is restarted");
        report.observed += 1;
        let begun = Instant::now();
        members[at] = member(["a", "b"][at]);
        lives.push(members[at].clone());
        until("everything is applied", 60, async || committed() == end()).await;
        report.recovered.push(begun.elapsed());
    }
    report.rss_bytes_max = members[0].rss_bytes();
    for run in &members {
        run.signal("TERM");
        assert_eq!(run.exit_code(30).await, 0);
    }
    let finished: u64 = lives.iter().map(|life| finished(life)).sum();
    report.redelivered = finished.saturating_sub(u64::try_from(end()).unwrap());
    if report.redelivered > 0 {
        report.violations.push(format!("{} records came twice", report.redelivered));
    }
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    report.end();
}

/// How many records a life has finished: where it left each partition off, less where it began.
fn finished(life: &Started) -> u64 {
    let log = life.log();
    let offsets = |what: &str| -> i64 {
        let lines = log.lines().filter(|line| line.contains(what)).filter_map(|line| line.split("next_offset=").nth(1));
        lines.map(|rest| rest.split_whitespace().next().unwrap().parse::<i64>().unwrap()).sum()
    };
    u64::try_from(offsets(" revoked ") - offsets(" assigned ")).unwrap()
}
