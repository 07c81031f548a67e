//! The connection to a cluster, and what the cluster says about its tables.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::metadata::{ColumnKind, Table};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

use super::in_flight::InFlight;
use super::tls::{self, Doubt, Tls};
use super::types::kind::{kind_of, kind_of_key};
use super::verdict;
use crate::plan::route::TargetTable;
use crate::row::Column;
use crate::sink::Failure;

/// Where the cluster is and how it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port` of some nodes; the others are learnt from them.
    pub nodes: Vec<String>,
    pub keyspace: String,
    pub login: Option<Login>,
    pub tls: Option<Tls>,
    /// How many requests may be under way at once, over all partitions; fewer while the cluster pushes back. At least 1.
    pub in_flight_max: usize,
    /// After this long without an answer the outcome of a request counts as unknown, and it is sent again.
    pub request_timeout: Duration,
    /// How long making a connection, or asking a node about a statement or the schema, may take.
    pub connect_timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: Password,
}

/// A password that does not print itself.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    pub fn new(password: impl Into<String>) -> Self {
        Password(password.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A connected cluster. Clones share the connections and the bound on requests in flight.
#[derive(Clone)]
pub struct Cluster {
    pub(super) session: Arc<Session>,
    pub(super) keyspace: Arc<str>,
    pub(super) in_flight: Arc<InFlight>,
    connect_timeout: Duration,
    warnings: Arc<AtomicU64>,
}

/// What the cluster says about the tables that were asked for. A table that is not there is in neither part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Keys in the order of the primary key; columns in that order too, then the others by name. A column with a
    /// problem is left out.
    pub found: BTreeMap<String, TargetTable>,
    /// Columns that cannot be written, each with its mend.
    pub problems: Vec<String>,
}

/// Requests multiplex on a connection, so one to each node carries as much as many.
const CONNECTIONS_PER_NODE: NonZeroUsize = NonZeroUsize::MIN;

