//! How many requests may be under way at once: half as many after pushback, one more at a time while all goes well.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::sink::Load;

/// The requests that failed together are one pushback: within this time the limit is halved once.
const HALVING_INTERVAL: Duration = Duration::from_secs(1);

/// A bound that all partitions share.
#[derive(Debug)]
pub struct InFlight {
    permits: Semaphore,
    limit: Mutex<Limit>,
}

/// Room for one request. It has to be told how the request ended; one that was dropped tells nothing.
pub struct Room<'a> {
    of: &'a InFlight,
    permit: Option<SemaphorePermit<'a>>,
}

#[derive(Debug)]
struct Limit {
    now: usize,
    max: usize,
    /// Permits that exist, also those of requests under way: more than `now` until enough of them have come back.
    permits: usize,
    /// Requests that went well since the limit last changed.
    successes: usize,
    halved_at: Option<Instant>,
}

impl InFlight {
    /// At least 1.
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let limit = Limit { now: max, max, permits: max, successes: 0, halved_at: None };
        InFlight { permits: Semaphore::new(max), limit: Mutex::new(limit) }
    }

    /// Waits until one more request may be under way.
    pub async fn room(&self) -> Room<'_> {
        let permit = self.permits.acquire().await.expect("the semaphore is never closed");
        Room { of: self, permit: Some(permit) }
    }

    pub fn load(&self) -> Load {
        let limit = self.lock();
        Load { in_flight: limit.permits.saturating_sub(self.permits.available_permits()), in_flight_max: limit.now }
    }

    fn lock(&self) -> MutexGuard<'_, Limit> {
        // Nothing panics between the changes of the numbers.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room<'_> {
    /// The request went well.
    pub fn served(self) {
        let mut limit = self.of.lock();
        if limit.succeed() {
            tracing::info!(in_flight_max = limit.now, "Cassandra takes as many requests at once as before");
        }
        let more = limit.now.saturating_sub(limit.permits);
        limit.permits += more;
        drop(limit);
        self.of.permits.add_permits(more);
    }

    /// The cluster did not do it, or not in time, and it is to be sent again.
    pub fn pushed_back(self, now: Instant) {
        let mut limit = self.of.lock();
        if limit.push_back(now) {
            // Those that nobody uses go at once, the others when they come back.
            let idle = self.of.permits.forget_permits(limit.permits - limit.now);
            limit.permits -= idle;
            tracing::info!(in_flight_max = limit.now, "Cassandra pushes back: fewer requests at once");
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut limit = self.of.lock();
        if limit.permits > limit.now
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            limit.permits -= 1;
        }
    }
}

impl Limit {
    /// True when it is back at its maximum.
    fn succeed(&mut self) -> bool {
        self.successes += 1;
        let grows = self.now < self.max && self.successes >= self.now;
        if grows {
            self.now += 1;
            self.successes = 0;
        }
        grows && self.now == self.max
    }

    /// True when it shrank.
    fn push_back(&mut self, now: Instant) -> bool {
        if self.halved_at.is_some_and(|at| now < at + HALVING_INTERVAL) {
            return false;
        }
        let before = self.now;
        self.now = (before / 2).max(1);
        self.successes = 0;
        self.halved_at = Some(now);
        self.now < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_halves_once_a_pushback_and_grows_back_by_one() {
        let requests = InFlight::new(8);
        let start = Instant::now();
        let mut under_way = Vec::new();
        for _ in 0..8 {
            under_way.push(requests.room().await);
        }
        assert_eq!(requests.load(), Load { in_flight: 8, in_flight_max: 8 });
        // All that were under way fail at once.
        under_way.into_iter().for_each(|room| room.pushed_back(start));
        assert_eq!((requests.lock().now, requests.permits.available_permits()), (4, 4));
        requests.room().await.pushed_back(start + HALVING_INTERVAL);
        assert_eq!((requests.lock().now, requests.permits.available_permits()), (2, 2));
        for expected in [2, 3, 3, 3, 4] {
            requests.room().await.served();
            assert_eq!((requests.lock().now, requests.permits.available_permits()), (expected, expected));
        }
        for _ in 0..100 {
            requests.room().await.served();
        }
        assert_eq!((requests.lock().now, requests.permits.available_permits()), (8, 8), "and never above the maximum");
    }

    #[tokio::test]
    async fn it_never_ends_at_nothing_and_keeps_its_bound_while_it_shrinks() {
        let requests = InFlight::new(3);
        let start = Instant::now();
        for round in 0..5 {
            requests.room().await.pushed_back(start + round * HALVING_INTERVAL);
        }
        assert_eq!((requests.lock().now, requests.permits.available_permits()), (1, 1));
        let requests = InFlight::new(4);
        let mut under_way = vec![requests.room().await, requests.room().await, requests.room().await];
        under_way.pop().expect("three").pushed_back(start);
        assert_eq!((requests.lock().now, requests.permits.available_permits()), (2, 0), "two are still under way");
        drop(under_way.pop());
        assert_eq!(requests.permits.available_permits(), 1, "one is, and one may come");
        drop(under_way.pop());
        assert_eq!(requests.permits.available_permits(), 2);
    }
}
