//! `cdcconsumer ddl`: CQL for the keyspace and the tables, from the source's catalog or a topic's schema blocks.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use rowferry::format::announced::{Announced, announced};
use rowferry::kafka::describe::{self, Asked};
use rowferry::kafka::sample::{self, Place};
use rowferry::ops::config::Config;
use rowferry::ops::config::routes::Route;
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::plan::feed::{FeedSpec, source_members, source_wire};
use rowferry::plan::route::RouteSpec;
use rowferry::plan::source::SourceFacts;
use rowferry::row::wire::{Modes, Wire};
use rowferry::row::{Format, Value};
use rowferry::sink::Failure;
use rowferry::sink::cassandra::checkpoint;
use rowferry::sink::cassandra::ddl::{self, Draft, DraftColumn, Grain, Key, Replication};
use rowferry::sink::postgres::{self, Postgres};
use tokio::sync::watch;

use crate::topics::of_topics;
use crate::{refused, sections};

/// Prints CQL that creates the keyspace and the tables of the routes; nothing is created.
///
/// The tables are those of the configured routes (each needs its `source_table`), with columns for their constants, for
/// headers, for members of `source` and for their `soft_delete` too; or of the source tables that
/// `--source-table` names, or of a topic whose records have schema blocks (`--from-topic`). Every column gets the type
/// that holds all values of its source; comments say what else there is, and what a choice costs. Running the CQL
/// twice changes nothing, for everything is IF NOT EXISTS. With `--source-table` and `--from-topic` the route that
/// goes with each table follows as a comment.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 printed; 1 a server did not answer; 64 it cannot be done as asked.

Examples:
  cdcconsumer ddl | cqlsh
  cdcconsumer ddl --key 'orders_by_user=(user_id), order_id'
  cdcconsumer ddl --source-table public.users inv.items --topic-prefix shop
  cdcconsumer ddl --from-topic shop.inv.items --replication dc1=3,dc2=3"
)]
pub struct Flags {
    /// Source tables, as schema.table, in place of those of the routes.
    #[arg(long = "source-table", value_name = "SCHEMA.TABLE", num_args = 1.., conflicts_with = "from_topic")]
    source_tables: Vec<String>,
    /// A topic whose newest records have schema blocks, where there is no catalog to ask.
    #[arg(long, value_name = "TOPIC")]
    from_topic: Option<String>,
    /// Another primary key than the source's, which it must contain: "(user_id), order_id", after "table=" when there
    /// are several tables. May be repeated.
    #[arg(long = "key", value_name = "[TABLE=]KEY")]
    keys: Vec<String>,
    /// Copies of each row: a number for every datacenter, or dc1=3,dc2=2.
    #[arg(long, default_value = "3")]
    replication: Replication,
    /// Make timestamps that are finer than milliseconds CQL timestamps, which cut them, and not text.
    #[arg(long)]
    milliseconds: bool,
    /// The connector's topic.prefix, for the routes in comments.
    #[arg(long, value_name = "PREFIX", default_value = "PREFIX")]
    topic_prefix: String,
}

/// How long a server that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const SAMPLE_RECORDS_MAX: i64 = 10;
const SAMPLE_PATIENCE: Duration = Duration::from_secs(10);

/// A table, and the route that feeds it where none is configured.
pub struct Planned {
    pub draft: Draft,
    pub route: Option<NewRoute>,
}

pub struct NewRoute {
    pub topic: String,
    pub source_table: Option<String>,
    pub format: Format,
}

/// Prints the CQL, or everything that speaks against it.
pub async fn run(config: &Config, asked: &Flags, shutdown: watch::Receiver<bool>) -> Result<Exit, Exit> {
    let (consumer, target) = sections(config)?;
    let modes = config.source.debezium.modes();
    let planning = until_there(&shutdown, || async {
        match &asked.from_topic {
            Some(topic) => from_topic(config, &consumer.group_id, topic).await.map(|planned| vec![planned]),
            None if asked.source_tables.is_empty() => {
                from_routes(config, &of_topics(config, consumer).await?.routes).await
            }
            None => from_tables(config, asked, &modes).await,
        }
    });
    let mut planned = match tokio::time::timeout(PATIENCE, planning).await {
        Ok(planned) => planned?,
        Err(_) => {
            tracing::error!("it was not there for {} s: giving up", PATIENCE.as_secs());
            return Err(Exit::Failed);
        }
    };
    let mut problems = choose_keys(&mut planned, &asked.keys);
    let grain = if asked.milliseconds { Grain::Milliseconds } else { Grain::Exact };
    let text = cql(&target.keyspace, &asked.replication, grain, &planned).map_err(|more| problems.extend(more));
    match text {
        Ok(text) if problems.is_empty() => {
            // Who closes standard output early has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(Exit::Done)
        }
        Ok(_) | Err(()) => Err(refused(&problems.join("\n  "))),
    }
}

