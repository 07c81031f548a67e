//! What would go wrong later: facts about topics, group and tables in, findings with their mends out. Pure.

mod topics;
pub use self::topics::judge_unread;
mod tables;
pub mod sample;
pub mod mapping;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::kafka::describe::Described;
use crate::plan::route::Routes;
use crate::sink::cassandra::describe::TableFacts;

/// What is judged.
#[derive(Debug)]
pub struct Facts<'a> {
    pub group_id: &'a str,
    pub dead_letter_topic: &'a str,
    pub kafka: &'a Described,
    /// Whether dead letters may be written, where that was tried.
    pub may_write_letters: Option<bool>,
    /// By name, as far as they are there.
    pub tables: &'a BTreeMap<String, TableFacts>,
    pub routes: &'a Routes,
}

/// One thing that is wrong or may go wrong, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: Severity,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A run is refused.
    Problem,
    /// A run works, but for a partition that it stops and names.
    StoppedPartition,
    /// It works as things are, and may not always.
    Warning,
}

/// Everything that the facts say, the worst first.
pub fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    topics::judge_sources(facts, &mut findings);
    topics::judge_dead_letters(facts, &mut findings);
    topics::judge_positions(facts, &mut findings);
    tables::judge(facts, &mut findings);
    findings.0.sort_by_key(|finding| finding.severity);
    findings.0
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn problem(&mut self, text: String) {
        self.0.push(Finding { severity: Severity::Problem, text });
    }

    fn stopped(&mut self, text: String) {
        self.0.push(Finding { severity: Severity::StoppedPartition, text });
    }

    fn warning(&mut self, text: String) {
        self.0.push(Finding { severity: Severity::Warning, text });
    }
}

/// A time in the largest unit that tells it: `7 d`, `36 h`, `90 s`, `250 ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub i64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 4] = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0 % unit == 0) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} ms", self.0),
        }
    }
}

const DAY_MS: i64 = 86_400_000;
