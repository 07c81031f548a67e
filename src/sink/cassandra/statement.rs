//! The two statements of a route, the one that a guarded route has beside them, and the rows bound to them.

use scylla::frame::response::result::ColumnSpec;
use scylla::routing::Token;
use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner as _};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::prepared::PreparedStatement;

use super::guard::PreparedGuard;
use super::types::encode::{Misfit, encode};
use crate::change::position::Position;
use crate::plan::route::{Route, RouteColumn};
use crate::plan::write::Write;
use crate::row::Value;

/// A route with its statements as the server knows them.
#[derive(Debug)]
pub struct PreparedRoute {
    pub route: Route,
    pub insert: PreparedStatement,
    pub delete: PreparedStatement,
    pub guard: Option<PreparedGuard>,
    /// How many of the key's columns choose the partition.
    pub partition_columns: usize,
}

/// One row on its way: a write with what is needed to put it on the wire.
///
/// Values go straight from the plan into the driver's buffer. `INSERT` binds every column of the route and then the
/// timestamp, and the time to live where rows end; where the route is guarded, the position stands behind the columns.
/// `DELETE` binds the timestamp and then the key. Absent and unavailable values are bound UNSET, which
/// leaves the target's cell alone; null is bound as null, which clears it (C2).
pub struct BoundRow<'a> {
    /// Index of the route, and of the write in its batch.
    pub route: usize,
    pub write: usize,
    pub prepared: &'a PreparedRoute,
    pub step: Step,
    pub values: &'a [Value],
    /// What a guarded route keeps of the row or of its delete (V6).
    pub position: Position,
    /// Always bound: an UNSET timestamp would silently be the clock of the server (V1).
    pub version: i64,
    /// Seconds that the row lives; bound where the route's rows end.
    pub ttl: i32,
}

/// Which statement a row goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Insert,
    Delete,
    /// Keeps the position of a row that is deleted.
    Remember,
}

/// `INSERT`, never `UPDATE`: the row's own marker needs the version too (V1).
pub fn insert_cql(keyspace: &str, route: &Route) -> String {
    let guard = route.guard.iter().map(|guard| guard.column.as_str());
    let columns: Vec<String> = route.columns.iter().map(|column| &*column.name).chain(guard).map(quoted).collect();
    let markers = vec!["?"; columns.len()].join(", ");
    let ttl = if route.ttl.is_some() { " AND TTL ?" } else { "" };
    let (table, columns) = (table(keyspace, route), columns.join(", "));
    format!("INSERT INTO {table} ({columns}) VALUES ({markers}) USING TIMESTAMP ?{ttl}")
}

pub fn delete_cql(keyspace: &str, route: &Route) -> String {
    format!("DELETE FROM {} USING TIMESTAMP ? WHERE {}", table(keyspace, route), by_key(route))
}

pub fn scan_cql(keyspace: &str, route: &Route) -> String {
    let columns: Vec<String> = route.columns.iter().map(|column| quoted(&column.name)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), table(keyspace, route))
}

pub fn scan_keys_cql(keyspace: &str, route: &Route) -> String {
    let columns: Vec<String> = route.key.iter().map(|at| quoted(&route.columns[*at].name)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), table(keyspace, route))
}

/// The keys of the rows whose partitions are between two tokens, both included.
pub fn scan_stretch_cql(keyspace: &str, route: &Route, partition_columns: usize) -> String {
    let partition = route.key.iter().take(partition_columns);
    let partition: Vec<String> = partition.map(|at| quoted(&route.columns[*at].name)).collect();
    let token = format!("token({})", partition.join(", "));
    format!("{} WHERE {token} >= ? AND {token} <= ?", scan_keys_cql(keyspace, route))
}

pub fn read_cql(keyspace: &str, route: &Route) -> String {
    format!("{} WHERE {}", scan_cql(keyspace, route), by_key(route))
}

pub(super) fn by_key(route: &Route) -> String {
    let key: Vec<String> = route.key.iter().map(|at| format!("{} = ?", quoted(&route.columns[*at].name))).collect();
    key.join(" AND ")
}

fn table(keyspace: &str, route: &Route) -> String {
    format!("{}.{}", quoted(keyspace), quoted(&route.table))
}

