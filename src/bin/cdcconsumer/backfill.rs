//! `cdcconsumer backfill`: Debezium is asked for the rows that a table of a route already had.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rowferry::kafka::describe::{self, Asked, Described, Presence};
use rowferry::kafka::sample::{self, Place};
use rowferry::kafka::signal::{self, Follow};
use rowferry::ops::backfill::{self, Step};
use rowferry::ops::config::routes::{Debezium, Route};
use rowferry::ops::config::{Config, Consumer};
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::sink::Failure;
use rowferry::sink::postgres::{self, Postgres};
use tokio::sync::watch;

use crate::topics::of_topics;
use crate::{refused, sections};

/// Asks Debezium for an incremental snapshot of a route's source table: the rows that it has come through the topic
/// once more, beside the stream and in order with it.
///
/// This fills a table that was added later when the topic no longer has its old records; when it has, `seek
/// --to-beginning` does it without the connector. Consumers may run, and should. The signal goes into the connector's
/// signal table ([source.debezium] signal_data_collection), written over [source.postgres] or --signal-url, or into
/// its signal topic (signal_kafka_topic). Rows that are in the target only are not removed: `verify` names them.
///
/// Without --wait it returns when the signal is given. With --wait it follows the connector's notifications until the
/// snapshot is completed, and then the group until it has applied all that the topic held at that moment.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 asked for (with --wait: applied); 1 it failed, or was stopped; 64 refused, nothing asked.

Examples:
  cdcconsumer backfill orders_by_user --wait
  cdcconsumer backfill orders --where \"placed_at >= '2026-01-01'\""
)]
pub struct Flags {
    /// The route's table, or its topic. Of a route by pattern: the table or topic of one of those that match.
    route: String,
    /// Only the rows that meet this condition, in the source's SQL.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Wait until the rows have been applied. Needs the connector's notifications ([source.debezium]
    /// notification_topic).
    #[arg(long)]
    wait: bool,
    /// How the signal is given, when both ways are configured.
    #[arg(long, value_enum)]
    through: Option<Through>,
    /// A Postgres url whose user may write to the signal table, when that of [source.postgres] may not. It is better
    /// in the environment.
    #[arg(long, value_name = "URL", env = "CDCCONSUMER_SIGNAL_URL", hide_env_values = true)]
    signal_url: Option<String>,
}

impl Flags {
    /// Asks for the rows of a table that meet a condition, and waits until they are applied.
    pub fn of_condition(table: &str, condition: String, signal_url: Option<String>) -> Flags {
        Flags { route: table.into(), condition: Some(condition), wait: true, through: None, signal_url }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Through {
    Table,
    Topic,
}

/// How often the group's progress is looked at while it is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long servers are waited for before anything was asked.
const PATIENCE: Duration = Duration::from_secs(30);
const NOTIFICATION_PATIENCE: Duration = Duration::from_millis(200);
/// So many offsets at the end of a partition may be those of transactions' markers.
const MARKERS_MAX: i64 = 10;
const SAMPLE_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for, and how.
pub struct Request {
    topic: String,
    table: String,
    id: String,
    data: String,
    settings: Debezium,
    through: Through,
}

/// Gives the signal, and waits for what follows when that is wanted.
pub async fn run(config: &Config, flags: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, _) = sections(config)?;
    let topics = tokio::time::timeout(PATIENCE, until_there(&shutdown, || of_topics(config, consumer))).await;
    let Ok(consumer) = topics else {
        tracing::error!("Kafka had no topics for the routes within {} s: giving up", PATIENCE.as_secs());
        return Err(Exit::Failed);
    };
    let consumer = &consumer?;
    let request = request(config, consumer, flags).map_err(|problem| refused(&problem))?;
    let asking = until_there(&shutdown, || ask(config, consumer, flags, &request));
    let follow = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(follow)) => follow,
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!(
                "a server was not there for {} s: it is not known whether the signal was given",
                PATIENCE.as_secs()
            );
            return Err(Exit::Failed);
        }
    };
    let Request { topic, table, id, .. } = &request;
    println!("asked for a snapshot of {table} (signal {id})");
    let Some(follow) = follow else {
        println!(
            "Its rows come into topic {topic} with op r, beside the stream. `cdcconsumer check` shows how much of the \
             topic is unread, and `cdcconsumer verify` whether the tables are equal."
        );
        return Ok(Exit::Done);
    };
    let mut stop = shutdown.clone();
    let waited = tokio::select! {
        waited = wait(config, consumer, &request, follow) => waited,
        _ = stop.wait_for(|asked| *asked) => Err("stopped while waiting; the snapshot goes on".into()),
    };
    match waited {
        Ok(()) => {
            println!("the rows of {table} are applied");
            Ok(Exit::Done)
        }
        Err(why) => {
            tracing::error!("{why}");
            Err(Exit::Failed)
        }
    }
}

