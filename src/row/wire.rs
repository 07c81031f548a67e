//! Wire: how the values of one source column stand in JSON. It follows from the column's Postgres type and the
//! connector's modes, or from the record's schema block (`format::schema`).
//!
//! Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", data type mappings, and what was seen live.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the values of one column stand in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wire {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    /// A number, or the texts `NaN`, `Infinity`, `-Infinity`.
    Float32,
    Float64,
    /// Base64 of the unscaled integer in two's complement, big-endian; or a JSON number (`decimal.format=NUMERIC`).
    Decimal {
        scale: i32,
    },
    /// `{"scale":2,"value":"MDk="}`: the scale travels with each value.
    VariableScaleDecimal,
    /// Plain notation in a string, or a JSON number.
    DecimalText,
    /// A numeric that Debezium made a float: digits past the fifteenth are gone.
    DecimalFloat,
    /// Any text: also json, xml, enum, ltree, network types and ranges.
    Text,
    Uuid,
    Bytes(BytesForm),
    /// Base64 of the bits, little-endian, without high zero bytes. `None` where the length is not known.
    Bits {
        length: Option<u32>,
    },
    /// Days since 1970.
    Date,
    /// `2017-09-15Z`, with years of any length and sign.
    IsoDate,
    /// `2017-09-15`, as business events write it.
    CalendarDate,
    /// Since midnight. `decimals` counts the fraction digits that the source's column has.
    Time {
        unit: Unit,
        decimals: u8,
    },
    IsoTime,
    /// Wall time, counted since 1970 as if it were UTC.
    LocalTimestamp {
        unit: Unit,
        decimals: u8,
    },
    IsoTimestamp {
        decimals: u8,
    },
    /// `2026-01-01T00:00:00.123Z`, with any offset and years of any length and sign; or `infinity`, `-infinity`.
    ZonedTimestamp {
        decimals: u8,
    },
    /// `11:51:02.123789Z`
    ZonedTime,
    /// Microseconds, in which a month counts 365.25 / 12 days.
    MicroDuration,
    /// `P1Y2M3DT4H5M6.78S`
    Interval,
    /// An object of texts and nulls, written as text.
    HstoreJson,
    HstoreMap,
    /// `{"x":1.5,"y":-2.0,"wkb":…,"srid":null}`
    Point,
    /// `{"wkb":…,"srid":4326}`, where the bytes are PostGIS's EWKB.
    Geometry,
    /// An array of floats.
    Vector,
    /// `{"dimensions":4,"vector":[[1,1.0],[3,2.0]]}`
    SparseVector,
    /// Elements may be null.
    Array(Box<Wire>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BytesForm {
    Base64,
    Base64UrlSafe,
    Hex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// The connector's settings that decide how values are written. Defaults and names are Debezium's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modes {
    pub decimal_handling_mode: DecimalMode,
    pub time_precision_mode: TimeMode,
    pub binary_handling_mode: BinaryMode,
    pub interval_handling_mode: IntervalMode,
    pub hstore_handling_mode: HstoreMode,
    pub include_unknown_datatypes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMode {
    #[default]
    Precise,
    Double,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeMode {
    #[default]
    Adaptive,
    AdaptiveTimeMicroseconds,
    Connect,
    Isostring,
    Microseconds,
    Nanoseconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryMode {
    #[default]
    Bytes,
    Base64,
    Base64UrlSafe,
    Hex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMode {
    #[default]
    Numeric,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HstoreMode {
    #[default]
    Json,
    Map,
}

/// Why a Postgres type has no wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// The connector leaves columns of this type out of its records.
    Omitted,
    /// The text names no type that is known here.
    Unknown,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unsent::Omitted => "is of a type that Debezium leaves out of its records",
            Unsent::Unknown => "is of no type that Postgres or Debezium has",
        })
    }
}

/// Fraction digits of a time or timestamp that declares none.
const DECIMALS_DEFAULT: u8 = 6;
/// `money.fraction.digits`
const MONEY_SCALE: i32 = 2;

impl Wire {
    /// The form of a Postgres type, written as Postgres prints it or as people write it: `numeric(10,2)`,
    /// `timestamp(3) without time zone`, `timestamptz`, `integer[]`, `enum`.
    pub fn of_postgres(type_name: &str, modes: &Modes) -> Result<Wire, Unsent> {
        let text = type_name.trim().to_ascii_lowercase();
        if text.ends_with("[]") {
            return Wire::of_array(text.trim_end_matches("[]"), modes);
        }
        let (name, arguments) = split(&text);
        if let Some(temporal) = Wire::temporal(&name, arguments.first(), modes) {
            return Ok(temporal);
        }
        Ok(match name.as_str() {
            "bool" | "boolean" => Wire::Bool,
            "int2" | "smallint" | "smallserial" => Wire::Int16,
            "int4" | "int" | "integer" | "serial" => Wire::Int32,
            "int8" | "bigint" | "bigserial" | "oid" => Wire::Int64,
            "float4" | "real" => Wire::Float32,
            "float8" | "double precision" => Wire::Float64,
            "numeric" | "decimal" => match arguments[..] {
                // `numeric` has any number of decimals, `numeric(10)` has none.
                [] => Wire::decimal(None, modes),
                [_] => Wire::decimal(Some(0), modes),
                [_, scale, ..] => Wire::decimal(Some(scale), modes),
            },
            "money" => Wire::decimal(Some(MONEY_SCALE), modes),
            "text" | "varchar" | "character varying" | "char" | "character" | "bpchar" | "name" | "citext" | "json"
            | "jsonb" | "xml" | "enum" | "ltree" | "tsvector" | "isbn" | "inet" | "cidr" | "macaddr" | "macaddr8"
            | "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange" => Wire::Text,
            "uuid" => Wire::Uuid,
            "bytea" => Wire::Bytes(modes.binary_handling_mode.form()),
            "bit" | "bit varying" | "varbit" => match (name.as_str(), arguments.first()) {
                ("bit", None) | (_, Some(1)) => Wire::Bool,
                ("bit", Some(length)) => Wire::Bits { length: u32::try_from(*length).ok() },
                _ => Wire::Bits { length: None },
            },
            "hstore" => match modes.hstore_handling_mode {
                HstoreMode::Json => Wire::HstoreJson,
                HstoreMode::Map => Wire::HstoreMap,
            },
            "point" => Wire::Point,
            "geometry" | "geography" => Wire::Geometry,
            "vector" | "halfvec" => Wire::Vector,
            "sparsevec" => Wire::SparseVector,
            "box" | "circle" | "line" | "lseg" | "path" | "polygon" | "pg_lsn" | "tsquery" | "txid_snapshot"
            | "pg_snapshot" | "int4multirange" | "int8multirange" | "nummultirange" | "tsmultirange"
            | "tstzmultirange" | "datemultirange" | "composite" | "jsonpath" | "xid" | "xid8" | "cid" | "tid" => {
                if !modes.include_unknown_datatypes {
                    return Err(Unsent::Omitted);
                }
                Wire::Bytes(modes.binary_handling_mode.form())
            }
            _ => return Err(Unsent::Unknown),
        })
    }

    fn decimal(scale: Option<i32>, modes: &Modes) -> Wire {
        match (modes.decimal_handling_mode, scale) {
            (DecimalMode::Precise, Some(scale)) => Wire::Decimal { scale },
            (DecimalMode::Precise, None) => Wire::VariableScaleDecimal,
            (DecimalMode::Double, _) => Wire::DecimalFloat,
            (DecimalMode::String, _) => Wire::DecimalText,
        }
    }

    fn temporal(name: &str, decimals: Option<&i32>, modes: &Modes) -> Option<Wire> {
        let decimals = decimals.and_then(|digits| u8::try_from(*digits).ok()).unwrap_or(DECIMALS_DEFAULT);
        let mode = modes.time_precision_mode;
        let adaptive = matches!(mode, TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds);
        Some(match name {
            "date" if mode == TimeMode::Isostring => Wire::IsoDate,
            "date" => Wire::Date,
            "time" | "time without time zone" => match mode {
                TimeMode::Adaptive if decimals <= 3 => Wire::Time { unit: Unit::Millis, decimals },
                TimeMode::Connect => Wire::Time { unit: Unit::Millis, decimals },
                TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds | TimeMode::Microseconds => {
                    Wire::Time { unit: Unit::Micros, decimals }
                }
                TimeMode::Isostring => Wire::IsoTime,
                TimeMode::Nanoseconds => Wire::Time { unit: Unit::Nanos, decimals },
            },
            "timestamp" | "timestamp without time zone" => match mode {
                _ if adaptive && decimals <= 3 => Wire::LocalTimestamp { unit: Unit::Millis, decimals },
                TimeMode::Connect => Wire::LocalTimestamp { unit: Unit::Millis, decimals },
                TimeMode::Adaptive | TimeMode::AdaptiveTimeMicroseconds | TimeMode::Microseconds => {
                    Wire::LocalTimestamp { unit: Unit::Micros, decimals }
                }
                TimeMode::Isostring => Wire::IsoTimestamp { decimals },
                TimeMode::Nanoseconds => Wire::LocalTimestamp { unit: Unit::Nanos, decimals },
            },
            "timestamptz" | "timestamp with time zone" => Wire::ZonedTimestamp { decimals },
            "timetz" | "time with time zone" => Wire::ZonedTime,
            "interval" if modes.interval_handling_mode == IntervalMode::String => Wire::Interval,
            "interval" => Wire::MicroDuration,
            _ => return None,
        })
    }

    fn of_array(item: &str, modes: &Modes) -> Result<Wire, Unsent> {
        let (name, _) = split(item);
        match name.as_str() {
            "money" | "name" | "interval" | "varbit" | "bit varying" | "bit" | "xml" | "point" | "refcursor"
            | "composite" => Err(Unsent::Omitted),
            _ => Ok(Wire::Array(Box::new(Wire::of_postgres(item, modes)?))),
        }
    }
}

impl BinaryMode {
    pub fn form(self) -> BytesForm {
        match self {
            BinaryMode::Bytes | BinaryMode::Base64 => BytesForm::Base64,
            BinaryMode::Base64UrlSafe => BytesForm::Base64UrlSafe,
            BinaryMode::Hex => BytesForm::Hex,
        }
    }
}

/// `timestamp(3) without time zone` into `timestamp without time zone` and `[3]`. Arguments that are no numbers, as
/// those of `geometry(Point,4326)`, are left out.
fn split(text: &str) -> (String, Vec<i32>) {
    let Some((name, rest)) = text.split_once('(') else { return (text.trim().into(), Vec::new()) };
    let (arguments, tail) = rest.split_once(')').unwrap_or((rest, ""));
    let arguments = arguments.split(',').filter_map(|argument| argument.trim().parse().ok()).collect();
    let name = [name.trim(), tail.trim()].join(" ");
    (name.trim().into(), arguments)
}

impl fmt::Display for Wire {
    /// As a message names what was expected.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wire::Bool => "boolean",
            Wire::Int8 => "int8",
            Wire::Int16 => "int16",
            Wire::Int32 => "int32",
            Wire::Int64 => "int64",
            Wire::Float32 => "float32",
            Wire::Float64 => "float64",
            Wire::Decimal { .. } => "decimal in Base64",
            Wire::VariableScaleDecimal => "decimal with its scale",
            Wire::DecimalText => "decimal",
            Wire::DecimalFloat => "decimal as a float",
            Wire::Text => "text",
            Wire::Uuid => "uuid",
            Wire::Bytes(BytesForm::Base64) => "bytes in Base64",
            Wire::Bytes(BytesForm::Base64UrlSafe) => "bytes in URL-safe Base64",
            Wire::Bytes(BytesForm::Hex) => "bytes in hexadecimal digits",
            Wire::Bits { .. } => "bits in Base64",
            Wire::Date => "date in days",
            Wire::IsoDate | Wire::CalendarDate => "date",
            Wire::Time { unit: Unit::Millis, .. } => "time in milliseconds",
            Wire::Time { unit: Unit::Micros, .. } => "time in microseconds",
            Wire::Time { unit: Unit::Nanos, .. } => "time in nanoseconds",
            Wire::IsoTime => "time",
            Wire::LocalTimestamp { unit: Unit::Millis, .. } => "timestamp in milliseconds",
            Wire::LocalTimestamp { unit: Unit::Micros, .. } => "timestamp in microseconds",
            Wire::LocalTimestamp { unit: Unit::Nanos, .. } => "timestamp in nanoseconds",
            Wire::IsoTimestamp { .. } => "timestamp without zone",
            Wire::ZonedTimestamp { .. } => "timestamp",
            Wire::ZonedTime => "time with zone",
            Wire::MicroDuration => "interval in microseconds",
            Wire::Interval => "interval",
            Wire::HstoreJson => "hstore as text",
            Wire::HstoreMap => "hstore as object",
            Wire::Point => "point",
            Wire::Geometry => "geometry",
            Wire::Vector => "vector",
            Wire::SparseVector => "sparse vector",
            Wire::Array(item) => return write!(f, "array of {item}"),
        })
    }
}
