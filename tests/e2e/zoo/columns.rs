//! The columns of the zoo: for each target column the source column that feeds it, its CQL type, and what Postgres
//! itself says that must stand there, as SQL. Nothing here passes through any code of ours.

use super::setting::{Decimals, Intervals, Setting, Times};

/// How what Cassandra holds is compared with what the SQL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Text,
    /// Two texts of one 32-bit or 64-bit float.
    Float32,
    Float64,
    /// Two texts of one JSON document.
    Json,
}

/// A column of the target table.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: &'static str,
    pub source: &'static str,
    pub cql: &'static str,
    /// What the route says about it, beside its source: `lossy = true`.
    pub policy: &'static str,
    pub compared: Compared,
    /// What is expected, in the form of `zoo::cql_text`.
    pub sql: String,
}

/// Source columns with their Postgres types, as a person writes them into `types`.
pub const SOURCE: [(&str, &str); 59] = [
    ("id", "bigint"),
    ("b", "boolean"),
    ("i2", "smallint"),
    ("i4", "int"),
    ("i8", "bigint"),
    ("f4", "real"),
    ("f8", "double precision"),
    ("n", "numeric"),
    ("n10_2", "numeric(10,2)"),
    ("n38_10", "numeric(38,10)"),
    ("m", "money"),
    ("t", "text"),
    ("v", "varchar(20)"),
    ("c", "char(5)"),
    ("ci", "citext"),
    ("nm", "name"),
    ("d", "date"),
    ("ts", "timestamp"),
    ("ts0", "timestamp(0)"),
    ("ts3", "timestamp(3)"),
    ("tz", "timestamptz"),
    ("tm", "time"),
    ("tm3", "time(3)"),
    ("tmtz", "timetz"),
    ("iv", "interval"),
    ("by", "bytea"),
    ("bt1", "bit(1)"),
    ("bt8", "bit(8)"),
    ("vb", "varbit(12)"),
    ("u", "uuid"),
    ("tu", "uuid"),
    ("j", "json"),
    ("jb", "jsonb"),
    ("x", "xml"),
    ("h", "hstore"),
    ("h2", "hstore"),
    ("lt", "ltree"),
    ("e", "enum"),
    ("dm", "int"),
    ("ip", "inet"),
    ("ip2", "inet"),
    ("cd", "cidr"),
    ("mc", "macaddr"),
    ("mc8", "macaddr8"),
    ("pt", "point"),
    ("ir", "int4range"),
    ("tr", "tstzrange"),
    ("oi", "oid"),
    ("ai", "int[]"),
    ("ai2", "int[]"),
    ("af", "real[]"),
    ("at", "text[]"),
    ("an", "numeric(10,2)[]"),
    ("an2", "numeric(10,2)[]"),
    ("atz", "timestamptz[]"),
    ("au", "uuid[]"),
    ("am", "enum[]"),
    ("ad", "date[]"),
    ("aj", "jsonb[]"),
];

fn target(name: &'static str, source: &'static str, cql: &'static str, sql: impl Into<String>) -> Target {
    Target { name, source, cql, policy: "", compared: Compared::Text, sql: sql.into() }
}

/// A column of the same name whose text Postgres and Cassandra write alike.
fn plain(name: &'static str, cql: &'static str) -> Target {
    target(name, name, cql, format!("{name}::text"))
}

impl Target {
    fn with(mut self, policy: &'static str) -> Target {
        self.policy = policy;
        self
    }

    fn by(mut self, compared: Compared) -> Target {
        self.compared = compared;
        self
    }
}

const LOSSY: &str = "lossy = true";
const OR_NULL: &str = "unrepresentable = \"null\"";
const LOSSY_OR_NULL: &str = "lossy = true, unrepresentable = \"null\"";

/// All target columns under a connector's settings.
pub fn targets(setting: &Setting) -> Vec<Target> {
    let mut targets = scalars();
    targets.extend(numbers(setting));
    targets.extend(times(setting));
    targets.extend(nested(setting));
    targets
}

