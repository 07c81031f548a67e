//! `cdcconsumer seek`: a stopped group is moved to other offsets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rowferry::kafka::describe::{self, Asked, TopicFacts};
use rowferry::kafka::seek::{self, Kept, Move, SeekError, To};
use rowferry::ops::config::{Cassandra, Config};
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::Cluster;
use tokio::sync::watch;

use crate::{cassandra_settings, refused, sections};

/// Moves the stopped group to other offsets of its topics.
///
/// Going back is safe: what is read again is written with the versions of the first time or lower, and never over
/// something newer; from where the group stood before, versions go on above all. It fills a table that was added to
/// the routes later, as far as the topics still have its records. It costs a full reading, and writes everything
/// again. Rows that were deleted longer ago than the tables' gc_grace_seconds may be seen until their delete is read
/// again, too. A topic of a route with rewind_guard is read again from its beginning alone.
///
/// Going forward loses records, and is refused without --skip-records.
///
/// A group that another tool has moved has lost its versions. After `seek` they go on above the present time.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 moved; 1 Kafka did not answer; 64 refused, and nothing was moved.

Examples:
  cdcconsumer seek --to-beginning
  cdcconsumer seek --to-beginning --topic cdc.public.orders --dry-run
  cdcconsumer seek --to-offset 4711 --topic cdc.public.orders --partition 2"
)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub struct Flags {
    /// To the first records that are still there.
    #[arg(long, group = "to")]
    to_beginning: bool,
    /// To this offset of one partition: it is the next one to be read.
    #[arg(long, value_name = "N", group = "to", requires = "topic", requires = "partition")]
    to_offset: Option<i64>,
    /// To the end, over all that is unread.
    #[arg(long, group = "to")]
    to_end: bool,
    /// Only this topic; without it all that routes read.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only this partition.
    #[arg(long, value_name = "P", requires = "topic")]
    partition: Option<i32>,
    /// Records that nobody has read may be passed over: their changes are lost.
    #[arg(long)]
    skip_records: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// How long Kafka is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Moves the group, or says why not.
pub async fn run(config: &Config, flags: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let routed = consumer.topics();
    let topics = match &flags.topic {
        Some(topic) if !routed.contains(topic) => {
            return Err(refused(&format!("no route reads topic \"{topic}\"; routed are {}", routed.join(", "))));
        }
        Some(topic) => vec![topic.clone()],
        None => routed,
    };
    let asked = Asked {
        access: config.kafka.access(),
        group_id: consumer.group_id.clone(),
        topics,
        dead_letter_topic: config.kafka.dead_letter_topic.clone(),
    };
    let planning = until_there(&shutdown, || plan(&asked, target, flags));
    let moves = match tokio::time::timeout(PATIENCE, planning).await {
        Ok(Ok(moves)) => moves,
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!("Kafka was not there for {} s: nothing was moved", PATIENCE.as_secs());
            return Err(Exit::Failed);
        }
    };
    // A commit that got no answer may have been taken; `seek` can be called again, and ends at the same place.
    if !flags.dry_run {
        commit(&asked, moves.clone()).await?;
    }
    let heading = if flags.dry_run { "would be moved" } else { "moved" };
    // Who closes standard output early still gets the exit code.
    let _ = std::io::stdout().write_all(told(&asked.group_id, heading, &moves).as_bytes());
    Ok(Exit::Done)
}

async fn plan(asked: &Asked, target: &Cassandra, flags: &Flags) -> Result<Vec<Move>, Failure> {
    let (access, group) = (asked.access.clone(), asked.group_id.clone());
    let stopped = tokio::task::spawn_blocking(move || seek::expect_stopped(&access, &group)).await;
    stopped.map_err(|error| Failure::Stop(error.to_string()))?.map_err(failure)?;
    let described = describe::describe(asked).await.map_err(|error| failure(error.into()))?;
    if !described.group.readable {
        return Err(Failure::Stop(format!(
            "the offsets of group {} may not be read: grant READ on it",
            asked.group_id
        )));
    }
    let cluster = Cluster::connect(&cassandra_settings(target)).await.map_err(about("sink.cassandra"))?;
    let kept = kept(&cluster, &described.topics, &asked.group_id).await?;
    let to = match flags.to_offset {
        Some(offset) => To::Offset(offset),
        None if flags.to_beginning => To::Beginning,
        None => To::End,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX / 2);
    seek::plan_all(&described.topics, &kept, flags.partition, to, flags.skip_records, now_us)
        .map_err(|problems| Failure::Stop(problems.join("\n  ")))
}

/// What the sink has kept, where there is no commit that says it.
pub async fn kept(cluster: &Cluster, topics: &[TopicFacts], group: &str) -> Result<Kept, Failure> {
    let is_unread = |topic: &&TopicFacts| topic.partitions.iter().any(|partition| partition.commit.is_none());
    let unread: Vec<&TopicFacts> = topics.iter().filter(is_unread).collect();
    let mut kept = Kept::new();
    if unread.is_empty() {
        return Ok(kept);
    }
    if let Some(checkpoints) = cluster.checkpoints(group).await? {
        for topic in unread {
            kept.insert(topic.name.clone(), checkpoints.kept(&topic.name).await?);
        }
    }
    Ok(kept)
}

fn failure(error: SeekError) -> Failure {
    match error {
        SeekError::Kafka(_) => Failure::Retry(error.to_string()),
        SeekError::Running { .. } | SeekError::Refused(_) => Failure::Stop(error.to_string()),
    }
}

async fn commit(asked: &Asked, moves: Vec<Move>) -> Result<(), Exit> {
    let (access, group) = (asked.access.clone(), asked.group_id.clone());
    let done = tokio::task::spawn_blocking(move || seek::commit(&access, &group, &moves)).await;
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ SeekError::Kafka(_))) => {
            tracing::error!("{error}: it is not known whether the group was moved; call it again");
            Err(Exit::Failed)
        }
        Ok(Err(error)) => Err(refused(&error.to_string())),
        Err(error) => Err(refused(&error.to_string())),
    }
}

fn told(group: &str, heading: &str, moves: &[Move]) -> String {
    let mut text = format!("group {group}: {} partitions {heading}\n", moves.len());
    for Move { topic, partition, from, to, chain, lost_versions, .. } in moves {
        let from_text = from.map_or_else(|| "never read".into(), |from| from.to_string());
        // Writing to a String never fails.
        let _ = write!(text, "  {topic}[{partition}]: {from_text} → {to}");
        if let Some(floor) = chain.floor() {
            let _ = write!(text, ", what is below {} is read again and stays below what is newer", floor.offset);
        }
        if from.is_some_and(|from| from < *to) {
            let _ = write!(text, ", {} offsets are passed over", to - from.unwrap_or(*to));
        }
        if *lost_versions {
            let _ = write!(text, "; versions were lost, and go on above the present time");
        }
        text.push('\n');
    }
    text
}
