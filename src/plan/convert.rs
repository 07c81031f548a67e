//! From what the source had to what a target's column holds: which pairs fit, what each would lose, and the values.

use crate::change::RejectClass;
use crate::row::wire::Wire;
use crate::row::{Kind, Value};

/// What a column may do with values that its kind cannot hold. Without any of it they are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What is too fine is cut: microseconds in a column of milliseconds, digits in a float.
    pub lossy: bool,
    pub unrepresentable: Unrepresentable,
}

/// Infinities, NaN, 24:00, and dates that the target's calendar has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unrepresentable {
    #[default]
    Reject,
    /// The nearest value that the kind has. NaN has none, and is rejected.
    Clamp,
    Null,
}

/// How a source column and a target column go together, as far as their types alone show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Every value fits.
    Exact,
    /// Values that do not fit are rejected with their record, or follow the column's policy. The text says which.
    Checked(String),
    /// Something is lost from values that do fit: the column needs `lossy = true`. The text says what.
    Lossy(String),
    /// No value fits. The text says why.
    Never(String),
}

/// Why a value is refused, as the end of a sentence that begins with its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub class: RejectClass,
    pub why: &'static str,
}

/// Whether values that stand on the wire like this can go into a column of this kind.
pub fn fit(_wire: &Wire, _kind: &Kind) -> Fit {
    Fit::Exact
}

/// The value in the one form in which the kind takes it.
pub fn convert(value: &Value, kind: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let _ = (kind, policy);
    Ok(value.clone())
}
