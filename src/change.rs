//! What a record means once it is decoded. Wire formats end here: nothing below knows Debezium's letters.

pub mod position;

use std::fmt;

use crate::change::position::Origin;
use crate::row::Row;

/// The meaning of one record. Decoding is total: what cannot be read is a [`Reject`], never an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    Change(Change),
    /// A null value: the row with this key is gone. Only the key columns of the row are known.
    Tombstone(Row),
    /// Every row of the table is gone. It has no version and no order among the rows, so a partition stops at it.
    Truncate,
    /// A logical decoding message.
    Message,
    Heartbeat,
    /// The begin or end of a transaction, on its own topic.
    Transaction,
    /// A change of a table's layout, as connectors other than Postgres's write it on a topic of its own.
    SchemaChange,
    /// A row of the connector's signal table, which is no row of anybody's data.
    Signal,
    /// Nobody can say what becomes of this record and those behind it until a person decides: why, and how.
    Stop(String),
    Reject(Reject),
}

/// A change of one row, with its images before and after in the order of the topic's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub op: Op,
    pub before: Option<Row>,
    /// Present for every op but `Delete`. A business event's DELETE says what else it knows here.
    pub after: Option<Row>,
    /// Where it comes from: one value for each of the shape's `source`. Empty where the format does not say it.
    pub source: Row,
    /// Where in its source's stream it stands, when that is asked for: `None` for the row of a snapshot, and where the
    /// record does not say it.
    pub origin: Option<Origin>,
}

/// What happened to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The row was read by a snapshot.
    Read,
    Create,
    Update,
    Delete,
}

/// Why a record is refused. The text names columns, types and places, and never carries a value of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub class: RejectClass,
    pub text: String,
}

/// The closed set of reasons, as they stand in a dead letter's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectClass {
    /// The value has no bytes, or a null where the format has no meaning for it.
    Empty,
    NotJson,
    TooLarge,
    TooDeep,
    /// A value is not of its column's kind, or the record is not of the format's shape.
    WrongType,
    /// A value is of the right kind and does not fit its column.
    OutOfRange,
    UnknownOp,
    MissingKey,
    /// The record's key and its payload name different rows.
    KeyMismatch,
    /// An image that the route needs is not in the record.
    MissingImage,
    /// A moved row lacks columns (unchanged TOAST), and there is no source to read them from.
    Unavailable,
    /// The row that the event changes was never seen.
    MissingRow,
    /// The row that the event refers to did not come.
    MissingParent,
    /// The sink's server refused the row.
    Refused,
    /// Our own code panicked over the record.
    Panicked,
}

impl Change {
    /// A change of which nothing but its images is known.
    pub fn of(op: Op, before: Option<Row>, after: Option<Row>) -> Self {
        Change { op, before, after, source: Row::new(), origin: None }
    }
}

impl Reject {
    pub fn new(class: RejectClass, text: impl Into<String>) -> Self {
        Reject { class, text: text.into() }
    }
}

impl RejectClass {
    /// Every class, in the order of their declaration.
    pub const ALL: [RejectClass; 15] = [
        RejectClass::Empty,
        RejectClass::NotJson,
        RejectClass::TooLarge,
        RejectClass::TooDeep,
        RejectClass::WrongType,
        RejectClass::OutOfRange,
        RejectClass::UnknownOp,
        RejectClass::MissingKey,
        RejectClass::KeyMismatch,
        RejectClass::MissingImage,
        RejectClass::Unavailable,
        RejectClass::MissingRow,
        RejectClass::MissingParent,
        RejectClass::Refused,
        RejectClass::Panicked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RejectClass::Empty => "empty",
            RejectClass::NotJson => "not_json",
            RejectClass::TooLarge => "too_large",
            RejectClass::TooDeep => "too_deep",
            RejectClass::WrongType => "wrong_type",
            RejectClass::OutOfRange => "out_of_range",
            RejectClass::UnknownOp => "unknown_op",
            RejectClass::MissingKey => "missing_key",
            RejectClass::KeyMismatch => "key_mismatch",
            RejectClass::MissingImage => "missing_image",
            RejectClass::Unavailable => "unavailable",
            RejectClass::MissingRow => "missing_row",
            RejectClass::MissingParent => "missing_parent",
            RejectClass::Refused => "refused",
            RejectClass::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.text)
    }
}
