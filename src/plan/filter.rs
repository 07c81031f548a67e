//! A route's `where`: the conditions that a row must meet to be in the target, all of them.

use crate::change::{Op, Reject, RejectClass};
use crate::plan::condition::{Condition, Truth};
use crate::row::wire::Wire;
use crate::row::{Shape, Value};

/// The conditions, in the order of the configuration. None of them is every row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub conditions: Vec<Condition>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The fields that are asked for.
    pub fn fields(&self) -> impl Iterator<Item = usize> {
        self.conditions.iter().filter_map(Condition::field)
    }

    /// Whether the row belongs into the target. One condition that is not true decides, whatever the others lack.
    pub fn keeps(&self, shape: &Shape, row: &[Value], op: Op) -> Result<bool, Reject> {
        match self.judge(row, Some(op)) {
            (Truth::True, _) => Ok(true),
            (Truth::NotTrue, _) => Ok(false),
            (Truth::Unknown, condition) => {
                let column = condition.and_then(Condition::field).map_or("op", |at| shape.fields[at].name.as_str());
                let text = format!(
                    "the record brings no value for column \"{column}\", which the route's `where` asks for (unchanged \
                     TOAST, or left out by the connector): set REPLICA IDENTITY FULL"
                );
                Err(Reject::new(RejectClass::Unavailable, text))
            }
        }
    }

    /// Whether it is certain that an older row was kept out of the target. What happened to that row is not known.
    pub fn kept_out(&self, row: &[Value]) -> bool {
        matches!(self.judge(row, None), (Truth::NotTrue, _))
    }

    /// Whether a row belongs into the target, of which nobody knows what happened to it last; `None` where that decides.
    pub fn certainly(&self, row: &[Value]) -> Option<bool> {
        match self.judge(row, None).0 {
            Truth::True => Some(true),
            Truth::NotTrue => Some(false),
            Truth::Unknown => None,
        }
    }

    /// What the conditions say together, and the first one that cannot be judged.
    fn judge(&self, row: &[Value], op: Option<Op>) -> (Truth, Option<&Condition>) {
        let mut unknown = None;
        for condition in &self.conditions {
            match condition.judge(row, op) {
                Truth::True => {}
                Truth::NotTrue => return (Truth::NotTrue, None),
                Truth::Unknown => unknown = unknown.or(Some(condition)),
            }
        }
        (if unknown.is_some() { Truth::Unknown } else { Truth::True }, unknown)
    }

    /// What speaks against conditions whose fields stand on the wire like this.
    pub fn check_wires(&self, wires: &[Option<Wire>]) -> Vec<String> {
        let unfit = |condition: &&Condition| {
            let wire = condition.field().and_then(|at| wires.get(at)?.as_ref());
            wire.is_some_and(|wire| !condition.fits(wire))
        };
        let told = |condition: &Condition| {
            format!(
                "`where`, \"{}\": its column has another type by now: correct `types`, or start again",
                condition.text
            )
        };
        self.conditions.iter().filter(unfit).map(told).collect()
    }
}

#[cfg(test)]
mod tests;
