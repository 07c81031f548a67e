//! Rows that only the target has, because their source was deleted while nobody listened (C5): taken out with a version
//! that covers what was seen of them, and nothing that comes later.
//!
//! # The version
//!
//! A tombstone hides every cell of its row up to its timestamp. So it has to be as high as the row that was seen, and
//! below every record that is not applied yet. Two numbers are both, and the higher one is taken:
//!
//! - **The row's own write time**, raised to the next even number. Versions of a key's records rise by two, its cells are
//!   odd, so its next record's row is above that number, whenever the record comes, and however far its partition is
//!   behind. It also is no insert's number, so that nothing can tie with it (C1). A row that somebody wrote by hand has
//!   the time of that writer's clock: one ahead of ours is left alone, because a tombstone there would hide what comes.
//! - **The cut**: the lowest version that the topic's partitions stood at before the source was looked at. What is below
//!   was applied, and the source, which was asked later, says that it is over; what is not applied yet is above. It also
//!   covers a row that has no cell to tell its time (nulls and nothing else), which is why it is there.
//!
//! C5's own way takes the cut alone, that of a snapshot, and every row that is older: it trusts that the snapshot named
//! all rows, that none became a dead letter, and that its first records can still be found. Here the source itself says
//! that the row is gone, and the cut only decides how high the tombstone is: too low, and a row stays that is told; never
//! too high. So no snapshot is needed before, and a sweep may end anywhere and be done again.
//!
//! # Beside a pipeline that works
//!
//! A row is read in the target first, then in the source, then deleted. What is inserted in the source meanwhile has a
//! record that is not applied, which is above the tombstone, so the row is there as soon as it is. The same holds for a row
//! that moves away and back, and for one that is swept and inserted again later. A replay below the floor (V2) has no
//! higher versions than the first time, so that it does not bring a swept row back, as long as the tombstone lasts (C6).
//!
//! A route with `rewind_guard` remembers the position of what it sweeps, as it does of every delete (V6): a record at or
//! below it that is sent again is known. One with `soft_delete` sets the flag, at the same version.

use std::collections::{HashMap, HashSet};

use super::{Table, decoded};
use crate::change::position::Standing as Sent;
use crate::plan::route::Route;
use crate::plan::ttl::Ttl;
use crate::plan::write::{Batch, Expect, Write, WriteKind};
use crate::record::TopicPartition;
use crate::retry::Backoff;
use crate::row::{Row, Value};
use crate::sink::cassandra::Cassandra;
use crate::sink::cassandra::expiry::now_ms;
use crate::sink::cassandra::written::{WriteTimes, Written};
use crate::sink::postgres::Postgres;
use crate::sink::{Failure, Outcome, Sink as _};
use crate::verify::mapping::{SourceRow, Standing};

/// Rows that are judged and deleted together.
pub const ROWS_AT_ONCE_MAX: usize = 100;
/// How often a chunk is sent again while the cluster does not take it.
const ATTEMPTS_MAX: usize = 8;

/// A sweep of one table.
pub struct Sweep<'a> {
    pub source: &'a Postgres,
    pub table: &'a Table,
    pub times: WriteTimes,
    pub sink: &'a Cassandra,
    pub route: &'a Route,
    /// The route's index in the sink.
    pub at: usize,
    /// The lowest version that the topic's partitions stood at, taken before the source was looked at; 0 when it is not
    /// known.
    pub cut: i64,
    /// The highest version of the dead letters of each source row, by [`crate::verify::mapping::Mapping::owner_of`].
    pub letters: &'a HashMap<Vec<Value>, i64>,
}

/// What becomes of a row that was found to be extra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted with this version, or would be.
    Swept(i64),
    /// It is no longer there, or has its flag.
    Gone,
    /// The source has it now.
    Belongs,
    /// It stays, because nobody can say whether it should.
    Spared(Spared),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    DeadLetter,
    AheadOfClock,
    NoWriteTime,
}

impl Spared {
    pub fn why(self) -> &'static str {
        match self {
            Spared::DeadLetter => "a dead letter speaks of it, and is newer than it: redrive that first",
            Spared::AheadOfClock => "its cells are ahead of the clock, and a delete would hide what comes: wait",
            Spared::NoWriteTime => {
                "it has no cell that tells when it was written, and some partition of the topic has no version yet"
            }
        }
    }
}

