//! The table of docs/types.md, made of `Wire::of_postgres` and `fit` over all types and all connector modes.
//!
//! `WRITE_DOCS=1 cargo test --lib page_tests` writes it; without the variable the file must be what would be written.

use std::collections::BTreeSet;

use super::pairs::{Verdict, lost_by_connector, verdict};
use super::*;
use crate::page_tests::expect_between;
use crate::row::wire::{BinaryMode, DecimalMode, HstoreMode, IntervalMode, Modes, TimeMode, Unsent};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/types.md");
const BEGIN: &str = "<!-- made by src/plan/convert/page_tests.rs -->\n";
const END: &str = "<!-- end of what is made -->\n";

/// Every type that a column can have, as people write it. [`LENGTHS`] says what their numbers stand for.
const TYPES: &[&str] = &[
    "boolean",
    "bit(1)",
    "varbit(1)",
    "smallint",
    "integer",
    "bigint",
    "oid",
    "real",
    "double precision",
    "numeric(10,2)",
    "numeric(10)",
    "numeric",
    "money",
    "text",
    "varchar",
    "char(8)",
    "citext",
    "name",
    "json",
    "jsonb",
    "xml",
    "enum",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "ltree",
    "tsvector",
    "isbn",
    "uuid",
    "bytea",
    "bit(8)",
    "varbit(8)",
    "varbit",
    "date",
    "time(3)",
    "time",
    "timetz",
    "timestamp(3)",
    "timestamp",
    "timestamptz(3)",
    "timestamptz",
    "interval",
    "hstore",
    "point",
    "geometry",
    "geography",
    "vector",
    "halfvec",
    "sparsevec",
    "integer[]",
    "box",
    "circle",
    "line",
    "lseg",
    "path",
    "polygon",
    "pg_lsn",
    "tsquery",
    "txid_snapshot",
    "pg_snapshot",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "jsonpath",
    "xid",
    "xid8",
    "cid",
    "tid",
    "composite",
];

const LENGTHS: [(&str, &str); 4] = [("(10,2)", "(p,s)"), ("(10)", "(p)"), ("(8)", "(n)"), ("(3)", "(0–3)")];

