//! Faults 1 and 2: kill -9 exactly there, at every stage of the way of a record (`src/failpoint.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::changes::{key, user};
use crate::history::History;
use crate::journal::{Audit, Journal};
use crate::load::{Dice, Load};
use crate::process::{Program, Started};
use crate::report::{Report, rounds, seed};
use crate::rows::{Rows, assert_same, oracle_rows};
use crate::servers::turn;
use crate::stack::{Scenario, until};
use crate::topics::{Commits, Raw};

/// Stages that both consumers have, and how often at most a life passes them before it ends there.
const STAGES: [(&str, u64); 8] = [
    ("polled", 40),
    ("decoded", 8),
    ("between-statements", 8),
    ("written", 8),
    ("before-commit", 1),
    ("after-commit", 1),
    ("revoking", 1),
    ("dead-lettering", 3),
];
/// That of `consumer` alone: Postgres has COMMIT, and its answer was not read.
const COMMITTING: (&str, u64) = ("committing", 8);
const CHANGES: usize = 300;
const POISON: u64 = 3;

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn cdcconsumer_dies_at_every_stage() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_cdc").await;
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let mut report = Report::new(1, "cdcconsumer killed at a stage", seed());
    let mut dice = Dice(report.seed | 1);
    let mut load = Load::new(report.seed);
    let mut planted = BTreeSet::new();
    for (stage, visits) in STAGES {
        for _ in 0..rounds() {
            load.go_on(&scenario, CHANGES).await;
            let poison: Vec<Raw> = (0..POISON).map(|number| bad_change(&mut dice, number)).collect();
            planted.extend(scenario.produce_all(&users, &poison).await);
            let before = sum(&scenario.committed(&group, &topics));
            let run = member(scenario.cdcconsumer(), "cdcconsumer").set("limits.batch_records_max=10");
            let run = run.env("FAILPOINT", &format!("{stage}:{}", 1 + dice.below(visits))).start();
            if stage == "revoking" {
                until("it has committed", 60, async || sum(&scenario.committed(&group, &topics)) > before).await;
                run.signal("TERM");
            }
            die(&run, stage, &mut report).await;
            let committed = scenario.committed(&group, &topics);
            let audit = audit(&scenario, &committed).await;
            eprintln!("{stage}: committed {before}..{}, {} beyond", sum(&committed), audit.beyond);
            report.redelivered += audit.beyond;
            report.violations.extend(audit.violations.into_iter().map(|told| format!("{stage}: {told}")));
        }
        let begun = Instant::now();
        let run = member(scenario.cdcconsumer(), "cdcconsumer").start();
        let ends: i64 = topics.iter().flat_map(|topic| scenario.ends(topic)).map(|(_, end)| end).sum();
        until("nothing is left to do", 60, async || sum(&scenario.committed(&group, &topics)) == ends).await;
        report.recovered.push(begun.elapsed());
        report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    for (table, topic, id, keys) in TABLES {
        let expected = Journal::read(&scenario, &scenario.topic(topic)).expected(id, keys);
        assert_same(table, &scenario.writetimes(&scenario.id, table).await, &expected);
    }
    let letters: BTreeSet<(i32, i64)> = scenario.dead_letters().iter().map(|letter| place(&letter.origin())).collect();
    assert_eq!(letters, planted, "dead letters are the planted ones");
    report.end();
}

/// 35 s. A trigger notes every move of a position, in the transaction of the rows that it stands for.
#[tokio::test(flavor = "multi_thread")]
async fn consumer_dies_at_every_stage() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_pg").await;
    scenario.sql(LEDGER).await;
    let group = scenario.postgres_group();
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let topics = [users.as_str(), orders.as_str()];
    let mut report = Report::new(2, "consumer killed at a stage", seed());
    let mut dice = Dice(report.seed | 1);
    let mut histories: Vec<History> = Vec::new();
    let mut planted = BTreeSet::new();
    for (stage, visits) in STAGES.into_iter().chain([COMMITTING]) {
        for _ in 0..rounds() {
            let history = History { users: 60, orders: 120, seed: report.seed.wrapping_add(histories.len() as u64) };
            assert_eq!(history.producer(&scenario).start().exit_code(60).await, 0, "producer");
            histories.push(history);
            let poison: Vec<Raw> = (0..POISON).map(|number| Raw::new(format!("bad {number}"), "{not json")).collect();
            planted.extend(scenario.produce_all(&users, &poison).await);
            // Every record is a transaction of its own, so that there are many places to die.
            let run = member(scenario.consumer(), "consumer").set("limits.batch_records_max=1");
            let before = sum(&scenario.committed(&group, &topics));
            let run = run.env("FAILPOINT", &format!("{stage}:{}", 1 + dice.below(visits))).start();
            if stage == "revoking" {
                until("it has committed", 60, async || sum(&scenario.committed(&group, &topics)) > before).await;
                run.signal("TERM");
            }
            die(&run, stage, &mut report).await;
            until("its connections are gone", 20, async || {
                let theirs = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() \
                              AND application_name = 'rowferry'";
                scenario.postgres_query(theirs).await[0]["n"].as_deref() == Some("0")
            })
            .await;
            let applied = applied(&scenario).await;
            for (place, commit) in scenario.committed(&group, &topics) {
                let applied = applied.get(&place).copied().unwrap_or_default();
                report.redelivered += (applied - commit.next_offset).max(0) as u64;
                if commit.next_offset > applied {
                    report.violations.push(format!("{stage}: {place:?} committed {commit:?}, applied {applied}"));
                }
            }
        }
        let begun = Instant::now();
        let run = member(scenario.consumer(), "consumer").start();
        let ends: i64 = topics.iter().flat_map(|topic| scenario.ends(topic)).map(|(_, end)| end).sum();
        until("nothing is left to do", 60, async || sum(&scenario.committed(&group, &topics)) == ends).await;
        report.recovered.push(begun.elapsed());
        report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    assert_rows(&scenario, &histories).await;
    report.violations.extend(ledger_violations(&scenario, &topics).await);
    let letters: BTreeSet<(i32, i64)> = scenario.dead_letters().iter().map(|letter| place(&letter.origin())).collect();
    assert_eq!(letters, planted, "dead letters are the planted ones");
    report.end();
}

