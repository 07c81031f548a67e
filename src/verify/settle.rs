//! What looked wrong once, and what a second look says: a pipeline is always a moment behind its source, so a
//! difference counts only when the source row held still for longer than that moment.
//!
//! Pure. The second look reads the target first and the source after it: when the source row is then what it was at
//! the first look, it held still while the target had the whole time between to follow.

use crate::row::Value;
use crate::verify::mapping::{Mapping, SourceRow, Standing};
use crate::verify::report::DifferenceKind;

/// A row that has to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A source row, as it was read, that the target did not have, or had differently.
    Source { before: SourceRow },
    /// A target row whose source row, as it was read, was not there or belonged under another key.
    Target { key: Vec<Value>, before: Option<SourceRow> },
}

/// What the second look says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Equal,
    /// Nothing to count: the source row and its target row are both gone, or the target row is where it belongs.
    Resolved,
    /// The target has no row, and the source's row does not say whether it should.
    Unknown,
    Differs(DifferenceKind),
    /// The source row changed between the looks: this is to be looked at once more.
    Moved(Candidate),
}

impl Candidate {
    /// The key to read in the target.
    pub fn target_key(&self, mapping: &Mapping) -> Vec<Value> {
        match self {
            Candidate::Source { before } => mapping.target_key(&before.values),
            Candidate::Target { key, .. } => key.clone(),
        }
    }

    /// The key to read in the source; `None` when the source cannot have it.
    pub fn source_key(&self, mapping: &Mapping) -> Option<Vec<String>> {
        match self {
            Candidate::Source { before } => Some(before.key.clone()),
            Candidate::Target { key, .. } => mapping.source_key_of(key),
        }
    }

    /// How much memory it holds, roughly.
    pub fn bytes(&self) -> usize {
        match self {
            Candidate::Source { before } => before.bytes(),
            Candidate::Target { key, before } => row_bytes(key) + before.as_ref().map_or(0, SourceRow::bytes),
        }
    }

    /// Judges what is there now, at this time in milliseconds since 1970, under this candidate's keys.
    pub fn judge(self, mapping: &Mapping, target: Option<&[Value]>, source: Option<&SourceRow>, now_ms: i64) -> Judged {
        let standing = |row: &SourceRow| mapping.standing(&row.values, now_ms);
        let source = source.map(|row| (row, standing(row)));
        match self {
            Candidate::Source { before } => judge_source(mapping, before, target, source),
            Candidate::Target { key, before } => judge_target(mapping, key, before, target, source),
        }
    }
}

impl SourceRow {
    /// How much memory it holds, roughly.
    pub fn bytes(&self) -> usize {
        self.key.iter().map(String::len).sum::<usize>() + row_bytes(&self.values)
    }
}

/// The size of a row in memory, roughly.
pub fn row_bytes(row: &[Value]) -> usize {
    let outside = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Decimal(decimal) => decimal.as_bigint_and_scale().0.bits() as usize / 8,
        Value::List(items) => row_bytes(items),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| row_bytes(&[key.clone(), value.clone()])).sum(),
        Value::Struct(parts) => parts.iter().map(|(_, value)| row_bytes(std::slice::from_ref(value))).sum(),
        _ => 0,
    };
    size_of_val(row) + row.iter().map(outside).sum::<usize>()
}

fn judge_source(
    mapping: &Mapping,
    before: SourceRow,
    target: Option<&[Value]>,
    source: Option<(&SourceRow, Standing)>,
) -> Judged {
    let Some((source, standing)) = source.filter(|(_, standing)| *standing != Standing::Out) else {
        // If the target keeps the row, the scan of the target meets it.
        return Judged::Resolved;
    };
    let moves = mapping.target_key(&source.values) != mapping.target_key(&before.values);
    match target {
        Some(target) if !moves && mapping.is_equal(&source.values, target) => Judged::Equal,
        _ if *source != before => Judged::Moved(Candidate::Source { before: source.clone() }),
        Some(_) => Judged::Differs(DifferenceKind::Different),
        None if standing == Standing::Unknown => Judged::Unknown,
        None => Judged::Differs(DifferenceKind::Missing),
    }
}

fn judge_target(
    mapping: &Mapping,
    key: Vec<Value>,
    before: Option<SourceRow>,
    target: Option<&[Value]>,
    source: Option<(&SourceRow, Standing)>,
) -> Judged {
    let is_here = |row: &SourceRow, standing| standing != Standing::Out && mapping.target_key(&row.values) == key;
    let belongs = source.filter(|(row, standing)| is_here(row, *standing)).map(|(row, _)| row);
    let source = source.map(|(row, _)| row);
    match (target, belongs) {
        // A source row that came here after it was looked at: whoever writes now counts it.
        (_, Some(row)) if target.is_some_and(|target| mapping.is_equal(&row.values, target)) => Judged::Resolved,
        (_, Some(row)) => Judged::Moved(Candidate::Source { before: row.clone() }),
        (None, None) => Judged::Resolved,
        (Some(target), None) if mapping.is_soft_deleted(target) => Judged::Resolved,
        (Some(_), None) if source == before.as_ref() => Judged::Differs(DifferenceKind::Extra),
        (Some(_), None) => Judged::Moved(Candidate::Target { key, before: source.cloned() }),
    }
}

#[cfg(test)]
mod tests;
