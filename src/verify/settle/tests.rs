//! When a difference counts, and when it is still settling.

use super::*;
use crate::verify::mapping::tests::{decimal, mapping, mapping_with_ends};

/// A source row: user, id, total.
fn row(user: i64, id: i64, total: &str) -> SourceRow {
    SourceRow { key: vec![id.to_string()], values: vec![Value::Int(user), Value::Int(id), decimal(total)] }
}

/// What a second look says when the first one read `before`; the target's rows look as the source's.
fn from_source(before: &SourceRow, target: Option<&SourceRow>, source: Option<&SourceRow>) -> Judged {
    Candidate::Source { before: before.clone() }.judge(&mapping(), target.map(|row| row.values.as_slice()), source, 0)
}

/// The same for the target row of user 1 and order 5.
fn from_target(before: Option<&SourceRow>, target: Option<&SourceRow>, source: Option<&SourceRow>) -> Judged {
    let key = vec![Value::Int(1), Value::Int(5)];
    Candidate::Target { key, before: before.cloned() }.judge(
        &mapping(),
        target.map(|row| row.values.as_slice()),
        source,
        0,
    )
}

#[test]
fn a_source_row_that_held_still_is_judged() {
    let (row, other) = (row(1, 5, "1.50"), row(1, 5, "9"));
    assert_eq!(from_source(&row, Some(&row), Some(&row)), Judged::Equal);
    assert_eq!(from_source(&row, Some(&other), Some(&row)), Judged::Differs(DifferenceKind::Different));
    assert_eq!(from_source(&row, None, Some(&row)), Judged::Differs(DifferenceKind::Missing));
}

#[test]
fn a_source_row_that_changed_is_looked_at_again() {
    let (old, new) = (row(1, 5, "1.50"), row(1, 5, "9"));
    let again = |row: &SourceRow| Judged::Moved(Candidate::Source { before: row.clone() });
    assert_eq!(from_source(&old, Some(&new), Some(&new)), Judged::Equal);
    assert_eq!(from_source(&old, Some(&old), Some(&new)), again(&new));
    assert_eq!(from_source(&old, None, Some(&new)), again(&new));
    assert_eq!(from_source(&old, Some(&old), None), Judged::Resolved);
    // It got another user: the target was read under the old one, and says nothing of the new.
    let moved = row(2, 5, "1.50");
    assert_eq!(from_source(&old, None, Some(&moved)), again(&moved));
}

#[test]
fn a_target_row_without_its_source_row_is_extra() {
    let (here, elsewhere) = (row(1, 5, "1.50"), row(2, 5, "1.50"));
    let extra = Judged::Differs(DifferenceKind::Extra);
    assert_eq!(from_target(None, Some(&here), None), extra);
    assert_eq!(from_target(Some(&elsewhere), Some(&here), Some(&elsewhere)), extra);
    assert_eq!(from_target(None, None, None), Judged::Resolved);
    assert_eq!(from_target(Some(&elsewhere), None, Some(&elsewhere)), Judged::Resolved);
}

#[test]
fn a_target_row_whose_source_row_changed_is_looked_at_again() {
    let (here, elsewhere) = (row(1, 5, "1.50"), row(2, 5, "1.50"));
    let key = vec![Value::Int(1), Value::Int(5)];
    assert_eq!(
        from_target(Some(&elsewhere), Some(&here), None),
        Judged::Moved(Candidate::Target { key: key.clone(), before: None })
    );
    assert_eq!(
        from_target(None, Some(&here), Some(&elsewhere)),
        Judged::Moved(Candidate::Target { key, before: Some(elsewhere.clone()) })
    );
    assert_eq!(from_target(Some(&elsewhere), Some(&here), Some(&here)), Judged::Resolved);
    assert_eq!(
        from_target(Some(&elsewhere), None, Some(&here)),
        Judged::Moved(Candidate::Source { before: here.clone() })
    );
}

#[test]
fn a_row_that_may_have_ended_is_judged_only_where_it_is_there() {
    let (here, other) = (row(1, 5, "1.50"), row(1, 5, "9"));
    let judged = |target: Option<&SourceRow>| {
        let candidate = Candidate::Source { before: here.clone() };
        candidate.judge(&mapping_with_ends(), target.map(|row| row.values.as_slice()), Some(&here), 0)
    };
    assert_eq!(judged(None), Judged::Unknown);
    assert_eq!(judged(Some(&here)), Judged::Equal);
    assert_eq!(judged(Some(&other)), Judged::Differs(DifferenceKind::Different));
    let of_target = Candidate::Target { key: vec![Value::Int(1), Value::Int(5)], before: None };
    let judged = of_target.judge(&mapping_with_ends(), Some(&here.values), None, 0);
    assert_eq!(judged, Judged::Differs(DifferenceKind::Extra), "a row without a source is one, with an end or without");
}
