//! Decides what a batch does to its rows, with the effect of its events one by one. Pure.
//!
//! Two steps. [`judge`] walks the records in order and says which are refused and where the batch is cut; it needs
//! to know which rows exist, and nothing else about them. [`Rounds`] then folds the writes of each row into as few
//! inserts and updates as triggers on the tables allow.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::change::{Reject, RejectClass};
use crate::plan::write::{Expect, Rejected, Write, WriteKind};
use crate::row::Value;
use crate::sink::postgres::limits;
use crate::sink::postgres::schema::{Parent, TablePlan};

/// The values of a row's key, or of the columns of a foreign key.
pub type Key = Vec<Value>;

/// A row as it was read: one value for each column of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    pub values: Vec<Value>,
    pub deleted: bool,
}

/// Which rows there are, as far as a batch asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// (route, key).
    pub rows: HashSet<(usize, Key)>,
    /// (route of the child, index of the parent in its plan, key that it refers to).
    pub parents: HashSet<(usize, usize, Key)>,
}

/// What becomes of the records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// All records that are refused before the cut.
    pub rejects: Vec<Rejected>,
    pub cut: Option<Cut>,
}

/// The first record that has to wait: it and all behind it are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// Index into the batch's records.
    pub record: usize,
    pub waiting_for: String,
    pub topic: String,
    /// What is said when the wait was in vain.
    pub rejected: Rejected,
}

/// A write, and what makes it impossible whatever its row is. Rows and parents of a flawed write are not looked for.
#[derive(Debug, Clone)]
pub struct Checked<'w> {
    pub write: &'w Write,
    pub flaw: Option<Reject>,
}

/// Checks each write for itself.
pub fn check<'w>(plans: &[TablePlan], writes: &'w [Write]) -> Vec<Checked<'w>> {
    writes.iter().map(|write| Checked { write, flaw: limits::flaw(&plans[write.route], write) }).collect()
}

/// Judges the writes, which are in the order of their records. A record is refused for all its routes or for none.
pub fn judge(plans: &[TablePlan], writes: &[Checked<'_>], existing: &Existing) -> Judged {
    let mut judge = Judge { plans, existing, created: Existing::default(), staged: Existing::default() };
    let mut judged = Judged::default();
    for writes in writes.chunk_by(|one, next| one.write.record == next.write.record) {
        judge.staged = Existing::default();
        match judge.record(writes) {
            Verdict::Accepted => judge.accept(),
            Verdict::Refused(rejected) => judged.rejects.push(rejected),
            Verdict::Waits(cut) => {
                judged.cut = Some(cut);
                break;
            }
        }
    }
    judged
}

/// The foreign keys of a write that it fills in whole: (index of the parent in the plan, key). One that is sent in
/// part cannot be known without the row, and stays the server's to check.
pub fn parents_named<'a>(plan: &'a TablePlan, write: &'a Write) -> impl Iterator<Item = (usize, Key)> + 'a {
    plan.parents.iter().enumerate().filter_map(|(at, parent)| {
        let key = pick(&write.values, &parent.columns);
        key.iter().all(|value| value.is_sent() && *value != Value::Null).then_some((at, key))
    })
}

/// The values at these places.
pub fn pick(values: &[Value], at: &[usize]) -> Key {
    at.iter().map(|at| values[*at].clone()).collect()
}

struct Judge<'a> {
    plans: &'a [TablePlan],
    existing: &'a Existing,
    /// What accepted records of this batch create.
    created: Existing,
    /// What the record at hand creates, should it be accepted.
    staged: Existing,
}

enum Verdict {
    Accepted,
    Refused(Rejected),
    Waits(Cut),
}

