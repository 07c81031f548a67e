//! Owning a partition: where a commit lets its new owner begin, and what of an owner's progress may be committed.
//!
//! Decisions alone. `kafka` asks Kafka, carries them out and words them; the simulator plays the same ones.

use crate::mutation::{self, Mutation};
use crate::version::{Chain, SavedError};
use crate::watermark::CommitWatermark;

/// Numbers the assignments of a process. What a worker of one finished counts for no other (K4).
pub type Epoch = u64;

/// Why the owner of a partition cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstartable {
    /// The group has no commit for it.
    NoCommit,
    /// The commit's offset is no longer there: what lies before `low` has expired unread.
    Expired { next_offset: i64, low: i64 },
    /// The commit says nothing of the versions.
    Versions { next_offset: i64, error: SavedError },
    /// The group stood behind the end: the topic was truncated, or it is another one of the same name.
    Truncated { furthest: i64, high: i64 },
}

/// Where the owner begins: at the group's next offset, with the versions that go with it, where they are `versioned`.
/// `saved` reads them off the commit. The partition has the offsets from `low` up to, without it, `high`.
pub fn start(
    next_offset: Option<i64>,
    saved: impl FnOnce() -> Result<Chain, SavedError>,
    versioned: bool,
    low: i64,
    high: i64,
) -> Result<(i64, Option<Chain>), Unstartable> {
    let next_offset = next_offset.ok_or(Unstartable::NoCommit)?;
    if next_offset < low {
        return Err(Unstartable::Expired { next_offset, low });
    }
    let chain = if versioned { Some(saved()) } else { None };
    let chain = chain.transpose().map_err(|error| Unstartable::Versions { next_offset, error })?;
    // Where it stood before it was set back counts as well.
    let furthest = chain.and_then(|chain| chain.floor()).map_or(next_offset, |floor| floor.offset.max(next_offset));
    if furthest > high {
        return Err(Unstartable::Truncated { furthest, high });
    }
    Ok((next_offset, chain))
}

/// One assignment of a partition as its committer keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    epoch: Epoch,
    watermark: CommitWatermark,
    /// The versions as of the last progress.
    chain: Option<Chain>,
}

impl Tenure {
    /// The assignment begins where the group's commit stands.
    pub fn begin(epoch: Epoch, next_offset: i64, chain: Option<Chain>) -> Tenure {
        Tenure { epoch, watermark: CommitWatermark::new(next_offset), chain }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A worker has finished everything below `next_offset`. One of another assignment is not listened to.
    pub fn report(&mut self, epoch: Epoch, next_offset: i64, chain: Option<Chain>) {
        if epoch != self.epoch && !mutation::is(Mutation::OldEpochAccepted) {
            return;
        }
        if self.watermark.advance(next_offset) {
            self.chain = chain;
        }
    }

    /// The offset to commit now and the versions that go with it, if there is news.
    pub fn pending(&self) -> Option<(i64, Option<Chain>)> {
        self.watermark.pending().map(|next_offset| (next_offset, self.chain))
    }

    /// The broker has taken this offset.
    pub fn committed(&mut self, next_offset: i64) {
        self.watermark.committed(next_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next_offset: i64, saved: &str, low: i64, high: i64) -> Result<(i64, Option<Chain>), Unstartable> {
        start(Some(next_offset), || Chain::load(saved), true, low, high)
    }

    #[test]
    fn an_owner_begins_only_where_nothing_is_skipped_and_the_versions_are_known() {
        let saved = "rowferry:1:last=8";
        assert_eq!(at(5, saved, 5, 5), Ok((5, Chain::load(saved).ok())));
        assert_eq!(at(4, saved, 5, 9), Err(Unstartable::Expired { next_offset: 4, low: 5 }));
        assert_eq!(at(6, saved, 0, 5), Err(Unstartable::Truncated { furthest: 6, high: 5 }));
        let set_back = "rowferry:2:last=0:floor=8@6";
        assert_eq!(at(2, set_back, 0, 5), Err(Unstartable::Truncated { furthest: 6, high: 5 }));
        assert_eq!(at(2, set_back, 0, 6), Ok((2, Chain::load(set_back).ok())));
        let missing = Unstartable::Versions { next_offset: 2, error: SavedError::Missing };
        assert_eq!(at(2, "", 0, 6), Err(missing));
        assert_eq!(start(None, || Ok(Chain::START), true, 0, 6), Err(Unstartable::NoCommit));
        assert_eq!(start(Some(2), || Err(SavedError::Missing), false, 0, 6), Ok((2, None)));
    }

    #[test]
    fn what_is_committed_is_of_this_assignment_and_never_goes_back() {
        let chain = |last| Some(Chain::above(last));
        let mut tenure = Tenure::begin(7, 10, chain(100));
        assert_eq!(tenure.pending(), None);
        tenure.report(6, 30, chain(300));
        assert_eq!(tenure.pending(), None, "a former assignment");
        tenure.report(7, 12, chain(120));
        tenure.report(7, 11, chain(110));
        assert_eq!(tenure.pending(), Some((12, chain(120))), "an offset goes with its own versions");
        tenure.committed(12);
        tenure.report(7, 12, chain(120));
        assert_eq!(tenure.pending(), None);
    }
}
