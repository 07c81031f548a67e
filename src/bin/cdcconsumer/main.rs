//! `cdcconsumer`: Debezium's changes from Kafka into Cassandra, and the commands that an operator needs beside it.

mod backfill;
mod check;
mod completions;
mod ctl;
mod ddl;
mod dead_letters;
mod explain;
mod init;
mod topics;
mod seek;
mod sweep;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use rowferry::ops::config::{self, Cassandra, Config, Consumer};
use rowferry::ops::service::{self, Exit, Kind, Outside, about};
use rowferry::ops::telemetry::Level;
use rowferry::ops::{admin, shutdown, telemetry};
use rowferry::plan::route::{RouteSpec, Routes};
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::{Cluster, Login, Password, Settings};
use rowferry::sink::postgres::{self, Postgres};
use tokio::sync::watch;

/// Keeps Cassandra tables equal to the Postgres tables that Debezium captures.
///
/// Every write carries a version taken from the log, so repeats and late writes change nothing. Records that cannot
/// be applied go to the dead-letter topic with their reason. Without flags it runs against the local stack
/// (`make up`) until it is stopped.
#[derive(Debug, Parser)]
#[command(
    name = "cdcconsumer",
    version,
    after_help = "Examples:
  cdcconsumer                                run until SIGTERM or Ctrl-C
  cdcconsumer --exit-when-caught-up          apply what is there, then end with 0
  cdcconsumer init                           write the first configuration, from what the servers have
  cdcconsumer check                          say what is wrong before it starts
  cdcconsumer ddl | cqlsh                    create the keyspace and the tables of the routes
  cdcconsumer seek --to-beginning            read everything again, for a table that was added later
  cdcconsumer ctl pause --topic cdc.orders   a running one reads no more of it, until `ctl resume`
  cdcconsumer explain users id=5             one row: its events, their writes, and what is in the table
  cdcconsumer verify --within 2m             compare source and target row by row
  cdcconsumer sweep orders --apply           delete rows that the source no longer has
  cdcconsumer dead-letters list --since 2h   what was refused, and why
  cdcconsumer --set sink.cassandra.keyspace=test"
)]
struct Flags {
    /// The configuration file.
    #[arg(long, global = true, default_value = config::load::FILE_DEFAULT)]
    config: PathBuf,
    /// Overrides a setting of the file, as section.key=value. May be repeated.
    #[arg(long = "set", value_name = "SETTING", global = true)]
    sets: Vec<String>,
    /// End when every partition has reached the end that it had at the start: with 0, or with 1 if one is stopped.
    #[arg(long)]
    exit_when_caught_up: bool,
    /// Begin partitions that a topic got after the group began it, too. Without it a run stops such topics, for keys
    /// have changed their partition, and what is new of a row could be applied before what is old.
    #[arg(long)]
    accept_added_partitions: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Backfill(backfill::Flags),
    Check(check::Flags),
    Completions(completions::Flags),
    Ctl(ctl::Flags),
    Ddl(ddl::Flags),
    Explain(explain::Flags),
    Init(init::Flags),
    Seek(seek::Flags),
    Sweep(sweep::Flags),
    Verify(verify::Flags),
    DeadLetters(dead_letters::Flags),
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.command.is_some() && (flags.exit_when_caught_up || flags.accept_added_partitions) {
        let text = "--exit-when-caught-up and --accept-added-partitions are for running, and a command does not run";
        Flags::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    if let Some(Command::Completions(asked)) = &flags.command {
        completions::run(asked);
        return ExitCode::SUCCESS;
    }
    let ended = match &flags.command {
        Some(Command::Init(asked)) => init::run(&flags.config, &flags.sets, asked).await,
        _ => run(flags).await,
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("cdcconsumer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<Exit> {
    let config = match config::load::load_with_env(&flags.config, &flags.sets) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("cdcconsumer: {error}");
            return Ok(Exit::Refused);
        }
    };
    let level = telemetry::start(&config.log)?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let shutdown = shutdown::watch_signals().context("signals cannot be watched")?;
    let ended = match &flags.command {
        None => start(&config, &flags, level, shutdown).await,
        // It was done before there was a configuration.
        Some(Command::Completions(_) | Command::Init(_)) => Ok(Ok(Exit::Done)),
        Some(Command::Ctl(asked)) => ctl::run(&config, asked).await.map(Ok),
        Some(Command::Check(_)) => check::run(&config, shutdown).await.map(Ok),
        Some(Command::Ddl(asked)) => ddl::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::Explain(asked)) => explain::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::Backfill(asked)) => backfill::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::Seek(asked)) => seek::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::Sweep(asked)) => sweep::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::Verify(asked)) => verify::run(&config, asked, shutdown).await.map(Ok),
        Some(Command::DeadLetters(asked)) => dead_letters::run(&config, asked, shutdown).await.map(Ok),
    };
    ended.unwrap_or_else(Ok)
}

