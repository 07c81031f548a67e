//! Checkpoints: where a partition stands and with which version, kept by the sink beside its rows (V2).

use std::time::Duration;

use tokio::time::Instant;

use super::{Progress, Revoked, Run};
use crate::sink::{Checkpoint, Failure, Sink};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);

impl<S: Sink> Run<'_, S> {
    /// Lets the sink keep a checkpoint now and then. It is for the day on which commits lose their versions, so that
    /// nothing waits for one that does not go through: the next comes soon.
    pub(super) async fn keep(&mut self) -> Result<(), Revoked> {
        let Progress { next_offset, chain: Some(chain), .. } = *self.progress.borrow() else { return Ok(()) };
        let now = Instant::now();
        if chain.floor().is_some() || self.kept_at.is_some_and(|at| now < at + INTERVAL) {
            return Ok(());
        }
        self.kept_at = Some(now);
        let checkpoint = Checkpoint { next_offset, last_version: chain.last(), topic_id: self.topic_id.clone() };
        let keeping = self.pipeline.sink.keep(&self.partition, &checkpoint);
        match self.unless_revoked(tokio::time::timeout(TIMEOUT, keeping)).await? {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Retry(why) | Failure::Stop(why))) => {
                tracing::warn!(partition = %self.partition, "a checkpoint was not kept: {why}");
            }
            Err(_) => tracing::warn!(partition = %self.partition, "a checkpoint was not kept: no answer"),
        }
        Ok(())
    }
}
