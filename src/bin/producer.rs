//! `producer`: makes up a consistent history of users and orders and sends it to Kafka as business events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, value_parser};
use rowferry::kafka::access::Access;
use rowferry::kafka::produce::{Outgoing, SendError, Sender, Ticket};
use rowferry::ops::config::{self, ConfigError};
use rowferry::ops::service::Exit;
use rowferry::ops::{shutdown, telemetry};
use rowferry::record::Header;
use rowferry::shop::event::{Event, EventType, SCHEMA_VERSION, SCHEMA_VERSION_HEADER};
use rowferry::shop::history::HistorySpec;
use rowferry::shop::oracle::Tables;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// Makes up a history of users and orders and sends it to Kafka.
///
/// The seed decides everything, times included: the same seed, users and orders give the same events, byte for byte.
/// Half of the events are CREATEs, a quarter UPDATEs and a quarter DELETEs, so --users 2000 --orders 5000 (the
/// default) makes 7,000 entities in 14,000 events. Each event is keyed by the id of its user or order and follows
/// schemas/user-event.v1.json or schemas/order-event.v1.json.
///
/// A broker that is away is waited for. The command is done when the brokers have acknowledged every event; it then
/// prints what it sent. Ctrl-C (or SIGTERM) ends it early: it takes no new events and waits for those on their way.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  producer                                      the demo's history, as fast as Kafka takes it
  producer --seed 7 --users 20 --orders 50      a small one
  producer --forever --rate 500                 500 events a second until Ctrl-C, in bounded memory
  producer --seed 7 --users 20 --orders 50 --oracle
                                                what Postgres must hold after that history, as JSON lines;
                                                sends nothing and needs no Kafka

Exit codes: 0 done, 1 failed while running, 2 usage, 64 configuration refused."
)]
struct Args {
    /// How many users to create
    #[arg(long, default_value_t = 2000, value_name = "N")]
    users: u64,
    /// How many orders to create
    #[arg(long, default_value_t = 5000, value_name = "N")]
    orders: u64,
    /// Which history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events a second; without it, as fast as Kafka takes them
    #[arg(long, value_name = "EVENTS_PER_S", value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Never stop: --users and --orders then say in what proportion the two come
    #[arg(long)]
    forever: bool,
    /// Print the tables that the history must lead to, and send nothing
    #[arg(long, conflicts_with_all = ["forever", "rate"])]
    oracle: bool,
    /// The configuration file; its [kafka], [limits] and [log] are read
    #[arg(long, default_value = config::load::FILE_DEFAULT, value_name = "FILE")]
    config: PathBuf,
    /// Overrides a setting of the file, as section.key=value. May be repeated
    #[arg(long = "set", value_name = "SETTING")]
    sets: Vec<String>,
    /// Brokers to start from, instead of the file's kafka.bootstrap_servers
    #[arg(long, value_name = "HOST:PORT,…")]
    bootstrap_servers: Option<String>,
    /// Where user events go
    #[arg(long, default_value = "users", value_name = "TOPIC")]
    users_topic: String,
    /// Where order events go
    #[arg(long, default_value = "orders", value_name = "TOPIC")]
    orders_topic: String,
}

/// The most events that a user's CREATE is sent early.
const USERS_EARLY_MAX: usize = 2_000;

/// How often it is said how far we are.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    args.check_usage();
    match run(&args).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("producer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.oracle {
        return print_oracle(args).map(|()| Exit::Done);
    }
    let config = match args.configuration() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("producer: {error}");
            return Ok(Exit::Refused);
        }
    };
    telemetry::start(&config.log)?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let shutdown = shutdown::watch_signals().context("signals cannot be watched")?;
    let grace = config.limits.shutdown_grace();
    match produce(args, &config.kafka.access(), shutdown, grace).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) if matches!(error.downcast_ref(), Some(SendError::Configuration(_))) => {
            tracing::error!("refused: {error:#}");
            Ok(Exit::Refused)
        }
        Err(error) => Err(error),
    }
}

fn print_oracle(args: &Args) -> anyhow::Result<()> {
    let tables = Tables::after(args.spec().history());
    match tables.write_lines(io::BufWriter::new(io::stdout().lock())) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the tables"),
    }
}

async fn produce(
    args: &Args,
    access: &Access,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut sender = Sender::new(access)?;
    let mut sent = Sent::new();
    let interrupted = tokio::select! {
        done = send_history(args, &mut sender, &mut sent) => done.map(|()| false)?,
        _ = shutdown.wait_for(|asked| *asked) => true,
    };
    if interrupted {
        // What is on its way is waited for; a second signal ends it at once.
        match tokio::time::timeout(grace, sender.all_delivered()).await {
            Ok(delivered) => delivered?,
            Err(_) => bail!(
                "stopped while {} events were not acknowledged: Kafka may or may not have them",
                sender.in_flight()
            ),
        }
    }
    print_summary(args, &sent)
}

/// Sends the whole history and returns when the brokers have it.
async fn send_history(args: &Args, sender: &mut Sender, sent: &mut Sent) -> Result<(), SendError> {
    sender.wait_for_topics(&[&args.users_topic, &args.orders_topic]).await?;
    *sent = Sent::new();
    let headers =
        [Header { name: SCHEMA_VERSION_HEADER.into(), value: Some(Bytes::from_static(SCHEMA_VERSION.as_bytes())) }];
    let mut pace = Pace::new(args.rate);
    let mut created = CreatedUsers::default();
    for event in args.spec().history().with_users_early(args.users_early()) {
        pace.turn(sent, sender).await;
        if let Some(ticket) = created.named_by(&event) {
            sender.delivered(ticket).await?;
        }
        let (key, value) = (event.id().to_string(), event.to_json());
        let topic = if matches!(event, Event::User(_)) { &args.users_topic } else { &args.orders_topic };
        let record = Outgoing { topic, key: Some(key.as_bytes()), value: Some(&value), headers: &headers };
        let ticket = sender.send(record).await?;
        created.note(&event, ticket, sender.delivered_below());
        sent.count(&event);
    }
    sender.all_delivered().await
}

