//! `cdcconsumer verify`: source and target compared row by row.

mod repair;
pub mod told;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use rowferry::ops::config::{self, Config, Consumer};
use rowferry::ops::service::{Exit, until_there};
use rowferry::plan::route::Routes;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::{Cluster, Settings};
use rowferry::sink::postgres::{self, Postgres};
use rowferry::verify::mapping::Mapping;
use rowferry::verify::report::Report;
use rowferry::verify::sample::Sample;
use rowferry::verify::{Progress, Table, Verify};
use tokio::sync::watch;

use self::repair::Repair;
use self::told::Told;
use crate::topics::of_topics;
use crate::{cassandra_settings, refused, resolve, sections, with_source};

/// Compares Postgres with the Cassandra tables, row by row and in both directions.
///
/// Reads [source.postgres], [sink.cassandra] and the cdcconsumer routes, each of which names its `source_table`;
/// writes nothing without --repair, and may run beside a pipeline that works. Both sides are streamed, at most a few pages are held in
/// memory. What differs is looked at again after 1.5 s, and counts when the source row held still and the target
/// still differs; a row that changes all the time is counted as unsettled.
///
/// Prints for each table how many rows are equal, different, missing (in Cassandra), extra (in Cassandra only, or
/// left under an old key) and unsettled, and then the first 10 differences with both rows, column by column.
/// THIS PRINTS VALUES OF YOUR ROWS to standard output: that is its purpose. The logs on standard error have none.
///
/// With --sample it looks at a part of the rows, another one each time: in the source by a hash of the key, in
/// Cassandra by tokens. Each of these rows is compared whole.
///
/// With --repair, rows that differ or are missing are sent once more by the connector, asked for by their keys as
/// `backfill` asks ([source.debezium], with notification_topic), and extra rows are deleted as `sweep --apply` does. A
/// consumer has to run. Then it looks again, and that look decides how it ends.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 all tables are equal; 1 they are not, or it was stopped or could not read;
64 the configuration is refused.

Examples:
  cdcconsumer verify
  cdcconsumer verify --within 2m             give a pipeline that is behind the time to catch up
  cdcconsumer verify --table orders --table orders_by_user
  cdcconsumer verify --repair --table orders
  cdcconsumer verify --sample 1% --rows-per-second-max 500
                                             a look at large tables that others need, too"
)]
pub struct Flags {
    /// A target table to compare. May be repeated; without it every routed table is compared.
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Keep looking at tables that are not equal for this long: 90s, 2m, 1h. A look that has begun is finished.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s", hide_default_value = true)]
    within: Duration,
    /// Look at this part of the rows of each side, chosen anew each time: 5%, 0.25%.
    #[arg(long, value_name = "SHARE")]
    sample: Option<Sample>,
    /// Choose the same part as an earlier run, which logged this number.
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    sample_seed: Option<u64>,
    /// Read at most so many rows in a second: those of the source, and then the keys of the target.
    #[arg(long, value_name = "ROWS")]
    rows_per_second_max: Option<NonZeroU32>,
    /// Has what differs sent once more, deletes what is extra, and looks again.
    #[arg(long)]
    repair: bool,
    /// As that of `backfill`.
    #[arg(long, value_name = "URL", env = "CDCCONSUMER_SIGNAL_URL", hide_env_values = true)]
    signal_url: Option<String>,
}

/// Reads `90s`, `2m` or `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = |number: &str, unit: u64| number.parse::<u32>().ok().map(|number| u64::from(number) * unit);
    let read = match text.char_indices().last() {
        Some((at, 's')) => seconds(&text[..at], 1),
        Some((at, 'm')) => seconds(&text[..at], 60),
        Some((at, 'h')) => seconds(&text[..at], 3600),
        _ => None,
    };
    read.map(Duration::from_secs).ok_or_else(|| "write a whole number and a unit, as in 90s, 2m or 1h".into())
}

/// Compares the routed tables with their source, and prints what it found.
pub async fn run(config: &Config, asked: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let Some(source) = &config.source.postgres else {
        return Err(refused("verify compares with the source: add [source.postgres] with its `url`"));
    };
    let settings = cassandra_settings(target);
    let patience = asked.within.max(VERIFY_CONNECT_PATIENCE);
    let found = tokio::time::timeout(patience, until_there(&shutdown, || of_topics(config, consumer))).await;
    let Ok(consumer) = found else {
        tracing::error!("Kafka did not say its topics within {} s: giving up", patience.as_secs());
        return Err(Exit::Failed);
    };
    let consumer = &consumer?;
    let chosen = chosen(&consumer.routes, &asked.tables)?;
    if asked.repair {
        Repair::check(config, consumer, &chosen)?;
    }
    let sample = asked.sample.map(|sample| sample.with_seed(asked.sample_seed.unwrap_or_else(rand::random)));
    if let Some(sample) = &sample {
        tracing::info!("looking at a part of the rows: --sample-seed {} chooses it again", sample.seed);
    }
    let connected = until_there(&shutdown, || prepare(config, source, &settings, &chosen));
    let prepared = match tokio::time::timeout(patience, connected).await {
        Ok(Ok(prepared)) => prepared,
        // It was asked to stop, and nothing is known to be equal.
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!("Postgres or Cassandra was not there for {} s: giving up", patience.as_secs());
            return Err(Exit::Failed);
        }
    };
    let Prepared { source, cluster, routes, tables, mut rows_about } = prepared;
    if let Some(sample) = &sample {
        rows_about.values_mut().for_each(|rows| *rows = sample.rows_of(*rows) as u64);
    }
    let told = Told::begin(rows_about);
    let progress = {
        let told = told.clone();
        Box::new(move |progress: &Progress<'_>| told.tell(progress))
    };
    let (rows_per_second_max, target_only) = (asked.rows_per_second_max, false);
    let keys_max = if asked.repair { repair::ROWS_MAX } else { 0 };
    let verify = Verify { source, tables, sample, target_only, keys_max, rows_per_second_max, progress };
    let mut stop = shutdown.clone();
    let comparing = compare(config, consumer, &verify, (cluster, routes), asked, &told, &shutdown);
    tokio::select! {
        ended = comparing => ended,
        _ = stop.wait_for(|asked| *asked) => {
            told.end();
            tracing::warn!("stopped before everything was compared");
            Err(Exit::Failed)
        }
    }
}

