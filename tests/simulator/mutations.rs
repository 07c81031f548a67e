//! The simulator is tried itself: with each planted defect (`rowferry::mutation`) it must find a broken promise.

use rowferry::mutation::{Mutation, plant};

use crate::run::Bench;
use crate::schedule::Schedule;
use crate::shrink;

/// Schedules within which a defect must be found.
const SCHEDULES_MAX: u64 = 2_000;

/// After how many schedules the defect is found, and what was broken, shrunk.
fn found(bench: &Bench, mutation: Mutation) -> Option<(u64, String, usize)> {
    plant(Some(mutation));
    let found = (0..SCHEDULES_MAX).find_map(|seed| {
        let schedule = Schedule::of(seed);
        let broken = bench.play(&schedule).err()?;
        let (shortest, broken) = shrink::shrunk(bench, &schedule, &broken);
        if std::env::var_os("SIMULATOR_TOLD").is_some() {
            println!("{}", shrink::told(bench, &schedule, &broken));
        }
        Some((seed + 1, format!("{:?}", broken.promise), shortest.steps.len()))
    });
    plant(None);
    found
}

#[test]
fn every_planted_defect_is_found() {
    // What readers see and what is committed comes first; the write times are looked at for what only they show.
    let (rows, write_times) = (Bench::new(false), Bench::new(true));
    let mut missed = Vec::new();
    println!("{:<20} {:>9}  {:<18} steps when shrunk", "defect", "schedules", "broken");
    for mutation in Mutation::ALL {
        match found(&rows, mutation).or_else(|| found(&write_times, mutation)) {
            Some((schedules, promise, steps)) => {
                println!("{:<20} {schedules:>9}  {promise:<18} {steps}", format!("{mutation:?}"));
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within {SCHEDULES_MAX} schedules: {missed:?}");
}
