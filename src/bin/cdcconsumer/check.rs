//! `cdcconsumer check`: the configuration against the live servers, and the same judgement before every run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rowferry::kafka::describe::{self, Asked, Described, Presence, TopicFacts};
use rowferry::kafka::probe;
use rowferry::kafka::sample::{self, Place, Sample};
use rowferry::ops::check::{Facts, Finding, Millis, Severity, judge, judge_unread, mapping, sample as look};
use rowferry::ops::config::routes::Route;
use rowferry::ops::config::{Config, Consumer};
use rowferry::ops::service::{Exit, until_there};
use rowferry::plan::route::{RouteSpec, Routes};
use rowferry::row::wire::Wire;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::Cluster;
use rowferry::sink::cassandra::describe::TableFacts;
use rowferry::sink::postgres::{self, Postgres};
use tokio::sync::watch;

use crate::seek::kept;
use crate::topics::of_topics;
use crate::{cassandra_settings, resolve, sections, with_source};

/// Checks the configuration against the live servers, and says everything that is or may go wrong.
///
/// Connects to Kafka, Cassandra and, where it is configured, Postgres; changes nothing and does not join the group, so
/// it may run beside a pipeline that works. For each route it prints the topic, what its newest records are, where the
/// group stands, and every column with both types, what is checked of its values and what is lost. Then come problems,
/// each with its mend: a run refuses them, or stops the partition that they name. Warnings are risks: a run logs them.
///
/// A topic that does not exist yet is a warning, because a run waits for it.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 nothing is wrong, warnings aside; 64 there are problems; 1 a server did not answer.

Examples:
  cdcconsumer check
  cdcconsumer check --config staging.toml --set kafka.bootstrap_servers=127.0.0.1:9092"
)]
pub struct Flags {}

/// How long a server that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the newest records are waited for.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(5);
/// Of each topic, so many partitions are looked into, and so many records of each.
const SAMPLE_PARTITIONS_MAX: usize = 6;
const SAMPLE_RECORDS_MAX: i64 = 10;

/// Before a run: refuses what it could not do, and logs what may go wrong.
pub async fn before_run(
    config: &Config,
    consumer: &Consumer,
    routes: &Routes,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let names = tables_of(routes);
    let (kafka, tables) = tokio::join!(described(config, consumer), cluster.table_facts(&names));
    let (kafka, tables) = (kafka?, tables?);
    let findings = judge(&facts(config, consumer, &kafka, &tables, routes));
    let problems: Vec<&str> = texts(&findings, Severity::Problem).collect();
    if !problems.is_empty() {
        return Err(Failure::Stop(problems.join("\n  ")));
    }
    // What stops a partition is said when the partition is assigned.
    texts(&findings, Severity::Warning).for_each(|text| tracing::warn!("{text}"));
    Ok(())
}

/// Prints every route and everything that was found.
pub async fn run(config: &Config, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let mut checked = Checked::default();
    let settings = cassandra_settings(target);
    let found = checked.answer("Kafka", &shutdown, || of_topics(config, consumer)).await?;
    let consumer = &found.unwrap_or_else(|| without_patterns(consumer));
    let kafka = checked.answer("Kafka", &shutdown, || described(config, consumer)).await?;
    let cluster = checked.answer("sink.cassandra", &shutdown, || Cluster::connect(&settings)).await?;
    let specs = checked.specs(config, consumer, &shutdown).await?;
    let mut sampled = BTreeMap::new();
    let may_write_letters = match &kafka {
        Some(kafka) => may_write(config, &kafka.dead_letters).await,
        None => None,
    };
    if let Some(cluster) = &cluster {
        let (routes, whole) = checked.resolve(&specs, cluster, &shutdown).await?;
        let names = tables_of(&routes);
        let tables = checked.answer("sink.cassandra", &shutdown, || cluster.table_facts(&names)).await?;
        let routes = Arc::new(routes);
        if let Some(kafka) = &kafka {
            let tables = tables.as_ref().unwrap_or(&NO_TABLES);
            let facts = Facts { may_write_letters, ..facts(config, consumer, kafka, tables, &routes) };
            checked.findings.extend(judge(&facts));
            let group = &consumer.group_id;
            let kept = checked.answer("sink.cassandra", &shutdown, || kept(cluster, &kafka.topics, group)).await?;
            checked.findings.extend(judge_unread(group, &kafka.topics, &kept.unwrap_or_default()));
            sampled = checked.sample(config, consumer, kafka, &routes).await;
        }
        checked.print(&specs, &routes, kafka.as_ref(), &sampled);
        if whole {
            checked.findings.extend(routes.notices.iter().map(|notice| warning(notice.clone())));
        }
    } else if let Some(kafka) = &kafka {
        let routes = Routes { topics: Vec::new(), routes: Vec::new(), notices: Vec::new() };
        let facts = Facts { may_write_letters, ..facts(config, consumer, kafka, &NO_TABLES, &routes) };
        checked.findings.extend(judge(&facts));
    }
    Ok(checked.end(consumer.routes.len()))
}

