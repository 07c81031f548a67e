//! How long the tables keep tombstones: what bounds the age of a write that comes late (C6).

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Cluster;
use super::verdict;
use crate::sink::Failure;

impl Cluster {
    /// `gc_grace_seconds` of each of these tables as it is now. A table that is not there is left out.
    pub async fn gc_grace(&self, tables: &[&str]) -> Result<BTreeMap<String, Duration>, Failure> {
        let query = "SELECT gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
        let query = self.prepare(query.into()).await?;
        let mut found = BTreeMap::new();
        for table in tables {
            let answer = self.session.execute_unpaged(&query, (&*self.keyspace, *table)).await;
            let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
            let unreadable = |error: &dyn std::fmt::Display| {
                Failure::Stop(format!("Cassandra: gc_grace_seconds of \"{table}\" was not read: {error}"))
            };
            let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
            if let Some((seconds,)) = rows.maybe_first_row::<(i32,)>().map_err(|error| unreadable(&error))? {
                found.insert((*table).to_string(), Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
            }
        }
        Ok(found)
    }
}