/// The route that is meant, its source table and the way of the signal; or what is missing.
pub fn request(config: &Config, consumer: &Consumer, flags: &Flags) -> Result<Request, String> {
    let name = &flags.route;
    let found: Vec<&Route> =
        consumer.routes.iter().filter(|route| route.table == *name || route.topic == *name).collect();
    let Some(route) = found.first() else {
        let known: Vec<&str> = consumer.routes.iter().map(|route| route.table.as_str()).collect();
        return Err(format!(
            "no route leads to a table \"{name}\" or reads such a topic; routed are {}",
            known.join(", ")
        ));
    };
    if found.iter().any(|other| other.source_table != route.source_table || other.topic != route.topic) {
        let topics: Vec<&str> = found.iter().map(|route| route.topic.as_str()).collect();
        return Err(format!(
            "several routes are called \"{name}\": name the topic of one of them: {}",
            topics.join(", ")
        ));
    }
    let Some(table) = &route.source_table else {
        return Err(format!(
            "route {} → {}: its source table is not known: add source_table = \"schema.table\"",
            route.topic, route.table
        ));
    };
    let settings = route.debezium.over(&config.source.debezium);
    let through = match (flags.through, &settings.signal_data_collection, &settings.signal_kafka_topic) {
        (Some(Through::Table), Some(_), _) | (None, Some(_), None) => Through::Table,
        (Some(Through::Topic), _, Some(_)) | (None, _, Some(_)) => Through::Topic,
        _ => {
            return Err("the way to the connector is not configured: name in [source.debezium] its signal table \
                        (signal_data_collection = \"schema.table\") or its signal topic (signal_kafka_topic), as its \
                        own settings signal.data.collection and signal.kafka.topic do"
                .into());
        }
    };
    if flags.wait && settings.notification_topic.is_none() {
        return Err("--wait follows the connector's notifications: set its notification.enabled.channels to sink and \
                    notification.sink.topic.name to a topic, and name that in [source.debezium] as notification_topic; \
                    or leave --wait out"
            .into());
    }
    let id = uuid::Uuid::new_v4().to_string();
    let data = backfill::signal_data(table, flags.condition.as_deref());
    Ok(Request { topic: route.topic.clone(), table: table.clone(), id, data, settings, through })
}

/// Gives the signal. What follows it is listened for from before that on.
async fn ask(
    config: &Config,
    consumer: &Consumer,
    flags: &Flags,
    request: &Request,
) -> Result<Option<Follow>, Failure> {
    let settings = &request.settings;
    let servers = &config.kafka.access();
    let kafka = |error: &dyn std::fmt::Display| Failure::Retry(format!("Kafka: {error}"));
    let mut follow = None;
    if let Some(topic) = settings.notification_topic.as_ref().filter(|_| flags.wait) {
        let described = described(config, consumer, vec![topic.clone()]).await?;
        let facts = there(&described, "notification_topic")?;
        follow = Some(Follow::from_ends(servers, &consumer.group_id, facts).map_err(|error| kafka(&error))?);
    }
    match (request.through, &settings.signal_data_collection, &settings.signal_kafka_topic) {
        (Through::Table, Some(table), _) => {
            let url = flags.signal_url.as_deref();
            let url = url.or_else(|| config.source.postgres.as_ref().map(|source| source.url.reveal()));
            let Some(url) = url else {
                return Err(Failure::Stop("the signal table is written over [source.postgres] or --signal-url".into()));
            };
            let setting = if flags.signal_url.is_some() { "--signal-url" } else { "source.postgres.url" };
            let source = Postgres::connect(postgres::Settings::new(url, "backfill")).await.map_err(about(setting))?;
            let given = source.signal(table, &request.id, backfill::SIGNAL_TYPE, &request.data).await;
            given.map_err(about(setting))?;
        }
        (_, _, Some(topic)) => {
            let described = described(config, consumer, vec![topic.clone()]).await?;
            let facts = there(&described, "signal_kafka_topic")?;
            if facts.partitions.len() != 1 {
                return Err(Failure::Stop(format!(
                    "topic {topic} has {} partitions, and Debezium reads signals from a topic of one alone: make it \
                     anew with one",
                    facts.partitions.len()
                )));
            }
            let prefix = settings.topic_prefix.as_deref();
            let prefix = prefix.or_else(|| backfill::topic_prefix(&request.topic, &request.table));
            let Some(prefix) = prefix else {
                return Err(Failure::Stop(format!(
                    "topic {} does not show the connector's topic.prefix, which a signal carries as its key: name it \
                     in [source.debezium] as topic_prefix",
                    request.topic
                )));
            };
            let value = backfill::signal_value(&request.id, &request.data);
            signal::send(servers, topic, prefix, &value).await.map_err(|error| kafka(&error))?;
        }
        _ => return Err(Failure::Stop("the way of the signal is not configured".into())),
    }
    Ok(follow)
}

