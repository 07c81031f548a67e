//! When a row ends: a route's `ttl`, as it is written and as it is counted for each record.
//!
//! The end is a function of the log, like the version: a replay finds the same one. What is left of the time is only
//! known when the row is written, and that is the sink's to count.

use crate::change::{Reject, RejectClass};
use crate::record::Record;
use crate::row::wire::Wire;
use crate::row::{Special, Value};

/// A `ttl` as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TtlSpec {
    /// So many seconds after the record's time.
    Seconds(u32),
    /// A column of the source says when; null is never.
    Column(String),
}

/// The same, ready to plan with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    Seconds(u32),
    /// Index into the shape's fields.
    Field(usize),
}

const MICROS_PER_MILLI: i64 = 1_000;
const DAY_MILLIS: i64 = 86_400_000;

impl Ttl {
    /// When the row of this record ends, in milliseconds since 1970; `None` when it never does.
    pub fn ends_at_ms(self, record: &Record, row: &[Value]) -> Result<Option<i64>, Reject> {
        match self {
            Ttl::Seconds(seconds) => match record.timestamp_ms.filter(|time| *time >= 0) {
                Some(time) => Ok(Some(time.saturating_add(i64::from(seconds) * 1_000))),
                None => Err(Reject::new(RejectClass::OutOfRange, "the record has no time that its ttl counts from")),
            },
            Ttl::Field(at) => end_of(row.get(at).unwrap_or(&Value::Absent)),
        }
    }

    pub fn field(self) -> Option<usize> {
        match self {
            Ttl::Seconds(_) => None,
            Ttl::Field(at) => Some(at),
        }
    }

    /// What speaks against it when its field stands on the wire like this.
    pub fn check_wires(self, wires: &[Option<Wire>]) -> Option<String> {
        let wire = self.field().and_then(|at| wires.get(at)?.as_ref())?;
        (!is_end(wire)).then(|| format!("`ttl`: its column is {wire}, and a date or timestamp says when a row ends"))
    }
}

/// When a row with this value in the column of its `ttl` ends, in milliseconds since 1970; `None` when it never does.
pub fn end_of(value: &Value) -> Result<Option<i64>, Reject> {
    match value {
        Value::Null | Value::Special(Special::Infinity) => Ok(None),
        Value::Special(Special::NegativeInfinity) => Ok(Some(i64::MIN)),
        Value::Date(days) => Ok(Some(i64::from(*days) * DAY_MILLIS)),
        Value::Timestamp(micros) | Value::LocalTimestamp(micros) => Ok(Some(micros.div_euclid(MICROS_PER_MILLI))),
        Value::Absent | Value::Unavailable => {
            let text = "the record brings no value for the column of the route's `ttl`: set REPLICA IDENTITY FULL";
            Err(Reject::new(RejectClass::Unavailable, text))
        }
        _ => Err(Reject::new(RejectClass::WrongType, "the column of the route's `ttl` is no date or timestamp")),
    }
}

/// Whether values that stand on the wire like this say when a row ends. A date is its first instant in UTC, and wall
/// time without a zone is taken as if it were UTC.
pub fn is_end(wire: &Wire) -> bool {
    matches!(
        wire,
        Wire::Date
            | Wire::IsoDate
            | Wire::CalendarDate
            | Wire::LocalTimestamp { .. }
            | Wire::IsoTimestamp { .. }
            | Wire::ZonedTimestamp { .. }
    )
}

#[cfg(test)]
mod tests;