fn print_summary(args: &Args, sent: &Sent) -> anyhow::Result<()> {
    let mut text = format!("{:<24} {:>9} {:>9} {:>9} {:>9}\n", "topic", "CREATE", "UPDATE", "DELETE", "total");
    for (is_order, topic) in [(false, &args.users_topic), (true, &args.orders_topic)] {
        let of = |event_type| sent.counts.get(&(is_order, event_type)).copied().unwrap_or(0);
        let [creates, updates, deletes] = [of(EventType::Create), of(EventType::Update), of(EventType::Delete)];
        let total = creates + updates + deletes;
        writeln!(text, "{topic:<24} {creates:>9} {updates:>9} {deletes:>9} {total:>9}")?;
    }
    let (events, seconds) = (sent.total(), sent.since.elapsed().as_secs_f64());
    let rate = events as f64 / seconds.max(0.001);
    writeln!(text, "{events} events acknowledged in {seconds:.1} s, {rate:.0} events/s (seed {})", args.seed)?;
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the summary"),
        _ => Ok(()),
    }
}

impl Args {
    fn spec(&self) -> HistorySpec {
        HistorySpec { seed: self.seed, users: self.users, orders: self.orders, endless: self.forever }
    }

    /// How many events a user's CREATE is sent early: a tenth of a second of them, so that hardly an order ever waits
    /// for its acknowledgement.
    fn users_early(&self) -> usize {
        self.rate.map_or(USERS_EARLY_MAX, |rate| USERS_EARLY_MAX.min(rate as usize / 10))
    }

    /// What the command line's own rules cannot say. Ends the process with 2.
    fn check_usage(&self) {
        if self.users == 0 && (self.orders > 0 || self.forever) {
            let text = "--users must be at least 1: an order belongs to a user";
            Args::command().error(ErrorKind::ValueValidation, text).exit();
        }
    }

    fn configuration(&self) -> Result<config::Config, ConfigError> {
        let mut sets = self.sets.clone();
        sets.extend(self.bootstrap_servers.iter().map(|servers| format!("kafka.bootstrap_servers={servers}")));
        let config = config::load::load_with_env(&self.config, &sets)?;
        if self.users_topic == self.orders_topic {
            let text =
                format!("--users-topic and --orders-topic are both \"{}\": each kind has its own", self.users_topic);
            return Err(ConfigError(vec![text]));
        }
        Ok(config)
    }
}

/// What was handed to the brokers, by topic and type.
struct Sent {
    since: Instant,
    counts: BTreeMap<(bool, EventType), u64>,
}

impl Sent {
    fn new() -> Self {
        Sent { since: Instant::now(), counts: BTreeMap::new() }
    }

    fn count(&mut self, event: &Event) {
        *self.counts.entry((matches!(event, Event::Order(_)), event.event_type())).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Users whose CREATE the brokers may not have yet, oldest first. An order that names one is sent only after the
/// acknowledgement, so that no reader of both topics ever finds the order without its user.
#[derive(Default)]
struct CreatedUsers {
    recent: VecDeque<(Uuid, Ticket)>,
}

impl CreatedUsers {
    /// The CREATE to wait for before this event is sent.
    fn named_by(&self, event: &Event) -> Option<Ticket> {
        let Event::Order(order) = event else { return None };
        let user = order.user_id?;
        self.recent.iter().find(|(id, _)| *id == user).map(|(_, ticket)| *ticket)
    }

    fn note(&mut self, event: &Event, ticket: Ticket, delivered_below: Ticket) {
        while self.recent.front().is_some_and(|(_, ticket)| *ticket < delivered_below) {
            self.recent.pop_front();
        }
        if let Event::User(user) = event
            && user.event_type == EventType::Create
        {
            self.recent.push_back((user.user_id, ticket));
        }
    }
}

/// Keeps to the rate, gives other tasks their turn, and says now and then how far we are.
struct Pace {
    interval: Option<Duration>,
    due: Instant,
    say_at: Instant,
    turns: u64,
}

impl Pace {
    const TURNS_BETWEEN_YIELDS: u64 = 64;
    /// What was missed while Kafka was away is not made up for, beyond this.
    const BEHIND_MAX: Duration = Duration::from_secs(1);

    fn new(rate: Option<u32>) -> Self {
        let now = Instant::now();
        let interval = rate.map(|rate| Duration::from_secs(1) / rate);
        Pace { interval, due: now, say_at: now + STATUS_INTERVAL, turns: 0 }
    }

    async fn turn(&mut self, sent: &Sent, sender: &Sender) {
        self.turns += 1;
        let yields = self.turns.is_multiple_of(Self::TURNS_BETWEEN_YIELDS);
        if self.interval.is_none() && !yields {
            return;
        }
        let now = Instant::now();
        if now >= self.say_at {
            let (events, in_flight) = (sent.total(), sender.in_flight());
            let per_second = (events as f64 / sent.since.elapsed().as_secs_f64()).round();
            tracing::info!(events, per_second, in_flight, "sending");
            self.say_at = now + STATUS_INTERVAL;
        }
        if let Some(interval) = self.interval {
            self.due = self.due.max(now - Self::BEHIND_MAX) + interval;
            tokio::time::sleep_until(self.due).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}
