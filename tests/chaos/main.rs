//! Faults in real servers and processes under the real binaries, and checkers that share no code with them.
//!
//! `make chaos` runs all of it many times over and writes the figures down; a plain test run does each case once. A test
//! binary of its own: cargo runs one after the other, so no other test meets a server that is down. In here tests that hurt
//! the servers run alone. Servers are put back when a test ends, also by a panic.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

// The harness, shared with the end-to-end tests, of which these use a part.
#[allow(dead_code)]
#[path = "../e2e/stack.rs"]
mod stack;
#[allow(dead_code)]
#[path = "../e2e/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../e2e/topics.rs"]
mod topics;
#[allow(dead_code)]
#[path = "../e2e/rows.rs"]
mod rows;
#[allow(dead_code)]
#[path = "../e2e/changes.rs"]
mod changes;
#[allow(dead_code)]
#[path = "../e2e/load.rs"]
mod load;
#[allow(dead_code)]
#[path = "../e2e/history.rs"]
mod history;
#[allow(dead_code)]
#[path = "../e2e/poller.rs"]
mod poller;
mod servers;
mod journal;
mod replicas;
mod reader;
mod commits;
mod report;
mod preload;
mod proxy;

// The faults.
mod kills;
mod churn;
mod away;
mod restarts;
mod memory;
mod hot;
mod again;
mod late;
mod clock;
mod network;
mod frames;
mod poison;
mod expired;
