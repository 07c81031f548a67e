//! The Postgres sink against the running stack. Every test makes a database of its own and removes it.

#![allow(clippy::unwrap_used)]

mod database;
mod proxy;
mod rows;
mod parents;
mod owners;
mod faults;
mod forms;
mod reading;
