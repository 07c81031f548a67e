//! Reading a route's table back: all rows or all keys as a stream, or single rows by key.

use std::ops::RangeInclusive;
use std::sync::Arc;

use futures::future::try_join_all;
use futures::stream::{Stream, StreamExt as _};
use scylla::deserialize::row::{ColumnIterator, DeserializeRow};
use scylla::deserialize::{DeserializationError, TypeCheckError};
use scylla::errors::NextRowError;
use scylla::frame::response::result::ColumnSpec;
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::statement::prepared::PreparedStatement;

use super::cluster::Cluster;
use super::statement::{BoundKey, read_cql, scan_cql, scan_keys_cql, scan_stretch_cql};
use super::{types, verdict};
use crate::plan::route::Route;
use crate::row::{Row, Value};
use crate::sink::Failure;

/// Rows of a page of a scan. Two pages are held at most: one being read, one being fetched.
const SCAN_PAGE_ROWS: i32 = 500;

/// Point reads under way at once for one call.
const READS_IN_FLIGHT_MAX: usize = 64;

/// Reads the table of one route, at LOCAL_QUORUM. Rows have one value for each of the route's columns, in that order;
/// a cell that was never written or was cleared is [`Value::Null`].
pub struct Reader {
    cluster: Cluster,
    route: Route,
    scan: PreparedStatement,
    scan_keys: PreparedStatement,
    scan_stretch: PreparedStatement,
    read: PreparedStatement,
}

impl Cluster {
    /// Prepares to read the table of this route.
    pub async fn reader(&self, route: &Route) -> Result<Reader, Failure> {
        let mut scan = self.prepare(scan_cql(&self.keyspace, route)).await?;
        let mut scan_keys = self.prepare(scan_keys_cql(&self.keyspace, route)).await?;
        scan.set_page_size(SCAN_PAGE_ROWS);
        scan_keys.set_page_size(SCAN_PAGE_ROWS);
        let mut read = self.prepare(read_cql(&self.keyspace, route)).await?;
        let partition_columns = read.get_variable_pk_indexes().len();
        let mut scan_stretch = self.prepare(scan_stretch_cql(&self.keyspace, route, partition_columns)).await?;
        scan_stretch.set_page_size(SCAN_PAGE_ROWS);
        for statement in [&mut scan, &mut scan_keys, &mut scan_stretch, &mut read] {
            // Nothing around a read sends it again, so a node that goes away must not end a long scan.
            statement.set_retry_policy(Some(Arc::new(DefaultRetryPolicy::new())));
        }
        Ok(Reader { cluster: self.clone(), route: route.clone(), scan, scan_keys, scan_stretch, read })
    }
}

impl Reader {
    /// Every row of the table, in the order of the partitions' tokens. After an error the stream is over, and only a
    /// new scan goes on.
    pub async fn scan(&self) -> Result<impl Stream<Item = Result<Row, Failure>> + Send + Unpin + use<>, Failure> {
        self.stream(&self.scan, Vec::new()).await
    }

    /// The key of every row of the table, or of those whose partitions have these tokens, in the order of
    /// [`Reader::scan`]: one value for each column of the primary key, in its order. Rows that are large cost no more
    /// than others.
    pub async fn scan_keys(
        &self,
        stretch: Option<RangeInclusive<i64>>,
    ) -> Result<impl Stream<Item = Result<Row, Failure>> + Send + Unpin + use<>, Failure> {
        match stretch {
            None => self.stream(&self.scan_keys, Vec::new()).await,
            Some(stretch) => self.stream(&self.scan_stretch, vec![*stretch.start(), *stretch.end()]).await,
        }
    }

    async fn stream(
        &self,
        scan: &PreparedStatement,
        tokens: Vec<i64>,
    ) -> Result<impl Stream<Item = Result<Row, Failure>> + Send + Unpin + use<>, Failure> {
        let pager = self.cluster.session.execute_iter(scan.clone(), tokens).await;
        let pager = pager.map_err(|error| verdict::pager(&error).into_failure())?;
        let rows = pager
            .rows_stream::<Stored>()
            .map_err(|error| Failure::Stop(format!("Cassandra: table \"{}\": {error}", self.route.table)))?;
        Ok(rows.map(stored))
    }

    /// The rows with these keys, in the order asked; `None` where there is none. A key is one value for each column of
    /// the primary key, in its order. A key that the table cannot hold has no row.
    pub async fn read_many(&self, keys: &[Vec<Value>]) -> Result<Vec<Option<Row>>, Failure> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READS_IN_FLIGHT_MAX) {
            rows.extend(try_join_all(keys.iter().map(|key| self.read_one(key))).await?);
        }
        Ok(rows)
    }

    async fn read_one(&self, key: &[Value]) -> Result<Option<Row>, Failure> {
        if !self.can_hold(key) {
            return Ok(None);
        }
        let _permit = self.cluster.in_flight.room().await;
        let answer = self.cluster.session.execute_unpaged(&self.read, BoundKey { route: &self.route, key }).await;
        let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::Stop(format!("Cassandra: table \"{}\" was not read: {error}", self.route.table))
        };
        let rows = answer.into_rows_result().map_err(|error| unreadable(&error))?;
        let row = rows.maybe_first_row::<Stored>().map_err(|error| unreadable(&error))?;
        Ok(row.map(|Stored(row)| row))
    }

    fn can_hold(&self, key: &[Value]) -> bool {
        let columns = self.route.key.iter().map(|at| &self.route.columns[*at]);
        key.len() == self.route.key.len()
            && columns.zip(key).all(|(column, value)| {
                let mut bytes = 0;
                types::encode::encode(&column.kind, value, |piece| bytes += piece.len()).is_ok()
                    && bytes <= types::KEY_BYTES_MAX
                    && (bytes > 0 || self.route.key.len() > 1)
            })
    }
}

fn stored(row: Result<Stored, NextRowError>) -> Result<Row, Failure> {
    match row {
        Ok(Stored(row)) => Ok(row),
        Err(error) => Err(verdict::next_row(&error).into_failure()),
    }
}

/// A row as the server returns it.
pub(super) struct Stored(pub(super) Row);

/// A column that could not be read. It names the column, never the value.
#[derive(Debug, thiserror::Error)]
#[error("column \"{column}\" {why}")]
struct UnreadableColumn {
    column: String,
    why: types::decode::Unreadable,
}

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for Stored {
    fn type_check(specs: &[ColumnSpec<'_>]) -> Result<(), TypeCheckError> {
        specs.iter().try_for_each(|spec| match types::kind::kind_of_value(spec.typ()) {
            Ok(_) => Ok(()),
            Err(why) => Err(TypeCheckError::new(UnreadableColumn {
                column: spec.name().into(),
                why: types::decode::Unreadable::Type(why),
            })),
        })
    }

    fn deserialize(columns: ColumnIterator<'frame, 'metadata>) -> Result<Self, DeserializationError> {
        let mut row = Row::with_capacity(columns.columns_remaining());
        for column in columns {
            let column = column?;
            let bytes = column.slice.as_ref().map(|slice| slice.as_slice());
            row.push(types::decode::decode(column.spec.typ(), bytes).map_err(|why| {
                DeserializationError::new(UnreadableColumn { column: column.spec.name().into(), why })
            })?);
        }
        Ok(Stored(row))
    }
}
