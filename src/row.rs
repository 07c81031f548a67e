//! Rows as Rowferry carries them: typed values, with the three ways of having none kept apart.

use std::fmt;

use bigdecimal::BigDecimal;
use bytestring::ByteString;
use uuid::Uuid;

/// What a column holds. A kind says how the wire's text or number is read, not how wide the target's column is:
/// that is the sink's to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    /// Whole numbers, with the width that the target's column has.
    Int16,
    Int32,
    Int64,
    /// Exact decimals of any size.
    Decimal,
    Text,
    Uuid,
    /// Days since 1970-01-01 in the proleptic Gregorian calendar.
    Date,
    /// An instant, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The record does not speak of this column: the target keeps what it has.
    Absent,
    /// Debezium's placeholder for an unchanged TOAST value: the target keeps what it has.
    Unavailable,
    /// The column is null: the target's becomes null.
    Null,
    Bool(bool),
    Int(i64),
    Decimal(BigDecimal),
    Text(ByteString),
    Uuid(Uuid),
    Date(i32),
    Timestamp(i64),
}

/// A column of the source: its name there, and how its values are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// What is read from a topic: its columns, and which of them are the source's key (indexes into `columns`).
/// A row of it is one [`Value`] for each column, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
}

/// One value for each column of a [`Shape`].
pub type Row = Vec<Value>;

impl Value {
    /// Whether a write of this value changes the target: null does, absent and unavailable do not.
    pub fn is_sent(&self) -> bool {
        !matches!(self, Value::Absent | Value::Unavailable)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Bool => "boolean",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Decimal => "decimal",
            Kind::Text => "text",
            Kind::Uuid => "uuid",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
        })
    }
}