/// Connects, resolves the routes against the live tables, and runs. `Err` is how it ends before it could run.
async fn start(
    config: &Config,
    flags: &Flags,
    level: Level,
    shutdown: watch::Receiver<bool>,
) -> Result<anyhow::Result<Exit>, Exit> {
    let (consumer, target) = sections(config)?;
    let outside = Outside::default();
    outside.meters.starts(None);
    admin::start(admin::CDCCONSUMER, config, consumer, &outside, level).await?;
    service::check_dead_letter_topic(config, &outside.meters, &shutdown).await?;
    let kind = Kind {
        versions: true,
        exit_when_caught_up: flags.exit_when_caught_up,
        accept_added_partitions: flags.accept_added_partitions,
    };
    topics::run(config, consumer, target, kind, &outside, shutdown).await
}

/// The routes with what the source's catalog says of the tables that they name: types, keys, identity (C4).
async fn with_source(config: &Config, written: &[config::routes::Route]) -> Result<Vec<RouteSpec>, Failure> {
    let mut specs: Vec<RouteSpec> = written.iter().map(|route| route.spec(&config.source.debezium)).collect();
    let Some(source) = &config.source.postgres else { return Ok(specs) };
    let source = Postgres::connect(postgres::Settings::new(source.url.reveal(), "check")).await;
    let source = source.map_err(about("source.postgres.url"))?;
    for (spec, table) in
        specs.iter_mut().zip(written).filter_map(|(spec, route)| Some((spec, route.source_table.as_ref()?)))
    {
        let facts = source.source_facts(table).await.map_err(about("source.postgres.url"))?;
        if facts.is_none() {
            return Err(Failure::Stop(format!(
                "route {}: the source has no table \"{table}\": correct `source_table`, or [source.postgres]",
                spec.name()
            )));
        }
        (spec.source, spec.reselect) = (facts, Some(table.clone()));
    }
    Ok(specs)
}

/// What every command needs of the configuration.
fn sections(config: &Config) -> Result<(&Consumer, &Cassandra), Exit> {
    match (&config.cdcconsumer, &config.sink.cassandra) {
        (Some(consumer), Some(target)) => Ok((consumer, target)),
        _ => Err(refused("cdcconsumer needs the sections [cdcconsumer] and [sink.cassandra]")),
    }
}

fn refused(why: &str) -> Exit {
    tracing::error!("refused: {why}");
    Exit::Refused
}

/// After this long a request's outcome counts as unknown, and it is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

fn cassandra_settings(target: &Cassandra) -> Settings {
    let login = target.user.clone().zip(target.password.as_ref());
    Settings {
        nodes: target.nodes.clone(),
        keyspace: target.keyspace.clone(),
        tls: target.tls(),
        login: login.map(|(user, password)| Login { user, password: Password::new(password.reveal()) }),
        in_flight_max: target.in_flight_max,
        request_timeout: REQUEST_TIMEOUT,
        connect_timeout: CONNECT_TIMEOUT,
    }
}

/// The routes, or everything that speaks against them at once.
async fn resolve(specs: &[RouteSpec], cluster: &Cluster) -> Result<Routes, Failure> {
    let deletes = specs.iter().filter_map(|spec| Some(spec.guard.as_ref()?.deletes_table.as_str()));
    let names: Vec<&str> = specs.iter().map(|spec| spec.table.as_str()).chain(deletes).collect();
    let tables = cluster.tables(&names).await?;
    let mut problems = tables.problems;
    match Routes::resolve(specs, &tables.found) {
        Ok(routes) if problems.is_empty() => return Ok(routes),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    Err(Failure::Stop(problems.join("\n  ")))
}
