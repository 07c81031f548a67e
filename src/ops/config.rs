//! `rowferry.toml` and what overrides it: `ROWFERRY_<SECTION>_<KEY>` in the environment or `.env`, then `--set` flags.
//!
//! Everything is read and checked before a port, topic or table is touched. An error names the setting, the value
//! unless it is a secret, and the mend.

pub mod columns;
pub mod routes;
pub mod ttl;
pub mod guard;
pub mod admin;
mod properties;
mod secrets;
#[cfg(test)]
mod secrets_tests;
pub mod load;
mod nearest;
#[cfg(test)]
mod page_tests;
pub mod pattern;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kafka::access::Access;
use crate::ops::config::admin::Admin;
use crate::ops::config::properties::Properties;
use crate::ops::config::routes::{Debezium, Route};
use crate::pipeline::breaker::BreakerLimits;
use crate::plan::route::RouteSpec;
use crate::sink::cassandra::tls::Tls;
use crate::sink::postgres;

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize, Serialize)]
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

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Where refused records go. It must exist, must not be compacted, and must be read by no route.
    #[serde(default = "dead_letter_topic")]
    pub dead_letter_topic: String,
    /// For librdkafka, under its own names.
    #[serde(default)]
    pub properties: Properties,
    /// The same, as paths of the files that hold the values. Once read, they are among the properties.
    #[serde(default)]
    pub properties_from_files: Properties,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub postgres: Option<Postgres>,
    /// How the connector writes its records, where a topic's routes do not say otherwise.
    #[serde(default)]
    pub debezium: Debezium,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sinks {
    pub postgres: Option<Postgres>,
    pub cassandra: Option<Cassandra>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`. Once read, it is there and has the password.
    #[serde(default, serialize_with = "secrets::without_password")]
    pub url: Secret,
    /// A file that holds the url, in its place.
    pub url_file: Option<PathBuf>,
    /// For a url without one.
    pub password: Option<Secret>,
    /// A file that holds the password, in its place.
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cassandra {
    /// `host:port` of some nodes; the others are found through them.
    pub nodes: Vec<String>,
    /// The keyspace of all tables. `cdcconsumer ddl` prints the CQL that creates it.
    pub keyspace: String,
    /// For nodes that want a login; with it a password.
    pub user: Option<String>,
    /// Of the user.
    pub password: Option<Secret>,
    /// A file that holds the password, in its place.
    pub password_file: Option<PathBuf>,
    /// TLS with the nodes; without this section there is none.
    pub tls: Option<CassandraTls>,
    /// Requests under way at once, over all partitions.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: usize,
}

/// TLS with the nodes: without this section there is none.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CassandraTls {
    /// Certificates in PEM that are trusted; those of the system without it.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, for nodes that want one; with it its key.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
    /// The name that the nodes' certificates have, where that is not the name or address they are reached by.
    pub server_name: Option<String>,
    /// Believes any certificate. For a test; a run warns of it.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// One of the two consuming binaries.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The consumer group: members with the same one share the partitions, and its offsets are where they stand.
    pub group_id: String,
    /// Makes the member static, so that a restart within 10 s moves no partition. Different for each member.
    pub group_instance_id: Option<String>,
    /// How partitions change hands, which all members of a group must agree in: one by one, or all at once. Static members
    /// are eager when it is not given, and others cooperative.
    pub rebalance_protocol: Option<RebalanceProtocol>,
    /// How often new topics are looked for, where routes have patterns.
    #[serde(default = "topics_interval_seconds")]
    pub topics_interval_seconds: u64,
    /// The page, metrics and health of the binary; see below.
    #[serde(default)]
    pub admin: Admin,
    /// From topics to tables; see below.
    pub routes: Vec<Route>,
}

/// How partitions change hands. All members of a group must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RebalanceProtocol {
    /// One by one, while the others go on.
    Cooperative,
    /// All are given up and handed out again.
    Eager,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Records of a partition that are written together.
    pub batch_records_max: usize,
    /// Bytes of such records.
    pub batch_bytes_max: usize,
    /// The largest record that is applied; larger ones are refused unread (`too_large`).
    pub record_bytes_max: usize,
    /// Records read and not yet durable, over all partitions.
    pub held_bytes_max: usize,
    /// How long a run that is asked to stop may take to finish what it is writing.
    pub shutdown_grace_seconds: u64,
    /// Refused records of a partition with no good one between them, before it stops; 0 is no limit.
    pub dead_letters_in_a_row_max: usize,
    /// Dead letters of a partition within any minute, before it stops; 0 is no limit.
    pub dead_letters_per_minute_max: usize,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or directives as `RUST_LOG` takes them.
    pub level: String,
    /// `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
    pub format: String,
}

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A value that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// Why the configuration is refused: every problem that was found, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is refused:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

