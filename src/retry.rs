//! When to try again: the three reactions to an error, and how long to wait before the next attempt.

use std::time::{Duration, Instant};

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

/// How often all partitions together may try again: a cluster in trouble is not stormed by whoever waits for it, however
/// many partitions there are. Attempts beyond it wait for their turn, and none is given up.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the next attempt has its turn, if attempts had come evenly.
    turn: Option<Instant>,
}

impl Budget {
    /// Attempts a second, once those at once are spent.
    pub const PER_SECOND_MAX: u32 = 20;
    pub const AT_ONCE_MAX: u32 = 20;

    /// How long an attempt that would be made after `delay` has to wait instead.
    pub fn spend(&mut self, now: Instant, delay: Duration) -> Duration {
        let interval = Duration::from_secs(1) / Self::PER_SECOND_MAX;
        let turn = self.turn.map_or(now, |turn| turn.max(now));
        self.turn = Some(turn + interval);
        delay.max(turn.saturating_duration_since(now).saturating_sub(interval * (Self::AT_ONCE_MAX - 1)))
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
    fn attempts_of_all_together_are_bounded_and_none_is_given_up() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let mut attempts: Vec<Duration> = (0..200).map(|_| budget.spend(start, Duration::ZERO)).collect();
        attempts.sort();
        assert_eq!(attempts[19], Duration::ZERO, "the first go at once");
        assert_eq!(attempts[20], Duration::from_millis(50));
        assert_eq!(attempts[199], Duration::from_secs(9));
        let later = start + Duration::from_secs(60);
        assert_eq!(budget.spend(later, Duration::ZERO), Duration::ZERO, "what was not spent comes back");
        assert_eq!(budget.spend(later, Duration::from_secs(3)), Duration::from_secs(3), "a longer delay stays");
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.next_delay(0.0), Duration::ZERO);
        assert_eq!(backoff.next_delay(0.5), Duration::from_millis(100));
    }
}