/// Table, topic, the column of the id, key columns.
pub const TABLES: [(&str, &str, &str, &[&str]); 3] = [
    ("users", "public.users", "id", &["id"]),
    ("orders", "public.orders", "order_id", &["order_id"]),
    ("orders_by_user", "public.orders", "order_id", &["user_id", "order_id"]),
];

const LEDGER: &str = "\
    CREATE TABLE ledger (id bigserial, topic text, partition int, from_offset bigint, to_offset bigint);
    CREATE FUNCTION note_position() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      IF TG_OP = 'INSERT' OR NEW.next_offset <> OLD.next_offset THEN
        INSERT INTO ledger (topic, partition, from_offset, to_offset) VALUES
          (NEW.topic, NEW.partition, CASE TG_OP WHEN 'INSERT' THEN 0 ELSE OLD.next_offset END, NEW.next_offset);
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON rowferry_progress FOR EACH ROW EXECUTE FUNCTION note_position();";

/// With an id that the next life takes over at once instead of waiting for the session to end.
fn member<'s>(program: Program<'s>, section: &str) -> Program<'s> {
    program.set(&format!("{section}.group_instance_id=chaos"))
}

async fn die(run: &Arc<Started>, stage: &str, report: &mut Report) {
    report.injected += 1;
    run.logs(&format!("failpoint {stage} reached"), 60).await;
    report.observed += 1;
    report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
    run.signal("KILL");
    run.ended(10).await;
}

fn bad_change(dice: &mut Dice, number: u64) -> Raw {
    let partition = dice.below(crate::load::PARTITIONS) as i32;
    Raw::new(key(&user(1_000 + number, "")), "{not json").to(partition).at(1_760_000_000_000)
}

fn place((_, partition, offset): &(String, i32, i64)) -> (i32, i64) {
    (*partition, *offset)
}

fn sum(commits: &Commits) -> i64 {
    commits.values().map(|commit| commit.next_offset).sum()
}

async fn audit(scenario: &Scenario, committed: &Commits) -> Audit {
    let mut audit = Audit::default();
    for (table, topic, id, _) in TABLES {
        let topic = scenario.topic(topic);
        let found = scenario.cassandra_rows(table).await;
        Journal::read(scenario, &topic).audit(&topic, table, id, &found, committed, &mut audit);
    }
    audit
}

/// The next offset of each partition in `rowferry_progress`.
async fn applied(scenario: &Scenario) -> BTreeMap<(String, i32), i64> {
    let rows = scenario.postgres_query("SELECT topic, partition, next_offset FROM rowferry_progress").await;
    let number = |text: &Option<String>| text.as_deref().unwrap().parse::<i64>().unwrap();
    let place = |row: &crate::rows::Row| (row["topic"].clone().unwrap(), number(&row["partition"]) as i32);
    rows.iter().map(|row| (place(row), number(&row["next_offset"]))).collect()
}

/// Postgres holds what all histories together lead to.
async fn assert_rows(scenario: &Scenario, histories: &[History]) {
    let mut expected: BTreeMap<&str, Rows> = BTreeMap::new();
    for history in histories {
        let oracle = history.producer(scenario).arg("--oracle").start();
        assert_eq!(oracle.exit_code(30).await, 0, "producer --oracle");
        for table in ["users", "orders"] {
            expected.entry(table).or_default().extend(oracle_rows(&oracle.out(), table));
        }
    }
    for (table, mut expected) in expected {
        expected.sort();
        assert_same(&format!("{table} in Postgres"), &scenario.postgres_rows(table).await, &expected);
    }
}

/// Where the moves of a position do not join: what lies between was applied twice, or not at all.
async fn ledger_violations(scenario: &Scenario, topics: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    let moves = "SELECT lpad(id::text, 12, '0') AS at, topic, partition, from_offset, to_offset FROM ledger";
    let mut stands: BTreeMap<(String, String), String> = BTreeMap::new();
    for row in scenario.postgres_query(moves).await {
        let of = |name: &str| row[name].clone().unwrap();
        let before = stands.insert((of("topic"), of("partition")), of("to_offset")).unwrap_or("0".into());
        if before != of("from_offset") {
            violations.push(format!("the position went from {before} and then from {row:?}"));
        }
    }
    for topic in topics {
        for (partition, (_, end)) in scenario.ends(topic).into_iter().enumerate().filter(|(_, (_, end))| *end > 0) {
            let stands = stands.get(&(topic.to_string(), partition.to_string()));
            if stands != Some(&end.to_string()) {
                violations.push(format!("{topic}[{partition}] ends at {end} and the position at {stands:?}"));
            }
        }
    }
    violations
}
