//! The connector settings under which the zoo is replicated.

/// What one connector says, and what the route has to say about it.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: &'static str,
    /// Further members of the connector's configuration, each behind a comma.
    pub connector: &'static str,
    /// The same for `[source.debezium]`.
    pub debezium: &'static str,
    pub format: &'static str,
    pub known_by: KnownBy,
    pub decimals: Decimals,
    pub times: Times,
    pub intervals: Intervals,
}

/// Where `cdcconsumer` learns the types of the source's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// `types` lines in the route.
    Types,
    /// Postgres's catalog.
    Catalog,
    /// The schema block of each record.
    Schemas,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimals {
    Exact,
    Double,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Adaptive,
    Connect,
    Isostring,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervals {
    Numeric,
    Text,
}

const DEFAULTS: Setting = Setting {
    name: "plain",
    connector: r#", "decimal.handling.mode": "precise""#,
    debezium: "",
    format: "envelope",
    known_by: KnownBy::Types,
    decimals: Decimals::Exact,
    times: Times::Adaptive,
    intervals: Intervals::Numeric,
};

/// Debezium's defaults, records without schema blocks, types written by hand.
pub const PLAIN: Setting = DEFAULTS;

/// The same with schema blocks, which say everything.
pub const SCHEMAS: Setting = Setting {
    name: "schemas",
    connector: r#", "decimal.handling.mode": "precise", "key.converter.schemas.enable": "true",
                    "value.converter.schemas.enable": "true""#,
    debezium: "schemas = true",
    known_by: KnownBy::Schemas,
    ..DEFAULTS
};

/// Flattened records, as many people have them.
pub const FLAT: Setting = Setting {
    name: "flat",
    connector: r#", "decimal.handling.mode": "precise", "transforms": "unwrap",
                    "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
                    "transforms.unwrap.delete.tombstone.handling.mode": "rewrite",
                    "transforms.unwrap.add.fields": "op,lsn""#,
    format: "flat",
    known_by: KnownBy::Catalog,
    ..DEFAULTS
};

/// Everything as text, and keys with a schema block.
pub const TEXTS: Setting = Setting {
    name: "texts",
    connector: r#", "decimal.handling.mode": "string", "time.precision.mode": "isostring",
                    "binary.handling.mode": "hex", "interval.handling.mode": "string",
                    "hstore.handling.mode": "map", "key.converter.schemas.enable": "true""#,
    debezium: "decimal_handling_mode = \"string\"\ntime_precision_mode = \"isostring\"\n\
               binary_handling_mode = \"hex\"\ninterval_handling_mode = \"string\"\nhstore_handling_mode = \"map\"",
    known_by: KnownBy::Catalog,
    times: Times::Isostring,
    intervals: Intervals::Text,
    ..DEFAULTS
};

/// What loses most: floats for decimals, milliseconds for times.
pub const LOSSY: Setting = Setting {
    name: "lossy",
    connector: r#", "decimal.handling.mode": "double", "time.precision.mode": "connect",
                    "binary.handling.mode": "base64-url-safe""#,
    debezium: "decimal_handling_mode = \"double\"\ntime_precision_mode = \"connect\"\n\
               binary_handling_mode = \"base64-url-safe\"",
    decimals: Decimals::Double,
    times: Times::Connect,
    ..DEFAULTS
};
