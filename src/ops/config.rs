//! `rowferry.toml` and what overrides it: `ROWFERRY_<SECTION>_<KEY>` in the environment or `.env`, then `--set` flags.
//!
//! Everything is read and checked before a port, topic or table is touched. An error names the setting, the value
//! unless it is a secret, and the mend.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use crate::plan::route::{Apply, RouteSpec};
use crate::row::Format;

/// The file that is read when `--config` names none.
pub const FILE_DEFAULT: &str = "rowferry.toml";

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub kafka: Kafka,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub sink: Sinks,
    pub consumer: Option<Consumer>,
    pub cdcconsumer: Option<Consumer>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    #[serde(default = "dead_letter_topic")]
    pub dead_letter_topic: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub postgres: Option<Postgres>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sinks {
    pub postgres: Option<Postgres>,
    pub cassandra: Option<Cassandra>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`
    pub url: Secret,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cassandra {
    /// `host:port` of some nodes; the others are found through them.
    pub nodes: Vec<String>,
    pub keyspace: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Requests under way at once, over all partitions.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: usize,
}

/// One of the two consuming binaries.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    pub group_id: String,
    pub group_instance_id: Option<String>,
    pub routes: Vec<Route>,
}

/// A topic's way into a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub topic: String,
    pub table: String,
    /// The primary key of the source table, or the id of the business event.
    pub source_key: Vec<String>,
    /// Target column = source column, where the names differ.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// Changes only, for `verify`: the table that the topic's records come from, as `schema.table`. A topic's name
    /// cannot say it: dots in it mean nothing certain, and connectors rename topics.
    pub source_table: Option<String>,
    /// Business events only: the flag column that DELETE sets.
    pub soft_delete: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub record_bytes_max: usize,
    /// Records read and not yet durable, over all partitions.
    pub held_bytes_max: usize,
    pub shutdown_grace_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or directives as `RUST_LOG` takes them.
    pub level: String,
    /// `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
    pub format: String,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Why the configuration is refused: every problem that was found, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is refused:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

fn dead_letter_topic() -> String {
    "rowferry.dead-letters".into()
}

fn in_flight_max() -> usize {
    256
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            batch_records_max: 2_000,
            batch_bytes_max: 4 << 20,
            record_bytes_max: 8 << 20,
            held_bytes_max: 8 << 20,
            shutdown_grace_seconds: 20,
        }
    }
}

impl Default for Log {
    /// The driver repeats the server's warnings, which may quote a statement with its keys.
    fn default() -> Self {
        Log { level: "info,scylla=error".into(), format: "auto".into() }
    }
}

impl Limits {
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }
}

impl Secret {
    /// The value itself, for the client that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Consumer {
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.routes.iter().map(|route| route.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    pub fn specs(&self) -> Vec<RouteSpec> {
        self.routes.iter().map(Route::spec).collect()
    }
}

impl Route {
    pub fn spec(&self) -> RouteSpec {
        let key: Vec<&str> = self.source_key.iter().map(String::as_str).collect();
        let mut spec = RouteSpec::new(&self.topic, &self.table, &key);
        spec.renamed = self.columns.clone();
        if let Some(column) = &self.soft_delete {
            spec.format = Format::Event;
            spec.apply = Apply::Events { soft_delete: column.clone() };
        }
        spec
    }
}

/// Reads the file, `.env` and the environment, and the `--set` flags over them.
pub fn load_with_env(file: &Path, sets: &[String]) -> Result<Config, ConfigError> {
    match dotenvy::dotenv() {
        Ok(_) => {}
        Err(error) if error.not_found() => {}
        Err(_) => return Err(refused(".env cannot be read: write one NAME=value a line".into())),
    }
    // A variable that is no UTF-8 cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load(file, environment, sets)
}

/// Reads the file and what overrides it. `environment` is every variable, `sets` are `section.key=value` flags.
fn load(
    file: &Path,
    environment: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| refused(format!("{}: {error}; name the configuration with --config FILE", file.display())))?;
    parse(&file.display().to_string(), &text, environment, sets)
}

/// Settings that can be overridden: section, key, and whether the value is a string, a number or a list of strings.
const OVERRIDES: [(&str, &str, Shape); 20] = [
    ("kafka", "bootstrap_servers", Shape::Text),
    ("kafka", "dead_letter_topic", Shape::Text),
    ("source.postgres", "url", Shape::Text),
    ("sink.postgres", "url", Shape::Text),
    ("sink.cassandra", "nodes", Shape::List),
    ("sink.cassandra", "keyspace", Shape::Text),
    ("sink.cassandra", "user", Shape::Text),
    ("sink.cassandra", "password", Shape::Text),
    ("sink.cassandra", "in_flight_max", Shape::Number),
    ("consumer", "group_id", Shape::Text),
    ("consumer", "group_instance_id", Shape::Text),
    ("cdcconsumer", "group_id", Shape::Text),
    ("cdcconsumer", "group_instance_id", Shape::Text),
    ("limits", "batch_records_max", Shape::Number),
    ("limits", "batch_bytes_max", Shape::Number),
    ("limits", "record_bytes_max", Shape::Number),
    ("limits", "held_bytes_max", Shape::Number),
    ("limits", "shutdown_grace_seconds", Shape::Number),
    ("log", "level", Shape::Text),
    ("log", "format", Shape::Text),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Number,
    List,
}

