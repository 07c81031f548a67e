//! Refused records on their way out: a look at the breaker, then letters until the broker has them all.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{DeadLetter, DeadLetterRequest, Revoked, Run, State};
use crate::plan::write::{Batch, Rejected};
use crate::sink::Sink;

/// What a revoked partition waits for letters that are on their way: whoever comes next would send them again. When
/// Kafka takes none, nobody gains by a longer wait.
const REVOKED_GRACE: Duration = Duration::from_secs(3);

impl<S: Sink> Run<'_, S> {
    /// Sends these records to the dead-letter topic and returns when the broker has them all (K10). A flood stops the
    /// partition for as long as it is ours, with nothing sent.
    pub(super) async fn dead_letter(&mut self, batch: &Batch, rejects: &[Rejected]) -> Result<(), Revoked> {
        let refused: Vec<_> = rejects
            .iter()
            .map(|rejected| (batch.records[rejected.record].record.offset, rejected.reject.class))
            .collect();
        if let Err(flood) = self.breaker.refuse(tokio::time::Instant::now().into_std(), &refused) {
            self.say(State::Stopped(flood));
            self.until_revoked().await;
            return Err(Revoked);
        }
        let mut open: Vec<&Rejected> = rejects.iter().collect();
        let mut stood = false;
        while !open.is_empty() {
            let mut answers = Vec::with_capacity(open.len());
            for rejected in open.drain(..) {
                let (answer, answered) = oneshot::channel();
                let request = DeadLetterRequest { letter: self.letter(batch, rejected), answer };
                // A closed channel drops the answer's sender, which the wait below takes for a failure.
                let _ = self.unless_revoked_for(REVOKED_GRACE, self.pipeline.dead_letters.send(request)).await?;
                answers.push((rejected, answered));
            }
            let mut failed = None;
            for (rejected, answered) in answers {
                let answer = self.unless_revoked_for(REVOKED_GRACE, answered).await?;
                match answer.unwrap_or_else(|_| Err("the dead-letter producer is gone".into())) {
                    Ok(()) => self.meters.reject(rejected.reject.class),
                    Err(why) => {
                        open.push(rejected);
                        failed = Some(why);
                    }
                }
            }
            if let Some(why) = failed {
                stood = true;
                self.stop(why).await?;
            }
        }
        if stood {
            // The write that follows may take its time, and nobody has to act any more.
            self.say(State::Running);
        }
        Ok(())
    }

    fn letter(&self, batch: &Batch, rejected: &Rejected) -> DeadLetter {
        let versioned = &batch.records[rejected.record];
        let offset = versioned.record.offset;
        tracing::warn!(partition = %self.partition, offset, class = rejected.reject.class.as_str(), "record rejected");
        DeadLetter {
            record: versioned.record.clone(),
            reject: rejected.reject.clone(),
            route: self.pipeline.routes.refusing(&versioned.record.topic, rejected.route),
            version: self.progress.borrow().chain.map(|_| versioned.version),
        }
    }
}

#[cfg(test)]
mod tests;
