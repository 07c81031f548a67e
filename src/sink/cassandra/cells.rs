//! One row cell by cell: what stands in it and when each cell was written, for a person who asks why.

use std::sync::Arc;

use scylla::policies::retry::DefaultRetryPolicy;
use scylla::statement::prepared::PreparedStatement;

use super::cluster::Cluster;
use super::read::Stored;
use super::statement::{BoundKey, by_key, quoted};
use super::verdict;
use super::written::is_one_cell;
use crate::plan::route::Route;
use crate::row::Value;
use crate::sink::Failure;

/// One column of a row that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub column: String,
    pub value: Value,
    /// Its WRITETIME, in microseconds. `None` for columns of the key, for nulls, and for collections that are not
    /// frozen, which have a cell for each part.
    pub written: Option<i64>,
}

/// All of the route's columns, and behind them the write times of those that this names.
fn cells_cql(keyspace: &str, route: &Route, timed: &[usize]) -> String {
    let columns = route.columns.iter().map(|column| quoted(&column.name));
    let times = timed.iter().map(|at| format!("WRITETIME({})", quoted(&route.columns[*at].name)));
    let selected: Vec<String> = columns.chain(times).collect();
    let table = format!("{}.{}", quoted(keyspace), quoted(&route.table));
    format!("SELECT {} FROM {table} WHERE {}", selected.join(", "), by_key(route))
}

impl Cluster {
    /// The row with this key in the route's table, at LOCAL_QUORUM; `None` where there is none. The key is one value for
    /// each column of the primary key, in its order.
    pub async fn cells(&self, route: &Route, key: &[Value]) -> Result<Option<Vec<Cell>>, Failure> {
        let timed = self.timed(route);
        let mut read: PreparedStatement = self.prepare(cells_cql(&self.keyspace, route, &timed)).await?;
        read.set_retry_policy(Some(Arc::new(DefaultRetryPolicy::new())));
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::Stop(format!("Cassandra: the row of \"{}\" was not read: {error}", route.table))
        };
        let answer = self.session.execute_unpaged(&read, BoundKey { route, key }).await;
        let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
        let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
        let row = rows.maybe_first_row::<Stored>().map_err(|error| unreadable(&error))?;
        Ok(row.map(|Stored(row)| of_row(route, &timed, row)))
    }

    /// The columns whose write time can be asked for: indexes into the route's.
    fn timed(&self, route: &Route) -> Vec<usize> {
        let state = self.session.get_cluster_state();
        let table = state.get_keyspace(&*self.keyspace).and_then(|keyspace| keyspace.tables.get(&route.table));
        let tells = |name: &str| {
            let column = table.and_then(|table| table.columns.get(name));
            column.is_some_and(|column| is_one_cell(&column.typ))
        };
        let columns = route.columns.iter().enumerate();
        columns.filter(|(at, column)| !route.key.contains(at) && tells(&column.name)).map(|(at, _)| at).collect()
    }
}

fn of_row(route: &Route, timed: &[usize], row: Vec<Value>) -> Vec<Cell> {
    let (values, times) = row.split_at(route.columns.len());
    let written = |at: usize| match timed.iter().position(|timed| *timed == at).map(|place| &times[place]) {
        Some(Value::Int(micros)) => Some(*micros),
        _ => None,
    };
    let columns = route.columns.iter().zip(values).enumerate();
    let cell = |(at, (column, value)): (usize, (&crate::plan::route::RouteColumn, &Value))| Cell {
        column: column.name.clone(),
        value: value.clone(),
        written: written(at),
    };
    columns.map(cell).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::route::{RouteSpec, Routes, TargetTable};
    use crate::row::{Column, Kind};

    /// Of three columns: a key, `a` and `tags`.
    pub fn route() -> Route {
        let table = TargetTable {
            name: "t".into(),
            columns: ["id", "a", "tags"].map(|name| Column { name: name.into(), kind: Kind::Int64 }).into(),
            key: vec!["id".into()],
        };
        let spec = RouteSpec { schemas: true, ..RouteSpec::new("t", "t", &["id"]) };
        let tables = BTreeMap::from([("t".to_string(), table)]);
        Routes::resolve(&[spec], &tables).expect("a route that fits its table").routes.remove(0)
    }

    #[test]
    fn every_column_is_asked_for_and_the_time_of_those_that_have_one() {
        insta::assert_snapshot!(cells_cql("ks", &route(), &[1]), @r#"SELECT "id", "a", "tags", WRITETIME("a") FROM "ks"."t" WHERE "id" = ?"#);
    }

    #[test]
    fn a_time_stands_with_the_column_that_it_was_asked_for() {
        let row = vec![Value::Int(1), Value::Null, Value::Int(3), Value::Int(77)];
        let told: Vec<(String, Option<i64>)> =
            of_row(&route(), &[2], row).into_iter().map(|cell| (cell.column, cell.written)).collect();
        assert_eq!(told, [("id".to_string(), None), ("a".into(), None), ("tags".into(), Some(77))]);
        let null = of_row(&route(), &[1], vec![Value::Int(1), Value::Null, Value::Null, Value::Null]);
        assert!(null.iter().all(|cell| cell.written.is_none()));
    }
}
