//! Clusters as they are elsewhere: Kafka with SCRAM over TLS and rights for each topic, Cassandra with a login and
//! client certificates, Postgres with `sslmode=verify-full`. They are servers of this test's own, beside the stack's
//! and made of its programs, with certificates that the test makes.
//!
//! Kafka is on 127.0.0.1:19193 (SCRAM), 19194 (controller) and 19195 (client certificates), Cassandra on 127.0.0.4,
//! Postgres on 127.0.0.1:15432, and who only poses as one of them on 127.0.0.5.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

mod certificates;
mod servers;
mod impostor;
mod program;
mod clusters;
mod mistakes;
