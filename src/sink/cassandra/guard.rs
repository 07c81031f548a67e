//! What a guarded route keeps for the rewind guard (V6), and how it is read.
//!
//! The position goes with the row, in the INSERT that writes it, so the two are never apart. A DELETE takes it away with
//! the row; the table of deletes keeps it, stamped with the delete's own version, until the replay window is over. What
//! was kept of a row that came back since is older than the row, and nobody asks for it: the row is asked first.

use futures::future::try_join_all;
use scylla::statement::prepared::PreparedStatement;

use super::cluster::Cluster;
use super::statement::{BoundKey, PreparedRoute, by_key, quoted};
use super::{Cassandra, consistency, fault, verdict};
use crate::change::position::{Position, Stored};
use crate::plan::route::{Consistency, RewindGuard, Route};
use crate::plan::write::Batch;
use crate::row::Value;
use crate::sink::Failure;

/// Rows asked for at once for one batch; the sink's bound on requests holds beside it.
const READS_IN_FLIGHT_MAX: usize = 64;

/// The statements of a guarded route, beside those that every route has.
#[derive(Debug)]
pub struct PreparedGuard {
    /// Keeps the position of a row that is deleted.
    pub remember: PreparedStatement,
    of_row: PreparedStatement,
    of_delete: PreparedStatement,
}

pub fn remember_cql(keyspace: &str, route: &Route, guard: &RewindGuard) -> String {
    let key = route.key.iter().map(|at| route.columns[*at].name.as_str());
    let columns: Vec<String> = key.chain([guard.column.as_str()]).map(quoted).collect();
    let markers = vec!["?"; columns.len()].join(", ");
    let (table, columns, ttl) = (table(keyspace, &guard.deletes_table), columns.join(", "), guard.deletes_ttl_seconds);
    format!("INSERT INTO {table} ({columns}) VALUES ({markers}) USING TIMESTAMP ? AND TTL {ttl}")
}

/// `of` is the route's table or that of its deletes.
pub fn position_cql(keyspace: &str, route: &Route, guard: &RewindGuard, of: &str) -> String {
    let (column, table) = (quoted(&guard.column), table(keyspace, of));
    format!("SELECT {column}, WRITETIME({column}) FROM {table} WHERE {}", by_key(route))
}

fn table(keyspace: &str, name: &str) -> String {
    format!("{}.{}", quoted(keyspace), quoted(name))
}

impl Cluster {
    /// The guard's statements, where the route has one.
    pub(super) async fn prepare_guard(
        &self,
        route: &Route,
        partition_columns: usize,
    ) -> Result<Option<PreparedGuard>, Failure> {
        let Some(guard) = &route.guard else { return Ok(None) };
        let refused = |why: String| Err(Failure::Stop(format!("route {}: `rewind_guard`: {why}", route.name())));
        if matches!(route.consistency, Consistency::One | Consistency::LocalOne) {
            return refused(
                "it reads at LOCAL_QUORUM, which need not see what was written at ONE: give the route another \
                 `consistency`, or none"
                    .into(),
            );
        }
        let mut remember = self.prepare(remember_cql(&self.keyspace, route, guard)).await?;
        remember.set_consistency(consistency(route.consistency));
        let of_row = self.prepare(position_cql(&self.keyspace, route, guard, &route.table)).await?;
        let of_delete = self.prepare(position_cql(&self.keyspace, route, guard, &guard.deletes_table)).await?;
        // Rows travel by the bytes of their partition key, which must choose the same nodes in both tables.
        if remember.get_variable_pk_indexes().len() != partition_columns {
            return refused(format!(
                "the key of \"{}\" has another partition key than that of \"{}\": `cdcconsumer ddl` prints the table",
                guard.deletes_table, route.table
            ));
        }
        Ok(Some(PreparedGuard { remember, of_row, of_delete }))
    }
}

impl Cassandra {
    /// What is kept of the rows of these writes, at LOCAL_QUORUM.
    pub(super) async fn positions(&self, batch: &Batch, writes: &[usize]) -> Result<Vec<Option<Stored>>, Failure> {
        let mut stored = Vec::with_capacity(writes.len());
        for writes in writes.chunks(READS_IN_FLIGHT_MAX) {
            stored.extend(try_join_all(writes.iter().map(|at| self.position_of(batch, *at))).await?);
        }
        Ok(stored)
    }

    async fn position_of(&self, batch: &Batch, write: usize) -> Result<Option<Stored>, Failure> {
        let write = &batch.writes[write];
        let asked = self.routes.get(write.route).and_then(|route| Some((route, route.guard.as_ref()?)));
        let Some((prepared, guard)) = asked else {
            return Err(Failure::Stop(fault("a route without a guard was asked for positions")));
        };
        let key: Vec<Value> = prepared.route.key.iter().map(|at| write.values[*at].clone()).collect();
        match self.position(prepared, &guard.of_row, &key).await? {
            Some(stored) => Ok(Some(stored)),
            None => self.position(prepared, &guard.of_delete, &key).await,
        }
    }

    async fn position(
        &self,
        prepared: &PreparedRoute,
        read: &PreparedStatement,
        key: &[Value],
    ) -> Result<Option<Stored>, Failure> {
        let route = &prepared.route;
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::Stop(format!("Cassandra: the positions of route {} were not read: {error}", route.name()))
        };
        let _permit = self.cluster.in_flight.room().await;
        let answer = self.cluster.session.execute_unpaged(read, BoundKey { route, key }).await;
        let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
        let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
        let row = rows.maybe_first_row::<(Option<&[u8]>, Option<i64>)>().map_err(|error| unreadable(&error))?;
        let Some((Some(bytes), Some(version))) = row else { return Ok(None) };
        let position = Position::from_bytes(bytes).ok_or_else(|| {
            unreadable(&"the column holds what is no position: somebody else writes it; give the guard its own column")
        })?;
        Ok(Some(Stored { position, version }))
    }
}