fn dead_letter_topic() -> String {
    "rowferry.dead-letters".into()
}

/// A topic that newly matches a pattern waits so long at most.
const TOPICS_INTERVAL_SECONDS: u64 = 60;

fn topics_interval_seconds() -> u64 {
    TOPICS_INTERVAL_SECONDS
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
            dead_letters_in_a_row_max: 1_000,
            // A backlog is read so fast that a minute of it says nothing: whoever wants this limit knows the rate.
            dead_letters_per_minute_max: 0,
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

    pub fn breaker(&self) -> BreakerLimits {
        let (in_a_row_max, per_minute_max) = (self.dead_letters_in_a_row_max, self.dead_letters_per_minute_max);
        BreakerLimits { in_a_row_max, per_minute_max }
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
        f.write_str(MASK)
    }
}

impl Config {
    /// What the configuration turns off of TLS and its checks, for the log at every start.
    pub fn warnings(&self) -> Vec<String> {
        let urls = [("source.postgres", &self.source.postgres), ("sink.postgres", &self.sink.postgres)];
        let urls = urls.into_iter().filter_map(|(section, postgres)| {
            let warning = postgres::url::check(postgres.as_ref()?.url.reveal()).ok().flatten()?;
            Some(format!("{section}.url: {warning}"))
        });
        let cassandra = self.sink.cassandra.as_ref().and_then(Cassandra::tls).filter(|tls| tls.insecure_skip_verify);
        let cassandra =
            cassandra.map(|_| "sink.cassandra.tls.insecure_skip_verify = true: anyone may pose as a node".to_string());
        let consumers = [("consumer", &self.consumer), ("cdcconsumer", &self.cdcconsumer)];
        let admins = consumers.into_iter().filter_map(|(name, consumer)| consumer.as_ref()?.admin.warning(name));
        self.kafka.access().warnings().into_iter().chain(urls).chain(cassandra).chain(admins).collect()
    }
}

impl Kafka {
    pub fn access(&self) -> Access {
        Access { bootstrap_servers: self.bootstrap_servers.clone(), properties: self.properties.0.clone() }
    }
}

impl Cassandra {
    /// TLS as the sink takes it.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.clone().map(|tls| Tls {
            ca_file: tls.ca_file,
            cert_file: tls.cert_file,
            key_file: tls.key_file,
            server_name: tls.server_name,
            insecure_skip_verify: tls.insecure_skip_verify,
        })
    }
}

