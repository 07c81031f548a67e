//! What all partitions together may do at once: try again, and hold the values of large records (K9, K11).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Revoked, Run};
use crate::plan::write::Batch;
use crate::record::Record;
use crate::retry::Budget;
use crate::sink::Sink;

/// A record of more than this takes room while its values are there, beside its own bytes.
const LARGE_RECORD_BYTES: usize = 64 * 1024;
/// The bytes of all large records whose values are there at once. One that is larger than this takes all of it.
const LARGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Room is counted in these.
const UNIT_BYTES: usize = 1024;
const UNITS: u32 = (LARGE_BYTES_MAX / UNIT_BYTES) as u32;

/// One value for all partitions of a process.
#[derive(Debug)]
pub struct Bounds {
    retries: Mutex<Budget>,
    large: Arc<Semaphore>,
}

/// Room for the values of one large record. Given back when it is dropped.
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    units: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { retries: Mutex::default(), large: Arc::new(Semaphore::new(UNITS as usize)) }
    }
}

impl Bounds {
    /// The delay of an attempt that is made again, among those of all partitions.
    pub(super) fn turn(&self, delay: Duration) -> Duration {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.spend(Instant::now().into_std(), delay)
    }

    /// Waits until the values of a large record may be there.
    pub(super) async fn room(&self, record: &Record) -> Room {
        let units = u32::try_from(record.bytes().div_ceil(UNIT_BYTES)).unwrap_or(UNITS);
        self.room_of(units.min(UNITS)).await
    }

    async fn room_of(&self, units: u32) -> Room {
        let permit = self.large.clone().acquire_many_owned(units).await.expect("the semaphore is never closed");
        Room { _permit: permit, units }
    }
}

/// Whether the record takes room. It is then the last one of its batch, so that nobody waits for room and has some.
pub(super) fn is_large(record: &Record) -> bool {
    record.bytes() > LARGE_RECORD_BYTES
}

impl<S: Sink> Run<'_, S> {
    /// Waits before a batch is written again. The room of a large record goes to others meanwhile, and its values with
    /// it: they are planned again. So one table that cannot be written never stops another.
    pub(super) async fn wait_without(
        &self,
        room: &mut Option<Room>,
        batch: Batch,
        delay: Duration,
        plan_again: impl FnOnce(Batch) -> Batch,
    ) -> Result<Batch, Revoked> {
        let Some(Room { units, .. }) = room.take() else {
            self.wait(delay).await?;
            return Ok(batch);
        };
        let bare = Batch { writes: Vec::new(), ..batch };
        self.wait(delay).await?;
        *room = Some(self.unless_revoked(self.pipeline.bounds.room_of(units)).await?);
        Ok(plan_again(bare))
    }
}

#[cfg(test)]
mod tests;
