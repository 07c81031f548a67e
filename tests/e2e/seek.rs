//! `cdcconsumer seek`: what is read again changes nothing, also with new records behind it and a kill in the middle.

use crate::changes::{change, user};
use crate::load::Load;
use crate::rows::assert_same;
use crate::stack::{Scenario, until};
use crate::topics::{Commit, Commits};
use crate::versions::slowly;

/// Runs `seek` with these flags: exit code, and everything it said.
async fn seek(scenario: &Scenario, flags: &[&str]) -> (i32, String) {
    let program = flags.iter().fold(scenario.cdcconsumer().arg("seek"), |program, flag| program.arg(flag));
    let run = program.start();
    let code = run.exit_code(40).await;
    (code, format!("{}{}", run.out(), run.log()))
}

/// 35 s. Set back to the beginning, killed half-way, set back again, with new records behind: every cell has the write
/// time that an undisturbed run gives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_read_again_leaves_every_write_time_as_it_was() {
    let scenario = Scenario::new("seek_beginning").await;
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let group = scenario.cassandra_group();
    let mut load = Load::new(11);
    load.go_on(&scenario, 3_000).await;
    scenario.cdcconsumer_to_the_end().await;
    let before = scenario.committed(&group, &topics);
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());

    let (code, told) = seek(&scenario, &["--to-beginning", "--dry-run"]).await;
    assert!(code == 0 && told.contains("10 partitions would be moved"), "exit {code}: {told}");
    assert_eq!(scenario.committed(&group, &topics), before, "a dry run moves nothing");
    let (code, told) = seek(&scenario, &["--to-beginning"]).await;
    assert!(code == 0 && told.contains("is read again and stays below what is newer"), "exit {code}: {told}");
    for (place, commit) in scenario.committed(&group, &topics) {
        let last = before[&place].metadata.trim_start_matches("rowferry:1:last=");
        let floor = format!("rowferry:2:last=0:floor={last}@{}", before[&place].next_offset);
        assert_eq!(commit, Commit { next_offset: 0, metadata: floor }, "{place:?}");
    }

    // Killed in the middle; the next life goes on, and more is set back from where that one stands.
    let run = slowly(scenario.cdcconsumer()).start();
    let sum = || scenario.committed(&group, &topics).values().map(|commit| commit.next_offset).sum::<i64>();
    until("some is read again", 60, async || sum() > 500).await;
    run.signal("KILL");
    run.ended(10).await;
    load.go_on(&scenario, 500).await;
    until("the killed member has left", 30, async || {
        seek(&scenario, &["--to-beginning", "--topic", &users]).await.0 == 0
    })
    .await;
    let floors = scenario.committed(&group, &[&users]);
    for (place, commit) in &floors {
        let expected = format!("@{}", before[place].next_offset);
        assert!(commit.metadata.ends_with(&expected), "the furthest checkpoint stays the floor: {commit:?}");
    }
    let run = slowly(scenario.cdcconsumer()).start();
    until("the floors are passed", 60, async || sum() > before.values().map(|commit| commit.next_offset).sum()).await;
    load.go_on(&scenario, 500).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &topics);
    let all = scenario.committed(&group, &topics);
    assert!(all.values().all(|commit| commit.metadata.starts_with("rowferry:1:last=")), "no floor is left: {all:?}");
    scenario.assert_no_dead_letters();
}

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_records_or_meets_a_running_group_is_refused() {
    let scenario = Scenario::new("seek_refused").await;
    let [users, orders] = scenario.change_topics();
    let group = scenario.cassandra_group();
    for number in 0..3 {
        scenario.produce(&users, &change(None, Some(&user(number, "Ann"))).to(0)).await;
    }
    scenario.cdcconsumer_to_the_end().await;
    scenario.produce(&users, &change(None, Some(&user(7, "unread"))).to(0)).await;
    let before = scenario.committed(&group, &[&users, &orders]);
    let place = ["--topic", &users, "--partition", "0"];
    for (flags, parts) in [
        (&["--to-end"][..], &["1 records would never be applied", "say --skip-records"][..]),
        (&["--to-offset", "4", place[0], place[1], place[2], place[3]], &["offset 4 is beyond 3"]),
        (&["--to-offset", "9", place[0], place[1], place[2], place[3], "--skip-records"], &["offset 9 is not in it"]),
        (&["--to-beginning", "--topic", "nowhere"], &["no route reads topic \"nowhere\"", &orders]),
        (&["--to-beginning", "--topic", &users, "--partition", "77"], &["has 5 partitions, and no 77"]),
    ] {
        let (code, told) = seek(&scenario, flags).await;
        let missing: Vec<&&str> = parts.iter().filter(|part| !told.contains(**part)).collect();
        assert!(code == 64 && missing.is_empty(), "{flags:?}: exit {code}, not told: {missing:?}, in: {told}");
    }
    for usage in [&["--to-offset", "1"][..], &[], &["--to-end", "--to-beginning"]] {
        assert_eq!(seek(&scenario, usage).await.0, 2, "{usage:?}");
    }
    assert_eq!(scenario.committed(&group, &[&users, &orders]), before);

    let run = scenario.cdcconsumer().start();
    run.logs("assigned", 30).await;
    let (code, told) = seek(&scenario, &["--to-beginning"]).await;
    assert!(code == 64 && told.contains("has 1 members: stop every cdcconsumer"), "exit {code}: {told}");
    until("it goes on", 20, async || scenario.cassandra_rows("users").await.len() == 4).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    // Said in so many words, records are skipped.
    scenario.produce(&users, &change(None, Some(&user(8, "skipped"))).to(0)).await;
    let (code, told) = seek(&scenario, &["--to-end", "--skip-records", "--topic", &users]).await;
    assert!(code == 0 && told.contains("1 offsets are passed over"), "exit {code}: {told}");
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.cassandra_rows("users").await.len(), 4);
}

