//! `consumer`: business events from Kafka into Postgres, exactly once in effect.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use rowferry::ops::config::{self, Config};
use rowferry::ops::service::{self, Exit, Kind, Outside, about, until_begun};
use rowferry::ops::telemetry::Level;
use rowferry::ops::{admin, shutdown, telemetry};
use rowferry::plan::route::Routes;
use rowferry::sink::Failure;
use rowferry::sink::postgres::{Postgres, Settings};

/// Applies user and order events from Kafka to Postgres.
///
/// Each batch and its position are one transaction, so every event has its effect exactly once, whatever is killed.
/// Events that cannot be applied go to the dead-letter topic with their reason. Without flags it runs against the
/// local stack (`make up`) until it is stopped.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  consumer                                   run until SIGTERM or Ctrl-C
  consumer --exit-when-caught-up             apply what is there, then end with 0
  consumer --set consumer.group_id=second    override a setting of the file"
)]
struct Flags {
    /// The configuration file.
    #[arg(long, default_value = config::load::FILE_DEFAULT)]
    config: PathBuf,
    /// Overrides a setting of the file, as section.key=value. May be repeated.
    #[arg(long = "set", value_name = "SETTING")]
    sets: Vec<String>,
    /// End when every partition has reached the end that it had at the start: with 0, or with 1 if one is stopped.
    #[arg(long)]
    exit_when_caught_up: bool,
    /// Begin partitions that a topic got after the group began it, too. Without it a run stops such topics, for keys
    /// have changed their partition, and what is new of a row could be applied before what is old.
    #[arg(long)]
    accept_added_partitions: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(flags).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("consumer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<Exit> {
    let config = match config::load::load_with_env(&flags.config, &flags.sets) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("consumer: {error}");
            return Ok(Exit::Refused);
        }
    };
    let level = telemetry::start(&config.log)?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let shutdown = shutdown::watch_signals().context("signals cannot be watched")?;
    match start(&config, &flags, level, shutdown).await {
        Ok(ran) => ran,
        Err(exit) => Ok(exit),
    }
}

/// Connects, resolves the routes against the live tables, and runs. `Err` is how it ends before it could run.
async fn start(
    config: &Config,
    flags: &Flags,
    level: Level,
    shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<anyhow::Result<Exit>, Exit> {
    let (Some(consumer), Some(target)) = (&config.consumer, &config.sink.postgres) else {
        tracing::error!("refused: consumer needs the sections [consumer] and [sink.postgres]");
        return Err(Exit::Refused);
    };
    let outside = Outside::default();
    outside.meters.starts(None);
    admin::start(admin::CONSUMER, config, consumer, &outside, level).await?;
    service::check_dead_letter_topic(config, &outside.meters, &shutdown).await?;
    let specs = consumer.specs(&config.source);
    let names: Vec<String> = specs.iter().map(|spec| spec.table.clone()).collect();
    let (routes, sink) = until_begun(&outside.meters, &shutdown, || async {
        let settings = Settings::new(target.url.reveal(), &consumer.group_id);
        let postgres = Postgres::connect(settings).await.map_err(about("sink.postgres.url"))?;
        let tables = postgres.tables(&names).await?;
        let routes = Routes::resolve(&specs, &tables).map_err(|problems| Failure::Stop(problems.join("\n  ")))?;
        let routes = Arc::new(routes);
        let sink = postgres.sink(&routes).await?;
        Ok((routes, sink))
    })
    .await?;
    let kind = Kind {
        versions: false,
        exit_when_caught_up: flags.exit_when_caught_up,
        accept_added_partitions: flags.accept_added_partitions,
    };
    Ok(service::run(config, consumer, kind, routes, sink, outside, shutdown).await)
}