/// The version of a row's delete, from its highest write time and the cut.
pub fn version(last: Option<i64>, cut: i64, letter: Option<i64>, now_us: i64) -> Result<i64, Spared> {
    match last {
        // A row that was written by its letter's own record, or by a later one, has it behind it.
        _ if letter.is_some_and(|letter| last.is_none_or(|last| letter >= last)) => Err(Spared::DeadLetter),
        Some(last) if last > now_us => Err(Spared::AheadOfClock),
        // The next even number above it; below the first record's version there is none that may be used.
        Some(last) => Ok((last.max(1) | 1).saturating_add(1).max(cut)),
        None if cut > 0 => Ok(cut),
        None => Err(Spared::NoWriteTime),
    }
}

impl Sweep<'_> {
    /// Judges rows with these keys, and takes those that are extra out of the target where `apply` says so: at most
    /// [`ROWS_AT_ONCE_MAX`].
    pub async fn run(&self, keys: &[Row], apply: bool) -> Result<Vec<Fate>, Failure> {
        let fates = self.judge(keys).await?;
        if apply {
            self.write(keys, &fates).await?;
        }
        Ok(fates.into_iter().map(|(fate, _)| fate).collect())
    }

    /// The target first and the source after it.
    async fn judge(&self, keys: &[Row]) -> Result<Vec<(Fate, Option<Written>)>, Failure> {
        let mapping = &self.table.mapping;
        let written = self.times.of(keys).await?;
        let flagged: Vec<bool> = match self.route.soft_delete {
            None => vec![false; keys.len()],
            Some(_) => {
                let rows = self.table.target.read_many(keys).await?;
                rows.iter().map(|row| row.as_ref().is_some_and(|row| mapping.is_soft_deleted(row))).collect()
            }
        };
        let owners = self.owners(keys).await?;
        let (now_ms, mut fates) = (now_ms(), Vec::with_capacity(keys.len()));
        for ((key, written), flagged) in keys.iter().zip(written).zip(flagged) {
            let owner = mapping.owner_of(key);
            let is_here = |row: &SourceRow| {
                mapping.standing(&row.values, now_ms) != Standing::Out && mapping.target_key(&row.values) == *key
            };
            let letter = self.letters.get(&owner).copied();
            let fate = match written {
                None => Fate::Gone,
                Some(_) if flagged => Fate::Gone,
                Some(_) if owners.get(&owner).is_some_and(is_here) => Fate::Belongs,
                Some(Written { last, .. }) => {
                    let version = version(last, self.cut, letter, now_ms.saturating_mul(1_000));
                    version.map_or_else(Fate::Spared, Fate::Swept)
                }
            };
            fates.push((fate, written));
        }
        Ok(fates)
    }

    async fn owners(&self, keys: &[Row]) -> Result<HashMap<Vec<Value>, SourceRow>, Failure> {
        let mapping = &self.table.mapping;
        let asked: HashSet<Vec<String>> = keys.iter().filter_map(|key| mapping.source_key_of(key)).collect();
        let asked: Vec<Vec<String>> = asked.into_iter().collect();
        let rows = if asked.is_empty() { Vec::new() } else { self.source.rows_with(&mapping.source, &asked).await? };
        let forms = mapping.source.forms();
        let rows = rows.into_iter().map(|row| decoded(mapping, &forms, row));
        Ok(rows.map(|row| (mapping.owner_of(&mapping.target_key(&row.values)), row)).collect())
    }

    /// The same statements, bounds and errors as those of a run.
    async fn write(&self, keys: &[Row], fates: &[(Fate, Option<Written>)]) -> Result<(), Failure> {
        let writes = keys.iter().zip(fates).filter_map(|(key, (fate, written))| match fate {
            Fate::Swept(version) => Some(self.write_of(key, *version, written.as_ref())),
            _ => None,
        });
        let batch = Batch {
            partition: TopicPartition { topic: self.route.topic.as_str().into(), partition: 0 },
            records: Vec::new(),
            writes: writes.collect(),
            rejects: Vec::new(),
            passed_over: 0,
            next_offset: 0,
        };
        if batch.writes.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new();
        let mut waiting_for = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.sink.write(&mut (), &batch).await {
                Outcome::Durable => return Ok(()),
                Outcome::Stop(why) => return Err(Failure::Stop(why)),
                Outcome::Rejected(rejected) => {
                    let why = rejected.first().map_or_else(String::new, |rejected| rejected.reject.to_string());
                    return Err(Failure::Stop(format!("Cassandra refused a delete: {why}")));
                }
                // The same versions again, which change nothing where they have arrived.
                Outcome::Retry(retry) => {
                    waiting_for = retry.waiting_for;
                    tokio::time::sleep(backoff.next_delay(rand::random())).await;
                }
            }
        }
        Err(Failure::Retry(waiting_for))
    }

    fn write_of(&self, key: &[Value], version: i64, written: Option<&Written>) -> Write {
        let mut values = vec![Value::Absent; self.route.columns.len()];
        self.route.key.iter().zip(key).for_each(|(at, value)| values[*at] = value.clone());
        let kind = match self.route.soft_delete {
            None => WriteKind::Delete,
            Some(flag) => {
                values[flag] = Value::Bool(true);
                WriteKind::Upsert
            }
        };
        // The flag of a row that ends does not outlast it by more than its time.
        let ends_at_ms = match self.route.ttl {
            Some(Ttl::Seconds(seconds)) if kind == WriteKind::Upsert => Some(now_ms() + i64::from(seconds) * 1_000),
            _ => None,
        };
        let position = written.and_then(|written| written.position);
        Write {
            record: 0,
            route: self.at,
            kind,
            expect: Expect::Any,
            version: Some(version),
            ends_at_ms,
            standing: Sent { position, ..Sent::default() },
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600_000_000;

    #[test]
    fn a_delete_is_above_what_was_seen_and_below_the_next_record() {
        // What V1 gives the record after the one that wrote this cell, at the earliest.
        for cell in [3_i64, 101, NOW - 1_001] {
            let delete = version(Some(cell), 0, None, NOW).expect("it may be swept");
            let next_insert = (cell - 1) + 2 + 1;
            assert!(cell < delete && delete < next_insert, "{cell}: {delete}");
            assert_eq!(delete % 2, 0, "deletes are even, and tie with no insert");
        }
    }

    #[test]
    fn cells_of_other_writers_are_covered_too() {
        for (cell, delete) in [(100, 102), (0, 2), (-5, 2), (1, 2), (i64::MIN, 2)] {
            assert_eq!(version(Some(cell), 0, None, NOW), Ok(delete), "{cell}");
        }
        assert_eq!(version(Some(NOW), 0, None, NOW), Ok(NOW + 2));
        assert_eq!(version(Some(NOW + 1), 0, None, NOW), Err(Spared::AheadOfClock));
        assert_eq!(version(Some(i64::MAX), 500, None, NOW), Err(Spared::AheadOfClock));
    }

    #[test]
    fn the_higher_of_the_two_numbers_is_taken() {
        assert_eq!(version(Some(101), 500, None, NOW), Ok(500));
        assert_eq!(version(Some(601), 500, None, NOW), Ok(602));
        assert_eq!(version(None, 500, None, NOW), Ok(500));
        assert_eq!(version(None, 0, None, NOW), Err(Spared::NoWriteTime));
    }

    #[test]
    fn a_row_with_a_newer_dead_letter_is_spared_until_it_is_redriven() {
        let spared = Err(Spared::DeadLetter);
        assert_eq!(version(Some(101), 500, Some(102), NOW), spared);
        assert_eq!(version(None, 500, Some(2), NOW), spared, "nobody knows which is newer");
        assert_eq!(version(Some(NOW + 9), 0, Some(NOW + 10), NOW), spared);
        assert_eq!(version(Some(103), 500, Some(102), NOW), Ok(500), "it was redriven, and wrote the row");
        assert_eq!(version(Some(203), 0, Some(102), NOW), Ok(204), "a later record wrote the row");
    }
}
