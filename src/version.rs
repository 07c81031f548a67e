//! Write versions: one number for each record, given once in partition order, and the form it is saved in.

pub mod guard;

use std::fmt::Write as _;

use self::guard::Guard;
use crate::mutation::{self, Mutation};

/// A record timestamp after this is not believed (2100-01-01T00:00:00Z, in milliseconds).
const TIMESTAMP_MAX_MS: i64 = 4_102_444_800_000;

/// The longest metadata that goes with a commit: far below the broker's limit of 4096 characters.
pub const SAVED_BYTES_MAX: usize = 1024;

/// What the saved marks of a floor begin with.
const FLOOR: &str = "floor-";

/// The versions of one partition (V1). The state is the last version given: a function of the log and of the
/// checkpoint it started from, never of a clock, so a former owner and the next one give the same versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    last: i64,
    floor: Option<Floor>,
    /// What the source has sent so far, where some route asks for it (V6).
    guard: Guard,
}

/// The furthest checkpoint that a partition had when it was set back (V2). Below it records are read again, with
/// versions no higher than the first time; from it on, versions are above all that were ever given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    pub offset: i64,
    pub last: i64,
    /// What the source had sent by then: what it sends again behind the floor is known from it.
    pub guard: Guard,
}

/// A record's version: what its delete is stamped with, in microseconds. Its insert is stamped one higher, so that
/// the two never tie and the insert of one record never outranks the delete of the next.
pub type Version = i64;

/// Why saved state was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    #[error("the commit carries no version state")]
    Missing,
    #[error("the commit's version state is not Rowferry's")]
    Foreign,
}

impl Chain {
    /// The chain of a partition that nobody has read yet.
    pub const START: Chain = Chain { last: 0, floor: None, guard: Guard::NEW };

    /// Gives the record at this offset its version. A timestamp that is absent, negative or beyond 2100 counts as 0.
    pub fn next(&mut self, offset: i64, timestamp_ms: Option<i64>) -> Version {
        if let Some(floor) = self.floor.take_if(|floor| offset >= floor.offset)
            && !mutation::is(Mutation::FloorIgnored)
        {
            self.last = self.last.max(floor.last);
        }
        let timestamp_ms = timestamp_ms.filter(|ms| (0..=TIMESTAMP_MAX_MS).contains(ms)).unwrap_or(0);
        #[cfg(feature = "mutations")]
        let timestamp_ms = mutation::our_clock_ms().unwrap_or(timestamp_ms);
        let step = if mutation::is(Mutation::LastPlusOne) { 1 } else { 2 };
        self.last = (1000 * timestamp_ms).max(self.last + step);
        self.last
    }

    pub fn last(&self) -> Version {
        self.last
    }

    pub fn floor(&self) -> Option<Floor> {
        self.floor
    }

    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Whether the rewind guard was on for what was read.
    pub fn is_guarded(&self) -> bool {
        !self.guard.is_empty() || self.floor.is_some_and(|floor| !floor.guard.is_empty())
    }

    /// The chain with what the source has sent as of the same record; [`Guard::NEW`] where nobody asks for it.
    pub fn guarded(self, guard: Guard) -> Chain {
        Chain { guard, ..self }
    }

    /// The chain as it stands after the record at this offset got this version.
    pub fn after(self, offset: i64, version: Version) -> Chain {
        Chain { last: version, floor: self.floor.filter(|floor| offset < floor.offset), ..self }
    }

    /// The chain of a partition that stands at `next_offset` and is set back to an earlier one. It begins anew, so
    /// that no version is above the first one of its record, and the furthest checkpoint becomes its floor. So do the
    /// marks: the records are read again by us, and were not sent again by their source. At the floor the marks are
    /// what they were there.
    pub fn set_back(self, next_offset: i64) -> Chain {
        let here = Floor { offset: next_offset, last: self.last, guard: self.guard };
        let furthest = self.floor.filter(|floor| floor.offset >= next_offset);
        let floor = furthest.map_or(here, |floor| Floor { last: floor.last.max(self.last), ..floor });
        Chain { floor: Some(floor), ..Chain::START }
    }

    /// The chain of a partition that its topic got beside these: keys have moved to it from theirs, so that it goes on
    /// above all of them (V2). Beside none, it is the chain of a topic that nobody has read yet.
    pub fn beside(others: impl Iterator<Item = Chain>) -> Chain {
        Chain::above(others.map(|other| other.raised().last).max().unwrap_or_default())
    }

    /// Where a partition goes on whose commit, at `next_offset`, has lost its chain, and with which: a checkpoint is
    /// known that it once had (V2). The older of the two offsets is where reading begins.
    pub fn recover(checkpoint: Floor, next_offset: i64) -> (i64, Chain) {
        if next_offset < checkpoint.offset {
            (next_offset, Chain { last: 0, floor: Some(checkpoint), ..Chain::START })
        } else {
            (checkpoint.offset, Chain { last: checkpoint.last, ..Chain::START })
        }
    }

    /// The chain of a partition that is known to have given no version above this one, whatever it read before.
    pub fn above(version: Version) -> Chain {
        let version = version.max(0);
        Chain { last: version + version % 2, ..Chain::START }
    }

    /// The chain without its floor, above everything that it and its floor gave.
    pub fn raised(self) -> Chain {
        Chain { last: self.floor.map_or(self.last, |floor| floor.last.max(self.last)), ..Chain::START }
    }

    /// The saved form: ASCII for the metadata of a commit (V2). A chain without marks has the form that releases before
    /// the guard read.
    pub fn save(&self) -> String {
        let (last, form) = (self.last, self.form());
        let mut saved = format!("rowferry:{form}:last={last}");
        if let Some(Floor { offset, last, guard }) = &self.floor {
            // Writing into a string never fails.
            let _ = write!(saved, ":floor={last}@{offset}");
            guard.save(&mut saved, FLOOR);
        }
        self.guard.save(&mut saved, "");
        saved
    }

    fn form(&self) -> u8 {
        match (self.guard.is_empty(), self.floor) {
            (_, Some(floor)) if !floor.guard.is_empty() => 4,
            (true, None) => 1,
            (true, Some(_)) => 2,
            (false, _) => 3,
        }
    }

    /// Reads the saved form. A commit by another tool has none, and is refused rather than guessed.
    pub fn load(metadata: &str) -> Result<Chain, SavedError> {
        if metadata.is_empty() {
            return Err(SavedError::Missing);
        }
        Chain::parse(metadata).ok_or(SavedError::Foreign)
    }

    fn parse(metadata: &str) -> Option<Chain> {
        let version = |text: &str| text.parse::<i64>().ok().filter(|last| *last >= 0 && last % 2 == 0);
        let (form, rest) = metadata.strip_prefix("rowferry:")?.split_once(":last=")?;
        let mut parts = rest.split(':').peekable();
        let last = version(parts.next()?)?;
        let floor = match parts.next_if(|part| part.starts_with("floor=")) {
            None => None,
            Some(floor) => {
                let (floor_last, offset) = floor.strip_prefix("floor=")?.split_once('@')?;
                let offset = offset.parse::<i64>().ok().filter(|offset| *offset >= 0)?;
                let of_floor = std::iter::from_fn(|| parts.next_if(|part| part.starts_with(FLOOR)));
                let guard = Guard::load(of_floor.filter_map(|part| part.strip_prefix(FLOOR)))?;
                Some(Floor { offset, last: version(floor_last)?, guard })
            }
        };
        let chain = Chain { last, floor, guard: Guard::load(parts)? };
        (form == chain.form().to_string()).then_some(chain)
    }
}

#[cfg(test)]
mod tests;