/// A name as CQL writes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl BoundRow<'_> {
    pub fn statement(&self) -> &PreparedStatement {
        match (self.step, &self.prepared.guard) {
            (Step::Insert, _) => &self.prepared.insert,
            (Step::Remember, Some(guard)) => &guard.remember,
            // Nothing is remembered where there is no guard.
            (Step::Delete, _) | (Step::Remember, None) => &self.prepared.delete,
        }
    }
}

/// Appends the bytes of the partition key as the server hashes them: those of a single column as they are, those of
/// several each behind its length and before a zero.
pub fn put_partition_key(
    route: &Route,
    partition_columns: usize,
    values: &[Value],
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let columns = &route.key[..partition_columns];
    for at in columns {
        let (kind, value) = (&route.columns[*at].kind, &values[*at]);
        if let [_] = columns {
            return encode(kind, value, |bytes| out.extend_from_slice(bytes));
        }
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        encode(kind, value, |bytes| out.extend_from_slice(bytes))?;
        let length = u16::try_from(out.len() - length_at - 2).map_err(|_| Misfit)?;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        out.push(0);
    }
    Ok(())
}

/// Where a partition lives on the ring.
pub fn token(partition_key: &[u8]) -> Token {
    Murmur3Partitioner.hash_one(partition_key)
}

