//! Memory during an outage: what waits is bounded, however long it lasts and however much comes in meanwhile.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::away::stops_in_time;
use crate::changes::{change, user};
use crate::history::History;
use crate::load::Load;
use crate::process::Started;
use crate::servers::{Servers, turn, until_cassandra_agrees};
use crate::stack::{Scenario, until};

const GROWTH_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// VmRSS of a process over time.
struct Watched {
    run: Arc<Started>,
    before: u64,
    peak: u64,
}

impl Watched {
    fn new(run: Arc<Started>) -> Watched {
        Watched { run, before: 0, peak: 0 }
    }

    fn look(&mut self) {
        self.peak = self.peak.max(self.run.rss_bytes());
    }

    /// The outage begins: what it needs now is what it is measured by.
    fn begin(&mut self) {
        self.say("under load");
        self.before = self.run.rss_bytes();
        self.peak = self.before;
    }

    fn say(&self, when: &str) {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        eprintln!("{}, {when}: VmRSS {}, peak {}", self.run.name, mib(self.run.rss_bytes()), mib(self.peak));
    }
}

/// 140 s. Postgres and two Cassandra nodes are frozen, so connections stay open and nobody answers. OUTAGE_SECONDS
/// makes it shorter or longer than the 60 s that count.
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_through_an_outage_of_the_sinks_with_a_growing_backlog() {
    let _turn = turn().await;
    let scenario = Scenario::new("out_memory").await;
    let mut servers = Servers::default();
    let seconds = std::env::var("OUTAGE_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let [users, orders] = scenario.change_topics();
    let mut load = Load::new(31);
    let history = History { users: 20_000, orders: 20_000, seed: 31 };

    // A backlog from the start, so that all buffers have been full once.
    let producer = history.producer(&scenario).start();
    load.go_on(&scenario, 20_000).await;
    let mut watched = [Watched::new(scenario.cdcconsumer().start()), Watched::new(scenario.consumer().start())];
    let done = || scenario.committed(&scenario.cassandra_group(), &[&users, &orders]);
    until("most of the backlog is worked off", 120, async || {
        watched.iter_mut().for_each(Watched::look);
        done().values().map(|commit| commit.next_offset).sum::<i64>() > 12_000
    })
    .await;
    watched.iter_mut().for_each(Watched::begin);

    ["cassandra-2", "cassandra-3", "postgres"].into_iter().for_each(|name| servers.pause(name));
    let begun = Instant::now();
    let mut said = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        load.go_on(&scenario, 500).await;
        sleep(Duration::from_millis(500)).await;
        watched.iter_mut().for_each(Watched::look);
        if begun.elapsed().as_secs() / 10 > said {
            said = begun.elapsed().as_secs() / 10;
            watched.iter().for_each(|watched| watched.say(&format!("{} s without its sink", said * 10)));
        }
    }
    for Watched { run, .. } in &watched {
        assert!(run.log().contains("waiting for "), "{} does not say that it waits", run.name);
        stops_in_time(run).await;
    }
    servers.back();
    assert_eq!(producer.exit_code(60).await, 0);
    until_cassandra_agrees(&scenario).await;
    scenario.consumer_to_the_end().await;
    scenario.cdcconsumer_to_the_end().await;
    history.assert_in_postgres(&scenario).await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    assert_eq!(scenario.dead_letters(), []);
    for Watched { run, before, peak } in &watched {
        let growth = peak.saturating_sub(*before);
        assert!(growth <= GROWTH_BYTES_MAX, "{} grew by {growth} bytes during the outage", run.name);
    }
}

/// The sum of docs/operations.md for 200 partitions and rows of 1 MiB.
const HARD_LIMIT_BYTES: u64 = 512 * 1024 * 1024;
const MANY_PARTITIONS: i32 = 200;

/// 120 s. More than it may hold of the largest rows, in many partitions, and nobody takes them: under a limit that ends
/// the process when it asks for more.
#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_of_large_rows_fit_into_a_hard_limit_while_the_sink_is_stalled() {
    let _turn = turn().await;
    let scenario = Scenario::new("out_many").await;
    let mut servers = Servers::default();
    let [users, _] = scenario.change_topics();
    scenario.delete_topic(&users).await;
    scenario.make_topic(&users, MANY_PARTITIONS, &[("max.message.bytes", "12582912")]).await;
    let run = scenario.cdcconsumer().start();
    limit_memory(&run, HARD_LIMIT_BYTES);
    run.logs(&format!("{users}[199]"), 60).await;
    ["cassandra-2", "cassandra-3"].into_iter().for_each(|name| servers.pause(name));
    let large = "x".repeat(1024 * 1024);
    for round in 0..3 {
        for partition in 0..MANY_PARTITIONS {
            let row = user((round * MANY_PARTITIONS + partition) as u64, &large);
            scenario.produce(&users, &change(None, Some(&row)).to(partition)).await;
        }
    }
    run.logs("waiting for Cassandra", 60).await;
    let held_since = Instant::now();
    while held_since.elapsed() < Duration::from_secs(30) {
        assert!(run.is_running(), "it did not fit into {HARD_LIMIT_BYTES} bytes");
        sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{}: peak {} MiB", run.name, peak_rss_bytes(&run) / 1_048_576);
    assert!(peak_rss_bytes(&run) < HARD_LIMIT_BYTES);
    assert!(peak_rss_bytes(&run) > 200 * 1024 * 1024, "a record of each partition is held, or nothing was tested");
    servers.back();
    until_cassandra_agrees(&scenario).await;
    until("all is applied", 180, async || {
        let count = scenario.cassandra_query(&format!("SELECT count(*) FROM {}.users", scenario.id)).await;
        count[0].values().next().unwrap().as_deref() == Some("600")
    })
    .await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert_eq!(scenario.dead_letters(), []);
}

/// The most memory that was ever in use (VmHWM).
fn peak_rss_bytes(run: &Started) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it runs");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// From now on it ends when it asks for more private memory than this.
fn limit_memory(run: &Started, bytes_max: u64) {
    let limit = format!("--data={bytes_max}");
    let set = Command::new("prlimit").arg("--pid").arg(run.pid.to_string()).arg(limit).status().unwrap();
    assert!(set.success(), "prlimit (of util-linux) could not limit its memory");
}
