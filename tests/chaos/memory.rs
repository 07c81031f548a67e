//! Memory during an outage: what waits is bounded, however long it lasts and however much comes in meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::away::stops_in_time;
use crate::history::History;
use crate::load::Load;
use crate::process::Started;
use crate::report::Report;
use crate::servers::{Servers, alone, until_cassandra_has_settled};
use crate::stack::{Scenario, until};

const OUTAGE_SECONDS: u64 = 120;
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

/// 210 s. Postgres and two Cassandra nodes are frozen, so connections stay open and nobody
/// answers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos runs it"]
async fn memory_stays_flat_through_an_outage_of_the_sinks_with_a_growing_backlog() {
    let _turn = alone().await;
    let scenario = Scenario::new("out_memory").await;
    let mut servers = Servers::default();
    let mut report = Report::new(5, "two Cassandra nodes and Postgres frozen, a growing backlog", 31);
    let [users, orders] = scenario.change_topics();
    let mut load = Load::new(report.seed);
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
    report.injected += 3;
    let begun = Instant::now();
    let mut said = 0;
    while begun.elapsed() < Duration::from_secs(OUTAGE_SECONDS) {
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
    report.observed += 3;
    servers.back();
    assert_eq!(producer.exit_code(60).await, 0);
    until_cassandra_has_settled(&scenario).await;
    scenario.consumer_to_the_end().await;
    scenario.cdcconsumer_to_the_end().await;
    history.assert_in_postgres(&scenario).await;
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    assert_eq!(scenario.dead_letters(), []);
    for Watched { run, before, peak } in &watched {
        let growth = peak.saturating_sub(*before);
        assert!(growth <= GROWTH_BYTES_MAX, "{} grew by {growth} bytes during the outage", run.name);
        report.rss_bytes_max = report.rss_bytes_max.max(*peak);
    }
    report.end();
}