impl Consumer {
    /// Cooperative, but for static members. A cooperative rebalance has two rounds, and a static member that ends between
    /// them and comes back is given what it had without the second: what was taken from it would belong to nobody.
    pub fn rebalance_protocol(&self) -> RebalanceProtocol {
        match (self.rebalance_protocol, &self.group_instance_id) {
            (Some(protocol), _) => protocol,
            (None, Some(_)) => RebalanceProtocol::Eager,
            (None, None) => RebalanceProtocol::Cooperative,
        }
    }

    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.routes.iter().map(|route| route.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The routes of business events as they are resolved, in the order of the file.
    pub fn specs(&self, source: &Source) -> Vec<RouteSpec> {
        self.routes.iter().map(|route| route.events(&source.debezium)).collect()
    }
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
        check_consumer(name, consumer, problems);
    }
    if let Some(cassandra) = &config.sink.cassandra {
        if cassandra.nodes.is_empty() || !cassandra.nodes.iter().all(|node| is_address(node)) {
            problems
                .push(format!("sink.cassandra.nodes = {:?}: give host:port for at least one node", cassandra.nodes));
        }
        if cassandra.in_flight_max == 0 {
            problems.push("sink.cassandra.in_flight_max = 0: nothing could ever be written; give at least 1".into());
        }
        if cassandra.user.is_some() != (cassandra.password.is_some() || cassandra.password_file.is_some()) {
            problems.push("sink.cassandra: give user and password, or neither".into());
        }
    }
    check_connections(config, problems);
    if !matches!(config.log.format.as_str(), "auto" | "text" | "json") {
        problems.push(format!("log.format = \"{}\": give auto, text or json", config.log.format));
    }
}

fn check_consumer(name: &str, consumer: &Consumer, problems: &mut Vec<String>) {
    if consumer.routes.is_empty() {
        problems.push(format!("{name} has no routes: add a [[{name}.routes]]"));
    }
    if consumer.group_instance_id.is_some() && consumer.rebalance_protocol() == RebalanceProtocol::Cooperative {
        problems.push(format!(
            "{name}.rebalance_protocol = \"cooperative\": a member with a group_instance_id that is restarted during such a \
             rebalance can leave partitions to nobody; remove one of the two, on all members"
        ));
    }
    if consumer.topics_interval_seconds == 0 {
        problems.push(format!("{name}.topics_interval_seconds = 0: give at least 1"));
    }
    problems.extend(consumer.admin.problems().map(|problem| format!("{name}.admin.{problem}")));
    for route in &consumer.routes {
        let place = format!("{name}.routes, {} → {}", route.topics(), route.table);
        problems.extend(route.problems().into_iter().map(|problem| format!("{place}: {problem}")));
    }
    let lacks_flag = |route: &&Route| route.soft_delete.is_none() && name == "consumer";
    for route in consumer.routes.iter().filter(lacks_flag) {
        problems.push(format!(
            "{name}.routes, {} → {}: business events need a `soft_delete`: name the flag column",
            route.topic, route.table,
        ));
    }
    for route in consumer.routes.iter().filter(|route| name == "cdcconsumer" && route.modified_at.is_some()) {
        problems.push(format!(
            "{name}.routes, {} → {}: `modified_at` is for business events, and changes have versions: remove it",
            route.topic, route.table
        ));
    }
    for (route, setting) in consumer.routes.iter().flat_map(|route| route.for_changes().map(move |it| (route, it))) {
        if name == "consumer" {
            problems.push(format!(
                "{name}.routes, {} → {}: `{setting}` is for mirrored tables, and events come from none: remove it",
                route.topic, route.table
            ));
        }
    }
}

/// How the three systems are reached, as far as that can be seen without them.
fn check_connections(config: &Config, problems: &mut Vec<String>) {
    problems.extend(config.kafka.access().problems());
    for (section, postgres) in [("source.postgres", &config.source.postgres), ("sink.postgres", &config.sink.postgres)]
    {
        // One that is not there was told of when the files were read.
        let url = postgres.as_ref().map(|postgres| postgres.url.reveal()).filter(|url| !url.is_empty());
        if let Some(problem) = url.and_then(|url| postgres::url::check(url).err()) {
            problems.push(format!("{section}.url: {problem}"));
        }
    }
    if let Some(problem) = config.sink.cassandra.as_ref().and_then(Cassandra::tls).and_then(|tls| tls.problem()) {
        problems.push(format!("sink.cassandra.tls.{problem}"));
    }
}
