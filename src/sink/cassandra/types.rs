//! Values in Cassandra's types: which a column may have, which values fit it, and their bytes both ways.
//!
//! Pure. The byte forms are those of the native protocol, version 4, section 6.

pub mod kind;
mod size;
mod order;
mod flaw;
pub mod encode;
pub mod decode;

use std::ops::Range;

use self::flaw::{Flaw, flaw};
use self::size::value_bytes;
use crate::change::{Reject, RejectClass};
use crate::plan::route::{Route, RouteColumn};
use crate::plan::write::{Write, WriteKind};
use crate::row::Value;

/// The longest key that the server takes, in bytes: a partition key as a whole, and each clustering column.
pub const KEY_BYTES_MAX: usize = 65_535;

/// The largest row that is sent, in bytes as [`check`] counts them. The server refuses a mutation above half of
/// its commit log segment; 8 MiB is the smallest segment in use, and what the message adds stays in the difference.
pub const ROW_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// What the server adds to a row and to each of its cells when it counts a batch's size: timestamps, deletion times
/// and the time to live. Measured on Cassandra 5.0.8, and less on older ones; it leaves out the partition key, we do not.
const ROW_OVERHEAD_BYTES: usize = 50;
const CELL_OVERHEAD_BYTES: usize = 20;

/// What CQL counts from: day 0 of a `date` is this many days before 1970-01-01.
const DATE_EPOCH: u32 = 1 << 31;

const MICROS_PER_MILLI: i64 = 1000;
const NANOS_PER_MICRO: i64 = 1000;

/// The times of a day: CQL has no 24:00.
const DAY_MICROS: Range<i64> = 0..86_400_000_000;

/// Whether the server can take this write. Asked before anything is sent, because the server reports a row that does
/// not fit with the same code as a missing column. `partition_columns` says how many columns of the key choose the
/// partition.
pub fn check(route: &Route, partition_columns: usize, write: &Write) -> Result<(), Reject> {
    match write.kind {
        WriteKind::Upsert => {
            for (column, value) in route.columns.iter().zip(&write.values) {
                check_value(route, column, value)?;
            }
        }
        WriteKind::Delete => {
            for (column, value) in key_of(route, write) {
                check_value(route, column, value)?;
            }
        }
    }
    check_key(route, partition_columns, write)?;
    if sent_bytes(route, write) > ROW_BYTES_MAX {
        return Err(Reject::new(
            RejectClass::TooLarge,
            format!("the row for {} is larger than {ROW_BYTES_MAX} bytes", route.table),
        ));
    }
    Ok(())
}

/// What the server counts for this write at most, in bytes. It counts the elements of a set, map or struct that is not
/// frozen as cells of their own, and the kind does not say which one is.
pub fn row_bytes(route: &Route, write: &Write) -> usize {
    let cells: usize = sent_cells(route, write)
        .map(|(_, value)| match value {
            Value::List(items) => items.len(),
            Value::Map(pairs) => pairs.len(),
            _ => 0,
        })
        .sum();
    cells * CELL_OVERHEAD_BYTES + sent_bytes(route, write)
}

/// The same with one cell for each column, which is what counts for the size of a mutation: the elements there have
/// less around them than the lengths that they have on the wire.
fn sent_bytes(route: &Route, write: &Write) -> usize {
    let key: usize = key_of(route, write).map(|(column, value)| value_bytes(&column.kind, value)).sum();
    let cells = sent_cells(route, write).map(|(column, value)| CELL_OVERHEAD_BYTES + value_bytes(&column.kind, value));
    ROW_OVERHEAD_BYTES + key + cells.sum::<usize>()
}

fn sent_cells<'a>(route: &'a Route, write: &'a Write) -> impl Iterator<Item = (&'a RouteColumn, &'a Value)> {
    let columns = match write.kind {
        WriteKind::Upsert => &route.columns[..],
        WriteKind::Delete => &[],
    };
    columns.iter().zip(&write.values).filter(|(_, value)| value.is_sent())
}

fn key_of<'a>(route: &'a Route, write: &'a Write) -> impl Iterator<Item = (&'a RouteColumn, &'a Value)> {
    route.key.iter().map(|at| (&route.columns[*at], write.values.get(*at).unwrap_or(&Value::Absent)))
}

fn check_key(route: &Route, partition_columns: usize, write: &Write) -> Result<(), Reject> {
    // A partition key of several columns carries the length of each and a closing byte (3 bytes).
    let frame = if partition_columns > 1 { 3 } else { 0 };
    let mut partition_bytes = 0;
    for (at, (column, value)) in key_of(route, write).enumerate() {
        if matches!(value, Value::Null | Value::Absent | Value::Unavailable) {
            return Err(reject(RejectClass::MissingKey, route, column, "has no value, and is in the primary key"));
        }
        let bytes = value_bytes(&column.kind, value);
        if at < partition_columns {
            partition_bytes += bytes + frame;
        } else if bytes > KEY_BYTES_MAX {
            return Err(out_of_range(route, column, "is longer than 65535 bytes, and is in the primary key"));
        }
        if partition_columns == 1 && at == 0 && bytes == 0 {
            return Err(out_of_range(route, column, "is empty, and is the partition key"));
        }
        if partition_bytes > KEY_BYTES_MAX {
            return Err(out_of_range(route, column, "makes the partition key longer than 65535 bytes"));
        }
    }
    Ok(())
}

fn check_value(route: &Route, column: &RouteColumn, value: &Value) -> Result<(), Reject> {
    match flaw(&column.kind, value) {
        None => Ok(()),
        Some(Flaw { class, text, is_inside: false }) => Err(reject(class, route, column, text)),
        Some(Flaw { class, text, is_inside: true }) => {
            Err(reject(class, route, column, &format!("holds an element that {text}")))
        }
    }
}

fn out_of_range(route: &Route, column: &RouteColumn, problem: &str) -> Reject {
    reject(RejectClass::OutOfRange, route, column, problem)
}

fn reject(class: RejectClass, route: &Route, column: &RouteColumn, problem: &str) -> Reject {
    Reject::new(class, format!("{}.{} ({}) {problem}", route.table, column.name, column.kind))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;
