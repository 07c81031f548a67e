//! `cdcconsumer explain`: everything that is known of one row, from its topic to its sink.

mod history;
mod key;
mod print;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rowferry::kafka::describe::{PartitionFacts, TopicFacts};
use rowferry::kafka::letters::{Ended, LetterTopic, LettersError, Span};
use rowferry::kafka::seek::{self, To};
use rowferry::ops::config::routes::Route;
use rowferry::ops::config::{Cassandra, Config, Consumer};
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::plan::route::Routes;
use rowferry::row::Value;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::Cluster;
use rowferry::verify::report::shown;
use tokio::sync::watch;

use self::history::{History, Start};
use self::key::KeyColumn;
use self::print::{Explained, PartitionTold, TopicTold};
use crate::backfill::described;
use crate::dead_letters::progress::Progress;
use crate::seek::kept;
use crate::topics::of_topics;
use crate::{cassandra_settings, resolve, sections, with_source};

/// Tells everything that is known of one row: the events of it that its topics still have, the writes that are planned
/// from them with their versions, and the row as it is in Cassandra now, each cell with the time it was written with.
///
/// Changes nothing, does not join the group, and may run beside a pipeline that works. It reads every record that the
/// topics still have (--partition reads one partition), for only so the versions are found: each is a function of the
/// record's timestamp and of the versions before it. Where the first records are gone, or the group did not begin at
/// them, versions are marked: ~ exact unless a record that is gone had a later timestamp, ≥ at least, ? not known. What
/// the group has not read yet gets its versions from what the group has saved, and they are exact.
///
/// A record is told when it has the source's key of the row, so a row that moves to another key of TABLE is told whole.
/// Of the writes, a run leaves out those that a later write of the same batch covers. A record that was redriven, or a
/// route's rewind guard, may have been decided otherwise than a plan can show: the cells' times say what was written.
///
/// THIS PRINTS THE VALUES OF THE ROW to standard output, for you have asked for it by its key; the logs have none. At
/// most the 500 newest events of a topic are shown.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 told; 1 nothing is known of this key, or a server did not answer; 64 refused.

Examples:
  cdcconsumer explain users 7f1c0a52-5b1c-4c6e-9d21-000000000005
  cdcconsumer explain orders_by_user user_id=7f1c0a52-… order_id=9d21b3c0-…
  cdcconsumer explain users id=5 --json | jq '.topics[].events[] | [.offset, .version]'"
)]
pub struct Flags {
    /// The target's table.
    table: String,
    /// The primary key of TABLE: column=value for each of its columns, or only the values in the order of the key.
    #[arg(required = true, value_name = "KEY", allow_negative_numbers = true)]
    key: Vec<String>,
    /// Read only this partition of the topics.
    #[arg(long, value_name = "P")]
    partition: Option<i32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How long servers that are not there are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known before a record is read.
struct Prepared {
    cluster: Cluster,
    consumer: Consumer,
    routes: Arc<Routes>,
    key: Vec<Value>,
    topics: Vec<TopicFacts>,
    /// By the topics' order.
    starts: Vec<Vec<Start>>,
}

/// Prints what is known of the row.
pub async fn run(config: &Config, asked: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let preparing = until_there(&shutdown, || prepare(config, consumer, target, asked));
    let prepared = match tokio::time::timeout(PATIENCE, preparing).await {
        Ok(Ok(prepared)) => prepared,
        // It was asked to stop, and nothing is told.
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!("a server was not there for {} s: giving up", PATIENCE.as_secs());
            return Err(Exit::Failed);
        }
    };
    let mut topics = Vec::new();
    for (facts, starts) in prepared.topics.iter().zip(&prepared.starts) {
        topics.push(read(config, &prepared, asked, facts, starts, &shutdown).await?);
    }
    let explained = explained(&prepared, target, asked, topics).await?;
    let text = if asked.json { format!("{:#}\n", explained.json()) } else { explained.text() };
    // Who closes standard output early still gets the exit code.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if explained.is_known() { Exit::Done } else { Exit::Failed })
}

/// The row in the sink, beside what its topics say.
async fn explained(
    prepared: &Prepared,
    target: &Cassandra,
    asked: &Flags,
    topics: Vec<TopicTold>,
) -> Result<Explained, Exit> {
    let Prepared { cluster, routes, key, consumer, .. } = prepared;
    // `prepare` has found one.
    let route = routes.routes.iter().find(|route| route.table == asked.table).ok_or(Exit::Refused)?;
    let row = cluster.cells(route, key).await.map_err(|failure| {
        let (Failure::Retry(why) | Failure::Stop(why)) = failure;
        tracing::error!("{why}");
        Exit::Failed
    })?;
    let names = route.key.iter().map(|at| route.columns[*at].name.clone());
    Ok(Explained {
        table: asked.table.clone(),
        key: names.zip(key.iter().map(|value| shown(Some(value)))).collect(),
        group_id: consumer.group_id.clone(),
        topics,
        row,
        keyspace: target.keyspace.clone(),
    })
}

