//! The rewind guard's decision (V6): which writes of a batch the target already has, given what it keeps of their rows.
//!
//! A record that its source may have sent before is a suspect. Its write is dropped when its row is at its position or
//! beyond, by a write of an earlier record. One that was written by this record itself, or by a later one of its batch,
//! says nothing of it: we read the log again, and what we had sent need not have arrived whole. A record that is no
//! suspect never shares a batch with a suspect before it, so its write says that the suspect is done.

use std::collections::HashMap;

use crate::change::position::{Position, Stored};
use crate::plan::route::Routes;
use crate::plan::write::{Batch, Write, WriteKind};
use crate::row::Value;

/// Route and target key.
type Row = (usize, Vec<Value>);

/// The rows that have to be asked for, each once: indexes of writes.
pub fn asked(routes: &Routes, batch: &Batch) -> Vec<usize> {
    let mut rows: HashMap<Row, usize> = HashMap::new();
    for (at, write) in batch.writes.iter().enumerate().filter(|(_, write)| write.standing.suspect) {
        rows.entry(row(routes, write)).or_insert(at);
    }
    let mut asked: Vec<usize> = rows.into_values().collect();
    asked.sort_unstable();
    asked
}

/// Drops what the target has. `stored` is what it keeps of the rows of `asked`, with everything before this batch in it.
/// Returns how many writes that were, and leaves no suspect.
pub fn settle(routes: &Routes, batch: &mut Batch, asked: &[usize], stored: Vec<Option<Stored>>) -> usize {
    let rows = asked.iter().map(|at| row(routes, &batch.writes[*at]));
    let mut rows: HashMap<Row, Option<Stored>> = rows.zip(stored).collect();
    let (records, before) = (&batch.records, batch.writes.len());
    batch.writes.retain_mut(|write| {
        let Some(stored) = rows.get_mut(&row(routes, write)) else { return true };
        let version = records[write.record].version;
        let suspect = std::mem::take(&mut write.standing.suspect);
        if let (true, Some(position), Some(stored)) = (suspect, write.standing.position, *stored)
            && stored.holds(position, version, write.standing)
        {
            return false;
        }
        // What the target will keep of the row once this write is in it.
        *stored = match (write.kind, write.standing.position) {
            // A tombstone apart from its delete leaves no position, and does not take away that of the delete.
            (WriteKind::Delete, None) => *stored,
            (_, position) => Some(Stored { position: position.unwrap_or(Position::ZERO), version }),
        };
        true
    });
    before - batch.writes.len()
}

fn row(routes: &Routes, write: &Write) -> Row {
    (write.route, routes.routes[write.route].key.iter().map(|at| write.values[*at].clone()).collect())
}

#[cfg(test)]
mod tests;
