//! Which forms on the wire go into which kinds: the rules of `convert`, read off the types alone.

use crate::plan::convert::Fit;
use crate::row::Kind;
use crate::row::wire::{BytesForm, Unit, Wire};

/// What becomes of a column's values, with losses and checks as the nouns of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Never(String),
    Fits { lost: Vec<&'static str>, rejected: Vec<&'static str> },
}

const RANGE: &str = "numbers beyond its range";
const FRACTIONS: &str = "fractions";
const DIGITS: &str = "digits that the float has not";
const NAN: &str = "NaN";
const INFINITY: &str = "infinity";
const TIME_24: &str = "24:00";
const NULLS: &str = "null elements";
const LENGTH: &str = "lists of another length";
const MICROS: &str = "microseconds";

/// How values that stand on the wire like this go into a column of this kind.
pub fn verdict(wire: &Wire, kind: &Kind) -> Verdict {
    let verdict = match kind {
        Kind::Bool => only(*wire == Wire::Bool, wire),
        Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 | Kind::Integer | Kind::Decimal => number(wire, kind),
        Kind::Float32 | Kind::Float64 => float(wire, kind),
        Kind::Ascii | Kind::Text => text(wire, kind),
        Kind::Bytes => only(matches!(wire, Wire::Bytes(_) | Wire::Geometry), wire),
        Kind::Uuid | Kind::TimeUuid => uuid(wire, kind),
        Kind::Inet if *wire == Wire::Text => exact().rejecting(&["text that is no address of a host"]),
        Kind::Inet => takes_no(wire),
        Kind::Date | Kind::Time => date_or_time(wire, kind),
        Kind::TimestampMillis | Kind::Timestamp => timestamp(wire, kind),
        Kind::Duration => match wire {
            Wire::MicroDuration => exact().rejecting(&["intervals beyond 292 years"]),
            Wire::Interval => exact().rejecting(&["intervals with parts of both signs or more hours than 292 years"]),
            _ => takes_no(wire),
        },
        Kind::List(item) => list(wire, item),
        Kind::Set(item) => list(wire, item).losing(&["order and duplicates"]),
        Kind::Map(keys, values) => map(wire, keys, values),
        Kind::Vector(item, _) if *wire == Wire::SparseVector => element(item).rejecting(&[LENGTH]),
        Kind::Vector(item, _) => list(wire, item).rejecting(&[LENGTH]),
        Kind::Tuple(items) => tuple(wire, items),
        Kind::Struct(fields) => {
            let parts = only(matches!(wire, Wire::Point | Wire::Geometry | Wire::SparseVector), wire);
            fields.iter().fold(parts, |all, (name, kind)| all.and(part(wire, name, kind)))
        }
    };
    verdict.losing(lost_by_connector(wire))
}

/// What the connector cut before a value came here, so that no conversion can see it.
pub fn lost_by_connector(wire: &Wire) -> &'static [&'static str] {
    match wire {
        Wire::DecimalFloat => &["digits beyond the fifteenth, which the connector cut"],
        Wire::MicroDuration => &["its months, of which the connector made 365.25/12 days each"],
        Wire::Bits { length: None } => &["leading zeros, which the connector does not send"],
        Wire::Time { unit: Unit::Millis, decimals: 4.. }
        | Wire::LocalTimestamp { unit: Unit::Millis, decimals: 4.. } => &["microseconds, which the connector cut"],
        Wire::Array(item) => lost_by_connector(item),
        _ => &[],
    }
}

