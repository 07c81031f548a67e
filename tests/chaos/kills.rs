//! Faults 1 and 2: kill -9 exactly there, at every stage of the way of a record (`src/failpoint.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::changes::{key, user};
use crate::commits::CommitWatch;
use crate::history::History;
use crate::journal::{Auditor, assert_tables};
use crate::load::{Dice, Load, PARTITIONS};
use crate::process::Program;
use crate::reader::Reader;
use crate::replicas::ask_every_replica;
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
const CHANGES: usize = 150;
const POISON: u64 = 3;

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn cdcconsumer_dies_at_every_stage() {
    let _turn = turn().await;
    let mut scenario = Scenario::new("chaos_cdc").await;
    let victim = Victim {
        scenario: &scenario,
        program: Scenario::cdcconsumer,
        name: "cdcconsumer",
        setting: "limits.batch_records_max=10",
        group: scenario.cassandra_group(),
        topics: scenario.change_topics(),
    };
    let mut report = Report::new(1, "cdcconsumer killed at a stage", seed());
    let mut dice = Dice(report.seed | 1);
    let mut load = Load::new(report.seed);
    let mut planted = BTreeSet::new();
    let reader = Reader::of_users(&scenario).await;
    let commits = CommitWatch::of(&victim.group, &victim.topics);
    let mut auditor = Auditor::default();
    for (stage, visits) in STAGES {
        for _ in 0..rounds() {
            load.go_on(&scenario, CHANGES).await;
            let poison: Vec<Raw> = (0..POISON).map(|number| bad_change(&mut dice, number)).collect();
            planted.extend(scenario.produce_all(&victim.topics[0], &poison).await);
            victim.dies(stage, 1 + dice.below(visits), &mut report).await;
            let audit = auditor.audit(&scenario, &victim.commits()).await;
            eprintln!("{stage}: committed {}, {} beyond", victim.committed(), audit.beyond);
            report.redelivered += audit.beyond;
            report.violations.extend(audit.violations.into_iter().map(|told| format!("{stage}: {told}")));
        }
        victim.recovers(&mut report).await;
    }
    reader.ends(&mut report).await;
    commits.ends(&mut report);
    ask_every_replica(&mut scenario).await;
    assert_tables(&scenario).await;
    assert_letters(&scenario, &planted);
    report.end();
}

/// 35 s. A trigger notes every move of a position, in the transaction of the rows that it stands for.
#[tokio::test(flavor = "multi_thread")]
async fn consumer_dies_at_every_stage() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_pg").await;
    scenario.sql(LEDGER).await;
    let victim = Victim {
        scenario: &scenario,
        program: Scenario::consumer,
        name: "consumer",
        // Every record is a transaction of its own, so that there are many places to die.
        setting: "limits.batch_records_max=1",
        group: scenario.postgres_group(),
        topics: [scenario.topic("users"), scenario.topic("orders")],
    };
    let mut report = Report::new(2, "consumer killed at a stage", seed());
    let mut dice = Dice(report.seed | 1);
    let mut histories: Vec<History> = Vec::new();
    let commits = CommitWatch::of(&victim.group, &victim.topics);
    let mut planted = BTreeSet::new();
    for (stage, visits) in STAGES.into_iter().chain([COMMITTING]) {
        for _ in 0..rounds() {
            let history = History { users: 60, orders: 120, seed: report.seed.wrapping_add(histories.len() as u64) };
            assert_eq!(history.producer(&scenario).start().exit_code(60).await, 0, "producer");
            histories.push(history);
            let poison: Vec<Raw> = (0..POISON).map(|number| Raw::new(format!("bad {number}"), "{not json")).collect();
            planted.extend(scenario.produce_all(&victim.topics[0], &poison).await);
            victim.dies(stage, 1 + dice.below(visits), &mut report).await;
            scenario.until_consumer_is_gone().await;
            let applied = scenario.progress().await;
            for (place, commit) in victim.commits() {
                let applied = applied.get(&place).copied().unwrap_or_default();
                report.redelivered += (applied - commit.next_offset).max(0) as u64;
                if commit.next_offset > applied {
                    report.violations.push(format!("{stage}: {place:?} committed {commit:?}, applied {applied}"));
                }
            }
        }
        victim.recovers(&mut report).await;
    }
    commits.ends(&mut report);
    assert_rows(&scenario, &histories).await;
    report.violations.extend(ledger_violations(&scenario, &victim.topics).await);
    assert_letters(&scenario, &planted);
    report.end();
}

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

/// One of the consumers, and what it consumes.
struct Victim<'s> {
    scenario: &'s Scenario,
    program: fn(&'s Scenario) -> Program<'s>,
    name: &'s str,
    /// Of the lives that end by a kill.
    setting: &'s str,
    group: String,
    topics: [String; 2],
}

impl<'s> Victim<'s> {
    /// With an id that the next life takes over at once instead of waiting for the session to end.
    fn member(&self) -> Program<'s> {
        (self.program)(self.scenario).set(&format!("{}.group_instance_id=chaos", self.name))
    }

    fn commits(&self) -> Commits {
        self.scenario.committed(&self.group, &self.topics.each_ref().map(String::as_str))
    }

    fn committed(&self) -> i64 {
        self.scenario.committed_sum(&self.group, &self.topics.each_ref().map(String::as_str))
    }

    /// A life that ends with this visit to the stage.
    async fn dies(&self, stage: &str, visit: u64, report: &mut Report) {
        let before = self.committed();
        let run = self.member().set(self.setting).env("FAILPOINT", &format!("{stage}:{visit}")).start();
        if stage == "revoking" {
            until("it has committed", 60, async || self.committed() > before).await;
            run.signal("TERM");
        }
        report.injected += 1;
        run.logs(&format!("failpoint {stage} reached"), 60).await;
        report.observed += 1;
        report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
        run.signal("KILL");
        run.ended(10).await;
    }

    /// A life that does all that is left, and ends in order.
    async fn recovers(&self, report: &mut Report) {
        let begun = Instant::now();
        let run = self.member().start();
        // One that is asked to end before it listens to signals would end by that.
        run.logs(" assigned ", 60).await;
        let end = self.scenario.ends_sum(&self.topics.each_ref().map(String::as_str));
        until("nothing is left to do", 60, async || self.committed() == end).await;
        report.recovered.push(begun.elapsed());
        report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
}

fn bad_change(dice: &mut Dice, number: u64) -> Raw {
    let partition = dice.below(PARTITIONS) as i32;
    Raw::new(key(&user(1_000 + number, "")), "{not json").to(partition).at(1_760_000_000_000)
}

/// The dead letters are the planted records, which all stand in one topic. One may be there twice.
fn assert_letters(scenario: &Scenario, planted: &BTreeSet<(i32, i64)>) {
    let origins = scenario.dead_letters().into_iter().map(|letter| letter.origin());
    let letters: BTreeSet<(i32, i64)> = origins.map(|(_, partition, offset)| (partition, offset)).collect();
    assert_eq!(letters, *planted, "dead letters are the planted ones");
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
async fn ledger_violations(scenario: &Scenario, topics: &[String]) -> Vec<String> {
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
