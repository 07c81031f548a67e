//! Postgres as a sink: rows and position in one transaction, so that every record takes effect exactly once.
//!
//! A partition has one row in `rowferry_progress`, and an owner who took it by raising its epoch. The owner moves the
//! row in the transaction of each batch, from where it left it: a former owner, a repeated batch and a COMMIT whose
//! answer was lost all find it elsewhere and change nothing. Backoff, dead letters and waits are the pipeline's.

mod connections;
pub mod url;
pub mod errors;
mod limits;
mod schema;
pub mod types;
mod progress;
mod apply;
mod statements;
mod transaction;
mod forms;
pub mod source;
mod catalog;
pub mod describe;
pub mod signal;
mod tables;
pub mod reselect;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::time::timeout;

use crate::plan::route::{Routes, TargetTable};
use crate::plan::write::{Batch, Expect};
use crate::record::TopicPartition;
use crate::retry::Verdict;
use crate::sink::postgres::connections::{Connections, Lease};
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::progress::{Group, Progress};
use crate::sink::postgres::schema::TablePlan;
use crate::sink::postgres::statements::Statements;
use crate::sink::postgres::transaction::Ended;
use crate::sink::{Failure, Load, Opened, Outcome, ParentWait, Retry, Sink};

/// How to reach a database, and as whom to apply.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`. Holds a secret, and is never printed.
    pub url: String,
    pub consumer_group: String,
    /// Connections at a time. A partition uses one while it writes.
    pub pool_max: usize,
    pub connect_timeout: Duration,
    /// How long a statement waits for a lock, such as that of a former owner's open transaction.
    pub lock_timeout: Duration,
    /// How long a batch may take. Longer than that the server counts as away, and the outcome as unknown.
    pub answer_timeout: Duration,
}

impl Settings {
    pub fn new(url: impl Into<String>, consumer_group: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            consumer_group: consumer_group.into(),
            pool_max: 16,
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("consumer_group", &self.consumer_group).finish_non_exhaustive()
    }
}

/// A database that answers. What a binary holds before it has routes, and all that `verify` needs.
pub struct Postgres {
    connections: Connections,
    group: Group,
    answer_timeout: Duration,
}

impl Postgres {
    /// Connects once, so that a wrong password or database is found before anything runs.
    ///
    /// [`Failure::Retry`]: the server is away, starting or full. [`Failure::Stop`]: it refuses us; the text has the
    /// mend, and not the password.
    pub async fn connect(settings: Settings) -> Result<Postgres, Failure> {
        let connections = Connections::new(&settings)?;
        connections.lease().await?.give_back();
        let answer_timeout = settings.answer_timeout;
        Ok(Postgres { connections, group: Group(settings.consumer_group), answer_timeout })
    }

    /// The named tables (`users`, `public.users`) from the live catalog, for [`Routes::resolve`]. One that does not
    /// exist is left out; a column type that is not carried and a missing primary key are a [`Failure::Stop`] whose
    /// text has one line for each.
    pub async fn tables(&self, names: &[String]) -> Result<BTreeMap<String, TargetTable>, Failure> {
        let mut connection = self.connections.lease().await?;
        let tables = schema::tables(&mut connection, names).await?;
        connection.give_back();
        Ok(tables)
    }

    /// The sink for these routes, each of which applies events: constraints, defaults and foreign keys are read from
    /// the catalog now and hold as long as the sink does.
    pub async fn sink(self, routes: &Arc<Routes>) -> Result<PostgresSink, Failure> {
        let mut connection = self.connections.lease().await?;
        let plans = schema::plans(&mut connection, routes).await?;
        transaction::check_server(&mut connection).await?;
        connection.give_back();
        let statements = plans.iter().map(Statements::new).collect();
        let order = schema::parents_first(&plans);
        let Postgres { connections, group, answer_timeout } = self;
        Ok(PostgresSink { connections, group, answer_timeout, plans, statements, order })
    }
}

