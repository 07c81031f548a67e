//! The Cassandra sink against the running stack (`make up`): types, versions, grouping, refusals.
//!
//! Every test makes a keyspace of its own on the three nodes and drops it at the end.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

mod live;
mod rows;
mod expiry;
mod consistency;
mod refusals;
mod types;
mod nested;
mod rights;
mod ddl;
mod guard;
