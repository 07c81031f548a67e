//! Faults 9 and 17: members that come and go all the time, as in a rollout that does not end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::commits::CommitWatch;
use crate::journal::assert_tables;
use crate::load::Load;
use crate::process::Started;
use crate::reader::Reader;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// A member comes or goes this often.
const TURN: Duration = Duration::from_secs(5);
/// In each turn the group has to come forward within this time.
const PROGRESS_SECONDS_MAX: u64 = 15;
/// Per turn; the load is light, for what is looked at is that it never stands still.
const CHANGES: usize = 200;

/// How the members of a group are told to share.
#[derive(Debug, Clone, Copy)]
enum Members {
    Cooperative,
    Eager,
    Static,
}

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_or_leaves_all_the_time_cooperatively() {
    members_come_and_go(Members::Cooperative).await;
}

/// 45 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn a_member_joins_or_leaves_all_the_time_eagerly() {
    members_come_and_go(Members::Eager).await;
}

/// 45 s. A static member that is away keeps its partitions for the session timeout; the others go on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn a_static_member_comes_and_goes_all_the_time() {
    members_come_and_go(Members::Static).await;
}

async fn members_come_and_go(members: Members) {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_churn").await;
    let mut report = Report::new(9, &format!("members come and go, {members:?}"), seed());
    let mut load = Load::new(report.seed);
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let committed = || scenario.committed_sum(&group, &[&users, &orders]);
    let (reader, commits) = (Reader::of_users(&scenario).await, CommitWatch::of(&group, &scenario.change_topics()));
    let stays = member(&scenario, members, "stays");
    let mut guest: Option<Arc<Started>> = None;
    for _ in 0..times(4, 24) {
        let turn = Instant::now();
        report.injected += 1;
        match guest.take() {
            None => {
                let joins = member(&scenario, members, "guest");
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
    reader.ends(&mut report).await;
    commits.ends(&mut report);
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    report.end();
}

/// 20 s. Static members give all up and hand it out again.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_static_members_is_restarted_again_and_again_under_load() {
    restarted_again_and_again(Members::Static).await;
}

/// 25 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn one_of_two_is_restarted_again_and_again_under_load_cooperatively() {
    restarted_again_and_again(Members::Cooperative).await;
}

/// What a member finished it has committed when it ends in order: nothing comes twice.
async fn restarted_again_and_again(members: Members) {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_rolling").await;
    let mut report = Report::new(17, &format!("rolling restarts of two members, {members:?}"), seed());
    let mut load = Load::new(report.seed);
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let committed = || scenario.committed_sum(&group, &[&users, &orders]);
    let end = || scenario.ends_sum(&[&users, &orders]);
    let (reader, commits) = (Reader::of_users(&scenario).await, CommitWatch::of(&group, &scenario.change_topics()));
    let start = |name: &str| member(&scenario, members, name);
    let mut both = [start("a"), start("b")];
    let mut lives: Vec<Arc<Started>> = both.to_vec();
    for round in 0..times(4, 50) {
        load.go_on(&scenario, 2 * CHANGES).await;
        let at = (round % 2) as usize;
        report.injected += 1;
        both[at].signal("TERM");
        assert_eq!(both[at].exit_code(30).await, 0, "a member that is restarted");
        report.observed += 1;
        let begun = Instant::now();
        both[at] = start(["a", "b"][at]);
        lives.push(both[at].clone());
        until("everything is applied", 60, async || committed() == end()).await;
        report.recovered.push(begun.elapsed());
    }
    report.rss_bytes_max = both[0].rss_bytes();
    for run in &both {
        run.signal("TERM");
        assert_eq!(run.exit_code(30).await, 0);
    }
    let finished: u64 = lives.iter().map(|life| finished(life)).sum();
    report.redelivered = finished.saturating_sub(u64::try_from(end()).unwrap());
    if report.redelivered > 0 {
        report.violations.push(format!("{} records came twice", report.redelivered));
    }
    reader.ends(&mut report).await;
    commits.ends(&mut report);
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    report.end();
}

fn member(scenario: &Scenario, members: Members, name: &str) -> Arc<Started> {
    let run = scenario.cdcconsumer();
    let run = match members {
        Members::Cooperative => run,
        Members::Eager => run.set("cdcconsumer.rebalance_protocol=eager"),
        Members::Static => run.set(&format!("cdcconsumer.group_instance_id={name}")),
    };
    run.start()
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
