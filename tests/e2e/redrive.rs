//! `cdcconsumer dead-letters`: what was refused is listed, shown and exported without its values, and comes back in
//! when its cause is mended, with the version that it had.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::changes::{change, id, order, user};
use crate::inputs::{CANARY, assert_holds_no_payload, events};
use crate::process::Program;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// How a command ended and what it said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

async fn said(program: Program<'_>) -> Said {
    let started = program.start();
    let code = started.exit_code(60).await;
    assert!(!started.log().contains("panicked"), "{}", started.log());
    Said { code, out: started.out(), err: started.log() }
}

/// `cdcconsumer dead-letters` with these words behind it.
fn command<'s>(scenario: &'s Scenario, words: &[&str]) -> Program<'s> {
    words.iter().fold(scenario.cdcconsumer().arg("dead-letters"), |program, word| program.arg(word))
}

async fn letters(scenario: &Scenario, words: &[&str]) -> Said {
    said(command(scenario, words)).await
}

impl Said {
    /// The second column where the first is this.
    fn origins(&self, fate: &str) -> Vec<&str> {
        let lines = self.out.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        lines.filter(|cells| cells[0] == fate).map(|cells| cells[1]).collect()
    }

    fn assert_code(&self, code: i32) -> &Said {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    fn assert_masked(&self, what: &str) -> &Said {
        assert_holds_no_payload(what, &self.out);
        assert_holds_no_payload(what, &self.err);
        self
    }
}

/// A minute ago, so that half of ten seconds is over.
fn start_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - 60_000
}

/// The row with a time that the tables cannot hold until their route allows the loss.
fn unfit(mut row: Value) -> Value {
    row["modified_at"] = "2025-01-01T00:00:00.000001Z".into();
    row
}

/// Allows the loss in every route.
fn mend(scenario: &Scenario) {
    scenario.edit_config(|text| {
        let lossy = "modified_at = { lossy = true }";
        text.replace(
            "table = \"users\"\nsource_key = [\"id\"]\n",
            &format!("table = \"users\"\nsource_key = [\"id\"]\ncolumns = {{ {lossy} }}\n"),
        )
        .replace("columns = { order_id = \"id\" }", &format!("columns = {{ order_id = \"id\", {lossy} }}"))
    });
}