/// What a target's column is called, and its kind.
type Target = (&'static str, Kind);

/// The scalars, and what is made for values like these.
fn cassandra(wire: &Wire) -> Vec<Target> {
    let parts = |fields: &[(&str, Kind)]| {
        Kind::Struct(fields.iter().map(|(name, kind)| (name.to_string(), kind.clone())).collect())
    };
    let map = |keys: Kind, values: Kind| Kind::Map(Box::new(keys), Box::new(values));
    let srid = ("srid", Kind::Int32);
    let nested = match wire {
        Wire::Array(_) => vec![
            ("list<int>", Kind::List(Box::new(Kind::Int32))),
            ("set<int>", Kind::Set(Box::new(Kind::Int32))),
            ("vector<int, n>", Kind::Vector(Box::new(Kind::Int32), 3)),
            ("tuple<int, int, …>", Kind::Tuple(vec![Kind::Int32; 3])),
        ],
        Wire::Vector => vec![
            ("vector<float, n>", Kind::Vector(Box::new(Kind::Float32), 3)),
            ("list<float>", Kind::List(Box::new(Kind::Float32))),
            ("set<float>", Kind::Set(Box::new(Kind::Float32))),
            ("tuple<float, float, …>", Kind::Tuple(vec![Kind::Float32; 3])),
        ],
        Wire::SparseVector => vec![
            ("vector<float, n>", Kind::Vector(Box::new(Kind::Float32), 3)),
            ("map<int, float>", map(Kind::Int32, Kind::Float32)),
        ],
        Wire::HstoreJson | Wire::HstoreMap => vec![("map<text, text>", map(Kind::Text, Kind::Text))],
        Wire::Point => vec![
            ("tuple<double, double>", Kind::Tuple(vec![Kind::Float64; 2])),
            ("tuple<double, double, int>", Kind::Tuple(vec![Kind::Float64, Kind::Float64, Kind::Int32])),
            ("a UDT with x, y, srid", parts(&[("x", Kind::Float64), ("y", Kind::Float64), srid])),
        ],
        Wire::Geometry => vec![("a UDT with wkb, srid", parts(&[("wkb", Kind::Bytes), srid]))],
        _ => vec![],
    };
    scalars().into_iter().chain(nested).collect()
}

fn scalars() -> Vec<Target> {
    vec![
        ("boolean", Kind::Bool),
        ("tinyint", Kind::Int8),
        ("smallint", Kind::Int16),
        ("int", Kind::Int32),
        ("bigint", Kind::Int64),
        ("varint", Kind::Integer),
        ("decimal", Kind::Decimal),
        ("float", Kind::Float32),
        ("double", Kind::Float64),
        ("text", Kind::Text),
        ("ascii", Kind::Ascii),
        ("blob", Kind::Bytes),
        ("uuid", Kind::Uuid),
        ("timeuuid", Kind::TimeUuid),
        ("inet", Kind::Inet),
        ("date", Kind::Date),
        ("time", Kind::Time),
        ("timestamp", Kind::TimestampMillis),
        ("duration", Kind::Duration),
    ]
}

fn postgres() -> Vec<Target> {
    vec![
        ("boolean", Kind::Bool),
        ("smallint", Kind::Int16),
        ("integer", Kind::Int32),
        ("bigint", Kind::Int64),
        ("numeric", Kind::Decimal),
        ("text", Kind::Text),
        ("uuid", Kind::Uuid),
        ("date", Kind::Date),
        ("timestamptz", Kind::Timestamp),
    ]
}

/// Each setting with its values, as Debezium writes them.
fn settings(modes: &Modes) -> [(&'static str, &'static str); 6] {
    let decimal = match modes.decimal_handling_mode {
        DecimalMode::Precise => "precise",
        DecimalMode::Double => "double",
        DecimalMode::String => "string",
    };
    let time = match modes.time_precision_mode {
        TimeMode::Adaptive => "adaptive",
        TimeMode::AdaptiveTimeMicroseconds => "adaptive_time_microseconds",
        TimeMode::Connect => "connect",
        TimeMode::Isostring => "isostring",
        TimeMode::Microseconds => "microseconds",
        TimeMode::Nanoseconds => "nanoseconds",
    };
    let binary = match modes.binary_handling_mode {
        BinaryMode::Bytes => "bytes",
        BinaryMode::Base64 => "base64",
        BinaryMode::Base64UrlSafe => "base64-url-safe",
        BinaryMode::Hex => "hex",
    };
    let interval = match modes.interval_handling_mode {
        IntervalMode::Numeric => "numeric",
        IntervalMode::String => "string",
    };
    let hstore = match modes.hstore_handling_mode {
        HstoreMode::Json => "json",
        HstoreMode::Map => "map",
    };
    let unknown = if modes.include_unknown_datatypes { "true" } else { "false" };
    [
        ("decimal.handling.mode", decimal),
        ("time.precision.mode", time),
        ("binary.handling.mode", binary),
        ("interval.handling.mode", interval),
        ("hstore.handling.mode", hstore),
        ("include.unknown.datatypes", unknown),
    ]
}

fn all_modes() -> Vec<Modes> {
    use {DecimalMode as D, TimeMode as T};
    let mut all = Vec::new();
    let times = [T::Adaptive, T::AdaptiveTimeMicroseconds, T::Connect, T::Isostring, T::Microseconds, T::Nanoseconds];
    for time_precision_mode in times {
        for decimal_handling_mode in [D::Precise, D::Double, D::String] {
            for binary in [BinaryMode::Bytes, BinaryMode::Base64, BinaryMode::Base64UrlSafe, BinaryMode::Hex] {
                for bits in 0..8 {
                    all.push(Modes {
                        decimal_handling_mode,
                        time_precision_mode,
                        binary_handling_mode: binary,
                        interval_handling_mode: [IntervalMode::Numeric, IntervalMode::String][bits & 1],
                        hstore_handling_mode: [HstoreMode::Json, HstoreMode::Map][bits >> 1 & 1],
                        include_unknown_datatypes: bits >> 2 == 1,
                    });
                }
            }
        }
    }
    all
}

/// The settings that these modes have in common and all others have not.
fn when(modes: &[Modes]) -> String {
    let mut words = Vec::new();
    let mut covered = 1;
    for at in 0..6 {
        let has = |of: &[Modes]| of.iter().map(|modes| settings(modes)[at].1).collect::<Vec<_>>();
        let every: BTreeSet<&str> = has(&all_modes()).into_iter().collect();
        let mut seen = BTreeSet::new();
        let some: Vec<&str> = has(modes).into_iter().filter(|value| seen.insert(*value)).collect();
        covered *= some.len();
        let others: Vec<&str> = every.iter().copied().filter(|value| !some.contains(value)).collect();
        let name = settings(&modes[0])[at].0;
        match others.len() {
            0 => {}
            count if count < some.len() => words.push(format!("`{name}` not {}", others.join(", "))),
            _ => words.push(format!("`{name}` {}", some.join(", "))),
        }
    }
    assert_eq!(covered, modes.len(), "one cell cannot say when: {words:?}");
    words.join("; ")
}

/// What a value is once it is decoded.
fn decoded(wire: &Wire) -> &'static str {
    match wire {
        Wire::Bool => "boolean",
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => "whole number",
        Wire::Float32 | Wire::Float64 => "float, NaN or ±infinity",
        Wire::DecimalFloat => "float of the decimal, NaN or ±infinity",
        Wire::Decimal { .. } | Wire::VariableScaleDecimal => "exact decimal; NaN and infinity arrive as null",
        Wire::DecimalText => "exact decimal, NaN or ±infinity",
        Wire::Text => "text",
        Wire::Uuid => "UUID",
        Wire::Bytes(_) => "bytes",
        Wire::Bits { length: Some(_) } => "text of all its binary digits",
        Wire::Bits { length: None } => "text of its binary digits from the first 1 on",
        Wire::Date | Wire::IsoDate => "date or ±infinity",
        Wire::CalendarDate => "date",
        Wire::Time { .. } => "time of day up to 24:00",
        Wire::IsoTime => "time of day; 24:00 arrives as 00:00",
        Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } => "wall time or ±infinity",
        Wire::ZonedTimestamp { .. } => "instant or ±infinity",
        Wire::ZonedTime => "time of day in UTC",
        Wire::MicroDuration => "interval of microseconds alone",
        Wire::Interval => "interval of months, days and microseconds",
        Wire::HstoreJson | Wire::HstoreMap => "map of texts and nulls",
        Wire::Point => "x, y and SRID",
        Wire::Geometry => "EWKB and SRID",
        Wire::Vector => "list of floats",
        Wire::SparseVector => "number of dimensions, and floats by index",
        Wire::Array(_) => "list of values and nulls",
    }
}