impl SerializeRow for BoundRow<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let route = &self.prepared.route;
        let key = |writer: &mut RowWriter<'_>| {
            route.key.iter().try_for_each(|at| put(writer, &route.columns[*at], &self.values[*at]))
        };
        match self.step {
            Step::Insert => {
                let beside = usize::from(route.guard.is_some()) + usize::from(route.ttl.is_some());
                expect_markers(context.columns(), route.columns.len() + 1 + beside)?;
                for (column, value) in route.columns.iter().zip(self.values) {
                    put(writer, column, value)?;
                }
                if route.guard.is_some() {
                    put_position(writer, self.position)?;
                }
                put_version(writer, self.version)?;
                if route.ttl.is_some() {
                    writer.make_cell_writer().set_value(&self.ttl.to_be_bytes()).map_err(SerializationError::new)?;
                }
                Ok(())
            }
            Step::Delete => {
                expect_markers(context.columns(), route.key.len() + 1)?;
                put_version(writer, self.version)?;
                key(writer)
            }
            Step::Remember => {
                expect_markers(context.columns(), route.key.len() + 2)?;
                key(writer)?;
                put_position(writer, self.position)?;
                put_version(writer, self.version)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// The key of a row that is read, one value for each key column in its order.
pub struct BoundKey<'a> {
    pub route: &'a Route,
    pub key: &'a [Value],
}

impl SerializeRow for BoundKey<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        expect_markers(context.columns(), self.key.len())?;
        let columns = self.route.key.iter().map(|at| &self.route.columns[*at]);
        columns.zip(self.key).try_for_each(|(column, value)| put(writer, column, value))
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// A bind list of the wrong length would shift values into other columns, or leave the timestamp to the clock.
fn expect_markers(markers: &[ColumnSpec<'_>], count: usize) -> Result<(), SerializationError> {
    if markers.len() == count { Ok(()) } else { Err(SerializationError::new(Misfit)) }
}

fn put(writer: &mut RowWriter<'_>, column: &RouteColumn, value: &Value) -> Result<(), SerializationError> {
    let cell = writer.make_cell_writer();
    match value {
        Value::Absent | Value::Unavailable => {
            cell.set_unset();
        }
        Value::Null => {
            cell.set_null();
        }
        sent => {
            let mut bytes = cell.into_value_builder();
            encode(&column.kind, sent, |piece| bytes.append_bytes(piece)).map_err(SerializationError::new)?;
            bytes.finish().map_err(SerializationError::new)?;
        }
    }
    Ok(())
}

fn put_version(writer: &mut RowWriter<'_>, version: i64) -> Result<(), SerializationError> {
    writer.make_cell_writer().set_value(&version.to_be_bytes()).map_err(SerializationError::new)?;
    Ok(())
}

fn put_position(writer: &mut RowWriter<'_>, position: Position) -> Result<(), SerializationError> {
    writer.make_cell_writer().set_value(&position.to_bytes()).map_err(SerializationError::new)?;
    Ok(())
}

/// The highest version that is ever written: one at the top of the range would make its row unwritable for ever.
const VERSION_MAX: i64 = (1 << 62) - 1;

/// The version of a write, or why it has none that can be used. Both are faults of ours, never of the record.
pub fn version_of(write: &Write) -> Result<i64, String> {
    match write.version {
        Some(version @ 1..=VERSION_MAX) => Ok(version),
        Some(version) => Err(format!("a write carries the version {version}, which is out of range")),
        None => Err("a write carries no version".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::route::RewindGuard;
    use crate::plan::route::{RouteSpec, Routes, TargetTable};
    use crate::plan::write::{Expect, WriteKind};
    use crate::row::{Column, Kind};

    fn route() -> Route {
        let table = TargetTable {
            name: "Mixed\"Case".into(),
            columns: ["user", "id", "total"].map(|name| Column { name: name.into(), kind: Kind::Int64 }).into(),
            key: vec!["user".into(), "id".into()],
        };
        let spec = RouteSpec { schemas: true, ..RouteSpec::new("t", &table.name, &["id"]) };
        let tables = BTreeMap::from([(table.name.clone(), table)]);
        Routes::resolve(&[spec], &tables).expect("a route that fits its table").routes.remove(0)
    }

    #[test]
    fn statements_name_every_column_quoted_and_carry_a_timestamp() {
        insta::assert_snapshot!(insert_cql("ks", &route()), @r#"INSERT INTO "ks"."Mixed""Case" ("user", "id", "total") VALUES (?, ?, ?) USING TIMESTAMP ?"#);
        let ending = Route { ttl: Some(crate::plan::ttl::Ttl::Seconds(60)), ..route() };
        insta::assert_snapshot!(insert_cql("ks", &ending), @r#"INSERT INTO "ks"."Mixed""Case" ("user", "id", "total") VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?"#);
        insta::assert_snapshot!(delete_cql("ks", &route()), @r#"DELETE FROM "ks"."Mixed""Case" USING TIMESTAMP ? WHERE "user" = ? AND "id" = ?"#);
        insta::assert_snapshot!(scan_keys_cql("ks", &route()), @r#"SELECT "user", "id" FROM "ks"."Mixed""Case""#);
        insta::assert_snapshot!(scan_stretch_cql("ks", &route(), 1), @r#"SELECT "user", "id" FROM "ks"."Mixed""Case" WHERE token("user") >= ? AND token("user") <= ?"#);
        insta::assert_snapshot!(read_cql("ks", &route()), @r#"SELECT "user", "id", "total" FROM "ks"."Mixed""Case" WHERE "user" = ? AND "id" = ?"#);
    }

    #[test]
    fn a_guarded_route_keeps_positions_beside_its_columns_and_of_its_deletes() {
        let guard = RewindGuard { column: "at".into(), deletes_table: "gone".into(), deletes_ttl_seconds: 60 };
        let ending = Some(crate::plan::ttl::Ttl::Seconds(60));
        let route = Route { guard: Some(guard.clone()), ttl: ending, ..route() };
        insta::assert_snapshot!(insert_cql("ks", &route), @r#"INSERT INTO "ks"."Mixed""Case" ("user", "id", "total", "at") VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"#);
        insta::assert_snapshot!(super::super::guard::remember_cql("ks", &route, &guard), @r#"INSERT INTO "ks"."gone" ("user", "id", "at") VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL 60"#);
        insta::assert_snapshot!(super::super::guard::position_cql("ks", &route, &guard, "gone"), @r#"SELECT "at", WRITETIME("at") FROM "ks"."gone" WHERE "user" = ? AND "id" = ?"#);
    }

    #[test]
    fn partition_keys_are_those_of_the_ring() {
        let bytes = |partition_columns| {
            let mut bytes = Vec::new();
            put_partition_key(&route(), partition_columns, &[Value::Int(1), Value::Int(2)], &mut bytes)
                .expect("a key with values");
            bytes
        };
        assert_eq!(bytes(1), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes(2), [0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn a_version_is_given_and_in_range() {
        let write = |version| Write {
            record: 0,
            route: 0,
            kind: WriteKind::Delete,
            expect: Expect::Any,
            version,
            ends_at_ms: None,
            standing: Default::default(),
            values: Vec::new(),
        };
        for good in [1, 1_800_000_000_000_000, VERSION_MAX] {
            assert_eq!(version_of(&write(Some(good))), Ok(good));
        }
        for bad in [None, Some(0), Some(-1), Some(VERSION_MAX + 1), Some(i64::MAX), Some(i64::MIN)] {
            assert!(version_of(&write(bad)).is_err(), "{bad:?}");
        }
    }
}