fn scalars() -> Vec<Target> {
    vec![
        plain("id", "bigint"),
        plain("b", "boolean"),
        target("b_text", "b", "text", "b::text"),
        plain("i2", "smallint"),
        target("i2_wide", "i2", "int", "i2::text"),
        plain("i4", "int"),
        plain("i8", "bigint"),
        target("i8_varint", "i8", "varint", "i8::text"),
        target("i8_text", "i8", "text", "i8::text"),
        plain("f4", "float").by(Compared::Float32),
        target("f4_wide", "f4", "double", "f4::float8::text").by(Compared::Float64),
        plain("f8", "double").by(Compared::Float64),
        plain("t", "text"),
        plain("v", "text"),
        // A char(n) is blank-padded on the wire, and Postgres's cast to text takes the blanks away.
        target("c", "c", "text", "rpad(c::text, 5)"),
        target("c_ascii", "c", "ascii", "rpad(c::text, 5)"),
        plain("ci", "text"),
        // Debezium 3.6 sends null for a name in whatever it streams.
        target("nm", "nm", "text", "CASE WHEN id < 10 THEN nm::text END"),
        target("by", "by", "blob", "encode(by, 'hex')"),
        target("bt1", "bt1", "boolean", "(bt1 = B'1')::text"),
        plain("bt8", "text"),
        target("vb", "vb", "text", "ltrim(vb::text, '0')").with(LOSSY),
        plain("u", "uuid"),
        target("u_text", "u", "text", "u::text"),
        plain("tu", "timeuuid"),
        plain("j", "text"),
        plain("jb", "text"),
        plain("x", "text"),
        plain("lt", "text"),
        plain("e", "text"),
        plain("dm", "int"),
        plain("ip", "text"),
        target("ip2", "ip2", "inet", "host(ip2)"),
        plain("cd", "text"),
        plain("mc", "text"),
        plain("mc8", "text"),
        plain("ir", "text"),
        plain("tr", "text"),
        plain("oi", "bigint"),
    ]
}

fn numbers(setting: &Setting) -> Vec<Target> {
    if setting.decimals == Decimals::Double {
        let float = |name, sql: &str| target(name, name, "double", sql).with(LOSSY).by(Compared::Float64);
        return vec![
            float("n", "n::float8::text"),
            float("n10_2", "n10_2::float8::text"),
            float("n38_10", "n38_10::float8::text"),
            float("m", "m::numeric::float8::text"),
        ];
    }
    vec![
        // NaN arrives as null in precise mode, and is made null by policy in string mode.
        target("n", "n", "decimal", "trim_scale(nullif(n, 'NaN'))::text").with(OR_NULL),
        target("n10_2", "n10_2", "decimal", "trim_scale(n10_2)::text"),
        target("n10_2_text", "n10_2", "text", "n10_2::text"),
        target("n38_10", "n38_10", "decimal", "trim_scale(n38_10)::text"),
        target("m", "m", "decimal", "trim_scale(m::numeric)::text"),
    ]
}

