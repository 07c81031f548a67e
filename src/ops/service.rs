//! A pipeline as a process: what both consumers do around their own sink, from the first connection to the exit code.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};

use crate::kafka::control::Control;
use crate::kafka::poll::{self, Ended, PollError};
use crate::kafka::{COMMIT_GRACE, ConsumerSettings, dead_letter, topic_ends};
use crate::ops::config::{Config, Consumer, RebalanceProtocol};
use crate::ops::reselect;
use crate::pipeline::bounds::Bounds;
use crate::pipeline::meters::Meters;
use crate::pipeline::reading::Said;
use crate::pipeline::{Limits, Pipeline};
use crate::plan::route::{Routes, Topic};
use crate::retry::Backoff;
use crate::sink::{Failure, Load, Sink, postgres};

/// How a binary ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    /// The configuration was refused, by us or by what it names, before anything was touched.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::FAILURE,
            Exit::Refused => ExitCode::from(64),
        }
    }
}

/// What the two consumers differ in, beside their sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Writes carry versions whose state is saved with the commits.
    pub versions: bool,
    pub exit_when_caught_up: bool,
    pub accept_added_partitions: bool,
}

/// Requests to the dead-letter producer, for topic ends and for source rows that wait in line.
const REQUESTS_MAX: usize = 256;
/// Part of the shutdown's grace that is kept for what comes after the last commit: to leave the group.
const LEAVE_GRACE: Duration = Duration::from_secs(1);
const CONNECT_DELAY_MAX: Duration = Duration::from_secs(5);
/// Between two questions to the sink whether it is there, and how long an answer may take.
const REACH_INTERVAL: Duration = Duration::from_secs(5);
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries until it succeeds, with backoff, for ever. `Err` says how the binary ends: refused, or asked to stop.
pub async fn until_there<T, F>(shutdown: &watch::Receiver<bool>, attempt: impl FnMut() -> F) -> Result<T, Exit>
where
    F: Future<Output = Result<T, Failure>>,
{
    until(shutdown, attempt, |_| {}).await
}

/// The same before a run, where whoever looks sees what it waits for.
pub async fn until_begun<T, F>(
    meters: &Meters,
    shutdown: &watch::Receiver<bool>,
    attempt: impl FnMut() -> F,
) -> Result<T, Exit>
where
    F: Future<Output = Result<T, Failure>>,
{
    meters.starts(None);
    until(shutdown, attempt, |what| meters.starts(Some(what))).await
}

async fn until<T, F>(
    shutdown: &watch::Receiver<bool>,
    mut attempt: impl FnMut() -> F,
    waits: impl Fn(&str),
) -> Result<T, Exit>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut backoff = Backoff::new();
    let mut said = String::new();
    let mut shutdown = shutdown.clone();
    loop {
        // A half-made connection is nothing to lose, so an attempt may be dropped.
        let attempted = tokio::select! {
            attempted = attempt() => attempted,
            _ = shutdown.wait_for(|asked| *asked) => return Err(Exit::Done),
        };
        match attempted {
            Ok(there) => return Ok(there),
            Err(Failure::Stop(why)) => {
                tracing::error!("refused: {why}");
                return Err(Exit::Refused);
            }
            Err(Failure::Retry(what)) => {
                waits(&what);
                if said != what {
                    tracing::warn!("waiting for {what}");
                    said = what;
                }
                let delay = backoff.next_delay(rand::random()).min(CONNECT_DELAY_MAX);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = shutdown.wait_for(|asked| *asked) => return Err(Exit::Done),
                }
            }
        }
    }
}

/// Says which setting a refusal is about: a sink does not know what it was configured with.
pub fn about(setting: &str) -> impl Fn(Failure) -> Failure {
    move |failure| match failure {
        Failure::Stop(why) => Failure::Stop(format!("{setting}: {why}")),
        Failure::Retry(what) => Failure::Retry(what),
    }
}

/// Waits for Kafka, and refuses a dead-letter topic that is not there.
pub async fn check_dead_letter_topic(
    config: &Config,
    meters: &Meters,
    shutdown: &watch::Receiver<bool>,
) -> Result<(), Exit> {
    let topic = &config.kafka.dead_letter_topic;
    until_begun(meters, shutdown, || async {
        let (access, name) = (config.kafka.access(), topic.clone());
        let asked = tokio::task::spawn_blocking(move || dead_letter::topic_exists(&access, &name)).await;
        match asked {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Failure::Stop(format!(
                "kafka.dead_letter_topic = \"{topic}\": there is no such topic; create it, with a max.message.bytes \
                 above that of the topics that are read"
            ))),
            Ok(Err(failure)) => Err(failure),
            Err(panicked) => Err(Failure::Stop(format!("the Kafka client panicked: {panicked}"))),
        }
    })
    .await
}

/// What a process shows of itself, and what it is asked from outside.
#[derive(Clone, Default)]
pub struct Outside {
    pub meters: Arc<Meters>,
    pub control: Arc<Control>,
}

