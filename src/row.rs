//! Rows as Rowferry carries them: typed values, with the three ways of having none kept apart.

pub mod wire;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::row::wire::Wire;

/// One value of a row.
///
/// Decoding makes the value that the source had, whatever form it had on the wire; `plan::convert` makes of it the
/// one form in which a column's [`Kind`] takes it.
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
    /// A float that 32 bits hold exactly.
    Float32(Float),
    Float64(Float),
    Text(ByteString),
    Bytes(Bytes),
    Uuid(Uuid),
    Inet(IpAddr),
    /// Days since 1970-01-01 in the proleptic Gregorian calendar.
    Date(i32),
    /// Microseconds since midnight; Postgres also has 24:00.
    Time(i64),
    /// Microseconds since midnight in UTC.
    ZonedTime(i64),
    /// Wall time without a zone, in microseconds since 1970-01-01T00:00:00.
    LocalTimestamp(i64),
    /// An instant, in microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    Duration(Duration),
    /// What numbers, dates and timestamps have beyond their range. Floats have their own.
    Special(Special),
    List(Vec<Value>),
    /// Pairs in the order of the wire.
    Map(Vec<(Value, Value)>),
    /// Named parts, such as the `x` and `y` of a point.
    Struct(Vec<(&'static str, Value)>),
}

/// A float that is equal to itself bit by bit, so that rows can be compared and hashed. There is one NaN.
#[derive(Debug, Clone, Copy)]
pub struct Float(pub f64);

/// A Postgres interval: its three parts do not convert into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Duration {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    NotANumber,
    Infinity,
    NegativeInfinity,
}

/// What a target's column holds. [`Value`] says which form each kind takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    /// Whole numbers, with the width that the target's column has.
    Int8,
    Int16,
    Int32,
    Int64,
    /// Whole numbers of any size, as a [`Value::Decimal`] without decimals.
    Integer,
    /// Exact decimals of any size.
    Decimal,
    Float32,
    Float64,
    Ascii,
    Text,
    Bytes,
    Uuid,
    /// A version 1 UUID.
    TimeUuid,
    Inet,
    Date,
    Time,
    /// An instant, in milliseconds or in microseconds. A wall time without zone is taken as if it were UTC.
    TimestampMillis,
    Timestamp,
    Duration,
    List(Box<Kind>),
    /// As a [`Value::List`].
    Set(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    /// As a [`Value::List`] of so many numbers.
    Vector(Box<Kind>, usize),
    /// As a [`Value::List`], one value for each part.
    Tuple(Vec<Kind>),
    /// Named parts, as a [`Value::List`] in this order.
    Struct(Vec<(String, Kind)>),
}

/// A column of a target: its name there, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// What is read from a topic: how its records are laid out, the columns that routes want of them, and which of those
/// are the source's key (indexes into `fields`). A row of it is one [`Value`] for each field, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub format: Format,
    pub fields: Vec<Field>,
    pub key: Vec<usize>,
    /// The fields that are read from an image before: the source's key, and what some target's key holds beside it.
    /// The others stay [`Value::Absent`] there, for only REPLICA IDENTITY FULL makes them real.
    pub before: Vec<usize>,
    /// What routes want of the envelope's `source`, beside the row. One member may be wanted in two forms.
    pub source: Vec<Field>,
    /// Some route asks where changes stand in their source's stream.
    pub positions: bool,
    pub unmapped: Unmapped,
    /// Debezium's `unavailable.value.placeholder`, as configured there.
    pub unavailable: String,
    /// Debezium's `signal.data.collection`, as schema and table: its rows are no rows of the topic.
    pub signal_table: Option<(String, String)>,
}

/// How a topic's records are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Debezium's envelope as JSON, with or without a schema block.
    Envelope,
    /// Debezium's `ExtractNewRecordState`: the row alone, as JSON, with or without a schema block.
    Flat,
    /// Business events: a flat JSON object with an `event_type`.
    Event,
}