impl Judge<'_> {
    fn record(&mut self, writes: &[Checked<'_>]) -> Verdict {
        for Checked { write, flaw } in writes {
            let plan = &self.plans[write.route];
            // First what is true of the record alone, so that it gets the same answer whenever it comes.
            if let Some(reject) = flaw {
                return refused(write, reject.clone());
            }
            let row = (write.route, pick(&write.values, &plan.key));
            match (write.expect, self.known().any(|known| known.rows.contains(&row))) {
                // Created again: no change, whatever it refers to.
                (Expect::Absent, true) => continue,
                (Expect::Present | Expect::PresentOlder(_), false) => {
                    let text = format!("no row of \"{}\" with this key was ever created", plan.name);
                    return refused(write, Reject::new(RejectClass::MissingRow, text));
                }
                (Expect::Absent, false) | (Expect::Present | Expect::PresentOlder(_), true) | (Expect::Any, _) => {}
            }
            if let Some(verdict) = self.missing_parent(plan, write) {
                return verdict;
            }
            self.staged.rows.insert(row);
            self.stage_parents(write);
        }
        Verdict::Accepted
    }

    fn missing_parent(&self, plan: &TablePlan, write: &Write) -> Option<Verdict> {
        let (at, _) = parents_named(plan, write).find(|(at, key)| {
            let parent = (write.route, *at, key.clone());
            !self.known().any(|known| known.parents.contains(&parent))
        })?;
        let parent = &plan.parents[at];
        let columns = referring(plan, parent);
        let text = format!("no row of \"{}\" for {columns} of \"{}\"", parent.table, plan.name);
        let reject = Reject::new(RejectClass::MissingParent, text);
        if parent.topic == plan.topic {
            // It would have come on this very partition or, on another, has no order to this one: a wait here could
            // wait for itself.
            return Some(refused(write, reject));
        }
        Some(Verdict::Waits(Cut {
            record: write.record,
            waiting_for: format!("the row of \"{}\" that {columns} of \"{}\" names", parent.table, plan.name),
            topic: parent.topic.clone(),
            rejected: Rejected { record: write.record, route: Some(write.route), reject },
        }))
    }

    fn known(&self) -> impl Iterator<Item = &Existing> {
        [self.existing, &self.created, &self.staged].into_iter()
    }

    fn accept(&mut self) {
        self.created.rows.extend(self.staged.rows.drain());
        self.created.parents.extend(self.staged.parents.drain());
    }

    /// A row of this batch is a parent for the records behind it.
    fn stage_parents(&mut self, write: &Write) {
        for (child, plan) in self.plans.iter().enumerate() {
            for (at, parent) in plan.parents.iter().enumerate().filter(|(_, parent)| parent.route == write.route) {
                let key = pick(&write.values, &parent.referenced_at);
                if key.iter().all(Value::is_sent) {
                    self.staged.parents.insert((child, at, key));
                }
            }
        }
    }
}

fn refused(write: &Write, reject: Reject) -> Verdict {
    Verdict::Refused(Rejected { record: write.record, route: Some(write.route), reject })
}

fn referring(plan: &TablePlan, parent: &Parent) -> String {
    let names: Vec<String> = parent.columns.iter().map(|at| format!("\"{}\"", plan.columns[*at].name)).collect();
    let word = if names.len() == 1 { "column" } else { "columns" };
    format!("{word} {}", names.join(", "))
}

/// The writes of one route that are still to be done, by row.
///
/// A round takes from each row as many writes as one statement can stand for. Rows are independent of each other, so
/// the number of rounds is that of the row which needs most: one or two in practice.
#[derive(Debug)]
pub struct Rounds<'w> {
    queues: BTreeMap<usize, Queue<'w>>,
}

#[derive(Debug)]
struct Queue<'w> {
    key: Key,
    writes: VecDeque<&'w Write>,
}

/// What to send, once, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Round {
    pub inserts: Vec<Current>,
    /// Whole rows, all keys of which exist. `deleted` says that the flag is to be set; where it is false the flag
    /// keeps what the server has.
    pub updates: Vec<Current>,
}