/// 25 s. The commands that the refusal names are the mend, each of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_another_tool_moved_is_mended_by_the_commands_that_its_refusal_names() {
    let scenario = Scenario::new("seek_foreign").await;
    let [users, _] = scenario.change_topics();
    let group = scenario.cassandra_group();
    // Else the versions are found there.
    scenario.cql(&format!("DROP TABLE {}.rowferry_progress", scenario.id)).await;
    for (number, name) in [(1, "first"), (2, "second"), (1, "third")] {
        scenario.produce(&users, &change(None, Some(&user(number, name))).to(1)).await;
    }
    scenario.cdcconsumer_to_the_end().await;
    for (round, told) in
        ["reads all that the topic still has", "goes on where the other tool set it"].iter().enumerate()
    {
        let foreign = Commit { next_offset: 1, metadata: String::new() };
        scenario.commit(&group, &Commits::from([((users.clone(), 1), foreign)]));
        let newest = format!("newest {round}");
        scenario.produce(&users, &change(None, Some(&user(2, &newest))).to(1)).await;
        let run = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
        assert_eq!(run.exit_code(30).await, 1);
        let log = run.log();
        let (before, _) = log.split_once(told).expect("the refusal says what each command does");
        let command = before.rsplit('`').nth(1).expect("the command stands in backticks");
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[..2], ["cdcconsumer", "seek"]);
        let (code, told) = seek(&scenario, &words[2..]).await;
        assert!(code == 0 && told.contains("versions were lost"), "exit {code}: {told}");
        scenario.cdcconsumer_to_the_end().await;
        let rows = scenario.cassandra_rows("users").await;
        let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_deref()).collect();
        assert_eq!(names, ["third", newest.as_str()]);
    }
    scenario.assert_no_dead_letters();
}

/// 25 s. A table that comes later is filled from what the topic has, while changes go on; the tables that were there
/// keep every write time.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_added_later_is_filled_from_the_beginning() {
    let scenario = Scenario::new("seek_added").await;
    let [_, orders] = scenario.change_topics();
    let mut load = Load::new(5);
    load.go_on(&scenario, 2_000).await;
    scenario.cdcconsumer_to_the_end().await;
    scenario
        .cql(&format!(
            "CREATE TABLE {}.orders_by_status (status text, order_id uuid, quantity int, total_amount decimal, \
             user_id uuid, PRIMARY KEY (order_id))",
            scenario.id
        ))
        .await;
    let route = format!(
        "[[cdcconsumer.routes]]\ntopic = \"{orders}\"\nsource_table = \"public.orders\"\ntable = \"orders_by_status\"\n\
         source_key = [\"id\"]\ncolumns = {{ order_id = \"id\" }}\n\n[log]"
    );
    scenario.edit_config(|text| text.replace("[log]", &route));
    let (code, told) = seek(&scenario, &["--to-beginning", "--topic", &orders]).await;
    assert!(code == 0 && told.contains("5 partitions moved"), "exit {code}: {told}");
    let run = slowly(scenario.cdcconsumer()).start();
    for _ in 0..5 {
        load.go_on(&scenario, 100).await;
    }
    // One more of each partition, so that all floors are passed.
    run.logs("assigned", 30).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    let columns = "order_id, status, quantity, total_amount, user_id";
    let query = |table: &str| format!("SELECT {columns} FROM {}.{table}", scenario.id);
    let expected = scenario.cassandra_query(&query("orders")).await;
    assert!(expected.len() > 100);
    assert_same("the new table", &scenario.cassandra_query(&query("orders_by_status")).await, &expected);

    scenario.assert_no_dead_letters();
}