/// The routes that can be looked at while no topic matches the patterns of the others.
fn without_patterns(consumer: &Consumer) -> Consumer {
    let named = consumer.routes.iter().filter(|route| route.topic_pattern.is_none()).cloned().collect();
    Consumer { routes: named, ..consumer.clone() }
}

static NO_TABLES: BTreeMap<String, TableFacts> = BTreeMap::new();

/// What a check has found, and what it prints.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    /// Servers that did not answer.
    away: Vec<String>,
    printed: String,
}

/// What the newest records of a topic say.
#[derive(Default)]
struct Sampled {
    newest: Vec<String>,
    wires: Option<Vec<Option<Wire>>>,
}

impl Checked {
    /// Asks a server until it answers, within a patience. `None` when it does not, or refuses: that is noted.
    async fn answer<T, F>(
        &mut self,
        about: &str,
        shutdown: &watch::Receiver<bool>,
        mut ask: impl FnMut() -> F,
    ) -> Result<Option<T>, Exit>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let waited = RefCell::new(String::new());
        let asked = until_there(shutdown, || {
            let (asked, waited) = (ask(), &waited);
            async move {
                match asked.await {
                    Ok(told) => Ok(Ok(told)),
                    Err(Failure::Stop(why)) => Ok(Err(why)),
                    Err(Failure::Retry(what)) => {
                        waited.borrow_mut().clone_from(&what);
                        Err(Failure::Retry(what))
                    }
                }
            }
        });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(told))) => return Ok(Some(told)),
            Ok(Ok(Err(why))) => why.split("\n  ").for_each(|line| self.problem(line.to_string())),
            // Asked to stop: nothing is known to be right.
            Ok(Err(_)) => return Err(Exit::Failed),
            Err(_) => {
                let waited = waited.borrow();
                self.away.push(format!("{about}: no answer within {} s: {waited}", PATIENCE.as_secs()));
            }
        }
        Ok(None)
    }

    fn problem(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Problem, text });
    }

    /// The routes with what the source says, each by itself, so that one that is wrong hides nothing of the others.
    async fn specs(
        &mut self,
        config: &Config,
        consumer: &Consumer,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<Vec<RouteSpec>, Exit> {
        let Some(source) = &config.source.postgres else {
            return Ok(consumer.specs(&config.source));
        };
        let connect = || Postgres::connect(postgres::Settings::new(source.url.reveal(), "check"));
        let Some(source) = self.answer("source.postgres.url", shutdown, connect).await? else {
            return Ok(Vec::new());
        };
        let mut specs = Vec::new();
        for route in &consumer.routes {
            let written = std::slice::from_ref(route);
            let asked = self.answer("source.postgres.url", shutdown, || with_source(config, written)).await?;
            specs.extend(asked.unwrap_or_default());
            self.rights(route, &source).await;
        }
        Ok(specs)
    }

    async fn rights(&mut self, route: &Route, source: &Postgres) {
        let Some(table) = &route.source_table else { return };
        if let Ok(Some(false)) = source.may_read(table).await {
            self.findings.push(warning(format!(
                "the source table \"{table}\" may not be read, which `cdcconsumer verify` has to, and a row that moves \
                 without a large value that it kept: GRANT SELECT ON {table} to the user in source.postgres.url"
            )));
        }
    }

    /// The routes that can be resolved, and whether these are all. What speaks against the others is noted.
    async fn resolve(
        &mut self,
        specs: &[RouteSpec],
        cluster: &Cluster,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<(Routes, bool), Exit> {
        let none = Routes { topics: Vec::new(), routes: Vec::new(), notices: Vec::new() };
        if let Some(routes) = self.answer("sink.cassandra", shutdown, || resolve(specs, cluster)).await? {
            return Ok((routes, true));
        }
        // The problems are noted. The routes that have none are still shown.
        let mut sound = Vec::new();
        for spec in specs {
            if resolve(std::slice::from_ref(spec), cluster).await.is_ok() {
                sound.push(spec.clone());
            }
        }
        Ok((resolve(&sound, cluster).await.unwrap_or(none), false))
    }

    /// Looks at the newest records of each topic.
    async fn sample(
        &mut self,
        config: &Config,
        consumer: &Consumer,
        kafka: &Described,
        routes: &Arc<Routes>,
    ) -> BTreeMap<String, Sampled> {
        let there = kafka.topics.iter().filter(|topic| routes.topic(&topic.name).is_some());
        let places: Vec<Place> = there.flat_map(places_of).collect();
        let (servers, group) = (config.kafka.access(), consumer.group_id.clone());
        let read = move || sample::newest(&servers, &group, &places, SAMPLE_RECORDS_MAX, SAMPLE_PATIENCE);
        let sample = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(sample)) => sample,
            Ok(Err(error)) => {
                self.away.push(format!("Kafka: the newest records could not be read: {error}"));
                Sample::default()
            }
            Err(_) => Sample::default(),
        };
        for topic in &sample.forbidden {
            self.problem(format!("topic {topic} may not be read: grant READ on it to the user that [kafka] names"));
        }
        let mut sampled: BTreeMap<String, Sampled> = BTreeMap::new();
        for ((topic, number), records) in &sample.records {
            let facts = kafka.topics.iter().find(|facts| facts.name == *topic);
            let partition = facts.and_then(|facts| facts.partitions.iter().find(|found| found.number == *number));
            let committed = partition.and_then(|partition| Some(partition.commit.as_ref()?.next_offset));
            let seen = look::look(routes, records, committed, config.limits.record_bytes_max);
            let of_topic = sampled.entry(topic.clone()).or_default();
            of_topic.newest.push(seen.newest);
            of_topic.wires = seen.wires.or(of_topic.wires.take());
            self.findings.extend(seen.findings);
        }
        sampled
    }

    fn print(
        &mut self,
        specs: &[RouteSpec],
        routes: &Routes,
        kafka: Option<&Described>,
        sampled: &BTreeMap<String, Sampled>,
    ) {
        let mut left: Vec<&RouteSpec> = specs.iter().collect();
        for (at, route) in routes.routes.iter().enumerate() {
            let name = route.name();
            let Some(found) = left.iter().position(|spec| spec.name() == name) else { continue };
            let spec = left.remove(found);
            let facts = kafka.and_then(|kafka| kafka.topics.iter().find(|topic| topic.name == route.topic));
            let seen = sampled.get(&route.topic);
            let topic = facts.map_or_else(String::new, topic_lines);
            let newest = seen.map_or_else(|| "nothing yet".into(), |seen| seen.newest.join("\n             "));
            let format = format!("{:?}", spec.format).to_lowercase();
            self.printed += &format!("route {name}\n{topic}  format     {format}\n  newest     {newest}\n");
            let wires = seen.and_then(|seen| seen.wires.as_deref());
            self.printed += &mapping::mapping(spec, routes, at, wires);
            self.printed += "\n";
        }
        for spec in left {
            self.printed += &format!("route {}\n  cannot be used as it is: see the problems\n\n", spec.name());
        }
    }

    fn end(mut self, routes: usize) -> Exit {
        self.findings.sort();
        self.findings.dedup();
        for (heading, severity) in [
            ("Problems: a run is refused", Severity::Problem),
            ("Problems: a run stops these partitions, and works on with the others", Severity::StoppedPartition),
            ("Warnings: it works as things are, and may not always", Severity::Warning),
        ] {
            let lines: Vec<String> = texts(&self.findings, severity).map(|text| format!("  - {text}\n")).collect();
            if !lines.is_empty() {
                self.printed += &format!("{heading}\n{}\n", lines.concat());
            }
        }
        if !self.away.is_empty() {
            let lines: Vec<String> = self.away.iter().map(|text| format!("  - {text}\n")).collect();
            self.printed += &format!("Not checked\n{}\n", lines.concat());
        }
        let warnings = texts(&self.findings, Severity::Warning).count();
        let problems = self.findings.len() - warnings;
        self.printed += &format!("{routes} routes: {problems} problems, {warnings} warnings\n");
        // Who closes standard output early still gets the exit code.
        let _ = std::io::stdout().write_all(self.printed.as_bytes());
        match (problems, self.away.is_empty()) {
            (0, true) => Exit::Done,
            (0, false) => Exit::Failed,
            (1.., _) => Exit::Refused,
        }
    }
}

