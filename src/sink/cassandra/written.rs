//! When rows were written, by their own cells: what a delete has to outrank, and no more than that.

use std::sync::Arc;

use futures::future::try_join_all;
use scylla::cluster::metadata::ColumnType;
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row as CqlRow};

use super::cluster::Cluster;
use super::statement::{BoundKey, by_key, quoted};
use super::verdict;
use crate::change::position::Position;
use crate::plan::route::Route;
use crate::row::Value;
use crate::sink::Failure;

/// Rows asked for at once; the cluster's bound on requests holds beside it.
const READS_IN_FLIGHT_MAX: usize = 64;

/// Asks a route's table when its rows were written, at LOCAL_QUORUM.
pub struct WriteTimes {
    cluster: Cluster,
    route: Route,
    read: PreparedStatement,
}

/// A row that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The highest WRITETIME of its cells, in microseconds. `None` where it has no cell that tells: a row of nothing but
    /// key columns, or of nulls.
    pub last: Option<i64>,
    /// What a guarded route keeps of it (V6).
    pub position: Option<Position>,
}

/// The cells of the route that tell when they were written, and then the position where the route is guarded. The first
/// column of the key stands before them, so that there is one.
fn written_cql(keyspace: &str, route: &Route, tell: impl Fn(&str) -> bool) -> String {
    let told = route.columns.iter().enumerate().filter(|(at, column)| !route.key.contains(at) && tell(&column.name));
    let guard = route.guard.iter().map(|guard| guard.column.as_str());
    let times = told.map(|(_, column)| column.name.as_str()).chain(guard.clone());
    let times = times.map(|name| format!("WRITETIME({})", quoted(name)));
    let first = route.key.first().map(|at| quoted(&route.columns[*at].name));
    let selected: Vec<String> = first.into_iter().chain(guard.map(quoted)).chain(times).collect();
    let table = format!("{}.{}", quoted(keyspace), quoted(&route.table));
    format!("SELECT {} FROM {table} WHERE {}", selected.join(", "), by_key(route))
}

impl Cluster {
    /// Prepares to ask.
    pub async fn write_times(&self, route: &Route) -> Result<WriteTimes, Failure> {
        let state = self.session.get_cluster_state();
        let table = state.get_keyspace(&*self.keyspace).and_then(|keyspace| keyspace.tables.get(&route.table));
        let tells = |name: &str| {
            let column = table.and_then(|table| table.columns.get(name));
            column.is_some_and(|column| is_one_cell(&column.typ))
        };
        let mut read = self.prepare(written_cql(&self.keyspace, route, tells)).await?;
        read.set_retry_policy(Some(Arc::new(DefaultRetryPolicy::new())));
        Ok(WriteTimes { cluster: self.clone(), route: route.clone(), read })
    }
}

/// What is not frozen has a cell for each of its parts, and no time of its own. The INSERT that wrote it wrote the other
/// columns, too.
pub(super) fn is_one_cell(typ: &ColumnType<'_>) -> bool {
    !matches!(typ, ColumnType::Collection { frozen: false, .. } | ColumnType::UserDefinedType { frozen: false, .. })
}

impl WriteTimes {
    /// The rows with these keys, in the order asked; `None` where there is none. The table has such keys.
    pub async fn of(&self, keys: &[Vec<Value>]) -> Result<Vec<Option<Written>>, Failure> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READS_IN_FLIGHT_MAX) {
            found.extend(try_join_all(keys.iter().map(|key| self.of_one(key))).await?);
        }
        Ok(found)
    }

    async fn of_one(&self, key: &[Value]) -> Result<Option<Written>, Failure> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::Stop(format!("Cassandra: the write times of \"{}\" were not read: {error}", self.route.table))
        };
        let _permit = self.cluster.in_flight.room().await;
        let answer = self.cluster.session.execute_unpaged(&self.read, BoundKey { route: &self.route, key }).await;
        let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
        let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
        let Some(row) = rows.maybe_first_row::<CqlRow>().map_err(|error| unreadable(&error))? else { return Ok(None) };
        let guards = usize::from(self.route.guard.is_some());
        let position = row.columns.get(1).filter(|_| guards > 0).and_then(|value| match value {
            Some(CqlValue::Blob(bytes)) => Position::from_bytes(bytes),
            _ => None,
        });
        let times = row.columns.iter().skip(1 + guards).flatten();
        let times = times.filter_map(|value| if let CqlValue::BigInt(time) = value { Some(*time) } else { None });
        Ok(Some(Written { last: times.max(), position }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cells::tests::route;
    use super::*;
    use crate::plan::route::RewindGuard;

    #[test]
    fn every_cell_that_tells_its_time_is_asked_and_a_guarded_row_for_its_position() {
        let route = route();
        insta::assert_snapshot!(written_cql("ks", &route, |name| name != "tags"), @r#"SELECT "id", WRITETIME("a") FROM "ks"."t" WHERE "id" = ?"#);
        insta::assert_snapshot!(written_cql("ks", &route, |_| false), @r#"SELECT "id" FROM "ks"."t" WHERE "id" = ?"#);
        let guard = Some(RewindGuard { column: "at".into(), deletes_table: "gone".into(), deletes_ttl_seconds: 60 });
        insta::assert_snapshot!(written_cql("ks", &Route { guard, ..route }, |_| true), @r#"SELECT "id", "at", WRITETIME("a"), WRITETIME("tags"), WRITETIME("at") FROM "ks"."t" WHERE "id" = ?"#);
    }
}
