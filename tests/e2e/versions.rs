//! Versions: replays write the same cells with the same write times, and a commit that lost its version is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::changes::{change, user};
use crate::load::{Dice, Load, PARTITIONS};
use crate::process::Program;
use crate::stack::{Scenario, until};
use crate::topics::{Commit, Commits};

/// Small batches, one request at a time: a few thousand changes take seconds, so that there is time to interfere.
pub fn slowly(program: Program<'_>) -> Program<'_> {
    program.set("limits.batch_records_max=10").set("sink.cassandra.in_flight_max=1")
}

/// 30 s. A group is set back to checkpoints that it had committed before, again and again, at random for each
/// partition; in the end the tables hold what an undisturbed run wrote, cell by cell and write time by write time,
/// and both hold what rule V1 says.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_any_checkpoint_leaves_the_write_times_of_an_undisturbed_run() {
    let scenario = Scenario::new("replay").await;
    let disturbed = scenario.another_keyspace().await;
    let group = format!("{}-b", scenario.id);
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let mut load = Load::new(1);
    load.go_on(&scenario, 4_000).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());

    let ends = topics.map(|topic| scenario.ends(topic)).concat();
    let end = ends.iter().map(|(_, end)| *end).sum::<i64>();

    let another = || {
        scenario
            .cdcconsumer()
            .set(&format!("sink.cassandra.keyspace={disturbed}"))
            .set(&format!("cdcconsumer.group_id={group}"))
    };
    let mut seen: BTreeMap<(String, i32), Vec<Commit>> = BTreeMap::new();
    let mut dice = Dice(7);
    for round in 0..5 {
        let before: i64 = scenario.committed(&group, &topics).values().map(|commit| commit.next_offset).sum();
        let run = slowly(another()).start();
        // Until this life has brought the group forward by about a sixth of the whole.
        until("the group comes forward", 60, async || {
            let committed = scenario.committed(&group, &topics);
            let sum: i64 = committed.values().map(|commit| commit.next_offset).sum();
            for (partition, commit) in committed {
                let of_partition = seen.entry(partition).or_default();
                if !of_partition.contains(&commit) {
                    of_partition.push(commit);
                }
            }
            sum >= end.min(before + 700) || !run.is_running()
        })
        .await;
        run.signal("TERM");
        assert_eq!(run.exit_code(30).await, 0);
        let mut back = Commits::new();
        for (partition, commits) in &seen {
            // Two of three partitions go back, each to a place of its own.
            if dice.below(3) > 0 {
                let at = dice.below(commits.len() as u64) as usize;
                back.insert(partition.clone(), commits[at].clone());
            }
        }
        scenario.commit(&group, &back);
        eprintln!("round {round}: {} checkpoints seen", seen.values().map(Vec::len).sum::<usize>());
    }
    let run = another().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(60).await, 0);
    assert_eq!(scenario.all_writetimes(&disturbed).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &topics);

    // The whole once more, and every partition from its beginning, into what is complete already.
    let first: Commits = seen.iter().map(|(partition, commits)| (partition.clone(), commits[0].clone())).collect();
    assert_eq!(first.len(), 2 * PARTITIONS as usize);
    scenario.commit(&group, &first);
    let run = another().arg("--exit-when-caught-up").start();
    assert_eq!(run.exit_code(60).await, 0);
    assert_eq!(scenario.all_writetimes(&disturbed).await, load.expected());
    scenario.assert_no_dead_letters();
}

/// 18 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_its_version_is_refused_and_left_alone_while_other_partitions_go_on() {
    let scenario = Scenario::new("foreign_commit").await;
    let [users, orders] = scenario.change_topics();
    let group = scenario.cassandra_group();
    let row = user(1, "Ann");
    // Else the versions are found there.
    scenario.cql(&format!("DROP TABLE {}.rowferry_progress", scenario.id)).await;
    for partition in 0..PARTITIONS as i32 {
        scenario.produce(&users, &change(None, Some(&user(partition as u64, "before"))).to(partition)).await;
    }
    scenario.cdcconsumer_to_the_end().await;
    scenario.produce(&users, &change(Some(&row), Some(&user(1, "after"))).to(1)).await;
    let other = user(2, "Bob");
    scenario.produce(&users, &change(Some(&other), Some(&user(2, "after"))).to(2)).await;

    for metadata in ["", "somebody else's"] {
        let foreign = Commit { next_offset: 1, metadata: metadata.into() };
        scenario.commit(&group, &Commits::from([((users.clone(), 1), foreign.clone())]));
        let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
        assert_eq!(run.exit_code(30).await, 1, "a refused partition is no success");
        let log = run.log();
        let told = log.lines().find(|line| line.contains("stopped:")).expect("it says what is stopped");
        for part in [
            format!("{users}[1]"),
            format!("group {group}"),
            "offset 1".into(),
            "`cdcconsumer seek --to-offset 1 --topic".into(),
        ] {
            assert!(told.contains(&part), "no \"{part}\" in: {told}");
        }
        let committed = scenario.committed(&group, &[&users, &orders]);
        assert_eq!(committed[&(users.clone(), 1)], foreign, "it is not written over");
        assert_eq!(committed[&(users.clone(), 2)].next_offset, 2, "the others go on");
    }
    let names: Vec<String> =
        scenario.cassandra_rows("users").await.iter().filter_map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["before", "before", "after", "before", "before"], "and the refused partition is not read");

    // A running consumer stays up, with the others at work.
    let run = scenario.cdcconsumer().start();
    run.logs("stopped:", 30).await;
    scenario.produce(&users, &change(None, Some(&user(13, "new"))).to(3)).await;
    until("a row of another partition arrives", 20, async || scenario.cassandra_rows("users").await.len() == 6).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert_eq!(scenario.committed(&group, &[&users])[&(users.clone(), 1)].metadata, "somebody else's");
}
