//! Cassandra as a sink: rows become versioned cells, so every write may arrive any number of times and in any order.
//!
//! Idempotence and order come from one place: each statement carries its record's version as its timestamp (V1), and
//! the server keeps the highest for each cell. So nothing is read before it is written, there is no table of what was
//! applied, nothing is undone, and a write that a former owner left in flight does no harm when it lands late.
//!
//! [`Cluster::connect`] → [`Cluster::tables`] → routes resolved against them → [`Cluster::sink`] → [`Cassandra`].
//! Reading back goes through [`Cluster::reader`].

pub mod cluster;
pub mod tls;
pub mod types;
pub mod statement;
pub mod group;
pub mod verdict;
pub mod expiry;
mod in_flight;
pub mod checkpoint;
pub mod read;
pub mod written;
pub mod cells;
pub mod gc_grace;
pub mod describe;
pub mod ddl;
pub mod guard;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt as _};
use scylla::errors::ExecutionError;
use scylla::frame::response::result::TableSpec;
use scylla::response::query_result::QueryResult;
use scylla::statement::batch::{Batch as CqlBatch, BatchStatement, BatchType};

use self::checkpoint::Checkpoints;
use self::cluster::Cluster;
use self::expiry::{Left, TTL_SECONDS_MAX, left, now_ms};
use self::group::Item;
use self::statement::{BoundRow, PreparedRoute, Step, delete_cql, insert_cql, put_partition_key, token, version_of};
use self::types::encode::Misfit;
use crate::change::position::{POSITION_BYTES, Stored};
use crate::change::{Reject, RejectClass};
use crate::failpoint::{self, Stage};
use crate::plan::route::{Apply, Consistency, Route, Routes};
use crate::plan::ttl::Ttl;
use crate::plan::write::{Batch, Expect, Rejected, Write, WriteKind};
use crate::record::TopicPartition;
use crate::retry::Verdict;
use crate::sink::{Checkpoint, Failure, Load, Opened, Outcome, Retry, Sink};

/// The sink: a cluster with the statements of every route.
pub struct Cassandra {
    cluster: Cluster,
    routes: Vec<PreparedRoute>,
    checkpoints: Option<Checkpoints>,
}

impl Cassandra {
    /// Keeps there where partitions stand, and finds it there.
    pub fn with_checkpoints(self, checkpoints: Option<Checkpoints>) -> Self {
        Cassandra { checkpoints, ..self }
    }
}

impl Cluster {
    /// Prepares the statements of every route. Their indexes are those of [`Routes::routes`].
    pub async fn sink(&self, routes: &Routes) -> Result<Cassandra, Failure> {
        let mut prepared = Vec::with_capacity(routes.routes.len());
        for route in &routes.routes {
            prepared.push(self.prepare_route(route).await?);
        }
        Ok(Cassandra { cluster: self.clone(), routes: prepared, checkpoints: None })
    }

    async fn prepare_route(&self, route: &Route) -> Result<PreparedRoute, Failure> {
        if let Apply::Events { .. } = route.apply {
            return Err(Failure::Stop(format!(
                "route {}: business events change rows that must be looked at first, which Cassandra cannot do in \
                 one step: send them to Postgres, and its changes here",
                route.name()
            )));
        }
        if let Some(Ttl::Seconds(seconds)) = route.ttl
            && seconds > TTL_SECONDS_MAX
        {
            return Err(Failure::Stop(format!(
                "route {}: its `ttl` is {seconds} s, and Cassandra takes at most {TTL_SECONDS_MAX} (20 years): give \
                 less, or leave it out",
                route.name()
            )));
        }
        let mut insert = self.prepare(insert_cql(&self.keyspace, route)).await?;
        let mut delete = self.prepare(delete_cql(&self.keyspace, route)).await?;
        for statement in [&mut insert, &mut delete] {
            statement.set_consistency(consistency(route.consistency));
        }
        for (column, marker) in route.columns.iter().zip(insert.get_variable_col_specs().iter()) {
            if types::kind::kind_of_value(marker.typ()).as_ref() != Ok(&column.kind) {
                return Err(Failure::Stop(format!(
                    "route {}: column \"{}\" changed its type while Rowferry was starting: start again",
                    route.name(),
                    column.name
                )));
            }
        }
        let partition_columns = insert.get_variable_pk_indexes().len();
        let guard = self.prepare_guard(route, partition_columns).await?;
        Ok(PreparedRoute { route: route.clone(), insert, delete, guard, partition_columns })
    }
}

