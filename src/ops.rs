//! What operators touch: configuration, logs and signals. Seen by the binaries alone.

pub mod config;
pub mod telemetry;
pub mod shutdown;
pub mod service;
pub mod check;
pub mod backfill;
pub mod repair;
pub mod reselect;