impl<'w> Rounds<'w> {
    /// From the accepted writes of the route, in record order.
    pub fn new(plan: &TablePlan, writes: impl Iterator<Item = &'w Write>) -> Rounds<'w> {
        let mut at: HashMap<Key, usize> = HashMap::new();
        let mut queues: BTreeMap<usize, Queue<'w>> = BTreeMap::new();
        for write in writes {
            let key = pick(&write.values, &plan.key);
            let next = at.len();
            let at = *at.entry(key.clone()).or_insert(next);
            let queue = queues.entry(at).or_insert_with(|| Queue { key, writes: VecDeque::new() });
            queue.writes.push_back(write);
        }
        Rounds { queues }
    }

    /// Keys of the rows that still have writes: those that the next round wants to know.
    pub fn keys(&self) -> Vec<Key> {
        self.queues.values().map(|queue| queue.key.clone()).collect()
    }

    pub fn is_done(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes the next round, given the rows as they are now. `None` when a row that was there is gone: someone else
    /// removed it, and the batch has to be judged anew.
    pub fn take(&mut self, plan: &TablePlan, rows: &HashMap<Key, Current>) -> Option<Round> {
        let mut round = Round::default();
        for queue in self.queues.values_mut() {
            let before = rows.get(&queue.key);
            let after = queue.fold(plan, before)?;
            match (before, after) {
                (_, None) => {}
                (None, Some(row)) => round.inserts.push(row),
                (Some(before), Some(row)) if row != *before => {
                    // Set by a DELETE, never written back: a trigger may set it in the meantime.
                    let deleted = row.deleted && !before.deleted;
                    round.updates.push(Current { deleted, ..row });
                }
                (Some(_), Some(_)) => {}
            }
        }
        self.queues.retain(|_, queue| !queue.writes.is_empty());
        Some(round)
    }
}

impl Queue<'_> {
    /// The row after as many writes as can be folded, or `Some(None)` when none has an effect.
    fn fold(&mut self, plan: &TablePlan, before: Option<&Current>) -> Option<Option<Current>> {
        let mut pending: Option<Current> = None;
        while let Some(write) = self.writes.front() {
            let row = pending.as_ref().or(before);
            if row.is_none() && matches!(write.expect, Expect::Present | Expect::PresentOlder(_)) {
                return None;
            }
            if let Some(after) = effect(write, row) {
                if let Some(pending) = &pending
                    && stands_alone(plan, write, pending, &after)
                {
                    break;
                }
                pending = Some(after);
            }
            self.writes.pop_front();
        }
        Some(pending)
    }
}

/// The row after the write; `None` when the write changes nothing.
fn effect(write: &Write, row: Option<&Current>) -> Option<Current> {
    let Some(row) = row else {
        return Some(Current { values: write.values.clone(), deleted: write.kind == WriteKind::Delete });
    };
    if write.expect == Expect::Absent || (write.kind == WriteKind::Delete && row.deleted) {
        return None;
    }
    if let Expect::PresentOlder(at) = write.expect
        && !is_newer(&write.values[at], &row.values[at])
    {
        return None;
    }
    let values = row.values.iter().zip(&write.values).map(|(old, new)| if new.is_sent() { new } else { old });
    let after = Current { values: values.cloned().collect(), deleted: row.deleted || write.kind == WriteKind::Delete };
    (after != *row).then_some(after)
}

/// Whether a value that says when a row was modified is newer than another. Against none, every one is.
fn is_newer(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (_, Value::Null | Value::Absent) => true,
        (Value::Timestamp(new), Value::Timestamp(old)) | (Value::Int(new), Value::Int(old)) => new > old,
        (Value::Date(new), Value::Date(old)) => new > old,
        _ => false,
    }
}

/// Whether the write must see what triggers did to the row's pending change, or they must see the two apart:
/// - a DELETE depends on the flag, which a trigger may have set (an order of a deleted user), and what may not go over
///   a newer row on when it was modified;
/// - a change of a deleted row reaches its children with every update;
/// - a changed foreign key meets another parent, and the parent it had before may have left its mark;
/// - a value that a CHECK speaks of may be refused, and must not be hidden by the one that follows it.
fn stands_alone(plan: &TablePlan, write: &Write, pending: &Current, after: &Current) -> bool {
    let changes = |at: &usize| pending.values[*at] != after.values[*at];
    write.kind == WriteKind::Delete
        || matches!(write.expect, Expect::PresentOlder(_))
        || pending.deleted
        || plan.parents.iter().any(|parent| parent.columns.iter().any(changes))
        || plan.checked.iter().any(changes)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
