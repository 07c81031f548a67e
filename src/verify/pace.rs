//! How fast rows are read: not faster than the operator allows, so that a comparison leaves the servers to those whom
//! they are for.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

pub struct Pace {
    rows_per_second_max: Option<NonZeroU32>,
    /// When the next row may be read.
    next: Instant,
}

impl Pace {
    pub fn new(rows_per_second_max: Option<NonZeroU32>) -> Pace {
        Pace { rows_per_second_max, next: Instant::now() }
    }

    /// How many rows may be read at once, so that a second has its share.
    pub fn rows_at_once(&self, rows_max: usize) -> usize {
        self.rows_per_second_max.map_or(rows_max, |max| rows_max.min(max.get() as usize))
    }

    /// Waits until so many more rows were allowed. Time in which nothing was read is not saved up.
    pub async fn read(&mut self, rows: usize) {
        let Some(max) = self.rows_per_second_max else { return };
        sleep_until(self.next).await;
        let share = Duration::from_secs_f64(rows as f64 / f64::from(max.get()));
        self.next = Instant::now().max(self.next) + share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rows_come_no_faster_than_allowed_and_time_is_not_saved_up() {
        let begun = Instant::now();
        let mut pace = Pace::new(NonZeroU32::new(100));
        assert_eq!(pace.rows_at_once(500), 100);
        for _ in 0..5 {
            pace.read(100).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 4, "the fifth page waits for four");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let rested = Instant::now();
        pace.read(100).await;
        pace.read(100).await;
        assert_eq!(rested.elapsed().as_secs(), 1);

        let begun = Instant::now();
        let mut free = Pace::new(None);
        assert_eq!(free.rows_at_once(500), 500);
        free.read(1_000_000).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
