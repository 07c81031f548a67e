//! Dead letters of the rows that a sweep is about: those are spared, for their newest state is not in the target.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use rowferry::change::Decoded;
use rowferry::format::Decoder;
use rowferry::kafka::letters::{Ended, LetterTopic};
use rowferry::ops::config::Config;
use rowferry::ops::letters::letter::Letter;
use rowferry::plan::route::Topic;
use rowferry::record::Record;
use rowferry::row::{Row, Value};
use rowferry::sink::Failure;
use rowferry::verify::mapping::Mapping;
use tokio::sync::watch;

/// What a letter that carries no version is taken for: newer than everything.
const VERSION_UNKNOWN: i64 = i64::MAX;

/// The highest version of the letters of each of these source rows.
#[derive(Debug, Default)]
pub struct Letters {
    pub versions: HashMap<Vec<Value>, i64>,
    /// Letters of the topic whose key nobody can read, so that their row is not known.
    pub unreadable: u64,
}

/// Reads the dead-letter topic to its end for letters of these rows of a topic.
pub async fn of(
    config: &Config,
    group_id: &str,
    mapping: &Mapping,
    topic: &Topic,
    rows: &[Row],
    shutdown: &watch::Receiver<bool>,
) -> Result<Letters, Failure> {
    let (access, name) = (config.kafka.access(), config.kafka.dead_letter_topic.clone());
    let (group_id, shutdown) = (group_id.to_string(), shutdown.clone());
    let mut reading = Reading {
        decoder: Decoder::new(&topic.shape, config.limits.record_bytes_max),
        mapping: mapping.clone(),
        topic: topic.clone(),
        wanted: rows.iter().map(|key| mapping.owner_of(key)).collect(),
        found: Letters::default(),
    };
    let read = tokio::task::spawn_blocking(move || {
        let letters = LetterTopic::open(&access, &group_id, &name)?;
        let ended = letters.read(&letters.spans(None)?, &shutdown, |record| {
            reading.take(&record);
            ControlFlow::Continue(())
        })?;
        Ok::<_, rowferry::kafka::letters::LettersError>((ended, reading.found))
    });
    match read.await {
        Ok(Ok((Ended::AtTheEnd | Ended::Enough, found))) => Ok(found),
        Ok(Ok((Ended::Shutdown, _))) => Err(Failure::Retry("the dead letters, when it was asked to stop".into())),
        Ok(Err(error)) => Err(Failure::Stop(format!("the dead letters were not read: {error}"))),
        Err(panicked) => Err(Failure::Stop(format!("reading dead letters panicked: {panicked}"))),
    }
}

struct Reading {
    decoder: Decoder,
    mapping: Mapping,
    topic: Topic,
    wanted: HashSet<Vec<Value>>,
    found: Letters,
}

impl Reading {
    fn take(&mut self, record: &Record) {
        let letter = Letter::read(record);
        if letter.damaged || *letter.origin.topic != *self.topic.name {
            return;
        }
        // The key alone, which is whole where the value was not to be read.
        let alone = Record { value: None, ..letter.refused_record(record.clone()) };
        let Decoded::Tombstone(key) = self.decoder.decode(&alone) else {
            self.found.unreadable += 1;
            return;
        };
        let owner = self.mapping.owner_of_record(&self.topic.shape, &key);
        if self.wanted.contains(&owner) {
            let version = letter.version.unwrap_or(VERSION_UNKNOWN);
            let known = self.found.versions.entry(owner).or_insert(version);
            *known = version.max(*known);
        }
    }
}
