//! The simulator: seeded schedules of everything that can go wrong, played against the real pipeline and the real
//! decisions about versions and ownership, with models of Kafka, of the connector and of Cassandra around them.

mod cassandra;
mod check;
#[cfg(feature = "mutations")]
mod mutations;
mod process;
mod run;
mod schedule;
mod shrink;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rowferry::plan::route::{RewindGuard, RouteSpec, Routes, TargetTable};
use rowferry::row::{Column, Kind};

use crate::check::Broken;
use crate::run::{Bench, Run};
use crate::schedule::Schedule;
use crate::source::{TOPIC, Table};

/// Schedules of a plain test run.
const SCHEDULES: u64 = 2_000;

impl Bench {
    pub fn new(write_times: bool) -> Bench {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("it needs nothing");
        let all = |guarded| {
            let (by_id, by_user) = (("by_id", &["id"][..]), ("by_user", &["user_id", "id"][..]));
            [routes(&[by_id], guarded), routes(&[by_id, by_user], guarded)]
        };
        Bench { runtime, routes: [all(false), all(true)], write_times }
    }

    pub fn routes(&self, table: Table, guarded: bool) -> Arc<Routes> {
        self.routes[usize::from(guarded)][usize::from(table == Table::Moving)].clone()
    }

    /// Plays a schedule; what it broke, if it broke anything.
    pub fn play(&self, schedule: &Schedule) -> Result<(), Broken> {
        Run::new(self, schedule).play(schedule)
    }

    /// Plays this many schedules. The first that breaks a promise fails the test, shrunk, with its seed.
    fn pass(&self, seeds: std::ops::Range<u64>) {
        for seed in seeds {
            let schedule = Schedule::of(seed);
            if let Err(broken) = self.play(&schedule) {
                panic!("{}", shrink::told(self, &schedule, &broken));
            }
        }
    }
}

fn routes(tables: &[(&str, &[&str])], guarded: bool) -> Arc<Routes> {
    let names = ["id", "user_id", "a", "b"];
    let types = names.map(|name| (name, "bigint"));
    let mut columns = names.map(|name| Column { name: name.into(), kind: Kind::Int64 }).to_vec();
    if guarded {
        columns.push(Column { name: "position".into(), kind: Kind::Bytes });
    }
    let (mut specs, mut targets) = (Vec::new(), BTreeMap::new());
    for (name, key) in tables {
        let key: Vec<String> = key.iter().map(|column| column.to_string()).collect();
        let deletes = format!("{name}_deletes");
        let guard =
            RewindGuard { column: "position".into(), deletes_table: deletes.clone(), deletes_ttl_seconds: 1_000_000 };
        specs.push(RouteSpec { guard: guarded.then_some(guard), ..RouteSpec::new(TOPIC, name, &["id"]).typed(&types) });
        for name in [name.to_string(), deletes] {
            targets.insert(name.clone(), TargetTable { name, columns: columns.clone(), key: key.clone() });
        }
    }
    Arc::new(Routes::resolve(&specs, &targets).expect("the routes fit"))
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\", not a number")),
        Err(_) => default,
    }
}

/// `SIMULATOR_SCHEDULES=10000000 cargo test --release --test simulator -- --nocapture` plays more of them, from the seed
/// `SIMULATOR_SEED` on.
#[test]
fn no_schedule_breaks_a_promise() {
    let (seed, count) = (number("SIMULATOR_SEED", 0), number("SIMULATOR_SCHEDULES", SCHEDULES));
    let begun = Instant::now();
    Bench::new(true).pass(seed..seed + count);
    let seconds = begun.elapsed().as_secs_f64();
    let per_minute = count as f64 / seconds * 60.0;
    println!("{count} schedules from seed {seed} in {seconds:.0} s, {per_minute:.0} a minute");
}
