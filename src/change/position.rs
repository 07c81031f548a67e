//! Positions: where in its source's stream a change stands. They order one connector's stream, so that what it sends
//! again can be told from what is new (V6). They are never a version.

use crate::mutation::{self, Mutation};

/// A position on the wire and in a target's column.
pub const POSITION_BYTES: usize = 20;

/// Where a streamed change of Postgres stands. A snapshot's row has position zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The end of the last commit before the change's own: `sequence[0]`, 0 where it is not known.
    pub commit_lsn: u64,
    /// The change's own place in the log.
    pub lsn: u64,
    /// The transaction's id, 0 where it is not known. It wraps, and orders nothing.
    pub tx_id: u32,
}

/// What a change says of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Names the stream: the connector's logical name and the database ([`Origin::source`]).
    pub source: u64,
    pub position: Position,
    /// When its transaction committed, in microseconds since 1970.
    pub ts_us: i64,
}

/// How a record stands to what its source has sent before, as it was found when the record was read, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// What a guarded target keeps of the record; `None` where the record does not say it.
    pub position: Option<Position>,
    /// The source may be sending it again, and the target row may be beyond it.
    pub suspect: bool,
    /// How far a suspect's source had come before it; `None` where that is not known.
    pub mark: Option<Position>,
    /// A suspect that is a batch of its own: nothing behind it is written before it is durable.
    pub alone: bool,
}

/// What a guarded target keeps of a row, or of its delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    /// The version of the write that left it there (V1).
    pub version: i64,
}

impl Stored {
    /// Whether the row has a change at this position already, or has done with it: by the write of an earlier record than
    /// the one that got this version, or by one at the mark or beyond. That one was no suspect or came behind one that
    /// was none, so it was not in the suspect's batch, and what was decided of the suspect then was durable before it.
    /// Of a suspect that is alone only its own write may not have arrived whole.
    pub fn holds(&self, position: Position, version: i64, standing: Standing) -> bool {
        let is_beyond = !self.position.is_before(position);
        let is_own = self.position == position && (version..=version + 1).contains(&self.version);
        if standing.alone {
            return is_beyond && !is_own;
        }
        // One reading gives a version and the next to one record alone. Another change has them from a reading before
        // a seek, where versions were no lower: so it is an earlier one.
        let is_earlier = self.version < version || (self.version <= version + 1 && self.position != position);
        let is_of_a_later_batch = standing.mark.is_some_and(|mark| !self.position.is_before(mark));
        is_beyond && (is_earlier || is_of_a_later_batch)
    }
}

impl Position {
    pub const ZERO: Position = Position { commit_lsn: 0, lsn: 0, tx_id: 0 };

    /// Whether its source sends it before the other. Within one transaction the change's own place decides alone: sent
    /// again, a half-sent transaction may carry another commit before it.
    pub fn is_before(self, other: Position) -> bool {
        if mutation::is(Mutation::GuardByLsnOnly) {
            return self.lsn < other.lsn;
        }
        if self.tx_id == other.tx_id && self.tx_id != 0 {
            return self.lsn < other.lsn;
        }
        (self.commit_lsn, self.lsn) < (other.commit_lsn, other.lsn)
    }

    /// Big-endian, in the order of the fields.
    pub fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        bytes[..8].copy_from_slice(&self.commit_lsn.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.lsn.to_be_bytes());
        bytes[16..].copy_from_slice(&self.tx_id.to_be_bytes());
        bytes
    }

    /// `None` when it is not of this form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Position> {
        let (commit_lsn, rest) = bytes.split_first_chunk::<8>()?;
        let (lsn, tx_id) = rest.split_first_chunk::<8>()?;
        Some(Position {
            commit_lsn: u64::from_be_bytes(*commit_lsn),
            lsn: u64::from_be_bytes(*lsn),
            tx_id: u32::from_be_bytes(tx_id.try_into().ok()?),
        })
    }
}