fn parse(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error| in_file(name, text, &error))?;
    let mut problems = Vec::new();
    for (variable, value) in environment {
        let Some(path) = variable.strip_prefix("ROWFERRY_") else { continue };
        let found = OVERRIDES.iter().find(|(section, key, _)| variable_name(section, key) == path);
        match found {
            Some((section, key, shape)) => set(&mut table, section, key, *shape, &value, &variable, &mut problems),
            None => problems.push(format!("{variable} in the environment names no setting: unset it or correct it")),
        }
    }
    for flag in sets {
        let setting = flag.split_once('=').and_then(|(path, value)| {
            let (section, key) = path.rsplit_once('.')?;
            let (_, _, shape) = OVERRIDES.iter().find(|(known, name, _)| *known == section && *name == key)?;
            Some((section, key, *shape, value))
        });
        match setting {
            Some((section, key, shape, value)) => set(&mut table, section, key, shape, value, "--set", &mut problems),
            None => problems.push(format!(
                "--set {} names no setting: write section.key=value, as in --set kafka.bootstrap_servers=host:9092",
                flag.split_once('=').map_or(flag.as_str(), |(path, _)| path)
            )),
        }
    }
    let config = if table == text.parse::<Table>().unwrap_or_default() {
        // Unchanged, so that an error can name the line.
        toml::from_str::<Config>(text).map_err(|error| in_file(name, text, &error))
    } else {
        Value::Table(table).try_into::<Config>().map_err(|error| refused(format!("{name}: {}", error.message())))
    };
    match config {
        Ok(config) => {
            check(&config, &mut problems);
            if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
        }
        Err(ConfigError(more)) => Err(ConfigError(problems.into_iter().chain(more).collect())),
    }
}

fn variable_name(section: &str, key: &str) -> String {
    format!("{section}_{key}").replace('.', "_").to_uppercase()
}

fn set(
    table: &mut Table,
    section: &str,
    key: &str,
    shape: Shape,
    text: &str,
    origin: &str,
    problems: &mut Vec<String>,
) {
    let value = match shape {
        Shape::Text => Value::String(text.into()),
        Shape::List => Value::Array(text.split(',').map(|item| Value::String(item.trim().into())).collect()),
        Shape::Number => match text.parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                problems.push(format!("{section}.{key} = \"{text}\" ({origin}): give a whole number"));
                return;
            }
        },
    };
    let mut at = table;
    for part in section.split('.') {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        match next.as_table_mut() {
            Some(next) => at = next,
            None => {
                problems.push(format!("{part} in the file is no section: write it as [{section}]"));
                return;
            }
        }
    }
    at.insert(key.into(), value);
}

