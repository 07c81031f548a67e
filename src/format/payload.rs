//! What the two layouts of a Debezium record have in common: what is read, what it tells, and the op letters.

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::image::Columns;
use crate::format::unmapped::UnmappedColumns;
use crate::row::Shape;

/// The part of a record's value that is data, and what its columns are.
pub struct Payload<'a, 't> {
    pub shape: &'a Shape,
    pub columns: Columns<'a, 't>,
    pub unmapped: &'a UnmappedColumns,
    /// How a reject names it.
    pub what: &'static str,
    pub text: &'t str,
}

/// What a payload tells, before the record's key is read.
pub enum Told {
    /// Null: the row of the record's key is gone.
    Nothing,
    /// A change of a row, and the names of its columns that no route wants.
    Change(Change, Vec<String>),
    Other(Decoded),
}

/// What `op` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpLetter {
    Row(Op),
    Truncate,
    Message,
}

impl OpLetter {
    pub fn of(letter: &str) -> Result<OpLetter, Reject> {
        Ok(match letter {
            "c" => OpLetter::Row(Op::Create),
            "r" => OpLetter::Row(Op::Read),
            "u" => OpLetter::Row(Op::Update),
            "d" => OpLetter::Row(Op::Delete),
            "t" => OpLetter::Truncate,
            "m" => OpLetter::Message,
            _ => return Err(Reject::new(RejectClass::UnknownOp, "`op` is none of c, r, u, d, t, m")),
        })
    }
}

pub const CLOUD_EVENT: &str = "the value is a CloudEvent, which is not read here: set value.converter to \
                               org.apache.kafka.connect.json.JsonConverter on the connector";