/// Runs the pipeline until it is asked to stop, caught up, or failed.
pub async fn run<S: Sink>(
    config: &Config,
    consumer: &Consumer,
    kind: Kind,
    routes: Arc<Routes>,
    sink: S,
    Outside { meters, control }: Outside,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<Exit> {
    routes.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    let access = config.kafka.access();
    let (dead_letters, letters) = mpsc::channel(REQUESTS_MAX);
    let (topic_ends, ends) = mpsc::channel(REQUESTS_MAX);
    let (reselects, lacking) = mpsc::channel(REQUESTS_MAX);
    if let Some(source) = &config.source.postgres {
        tokio::spawn(reselect::run(postgres::Settings::new(source.url.reveal(), "reselect"), lacking));
    }
    let producer = dead_letter::producer(&access).context("the dead-letter producer")?;
    let producer = tokio::spawn(dead_letter::run(producer, config.kafka.dead_letter_topic.clone(), letters));
    spawn_thread("topic-ends", move || topic_ends::run(&access, ends))?;

    let limits = Limits {
        batch_records_max: config.limits.batch_records_max,
        batch_bytes_max: config.limits.batch_bytes_max,
        record_bytes_max: config.limits.record_bytes_max,
        breaker: config.limits.breaker(),
    };
    let grace = config.limits.shutdown_grace();
    let settings = settings(config, consumer, kind, &routes);
    let pipeline = Arc::new(Pipeline {
        sink: Arc::new(sink),
        routes,
        limits,
        dead_letters,
        topic_ends,
        reselects,
        said: Said::default(),
        bounds: Bounds::default(),
    });
    meters.asks_load_of(load_of(&pipeline.sink));
    tokio::spawn(watch_sink(Arc::downgrade(&pipeline.sink), meters.clone()));
    let runtime = tokio::runtime::Handle::current();
    let stop = shutdown.clone();
    let polled = spawn_thread("poll", move || poll::run(settings, pipeline, meters, &control, runtime, stop))?;

    let ended = within_grace(polled, shutdown, grace).await?;
    // The poll thread's end dropped the last sender, and every letter that the position waited for is out. One that
    // is not, because its partition was revoked, is sent again by the next owner.
    producer.abort();
    match ended {
        Ok(Ended::Shutdown | Ended::CaughtUp) => Ok(Exit::Done),
        Ok(Ended::CaughtUpButStopped) => Ok(Exit::Failed),
        Err(error) => {
            tracing::error!("{error}");
            Ok(if matches!(error, PollError::Refused(_)) { Exit::Refused } else { Exit::Failed })
        }
    }
}

fn settings(config: &Config, consumer: &Consumer, kind: Kind, routes: &Routes) -> ConsumerSettings {
    ConsumerSettings {
        access: config.kafka.access(),
        group_id: consumer.group_id.clone(),
        group_instance_id: consumer.group_instance_id.clone(),
        eager: consumer.rebalance_protocol() == RebalanceProtocol::Eager,
        topics: consumer.topics(),
        uncompacted_topics: moving_topics(routes),
        versions: kind.versions,
        accept_added_partitions: kind.accept_added_partitions,
        held_bytes_max: config.limits.held_bytes_max,
        revoke_grace: config.limits.shutdown_grace().saturating_sub(COMMIT_GRACE + LEAVE_GRACE),
        exit_when_caught_up: kind.exit_when_caught_up,
    }
}

/// Asks a sink as long as it is there.
fn load_of<S: Sink>(sink: &Arc<S>) -> impl Fn() -> Load + Send + use<S> {
    let sink = Arc::downgrade(sink);
    move || sink.upgrade().map_or_else(Load::default, |sink| sink.load())
}

/// Asks the sink now and then whether it answers, as long as it is there.
async fn watch_sink<S: Sink>(sink: Weak<S>, meters: Arc<Meters>) {
    let mut turns = tokio::time::interval(REACH_INTERVAL);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(sink) = sink.upgrade() else { return };
        let load = sink.load();
        // One that is as busy as it may be would let the question wait in line. Its partitions say how it is.
        if load.in_flight > 0 && load.in_flight >= load.in_flight_max {
            continue;
        }
        match tokio::time::timeout(REACH_TIMEOUT, sink.reach()).await {
            Ok(Ok(())) => meters.sink_is_away(None),
            Ok(Err(Failure::Retry(what) | Failure::Stop(what))) => meters.sink_is_away(Some(&what)),
            Err(_) => meters.sink_is_away(Some(&format!("the sink gives no answer in {} s", REACH_TIMEOUT.as_secs()))),
        }
    }
}

/// Topics with a route whose rows can move: they are found again by their image before (C4).
fn moving_topics(routes: &Routes) -> Vec<String> {
    let moves = |topic: &&Topic| topic.routes.iter().any(|at| routes.routes[*at].moves);
    routes.topics.iter().filter(moves).map(|topic| topic.name.clone()).collect()
}

/// Waits for the poll thread; after a signal no longer than the grace.
async fn within_grace(
    mut polled: oneshot::Receiver<Result<Ended, PollError>>,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) -> anyhow::Result<Result<Ended, PollError>> {
    tokio::select! {
        ended = &mut polled => return ended.context("the poll thread panicked"),
        _ = shutdown.wait_for(|asked| *asked) => {}
    }
    match tokio::time::timeout(grace, polled).await {
        Ok(ended) => ended.context("the poll thread panicked"),
        Err(_) => anyhow::bail!("not finished within the grace of {} s: ending at once", grace.as_secs()),
    }
}

/// A thread of its own for a client that blocks; the receiver gets what it returns.
fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name(name.into()).spawn(work).context("a thread cannot be started")?;
    Ok(result)
}