fn texts(findings: &[Finding], severity: Severity) -> impl Iterator<Item = &str> {
    findings.iter().filter(move |finding| finding.severity == severity).map(|finding| finding.text.as_str())
}

fn warning(text: String) -> Finding {
    Finding { severity: Severity::Warning, text }
}

fn tables_of(routes: &Routes) -> Vec<&str> {
    let deletes = routes.routes.iter().filter_map(|route| Some(route.guard.as_ref()?.deletes_table.as_str()));
    routes.routes.iter().map(|route| route.table.as_str()).chain(deletes).collect()
}

fn facts<'a>(
    config: &'a Config,
    consumer: &'a Consumer,
    kafka: &'a Described,
    tables: &'a BTreeMap<String, TableFacts>,
    routes: &'a Routes,
) -> Facts<'a> {
    Facts {
        group_id: &consumer.group_id,
        dead_letter_topic: &config.kafka.dead_letter_topic,
        kafka,
        may_write_letters: None,
        tables,
        routes,
    }
}

async fn described(config: &Config, consumer: &Consumer) -> Result<Described, Failure> {
    let asked = Asked {
        access: config.kafka.access(),
        group_id: consumer.group_id.clone(),
        topics: consumer.topics(),
        dead_letter_topic: config.kafka.dead_letter_topic.clone(),
    };
    describe::describe(&asked).await.map_err(|error| Failure::Retry(format!("Kafka: {error}")))
}