/// Looks, and where it is asked to repairs what it found and looks again.
async fn compare(
    config: &Config,
    consumer: &Consumer,
    verify: &Verify,
    (cluster, routes): (Cluster, Routes),
    asked: &Flags,
    told: &Told,
    shutdown: &watch::Receiver<bool>,
) -> Result<Exit, Exit> {
    let failed = |failure: Failure| {
        let (Failure::Retry(why) | Failure::Stop(why)) = failure;
        tracing::error!("not everything was compared: {why}");
        Exit::Failed
    };
    let mut repair = None;
    if asked.repair {
        let within = asked.within.max(VERIFY_CONNECT_PATIENCE);
        let url = asked.signal_url.clone();
        let ready = Repair::ready(config, consumer, verify, (cluster, routes), url, within).await;
        repair = Some(ready.map_err(failed)?);
    }
    let mut report = look(verify, asked, told).await.map_err(failed)?;
    if let Some(repair) = repair.filter(|_| !report.is_equal()) {
        repair.run(verify, &report, shutdown).await?;
        report = look(verify, asked, told).await.map_err(failed)?;
    }
    Ok(if report.is_equal() { Exit::Done } else { Exit::Failed })
}

/// One look, and its report on standard output.
async fn look(verify: &Verify, asked: &Flags, told: &Told) -> Result<Report, Failure> {
    let compared = verify.run(asked.within).await;
    told.end();
    let report = compared?;
    // Who closes standard output early still gets the exit code.
    let _ = write!(std::io::stdout(), "{report}");
    Ok(report)
}

/// A route that was asked for, and the table its records come from.
pub struct Chosen {
    pub route: config::routes::Route,
    pub source_table: String,
}

/// The routes into the named tables, or all of them.
pub fn chosen(routes: &[config::routes::Route], tables: &[String]) -> Result<Vec<Chosen>, Exit> {
    let known: Vec<&str> = routes.iter().map(|route| route.table.as_str()).collect();
    if let Some(unknown) = tables.iter().find(|table| !known.contains(&table.as_str())) {
        return Err(refused(&format!("no route leads to a table \"{unknown}\"; routed are {}", known.join(", "))));
    }
    let mut problems = Vec::new();
    let mut chosen = Vec::new();
    for route in routes.iter().filter(|route| tables.is_empty() || tables.contains(&route.table)) {
        let place = format!("cdcconsumer.routes, {} → {}", route.topic, route.table);
        match &route.source_table {
            Some(name) => chosen.push(Chosen { route: route.clone(), source_table: name.clone() }),
            None => problems.push(format!(
                "{place}: verify and sweep have to know the table that the topic's records come from: add \
                 source_table = \"schema.table\" to this route"
            )),
        }
        if known.iter().filter(|table| **table == route.table).count() > 1 {
            problems.push(format!(
                "{place}: several routes lead to this table, and nobody can tell whose a row is: leave it out with \
                 --table"
            ));
        }
    }
    if problems.is_empty() { Ok(chosen) } else { Err(refused(&problems.join("\n  "))) }
}

/// Both sides, connected, and the tables to compare.
pub struct Prepared {
    pub source: Postgres,
    pub cluster: Cluster,
    /// In the order of what was asked for, as the tables are.
    pub routes: Routes,
    pub tables: Vec<Table>,
    /// How many rows the source about has of them.
    pub rows_about: BTreeMap<String, u64>,
}

/// Connects to both sides and maps each route, or says what speaks against it.
pub async fn prepare(
    config: &Config,
    source: &config::Postgres,
    settings: &Settings,
    chosen: &[Chosen],
) -> Result<Prepared, Failure> {
    let source = Postgres::connect(postgres::Settings::new(source.url.reveal(), "verify")).await?;
    let cluster = Cluster::connect(settings).await?;
    let written: Vec<_> = chosen.iter().map(|chosen| chosen.route.clone()).collect();
    let routes = resolve(&with_source(config, &written).await?, &cluster).await?;
    let mut problems = Vec::new();
    let (mut tables, mut rows_about) = (Vec::new(), BTreeMap::new());
    for (route, Chosen { source_table: name, .. }) in routes.routes.iter().zip(chosen) {
        let mapped = match (source.source_facts(name).await?, routes.topic(&route.topic)) {
            (Some(facts), Some(topic)) => Mapping::new(route, topic, &facts, &source.type_names(name).await?),
            _ => Err(vec![format!(
                "route {}: the source has no table \"{name}\": correct `source_table`, or [source.postgres]",
                route.name()
            )]),
        };
        match mapped {
            Ok(mapping) => {
                rows_about.extend(source.rows_about(name).await?.map(|rows| (mapping.target.clone(), rows)));
                tables.push(Table { mapping, target: cluster.reader(route).await? });
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Stop(problems.join("\n  ")));
    }
    Ok(Prepared { source, cluster, routes, tables, rows_about })
}

/// How long verify waits for servers that are not there, when `--within` does not give them longer.
pub const VERIFY_CONNECT_PATIENCE: Duration = Duration::from_secs(30);
