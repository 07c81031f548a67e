//! Write versions: one number for each record, given once in partition order, and the form it is saved in.

/// A record timestamp after this is not believed (2100-01-01T00:00:00Z, in milliseconds).
const TIMESTAMP_MAX_MS: i64 = 4_102_444_800_000;

/// The versions of one partition (V1). The state is the last version given: a function of the log and of the
/// checkpoint it started from, never of a clock, so a former owner and the next one give the same versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    last: i64,
}

/// A record's version: what its delete is stamped with, in microseconds. Its insert is stamped one higher, so that
/// the two never tie and the insert of one record never outranks the delete of the next.
pub type Version = i64;

/// Why saved state was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    #[error("the commit carries no version state")]
    Missing,
    #[error("the commit's version state is not Rowferry's")]
    Foreign,
}

impl Chain {
    /// The chain of a partition that nobody has read yet.
    pub const START: Chain = Chain { last: 0 };

    /// Gives the next record its version. A timestamp that is absent, negative or beyond 2100 counts as 0.
    pub fn next(&mut self, timestamp_ms: Option<i64>) -> Version {
        let timestamp_ms = timestamp_ms.filter(|ms| (0..=TIMESTAMP_MAX_MS).contains(ms)).unwrap_or(0);
        self.last = (1000 * timestamp_ms).max(self.last + 2);
        self.last
    }

    pub fn last(&self) -> Version {
        self.last
    }

    /// The chain as it stands after the record with this version.
    pub fn after(version: Version) -> Chain {
        Chain { last: version }
    }

    /// The saved form: ASCII for the metadata of a commit (V2), far below the broker's limit of 4096 characters.
    pub fn save(&self) -> String {
        format!("rowferry:1:last={}", self.last)
    }

    /// Reads the saved form. A commit by another tool has none, and is refused rather than guessed.
    pub fn load(metadata: &str) -> Result<Chain, SavedError> {
        if metadata.is_empty() {
            return Err(SavedError::Missing);
        }
        let last = metadata.strip_prefix("rowferry:1:last=").and_then(|last| last.parse::<i64>().ok());
        match last {
            Some(last) if last >= 0 && last % 2 == 0 => Ok(Chain { last }),
            _ => Err(SavedError::Foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_follow_the_timestamp_and_rise_by_at_least_two() {
        let mut chain = Chain::START;
        let given: Vec<Version> = [Some(5), Some(5), Some(4), None, Some(-1), Some(i64::MAX), Some(6)]
            .into_iter()
            .map(|ms| chain.next(ms))
            .collect();
        assert_eq!(given, [5000, 5002, 5004, 5006, 5008, 5010, 6000]);
    }

    #[test]
    fn a_commit_without_our_state_is_refused() {
        assert_eq!(Chain::load(""), Err(SavedError::Missing));
        for foreign in ["x", "rowferry:1:last=", "rowferry:1:last=-2", "rowferry:1:last=3", "rowferry:2:last=4"] {
            assert_eq!(Chain::load(foreign), Err(SavedError::Foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn a_chain_resumed_anywhere_gives_the_same_versions(
            stamps in prop::collection::vec(prop::option::of(any::<i64>()), 1..50), cut in any::<prop::sample::Index>()
        ) {
            let mut whole = Chain::START;
            let versions: Vec<Version> = stamps.iter().map(|ms| whole.next(*ms)).collect();
            let cut = cut.index(stamps.len());
            let start = if cut == 0 { Chain::START } else { Chain::after(versions[cut - 1]) };
            let mut resumed = Chain::load(&start.save()).expect("our own form");
            let again: Vec<Version> = stamps[cut..].iter().map(|ms| resumed.next(*ms)).collect();
            prop_assert_eq!(&versions[cut..], &again[..]);
            prop_assert!(versions.iter().all(|version| version % 2 == 0 && *version > 0));
        }
    }
}