async fn prepare(config: &Config, consumer: &Consumer, target: &Cassandra, asked: &Flags) -> Result<Prepared, Failure> {
    let consumer = of_topics(config, consumer).await?;
    let topics = topics_of(&consumer.routes, &asked.table).map_err(Failure::Stop)?;
    let cluster = Cluster::connect(&cassandra_settings(target)).await.map_err(about("sink.cassandra"))?;
    // A record is refused for all its routes or for none, so that all of these topics count.
    let written: Vec<Route> = consumer.routes.iter().filter(|route| topics.contains(&route.topic)).cloned().collect();
    let routes = resolve(&with_source(config, &written).await?, &cluster).await?;
    let key = key_of(&routes, asked).map_err(Failure::Stop)?;
    let facts = described(config, &consumer, topics).await?;
    if !facts.group.readable {
        let group = &consumer.group_id;
        return Err(Failure::Stop(format!("the offsets of group {group} may not be read: grant READ on it")));
    }
    let kept = kept(&cluster, &facts.topics, &consumer.group_id).await?;
    let none = Default::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX / 2);
    let mut starts = Vec::new();
    for topic in &facts.topics {
        let kept = kept.get(&topic.name).unwrap_or(&none);
        let compacted = topic.settings.as_ref().is_some_and(|settings| settings.cleanup_policy.contains("compact"));
        let chosen = |found: &&PartitionFacts| asked.partition.is_none_or(|number| found.number == number);
        let start = |partition: &PartitionFacts| {
            let moved = seek::plan(topic, partition, kept, To::Beginning, true, now_us).map_err(Failure::Stop)?;
            let (begin, chain, lost_versions) = (moved.to, moved.chain, moved.lost_versions);
            Ok(Start { partition: partition.number, begin, chain, lost_versions, compacted })
        };
        starts.push(topic.partitions.iter().filter(chosen).map(start).collect::<Result<Vec<_>, Failure>>()?);
    }
    Ok(Prepared { cluster, consumer, routes: Arc::new(routes), key, topics: facts.topics, starts })
}

/// The topics that feed the table.
fn topics_of(routes: &[Route], table: &str) -> Result<Vec<String>, String> {
    let mut topics: Vec<String> =
        routes.iter().filter(|route| route.table == table).map(|route| route.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    if topics.is_empty() {
        let known: Vec<&str> = routes.iter().map(|route| route.table.as_str()).collect();
        return Err(format!("no route leads to a table \"{table}\"; routed are {}", known.join(", ")));
    }
    Ok(topics)
}

fn key_of(routes: &Routes, asked: &Flags) -> Result<Vec<Value>, String> {
    let route = routes.routes.iter().find(|route| route.table == asked.table);
    let route = route.ok_or_else(|| format!("no route leads to a table \"{}\"", asked.table))?;
    let columns = route.key.iter().map(|at| &route.columns[*at]);
    let columns: Vec<KeyColumn> =
        columns.map(|column| KeyColumn { name: column.name.clone(), kind: column.kind.clone() }).collect();
    key::read(&asked.table, &columns, &asked.key)
}

/// Reads a topic from where it begins to the end that it has now.
async fn read(
    config: &Config,
    prepared: &Prepared,
    asked: &Flags,
    facts: &TopicFacts,
    starts: &[Start],
    shutdown: &watch::Receiver<bool>,
) -> Result<TopicTold, Exit> {
    let end = |number: i32| {
        let found = facts.partitions.iter().find(|partition| partition.number == number);
        found.and_then(|partition| partition.range).map_or(0, |(_, end)| end)
    };
    let span = |start: &Start| Span { partition: start.partition, next_offset: start.begin, end: end(start.partition) };
    let spans: Vec<Span> = starts.iter().map(span).filter(|span| span.next_offset < span.end).collect();
    let Prepared { routes, key, consumer, .. } = prepared;
    let mut history = History::new(routes, &facts.name, &asked.table, key, starts, config.limits.record_bytes_max);
    let (access, group, topic) = (config.kafka.access(), consumer.group_id.clone(), facts.name.clone());
    let shutdown = shutdown.clone();
    let reading = tokio::task::spawn_blocking(move || -> Result<(History, Ended), LettersError> {
        if spans.is_empty() {
            return Ok((history, Ended::AtTheEnd));
        }
        let topic = LetterTopic::open(&access, &group, &topic)?;
        let total = spans.iter().map(|span| (span.end - span.next_offset) as u64).sum();
        let mut progress = Progress::begin("reading events", total);
        let ended = topic.read(&spans, &shutdown, |record| {
            progress.step();
            history.add(record);
            ControlFlow::Continue(())
        })?;
        Ok((history, ended))
    });
    let history = match reading.await {
        Ok(Ok((history, Ended::AtTheEnd | Ended::Enough))) => history,
        Ok(Ok((_, Ended::Shutdown))) => return Err(Exit::Failed),
        Ok(Err(error)) => {
            tracing::error!("topic {}: {error}", facts.name);
            return Err(Exit::Failed);
        }
        Err(panicked) => {
            tracing::error!("reading topic {} panicked: {panicked}", facts.name);
            return Err(Exit::Failed);
        }
    };
    let left_out = history.left_out;
    let (events, read) = history.into_found();
    let told = |read: history::Read| {
        let number = read.partition;
        let found = facts.partitions.iter().find(|partition| partition.number == number);
        let stands = found.and_then(|partition| Some(partition.commit.as_ref()?.next_offset));
        let begin = found.and_then(|partition| partition.range).map_or(0, |(begin, _)| begin);
        PartitionTold { begin, end: end(number), stands, read }
    };
    let partitions = read.into_iter().map(told).collect();
    Ok(TopicTold { name: facts.name.clone(), partitions, events, left_out })
}