impl Sink for Cassandra {
    /// Nothing: where a partition stands is in Kafka alone, and the rows carry their versions.
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    /// Durable once as many replicas as the route's consistency asks for have acknowledged every row. Rows that can be
    /// seen not to fit are rejected before anything is sent.
    async fn write(&self, _partition: &mut (), batch: &Batch) -> Outcome {
        let rows = match self.bind(batch) {
            Ok(rows) => rows,
            Err(failed) => return failed.into_outcome(batch),
        };
        let groups = match self.group(batch, &rows) {
            Ok(groups) => groups,
            Err(Misfit) => return Outcome::Stop(fault("a key was not checked")),
        };
        let halt = AtomicBool::new(false);
        let mut sends: FuturesUnordered<_> =
            groups.iter().map(|group| self.send_group(batch, &rows, group, &halt)).collect();
        let mut failed = Failed::default();
        while let Some(sent) = sends.next().await {
            if let Err(trouble) = sent {
                failed.add(trouble);
            }
        }
        failed.into_outcome(batch)
    }

    async fn keep(&self, partition: &TopicPartition, checkpoint: &Checkpoint) -> Result<(), Failure> {
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.keep(partition, checkpoint).await,
            None => Ok(()),
        }
    }

    async fn kept(&self, topic: &str) -> Result<BTreeMap<i32, Checkpoint>, Failure> {
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.kept(topic).await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// A read by the quorum that writes need, where there is a table whose key is known; else one node's answer.
    async fn reach(&self) -> Result<(), Failure> {
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.kept("").await.map(drop),
            None => self.cluster.reach().await,
        }
    }

    fn load(&self) -> Load {
        self.cluster.in_flight.load()
    }

    async fn stored(&self, batch: &Batch, writes: &[usize]) -> Result<Vec<Option<Stored>>, Failure> {
        self.positions(batch, writes).await
    }
}

/// Why a group was not written.
enum Trouble {
    Wait(String),
    Stop(String),
    Refused(Vec<Rejected>),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(text) => Trouble::Wait(text),
            Failure::Stop(text) => Trouble::Stop(text),
        }
    }
}

/// The troubles of a batch. A stop outranks a reject, and a reject a wait: what is known for good is said at once.
#[derive(Default)]
struct Failed {
    wait: Option<String>,
    stop: Option<String>,
    /// One for each record, however many of its rows were refused.
    refused: BTreeMap<usize, Rejected>,
}

impl Failed {
    fn stop(text: String) -> Self {
        Failed { stop: Some(text), ..Failed::default() }
    }

    fn add(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Wait(text) => {
                self.wait.get_or_insert(text);
            }
            Trouble::Stop(text) => {
                self.stop.get_or_insert(text);
            }
            Trouble::Refused(rejected) => rejected.into_iter().for_each(|rejected| self.refuse(rejected)),
        }
    }

    fn refuse(&mut self, rejected: Rejected) {
        self.refused.entry(rejected.record).or_insert(rejected);
    }

    fn into_outcome(self, batch: &Batch) -> Outcome {
        if let Some(text) = self.stop {
            Outcome::Stop(text)
        } else if !self.refused.is_empty() {
            Outcome::Rejected(self.refused.into_values().collect())
        } else if let Some(waiting_for) = self.wait {
            // Which of the rows arrived does not matter: all are written again, with the same versions.
            let first = batch.records.first().map_or(batch.next_offset, |first| first.record.offset);
            Outcome::Retry(Retry { next_offset: first, waiting_for, parent: None })
        } else {
            Outcome::Durable
        }
    }
}

impl Cassandra {
    /// Every write with its statement and version, or what is wrong with some of them.
    fn bind<'a>(&'a self, batch: &'a Batch) -> Result<Vec<BoundRow<'a>>, Failed> {
        let mut rows = Vec::with_capacity(batch.writes.len());
        let mut failed = Failed::default();
        let now_ms = now_ms();
        for (at, write) in batch.writes.iter().enumerate() {
            let Some(prepared) = self.routes.get(write.route) else {
                return Err(Failed::stop(fault("a write names a route that was not prepared")));
            };
            if write.values.len() != prepared.route.columns.len() || write.expect != Expect::Any {
                return Err(Failed::stop(fault("a write is not of its route's shape")));
            }
            let version = version_of(write).map_err(|text| Failed::stop(fault(&text)))?;
            if let Err(reject) = types::check(&prepared.route, prepared.partition_columns, write) {
                failed.refuse(Rejected { record: write.record, route: Some(write.route), reject });
            }
            let (step, version, ttl) = match lasting(write, version, now_ms) {
                Ok(lasting) => lasting,
                Err(reject) => {
                    failed.refuse(Rejected { record: write.record, route: Some(write.route), reject });
                    continue;
                }
            };
            let (route, values) = (write.route, &write.values[..]);
            let position = write.standing.position.unwrap_or_default();
            let row = |step| BoundRow { route, write: at, prepared, step, values, position, version, ttl };
            rows.push(row(step));
            if step == Step::Delete && prepared.guard.is_some() && write.standing.position.is_some() {
                rows.push(row(Step::Remember));
            }
        }
        if failed.refused.is_empty() { Ok(rows) } else { Err(failed) }
    }

