//! Reselecting: a row that moved may lack the values that its change left alone (unchanged TOAST), and its target has
//! none under the new key. They are asked of the source, which has them as they are now; a change that it is ahead by
//! is still on its way, so the row ends right.

use tokio::sync::oneshot;

use super::{Revoked, Run, State};
use crate::change::{Decoded, Reject, RejectClass};
use crate::plan;
use crate::plan::write::{Batch, Rejected};
use crate::retry::Backoff;
use crate::row::Value;
use crate::row::wire::Wire;
use crate::sink::{Failure, Sink};

/// Asks for columns of one row of the source.
#[derive(Debug)]
pub struct ReselectRequest {
    /// `schema.table`
    pub table: String,
    /// The columns of the row's key with their values, as they were decoded.
    pub key: Vec<(String, Value)>,
    /// The wanted columns, and how they stand in records, which says what is made of them.
    pub columns: Vec<(String, Wire)>,
    pub answer: oneshot::Sender<Answer>,
}

/// One value for each wanted column, or `None` when there is no such row any more.
pub type Answer = Result<Option<Vec<Value>>, Unread>;

/// Why the source was not read.
#[derive(Debug)]
pub enum Unread {
    Failed(Failure),
    /// The row cannot be read for this record alone.
    Refused(Reject),
}

impl<S: Sink> Run<'_, S> {
    /// Completes the rows that lack columns. Returns the records that cannot be.
    pub(super) async fn complete(&self, batch: &mut Batch) -> Result<Vec<Rejected>, Revoked> {
        let routes = &self.pipeline.routes;
        let mut refused = Vec::new();
        for at in 0..batch.writes.len() {
            let lacked = plan::lacked(routes, &batch.writes[at]);
            if lacked.is_empty() {
                continue;
            }
            let (record, route) = (batch.writes[at].record, batch.writes[at].route);
            let completed = match self.source_values(batch, at, &lacked).await? {
                Ok(values) => plan::complete(routes, batch, at, values),
                Err(reject) => Err(Rejected { record, route: Some(route), reject }),
            };
            if let Err(rejected) = completed
                && !refused.iter().any(|known: &Rejected| known.record == record)
            {
                refused.push(rejected);
            }
        }
        Ok(refused)
    }

    /// The source's values for the lacked columns of a write. Waits for the source as long as it takes.
    async fn source_values(
        &self,
        batch: &Batch,
        write: usize,
        lacked: &[usize],
    ) -> Result<Result<Option<Vec<Value>>, Reject>, Revoked> {
        let pipeline = self.pipeline;
        let write = &batch.writes[write];
        let record = &batch.records[write.record].record;
        let unreadable = || Reject::new(RejectClass::Unavailable, "the row moved, and its source is not configured");
        let (Some(table), Some(topic)) =
            (&pipeline.routes.routes[write.route].reselect, pipeline.routes.topic(&record.topic))
        else {
            return Ok(Err(unreadable()));
        };
        // The record says the row's key as the source has it; the write has it as the target takes it.
        let mut reading = pipeline.reading(&batch.partition);
        let Decoded::Change(change) = reading.decode(record) else { return Ok(Err(unreadable())) };
        let image = change.after.unwrap_or_default();
        let key: Option<Vec<(String, Value)>> = topic
            .shape
            .key
            .iter()
            .map(|at| Some((topic.shape.fields[*at].name.clone(), image.get(*at)?.clone())))
            .collect();
        let columns: Option<Vec<(String, Wire)>> = lacked
            .iter()
            .map(|at| Some((topic.shape.fields[*at].name.clone(), reading.wire(&record.topic, *at)?.clone())))
            .collect();
        let (Some(key), Some(columns)) = (key, columns) else { return Ok(Err(unreadable())) };
        let mut backoff = Backoff::new();
        loop {
            let (answer, answered) = oneshot::channel();
            let request = ReselectRequest { table: table.clone(), key: key.clone(), columns: columns.clone(), answer };
            let asked = self.unless_revoked(async {
                pipeline.reselects.send(request).await.ok()?;
                answered.await.ok()
            });
            match asked.await? {
                Some(Ok(values)) => return Ok(Ok(values)),
                Some(Err(Unread::Refused(reject))) => return Ok(Err(reject)),
                Some(Err(Unread::Failed(Failure::Stop(why)))) => self.stop(why).await?,
                Some(Err(Unread::Failed(Failure::Retry(waiting_for)))) => {
                    self.say(State::Waiting(waiting_for));
                    self.wait(backoff.next_delay(rand::random())).await?;
                }
                None => self.stop("the source cannot be read: its client has ended".into()).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