/// The keyspace and its tables, each with its route as a comment; or everything that speaks against them.
pub fn cql(
    keyspace: &str,
    replication: &Replication,
    grain: Grain,
    planned: &[Planned],
) -> Result<String, Vec<String>> {
    let (mut text, mut problems) = (String::new(), Vec::new());
    match ddl::keyspace(keyspace, replication) {
        Ok(created) => text += &created,
        Err(problem) => problems.push(problem),
    }
    for Planned { draft, route } in planned {
        match ddl::table(keyspace, draft, grain) {
            Ok(table) => text += &format!("\n{table}"),
            Err(more) => problems.extend(more),
        }
        if let Some(route) = route {
            text += &route.comment(draft, grain);
        }
    }
    text += &format!("\n{}", checkpoint::ddl(keyspace));
    if problems.is_empty() { Ok(text) } else { Err(problems) }
}

impl NewRoute {
    /// The route for rowferry.toml, line by line behind `-- `.
    fn comment(&self, draft: &Draft, grain: Grain) -> String {
        self.lines(draft, grain).iter().map(|line| format!("-- {}\n", line.replace(';', "\\u003b"))).collect()
    }

    /// The route as rowferry.toml has it.
    pub fn lines(&self, draft: &Draft, grain: Grain) -> Vec<String> {
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        let key: Vec<String> = draft.source_key.iter().map(|name| quoted(name)).collect();
        let mut lines = vec!["[[cdcconsumer.routes]]".to_string(), format!("topic = {}", quoted(&self.topic))];
        lines.extend(self.source_table.as_ref().map(|table| format!("source_table = {}", quoted(table))));
        lines.push(format!("table = {}", quoted(&draft.name)));
        lines.push(format!("source_key = [{}]", key.join(", ")));
        if self.format == Format::Flat {
            lines.push("format = \"flat\"".into());
        }
        if !draft.left_out.is_empty() {
            let names: Vec<String> = draft.left_out.iter().map(|(name, _)| quoted(name)).collect();
            lines.push(format!("ignore = [{}]", names.join(", ")));
        }
        let in_key =
            |name: &String| draft.key.as_ref().map_or(draft.source_key.contains(name), |key| key.contains(name));
        let lossy: Vec<String> = draft
            .columns
            .iter()
            .filter(|column| ddl::is_lossy(column, in_key(&column.name), grain))
            .map(|column| format!("{} = {{ lossy = true }}", quoted(&column.name)))
            .collect();
        if !lossy.is_empty() {
            lines.push(format!("columns = {{ {} }}", lossy.join(", ")));
        }
        lines
    }
}

/// Sets the keys that were chosen, and says what is wrong with the choice.
fn choose_keys(planned: &mut [Planned], keys: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for text in keys {
        let named = planned.iter().position(|table| text.strip_prefix(&format!("{}=", table.draft.name)).is_some());
        let (at, key) = match (named, planned.len()) {
            (Some(at), _) => (at, &text[planned[at].draft.name.len() + 1..]),
            (None, 1) => (0, text.as_str()),
            (None, _) => {
                let names: Vec<&str> = planned.iter().map(|table| table.draft.name.as_str()).collect();
                problems.push(format!(
                    "--key \"{text}\": say of which table, as in \"{}=(a), b\"; there are {}",
                    names.first().unwrap_or(&"table"),
                    names.join(", ")
                ));
                continue;
            }
        };
        match key.parse::<Key>() {
            Ok(key) => planned[at].draft.key = Some(key),
            Err(error) => problems.push(format!("--key: {error}")),
        }
    }
    problems
}

async fn connect(config: &Config) -> Result<Postgres, Failure> {
    let Some(source) = &config.source.postgres else {
        return Err(Failure::Stop(
            "the catalog says the types: add [source.postgres] with its `url`, or use --from-topic with a topic whose \
             records have schema blocks"
                .into(),
        ));
    };
    let connected = Postgres::connect(postgres::Settings::new(source.url.reveal(), "ddl")).await;
    connected.map_err(about("source.postgres.url"))
}

