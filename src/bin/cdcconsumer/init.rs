//! `cdcconsumer init`: the first configuration and the first tables, from what the servers say.

mod ask;
mod written;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rowferry::ops::config::Config;
use rowferry::ops::config::load::parse_with_env;
use rowferry::ops::service::{Exit, about, until_there};
use rowferry::ops::{shutdown, telemetry};
use rowferry::row::Format;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::ddl::{Grain, Replication};
use rowferry::sink::postgres::{self, Postgres};
use tokio::sync::watch;

use self::ask::Asker;
use self::written::{Answers, Pair, configuration, pairs, typed};
use crate::ddl::{NewRoute, Planned};
use crate::{check, ddl};

/// Writes a first configuration (--config, by default rowferry.toml) and the CQL of its tables, and runs `check`.
///
/// It asks on a terminal for what no flag says, and elsewhere names what is missing. The catalogs of Kafka and Postgres
/// say which topics have the changes of which tables: Debezium calls them PREFIX.schema.table, and others are given as
/// --topic TOPIC=schema.table. Each table gets the types that hold all values of its source, and its source's key.
///
/// On the servers it creates nothing. What `check` finds is what is left to do: usually the keyspace and the tables, which
/// the CQL creates, and the dead-letter topic. Logins and TLS of Kafka and Cassandra go by --set or the environment, as
/// for every command, and are not written into the file. A password in --source-url is; --source-password-file keeps it
/// out.
///
/// Files that are there are left alone, unless --force is given.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 written, whatever check has found; 1 a server did not answer, nothing was written; 2 usage;
64 refused, nothing was written.

Examples:
  cdcconsumer init
  cdcconsumer init --brokers 127.0.0.1:9092 --source-url postgres://debezium@127.0.0.1/shop \\
                   --source-password-file /run/secrets/pg --nodes 127.0.0.1:9042 --keyspace shop
  cdcconsumer init --debezium decimal_handling_mode=string --debezium replace_null_with_default=false
  cdcconsumer init --config shop.toml --cql shop.cql --topic shop.public.users --topic people=public.persons"
)]
pub struct Flags {
    /// Brokers, as host:port with commas.
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// The Postgres that Debezium reads from: postgres://user@host:port/database.
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// A file with the password for it.
    #[arg(long, value_name = "FILE")]
    source_password_file: Option<String>,
    /// Some nodes of Cassandra, as host:port with commas.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    nodes: Vec<String>,
    /// The keyspace of the tables.
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
    /// The user for Cassandra, where it wants one.
    #[arg(long, value_name = "NAME", requires = "cassandra_password_file")]
    cassandra_user: Option<String>,
    /// A file with the password for it.
    #[arg(long, value_name = "FILE", requires = "cassandra_user")]
    cassandra_password_file: Option<String>,
    /// A topic with the changes of a table. May be repeated; without it all whose names end with that of a table.
    #[arg(long = "topic", value_name = "TOPIC[=SCHEMA.TABLE]")]
    topics: Vec<String>,
    /// A setting of the connector that is not Debezium's default, as [source.debezium] has it. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = debezium)]
    debezium: Vec<(String, String)>,
    /// The consumer group.
    #[arg(long, value_name = "NAME", default_value = "rowferry-cassandra")]
    group_id: String,
    /// Where refused records will go.
    #[arg(long, value_name = "TOPIC", default_value = "rowferry.dead-letters")]
    dead_letter_topic: String,
    /// Copies of each row, as `ddl` takes them.
    #[arg(long, default_value = "3")]
    replication: Replication,
    /// Make timestamps that are finer than milliseconds CQL timestamps, which cut them, and not text.
    #[arg(long)]
    milliseconds: bool,
    /// Where the CQL is written to.
    #[arg(long, value_name = "FILE", default_value = "rowferry.cql")]
    cql: PathBuf,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

/// A key and its value; what they may be is seen when the configuration is read.
fn debezium(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in decimal_handling_mode=string")?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key.then(|| (key.into(), value.into())).ok_or_else(|| format!("\"{key}\" is no key of [source.debezium]"))
}

