//! Rowferry carries row changes from Postgres to the stores that serve them, and never loses, resurrects or reverses
//! one.
//!
//! # From above
//!
//! ```text
//! Kafka ─ kafka/poll ─┬─ pipeline (one worker a partition) ── sink ── Postgres or Cassandra
//!                     │     format → plan → rejects ─┐
//!                     │                              └─ kafka/dead_letter
//!                     └──── next offset, versions ◄── the only thing that flows back
//! ```
//!
//! A pure middle (`record` to `meter`) takes values and returns values; a thin rim (`sink::*`, `kafka`) does the I/O;
//! `pipeline` is the one loop between them. `verify` compares source and target beside it, `ops` is what operators
//! touch, `shop` the demo's domain. `tidy` checks who may see whom.
//!
//! # The walk of one record
//!
//! 1. The poll thread takes it from the client and hands it, in a chunk, to the worker of its partition. A partition
//!    that holds its share of bytes is paused; polling never stops.
//! 2. `version` gives it its write version, once, in partition order. `format` turns its bytes into a `Decoded`.
//! 3. `plan` finds its routes and makes writes of it, or a reject; writes that a later one covers are dropped.
//! 4. `pipeline` sends rejects to the dead-letter topic and waits for the broker to have them.
//! 5. `sink.write` returns when the batch is durable, or says: try again, stop, or refuse these records. Meanwhile
//!    the next batch is filled, and never a third.
//! 6. The position goes back to the poll thread, which commits it together with the state of the versions.
//!
//! # What holds
//!
//! - The committed offset never passes a record that is in neither the sink nor the dead-letter topic.
//! - A record's version is a function of the log, never of a clock: replays and late writes change nothing.
//! - A record is refused for all its routes or for none, and a reject never carries a value of the record.
//! - Everything has a limit, and the limit has a name.

pub mod record;
pub mod row;
pub mod change;
pub mod format;
pub mod plan;
pub mod mutation;
pub mod version;
pub mod watermark;
pub mod ownership;
pub mod retry;
pub mod meter;
pub mod failpoint;
pub mod sink;
pub mod pipeline;
pub mod kafka;
pub mod verify;
pub mod ops;
pub mod shop;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tidy;