    /// Which rows travel together: by partition key, and by the nodes that keep it.
    fn group(&self, batch: &Batch, rows: &[BoundRow<'_>]) -> Result<Vec<Vec<usize>>, Misfit> {
        let mut keys = Vec::with_capacity(rows.len() * 16);
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            put_partition_key(&row.prepared.route, row.prepared.partition_columns, row.values, &mut keys)?;
            ends.push(keys.len());
        }
        let state = self.cluster.session.get_cluster_state();
        let strategy = state.get_keyspace(&*self.cluster.keyspace).map(|keyspace| &keyspace.strategy);
        // A request has one consistency.
        let mut sets: HashMap<(Consistency, Vec<u128>), u32> = HashMap::new();
        let mut start = 0;
        let items: Vec<Item<'_>> = rows
            .iter()
            .zip(ends)
            .map(|(row, end)| {
                let key = &keys[start..end];
                start = end;
                let mut nodes: Vec<u128> = strategy.map_or_else(Vec::new, |strategy| {
                    let table = TableSpec::borrowed(&self.cluster.keyspace, &row.prepared.route.table);
                    let replicas = state.replica_locator().replicas_for_token(token(key), strategy, None, &table);
                    replicas.into_iter().map(|(node, _)| node.host_id.as_u128()).collect()
                });
                nodes.sort_unstable();
                let next = u32::try_from(sets.len()).unwrap_or(u32::MAX);
                let consistency = row.prepared.route.consistency;
                let replicas = (!nodes.is_empty()).then(|| *sets.entry((consistency, nodes)).or_insert(next));
                let guard_bytes = if row.prepared.guard.is_some() { POSITION_BYTES } else { 0 };
                let bytes = types::row_bytes(&row.prepared.route, &batch.writes[row.write]) + guard_bytes;
                // The table of deletes has partitions of its own, on the same nodes.
                let table = row.route + if row.step == Step::Remember { self.routes.len() } else { 0 };
                Item { partition: (table, key), replicas, bytes }
            })
            .collect();
        Ok(group::group(&items))
    }