/// How long servers that are not there are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks, reads the catalogs, writes both files, and checks. `Err` is a failure of our own.
pub async fn run(file: &Path, sets: &[String], asked: &Flags) -> anyhow::Result<Exit> {
    let there: Vec<String> =
        [file, &asked.cql].iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    if !there.is_empty() && !asked.force {
        return Ok(told(&format!("{} is there already: name another file, or say --force", there.join(" and "))));
    }
    let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let mut asker = terminal.then(|| Asker { input: io::stdin().lock(), output: io::stderr() });
    let answers = match answers(asked, asker.as_mut()) {
        Ok(answers) => answers,
        Err(why) => return Ok(told(&why)),
    };
    let name = file.display().to_string();
    // For a configuration that has no routes yet, so that it connects as a run will.
    let stand_in =
        ["[[cdcconsumer.routes]]", "topic = \"t\"", "table = \"t\"", "source_key = [\"k\"]"].map(String::from);
    let config = match parse_with_env(&name, &configuration(&answers, &[stand_in.to_vec()]), sets) {
        Ok(config) => config,
        Err(error) => return Ok(told(&error.to_string())),
    };
    telemetry::start(&config.log)?;
    let shutdown = shutdown::watch_signals()?;
    let catalogs = until_there(&shutdown, || catalogs(&config));
    let Ok(catalogs) = tokio::time::timeout(PATIENCE, catalogs).await else {
        return Ok(away());
    };
    let (source, topics, tables) = match catalogs {
        Ok(catalogs) => catalogs,
        Err(exit) => return Ok(exit),
    };
    let chosen = match chosen(asked, asker.as_mut(), &topics, &tables, &answers) {
        Ok(chosen) => chosen,
        Err(why) => return Ok(told(&why)),
    };
    drop(asker);
    let planned = match until_there(&shutdown, || plan(&config, &source, &chosen)).await {
        Ok(planned) => planned,
        Err(exit) => return Ok(exit),
    };
    let grain = if asked.milliseconds { Grain::Milliseconds } else { Grain::Exact };
    let cql = match ddl::cql(&answers.keyspace, &asked.replication, grain, &planned) {
        Ok(cql) => cql,
        Err(problems) => return Ok(told(&problems.join("\n  "))),
    };
    let lines = |planned: &Planned| planned.route.as_ref().map(|route| route.lines(&planned.draft, grain));
    let routes: Vec<Vec<String>> = planned.iter().filter_map(lines).collect();
    let text = configuration(&answers, &routes);
    // What could not be read again is not written.
    let config = match parse_with_env(&name, &text, sets) {
        Ok(config) => config,
        Err(error) => return Ok(told(&error.to_string())),
    };
    for (path, text) in [(file, &text), (&asked.cql, &cql)] {
        if let Err(error) = write(path, text, asked.force) {
            return Ok(told(&format!("{}: {error}", path.display())));
        }
        println!("written: {}", path.display());
    }
    finish(&config, file, &asked.cql, shutdown).await
}

/// What is left to do.
async fn finish(config: &Config, file: &Path, cql: &Path, shutdown: watch::Receiver<bool>) -> anyhow::Result<Exit> {
    println!("\ncdcconsumer check says what is left to do:\n");
    // Its exit code is that of a configuration which was to be complete.
    let checked = check::run(config, shutdown).await;
    if !matches!(checked, Ok(Exit::Done)) {
        println!(
            "\nNext: read {0} and run it with `cqlsh -f {0}`; create the topics that are missing; then \
             `cdcconsumer check --config {1}`, and `cdcconsumer --config {1}`",
            cql.display(),
            file.display()
        );
    }
    Ok(Exit::Done)
}

fn told(why: &str) -> Exit {
    eprintln!("cdcconsumer init: {why}");
    Exit::Refused
}

fn away() -> Exit {
    tracing::error!("a server was not there for {} s: nothing was written", PATIENCE.as_secs());
    Exit::Failed
}

type Terminal = Asker<io::StdinLock<'static>, io::Stderr>;