/// A node that hangs takes its share of every batch until it is noticed: the driver's 30 s and 30 s would hold up all
/// partitions for a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Cluster {
    /// Connects once. [`Failure::Retry`] means that no node answers, [`Failure::Stop`] that the login is refused or
    /// the keyspace is not there. Trying again is the caller's.
    pub async fn connect(settings: &Settings) -> Result<Cluster, Failure> {
        // What failed is sent again by the pipeline, with backoff and the same version, so the driver itself neither
        // retries nor speculates: either would only multiply the load on a cluster that is in trouble.
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(settings.request_timeout))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .speculative_execution_policy(None)
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&settings.nodes)
            .pool_size(PoolSize::PerHost(CONNECTIONS_PER_NODE))
            .connection_timeout(settings.connect_timeout)
            .keepalive_interval(KEEPALIVE_INTERVAL)
            .keepalive_timeout(KEEPALIVE_TIMEOUT)
            .default_execution_profile_handle(profile.into_handle())
            .keyspaces_to_fetch([settings.keyspace.clone()]);
        if let Some(Login { user, password: Password(password) }) = &settings.login {
            builder = builder.user(user, password);
        }
        let doubt = Doubt::default();
        if let Some(tls) = &settings.tls {
            builder = builder.tls_context(Some(tls.context(&doubt)?));
        }
        let session = builder.build().await.map_err(|error| {
            let judged = verdict::new_session(&error).into_failure();
            tls::failure(&error, doubt.take().as_deref()).unwrap_or(judged)
        })?;
        let cluster = Cluster {
            session: Arc::new(session),
            keyspace: settings.keyspace.as_str().into(),
            in_flight: Arc::new(InFlight::new(settings.in_flight_max)),
            connect_timeout: settings.connect_timeout,
            warnings: Arc::new(AtomicU64::new(0)),
        };
        if cluster.expect_keyspace().is_err() {
            // The driver leaves out a keyspace that it cannot read, and tells why when it is asked for it.
            cluster.refresh().await?;
        }
        Ok(cluster)
    }

    /// Describes exactly these tables as they are now.
    pub async fn tables(&self, names: &[&str]) -> Result<Tables, Failure> {
        self.refresh().await?;
        let state = self.session.get_cluster_state();
        let mut tables = Tables { found: BTreeMap::new(), problems: Vec::new() };
        for name in names {
            if let Some(table) = state.get_keyspace(&*self.keyspace).and_then(|keyspace| keyspace.tables.get(*name)) {
                tables.found.insert((*name).into(), describe(name, table, &mut tables.problems));
            }
        }
        Ok(tables)
    }

    /// Whether a node answers.
    pub(super) async fn reach(&self) -> Result<(), Failure> {
        let asked = self.session.query_unpaged("SELECT key FROM system.local", ()).await;
        asked.map(drop).map_err(|error| verdict::execution(&error).into_failure())
    }

    /// How many warnings the server has sent with its answers to writes. Ours are meant to cause none.
    pub fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }

    /// The driver's session, for tests that look at what was stored.
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn count_warnings(&self, answer: &QueryResult) {
        let warnings = answer.warnings().count();
        if warnings > 0 {
            self.warnings.fetch_add(warnings as u64, Ordering::Relaxed);
        }
    }

    /// Prepares a statement that may be sent any number of times.
    pub(super) async fn prepare(&self, cql: String) -> Result<PreparedStatement, Failure> {
        let prepared = self.in_time(self.session.prepare(cql)).await?;
        let mut prepared = prepared.map_err(|error| verdict::prepare(&error).into_failure())?;
        prepared.set_is_idempotent(true);
        Ok(prepared)
    }

    /// Whether the nodes agree about the schema.
    pub(super) async fn expect_agreement(&self) -> Result<(), Failure> {
        match self.in_time(self.session.check_schema_agreement()).await? {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(Failure::Retry("Cassandra: the nodes do not agree about the schema yet".into())),
        }
    }

    /// The driver bounds requests, but neither preparing nor asking for agreement.
    async fn in_time<T>(&self, asked: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout(self.connect_timeout, asked)
            .await
            .map_err(|_| Failure::Retry(format!("Cassandra: no answer within {} ms", self.connect_timeout.as_millis())))
    }

    /// Reads the cluster's description again.
    async fn refresh(&self) -> Result<(), Failure> {
        self.session.refresh_metadata().await.map_err(|error| verdict::metadata(&error).into_failure())?;
        self.expect_keyspace()
    }

    fn expect_keyspace(&self) -> Result<(), Failure> {
        match self.session.get_cluster_state().get_keyspace(&*self.keyspace) {
            Some(_) => Ok(()),
            None => Err(Failure::Stop(format!(
                "Cassandra: there is no keyspace \"{}\": create it or correct `keyspace`",
                self.keyspace
            ))),
        }
    }
}

fn describe(name: &str, table: &Table, problems: &mut Vec<String>) -> TargetTable {
    let key: Vec<String> = table.partition_key.iter().chain(&table.clustering_key).cloned().collect();
    let mut others: Vec<&String> = table.columns.keys().filter(|column| !key.contains(column)).collect();
    others.sort();
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in key.iter().chain(others) {
        let described = &table.columns[column];
        let kind = match described.kind {
            ColumnKind::Static => {
                Err("is static, shared by the rows of a partition, which one source row cannot own".into())
            }
            ColumnKind::PartitionKey | ColumnKind::Clustering => kind_of_key(&described.typ),
            _ => kind_of(&described.typ),
        };
        match kind {
            Ok(kind) => columns.push(Column { name: column.clone(), kind }),
            Err(problem) => problems.push(format!("{name}.{column} {problem}")),
        }
    }
    TargetTable { name: name.into(), columns, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_print() {
        let login = Login { user: "rowferry".into(), password: Password::new("hunter2") };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
