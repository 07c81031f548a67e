//! How long a record waits for a row that another topic has to bring. A pure clock: the time is passed in.

use std::time::{Duration, Instant};

/// A parent mostly comes soon, so attempts never lie further apart than this.
pub const PARENT_DELAY_MAX: Duration = Duration::from_secs(1);
/// The other topic may stand still this long, Kafka and the sink being there, before the wait is given up.
pub const PARENT_IDLE_MAX: Duration = Duration::from_secs(5 * 60);

/// The wait of one record.
#[derive(Debug)]
pub struct ParentPatience {
    offset: i64,
    /// The ends of the parent topic's partitions when the wait began.
    ends: Vec<(i32, i64)>,
    progress: Vec<(i32, i64)>,
    idle: Duration,
    /// The last look at which both Kafka and the sink were there; time before an outage does not count.
    looked: Option<Instant>,
}

impl ParentPatience {
    pub fn begin(now: Instant, offset: i64, ends: Vec<(i32, i64)>, progress: Vec<(i32, i64)>) -> Self {
        ParentPatience { offset, ends, progress, idle: Duration::ZERO, looked: Some(now) }
    }

    /// The offset of the record that waits.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The sink was not there, so the time up to the next look does not count.
    pub fn away(&mut self) {
        self.looked = None;
    }

    /// The parent is still missing, and `progress` was read before it was looked for. Says whether the wait is over:
    /// all that the topic held when the wait began has been applied, or it has stood still for too long.
    pub fn is_over(&mut self, now: Instant, progress: Vec<(i32, i64)>, kafka_is_there: bool) -> bool {
        let applied = |partition: i32| progress.iter().find(|(at, _)| *at == partition).map_or(0, |(_, next)| *next);
        if self.ends.iter().all(|(partition, end)| applied(*partition) >= *end) {
            return true;
        }
        if progress != self.progress {
            self.idle = Duration::ZERO;
            self.progress = progress;
        } else if let Some(looked) = self.looked
            && kafka_is_there
        {
            self.idle += now.saturating_duration_since(looked);
        }
        self.looked = kafka_is_there.then_some(now);
        self.idle >= PARENT_IDLE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_wait_is_over_when_every_partition_has_passed_its_end() {
        let start = Instant::now();
        let mut wait = ParentPatience::begin(start, 7, vec![(0, 10), (1, 5), (2, 0)], vec![(0, 3)]);
        assert!(!wait.is_over(start, vec![(0, 10)], true), "partition 1 has not been read yet");
        assert!(!wait.is_over(start, vec![(0, 12), (1, 4)], true));
        assert!(wait.is_over(start, vec![(0, 12), (1, 5)], true));
    }

    #[test]
    fn it_is_over_after_five_idle_minutes_and_any_progress_begins_them_anew() {
        let start = Instant::now();
        let mut wait = ParentPatience::begin(start, 7, vec![(0, 10)], vec![(0, 3)]);
        assert!(!wait.is_over(start + 4 * MINUTE, vec![(0, 3)], true));
        assert!(!wait.is_over(start + 6 * MINUTE, vec![(0, 4)], true));
        assert!(!wait.is_over(start + 10 * MINUTE, vec![(0, 4)], true));
        assert!(wait.is_over(start + 11 * MINUTE, vec![(0, 4)], true));
    }

    #[test]
    fn time_in_which_kafka_or_the_sink_is_away_does_not_count() {
        let start = Instant::now();
        let mut wait = ParentPatience::begin(start, 7, vec![(0, 10)], vec![(0, 3)]);
        assert!(!wait.is_over(start + 4 * MINUTE, vec![(0, 3)], true));
        assert!(!wait.is_over(start + 60 * MINUTE, vec![(0, 3)], false));
        assert!(!wait.is_over(start + 120 * MINUTE, vec![(0, 3)], true));
        wait.away();
        assert!(!wait.is_over(start + 180 * MINUTE, vec![(0, 3)], true));
        assert!(wait.is_over(start + 181 * MINUTE, vec![(0, 3)], true));
    }
}
