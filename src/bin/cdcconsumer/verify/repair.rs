//! `verify --repair`: rows that differ or are missing are sent once more by Debezium, and rows that are extra are swept.

use std::time::Duration;

use rowferry::kafka::describe;
use rowferry::ops::config::{Config, Consumer};
use rowferry::ops::repair;
use rowferry::ops::service::Exit;
use rowferry::plan::route::Routes;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::Cluster;
use rowferry::verify::Verify;
use rowferry::verify::report::Report;
use tokio::sync::watch;

use crate::verify::Chosen;
use crate::{backfill, refused, sweep};

/// Rows of a table that differ or are missing, and rows that are extra: beyond so many of either it is left to a
/// backfill of the table, or to a person.
pub const ROWS_MAX: usize = 1_000;

/// What it takes to repair, made ready before the first look.
pub struct Repair<'a> {
    pub config: &'a Config,
    pub consumer: &'a Consumer,
    pub cluster: Cluster,
    pub routes: Routes,
    pub signal_url: Option<String>,
    cuts: Vec<i64>,
}

impl<'a> Repair<'a> {
    /// Refuses routes that no signal can be given for. Asks no server.
    pub fn check(config: &Config, consumer: &Consumer, chosen: &[Chosen]) -> Result<(), Exit> {
        for Chosen { route, .. } in chosen {
            let asked = backfill::Flags::of_condition(&route.table, String::new(), None);
            backfill::request(config, consumer, &asked).map_err(|why| refused(&format!("--repair: {why}")))?;
        }
        Ok(())
    }

    /// Waits for the group to have applied what the topics hold, so that what differs then is not just under way.
    pub async fn ready(
        config: &'a Config,
        consumer: &'a Consumer,
        verify: &Verify,
        (cluster, routes): (Cluster, Routes),
        signal_url: Option<String>,
        within: Duration,
    ) -> Result<Repair<'a>, Failure> {
        let (access, group_id) = (config.kafka.access(), consumer.group_id.clone());
        let members = tokio::task::spawn_blocking(move || describe::members(&access, &group_id)).await;
        let away = |error: &dyn std::fmt::Display| Failure::Retry(format!("Kafka: {error}"));
        if members.map_err(|error| away(&error))?.map_err(|error| away(&error))? == 0 {
            return Err(Failure::Retry(format!(
                "group {}, of which nobody runs: run cdcconsumer, which has to apply what is sent once more",
                consumer.group_id
            )));
        }
        let cuts = sweep::ready(config, consumer, &verify.source, &verify.tables, &routes.routes, within).await?;
        Ok(Repair { config, consumer, cluster, routes, signal_url, cuts })
    }

    /// Has everything in the report mended that can be. What is left then, the next look tells.
    pub async fn run(&self, verify: &Verify, report: &Report, shutdown: &watch::Receiver<bool>) -> Result<(), Exit> {
        for table in &report.tables {
            if table.counts.different + table.counts.missing > ROWS_MAX as u64 {
                return Err(refused(&format!(
                    "--repair: more than {ROWS_MAX} rows of \"{table}\" differ or are missing: `cdcconsumer backfill \
                     {table} --wait` sends them all",
                    table = table.target
                )));
            }
        }
        for (table, found) in verify.tables.iter().zip(&report.tables) {
            let source = &table.mapping.source;
            let asked = repair::conditions(&source.name, &source.key, &found.keys.of_source);
            if asked.too_long > 0 {
                tracing::error!(
                    table = found.target,
                    rows = asked.too_long,
                    "keys are longer than a signal holds, and are left out: backfill these rows with --where"
                );
            }
            for condition in asked.conditions {
                let asked = backfill::Flags::of_condition(&found.target, condition, self.signal_url.clone());
                backfill::run(self.config, &asked, shutdown.clone()).await?;
            }
        }
        let Repair { cluster, routes, cuts, .. } = self;
        let found = sweep::Found { verify, cluster, routes, cuts };
        let how = sweep::How { apply: true, rows_max: ROWS_MAX, with_dead_letters: false, values: false };
        let group_id = &self.consumer.group_id;
        // What is left is told by the next look.
        sweep::ended(found.sweep(self.config, group_id, &report.tables, how, shutdown).await.map(|_| 0)).map(drop)
    }
}