impl Verdict {
    /// A whole of several parts: no better than the worst of them.
    pub fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (never @ Verdict::Never(_), _) | (_, never @ Verdict::Never(_)) => never,
            (fits, Verdict::Fits { lost, rejected }) => fits.losing(&lost).rejecting(&rejected),
        }
    }

    fn losing(mut self, more: &[&'static str]) -> Verdict {
        if let Verdict::Fits { lost, .. } = &mut self {
            add(lost, more);
        }
        self
    }

    fn rejecting(mut self, more: &[&'static str]) -> Verdict {
        if let Verdict::Fits { rejected, .. } = &mut self {
            add(rejected, more);
        }
        self
    }
}

impl From<Verdict> for Fit {
    fn from(verdict: Verdict) -> Fit {
        match verdict {
            Verdict::Never(why) => Fit::Never(why),
            Verdict::Fits { lost, .. } if !lost.is_empty() => Fit::Lossy(format!("loses {}", list_of(&lost))),
            Verdict::Fits { rejected, .. } if !rejected.is_empty() => {
                Fit::Checked(format!("rejects {}", list_of(&rejected)))
            }
            Verdict::Fits { .. } => Fit::Exact,
        }
    }
}

/// Numbers inside vectors: pgvector has neither NaN nor infinity. Debezium makes them wider than pgvector has them, and
/// writes the same decimals.
fn element(item: &Kind) -> Verdict {
    match verdict(&Wire::Float32, item) {
        Verdict::Fits { lost, mut rejected } => {
            rejected.retain(|noun| ![NAN, INFINITY].contains(noun));
            Verdict::Fits { lost, rejected }
        }
        never @ Verdict::Never(_) => never,
    }
}

fn number(wire: &Wire, kind: &Kind) -> Verdict {
    let range: &[&str] = if bits(kind).is_some() { &[RANGE] } else { &[] };
    let fractions: &[&str] = if *kind == Kind::Decimal { &[] } else { &[FRACTIONS] };
    let base = exact();
    match wire {
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => {
            let fits = bits(kind).is_none_or(|bits| whole_bits(wire) <= bits);
            base.rejecting(if fits { &[] } else { range })
        }
        Wire::Decimal { scale } if *scale <= 0 => base.rejecting(range),
        Wire::Decimal { .. } | Wire::VariableScaleDecimal => base.rejecting(fractions).rejecting(range),
        Wire::DecimalText | Wire::Float32 | Wire::Float64 | Wire::DecimalFloat => {
            base.rejecting(&[NAN, INFINITY]).rejecting(fractions).rejecting(range)
        }
        // Microseconds.
        Wire::MicroDuration if *kind == Kind::Int64 => base,
        Wire::Interval if *kind == Kind::Int64 => base.rejecting(&["intervals with months or days"]),
        _ => takes_no(wire),
    }
}

fn float(wire: &Wire, kind: &Kind) -> Verdict {
    let mantissa = if *kind == Kind::Float32 { 24 } else { 53 };
    match wire {
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 if whole_bits(wire) <= mantissa => exact(),
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => exact().losing(&[DIGITS]),
        Wire::Decimal { .. } | Wire::VariableScaleDecimal | Wire::DecimalText => {
            exact().losing(&[DIGITS]).rejecting(&[RANGE])
        }
        Wire::Float64 | Wire::DecimalFloat if *kind == Kind::Float32 => exact().losing(&[DIGITS]).rejecting(&[RANGE]),
        Wire::Float32 | Wire::Float64 | Wire::DecimalFloat => exact(),
        _ => takes_no(wire),
    }
}

fn text(wire: &Wire, kind: &Kind) -> Verdict {
    match wire {
        Wire::Bytes(_) | Wire::Geometry => Verdict::Never(format!("takes no {wire}: a text of them would be a guess")),
        Wire::Array(item) => text(item, kind),
        Wire::Text | Wire::HstoreJson | Wire::HstoreMap if *kind == Kind::Ascii => {
            exact().rejecting(&["characters beyond ASCII"])
        }
        _ => exact(),
    }
}

fn uuid(wire: &Wire, kind: &Kind) -> Verdict {
    let version: &[&str] = if *kind == Kind::TimeUuid { &["UUIDs that are not of version 1"] } else { &[] };
    match wire {
        Wire::Uuid => exact().rejecting(version),
        Wire::Text => exact().rejecting(&["text that is no UUID with hyphens"]).rejecting(version),
        _ => takes_no(wire),
    }
}

fn date_or_time(wire: &Wire, kind: &Kind) -> Verdict {
    let date = *kind == Kind::Date;
    match wire {
        Wire::CalendarDate if date => exact(),
        Wire::Date | Wire::IsoDate if date => exact().rejecting(&[INFINITY]),
        Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } | Wire::ZonedTimestamp { .. } if date => {
            exact().losing(&["the time of day"]).rejecting(&[INFINITY])
        }
        Wire::Time { .. } if !date => exact().rejecting(&[TIME_24]),
        Wire::IsoTime if !date => exact().rejecting(&["24:00 where the connector has not made 00:00 of it"]),
        Wire::ZonedTime if !date => exact().losing(&["the time zone"]).rejecting(&[TIME_24]),
        _ => takes_no(wire),
    }
}

