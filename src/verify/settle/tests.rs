//! When a difference counts, and when it is still settling.

use super::*;
use crate::verify::mapping::tests::{decimal, mapping};

/// A source row: user, id, total.
fn row(user: i64, id: i64, total: &str) -> Row {
    vec![Value::Int(user), Value::Int(id), decimal(total)]
}

/// What a second look says when the first one read `before`; the target's rows look as the source's.
fn from_source(before: &Row, target: Option<&Row>, source: Option<&Row>) -> Judged {
    Candidate::Source { before: before.clone() }.judge(&mapping(), target.map(Vec::as_slice), source)
}

/// The same for the target row of user 1 and order 5.
fn from_target(before: Option<&Row>, target: Option<&Row>, source: Option<&Row>) -> Judged {
    let key = vec![Value::Int(1), Value::Int(5)];
    Candidate::Target { key, before: before.cloned() }.judge(&mapping(), target.map(Vec::as_slice), source)
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
    let again = |row: &Row| Judged::Moved(Candidate::Source { before: row.clone() });
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