/// Tried only where the broker would refuse the record that it is tried with.
async fn may_write(config: &Config, letters: &TopicFacts) -> Option<bool> {
    let ahead_max_ms = letters.settings.as_ref()?.timestamp_ahead_max_ms?;
    probe::may_write(&config.kafka.access(), &letters.name, ahead_max_ms).await
}

/// The partitions of a topic that are looked into.
fn places_of(topic: &TopicFacts) -> impl Iterator<Item = Place> + '_ {
    let filled = topic.partitions.iter().filter_map(|partition| {
        let (begin, end) = partition.range.filter(|(begin, end)| begin < end)?;
        Some((topic.name.clone(), partition.number, begin, end))
    });
    filled.take(SAMPLE_PARTITIONS_MAX)
}

/// The topic and where the group stands in it.
fn topic_lines(topic: &TopicFacts) -> String {
    if topic.presence != Presence::There {
        return "  topic      not there yet, or not to be seen\n".into();
    }
    let settings = topic.settings.as_ref().map_or_else(String::new, |settings| {
        let kept = settings.retention_ms.map_or_else(|| "for ever".into(), |ms| Millis(ms).to_string());
        let bytes = settings.retention_bytes.map_or_else(String::new, |bytes| format!(" or {bytes} bytes"));
        format!(
            ", cleanup.policy={}, kept {kept}{bytes}, records up to {} bytes",
            settings.cleanup_policy, settings.message_bytes_max
        )
    });
    let records: i64 = topic.partitions.iter().filter_map(|partition| partition.range).map(|(a, b)| b - a).sum();
    let unread: i64 = topic
        .partitions
        .iter()
        .filter_map(|partition| {
            let (begin, end) = partition.range?;
            let next_offset = partition.commit.as_ref().map_or(begin, |commit| commit.next_offset);
            Some((end - next_offset).max(0))
        })
        .sum();
    let begun = topic.partitions.iter().any(|partition| partition.commit.is_some());
    let group = if begun { format!("{unread} of {records} unread") } else { format!("{records}, none read yet") };
    format!(
        "  topic      {} partitions, {} replicas{settings}\n  records    {group}\n",
        topic.partitions.len(),
        topic.replicas
    )
}