/// A column of the source that some route wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub name: String,
    /// How its values stand on the wire; `None` when only the record's schema block can say it.
    pub wire: Option<Wire>,
    /// It outweighs the record's schema block: a person said so, or the catalog did of what a block cannot tell, as varbit
    /// from bit and hstore from json.
    pub declared: bool,
}

/// What happens when a record has a column that no route wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmapped {
    /// It is passed over.
    Ignore,
    /// It is passed over and named once; those in the list are passed over in silence.
    Warn { except: Vec<String> },
    /// The partition stops in front of the record; those in the list are passed over.
    Stop { except: Vec<String> },
}

/// Debezium's default `unavailable.value.placeholder`.
pub const UNAVAILABLE_DEFAULT: &str = "__debezium_unavailable_value";

impl Shape {
    /// A shape with Debezium's defaults.
    pub fn new(format: Format, fields: Vec<Field>, key: Vec<usize>) -> Shape {
        let unavailable = UNAVAILABLE_DEFAULT.to_string();
        let (before, source, unmapped) = (key.clone(), Vec::new(), Unmapped::Ignore);
        Shape { format, fields, key, before, source, positions: false, unmapped, unavailable, signal_table: None }
    }

    /// No value for any field of `source`.
    pub fn empty_source(&self) -> Row {
        vec![Value::Absent; self.source.len()]
    }
}

impl Field {
    /// A field whose form on the wire is known before any record.
    pub fn known(name: &str, wire: Wire) -> Field {
        Field { name: name.into(), wire: Some(wire), declared: false }
    }
}

/// One value for each field of a [`Shape`].
pub type Row = Vec<Value>;

impl Value {
    /// Whether a write of this value changes the target: null does, absent and unavailable do not.
    pub fn is_sent(&self) -> bool {
        !matches!(self, Value::Absent | Value::Unavailable)
    }

    /// Whether there is something: not null, not absent, not unavailable.
    pub fn is_present(&self) -> bool {
        !matches!(self, Value::Absent | Value::Unavailable | Value::Null)
    }
}

impl Float {
    fn bits(self) -> u64 {
        if self.0.is_nan() { f64::NAN.to_bits() } else { self.0.to_bits() }
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Float) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, open: &str, kinds: &[&Kind]| {
            f.write_str(open)?;
            for (at, kind) in kinds.iter().enumerate() {
                write!(f, "{}{kind}", if at == 0 { "" } else { ", " })?;
            }
            f.write_str(">")
        };
        match self {
            Kind::Bool => f.write_str("boolean"),
            Kind::Int8 => f.write_str("int8"),
            Kind::Int16 => f.write_str("int16"),
            Kind::Int32 => f.write_str("int32"),
            Kind::Int64 => f.write_str("int64"),
            Kind::Integer => f.write_str("integer"),
            Kind::Decimal => f.write_str("decimal"),
            Kind::Float32 => f.write_str("float32"),
            Kind::Float64 => f.write_str("float64"),
            Kind::Ascii => f.write_str("ascii"),
            Kind::Text => f.write_str("text"),
            Kind::Bytes => f.write_str("bytes"),
            Kind::Uuid => f.write_str("uuid"),
            Kind::TimeUuid => f.write_str("timeuuid"),
            Kind::Inet => f.write_str("inet"),
            Kind::Date => f.write_str("date"),
            Kind::Time => f.write_str("time"),
            Kind::TimestampMillis => f.write_str("timestamp in milliseconds"),
            Kind::Timestamp => f.write_str("timestamp"),
            Kind::Duration => f.write_str("duration"),
            Kind::List(item) => list(f, "list<", &[item]),
            Kind::Set(item) => list(f, "set<", &[item]),
            Kind::Map(key, value) => list(f, "map<", &[key, value]),
            Kind::Vector(item, dimensions) => write!(f, "vector<{item}, {dimensions}>"),
            Kind::Tuple(items) => list(f, "tuple<", &items.iter().collect::<Vec<_>>()),
            Kind::Struct(fields) => list(f, "struct<", &fields.iter().map(|(_, kind)| kind).collect::<Vec<_>>()),
        }
    }
}
