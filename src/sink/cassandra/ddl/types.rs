//! The CQL type that holds the values of a source column: exactly, or with the fewest of them refused. Never one that
//! loses something where another one does not.

use crate::row::Kind;
use crate::row::wire::{Unit, Wire};

/// A type as CREATE TABLE names it, and the kind that its column has then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CqlType {
    pub cql: String,
    pub kind: Kind,
    /// What the choice costs, and what else there is.
    pub note: Option<&'static str>,
}

/// How fine timestamps are kept. CQL's are whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grain {
    /// Finer ones become text.
    #[default]
    Exact,
    /// Finer ones are cut, and their routes have to allow it.
    Milliseconds,
}

/// The longest vector that the server takes.
const DIMENSIONS_MAX: usize = 8192;

const TIMESTAMP_AS_TEXT: Option<&str> =
    Some("a CQL timestamp would cut microseconds, --milliseconds makes it one, and the text is ordered as text");
const INTERVAL_AS_TEXT: Option<&str> = Some("durations have no order, so they cannot be in a key");
const ARRAY: Option<&str> = Some("text would hold null elements too");
const HSTORE: Option<&str> = Some("a map<text, text> would refuse null values");
const NETWORK: Option<&str> = Some("an inet would refuse addresses with a netmask");
const VECTOR: Option<&str> = Some("a vector<float, n> can be searched, when all have n numbers");

/// The type for values that stand on the wire like this. `source_type` is what Postgres calls their type, and may be
/// anything where nobody knows it.
pub fn cql_type(wire: &Wire, source_type: &str, in_key: bool, grain: Grain) -> CqlType {
    let plain = |cql: &str, kind| CqlType { cql: cql.into(), kind, note: None };
    let noted = |cql: &str, kind, note| CqlType { cql: cql.into(), kind, note };
    match wire {
        Wire::Bool => plain("boolean", Kind::Bool),
        Wire::Int8 => plain("tinyint", Kind::Int8),
        Wire::Int16 => plain("smallint", Kind::Int16),
        Wire::Int32 => plain("int", Kind::Int32),
        Wire::Int64 => plain("bigint", Kind::Int64),
        Wire::Float32 => plain("float", Kind::Float32),
        Wire::Float64 | Wire::DecimalFloat => plain("double", Kind::Float64),
        Wire::Decimal { .. } | Wire::VariableScaleDecimal | Wire::DecimalText => plain("decimal", Kind::Decimal),
        Wire::Text if matches!(source_type.trim(), "inet" | "cidr") => noted("text", Kind::Text, NETWORK),
        Wire::Text | Wire::Bits { .. } | Wire::ZonedTime => plain("text", Kind::Text),
        Wire::Uuid => plain("uuid", Kind::Uuid),
        Wire::Bytes(_) | Wire::Geometry => plain("blob", Kind::Bytes),
        Wire::Date | Wire::IsoDate | Wire::CalendarDate => plain("date", Kind::Date),
        Wire::Time { .. } | Wire::IsoTime => plain("time", Kind::Time),
        Wire::LocalTimestamp { unit: Unit::Micros | Unit::Nanos, decimals }
        | Wire::IsoTimestamp { decimals }
        | Wire::ZonedTimestamp { decimals }
            if *decimals > 3 && grain == Grain::Exact =>
        {
            noted("text", Kind::Text, TIMESTAMP_AS_TEXT)
        }
        Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } | Wire::ZonedTimestamp { .. } => {
            plain("timestamp", Kind::TimestampMillis)
        }
        Wire::MicroDuration | Wire::Interval if in_key => noted("text", Kind::Text, INTERVAL_AS_TEXT),
        Wire::MicroDuration | Wire::Interval => plain("duration", Kind::Duration),
        Wire::HstoreJson | Wire::HstoreMap => noted("text", Kind::Text, HSTORE),
        Wire::Point => plain("frozen<tuple<double, double>>", Kind::Tuple(vec![Kind::Float64, Kind::Float64])),
        Wire::Vector => match dimensions(source_type) {
            Some(length) => plain(&format!("vector<float, {length}>"), Kind::Vector(Box::new(Kind::Float32), length)),
            None => noted("frozen<list<float>>", Kind::List(Box::new(Kind::Float32)), VECTOR),
        },
        Wire::SparseVector => {
            plain("frozen<map<int, float>>", Kind::Map(Box::new(Kind::Int32), Box::new(Kind::Float32)))
        }
        Wire::Array(item) => {
            let of = cql_type(item, source_type.trim_end_matches("[]"), in_key, grain);
            let note = if of.kind == Kind::Bytes { of.note } else { of.note.or(ARRAY) };
            noted(&format!("frozen<list<{}>>", of.cql), Kind::List(Box::new(of.kind)), note)
        }
    }
}

/// The `n` of `vector(n)`.
fn dimensions(source_type: &str) -> Option<usize> {
    let inside = source_type.split_once('(')?.1.split_once(')')?.0;
    inside.trim().parse().ok().filter(|length| (1..=DIMENSIONS_MAX).contains(length))
}
