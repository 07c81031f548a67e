//! `redrive`: letters through the pipeline's own loop, one record an assignment, with the version that it had.
//!
//! The chain of each assignment is the one that stood before its record, so the loop gives the record the same version
//! again; whatever was written since has a higher one and stays. Nothing is committed, and what the loop would send to
//! the dead-letter topic comes back here as the reason.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use rowferry::change::position::Stored;
use rowferry::ops::config::{Cassandra as Target, Config, Consumer};
use rowferry::ops::letters::mask::MASK;
use rowferry::ops::reselect;
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::pipeline::bounds::Bounds;
use rowferry::pipeline::breaker::BreakerLimits;
use rowferry::pipeline::reading::Said;
use rowferry::pipeline::{Assignment, DeadLetterRequest, Held, Limits, Pipeline, Progress, State};
use rowferry::plan::route::{Route, Routes};
use rowferry::plan::write::{Batch, Write, WriteKind};
use rowferry::record::{Record, TopicPartition};
use rowferry::sink::cassandra::Cassandra;
use rowferry::sink::cassandra::cluster::Cluster;
use rowferry::sink::{Failure, Opened, Outcome, Sink, postgres};
use rowferry::verify::report;
use tokio::sync::{mpsc, watch};

use crate::dead_letters::fate::{Fate, Ledger, Ready, ready};
use crate::dead_letters::selection::Entry;
use crate::dead_letters::{Redrive, progress, reading};
use crate::topics::of_topics;
use crate::{cassandra_settings, resolve, sections, with_source};

/// How long servers that are not there are waited for at the start.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Refusals and source rows that wait in line.
const REQUESTS_MAX: usize = 256;

/// Redrives the chosen letters, or says what would be written.
pub async fn run(
    config: &Config,
    asked: &Redrive,
    chosen: Vec<Entry>,
    shutdown: watch::Receiver<bool>,
) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let connected = until_there(&shutdown, || connect(config, consumer, target));
    let (routes, sink, gc_grace) = match tokio::time::timeout(CONNECT_PATIENCE, connected).await {
        Ok(Ok(connected)) => connected,
        // It was asked to stop, and nothing is done.
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!("Cassandra or Postgres was not there for {} s: giving up", CONNECT_PATIENCE.as_secs());
            return Err(Exit::Failed);
        }
    };
    if asked.dry_run {
        let shown = Shown { routes: routes.clone(), values: asked.values.values, seen: Mutex::default() };
        let drive = Drive::new(config, routes, shown, gc_grace, shutdown);
        drive.run(config, chosen, true, |shown, place| shown.take(place)).await
    } else {
        let drive = Drive::new(config, routes, sink, gc_grace, shutdown);
        drive.run(config, chosen, false, |_, _| Vec::new()).await
    }
}

type Connected = (Arc<Routes>, Cassandra, BTreeMap<String, Duration>);

/// As a run does it, and how long the tables remember deletes.
async fn connect(config: &Config, consumer: &Consumer, target: &Target) -> Result<Connected, Failure> {
    let cluster = Cluster::connect(&cassandra_settings(target)).await.map_err(about("sink.cassandra"))?;
    let consumer = of_topics(config, consumer).await?;
    let specs = with_source(config, &consumer.routes).await?;
    let routes = resolve(&specs, &cluster).await?;
    let tables: Vec<&str> = routes.routes.iter().map(|route| route.table.as_str()).collect();
    let gc_grace = cluster.gc_grace(&tables).await?;
    let sink = cluster.sink(&routes).await?;
    Ok((Arc::new(routes), sink, gc_grace))
}

/// Where a record stands: partition and offset.
type Place = (TopicPartition, i64);

/// A pipeline, and what it refuses.
struct Drive<S> {
    pipeline: Arc<Pipeline<S>>,
    refused: Arc<Mutex<HashMap<Place, String>>>,
    gc_grace: BTreeMap<String, Duration>,
    shutdown: watch::Receiver<bool>,
    /// Nobody asks for ends: only rows of another topic are waited for by them.
    _topic_ends: mpsc::Receiver<rowferry::pipeline::TopicEndsRequest>,
}

