//! The real binaries on the real stack (`make up`), from events to Cassandra.
//!
//! One test binary, so that it links once. Every test makes a [`stack::Scenario`]: a database, a keyspace, topics,
//! a configuration file and, where it asks for one, a Debezium connector, all of its own and removed at the end, also
//! after a panic. Nothing of the demo is touched. Two tests run at a time (stack.rs), so one may use about a core.
//! A failing test prints the logs of everything it started; `E2E_KEEP=1` leaves what it made, for a look.
//!
//! What a test costs stands in the first line of its comment: seconds, the scenario included, on two cores that others
//! kept busy as well (about half of it is making and removing the scenario; `--nocapture` prints what each one took).

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

// The harness.
mod stack;
mod process;
mod topics;
mod rows;
mod changes;
mod load;
mod history;
mod poller;
mod connect;
mod relay;

// The tests.
mod path;
mod source;
mod states;
mod zoo;
mod views;
mod patterns;
mod versions;
mod members;
mod signals;
mod refusals;
mod inputs;
mod letters;
mod redrive;
mod waits;
mod fed;
mod frozen;
mod kills;
mod check;
mod ddl;
mod seek;
mod explain;
mod init;
mod pages;
mod identity;
mod memory;
mod admin;
mod panels;
mod browser;
mod ctl;
mod backfill;
mod sweep;
mod repair;
mod guard;
mod guard_kills;
