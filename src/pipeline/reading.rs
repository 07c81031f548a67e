//! Reading: the records of one partition decoded in order, and what their columns say against the routes.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::change::{Decoded, Reject, RejectClass};
use crate::format::Decoder;
use crate::pipeline::Pipeline;
use crate::plan::route::Routes;
use crate::record::{Record, TopicPartition};
use crate::row::wire::Wire;

/// Things to say that are remembered; beyond them a repetition is no harm.
const SAID_MAX: usize = 1_000;

/// What was said, over all partitions.
#[derive(Debug, Default)]
pub struct Said(Mutex<HashSet<String>>);

/// The decoder of a partition, which learns from schema blocks how the fields of its topic stand on the wire.
pub(super) struct Reading<'p> {
    routes: &'p Routes,
    said: &'p Said,
    decoder: Option<Decoder>,
    wires: Option<Vec<Option<Wire>>>,
    /// Why the schema block that is in force does not fit the routes.
    unfit: Option<String>,
}

impl<S> Pipeline<S> {
    pub(super) fn reading(&self, partition: &TopicPartition) -> Reading<'_> {
        let topic = self.routes.topic(&partition.topic);
        let decoder = topic.map(|topic| Decoder::new(&topic.shape, self.limits.record_bytes_max));
        Reading { routes: &self.routes, said: &self.said, decoder, wires: None, unfit: None }
    }
}

impl Reading<'_> {
    /// Decodes the next record. One that brings values for columns that cannot take them is a stop: every record like
    /// it would be refused.
    pub fn decode(&mut self, record: &Record) -> Decoded {
        let Some(decoder) = &mut self.decoder else {
            return Decoded::Reject(Reject::new(RejectClass::WrongType, "no route reads this topic"));
        };
        let decoded = decoder.decode(record);
        if let Some(wires) = decoder.take_wires() {
            match self.routes.check_wires(&record.topic, &wires) {
                Ok(notices) => {
                    notices.into_iter().for_each(|notice| self.said.once(notice));
                    self.unfit = None;
                }
                Err(why) => self.unfit = Some(why),
            }
            self.wires = Some(wires);
        }
        decoder.take_notices().into_iter().for_each(|notice| self.said.once(notice));
        match (&self.unfit, decoded) {
            (Some(why), Decoded::Change(_)) => Decoded::Stop(why.clone()),
            (_, decoded) => decoded,
        }
    }

    /// How a field of the topic stands on the wire, as of the last record; `None` when nobody has said it yet.
    pub fn wire(&self, topic: &str, field: usize) -> Option<&Wire> {
        let known = || self.routes.topic(topic)?.shape.fields[field].wire.as_ref();
        self.wires.as_ref().and_then(|wires| wires[field].as_ref()).or_else(known)
    }
}

impl Said {
    fn once(&self, notice: String) {
        // Nothing panics while it holds the lock, and what it guards is whole at any time.
        let mut said = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.len() < SAID_MAX && !said.contains(&notice) {
            tracing::warn!("{notice}");
            said.insert(notice);
        }
    }
}