impl<S: Sink> Drive<S> {
    fn new(
        config: &Config,
        routes: Arc<Routes>,
        sink: S,
        gc_grace: BTreeMap<String, Duration>,
        shutdown: watch::Receiver<bool>,
    ) -> Drive<S> {
        routes.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
        let (dead_letters, letters) = mpsc::channel(REQUESTS_MAX);
        let (topic_ends, ends) = mpsc::channel(1);
        let (reselects, lacking) = mpsc::channel(REQUESTS_MAX);
        if let Some(source) = &config.source.postgres {
            tokio::spawn(reselect::run(postgres::Settings::new(source.url.reveal(), "reselect"), lacking));
        }
        let refused = Arc::default();
        tokio::spawn(keep(letters, Arc::clone(&refused)));
        let limits = Limits {
            batch_records_max: config.limits.batch_records_max,
            batch_bytes_max: config.limits.batch_bytes_max,
            record_bytes_max: config.limits.record_bytes_max,
            breaker: BreakerLimits { in_a_row_max: 0, per_minute_max: 0 },
        };
        let (sink, said) = (Arc::new(sink), Said::default());
        let bounds = Bounds::default();
        let pipeline = Arc::new(Pipeline { sink, routes, limits, dead_letters, topic_ends, reselects, said, bounds });
        Drive { pipeline, refused, gc_grace, shutdown, _topic_ends: ends }
    }

