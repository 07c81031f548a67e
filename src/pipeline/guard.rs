//! The rewind guard (V6) around a batch: how its records stand when they are read, and what its target has already when
//! it is written. A batch is asked for when all before it is durable, so nothing of its rows is under way.

use super::{Revoked, Run, State};
use crate::change::Decoded;
use crate::plan;
use crate::plan::write::{Batch, Versioned};
use crate::retry::Backoff;
use crate::sink::{Failure, Sink};
use crate::version::guard::{Guard, Verdict};

/// Says how a record stands, in the order of offsets.
pub(super) fn stand(guard: &mut Guard, versioned: &mut Versioned, decoded: &Decoded) {
    let record = &versioned.record;
    let (standing, verdict) = guard.stand(record.key.as_deref(), decoded);
    if verdict == Verdict::NewHistory {
        tracing::warn!(
            partition = %record.topic_partition(),
            offset = record.offset,
            "source_history_changed: the positions of the source's log went back while its commits went on, as after a \
             restore or when another server took over; the rewind guard begins anew with this record"
        );
    }
    versioned.standing = standing;
}

impl<S: Sink> Run<'_, S> {
    /// Drops the writes that the target has already: how many they were. `None` where there is no suspect, and then
    /// nothing is read.
    pub(super) async fn drop_sent_again(&self, batch: &mut Batch) -> Result<Option<u64>, Revoked> {
        let routes = &self.pipeline.routes;
        let asked = plan::guard::asked(routes, batch);
        if asked.is_empty() {
            return Ok(None);
        }
        let mut backoff = Backoff::new();
        loop {
            self.meters.guard_reads.add(asked.len() as u64);
            match self.unless_revoked(self.pipeline.sink.stored(batch, &asked)).await? {
                Ok(stored) => {
                    self.say(State::Running);
                    return Ok(Some(plan::guard::settle(routes, batch, &asked, stored) as u64));
                }
                Err(Failure::Stop(why)) => self.stop(why).await?,
                Err(Failure::Retry(waiting_for)) => {
                    self.say(State::Waiting(waiting_for));
                    self.wait(backoff.next_delay(rand::random())).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
