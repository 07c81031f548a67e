//! `cdcconsumer sweep`: rows that only the target has are deleted there.

mod letters;

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use rowferry::kafka::saved;
use rowferry::ops::config::{Config, Consumer};
use rowferry::ops::letters::mask::{MASK, printable};
use rowferry::ops::service::{Exit, until_there};
use rowferry::plan::route::Route;
use rowferry::row::Row;
use rowferry::sink::Failure;
use rowferry::sink::postgres::Postgres;
use rowferry::verify::mapping::Mapping;
use rowferry::verify::report::{TableReport, shown};
use rowferry::verify::sweep::{Fate, ROWS_AT_ONCE_MAX, Sweep};
use rowferry::verify::{Progress, Table, Verify};
use tokio::sync::watch;

use crate::backfill::{described, until_applied};
use crate::sweep::letters::Letters;
use crate::topics::of_topics;
use crate::verify::told::Told;
use crate::verify::{Prepared, VERIFY_CONNECT_PATIENCE, chosen, duration, prepare};
use crate::{cassandra_settings, refused, sections};

/// Deletes rows that are in Cassandra and no longer in Postgres: those that were deleted there while no connector
/// listened, or before a snapshot, which cannot name what is gone.
///
/// WITHOUT --apply IT DELETES NOTHING, and prints what it would delete. It waits until the group has applied what the
/// topics hold, looks for rows without a source row as `verify` does, and asks the target and then the source once more
/// for each of them. A delete carries the version of what was seen of its row, so it may run beside a pipeline that works:
/// no record that is still to come is hidden by it, and a row that the source inserts again is there again.
///
/// Rows with a dead letter that is newer than they are stay: redrive it first. With `soft_delete` the flag is set. Keys
/// are masked unless --values is given.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 no such rows (with --apply: none is left); 1 there are some, or it was stopped or could not;
64 refused, nothing was deleted.

Examples:
  cdcconsumer sweep orders orders_by_user
  cdcconsumer sweep orders --apply"
)]
pub struct Flags {
    /// The target tables to sweep.
    #[arg(value_name = "ROUTE", required = true)]
    tables: Vec<String>,
    /// Deletes them. Without it they are only looked for.
    #[arg(long)]
    apply: bool,
    /// More rows than so many in a table are refused, and none of them is deleted: a wrong source looks like an empty one.
    #[arg(long, value_name = "ROWS", default_value_t = ROWS_DEFAULT)]
    rows_max: NonZeroU32,
    /// Wait so long for the group to apply what the topics hold: 90s, 2m, 1h.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    within: Duration,
    /// Look at most at so many keys of the target in a second.
    #[arg(long, value_name = "ROWS")]
    rows_per_second_max: Option<NonZeroU32>,
    /// Sweeps rows with a newer dead letter, too: for letters that nobody is going to redrive.
    #[arg(long)]
    with_dead_letters: bool,
    /// Shows keys as they are. They may hold personal data.
    #[arg(long)]
    values: bool,
}

const ROWS_DEFAULT: NonZeroU32 = NonZeroU32::new(1_000).unwrap(); // It is not zero.

/// How rows are swept, whoever found them.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub apply: bool,
    pub rows_max: usize,
    pub with_dead_letters: bool,
    pub values: bool,
}

/// Looks for rows to sweep in the named tables, and sweeps them where it may.
pub async fn run(config: &Config, asked: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let Some(source) = &config.source.postgres else {
        return Err(refused("sweep asks the source which rows are gone: add [source.postgres] with its `url`"));
    };
    let settings = cassandra_settings(target);
    let patience = asked.within.max(VERIFY_CONNECT_PATIENCE);
    let connecting = async {
        let consumer = until_there(&shutdown, || of_topics(config, consumer)).await?;
        let chosen = chosen(&consumer.routes, &asked.tables)?;
        let prepared = until_there(&shutdown, || prepare(config, source, &settings, &chosen)).await?;
        Ok((consumer, prepared))
    };
    let (consumer, prepared) = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(Exit::Done)) => return Err(Exit::Failed),
        Ok(Err(exit)) => return Err(exit),
        Err(_) => {
            tracing::error!("a server was not there for {} s: giving up", patience.as_secs());
            return Err(Exit::Failed);
        }
    };
    let mut stop = shutdown.clone();
    let swept = tokio::select! {
        swept = look_and_sweep(config, &consumer, asked, prepared, &shutdown) => swept,
        _ = stop.wait_for(|asked| *asked) => Err(Failure::Retry("it was asked to stop; what it deleted is right".into())),
    };
    ended(swept)
}

