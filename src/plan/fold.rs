//! Folding: within a batch, a write that a later one covers is dropped (V3a).
//!
//! It only ever drops. Cells of two records are never merged: a cell of the older record would get the newer
//! version. Writes that expect something of their row are kept, for each decides by what it finds. A suspect (V6) may
//! turn out to be no write at all, so it covers nothing; and what stands before one that stays is what it is judged by.

use std::collections::HashMap;

use crate::plan::route::Routes;
use crate::plan::write::{Expect, Write, WriteKind};
use crate::row::Value;

/// The writes of a batch in record order, the covered ones already gone.
#[derive(Debug, Default)]
pub struct Fold {
    writes: Vec<Option<Write>>,
    /// The kept writes of each target row, by route and key.
    kept: HashMap<(usize, Vec<Value>), Vec<usize>>,
}

impl Fold {
    pub fn push(&mut self, routes: &Routes, write: Write) {
        let at = self.writes.len();
        #[cfg(feature = "mutations")]
        let write = merged(write, self.writes.iter().flatten(), routes);
        if write.expect == Expect::Any {
            let key = routes.routes[write.route].key.iter().map(|column| write.values[*column].clone()).collect();
            let kept = self.kept.entry((write.route, key)).or_default();
            if !write.standing.suspect {
                drop_covered(&mut self.writes, kept, &write);
            }
            kept.push(at);
        }
        self.writes.push(Some(write));
    }

    pub fn into_writes(self) -> Vec<Write> {
        self.writes.into_iter().flatten().collect()
    }
}

/// Drops what the later write covers of the row's kept writes, from the last one back to a suspect that stays.
fn drop_covered(writes: &mut [Option<Write>], kept: &mut Vec<usize>, later: &Write) {
    let mut stays = false;
    let mut left = Vec::with_capacity(kept.len() + 1);
    for at in kept.drain(..).rev() {
        match &writes[at] {
            Some(earlier) if stays || !covers(later, earlier) => {
                stays |= earlier.standing.suspect;
                left.push(at);
            }
            _ => writes[at] = None,
        }
    }
    kept.extend(left.into_iter().rev());
}

/// Whether the row is the same with and without the earlier write: a delete covers all, an upsert covers an upsert
/// whose every column it sends.
fn covers(later: &Write, earlier: &Write) -> bool {
    match (later.kind, earlier.kind) {
        (WriteKind::Delete, _) => true,
        (WriteKind::Upsert, WriteKind::Delete) => false,
        (WriteKind::Upsert, WriteKind::Upsert) => {
            // What the earlier row still has to read from the source counts as sent: without it the later one would
            // find no cell to keep.
            let says = |value: &Value| value.is_sent() || *value == Value::Unavailable;
            earlier.values.iter().zip(&later.values).all(|(earlier, later)| !says(earlier) || later.is_sent())
        }
    }
}

/// The defect `FoldMergesCells`: the write with the cells that earlier upserts of its row have beside its own.
#[cfg(feature = "mutations")]
fn merged<'w>(mut write: Write, earlier: impl Iterator<Item = &'w Write>, routes: &Routes) -> Write {
    if !crate::mutation::is(crate::mutation::Mutation::FoldMergesCells) || write.kind == WriteKind::Delete {
        return write;
    }
    let key = &routes.routes[write.route].key;
    for earlier in earlier.filter(|earlier| earlier.route == write.route && earlier.kind == WriteKind::Upsert) {
        if key.iter().all(|at| earlier.values[*at] == write.values[*at]) {
            let cells = write.values.iter_mut().zip(&earlier.values);
            cells.filter(|(later, _)| !later.is_sent()).for_each(|(later, earlier)| *later = earlier.clone());
        }
    }
    write
}