fn times(setting: &Setting) -> Vec<Target> {
    let millis = |column: &str| {
        format!("CASE WHEN isfinite({column}) THEN floor(extract(epoch FROM {column}) * 1000)::bigint::text END")
    };
    // Cassandra keeps nanoseconds; the connector's `connect` mode keeps milliseconds.
    let nanos = |column: &str| match setting.times {
        Times::Connect => format!("(floor(extract(epoch FROM {column}) * 1000) * 1000000)::bigint::text"),
        Times::Adaptive | Times::Isostring => format!("(extract(epoch FROM {column}) * 1000000000)::bigint::text"),
    };
    // 24:00 is made null by policy, where it can be told: ISO texts say 00:00 for it.
    let tm = match setting.times {
        Times::Isostring => format!("CASE WHEN tm = '24:00' THEN '0' ELSE {} END", nanos("tm")),
        Times::Adaptive | Times::Connect => format!("CASE WHEN tm < '24:00' THEN {} END", nanos("tm")),
    };
    let (months, days) = ("(extract(year FROM iv) * 12 + extract(month FROM iv))", "extract(day FROM iv)");
    let micros = "((extract(hour FROM iv) * 3600 + extract(minute FROM iv) * 60) * 1000000 + \
                    extract(microseconds FROM iv))";
    let interval = match setting.intervals {
        // A month counts 365.25 / 12 days.
        Intervals::Numeric => target(
            "iv",
            "iv",
            "bigint",
            format!("({months} * 2629800000000 + {days} * 86400000000 + {micros})::bigint::text"),
        )
        .with(LOSSY),
        Intervals::Text => target(
            "iv",
            "iv",
            "duration",
            format!("{months}::int || ',' || {days}::int || ',' || ({micros} * 1000)::bigint"),
        ),
    };
    vec![
        // Debezium 3.6 forgets the BC of a date in a snapshot.
        target(
            "d",
            "d",
            "date",
            "CASE WHEN id < 10 AND d < date '0001-01-01' AND isfinite(d) \
                  THEN (make_date(-extract(year FROM d)::int, extract(month FROM d)::int, extract(day FROM d)::int) \
                        - date '1970-01-01')::text \
                  WHEN isfinite(d) THEN (d - date '1970-01-01')::text END",
        )
        .with(OR_NULL),
        target("ts", "ts", "timestamp", millis("ts")).with(LOSSY_OR_NULL),
        target("ts0", "ts0", "timestamp", millis("ts0")),
        target("ts3", "ts3", "timestamp", millis("ts3")),
        target("tz", "tz", "timestamp", millis("tz")).with(LOSSY_OR_NULL),
        target("tm", "tm", "time", tm).with(if setting.times == Times::Connect { LOSSY_OR_NULL } else { OR_NULL }),
        target("tm3", "tm3", "time", nanos("tm3")),
        target("tmtz", "tmtz", "text", "(tmtz AT TIME ZONE 'UTC')::time::text || 'Z'"),
        interval,
    ]
}

fn nested(setting: &Setting) -> Vec<Target> {
    let listed = |column: &str| format!("'[' || array_to_string({column}, ',') || ']'");
    let json =
        |name: &'static str| target(name, name, "text", format!("array_to_json({name})::text")).by(Compared::Json);
    let pairs = "(SELECT '{' || string_agg(key || '=' || value, ',' ORDER BY key) || '}' FROM each(h2))";
    let each = |column: &str, sql: &str| {
        format!(
            "(SELECT '[' || string_agg({sql}, ',' ORDER BY place) || ']' \
                    FROM unnest({column}) WITH ORDINALITY AS item(item, place))"
        )
    };
    let mut targets = vec![
        target("h", "h", "text", "hstore_to_json(h)::text").by(Compared::Json),
        target("h2", "h2", "frozen<map<text, text>>", pairs),
        target("h2_open", "h2", "map<text, text>", pairs),
        target("pt", "pt", "frozen<tuple<double, double>>", "'[' || pt[0] || ',' || pt[1] || ']'"),
        target("pt_udt", "pt", "frozen<place>", "'{x=' || pt[0] || ',y=' || pt[1] || '}'"),
        json("ai"),
        target("ai2", "ai2", "frozen<list<int>>", listed("ai2")),
        target(
            "ai2_set",
            "ai2",
            "set<int>",
            "(SELECT '[' || string_agg(DISTINCT item::text, ',' ORDER BY item::text) || ']' FROM unnest(ai2) AS item)",
        )
        .with(LOSSY),
        target("af", "af", "vector<float, 3>", listed("af")),
        json("at"),
        target(
            "atz",
            "atz",
            "frozen<list<timestamp>>",
            each("atz", "floor(extract(epoch FROM item) * 1000)::bigint::text"),
        )
        .with(LOSSY),
        target("au", "au", "frozen<list<uuid>>", listed("au")),
        target("am", "am", "frozen<list<text>>", listed("am")),
        target("ad", "ad", "frozen<list<date>>", each("ad", "(item - date '1970-01-01')::text")),
        target("aj", "aj", "frozen<list<text>>", listed("aj")),
    ];
    if setting.decimals != Decimals::Double {
        targets.push(json("an"));
        targets.push(target("an2", "an2", "frozen<list<decimal>>", each("an2", "trim_scale(item)::text")));
    }
    targets
}