/// The sink. Plans and statements stand by route.
pub struct PostgresSink {
    connections: Connections,
    group: Group,
    answer_timeout: Duration,
    plans: Vec<TablePlan>,
    statements: Vec<Statements>,
    /// Routes with parents before children.
    order: Vec<usize>,
}

/// A partition that this process took: its row in `rowferry_progress` as we left it. The row may be further, when
/// the answer to a COMMIT of ours was lost, and is asked when it is.
#[derive(Debug)]
pub struct Partition {
    of: TopicPartition,
    progress: Progress,
}

impl Sink for PostgresSink {
    type Partition = Partition;

    async fn open(
        &self,
        partition: &TopicPartition,
        start_offset: i64,
        topic_id: Option<&str>,
    ) -> Result<Opened<Partition>, Failure> {
        let take = async {
            let mut connection = self.connections.lease().await?;
            let taken = self.group.take(&mut connection, partition, start_offset, topic_id).await?;
            connection.give_back();
            Ok::<_, Fault>(taken)
        };
        let (progress, topic) = self.in_time(take).await.map_err(|fault| {
            let text = format!("taking {partition}: {}", fault.text);
            Failure::from(Fault { text, ..fault })
        })?;
        if let Some((then, now)) = topic.as_deref().zip(topic_id).filter(|(then, now)| then != now) {
            return Err(Failure::Stop(format!(
                "{partition}: the topic was deleted and made anew (its id was {then} and is {now}), so that what is in \
                 Postgres says nothing about its records; to read it from its beginning, DELETE FROM rowferry_progress \
                 WHERE consumer_group = '{}' AND topic = '{}'",
                self.group.0, partition.topic
            )));
        }
        if start_offset > progress.next_offset {
            return Err(Failure::Stop(format!(
                "{partition}: Kafka says that offset {start_offset} comes next, but only the records below {} are in \
                 Postgres: those in between would be lost. Move the group's offset back to {}; if they are gone from \
                 the topic and may be missed, set next_offset to {start_offset} in rowferry_progress instead",
                progress.next_offset, progress.next_offset
            )));
        }
        Ok(Opened { next_offset: progress.next_offset, state: Partition { of: partition.clone(), progress } })
    }

    async fn write(&self, state: &mut Partition, batch: &Batch) -> Outcome {
        if let Some(write) = batch.writes.iter().find(|write| write.expect == Expect::Any) {
            let name = &self.plans[write.route].name;
            return Outcome::Stop(format!("mirroring into \"{name}\" is not supported yet: set `soft_delete`"));
        }
        if let Some(outcome) = state.already_durable(batch) {
            return outcome;
        }
        match self.in_time(self.attempt(state, batch)).await {
            Ok(ended) => state.outcome(ended, batch),
            Err(fault) => match fault.verdict {
                Verdict::Retry => state.again(fault.text),
                Verdict::Reject | Verdict::Stop => Outcome::Stop(format!("{}: {}", state.of, fault.text)),
            },
        }
    }

    async fn reach(&self) -> Result<(), Failure> {
        let ask = async {
            let mut connection = self.connections.lease().await?;
            connection.ping().await.map_err(Fault::from)?;
            connection.give_back();
            Ok::<_, Fault>(())
        };
        self.in_time(ask).await.map_err(Failure::from)
    }

    fn load(&self) -> Load {
        self.connections.load()
    }
}

