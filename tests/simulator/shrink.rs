//! From a schedule that breaks a promise to the shortest one that still does, told step by step.

use std::fmt::Write as _;

use crate::check::Broken;
use crate::run::{Bench, Run};
use crate::schedule::Schedule;

/// Plays that shrinking may take.
const PLAYS_MAX: usize = 5_000;

/// The seed, what broke, and the shortest schedule found that breaks it.
pub fn told(bench: &Bench, schedule: &Schedule, broken: &Broken) -> String {
    let (schedule, broken) = shrunk(bench, schedule, broken);
    let mut run = Run::new(bench, &schedule);
    run.trace = Some(Vec::new());
    let again = run.play(&schedule);
    let mut text = format!("seed {} breaks a promise: {broken}\n", schedule.seed);
    let _ = writeln!(text, "shrunk: {:?}, batches of at most {}", schedule.table, schedule.batch_records_max);
    for line in run.trace.unwrap_or_default() {
        let _ = writeln!(text, "  {line}");
    }
    if again.as_ref() != Err(&broken) {
        let _ =
            writeln!(text, "played again it ends otherwise ({again:?}): something in it is not drawn from the seed");
    }
    text
}

/// Leaves out ever smaller runs of steps, as long as the same promise stays broken.
pub fn shrunk(bench: &Bench, schedule: &Schedule, broken: &Broken) -> (Schedule, Broken) {
    let (mut shortest, mut broken) = (schedule.clone(), broken.clone());
    let mut length = shortest.steps.len() / 2;
    let mut plays = 0;
    while length > 0 && plays < PLAYS_MAX {
        let mut changed = false;
        let mut at = 0;
        while at < shortest.steps.len() && plays < PLAYS_MAX {
            let mut shorter = shortest.clone();
            shorter.steps.drain(at..(at + length).min(shorter.steps.len()));
            plays += 1;
            match bench.play(&shorter) {
                Err(still) if still.promise == broken.promise => {
                    (shortest, broken, changed) = (shorter, still, true);
                }
                Err(_) | Ok(()) => at += length,
            }
        }
        if !changed || length > 1 {
            length /= 2;
        }
    }
    (shortest, broken)
}