/// Waits until the connector says that the snapshot is completed, and then until the group has applied what the topic
/// holds at that moment.
async fn wait(config: &Config, consumer: &Consumer, request: &Request, follow: Follow) -> Result<(), String> {
    let mut follow = follow;
    loop {
        let next = tokio::task::spawn_blocking(move || {
            let value = follow.next(NOTIFICATION_PATIENCE);
            (follow, value)
        });
        let (listening, value) = next.await.map_err(|error| error.to_string())?;
        follow = listening;
        match value.and_then(|value| backfill::step(&value, &request.id, &request.table)) {
            None => {}
            Some(Step::Started) => println!("the snapshot has started"),
            Some(Step::Scanned { rows }) => println!("{} rows were read", rows.as_deref().unwrap_or("all")),
            Some(Step::Completed) => break,
            Some(Step::Failed(why)) => return Err(why),
        }
    }
    println!("the snapshot is completed; waiting for group {} to apply it", consumer.group_id);
    until_applied(config, consumer, &request.topic).await;
    Ok(())
}

/// Waits until the group has applied what a topic holds at the first look.
pub async fn until_applied(config: &Config, consumer: &Consumer, topic: &str) {
    let mut ends: Option<Vec<i64>> = None;
    loop {
        if let Ok(described) = described(config, consumer, vec![topic.into()]).await
            && let Some(topic) = described.topics.first()
        {
            let ends = ends.get_or_insert_with(|| {
                topic.partitions.iter().map(|partition| partition.range.map_or(0, |(_, end)| end)).collect()
            });
            let stands =
                |partition: &describe::PartitionFacts| partition.commit.as_ref().map_or(0, |commit| commit.next_offset);
            let left: Vec<Place> = topic
                .partitions
                .iter()
                .zip(ends.iter())
                .map(|(partition, end)| (topic.name.clone(), partition.number, stands(partition), *end))
                .filter(|(_, _, stands, end)| stands < end)
                .collect();
            if left.is_empty() || holds_nothing(config, consumer, left).await {
                return;
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether these ranges of offsets hold no records: where a connector writes in transactions, their markers take the
/// last offsets, and no commit ever passes one that stands at the end.
async fn holds_nothing(config: &Config, consumer: &Consumer, left: Vec<Place>) -> bool {
    if left.iter().any(|(_, _, stands, end)| end - stands > MARKERS_MAX) {
        return false;
    }
    let (servers, group) = (config.kafka.access(), consumer.group_id.clone());
    let read = move || {
        let sample = sample::newest(&servers, &group, &left, MARKERS_MAX, SAMPLE_PATIENCE).ok()?;
        let end = |topic: &str, number: i32| {
            left.iter().find(|(name, partition, ..)| name == topic && *partition == number).map_or(0, |(.., end)| *end)
        };
        let mut records = sample.records.iter();
        Some(
            records.all(|((topic, number), records)| records.iter().all(|record| record.offset >= end(topic, *number))),
        )
    };
    matches!(tokio::task::spawn_blocking(read).await, Ok(Some(true)))
}

pub async fn described(config: &Config, consumer: &Consumer, topics: Vec<String>) -> Result<Described, Failure> {
    let asked = Asked {
        access: config.kafka.access(),
        group_id: consumer.group_id.clone(),
        topics,
        dead_letter_topic: config.kafka.dead_letter_topic.clone(),
    };
    describe::describe(&asked).await.map_err(|error| Failure::Retry(format!("Kafka: {error}")))
}

/// The one topic that was described.
fn there<'d>(described: &'d Described, setting: &str) -> Result<&'d describe::TopicFacts, Failure> {
    let topic = described.topics.first().filter(|topic| topic.presence == Presence::There);
    topic.ok_or_else(|| {
        let name = described.topics.first().map_or("", |topic| topic.name.as_str());
        Failure::Stop(format!(
            "source.debezium.{setting} = \"{name}\": there is no such topic; create it or correct it"
        ))
    })
}
