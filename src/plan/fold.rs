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