/// The forms of a type, each with all modes that make it.
fn wires(name: &str) -> Vec<(Result<Wire, Unsent>, Vec<Modes>)> {
    let mut wires: Vec<(Result<Wire, Unsent>, Vec<Modes>)> = Vec::new();
    for modes in all_modes() {
        let wire = Wire::of_postgres(name, &modes);
        match wires.iter_mut().find(|(known, _)| *known == wire) {
            Some((_, with)) => with.push(modes),
            None => wires.push((wire, vec![modes])),
        }
    }
    wires
}

struct Line {
    types: Vec<&'static str>,
    when: String,
    rest: String,
}

/// One line for each type and form, where types with equal lines share one.
fn table() -> String {
    let mut lines: Vec<Line> = Vec::new();
    for name in TYPES.iter().copied() {
        let mut forms: Vec<(String, Vec<Modes>)> = Vec::new();
        for (wire, modes) in wires(name) {
            let cells = match wire {
                Ok(wire) => cells(&wire),
                Err(Unsent::Omitted) => "not sent | | | | ".into(),
                Err(Unsent::Unknown) => panic!("{name} is no type"),
            };
            match forms.iter_mut().find(|(known, _)| *known == cells) {
                Some((_, with)) => with.extend(modes),
                None => forms.push((cells, modes)),
            }
        }
        for (rest, modes) in forms {
            let when = when(&modes);
            match lines.iter_mut().find(|line| line.when == when && line.rest == rest) {
                Some(line) => line.types.push(name),
                None => lines.push(Line { types: vec![name], when, rest }),
            }
        }
    }
    let mut out = String::from(
        "| Postgres type | Connector setting | Decoded value | Cassandra, exact | Cassandra, checked | Cassandra, with \
         `lossy = true` | Postgres |\n|---|---|---|---|---|---|---|\n",
    );
    for Line { types, when, rest } in lines {
        let types = LENGTHS.iter().fold(types.join(", "), |types, (digits, letters)| types.replace(digits, letters));
        out += &format!("| {types} | {when} | {rest} |\n");
    }
    out
}