/// What the catalog says of a table, and which of its columns the server computes itself.
pub async fn described(source: &Postgres, table: &str) -> Result<(SourceFacts, Vec<String>), Failure> {
    let facts = source.source_facts(table).await.map_err(about("source.postgres.url"))?;
    let Some(facts) = facts else {
        return Err(Failure::Stop(format!(
            "the source has no table \"{table}\": write it as schema.table, with letters as Postgres has them, or \
             correct [source.postgres]"
        )));
    };
    let generated = source.generated_columns(table).await.map_err(about("source.postgres.url"))?;
    Ok((facts, generated))
}

/// One table for each that routes lead to. Where several do, it has the columns of all, and the first one that has a
/// column says what it is.
async fn from_routes(config: &Config, routes: &[Route]) -> Result<Vec<Planned>, Failure> {
    let source = connect(config).await?;
    let mut planned: Vec<Planned> = Vec::new();
    let mut problems = Vec::new();
    for route in routes {
        let spec = route.spec(&config.source.debezium);
        let Some(table) = &route.source_table else {
            problems.push(format!(
                "route {}: the table that its records come from is not known: add source_table = \"schema.table\"",
                spec.name()
            ));
            continue;
        };
        let (facts, generated) = match described(&source, table).await {
            Ok(told) => told,
            Err(Failure::Stop(why)) => {
                problems.push(format!("route {}: {why}", spec.name()));
                continue;
            }
            Err(wait) => return Err(wait),
        };
        let draft = of_route(&spec, &facts, &generated, &mut problems);
        match planned.iter_mut().find(|table| table.draft.name == route.table) {
            Some(Planned { draft: known, .. }) => {
                let is_new = |column: &DraftColumn| known.columns.iter().all(|other| other.name != column.name);
                let new: Vec<DraftColumn> = draft.columns.into_iter().filter(is_new).collect();
                known.columns.extend(new);
            }
            None => planned.push(Planned { draft, route: None }),
        }
    }
    if problems.is_empty() { Ok(planned) } else { Err(Failure::Stop(problems.join("\n  "))) }
}

fn of_route(spec: &RouteSpec, facts: &SourceFacts, generated: &[String], problems: &mut Vec<String>) -> Draft {
    let is_flag = |target: &str| spec.soft_delete.as_deref() == Some(target);
    let targets = |source: &str| {
        let renamed: Vec<String> =
            spec.renamed.iter().filter(|(_, from)| *from == source).map(|(target, _)| target.clone()).collect();
        let is_fed_otherwise = spec.fed.contains_key(source) || is_flag(source);
        match renamed.is_empty() {
            true if is_fed_otherwise => Vec::new(),
            true => vec![source.to_string()],
            false => renamed,
        }
    };
    let mut draft = draft(facts, &spec.table, generated, &spec.modes, &targets);
    draft.guard = spec.guard.clone();
    draft.source_key = spec.source_key.iter().flat_map(|name| targets(name).into_iter().next()).collect();
    for (name, fed) in &spec.fed {
        match beside_the_row(fed) {
            Some((source_type, wire)) => draft.columns.push(DraftColumn { name: name.clone(), source_type, wire }),
            None => problems.push(format!(
                "route {}: `columns`, {name}: `source` has no such member, but {}",
                spec.name(),
                source_members()
            )),
        }
    }
    if let Some(flag) = &spec.soft_delete {
        let source_type = "set by deletes".to_string();
        draft.columns.push(DraftColumn { name: flag.clone(), source_type, wire: Wire::Bool });
    }
    draft
}

/// What a comment calls the values of a column that no column of the row feeds, and how they stand.
fn beside_the_row(fed: &FeedSpec) -> Option<(String, Wire)> {
    Some(match fed {
        FeedSpec::Constant(value) => {
            let wire = match value {
                Value::Bool(_) => Wire::Bool,
                Value::Int(number) if i32::try_from(*number).is_ok() => Wire::Int32,
                Value::Int(_) => Wire::Int64,
                Value::Decimal(_) => Wire::VariableScaleDecimal,
                _ => Wire::Text,
            };
            ("constant".into(), wire)
        }
        FeedSpec::Header(header) => (format!("header \"{header}\""), Wire::Text),
        FeedSpec::Source(member) => (format!("source.{member}"), source_wire(member)?),
    })
}