    /// Sends a group, and finds out which of its rows is to blame when the server refuses it. Once another group had
    /// trouble that ends the batch (`halt`), nothing more is sent for it.
    async fn send_group(
        &self,
        batch: &Batch,
        rows: &[BoundRow<'_>],
        group: &[usize],
        halt: &AtomicBool,
    ) -> Result<(), Trouble> {
        let sent = match self.send(rows, group, halt).await {
            Ok(()) => return Ok(()),
            Err(error) => match verdict::execution(&error) {
                judged if judged.verdict == Verdict::Reject => self.send_singly(batch, rows, group, halt).await,
                judged => Err(judged.into_failure().into()),
            },
        };
        if let Err(Trouble::Wait(_) | Trouble::Stop(_)) = sent {
            halt.store(true, Ordering::Relaxed);
        }
        sent
    }

    /// The server called a request invalid, which it says of a row that does not fit and of a table that is gone.
    /// Preparing the statements again tells the two apart (C9), and sending row by row finds the one to blame; a row
    /// that is refused twice while its statement stands is a reject. One node is enough for a statement to stand, so
    /// another one may be without the table.
    async fn send_singly(
        &self,
        batch: &Batch,
        rows: &[BoundRow<'_>],
        group: &[usize],
        halt: &AtomicBool,
    ) -> Result<(), Trouble> {
        self.expect_statements(rows, group).await?;
        let mut refused = Vec::new();
        for at in group {
            if let Err(error) = self.send(rows, std::slice::from_ref(at), halt).await {
                match verdict::execution(&error) {
                    judged if judged.verdict == Verdict::Reject && verdict::misses_schema(&error) => {
                        return Err(Trouble::Wait("Cassandra: a node does not know a table that others know".into()));
                    }
                    judged if judged.verdict == Verdict::Reject => refused.push(*at),
                    judged => return Err(judged.into_failure().into()),
                }
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        // A table dropped since the first look would have refused these rows too.
        self.expect_statements(rows, &refused).await?;
        let rejected = refused.into_iter().map(|at| {
            let row = &rows[at];
            let text = format!("the server refused the row for {}: see its log", row.prepared.route.table);
            Rejected {
                record: batch.writes[row.write].record,
                route: Some(row.route),
                reject: Reject::new(RejectClass::Refused, text),
            }
        });
        Err(Trouble::Refused(rejected.collect()))
    }

    /// Whether the statements of these rows still hold. While the nodes disagree about the schema nobody can tell.
    async fn expect_statements(&self, rows: &[BoundRow<'_>], group: &[usize]) -> Result<(), Trouble> {
        let statements: BTreeSet<&str> = group.iter().map(|at| rows[*at].statement().get_statement()).collect();
        for statement in statements {
            self.cluster.prepare(statement.into()).await?;
        }
        Ok(self.cluster.expect_agreement().await?)
    }

    /// One request. `Ok` when enough replicas have it, or when the batch has failed already and it was not sent.
    async fn send(&self, rows: &[BoundRow<'_>], group: &[usize], halt: &AtomicBool) -> Result<(), ExecutionError> {
        let room = self.cluster.in_flight.room().await;
        if halt.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.request(rows, group).await {
            Ok(answer) => {
                room.served();
                self.cluster.count_warnings(&answer);
                failpoint::reach(Stage::BetweenStatements);
                Ok(())
            }
            Err(error) => {
                if verdict::execution(&error).verdict == Verdict::Retry {
                    room.pushed_back(Instant::now());
                }
                Err(error)
            }
        }
    }

    async fn request(&self, rows: &[BoundRow<'_>], group: &[usize]) -> Result<QueryResult, ExecutionError> {
        let session = &self.cluster.session;
        let [at] = group else {
            let statements =
                group.iter().map(|at| BatchStatement::PreparedStatement(rows[*at].statement().clone())).collect();
            // Unlogged keeps each statement's timestamp and writes no batch log: what is lost in between is sent again.
            let mut request = CqlBatch::new_with_statements(BatchType::Unlogged, statements);
            request.set_is_idempotent(true);
            request.set_consistency(consistency(rows[group[0]].prepared.route.consistency));
            let values: Vec<&BoundRow<'_>> = group.iter().map(|at| &rows[*at]).collect();
            return session.batch(&request, values).await;
        };
        session.execute_unpaged(rows[*at].statement(), &rows[*at]).await
    }
}

/// What a write is by now: an insert that lives so many seconds, or a delete at its record's own version when its row
/// has ended ([`expiry`]).
fn lasting(write: &Write, version: i64, now_ms: i64) -> Result<(Step, i64, i32), Reject> {
    match (write.kind, left(write.ends_at_ms, now_ms)) {
        (WriteKind::Delete, _) => Ok((Step::Delete, version, expiry::TTL_NONE)),
        (WriteKind::Upsert, Left::Seconds(ttl)) => Ok((Step::Insert, version, ttl)),
        (WriteKind::Upsert, Left::Nothing) => Ok((Step::Delete, version - 1, expiry::TTL_NONE)),
        (WriteKind::Upsert, Left::TooMuch) => {
            let text =
                format!("the row ends later than Cassandra can say: in more than {TTL_SECONDS_MAX} s (20 years)");
            Err(Reject::new(RejectClass::OutOfRange, text))
        }
    }
}

fn consistency(of_route: Consistency) -> scylla::statement::Consistency {
    match of_route {
        Consistency::LocalQuorum => scylla::statement::Consistency::LocalQuorum,
        Consistency::Quorum => scylla::statement::Consistency::Quorum,
        Consistency::EachQuorum => scylla::statement::Consistency::EachQuorum,
        Consistency::All => scylla::statement::Consistency::All,
        Consistency::LocalOne => scylla::statement::Consistency::LocalOne,
        Consistency::One => scylla::statement::Consistency::One,
        Consistency::Two => scylla::statement::Consistency::Two,
        Consistency::Three => scylla::statement::Consistency::Three,
    }
}

fn fault(what: &str) -> String {
    format!("Cassandra: {what}: this is a fault of Rowferry, please report it")
}