    /// Redrives letter by letter, those that are read together side by side. `details` is told of what was written.
    async fn run(
        self,
        config: &Config,
        chosen: Vec<Entry>,
        dry_run: bool,
        details: impl Fn(&S, &Place) -> Vec<String> + Send + 'static,
    ) -> Result<Exit, Exit> {
        let letters = chosen.len();
        let runtime = tokio::runtime::Handle::current();
        let shutdown = self.shutdown.clone();
        let ledger = Arc::new(Mutex::new(Ledger::new(dry_run)));
        let kept = ledger.clone();
        let mut progress = progress::Progress::begin("redriving", letters as u64);
        let each = move |letters: Vec<(Entry, Record)>| {
            let now_ms = Utc::now().timestamp_millis();
            let redriven = letters.into_iter().map(|(entry, record)| async {
                let place = (entry.origin.topic_partition(), entry.origin.offset);
                let fate = match ready(&entry, record, &self.pipeline.routes, &self.gc_grace, now_ms) {
                    Ok(ready) => self.redrive(&place, ready).await,
                    Err(fate) => fate,
                };
                (entry.origin, fate, details(&self.pipeline.sink, &place))
            });
            let fates = runtime.block_on(futures::future::join_all(redriven));
            let mut ledger = kept.lock().unwrap_or_else(PoisonError::into_inner);
            progress.beside(|| fates.iter().for_each(|(origin, fate, details)| ledger.tell(origin, fate, details)));
            fates.iter().for_each(|_| progress.step());
            // What stops every letter stops all that follow: a person has to act first.
            let stopped = |fate: &Fate| matches!(fate, Fate::Stopped(_) | Fate::Interrupted);
            if fates.iter().all(|(_, fate, _)| stopped(fate)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let read = reading::bodies(config, chosen, &shutdown, each).await;
        let exit = ledger.lock().unwrap_or_else(PoisonError::into_inner).close(letters);
        read.map(|_| exit)
    }

    /// One record through the loop, to its end.
    async fn redrive(&self, place: &Place, ready: Ready) -> Fate {
        let (partition, start_offset) = place.clone();
        let chain = Some(ready.chain);
        let (chunks, records) = mpsc::channel(1);
        let (revoke, revoked) = watch::channel(false);
        let (progress, mut seen) = watch::channel(Progress::at(start_offset, chain));
        let held = Arc::new(Held::default());
        held.add(&ready.record);
        let meters = Arc::default();
        let assignment =
            Assignment { partition, start_offset, chain, topic_id: None, records, held, meters, progress, revoked };
        let worker = tokio::spawn(self.pipeline.clone().run(assignment));
        // The channel has a place for it, and its receiver is the worker's.
        let _ = chunks.try_send(vec![ready.record]);
        let mut shutdown = self.shutdown.clone();
        let ended = |progress: &Progress| progress.next_offset > start_offset || is_stopped(progress);
        let ended = tokio::select! {
            ended = seen.wait_for(ended) => ended.ok().map(|progress| progress.clone()),
            _ = shutdown.wait_for(|asked| *asked) => None,
        };
        // The worker finishes what it is writing, and its last word counts.
        let _ = revoke.send(true);
        let whole = worker.await.is_ok();
        let progress = ended.unwrap_or_else(|| seen.borrow().clone());
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
        match (refused, progress) {
            (Some(why), _) => Fate::RefusedAgain(why),
            (None, progress) if progress.next_offset > start_offset => Fate::Written,
            (None, Progress { state: State::Stopped(why), .. }) => Fate::Stopped(why),
            (None, _) if !whole => Fate::Stopped("the worker ended by a bug: see the log".into()),
            (None, _) => Fate::Interrupted,
        }
    }
}

fn is_stopped(progress: &Progress) -> bool {
    matches!(progress.state, State::Stopped(_))
}

/// Keeps what the loop refuses, where it would go to the dead-letter topic: there it is already.
async fn keep(mut letters: mpsc::Receiver<DeadLetterRequest>, refused: Arc<Mutex<HashMap<Place, String>>>) {
    while let Some(DeadLetterRequest { letter, answer }) = letters.recv().await {
        let place = (letter.record.topic_partition(), letter.record.offset);
        let why = format!("{} ({})", letter.reject, letter.route);
        refused.lock().unwrap_or_else(PoisonError::into_inner).insert(place, why);
        // Nobody listens when it was asked to stop meanwhile.
        let _ = answer.send(Ok(()));
    }
}

/// A sink that only says what it was asked to write.
struct Shown {
    routes: Arc<Routes>,
    values: bool,
    seen: Mutex<HashMap<Place, Vec<String>>>,
}

impl Sink for Shown {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    /// A dry run reads no target: it shows what would be written unless the target is beyond it.
    async fn stored(&self, _batch: &Batch, writes: &[usize]) -> Result<Vec<Option<Stored>>, Failure> {
        Ok(vec![None; writes.len()])
    }

    async fn write(&self, _partition: &mut (), batch: &Batch) -> Outcome {
        if let Some(first) = batch.records.first() {
            let mut writes: Vec<String> = batch.writes.iter().map(|write| self.shown(write)).collect();
            if writes.is_empty() {
                writes.push("nothing: it changes no row of these tables".into());
            }
            let place = (batch.partition.clone(), first.record.offset);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(place, writes);
        }
        Outcome::Durable
    }
}

impl Shown {
    fn take(&self, place: &Place) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(place).unwrap_or_default()
    }

    /// `orders_by_user: delete user_id=•••, order_id=••• @1735689600000000`
    fn shown(&self, write: &Write) -> String {
        let route = &self.routes.routes[write.route];
        let op = match write.kind {
            WriteKind::Upsert => "upsert",
            WriteKind::Delete => "delete",
        };
        let version = write.version.unwrap_or_default();
        format!("{}: {op} {} @{version}", route.table, key(route, write, self.values))
    }
}

fn key(route: &Route, write: &Write, values: bool) -> String {
    let column = |at: &usize| {
        let value = if values { report::shown(Some(&write.values[*at])) } else { MASK.into() };
        format!("{}={value}", route.columns[*at].name)
    };
    route.key.iter().map(column).collect::<Vec<_>>().join(", ")
}
