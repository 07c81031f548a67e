//! Numbers that are counted where work is done and read elsewhere: no lock, no allocation, and no promise of an order
//! between two of them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Is what it was last set to.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// The upper bounds of a histogram's buckets, in seconds; one bucket more has everything above.
pub const BOUNDS_SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];

const BUCKETS: usize = BOUNDS_SECONDS.len() + 1;

/// How long something took, by [`BOUNDS_SECONDS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram as it was when it was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Observations in each bucket alone.
    pub counts: [u64; BUCKETS],
    pub sum_us: u64,
}

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// The same for so many things.
    pub fn observe_many(&self, took: Duration, times: u64) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_SECONDS.len());
        self.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us.saturating_mul(times), Ordering::Relaxed);
    }

    pub fn read(&self) -> Buckets {
        let counts = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        Buckets { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

impl Buckets {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// With those of another histogram.
    pub fn and(self, other: &Buckets) -> Buckets {
        let counts = std::array::from_fn(|at| self.counts[at] + other.counts[at]);
        Buckets { counts, sum_us: self.sum_us.wrapping_add(other.sum_us) }
    }

    /// What came since an earlier reading of the same histogram.
    pub fn since(self, earlier: &Buckets) -> Buckets {
        let counts = std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at]));
        Buckets { counts, sum_us: self.sum_us.wrapping_sub(earlier.sum_us) }
    }

    /// The bound that this share of the observations, from 0 to 1, is not above; `None` without any, infinity when it is
    /// above every bound.
    pub fn quantile_seconds(&self, share: f64) -> Option<f64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen as f64 >= wanted
        })?;
        Some(BOUNDS_SECONDS.get(bucket).copied().unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_in_the_first_bucket_that_it_is_not_above() {
        let histogram = Histogram::default();
        histogram.observe(Duration::ZERO);
        histogram.observe(Duration::from_millis(1));
        histogram.observe_many(Duration::from_micros(1_001), 3);
        histogram.observe(Duration::from_secs(4_000));
        let read = histogram.read();
        assert_eq!((read.counts[0], read.counts[1], read.counts[BUCKETS - 1], read.count()), (2, 3, 1, 6));
        assert_eq!(read.sum_us, 1_000 + 3 * 1_001 + 4_000_000_000);
    }

    #[test]
    fn quantiles_are_bounds_and_readings_can_be_taken_apart() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile_seconds(0.5), None);
        histogram.observe_many(Duration::from_millis(3), 98);
        let first = histogram.read();
        histogram.observe_many(Duration::from_secs(5_000), 2);
        assert_eq!(histogram.read().quantile_seconds(0.98), Some(0.005));
        assert_eq!(histogram.read().quantile_seconds(0.99), Some(f64::INFINITY));
        assert_eq!(histogram.read().since(&first).count(), 2);
        assert_eq!(first.and(&histogram.read().since(&first)), histogram.read());
    }
}
