//! The last quarter of an hour in a few numbers, so that whoever opens the page sees what came before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::seen::Seen;
use crate::meter::Buckets;
use crate::pipeline::meters::{Meters, TableMeters};

pub const INTERVAL: Duration = Duration::from_secs(5);
/// A quarter of an hour.
const SAMPLES_MAX: usize = 180;

/// Sums over all partitions at one moment, and the delays since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    at_ms: i64,
    finished: u64,
    rows: u64,
    dead_lettered: u64,
    retries: u64,
    lag_records: i64,
    lag_seconds: f64,
    /// Bounds that half, and 99 of 100, of the records were not above. `None` when nothing was finished, or when it is
    /// above every bound.
    delay_p50_seconds: Option<f64>,
    delay_p99_seconds: Option<f64>,
}

/// The newest samples, oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

impl History {
    pub fn samples(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// Takes a sample now and then, for ever.
pub async fn keep(history: Arc<History>, meters: Arc<Meters>) {
    let mut turns = tokio::time::interval(INTERVAL);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut before = Buckets::default();
    loop {
        turns.tick().await;
        let seen = Seen::now(&meters);
        let delays = seen.over(None, |reading| reading.meters.delay.read());
        history.push(sample(&seen, &delays.since(&before)));
        before = delays;
    }
}

fn sample(seen: &Seen, delays: &Buckets) -> Sample {
    let sum = |of: fn(&crate::pipeline::meters::PartitionMeters) -> u64| -> u64 {
        seen.readings.iter().map(|reading| of(&reading.meters)).sum()
    };
    let written = |table: &TableMeters| table.upserts.get() + table.deletes.get();
    let finite = |share| delays.quantile_seconds(share).filter(|seconds| seconds.is_finite());
    Sample {
        at_ms: seen.now_ms,
        finished: sum(|meters| meters.finished.get()),
        rows: seen.readings.iter().flat_map(|reading| &reading.meters.tables).map(written).sum(),
        dead_lettered: sum(|meters| meters.dead_lettered.get()),
        retries: sum(|meters| meters.retries.get()),
        lag_records: seen.owned().filter_map(|reading| reading.lag_records()).sum(),
        lag_seconds: seen.owned().map(|reading| reading.lag_seconds(seen.now_ms)).fold(0.0, f64::max),
        delay_p50_seconds: finite(0.5),
        delay_p99_seconds: finite(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::admin::tests::meters;

    #[test]
    fn a_sample_sums_up_and_only_the_newest_are_kept() {
        let (meters, _live) = meters();
        let seen = Seen::now(&meters);
        let delays = seen.over(None, |reading| reading.meters.delay.read());
        let one = sample(&seen, &delays);
        assert_eq!((one.finished, one.rows, one.lag_records, one.delay_p99_seconds), (4, 7, 6, Some(0.5)));
        assert_eq!(sample(&seen, &delays.since(&delays)).delay_p50_seconds, None, "nothing was finished since");
        let history = History::default();
        for at_ms in 0..SAMPLES_MAX as i64 + 3 {
            history.push(Sample { at_ms, ..one });
        }
        let kept = history.samples();
        assert_eq!((kept.len(), kept[0].at_ms), (SAMPLES_MAX, 3));
    }
}
