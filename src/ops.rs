//! What operators touch: configuration, logs, signals and the admin server. Seen by the binaries alone.

pub mod config;
pub mod telemetry;
pub mod admin;
pub mod shutdown;
pub mod service;
pub mod check;
pub mod backfill;
pub mod repair;
pub mod reselect;
pub mod letters;
