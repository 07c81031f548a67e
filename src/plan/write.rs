//! Writes: what a sink is asked to do, and the batch they come in.

use crate::change::Reject;
use crate::change::position::Standing;
use crate::record::{Record, TopicPartition};
use crate::row::Value;

/// What is written together: the records of one partition in offset order, what to write for them, what to refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub partition: TopicPartition,
    pub records: Vec<Versioned>,
    /// In the order of the records that caused them.
    pub writes: Vec<Write>,
    pub rejects: Vec<Rejected>,
    /// Records that speak of no row: heartbeats, transactions, messages and the like.
    pub passed_over: u64,
    /// The offset after the last record: what is committed once the batch is durable.
    pub next_offset: i64,
}

/// A record and what was found of it when it was read, in the order of offsets and once: planning it again finds it here.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned {
    pub record: Record,
    /// V1. 0 where versions are not used.
    pub version: i64,
    /// V6. The default where no route of its topic is guarded.
    pub standing: Standing,
}

impl Versioned {
    /// A record of which nobody has asked how it stands to others.
    pub fn new(record: Record, version: i64) -> Versioned {
        Versioned { record, version, standing: Standing::default() }
    }
}

/// One planned mutation of one target row.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The record that caused it: index into [`Batch::records`].
    pub record: usize,
    /// Index into [`crate::plan::route::Routes::routes`].
    pub route: usize,
    pub kind: WriteKind,
    pub expect: Expect,
    /// Microseconds; what the write is stamped with. `None` where the sink orders by position instead.
    pub version: Option<i64>,
    /// When the row ends, in milliseconds since 1970; `None` when it never does.
    pub ends_at_ms: Option<i64>,
    /// How its record stands, where the route is guarded (V6). One that is a suspect is looked at before it is written.
    pub standing: Standing,
    /// One value for each of the route's columns. Key columns always have a value; a delete of a mirrored row has
    /// nothing but those.
    pub values: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    Upsert,
    Delete,
}

/// What the write takes for granted about its row. A broken expectation is decided by the sink: a row that is there
/// already changes nothing, a row that was never seen is a reject (`missing_row`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Present,
    /// As `Present`, and where the row's value in this column (index into the route's columns) is not older than the
    /// write's, the write changes nothing.
    PresentOlder(usize),
}

/// A record that is refused for all its routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Index into [`Batch::records`].
    pub record: usize,
    /// The route that refused it (index into [`crate::plan::route::Routes::routes`]); `None` when none was reached.
    pub route: Option<usize>,
    pub reject: Reject,
}