fn check(config: &Config, problems: &mut Vec<String>) {
    let servers = &config.kafka.bootstrap_servers;
    let is_address = |server: &str| {
        server.trim().rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !servers.split(',').all(is_address) {
        problems.push(format!("kafka.bootstrap_servers = \"{servers}\": give host:port, separated by commas"));
    }
    let limits = &config.limits;
    for (name, value) in [
        ("batch_records_max", limits.batch_records_max),
        ("batch_bytes_max", limits.batch_bytes_max),
        ("record_bytes_max", limits.record_bytes_max),
        ("held_bytes_max", limits.held_bytes_max),
    ] {
        if value == 0 {
            problems.push(format!("limits.{name} = 0: nothing could ever be taken; give at least 1"));
        }
    }
    for (name, consumer) in [("consumer", &config.consumer), ("cdcconsumer", &config.cdcconsumer)] {
        let Some(consumer) = consumer else { continue };
        if consumer.routes.is_empty() {
            problems.push(format!("{name} has no routes: add a [[{name}.routes]]"));
        }
        let events = |route: &&Route| route.soft_delete.is_some() != (name == "consumer");
        for route in consumer.routes.iter().filter(events) {
            problems.push(format!(
                "{name}.routes, {} → {}: `soft_delete` is what business events need, and what a mirrored table has \
                 not: {}",
                route.topic,
                route.table,
                if name == "consumer" { "name the flag column" } else { "remove it" }
            ));
        }
        for route in consumer.routes.iter().filter(|route| name == "consumer" && route.source_table.is_some()) {
            problems.push(format!(
                "{name}.routes, {} → {}: `source_table` is for mirrored tables, and events come from none: remove it",
                route.topic, route.table
            ));
        }
    }
    if let Some(cassandra) = &config.sink.cassandra {
        if cassandra.nodes.is_empty() || !cassandra.nodes.iter().all(|node| is_address(node)) {
            problems
                .push(format!("sink.cassandra.nodes = {:?}: give host:port for at least one node", cassandra.nodes));
        }
        if cassandra.in_flight_max == 0 {
            problems.push("sink.cassandra.in_flight_max = 0: nothing could ever be written; give at least 1".into());
        }
        if cassandra.user.is_some() != cassandra.password.is_some() {
            problems.push("sink.cassandra: give user and password, or neither".into());
        }
    }
    if !matches!(config.log.format.as_str(), "auto" | "text" | "json") {
        problems.push(format!("log.format = \"{}\": give auto, text or json", config.log.format));
    }
}

/// The place of an error, without the line itself, which may hold a secret.
fn in_file(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
    let place = line.map_or_else(|| name.to_string(), |line| format!("{name} line {line}"));
    refused(format!("{place}: {}", error.message().lines().next().unwrap_or_default()))
}

fn refused(problem: String) -> ConfigError {
    ConfigError(vec![problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [kafka]
        bootstrap_servers = "127.0.0.1:9092"
        [sink.postgres]
        url = "postgres://u:hunter2@h/db"
        [consumer]
        group_id = "g"
        routes = [{ topic = "users", table = "users", source_key = ["user_id"], soft_delete = "is_deleted" }]
    "#;

    fn with(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        parse("rowferry.toml", text, environment, &sets)
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let variables = [("ROWFERRY_KAFKA_BOOTSTRAP_SERVERS", "a:1"), ("ROWFERRY_LIMITS_BATCH_RECORDS_MAX", "7")];
        let config = with(FILE, &variables, &["kafka.bootstrap_servers=b:2"]).expect("it is complete");
        assert_eq!((config.kafka.bootstrap_servers.as_str(), config.limits.batch_records_max), ("b:2", 7));
        let config = with(
            FILE,
            &[("ROWFERRY_SINK_CASSANDRA_NODES", "a:1, b:2"), ("ROWFERRY_SINK_CASSANDRA_KEYSPACE", "k")],
            &[],
        );
        assert_eq!(config.expect("it is complete").sink.cassandra.expect("it is set").nodes, ["a:1", "b:2"]);
    }

    #[test]
    fn errors_name_the_setting_and_the_mend() {
        let told = |text: &str, environment: &[(&str, &str)], sets: &[&str]| {
            with(text, environment, sets).expect_err("it is wrong").0.join("\n")
        };
        insta::assert_snapshot!(told(&FILE.replace("127.0.0.1:9092", "nowhere"), &[], &[]), @r#"kafka.bootstrap_servers = "nowhere": give host:port, separated by commas"#);
        insta::assert_snapshot!(told(&FILE.replace("group_id", "group"), &[], &[]), @"rowferry.toml line 7: unknown field `group`, expected one of `group_id`, `group_instance_id`, `routes`");
        insta::assert_snapshot!(told(FILE, &[("ROWFERRY_KAFKA_BOOTSTRAP", "x")], &["limits.batch_records_max=many", "nothing=1"]), @r#"
        ROWFERRY_KAFKA_BOOTSTRAP in the environment names no setting: unset it or correct it
        limits.batch_records_max = "many" (--set): give a whole number
        --set nothing names no setting: write section.key=value, as in --set kafka.bootstrap_servers=host:9092
        "#);
        insta::assert_snapshot!(told(&FILE.replace(", soft_delete = \"is_deleted\"", ""), &[], &["limits.held_bytes_max=0"]), @r"
        limits.held_bytes_max = 0: nothing could ever be taken; give at least 1
        consumer.routes, users → users: `soft_delete` is what business events need, and what a mirrored table has not: name the flag column
        ");
        insta::assert_snapshot!(told(&FILE.replace(", soft_delete", ", source_table = \"public.users\", soft_delete"), &[], &[]), @"consumer.routes, users → users: `source_table` is for mirrored tables, and events come from none: remove it");
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = with(FILE, &[], &[]).expect("it is complete");
        assert!(!format!("{config:?}").contains("hunter2"));
        for broken in
            [FILE.replace("@h/db\"", "@h/db"), FILE.replace("url = ", "url = 1 # "), FILE.replace("url", "uri")]
        {
            let error = with(&broken, &[], &[]).expect_err("it is broken").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