impl PostgresSink {
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let answer = match timeout(self.answer_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::lost(format!("Postgres gave no answer in {:?}", self.answer_timeout))),
        };
        if answer.as_ref().is_err_and(|fault| fault.lost) {
            self.connections.forget_idle();
        }
        answer
    }

    async fn attempt(&self, state: &Partition, batch: &Batch) -> Result<Ended, Fault> {
        let mut connection = self.connections.lease().await?;
        let ended = self.steps(&mut connection, state, batch).await;
        // After an error of the server's its transaction is rolled back here, and not left open on an idle
        // connection; a broken connection is closed.
        let usable = match &ended {
            Ok(_) => true,
            Err(fault) => !fault.lost && connection.ping().await.is_ok(),
        };
        if usable {
            connection.give_back();
        }
        ended
    }

    /// One transaction; a second one that finds the culprits when the server refuses a row of it; a look at the
    /// partition's row when the answer to COMMIT was lost.
    async fn steps<'a>(&'a self, connection: &mut Lease<'a>, state: &Partition, batch: &Batch) -> Result<Ended, Fault> {
        let mut ended = self.transaction(connection, &state.of, state.progress, batch).await;
        if ended.as_ref().is_err_and(|fault| fault.verdict == Verdict::Reject) {
            ended = self.isolate(connection, &state.of, state.progress, batch).await;
        }
        if matches!(ended, Ok(Ended::Unknown)) {
            self.connections.replace(connection).await?;
            return Ok(Ended::Elsewhere(self.group.settled(connection, &state.of).await?));
        }
        ended
    }
}

impl Partition {
    /// A batch that begins below the row's offset: part of it was durable before we knew.
    fn already_durable(&self, batch: &Batch) -> Option<Outcome> {
        let durable = self.progress.next_offset;
        if batch.next_offset <= durable {
            return Some(Outcome::Durable);
        }
        let first = batch.records.first()?;
        (first.record.offset < durable).then(|| self.again("the rest of a batch whose beginning is durable"))
    }

    fn again(&self, waiting_for: impl Into<String>) -> Outcome {
        Outcome::Retry(Retry { next_offset: self.progress.next_offset, waiting_for: waiting_for.into(), parent: None })
    }

    /// What the pipeline is told, and where the row is now.
    fn outcome(&mut self, ended: Ended, batch: &Batch) -> Outcome {
        match ended {
            Ended::Committed { next_offset, wait: None } => {
                self.progress.next_offset = next_offset;
                Outcome::Durable
            }
            Ended::Committed { next_offset, wait: Some((waiting_for, parent)) } => {
                self.progress.next_offset = next_offset;
                self.waits(waiting_for, parent)
            }
            Ended::Refused(rejects) => Outcome::Rejected(rejects),
            Ended::Elsewhere(row) => self.settle(row, batch),
            // `steps` has looked and turned it into `Elsewhere`.
            Ended::Unknown => self.again("the answer to a COMMIT was lost"),
        }
    }

    fn waits(&self, waiting_for: String, parent: ParentWait) -> Outcome {
        Outcome::Retry(Retry { next_offset: self.progress.next_offset, waiting_for, parent: Some(parent) })
    }

    /// The row did not stand where we left it, or we do not know whether we moved it: it says what happened. Nobody
    /// else writes under our epoch, so an offset beyond ours is a batch of ours whose COMMIT came through.
    fn settle(&mut self, row: Option<Progress>, batch: &Batch) -> Outcome {
        let Some(row) = row else {
            return Outcome::Stop(format!(
                "{}: its row in rowferry_progress is gone while we own it: find out who removes it, and restore it \
                 with next_offset {} when the tables are what they were",
                self.of, self.progress.next_offset
            ));
        };
        if row.owner_epoch != self.progress.owner_epoch {
            return Outcome::Stop(format!(
                "{}: another owner took it (epoch {}, ours was {}); nothing more is written here",
                self.of, row.owner_epoch, self.progress.owner_epoch
            ));
        }
        if row.next_offset < self.progress.next_offset {
            return Outcome::Stop(format!(
                "{}: rowferry_progress went back from {} to {} while we own it: was the database restored? Check it, \
                 then start again",
                self.of, self.progress.next_offset, row.next_offset
            ));
        }
        self.progress.next_offset = row.next_offset;
        if row.next_offset >= batch.next_offset {
            Outcome::Durable
        } else {
            self.again("what is left of a batch after a COMMIT whose answer was lost")
        }
    }
}