/// What the flags say, and what is asked for on a terminal.
fn answers(asked: &Flags, terminal: Option<&mut Terminal>) -> Result<Answers, String> {
    let nodes = (!asked.nodes.is_empty()).then(|| asked.nodes.join(","));
    let mut given = [
        ("--brokers", "Kafka's brokers, host:port with commas", asked.brokers.clone()),
        ("--source-url", "The source, postgres://user:password@host:port/database", asked.source_url.clone()),
        ("--nodes", "Cassandra's nodes, host:port with commas", nodes),
        ("--keyspace", "The keyspace for the tables", asked.keyspace.clone()),
    ];
    match terminal {
        Some(asker) => {
            for (_, question, value) in given.iter_mut().filter(|(.., value)| value.is_none()) {
                let answer = asker.line(question, None).map_err(|error| format!("nobody answers: {error}"))?;
                *value = Some(answer);
            }
        }
        None => {
            let missing: Vec<&str> =
                given.iter().filter(|(.., value)| value.is_none()).map(|(flag, ..)| *flag).collect();
            if !missing.is_empty() {
                return Err(format!("give {}: there is no terminal to ask on", missing.join(", ")));
            }
        }
    }
    let [brokers, source_url, nodes, keyspace] = given.map(|(.., value)| value.unwrap_or_default());
    Ok(Answers {
        brokers,
        source_url,
        source_password_file: asked.source_password_file.clone(),
        nodes: nodes.split(',').map(|node| node.trim().to_string()).collect(),
        keyspace,
        cassandra_user: asked.cassandra_user.clone(),
        cassandra_password_file: asked.cassandra_password_file.clone(),
        debezium: asked.debezium.clone(),
        group_id: asked.group_id.clone(),
        dead_letter_topic: asked.dead_letter_topic.clone(),
    })
}

/// The source, the topics that are there, and the source's tables.
async fn catalogs(config: &Config) -> Result<(Postgres, Vec<String>, Vec<String>), Failure> {
    let access = config.kafka.access();
    let listed = tokio::task::spawn_blocking(move || rowferry::kafka::topics::list(&access)).await;
    let topics = match listed {
        Ok(Ok(topics)) => topics,
        Ok(Err(error)) => return Err(Failure::Retry(format!("Kafka: {error}"))),
        Err(panicked) => return Err(Failure::Stop(format!("the Kafka client panicked: {panicked}"))),
    };
    let url = config.source.postgres.as_ref().map_or("", |source| source.url.reveal());
    let source = Postgres::connect(postgres::Settings::new(url, "init")).await.map_err(about("--source-url"))?;
    let tables = source.source_tables().await.map_err(about("--source-url"))?;
    Ok((source, topics, tables))
}

/// The topics that were named, or those of tables: on a terminal some of them.
fn chosen(
    asked: &Flags,
    terminal: Option<&mut Terminal>,
    topics: &[String],
    tables: &[String],
    answers: &Answers,
) -> Result<Vec<Pair>, String> {
    if !asked.topics.is_empty() {
        let (named, wrong): (Vec<_>, Vec<_>) =
            asked.topics.iter().map(|text| typed(text, tables, of_topic)).partition(Result::is_ok);
        let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
        return if wrong.is_empty() { Ok(named.into_iter().flatten().collect()) } else { Err(wrong.join("\n  ")) };
    }
    let found = pairs(topics, tables, of_topic);
    let found: Vec<Pair> = found.into_iter().filter(|pair| pair.topic != answers.dead_letter_topic).collect();
    if found.is_empty() {
        return Err(format!(
            "no topic has a name that ends with that of one of the source's {} tables: start the connector first, or say \
             --topic TOPIC=schema.table",
            tables.len()
        ));
    }
    let Some(asker) = terminal else { return Ok(found) };
    let names: Vec<String> = found.iter().map(|pair| pair.topic.clone()).collect();
    let chosen = asker.some("Topics to read", &names).map_err(|error| format!("nobody answers: {error}"))?;
    Ok(found.into_iter().filter(|pair| chosen.contains(&pair.topic)).collect())
}

/// A table's name as it stands in Debezium's topics.
fn of_topic(table: &str) -> String {
    ddl::topic_name("", table).trim_start_matches('.').to_string()
}

/// A target table for each source table, and the route to it.
async fn plan(config: &Config, source: &Postgres, chosen: &[Pair]) -> Result<Vec<Planned>, Failure> {
    let modes = config.source.debezium.modes();
    let names = ddl::table_names(chosen.iter().map(|pair| pair.table.as_str()));
    let mut planned = Vec::new();
    for (Pair { topic, table }, name) in chosen.iter().zip(names) {
        let (facts, generated) = ddl::described(source, table).await?;
        let draft = ddl::draft(&facts, &name, &generated, &modes, &|source: &str| vec![source.to_string()]);
        let route = NewRoute { topic: topic.clone(), source_table: Some(table.clone()), format: Format::Envelope };
        planned.push(Planned { draft, route: Some(route) });
    }
    Ok(planned)
}

/// The file may hold a password, so that nobody else may read it.
fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path)?.write_all(text.as_bytes())
}