async fn from_tables(config: &Config, asked: &Flags, modes: &Modes) -> Result<Vec<Planned>, Failure> {
    let source = connect(config).await?;
    let mut described_tables = Vec::new();
    let mut problems = Vec::new();
    for table in &asked.source_tables {
        match described(&source, table).await {
            Ok(told) => described_tables.push((table, told)),
            Err(Failure::Stop(why)) => problems.push(why),
            Err(wait) => return Err(wait),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Stop(problems.join("\n  ")));
    }
    let names = table_names(described_tables.iter().map(|(table, _)| table.as_str()));
    let planned = described_tables.into_iter().zip(names).map(|((table, (facts, generated)), name)| {
        let draft = draft(&facts, &name, &generated, modes, &|source: &str| vec![source.to_string()]);
        let topic = topic_name(&asked.topic_prefix, table);
        let route = NewRoute { topic, source_table: Some(table.clone()), format: Format::Envelope };
        Planned { draft, route: Some(route) }
    });
    Ok(planned.collect())
}

/// As Debezium calls a table's topic: what Kafka does not take in a name becomes an underscore.
pub fn topic_name(prefix: &str, table: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{prefix}.{table}").chars().map(plain).collect()
}

/// The tables' own names; with their schema where two would be called the same.
pub fn table_names<'a>(tables: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let bare = |table: &str| ddl::table_name(table.split_once('.').map_or(table, |(_, table)| table));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    tables.clone().for_each(|table| *times.entry(bare(table)).or_default() += 1);
    tables.map(|table| if times[&bare(table)] > 1 { ddl::table_name(table) } else { bare(table) }).collect()
}

pub fn draft(
    facts: &SourceFacts,
    name: &str,
    generated: &[String],
    modes: &Modes,
    targets: &dyn Fn(&str) -> Vec<String>,
) -> Draft {
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    for fact in &facts.columns {
        let why = match Wire::of_postgres(&fact.pg_type, modes) {
            _ if generated.contains(&fact.name) => {
                "is computed by the server, and only snapshots bring it, not what is streamed".to_string()
            }
            Ok(wire) => {
                let source_type = &fact.pg_type;
                let column = |name| DraftColumn { name, source_type: source_type.clone(), wire: wire.clone() };
                columns.extend(targets(&fact.name).into_iter().map(column));
                continue;
            }
            Err(unsent) => format!("({}) {unsent}", fact.pg_type),
        };
        left_out.push((fact.name.clone(), why));
    }
    let source_key = facts.key.clone();
    Draft { source: facts.table.clone(), name: name.into(), columns, source_key, key: None, guard: None, left_out }
}

/// A table as the newest record with schema blocks announces it.
async fn from_topic(config: &Config, group_id: &str, topic: &str) -> Result<Planned, Failure> {
    let asked = Asked {
        access: config.kafka.access(),
        group_id: group_id.into(),
        topics: vec![topic.into()],
        dead_letter_topic: config.kafka.dead_letter_topic.clone(),
    };
    let kafka = |error: &dyn std::fmt::Display| Failure::Retry(format!("Kafka: {error}"));
    let described = describe::describe(&asked).await.map_err(|error| kafka(&error))?;
    let partitions = described.topics.iter().flat_map(|topic| &topic.partitions);
    let places: Vec<Place> = partitions
        .filter_map(|partition| partition.range.map(|(begin, end)| (topic.to_string(), partition.number, begin, end)))
        .collect();
    let read = move || sample::newest(&asked.access, &asked.group_id, &places, SAMPLE_RECORDS_MAX, SAMPLE_PATIENCE);
    let sample = tokio::task::spawn_blocking(read).await.map_err(|error| kafka(&error))?;
    let sample = sample.map_err(|error| kafka(&error))?;
    let mut records: Vec<_> = sample.records.into_values().flatten().collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.timestamp_ms));
    let found = records.iter().find_map(|record| announced(record).ok().flatten());
    let Some(Announced { format, key, columns }) = found else {
        return Err(Failure::Stop(format!(
            "topic {topic}: none of its newest records has schema blocks: set schemas.enable of the connector's key \
             and value converter, or use the catalog ([source.postgres])"
        )));
    };
    let (known, unknown): (Vec<_>, Vec<_>) = columns.into_iter().partition(|(_, wire)| wire.is_some());
    let column = |(name, wire): (String, Option<Wire>)| {
        wire.map(|wire| DraftColumn { name, source_type: wire.to_string(), wire })
    };
    let why = "is of a type that its schema block does not name".to_string();
    let draft = Draft {
        source: format!("topic {topic}"),
        name: ddl::table_name(topic.rsplit('.').next().unwrap_or(topic)),
        columns: known.into_iter().filter_map(column).collect(),
        source_key: key,
        key: None,
        guard: None,
        left_out: unknown.into_iter().map(|(name, _)| (name, why.clone())).collect(),
    };
    Ok(Planned { draft, route: Some(NewRoute { topic: topic.into(), source_table: None, format }) })
}
