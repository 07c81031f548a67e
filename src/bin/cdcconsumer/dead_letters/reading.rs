//! Reading the dead-letter topic twice: once for its index, once for the bodies of what was chosen.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use rowferry::kafka::access::Access;
use rowferry::kafka::letters::{Ended, LetterTopic, LettersError, Span};
use rowferry::ops::config::Config;
use rowferry::ops::service::Exit;
use rowferry::record::Record;
use tokio::sync::watch;

use crate::dead_letters::progress::Progress;
use crate::dead_letters::selection::{Entry, Filter, Index, LETTERS_MAX};
use crate::refused;

/// The chosen letters in the order of their records; it is an end of its own when there is none.
pub async fn chosen(config: &Config, filter: &Filter, shutdown: &watch::Receiver<bool>) -> Result<Vec<Entry>, Exit> {
    let place = Place::of(config)?;
    let (filter, shutdown) = (filter.clone(), shutdown.clone());
    let chosen = blocking(move || {
        let topic = place.open()?;
        let spans = topic.spans(filter.since_ms).map_err(|error| place.failed(&error))?;
        let total = spans.iter().map(|span| (span.end - span.next_offset) as u64).sum();
        let mut progress = Progress::begin("reading dead letters", total);
        let (mut index, mut full) = (Index::default(), false);
        let read = topic.read(&spans, &shutdown, |record| {
            progress.step();
            full = !index.add(&filter, &record);
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if full {
            return Err(refused(&format!(
                "more than {LETTERS_MAX} records have a letter that passes: narrow it with --topic, --since or --key"
            )));
        }
        match read.map_err(|error| place.failed(&error))? {
            Ended::Shutdown => Err(Exit::Failed),
            Ended::AtTheEnd | Ended::Enough => Ok(index.chosen(&filter)),
        }
    })
    .await?;
    if chosen.is_empty() { Err(nothing_found()) } else { Ok(chosen) }
}

pub fn nothing_found() -> Exit {
    tracing::error!("no such dead letter");
    Exit::Failed
}

/// Letters that are handed on together, and held at once.
const CHUNK_LETTERS_MAX: usize = 64;
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// Hands the bodies of these letters to `each`, some at a time, in the order in which they stand in the topic. Returns
/// how many came: fewer when the topic's retention took some meanwhile, or when it was asked to stop. `each` may block.
pub async fn bodies(
    config: &Config,
    entries: Vec<Entry>,
    shutdown: &watch::Receiver<bool>,
    mut each: impl FnMut(Vec<(Entry, Record)>) -> ControlFlow<()> + Send + 'static,
) -> Result<usize, Exit> {
    let place = Place::of(config)?;
    let shutdown = shutdown.clone();
    blocking(move || {
        let topic = place.open()?;
        let spans = spans(&entries);
        let mut wanted: HashMap<(i32, i64), Entry> = entries.into_iter().map(|entry| (entry.place, entry)).collect();
        let (mut chunk, mut chunk_bytes, mut came) = (Vec::new(), 0, 0);
        let read = topic.read(&spans, &shutdown, |record| {
            let Some(entry) = wanted.remove(&(record.partition, record.offset)) else {
                return ControlFlow::Continue(());
            };
            came += 1;
            chunk_bytes += record.held_bytes();
            chunk.push((entry, record));
            if chunk.len() < CHUNK_LETTERS_MAX && chunk_bytes < CHUNK_BYTES_MAX {
                return ControlFlow::Continue(());
            }
            chunk_bytes = 0;
            each(std::mem::take(&mut chunk))
        });
        match read.map_err(|error| place.failed(&error))? {
            Ended::AtTheEnd if !chunk.is_empty() => drop(each(chunk)),
            Ended::AtTheEnd | Ended::Enough => {}
            Ended::Shutdown => came -= chunk.len(),
        }
        Ok(came)
    })
    .await
}

/// From the first to the last letter of each partition.
fn spans(entries: &[Entry]) -> Vec<Span> {
    let mut spans: BTreeMap<i32, Span> = BTreeMap::new();
    for (partition, offset) in entries.iter().map(|entry| entry.place) {
        let span = spans.entry(partition).or_insert(Span { partition, next_offset: offset, end: offset + 1 });
        span.next_offset = span.next_offset.min(offset);
        span.end = span.end.max(offset + 1);
    }
    spans.into_values().collect()
}

/// Where the letters are.
struct Place {
    access: Access,
    group_id: String,
    topic: String,
}

impl Place {
    fn of(config: &Config) -> Result<Place, Exit> {
        let consumer = config.cdcconsumer.as_ref().or(config.consumer.as_ref());
        let consumer = consumer.ok_or_else(|| refused("dead-letters needs the section [cdcconsumer] or [consumer]"))?;
        Ok(Place {
            access: config.kafka.access(),
            group_id: consumer.group_id.clone(),
            topic: config.kafka.dead_letter_topic.clone(),
        })
    }

    fn open(&self) -> Result<LetterTopic, Exit> {
        LetterTopic::open(&self.access, &self.group_id, &self.topic).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &LettersError) -> Exit {
        match error {
            LettersError::NoTopic(_) => {
                refused(&format!("kafka.dead_letter_topic = \"{}\": {error}: create or correct it", self.topic))
            }
            _ => {
                tracing::error!("{error}");
                Exit::Failed
            }
        }
    }
}

/// The client blocks its thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Exit> + Send + 'static) -> Result<T, Exit> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| {
        tracing::error!("reading dead letters panicked: {panicked}");
        Err(Exit::Failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry::ops::letters::letter::Origin;

    #[test]
    fn only_the_part_between_the_first_and_the_last_letter_is_read_again() {
        let entry = |place| {
            let origin = Origin { topic: "t".into(), partition: 0, offset: 0 };
            Entry {
                origin: origin.clone(),
                identity: origin,
                place,
                class: "".into(),
                route: "".into(),
                refused_ms: None,
                timestamp_ms: None,
                version: None,
                bytes: 0,
                times: 1,
                damaged: false,
            }
        };
        let found = spans(&[entry((1, 7)), entry((0, 3)), entry((1, 4))]);
        let span = |partition, next_offset, end| Span { partition, next_offset, end };
        assert_eq!(found, [span(0, 3, 4), span(1, 4, 8)]);
    }
}
