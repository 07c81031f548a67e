//! What the cluster says about tables beside their columns: how long deletes are remembered, and what we may do.

use std::collections::BTreeMap;

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use super::cluster::Cluster;
use super::statement::quoted;
use super::verdict;
use crate::sink::Failure;

/// A table's settings that matter to whoever writes it, and our rights. `None` is what the cluster does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFacts {
    pub gc_grace_seconds: Option<i32>,
    /// `default_time_to_live`; 0 is none.
    pub ttl_seconds: Option<i32>,
    pub may_read: Option<bool>,
    pub may_write: Option<bool>,
}

impl Cluster {
    /// Describes these tables. A table that is not there is left out.
    pub async fn table_facts(&self, names: &[&str]) -> Result<BTreeMap<String, TableFacts>, Failure> {
        let mut facts: BTreeMap<String, TableFacts> = BTreeMap::new();
        let settings = "SELECT table_name, gc_grace_seconds, default_time_to_live FROM system_schema.tables \
                        WHERE keyspace_name = ?";
        let settings = self.session().query_unpaged(settings, (&*self.keyspace,)).await;
        let settings = settings.map_err(|error| verdict::execution(&error).into_failure())?;
        let rows = settings.into_rows_result().map_err(|error| Failure::Stop(format!("Cassandra: {error}")))?;
        let rows = rows.rows::<(String, Option<i32>, Option<i32>)>();
        for row in rows.map_err(|error| Failure::Stop(format!("Cassandra: {error}")))? {
            let (name, gc_grace_seconds, ttl_seconds) =
                row.map_err(|error| Failure::Stop(format!("Cassandra: {error}")))?;
            if names.contains(&name.as_str()) {
                facts.insert(name, TableFacts { gc_grace_seconds, ttl_seconds, ..TableFacts::default() });
            }
        }
        let state = self.session().get_cluster_state();
        let described = state.get_keyspace(&*self.keyspace);
        for (name, facts) in &mut facts {
            let table = format!("{}.{}", quoted(&self.keyspace), quoted(name));
            // Rights are looked at before values: with them this is a row without a key, which the server refuses.
            facts.may_write = self.may(format!("INSERT INTO {table} JSON '{{}}'")).await;
            let Some(described) = described.and_then(|keyspace| keyspace.tables.get(name)) else { continue };
            let key: Vec<String> = described.partition_key.iter().map(|name| quoted(name)).collect();
            let key = key.join(", ");
            // No partition has the lowest token, so nothing is read but the right to read.
            facts.may_read = self.may(format!("SELECT {key} FROM {table} WHERE token({key}) = {}", i64::MIN)).await;
        }
        Ok(facts)
    }

    /// Whether a statement meets with a refused right. Anything else that it meets with is no matter here.
    async fn may(&self, cql: String) -> Option<bool> {
        match self.session().query_unpaged(cql, ()).await {
            Ok(_) => Some(true),
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _))) => match error {
                DbError::Unauthorized => Some(false),
                DbError::Invalid => Some(true),
                _ => None,
            },
            Err(_) => None,
        }
    }
}