fn timestamp(wire: &Wire, kind: &Kind) -> Verdict {
    let finer = |decimals: u8| decimals > 3 && *kind == Kind::TimestampMillis;
    match wire {
        Wire::CalendarDate => exact(),
        Wire::Date | Wire::IsoDate => exact().rejecting(&[INFINITY, "dates after 294247-01-10"]),
        Wire::LocalTimestamp { unit: Unit::Micros | Unit::Nanos, decimals }
        | Wire::IsoTimestamp { decimals }
        | Wire::ZonedTimestamp { decimals }
            if finer(*decimals) =>
        {
            exact().losing(&[MICROS]).rejecting(&[INFINITY])
        }
        Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } | Wire::ZonedTimestamp { .. } => {
            exact().rejecting(&[INFINITY])
        }
        _ => takes_no(wire),
    }
}

fn list(wire: &Wire, item: &Kind) -> Verdict {
    match wire {
        Wire::Array(of) => verdict(of, item).rejecting(&[NULLS]),
        Wire::Vector => element(item),
        _ => takes_no(wire),
    }
}

fn map(wire: &Wire, keys: &Kind, values: &Kind) -> Verdict {
    match wire {
        Wire::HstoreJson | Wire::HstoreMap => {
            let keys = verdict(&Wire::Text, keys);
            keys.and(verdict(&Wire::Text, values)).rejecting(&["null values"])
        }
        Wire::SparseVector => verdict(&Wire::Int16, keys).and(element(values)),
        _ => takes_no(wire),
    }
}

fn tuple(wire: &Wire, items: &[Kind]) -> Verdict {
    let length = exact().rejecting(&[LENGTH]);
    match wire {
        Wire::Array(of) => items.iter().fold(length, |all, item| all.and(verdict(of, item))),
        Wire::Vector => items.iter().fold(length, |all, item| all.and(element(item))),
        Wire::Point if matches!(items.len(), 2 | 3) => {
            let named = ["x", "y", "srid"].into_iter().zip(items);
            named.fold(exact(), |all, (name, kind)| all.and(part(wire, name, kind)))
        }
        _ => takes_no(wire),
    }
}

/// A part by its name.
fn part(wire: &Wire, name: &str, kind: &Kind) -> Verdict {
    match (wire, name) {
        (Wire::Point, "x" | "y") => verdict(&Wire::Float64, kind),
        (Wire::Point | Wire::Geometry, "srid") => verdict(&Wire::Int32, kind),
        (Wire::Geometry, "wkb") => verdict(&Wire::Bytes(BytesForm::Base64), kind),
        (Wire::SparseVector, "dimensions") => verdict(&Wire::Int16, kind),
        (Wire::SparseVector, "vector") => match kind {
            Kind::Map(keys, values) => map(wire, keys, values),
            // A JSON object of numbers.
            Kind::Ascii | Kind::Text => exact(),
            _ => takes_no(wire),
        },
        _ => Verdict::Never(format!("names a part that no {wire} has")),
    }
}

/// The width of whole numbers with one.
fn bits(kind: &Kind) -> Option<u32> {
    match kind {
        Kind::Int8 => Some(8),
        Kind::Int16 => Some(16),
        Kind::Int32 => Some(32),
        Kind::Int64 => Some(64),
        _ => None,
    }
}

fn whole_bits(wire: &Wire) -> u32 {
    match wire {
        Wire::Int8 => 8,
        Wire::Int16 => 16,
        Wire::Int32 => 32,
        _ => 64,
    }
}

fn exact() -> Verdict {
    Verdict::Fits { lost: Vec::new(), rejected: Vec::new() }
}

fn only(fits: bool, wire: &Wire) -> Verdict {
    if fits { exact() } else { takes_no(wire) }
}

fn takes_no(wire: &Wire) -> Verdict {
    Verdict::Never(format!("takes no {wire}"))
}

fn add(to: &mut Vec<&'static str>, more: &[&'static str]) {
    for noun in more {
        if !to.contains(noun) {
            to.push(noun);
        }
    }
}

/// `a, b and c`
fn list_of(nouns: &[&str]) -> String {
    match nouns {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => nouns.concat(),
    }
}
