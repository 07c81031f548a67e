//! The demo domain: users and their orders, as events that tell a history, and the tables that history must lead to.
//!
//! Everything here is a function of a seed: no clock, no environment, no client. Only `bin/producer` and tests see it,
//! and its types only serialise: a consumer reads the events by their contract (`schemas/`), like anyone else's.

pub mod event;
pub mod history;
pub mod oracle;
mod people;
mod dice;
#[cfg(test)]
mod interleaving_tests;
