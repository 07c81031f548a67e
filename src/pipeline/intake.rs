//! The batch that is being filled.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::bounds::{Room, is_large};
use super::{Held, Limits, Pipeline, guard};
use crate::change::Decoded;
use crate::change::position::Standing;
use crate::failpoint::{self, Stage};
use crate::plan::write::{Batch, Versioned};
use crate::plan::{Draft, Pushed};
use crate::record::Record;
use crate::sink::Sink;
use crate::version::Chain;
use crate::version::guard::Guard;

/// The batch that is being filled, and the records that did not fit into it.
pub(super) struct Intake<D> {
    decode: D,
    records: mpsc::Receiver<Vec<Record>>,
    /// What is left of the last chunk received.
    chunk: std::vec::IntoIter<Record>,
    chain: Option<Chain>,
    /// What the source has sent, where some route of the topic is guarded.
    guard: Option<Guard>,
    draft: Draft,
    /// How the last record of the draft stands.
    standing: Standing,
    /// The draft ends here, because it has to be durable before the next record is written (V6).
    closed: bool,
    /// For the large record that the draft consists of.
    room: Option<Room>,
    held: Arc<Held>,
    /// Records below it are in the sink already.
    skip_below: i64,
    /// Why nothing behind the draft may be taken.
    end: Option<String>,
}

impl<D: FnMut(&Versioned) -> Decoded> Intake<D> {
    pub(super) fn new(
        decode: D,
        records: mpsc::Receiver<Vec<Record>>,
        chain: Option<Chain>,
        guard: Option<Guard>,
        draft: Draft,
        held: Arc<Held>,
        skip_below: i64,
    ) -> Self {
        let chunk = Vec::new().into_iter();
        let (standing, closed, room, end) = (Standing::default(), false, None, None);
        Intake { decode, records, chunk, chain, guard, draft, standing, closed, room, held, skip_below, end }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.draft.is_empty()
    }

    /// The next record, as far as it has come here.
    pub(super) fn waiting(&self) -> Option<&Record> {
        self.chunk.as_slice().first()
    }

    /// Why nothing behind the draft may be taken.
    pub(super) fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// The marks as of the last record of the draft.
    pub(super) fn guard(&self) -> Option<Guard> {
        self.guard
    }

    /// The batch to write, with the room that its large record takes.
    pub(super) fn take(&mut self) -> (Batch, Option<Room>) {
        (self.standing, self.closed) = (Standing::default(), false);
        (self.draft.take(), self.room.take())
    }

    /// Whether the draft may grow. A large record is a batch of its own: had it room while another batch is being
    /// written, that room would wait for the sink as well.
    pub(super) fn may_take(&self, limits: &Limits) -> bool {
        self.end.is_none()
            && !self.closed
            && self.room.is_none()
            && self.draft.records() < limits.batch_records_max
            && self.draft.bytes() < limits.batch_bytes_max
            && !self.chunk.as_slice().first().is_some_and(is_large)
    }

    /// Waits for the first records of a batch, and takes as many as it has room for. False when there will be none.
    /// Dropped while it waits, it has taken nothing.
    pub(super) async fn begin<S: Sink>(&mut self, pipeline: &Pipeline<S>) -> bool {
        let Some(record) = self.chunk.as_slice().first().filter(|record| is_large(record)) else {
            return self.take_more(pipeline).await;
        };
        self.room = Some(pipeline.bounds.room(record).await);
        self.chunk.next().into_iter().for_each(|record| self.push(record));
        if self.draft.is_empty() {
            // It is in the sink already.
            self.room = None;
        }
        true
    }

    /// Waits for records and plans as many as the draft has room for, up to a large one. False when there will be no
    /// more.
    pub(super) async fn take_more<S: Sink>(&mut self, pipeline: &Pipeline<S>) -> bool {
        if self.chunk.as_slice().is_empty() {
            match self.records.recv().await {
                Some(chunk) => self.chunk = chunk.into_iter(),
                None => return false,
            }
        }
        while self.may_take(&pipeline.limits) {
            if self.ends_before_next() {
                self.closed = true;
                break;
            }
            match self.chunk.next() {
                Some(record) => self.push(record),
                None => match self.records.try_recv() {
                    Ok(chunk) => self.chunk = chunk.into_iter(),
                    Err(_) => break,
                },
            }
        }
        true
    }

    /// Whether the draft's suspects, or what stands before a suspect that has to be alone, have to be durable before the
    /// next record is written.
    fn ends_before_next(&mut self) -> bool {
        let Some(next) = self.chunk.as_slice().first() else { return false };
        let offset = next.offset;
        match self.standing {
            _ if self.draft.is_empty() => false,
            Standing { alone: true, .. } => true,
            Standing { suspect: true, .. } => !self.is_next_suspect(),
            Standing { suspect: false, .. } => self.is_alone(offset) && self.is_next_suspect(),
        }
    }

    /// Whether a suspect at this offset is a batch of its own. Below a floor versions say nothing of which write came
    /// first: what a row has may be of a later record of the same batch, or from before the seek.
    fn is_alone(&self, offset: i64) -> bool {
        self.guard.is_some() && self.chain.and_then(|chain| chain.floor()).is_some_and(|floor| offset < floor.offset)
    }

    /// Decodes the next record ahead of its turn. One that cannot be decoded is dealt with when it is pushed.
    fn is_next_suspect(&mut self) -> bool {
        let Some(record) = self.chunk.as_slice().first() else { return false };
        let Some(mut guard) = self.guard_at(record.offset) else { return false };
        let versioned = Versioned::new(record.clone(), 0);
        let decode = &mut self.decode;
        // A decoder changes at its end or not at all.
        let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decode(&versioned)));
        decoded.is_ok_and(|decoded| guard.stand(versioned.record.key.as_deref(), &decoded).0.suspect)
    }

    /// The marks for a record. At the floor of a set-back chain they are what they were there.
    fn guard_at(&self, offset: i64) -> Option<Guard> {
        let floor = self.chain.and_then(|chain| chain.floor()).filter(|floor| offset >= floor.offset);
        self.guard.map(|guard| floor.map_or(guard, |floor| floor.guard.behind(guard)))
    }

    fn push(&mut self, record: Record) {
        self.guard = self.guard_at(record.offset);
        let is_alone = self.is_alone(record.offset);
        let version = self.chain.as_mut().map_or(0, |chain| chain.next(record.offset, record.timestamp_ms));
        if record.offset < self.skip_below {
            self.held.release(1, record.held_bytes());
            return;
        }
        let Intake { decode, guard, draft, standing, .. } = self;
        let pushed = draft.push(Versioned::new(record, version), |versioned| {
            failpoint::reach(Stage::Decoding);
            let decoded = decode(versioned);
            guard.iter_mut().for_each(|guard| guard::stand(guard, versioned, &decoded));
            versioned.standing.alone = is_alone && versioned.standing.suspect;
            *standing = versioned.standing;
            decoded
        });
        if let Pushed::Stop(why) = pushed {
            self.end = Some(why);
        }
    }
}
