//! What must hold. Readers at QUORUM see of each row what the source had after some record, never an earlier record
//! than before (I3, I4), never less than what is committed (I1, I7), and no row that the source had not (I2).
//!
//! While a table that was emptied is filled again readers see it fill, and with the rewind guard a seek repeats what the
//! guard had passed over: until the group is past all of it, rows are not looked at.

use std::collections::BTreeMap;
use std::fmt;

use crate::cassandra::{Cluster, PAIRS, StoredRow};
use crate::source::{Event, History, Seen, Source};

/// Which promise is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub promise: Promise,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Promise {
    /// I1: a change that counts as done is not in the target.
    NoLostChange,
    /// I2: a row is there that the source deleted.
    NoResurrectedRow,
    /// I3 and I4: an older state of a row after a newer one, or a mixture that the source never had.
    NothingGoesBack,
    /// I7: the position passed a record that is in neither the sink nor the dead-letter topic.
    NothingPassed,
    /// All faults are over and it does not end.
    ItEnds,
    /// The rows at the end are not those of the source.
    Converges,
    /// V: the write times at the end are not those of an undisturbed run.
    SameWriteTimes,
}

impl Broken {
    fn new(promise: Promise, text: String) -> Broken {
        Broken { promise, text }
    }

    pub fn stuck(next_offset: i64, refused: Option<String>) -> Broken {
        let why = refused.map_or(String::new(), |why| format!(": {why}"));
        Broken::new(Promise::ItEnds, format!("it stands at {next_offset}{why}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.text)
    }
}

/// What readers have seen so far.
pub struct Reader {
    /// For each row and pair of replicas: the place in the row's history that it stood at.
    seen: Vec<[usize; PAIRS.len()]>,
    /// For each row: the place in its history that counts as done.
    done: Vec<usize>,
    /// Up to here the log has been found to be done.
    position: i64,
    /// What readers see is not looked at before the position is here.
    filling: Option<i64>,
}

impl Reader {
    pub fn new(slots: usize) -> Reader {
        Reader { seen: vec![[0; PAIRS.len()]; slots], done: vec![0; slots], position: 0, filling: None }
    }

    /// What is there counts for nothing until the topic is read again up to this end.
    pub fn begin_anew(&mut self, end: i64) {
        let slots = self.seen.len();
        *self = Reader { filling: Some(end), ..Reader::new(slots) };
    }

    pub fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// Somebody reads these rows from every pair of replicas.
    pub fn look(&mut self, source: &Source, cluster: &Cluster, slots: &[usize]) -> Result<(), Broken> {
        if self.filling.is_some() {
            return Ok(());
        }
        slots.iter().try_for_each(|slot| self.row(source, cluster, *slot))
    }

    /// A position: everything below it is done.
    pub fn position(
        &mut self,
        next_offset: i64,
        source: &Source,
        letters: &BTreeMap<i64, Vec<i64>>,
        cluster: &Cluster,
    ) -> Result<(), Broken> {
        if next_offset <= self.position {
            return Ok(());
        }
        let (from, to) = (source.index_of(self.position), source.index_of(next_offset));
        self.position = next_offset;
        for entry in &source.log[from..to] {
            let offset = entry.record.offset;
            if (entry.poison || entry.event == Event::Junk) && !entry.hidden && !letters.contains_key(&offset) {
                let text = format!("the position is {next_offset}, and {offset} was refused and has no dead letter");
                return Err(Broken::new(Promise::NothingPassed, text));
            }
        }
        for (done, history) in self.done.iter_mut().zip(&source.histories) {
            *done = (*done).max(history.states.partition_point(|(index, _)| *index < to).saturating_sub(1));
        }
        if let Some(end) = self.filling {
            if next_offset < end {
                return self.filled(next_offset, source, cluster);
            }
            self.filling = None;
        }
        (0..self.done.len()).try_for_each(|slot| self.row(source, cluster, slot))
    }

    /// While the tables are filled again: each row has its last change below the position, or a later one.
    fn filled(&self, next_offset: i64, source: &Source, cluster: &Cluster) -> Result<(), Broken> {
        for (slot, history) in source.histories.iter().enumerate() {
            let last = history.timestamps[self.done[slot]];
            if let Some(row) = (0..PAIRS.len()).map(|pair| cluster.read(slot, pair)).find(|row| row.newest() < last) {
                let text =
                    format!("the position is {next_offset}, and row {slot} is {row:?} without what came at {last}");
                return Err(Broken::new(Promise::NothingPassed, text));
            }
        }
        Ok(())
    }

    fn row(&mut self, source: &Source, cluster: &Cluster, slot: usize) -> Result<(), Broken> {
        let history = &source.histories[slot];
        for pair in 0..PAIRS.len() {
            let read = cluster.read(slot, pair).seen();
            let from = self.seen[slot][pair].max(self.done[slot]);
            match history.states[from..].iter().position(|(_, state)| *state == read) {
                Some(at) => self.seen[slot][pair] = from + at,
                None => return Err(self.judge(source, history, slot, pair, read)),
            }
        }
        Ok(())
    }

    fn judge(&self, source: &Source, history: &History, slot: usize, pair: usize, read: Seen) -> Broken {
        let (seen, done) = (self.seen[slot][pair], self.done[slot]);
        let place = |at: usize| match history.states[at].0 {
            _ if at == 0 => "before any record".to_string(),
            index => format!("after offset {}", source.log[index].record.offset),
        };
        let was = history.states.iter().rposition(|(_, state)| *state == read);
        let promise = match was {
            Some(at) if at >= seen => Promise::NoLostChange,
            Some(_) if read.is_none() => Promise::NoLostChange,
            Some(_) if history.states[seen.max(done)..].iter().all(|(_, state)| state.is_none()) => {
                Promise::NoResurrectedRow
            }
            _ => Promise::NothingGoesBack,
        };
        let now = was.map_or("as the source never had it".to_string(), |at| format!("as it was {}", place(at)));
        let text = format!(
            "row {slot} is read as {read:?}, {now}; it was seen as it was {} and is done as it was {}",
            place(seen),
            place(done)
        );
        Broken::new(promise, text)
    }

    /// The end, but for what was refused.
    pub fn end(&self, source: &Source, cluster: &Cluster, write_times: bool) -> Result<(), Broken> {
        for (slot, history) in source.histories.iter().enumerate() {
            let expected = history.states.last().and_then(|(_, state)| *state);
            let stored = history.stored.unwrap_or(StoredRow::NONE);
            for pair in 0..PAIRS.len() {
                let read = cluster.read(slot, pair);
                if read.seen() != expected {
                    let text = format!("row {slot} ends as {:?}, the source has {expected:?}", read.seen());
                    return Err(Broken::new(Promise::Converges, text));
                }
                // What reaches the guard's mark again is written again, to the same effect.
                if write_times && !(source.again && source.is_guarded()) && !read.is_as_written(&stored) {
                    let text = format!("row {slot} ends as {read:?}, an undisturbed run leaves {stored:?}");
                    return Err(Broken::new(Promise::SameWriteTimes, text));
                }
            }
        }
        Ok(())
    }

    /// The end, when what was refused has been sent again.
    pub fn whole(&self, source: &Source, cluster: &Cluster) -> Result<(), Broken> {
        for (slot, history) in source.histories.iter().enumerate() {
            assert_eq!(history.whole, source.row(slot), "the simulator's own model is wrong");
            for pair in 0..PAIRS.len() {
                let read = cluster.read(slot, pair).seen();
                if read != history.whole {
                    let text = format!(
                        "row {slot} ends as {read:?} with its dead letters redriven, the source has {:?}",
                        history.whole
                    );
                    return Err(Broken::new(Promise::Converges, text));
                }
            }
        }
        Ok(())
    }
}
