//! Faults 5 and 6 on the way to the servers: every answer two seconds late, a narrow line, answers that are cut in their
//! middle, and connections that go silent without anybody closing them; between `cdcconsumer` and Cassandra, and between
//! it and Kafka.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::assert_tables;
use crate::load::{Dice, Load};
use crate::preload::build;
use crate::process::Started;
use crate::proxy::{Proxy, Way};
use crate::report::{Report, is_long, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// A round trip takes two seconds.
const SLOW: Way = Way::Slow(Duration::from_secs(1));
const NARROW: Way = Way::Narrow(100_000);
const CUTS: u64 = 6;
/// A silent connection is left within this time, once a new one would work.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const GROWTH_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// 55 s; 120 s with `make chaos`, where the line from Kafka is narrow for a while and goes silent, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_slow_or_narrow_or_cut_or_silent_loses_nothing() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_network").await;
    let library = build(&scenario, "connect").await;
    let mut line = Line::start(&scenario, seed(), library).await;
    // Buffers have been full once when memory is looked at.
    line.load.go_on(&scenario, 5_000).await;
    line.until_applied(120).await;
    slow(&mut line).await;
    if is_long() {
        narrow(&mut line).await;
    }
    cut(&mut line).await;
    silent(&mut line).await;
    let log = line.run.log();
    line.run.signal("TERM");
    assert_eq!(line.run.exit_code(25).await, 0);
    assert!(!log.contains("stopped: "), "a partition was stopped");
    assert_tables(&scenario).await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, line.load.expected());
    scenario.assert_no_dead_letters();
}

/// Fault 5: all nodes answer two seconds late.
async fn slow(line: &mut Line<'_>) {
    let mut report = Report::new(5, "every answer of Cassandra two seconds late", line.seed);
    let (before, revoked) = (line.run.rss_bytes(), line.run.log().matches(" revoked ").count());
    for _ in 0..times(1, 3) {
        line.is_hurt(Server::Cassandra, SLOW, &mut report).await;
        report.recovered.push(line.is_well(Server::Cassandra).await);
    }
    assert_eq!(line.run.log().matches(" revoked ").count(), revoked, "it was not polled");
    let growth = report.rss_bytes_max.saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "it grew by {growth} bytes");
    report.end();
}

/// The line from the brokers takes 100 kB a second.
async fn narrow(line: &mut Line<'_>) {
    let mut report = Report::new(5, "a narrow line from Kafka", line.seed);
    for _ in 0..times(1, 3) {
        line.is_hurt(Server::Kafka, NARROW, &mut report).await;
        report.recovered.push(line.is_well(Server::Kafka).await);
    }
    report.end();
}

/// Fault 6: a connection ends in the middle of an answer, in order or by a reset.
async fn cut(line: &mut Line<'_>) {
    let mut report = Report::new(6, "connections cut in the middle of an answer", line.seed);
    let mut dice = Dice(line.seed | 1);
    for number in 0..CUTS * times(1, 3) {
        let proxy = if number % 2 == 0 { &line.cassandra } else { &line.kafka };
        let before = proxy.was_cut();
        proxy.cut(dice.below(2) == 0);
        report.injected += 1;
        line.load.go_on(line.scenario, 200).await;
        let begun = Instant::now();
        until("an answer was cut", 30, async || proxy.was_cut() > before).await;
        report.observed += 1;
        line.until_applied(90).await;
        report.recovered.push(begun.elapsed());
    }
    report.rss_bytes_max = line.run.rss_bytes();
    report.end();
}

/// Half-open: what is sent vanishes, and no connection is closed. It is noticed when a request was not answered for ten
/// seconds, and a fetch half a second later.
async fn silent(line: &mut Line<'_>) {
    let servers = if is_long() { &[Server::Cassandra, Server::Kafka][..] } else { &[Server::Cassandra] };
    for server in servers.iter().copied() {
        let mut report = Report::new(6, &format!("half-open connections to {server:?}"), line.seed);
        for _ in 0..times(1, 2) {
            let proxy = line.proxy(server);
            let before = proxy.has_hurt();
            proxy.becomes(Way::Silent);
            report.injected += 1;
            line.load.go_on(line.scenario, 500).await;
            until("something has vanished", 30, async || line.proxy(server).has_hurt() > before).await;
            report.observed += 1;
            tokio::time::sleep(Duration::from_secs(5)).await;
            report.rss_bytes_max = report.rss_bytes_max.max(line.run.rss_bytes());
            let recovery = line.is_well(server).await;
            assert!(recovery < SILENCE_MAX, "{recovery:?} until the silence of {server:?} was noticed");
            report.recovered.push(recovery);
        }
        report.end();
    }
}

#[derive(Debug, Clone, Copy)]
enum Server {
    Cassandra,
    Kafka,
}

/// A consumer under load, behind proxies.
struct Line<'s> {
    scenario: &'s Scenario,
    seed: u64,
    cassandra: Proxy,
    kafka: Proxy,
    load: Load,
    run: Arc<Started>,
}

impl<'s> Line<'s> {
    async fn start(scenario: &'s Scenario, seed: u64, library: PathBuf) -> Line<'s> {
        let cassandra = Proxy::before(&["127.0.0.1:9042", "127.0.0.2:9042", "127.0.0.3:9042"]).await;
        let kafka = Proxy::before(&["127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"]).await;
        let elsewhere = format!("{},{}", cassandra.elsewhere, kafka.elsewhere);
        let run = scenario.cdcconsumer().set("limits.batch_records_max=50");
        let run = run.env("LD_PRELOAD", library.to_str().unwrap()).env("CONNECT_ELSEWHERE", &elsewhere).start();
        Line { scenario, seed, cassandra, kafka, load: Load::new(seed), run }
    }

    fn proxy(&self, server: Server) -> &Proxy {
        match server {
            Server::Cassandra => &self.cassandra,
            Server::Kafka => &self.kafka,
        }
    }

    fn committed(&self) -> i64 {
        let topics = self.scenario.change_topics();
        self.scenario.committed_sum(&self.scenario.cassandra_group(), &topics.each_ref().map(String::as_str))
    }

    async fn until_applied(&self, seconds_max: u64) {
        let end = self.scenario.ends_sum(&self.scenario.change_topics().each_ref().map(String::as_str));
        until("all is applied", seconds_max, async || {
            assert!(self.run.is_running(), "it ended");
            self.committed() == end
        })
        .await;
    }

    /// The way to this server becomes bad, and the group goes on all the same.
    async fn is_hurt(&mut self, server: Server, way: Way, report: &mut Report) {
        let (hurt, committed) = (self.proxy(server).has_hurt(), self.committed());
        self.proxy(server).becomes(way);
        report.injected += 1;
        self.load.go_on(self.scenario, 1_000).await;
        until("the group comes forward", 60, async || self.committed() > committed).await;
        self.until_applied(90).await;
        report.observed += u64::from(self.proxy(server).has_hurt() > hurt);
        report.rss_bytes_max = report.rss_bytes_max.max(self.run.rss_bytes());
    }

    /// It becomes good again: how long it takes until new changes are applied.
    async fn is_well(&mut self, server: Server) -> Duration {
        self.proxy(server).becomes(Way::Open);
        let begun = Instant::now();
        self.load.go_on(self.scenario, 200).await;
        self.until_applied(120).await;
        begun.elapsed()
    }
}
