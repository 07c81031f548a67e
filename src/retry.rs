//! When to try again: the three reactions to an error, and how long to wait before the next attempt.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// What is done about an error: every error of every client is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass: wait and do the same again.
    Retry,
    /// This record can never be written: dead-letter it and go on.
    Reject,
    /// A person has to act: stop the partition and say why.
    Stop,
}

/// Exponential backoff with full jitter: each delay is drawn evenly between zero and a bound that doubles up to a cap.
#[derive(Debug)]
pub struct Backoff {
    bounds: ExponentialBackoff,
}

impl Backoff {
    pub const FIRST_MAX: Duration = Duration::from_millis(100);
    pub const DELAY_MAX: Duration = Duration::from_secs(30);

    pub fn new() -> Self {
        // The crate's own jitter is ±50 % and it gives up after 15 minutes: both are switched off, so that the
        // schedule is a function of `random` alone and never ends.
        let bounds = ExponentialBackoff {
            current_interval: Self::FIRST_MAX,
            initial_interval: Self::FIRST_MAX,
            max_interval: Self::DELAY_MAX,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Backoff { bounds }
    }

    /// The next delay, for a `random` drawn evenly from 0 to 1.
    pub fn next_delay(&mut self, random: f64) -> Duration {
        let bound = self.bounds.next_backoff().unwrap_or(Self::DELAY_MAX);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Begins anew: called when an attempt made progress.
    pub fn reset(&mut self) {
        self.bounds.reset();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap_and_never_end() {
        let mut backoff = Backoff::new();
        let bounds: Vec<u128> = (0..12).map(|_| backoff.next_delay(1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), Backoff::FIRST_MAX);
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.next_delay(0.0), Duration::ZERO);
        assert_eq!(backoff.next_delay(0.5), Duration::from_millis(100));
    }
}