/// Partition 0 of the users: 0 unfit, 1 unfit and 2 its successor, 3 unfit and 4 its delete, 5 no envelope, 6 good.
fn users() -> Vec<Raw> {
    let named = |number, name: &str| user(number, &format!("{CANARY} {name}"));
    vec![
        change(None, Some(&unfit(named(1, "lost")))).header("tenant", CANARY),
        change(None, Some(&unfit(named(2, "old")))),
        change(Some(&named(2, "old")), Some(&named(2, "new"))),
        change(None, Some(&unfit(named(3, "gone")))),
        change(Some(&named(3, "gone")), None),
        Raw::new(r#"{"id":"nobody"}"#, CANARY),
        change(None, Some(&named(4, "good"))),
    ]
}

/// Partition 0 of the orders: an order goes from user 7 to 8, which is refused, and then on to 9.
fn orders() -> Vec<Raw> {
    let of = |user| order(10, user, "19.90");
    vec![change(None, Some(&of(7))), change(Some(&of(7)), Some(&unfit(of(8)))), change(Some(&of(8)), Some(&of(9)))]
}

async fn produce(scenario: &Scenario, topic: &str, records: Vec<Raw>) -> i64 {
    let start = start_ms();
    let records: Vec<Raw> = records.into_iter().zip(start..).map(|(record, at)| record.to(0).at(at)).collect();
    scenario.produce_all(topic, &records).await;
    start
}

async fn names(scenario: &Scenario) -> Vec<(String, String)> {
    let rows = scenario.cassandra_rows("users").await;
    rows.iter().map(|row| (row["id"].clone().unwrap(), row["name"].clone().unwrap())).collect()
}

/// 35 s.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_seen_without_its_values_and_comes_back_with_its_version() {
    let scenario = Scenario::new("redrive").await;
    let [of_users, of_orders] = scenario.change_topics();
    letters(&scenario, &["list"]).await.assert_code(1);
    let start = produce(&scenario, &of_users, users()).await;
    produce(&scenario, &of_orders, orders()).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.dead_letters().len(), 5);
    let users_of_order = async || {
        let rows = scenario.cassandra_rows("orders_by_user").await;
        rows.iter().map(|row| row["user_id"].clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(users_of_order().await, [id(7), id(9)], "the refused move has left its old row behind");

    assert_seen(&scenario, &of_users, &of_orders).await;

    let before = scenario.all_writetimes(&scenario.id).await;
    let committed = scenario.committed(&scenario.cassandra_group(), &[&of_users, &of_orders]);
    letters(&scenario, &["redrive"]).await.assert_code(2);
    let refused = letters(&scenario, &["redrive", "--route", "users", "--reason", "out_of_range"]).await;
    assert_eq!(refused.assert_code(1).assert_masked("a redrive").origins("refused").len(), 3, "{refused:?}");
    mend(&scenario);
    let dry = letters(&scenario, &["redrive", "--all", "--dry-run"]).await;
    dry.assert_code(1).assert_masked("a dry run");
    let move_at = format!("would_write\t{of_orders}:0:1\torders_by_user: delete user_id=•••, order_id=••• @");
    assert!(dry.out.contains(&move_at), "{}", dry.out);
    assert_eq!(before, scenario.all_writetimes(&scenario.id).await, "a dry run writes nothing");
    let shown = letters(&scenario, &["redrive", &format!("{of_users}:0:0"), "--dry-run", "--values"]).await;
    let version = 1000 * start;
    let expected = format!("would_write\t{of_users}:0:0\tusers: upsert id={} @{}\n", id(1), version + 1);
    assert_eq!(shown.assert_code(0).out, expected);

    // Beside a pipeline that runs, twice.
    let running = scenario.cdcconsumer().start();
    let mut after = None;
    for _ in 0..2 {
        let redriven = letters(&scenario, &["redrive", "--all"]).await;
        redriven.assert_code(1).assert_masked("a redrive");
        assert_eq!(redriven.origins("written").len(), 4, "{redriven:?}");
        assert_eq!(redriven.origins("refused"), [format!("{of_users}:0:5")], "it can never be read");
        let expected = [(1, "lost"), (2, "new"), (4, "good")];
        let expected = expected.map(|(number, name)| (id(number), format!("{CANARY} {name}")));
        assert_eq!(names(&scenario).await, expected, "a newer row stays, and a deleted one stays away");
        assert_eq!(users_of_order().await, [id(9)], "the order stands where it went last");
        let now = scenario.all_writetimes(&scenario.id).await;
        assert!(after.is_none_or(|after| after == now), "twice is once");
        after = Some(now);
    }
    let written = after.unwrap()["users"][0]["writetime(name)"].clone();
    assert_eq!(written, Some((version + 1).to_string()), "its own version");
    running.signal("TERM");
    assert_eq!(running.exit_code(25).await, 0);
    assert_eq!(scenario.dead_letters().len(), 5, "nothing is added");
    assert_eq!(scenario.committed(&scenario.cassandra_group(), &[&of_users, &of_orders]), committed);

    scenario.cql(&format!("ALTER TABLE {}.users WITH gc_grace_seconds = 10", scenario.id)).await;
    let old = letters(&scenario, &["redrive", "--route", "users"]).await;
    assert_eq!(old.assert_code(1).origins("too_old").len(), 4, "{old:?}");
    assert!(old.out.contains("\"users\" remembers deletes for 10 s"), "{}", old.out);
}

/// What `list`, `show` and `export` tell of these letters, and what filters leave of them.
async fn assert_seen(scenario: &Scenario, of_users: &str, of_orders: &str) {
    let list = letters(scenario, &["list"]).await;
    list.assert_code(0).assert_masked("a list");
    let lines: Vec<Vec<&str>> = list.out.lines().map(|line| line.split('\t').collect()).collect();
    let origins: Vec<&str> = lines.iter().map(|cells| cells[0]).collect();
    let [a, b, c, d] = [0, 1, 3, 5].map(|offset| format!("{of_users}:0:{offset}"));
    assert_eq!(origins, [&format!("{of_orders}:0:1"), &a, &b, &c, &d]);
    assert_eq!((lines[1][2], lines[1][3]), ("out_of_range", format!("{of_users} → users").as_str()));
    assert!(lines.iter().all(|cells| cells.len() == 6), "{}", list.out);
    assert!(list.err.contains("5 letters: 4 out_of_range, 1 not_json"), "{}", list.err);

    let key = format!(r#"{{"id":"{}"}}"#, id(2));
    for (words, expected) in [
        (vec!["list", "--topic", of_orders], 1),
        (vec!["list", "--reason", "not_json"], 1),
        (vec!["list", "--route", "orders_by_user"], 0),
        (vec!["list", "--route", "orders"], 1),
        (vec!["list", "--key", &key], 1),
        (vec!["list", "--since", "10m"], 5),
        (vec!["list", "--until", "10m"], 0),
        (vec!["list", "--since", "2020-01-01T00:00:00Z", "--limit", "2"], 2),
        (vec!["list", &a, &b], 2),
    ] {
        let found = letters(scenario, &words).await;
        assert_eq!(found.out.lines().count(), expected, "{words:?}: {}", found.err);
        found.assert_code(i32::from(expected == 0));
    }
    letters(scenario, &["list", "--since", "yesterday"]).await.assert_code(2);
    said(command(scenario, &["list"]).set("kafka.dead_letter_topic=nowhere")).await.assert_code(64);

    let shown = letters(scenario, &["show", &a]).await;
    shown.assert_code(0).assert_masked("a letter that is shown");
    for part in ["class       out_of_range", "header      tenant = •••", "\"modified_at\":\"•••(27)\""] {
        assert!(shown.out.contains(part), "no {part} in {}", shown.out);
    }
    let shown = letters(scenario, &["show", &a, "--values"]).await;
    assert!(shown.out.contains(&format!("tenant = {CANARY}")) && shown.out.contains("000001Z"), "{}", shown.out);
    letters(scenario, &["show", "nowhere:0:1"]).await.assert_code(1);

    let exported = letters(scenario, &["export"]).await;
    exported.assert_code(0).assert_masked("an export");
    assert_eq!(exported.out.lines().count(), 5);
    let exported = letters(scenario, &["export", "--values", "--reason", "not_json"]).await;
    let line: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!((&line["value"], &line["offset"], &line["times"]), (&CANARY.into(), &5.into(), &1.into()));
}

/// 25 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_may_be_killed_anywhere_and_run_beside_itself() {
    const LETTERS: u64 = 600;
    let scenario = Scenario::new("redrive_killed").await;
    let [of_users, _] = scenario.change_topics();
    let records = (0..LETTERS).map(|number| change(None, Some(&unfit(user(number, CANARY))))).collect();
    produce(&scenario, &of_users, records).await;
    scenario.cdcconsumer_to_the_end().await;
    mend(&scenario);

    let killed = command(&scenario, &["redrive", "--all"]).set("sink.cassandra.in_flight_max=1").start();
    until("some are written", 30, async || killed.out().lines().count() > 0).await;
    killed.signal("KILL");
    assert!(!killed.ended(10).await.success());
    assert!(killed.out().lines().count() < LETTERS as usize, "it was killed in the middle");
    let one = command(&scenario, &["redrive", "--all"]).start();
    let two = letters(&scenario, &["redrive", "--topic", &of_users]).await;
    assert_eq!(one.exit_code(30).await, 0);
    assert_eq!(two.assert_code(0).origins("written").len(), LETTERS as usize);
    assert_eq!(scenario.cassandra_rows("users").await.len(), LETTERS as usize);
    assert_eq!(scenario.dead_letters().len(), LETTERS as usize);
}

/// An event with another kind, time and name.
fn event(kind: &str, number: u64, modified_at: &str, name: Option<&str>) -> Raw {
    let mut event = events::user(number, name.unwrap_or_default());
    event["event_type"] = kind.into();
    event["modified_at"] = modified_at.into();
    if name.is_none() {
        event.as_object_mut().unwrap().remove("name");
    }
    events::event(&event)
}

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_produced_again_only_when_asked_and_go_over_no_newer_row() {
    let scenario = Scenario::new("reproduce").await;
    let topic = scenario.topic("users");
    let [one, two, three] = ["01", "02", "03"].map(|day| format!("2025-02-{day}T00:00:00.000Z"));
    let long = "x".repeat(60);
    let records = vec![
        event("CREATE", 1, &one, Some("first")),
        event("UPDATE", 1, &two, Some(&long)),
        event("CREATE", 2, &one, Some("first")),
        event("UPDATE", 2, &two, Some(&long)),
        event("UPDATE", 2, &three, Some("newest")),
        event("CREATE", 3, &one, Some("first")),
        event("UPDATE", 3, &two, Some(&long)),
        event("DELETE", 3, &three, None),
        // Neither is there, and their order counts.
        event("CREATE", 4, &one, Some(&long)),
        event("UPDATE", 4, &two, Some("second")),
        Raw::new(id(5), CANARY),
    ];
    produce(&scenario, &topic, records).await;
    scenario.consumer_to_the_end().await;
    scenario.sql("ALTER TABLE users ALTER name TYPE varchar(100)").await;
    assert_eq!(scenario.dead_letters().len(), 6);

    let left = letters(&scenario, &["redrive", "--all"]).await;
    left.assert_code(1);
    assert!(left.err.contains("6 letters are of events of consumer"), "{}", left.err);
    let modified_at = "modified_at = \"modified_at\"\n";
    scenario.edit_config(|text| text.replace(modified_at, ""));
    let unguarded = letters(&scenario, &["redrive", "--all", "--reproduce"]).await;
    unguarded.assert_code(64);
    assert!(unguarded.err.contains("name the column"), "{}", unguarded.err);
    scenario.edit_config(|text| {
        text.replace("soft_delete = \"is_deleted\"\n", &format!("soft_delete = \"is_deleted\"\n{modified_at}"))
    });
    letters(&scenario, &["redrive", "--all", "--reproduce", "--dry-run"]).await.assert_code(0).assert_masked("dry");
    assert_eq!(scenario.ends(&topic)[0].1, 11, "a dry run produces nothing");

    let mut seen = None;
    for times in 1..=2 {
        let produced = letters(&scenario, &["redrive", "--all", "--reproduce"]).await;
        assert_eq!(produced.assert_code(0).assert_masked("a redrive").origins("produced").len(), 6);
        scenario.consumer_to_the_end().await;
        let rows = scenario.postgres_query("SELECT name, is_deleted, modified_at FROM users ORDER BY id").await;
        assert!(seen.is_none_or(|seen| seen == rows), "twice is once");
        seen = Some(rows);
        // What cannot be read is refused each time, and counts once.
        assert_eq!(scenario.dead_letters().len(), 6 + times);
        let listed = letters(&scenario, &["list"]).await;
        assert!(listed.err.contains("6 letters: "), "{}", listed.err);
    }
    let names = scenario.postgres_query("SELECT id, name, is_deleted FROM users").await;
    let names: Vec<(&str, &str)> =
        names.iter().map(|row| (row["name"].as_deref().unwrap(), row["is_deleted"].as_deref().unwrap())).collect();
    assert_eq!(names, [(long.as_str(), "false"), ("newest", "false"), ("first", "true"), ("second", "false")]);
    let copies = scenario.records(&topic);
    let copy = copies.iter().find(|record| record.header("rowferry.reproduced") == Some(format!("{topic}:0:1")));
    assert_eq!(copy.unwrap().key, Some(id(1).into_bytes()));

    // As if it had just happened, when somebody says so.
    let origin = format!("{topic}:0:3");
    let words = ["redrive", &origin, "--reproduce", "--even-if-newer"];
    letters(&scenario, &words).await.assert_code(0);
    scenario.consumer_to_the_end().await;
    let name = scenario.postgres_query(&format!("SELECT name FROM users WHERE id = '{}'", id(2))).await;
    assert_eq!(name[0]["name"], Some(long));
    letters(&scenario, &["redrive", &origin, "--even-if-newer"]).await.assert_code(2);
}

/// 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stops_the_partition_until_the_limit_is_raised() {
    let scenario = Scenario::new("breaker").await;
    let [of_users, _] = scenario.change_topics();
    let bad = (0..30).map(|number| Raw::new(format!(r#"{{"id":"{}"}}"#, id(number)), CANARY));
    let records = bad.chain([change(None, Some(&user(99, CANARY)))]).collect();
    produce(&scenario, &of_users, records).await;
    let run = |limit: &str| {
        let limit = format!("limits.dead_letters_in_a_row_max={limit}");
        scenario.cdcconsumer().arg("--exit-when-caught-up").set(&limit)
    };
    let stopped = said(run("20")).await;
    stopped.assert_code(1);
    let told = stopped.err.lines().find(|line| line.contains("stopped:")).expect("it says why").to_string();
    for part in ["records in a row are refused", "not_json", "limits.dead_letters_in_a_row_max = 20"] {
        assert!(told.contains(part), "no \"{part}\" in {told}");
    }
    let committed = scenario.committed(&scenario.cassandra_group(), &[&of_users]);
    let next_offset = committed[&(of_users.clone(), 0)].next_offset;
    assert!(next_offset <= 20, "{next_offset}");
    assert_eq!(scenario.dead_letters().len() as i64, next_offset, "no letter of what it stands in front of");

    said(run("0")).await.assert_code(0);
    assert_eq!(scenario.dead_letters().len(), 30, "none of them twice");
    assert_eq!(scenario.cassandra_rows("users").await.len(), 1);
    scenario.assert_committed_to_the_ends(&scenario.cassandra_group(), &[&of_users]);
}