/// How a sweep ends.
pub fn ended(swept: Result<u64, Failure>) -> Result<Exit, Exit> {
    match swept {
        Ok(0) => Ok(Exit::Done),
        Ok(_) => Ok(Exit::Failed),
        Err(Failure::Stop(why)) => Err(refused(&why)),
        Err(Failure::Retry(what)) => {
            tracing::error!("not everything was swept: {what}");
            Err(Exit::Failed)
        }
    }
}

async fn look_and_sweep(
    config: &Config,
    consumer: &Consumer,
    asked: &Flags,
    prepared: Prepared,
    shutdown: &watch::Receiver<bool>,
) -> Result<u64, Failure> {
    let Prepared { source, cluster, routes, tables, rows_about } = prepared;
    let cuts = ready(config, consumer, &source, &tables, &routes.routes, asked.within).await?;
    let Flags { apply, with_dead_letters, values, .. } = *asked;
    let how = How { apply, rows_max: asked.rows_max.get() as usize, with_dead_letters, values };
    let told = Told::begin(rows_about);
    let progress = {
        let told = told.clone();
        Box::new(move |progress: &Progress<'_>| told.tell(progress))
    };
    let rows_per_second_max = asked.rows_per_second_max;
    let keys_max = how.rows_max;
    let verify = Verify { source, tables, sample: None, target_only: true, keys_max, rows_per_second_max, progress };
    let report = verify.run(Duration::ZERO).await;
    told.end();
    let found = Found { verify: &verify, cluster: &cluster, routes: &routes, cuts: &cuts };
    found.sweep(config, &consumer.group_id, &report?.tables, how, shutdown).await
}

/// Waits until the group has applied what the topics of these routes hold, and returns the cut of each route: the lowest
/// version that its topic's partitions stand at then, 0 where one has none.
pub async fn ready(
    config: &Config,
    consumer: &Consumer,
    source: &Postgres,
    tables: &[Table],
    routes: &[Route],
    within: Duration,
) -> Result<Vec<i64>, Failure> {
    for table in tables {
        if let Some(why) = source.hides_rows(&table.mapping.source.name).await? {
            return Err(Failure::Stop(format!("source.postgres.url: {why}")));
        }
    }
    let mut cuts = Vec::with_capacity(routes.len());
    for route in routes {
        let applied = tokio::time::timeout(within, until_applied(config, consumer, &route.topic)).await;
        if applied.is_err() {
            return Err(Failure::Retry(format!(
                "group {}, which has not applied what {} holds within {} s: run cdcconsumer, or give it more time with \
                 --within",
                consumer.group_id,
                route.topic,
                within.as_secs()
            )));
        }
        let described = described(config, consumer, vec![route.topic.clone()]).await?;
        let stands = described.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let commit = partition.commit.as_ref().filter(|commit| topic.another(commit).is_none());
                let chain = commit.and_then(|commit| saved::chain(commit.metadata.as_deref()?).ok());
                chain.map_or(0, |chain| chain.last())
            })
        });
        cuts.push(stands.min().unwrap_or(0));
    }
    Ok(cuts)
}

/// Tables that were looked at, with what sweeps them.
pub struct Found<'a> {
    pub verify: &'a Verify,
    pub cluster: &'a rowferry::sink::cassandra::cluster::Cluster,
    pub routes: &'a rowferry::plan::route::Routes,
    pub cuts: &'a [i64],
}

