//! `cdcconsumer dead-letters`: what was refused and why, and the way back in.

mod selection;
mod reading;
pub mod progress;
mod print;
mod fate;
mod redrive;
mod reproduce;

use chrono::Utc;
use clap::{Args, CommandFactory as _, Subcommand, error::ErrorKind};
use rowferry::ops::config::Config;
use rowferry::ops::letters::letter::Origin;
use rowferry::ops::service::Exit;
use tokio::sync::watch;

use crate::dead_letters::selection::{Filter, moment};

/// Looks at refused records, and brings them in again once their cause is mended.
///
/// The dead-letter topic is read from its beginning to the end that it has now, beside whatever runs. A record counts
/// once, however often its letter stands there: the newest counts. Keys and values are masked unless --values is given.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 done; 1 nothing was found, or not everything was done; 2 usage; 64 refused.

Examples:
  cdcconsumer dead-letters list --since 2h
  cdcconsumer dead-letters show shop.public.users:0:17 --values
  cdcconsumer dead-letters export --reason wrong_type > letters.jsonl
  cdcconsumer dead-letters redrive --route orders --dry-run"
)]
pub struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a line for each letter, then how many there are of each class.
    ///
    /// On a terminal a table; else the columns origin, refused at, class, route, version, bytes, separated by tabs,
    /// and the counts on standard error.
    #[command(after_help = "Examples:
  cdcconsumer dead-letters list --since 2h
  cdcconsumer dead-letters list --route orders --reason out_of_range | cut -f1")]
    List {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        limit: Limit,
    },
    /// Prints one letter whole: what it says, the record's headers, key and value.
    #[command(after_help = "Examples:
  cdcconsumer dead-letters show shop.public.users:0:17
  cdcconsumer dead-letters show shop.public.users:0:17 --values")]
    Show {
        /// Where the refused record stands: topic:partition:offset.
        #[arg(value_name = "ORIGIN")]
        origin: Origin,
        #[command(flatten)]
        values: Values,
    },
    /// Writes letters as JSON lines to standard output; what is no UTF-8 as base64.
    #[command(after_help = "Examples:
  cdcconsumer dead-letters export --reason wrong_type > letters.jsonl
  cdcconsumer dead-letters export --topic shop.public.users --values | jq .")]
    Export {
        #[command(flatten)]
        filters: Filters,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        values: Values,
    },
    Redrive(Redrive),
}

/// Sends chosen letters through the pipeline again, each with the version that it had.
///
/// So a row that is newer stays as it is, a row that was deleted since stays deleted, and it does no harm to do this
/// twice, or beside a pipeline that works, or to end it in the middle. It moves no offset. Every route of a record's
/// topic gets it, whichever of them refused it. A record that is refused again is told with its reason.
///
/// Refused are records older than half of gc_grace_seconds of a table that they go to: a delete since may have been
/// forgotten there, and the row would come back. Have the source send such rows again.
///
/// NOTHING IS MARKED AS DONE: the topic only grows. What is printed (fate, origin, why) is the record of it, and letters
/// go when the topic's retention ends. Doing it again is harmless.
///
/// --reproduce is for the events of `consumer`, which have no version: they are produced again, at the end of their
/// topic, with key, value and headers. They go over no row that was modified at the same time or later; the route says
/// how that is known (`modified_at`), and `consumer` has to run with that setting.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 all are written; 1 nothing was found, or some were not; 2 usage; 64 refused.

Examples:
  cdcconsumer dead-letters redrive --route orders --dry-run
  cdcconsumer dead-letters redrive shop.public.users:0:17
  cdcconsumer dead-letters redrive --reason missing_row --since 1d --reproduce"
)]
struct Redrive {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    values: Values,
    /// Chooses every letter, where no filter is given.
    #[arg(long)]
    all: bool,
    /// Prints what would be written, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Produces events of `consumer` again, and leaves everything else alone.
    #[arg(long)]
    reproduce: bool,
    /// Lets events go over newer rows, as if they had just happened. Doing that twice does it twice.
    #[arg(long, requires = "reproduce")]
    even_if_newer: bool,
}

#[derive(Debug, Args)]
struct Filters {
    /// Records at these places: topic:partition:offset.
    #[arg(value_name = "ORIGIN")]
    origins: Vec<Origin>,
    /// The topic of the refused record.
    #[arg(long)]
    topic: Option<String>,
    /// The route as it is listed, or one of its tables.
    #[arg(long)]
    route: Option<String>,
    /// The class of the reason, such as wrong_type.
    #[arg(long, value_name = "CLASS")]
    reason: Option<String>,
    /// Refused at this time or later: 2026-01-31T12:00:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Refused before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// The record's key, exactly as it stands in the topic.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct Limit {
    /// At most so many letters: the first in the order of topic, partition and offset.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, Args)]
struct Values {
    /// Shows keys, values and headers as they are. They may hold personal data.
    #[arg(long)]
    values: bool,
}

fn time(text: &str) -> Result<i64, String> {
    moment(text, Utc::now().timestamp_millis())
}

impl Filters {
    fn filter(&self) -> Filter {
        Filter {
            origins: self.origins.clone(),
            topic: self.topic.clone(),
            route: self.route.clone(),
            class: self.reason.clone(),
            since_ms: self.since,
            until_ms: self.until,
            key: self.key.clone(),
        }
    }
}

impl Limit {
    fn letters_max(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit as usize)
    }
}

/// Does what was asked. `Err` is how it ends before it could.
pub async fn run(config: &Config, asked: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    match &asked.command {
        Command::List { filters, limit } => {
            let filter = filters.filter();
            let chosen = reading::chosen(config, &filter, &shutdown).await?;
            print::list(chosen, limit.letters_max())
        }
        Command::Show { origin, values } => {
            let filter = Filter { origins: vec![origin.clone()], ..Filter::default() };
            let chosen = reading::chosen(config, &filter, &shutdown).await?;
            print::show(config, chosen, values.values, &shutdown).await
        }
        Command::Export { filters, limit, values } => {
            let filter = filters.filter();
            let mut chosen = reading::chosen(config, &filter, &shutdown).await?;
            chosen.truncate(limit.letters_max());
            print::export(config, chosen, values.values, &shutdown).await
        }
        Command::Redrive(asked) => {
            let filter = asked.filters.filter();
            if filter.is_empty() && !asked.all {
                let text = "redrive takes chosen letters: give a filter or an ORIGIN, or --all";
                crate::Flags::command().error(ErrorKind::MissingRequiredArgument, text).exit();
            }
            let mut chosen = reading::chosen(config, &filter, &shutdown).await?;
            let events = chosen.extract_if(.., |entry| reproduce::is_event(config, entry)).collect();
            let (mut chosen, others) = if asked.reproduce { (events, chosen) } else { (chosen, events) };
            if !others.is_empty() {
                let (of, mend) = if asked.reproduce { ("changes", "without") } else { ("events of consumer", "with") };
                tracing::warn!(
                    "{} letters are of {of} and are left alone: redrive them {mend} --reproduce",
                    others.len()
                );
            }
            chosen.truncate(asked.limit.letters_max());
            if chosen.is_empty() {
                return Err(reading::nothing_found());
            }
            if asked.reproduce {
                reproduce::run(config, asked, chosen, shutdown).await
            } else {
                redrive::run(config, asked, chosen, shutdown).await
            }
        }
    }
}