impl Origin {
    /// The number that stands for a stream.
    pub fn source(name: &str, database: &str) -> u64 {
        digest(&[name.as_bytes(), database.as_bytes()])
    }
}

/// FNV-1a over the parts with their bounds: the same in every release, because it is saved.
pub fn digest(parts: &[&[u8]]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    parts.iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        let length = (part.len() as u64).to_be_bytes();
        part.iter().chain(&length).copied().fold(hash, step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commit_lsn: u64, lsn: u64, tx_id: u32) -> Position {
        Position { commit_lsn, lsn, tx_id }
    }

    #[test]
    fn commits_order_transactions_and_lsns_order_one() {
        for (earlier, later) in [
            (at(10, 12, 1), at(10, 13, 1)),
            // Interleaved in the log, and delivered whole: the later commit has the earlier row.
            (at(10, 19, 1), at(20, 15, 2)),
            // Sent again, the transaction does not know the commit before it any more.
            (at(10, 12, 1), at(0, 13, 1)),
            (Position::ZERO, at(0, 1, 1)),
            // No id is no transaction.
            (at(10, 19, 0), at(20, 15, 0)),
        ] {
            assert!(earlier.is_before(later), "{earlier:?} {later:?}");
            assert!(!later.is_before(earlier), "{earlier:?} {later:?}");
        }
        assert!(!at(0, 12, 1).is_before(at(10, 12, 1)) && !at(10, 12, 1).is_before(at(0, 12, 1)), "the same change");
        assert!(!Position::ZERO.is_before(Position::ZERO));
    }

    #[test]
    fn a_row_holds_what_is_before_it_unless_a_later_record_wrote_it() {
        let suspect = at(10, 12, 1);
        let standing = Standing { suspect: true, ..Standing::default() };
        let holds =
            |position, version, mark| Stored { position, version }.holds(suspect, 6, Standing { mark, ..standing });
        assert!(holds(at(20, 15, 2), 4, None) && holds(suspect, 4, None));
        assert!(!holds(at(10, 11, 1), 4, None), "it is behind");
        assert!(
            !holds(suspect, 6, None) && !holds(suspect, 7, None),
            "its own write, which may not have arrived whole"
        );
        assert!(!holds(at(20, 15, 2), 8, None), "a later record");
        assert!(holds(at(20, 15, 2), 8, Some(at(20, 15, 2))), "of a later batch");
        assert!(holds(at(20, 15, 2), 6, None), "another change of this version: from before a seek");
        let alone =
            |position, version| Stored { position, version }.holds(suspect, 6, Standing { alone: true, ..standing });
        assert!(alone(at(20, 15, 2), 8) && alone(suspect, 8), "nothing later is written before it");
        assert!(!alone(suspect, 7) && !alone(at(10, 11, 1), 8), "its own write, and one that is behind");
    }

    #[test]
    fn bytes_are_big_endian_and_of_one_length() {
        let position = at(0x0102_0304_0506_0708, 0x1112_1314_1516_1718, 0x2122_2324);
        let bytes = position.to_bytes();
        assert_eq!(bytes[..9], [1, 2, 3, 4, 5, 6, 7, 8, 0x11]);
        assert_eq!(bytes[16..], [0x21, 0x22, 0x23, 0x24]);
        assert_eq!(Position::from_bytes(&bytes), Some(position));
        assert_eq!(Position::from_bytes(&at(u64::MAX, u64::MAX, u32::MAX).to_bytes()[..19]), None);
        assert_eq!(Position::from_bytes(&[0; 21]), None);
        assert_eq!(Position::from_bytes(&[]), None);
    }

    #[test]
    fn streams_are_told_apart_by_both_names() {
        assert_ne!(Origin::source("ab", "c"), Origin::source("a", "bc"));
        assert_ne!(Origin::source("a", ""), Origin::source("", "a"));
        // It is saved: another number would be another stream after an upgrade.
        assert_eq!(digest(&[]), 0xcbf2_9ce4_8422_2325);
    }
}