fn cells(wire: &Wire) -> String {
    let of_connector = lost_by_connector(wire);
    let targets = grouped(wire, cassandra(wire));
    let those = |wanted: fn(&Group) -> bool| {
        let groups = targets.iter().filter(|group| wanted(group));
        groups.map(|group| shown(group, of_connector)).collect::<Vec<_>>().join("; ")
    };
    let exact = those(|group| group.lost.is_empty() && group.rejected.is_empty());
    let checked = those(|group| group.lost.is_empty() && !group.rejected.is_empty());
    let mut lossy = those(|group| !group.lost.is_empty());
    if !of_connector.is_empty() {
        lossy = format!("All lose {}: {lossy}", of_connector.join(", "));
    }
    format!("{} | {exact} | {checked} | {lossy} | {}", decoded(wire), postgres_cell(wire))
}

/// The reasons are those of the Cassandra type that holds the same, and would be said twice.
fn postgres_cell(wire: &Wire) -> String {
    let names = |wanted: fn(&Group) -> bool| {
        let groups = grouped(wire, postgres()).into_iter().filter(wanted);
        groups.flat_map(|group| group.names).collect::<Vec<_>>().join(", ")
    };
    let exact = names(|group| group.lost.is_empty() && group.rejected.is_empty());
    let checked = names(|group| group.lost.is_empty() && !group.rejected.is_empty());
    let lossy = names(|group| !group.lost.is_empty());
    let cells = [("", exact), ("checked: ", checked), ("lossy: ", lossy)];
    let cells = cells.into_iter().filter(|(_, names)| !names.is_empty());
    cells.map(|(how, names)| format!("{how}{names}")).collect::<Vec<_>>().join("; ")
}

/// Targets of which the same is lost and rejected.
struct Group {
    lost: Vec<&'static str>,
    rejected: Vec<&'static str>,
    names: Vec<&'static str>,
}

fn grouped(wire: &Wire, targets: Vec<Target>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, kind) in targets {
        let Verdict::Fits { lost, rejected } = verdict(wire, &kind) else { continue };
        match groups.iter_mut().find(|group| group.lost == lost && group.rejected == rejected) {
            Some(group) => group.names.push(name),
            None => groups.push(Group { lost, rejected, names: vec![name] }),
        }
    }
    groups
}

fn shown(Group { lost, rejected, names }: &Group, of_connector: &[&str]) -> String {
    let lost: Vec<&str> = lost.iter().copied().filter(|lost| !of_connector.contains(lost)).collect();
    let mut words = Vec::new();
    if !lost.is_empty() {
        words.push(format!("loses {}", lost.join(", ")));
    }
    if !rejected.is_empty() {
        words.push(format!("rejects {}", rejected.join(", ")));
    }
    // Angle brackets outside of code are HTML to a renderer.
    let names: Vec<String> = names.iter().map(|name| name.replace('<', "\\<")).collect();
    if words.is_empty() { names.join(", ") } else { format!("{} ({})", names.join(", "), words.join("; ")) }
}

#[test]
fn the_page_has_the_table() {
    expect_between(PAGE, BEGIN, END, &table());
}

/// What the page says in words of arrays, so that not each of them has its line.
#[test]
fn an_array_is_as_its_elements_are() {
    let mut left_out = BTreeSet::new();
    for name in TYPES.iter().copied().filter(|name| !name.ends_with("[]")) {
        for (item, modes) in wires(name) {
            match (item, Wire::of_postgres(&format!("{name}[]"), &modes[0])) {
                (Ok(item), Ok(array)) => {
                    for (_, kind) in scalars() {
                        let nulls = verdict(&Wire::Array(Box::new(Wire::Bool)), &Kind::List(Box::new(Kind::Bool)));
                        let of_items = verdict(&item, &kind).and(nulls);
                        let kind = Kind::List(Box::new(kind));
                        assert_eq!(Fit::from(verdict(&array, &kind)), Fit::from(of_items), "{name}[] into {kind}");
                    }
                }
                (Ok(_), Err(_)) => drop(left_out.insert(name)),
                (Err(item), array) => assert_eq!(array, Err(item), "{name}"),
            }
        }
    }
    let left_out: Vec<&str> = left_out.into_iter().collect();
    let expect = "bit(1), bit(8), composite, interval, money, name, point, varbit, varbit(1), varbit(8), xml";
    assert_eq!(left_out.join(", "), expect);
}