impl Found<'_> {
    /// Sweeps the extra rows of these reports, or says what would be swept. Returns how many are left.
    pub async fn sweep(
        &self,
        config: &Config,
        group_id: &str,
        reports: &[TableReport],
        how: How,
        shutdown: &watch::Receiver<bool>,
    ) -> Result<u64, Failure> {
        let tables = self.verify.tables.iter().zip(reports);
        // All tables are looked at before the first row goes.
        if let Some((table, _)) = tables.clone().find(|(_, report)| report.counts.extra > how.rows_max as u64) {
            return Err(Failure::Stop(format!(
                "table \"{}\" has more than {} rows that the source does not have: is [source.postgres] the right \
                 database? If it is, and they are to go, raise --rows-max",
                table.mapping.target, how.rows_max
            )));
        }
        let sink = self.cluster.sink(self.routes).await?;
        let mut left = 0;
        for (at, (table, report)) in tables.enumerate() {
            let rows = &report.keys.of_extra;
            let (unsettled, cut_short) = (report.counts.unsettled, report.cut_short);
            let mut counts = Counts { unsettled, cut_short, ..Counts::default() };
            if !rows.is_empty() {
                let route = &self.routes.routes[at];
                let topic = self.routes.topic(&route.topic);
                let topic = topic.ok_or_else(|| Failure::Stop(format!("route {}: it has no topic", route.name())))?;
                let letters = match how.with_dead_letters {
                    true => Letters::default(),
                    false => letters::of(config, group_id, &table.mapping, topic, rows, shutdown).await?,
                };
                if letters.unreadable > 0 {
                    tracing::warn!(
                        topic = topic.name,
                        letters = letters.unreadable,
                        "dead letters have keys that cannot be read: a row that they speak of is not spared"
                    );
                }
                let times = self.cluster.write_times(route).await?;
                let (source, cut, letters) = (&self.verify.source, self.cuts[at], &letters.versions);
                let sweep = Sweep { source, table, times, sink: &sink, route, at, cut, letters };
                counts = sweep_rows(&sweep, rows, how, counts).await?;
            }
            left += counts.tell(&table.mapping.target, how.apply);
        }
        Ok(left)
    }
}

async fn sweep_rows(sweep: &Sweep<'_>, rows: &[Row], how: How, mut counts: Counts) -> Result<Counts, Failure> {
    for rows in rows.chunks(ROWS_AT_ONCE_MAX) {
        let fates = sweep.run(rows, how.apply).await?;
        for (key, fate) in rows.iter().zip(fates) {
            let (name, why) = match fate {
                Fate::Swept(version) if how.apply => ("swept", format!("@{version}")),
                Fate::Swept(version) => ("extra", format!("would be deleted @{version}")),
                Fate::Spared(spared) => ("spared", spared.why().into()),
                Fate::Gone | Fate::Belongs => continue,
            };
            match fate {
                Fate::Swept(_) => counts.swept += 1,
                _ => counts.spared += 1,
            }
            let (table, key) = (&sweep.table.mapping.target, key_text(&sweep.table.mapping, key, how.values));
            // Who closes standard output early still gets the exit code.
            let _ = writeln!(std::io::stdout(), "{name}\t{table}\t{key}\t{why}");
        }
    }
    Ok(counts)
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    swept: u64,
    spared: u64,
    unsettled: u64,
    /// There were so many that not all rows were looked at.
    cut_short: bool,
}

impl Counts {
    /// Says what became of a table's rows, and returns how many of them are left.
    fn tell(self, table: &str, apply: bool) -> u64 {
        let Counts { swept, spared, unsettled, cut_short } = self;
        let what = if apply { "deleted" } else { "to delete" };
        let more = if cut_short { ", and not all rows were looked at: sweep again" } else { "" };
        eprintln!("{table}: {swept} {what}, {spared} spared, {unsettled} unsettled{more}");
        let stays = if apply { 0 } else { swept };
        stays + spared + unsettled + u64::from(cut_short)
    }
}

/// `user_id=•••, order_id=•••`
fn key_text(mapping: &Mapping, key: &Row, values: bool) -> String {
    let column = |(name, value)| {
        let value = if values { printable(&shown(Some(&value))) } else { MASK.into() };
        format!("{name}={value}")
    };
    mapping.named_key(key).into_iter().map(column).collect::<Vec<String>>().join(", ")
}
