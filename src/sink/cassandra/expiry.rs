//! Rows that end by themselves: what is left of a row's time when it is written.
//!
//! A record says when its row ends, and Cassandra wants to be told how long it lives from now. So the same record, sent
//! again later, carries less time at the same timestamp. What holds:
//!
//! - The coordinator adds the time to the whole second that its clock shows. So we count from the second that ours shows
//!   to the end's, rounded up: copies of a record that are sent in different seconds end in the same one.
//! - At equal timestamps the expiring cell that ends last wins (C1), on every replica and in whatever order they come. The
//!   copies of one record differ only by the seconds that went by on the way to the coordinator, and by how far its clock
//!   is from ours. So a row ends with the latest of its copies: never before its time as the clock of its coordinator has
//!   it, unless that is behind ours, and after it by less than a second and those two.
//! - Once nothing is left the row is a DELETE at the record's version `v`, not at `v + 1`. It removes what the older
//!   records left, which may have no end, or a later one. At `v + 1` it would tie with an insert, and deletes would not be
//!   even any more: another chain's insert may have that very number, and the tombstone would win over a live row (C1).
//!   At `v` it also leaves alone the copy of its own insert that somebody wrote whose clock is behind: that copy ends by
//!   itself. So the row ends the same whoever writes last.
//! - A column that a record does not bring keeps its cell, and with it the end of the record that brought it. So the plan
//!   asks for unavailable columns where rows end.
//! - Another `ttl` in the configuration does not shorten or lift what is already written when the same records are read
//!   again: the later end wins, and an end wins over none. It holds from the next record of a row on.

use std::time::{SystemTime, UNIX_EPOCH};

/// The longest time to live that Cassandra takes: 20 years.
pub const TTL_SECONDS_MAX: u32 = 20 * 365 * 24 * 60 * 60;

/// What `USING TTL 0` means: no end, whatever the table's default is.
pub const TTL_NONE: i32 = 0;

/// What is left of a row's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Seconds(i32),
    Nothing,
    /// More than Cassandra takes.
    TooMuch,
}

/// What is left at `now_ms` of the time of a row that ends at `ends_at_ms`, in seconds from the one that has begun to the
/// first one behind the end. Both in milliseconds since 1970.
pub fn left(ends_at_ms: Option<i64>, now_ms: i64) -> Left {
    let Some(ends_at_ms) = ends_at_ms else { return Left::Seconds(TTL_NONE) };
    if ends_at_ms <= now_ms {
        return Left::Nothing;
    }
    // Both divisions round down, and the end is not the least number.
    let seconds = (ends_at_ms - 1).div_euclid(1_000) + 1 - now_ms.div_euclid(1_000);
    match i32::try_from(seconds) {
        Ok(seconds) if seconds.unsigned_abs() <= TTL_SECONDS_MAX => Left::Seconds(seconds),
        Ok(_) | Err(_) => Left::TooMuch,
    }
}

/// Our clock, which says what is left and never what wins.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_in_the_seconds_of_the_clock_and_has_a_limit() {
        assert_eq!(left(None, 5), Left::Seconds(TTL_NONE));
        assert_eq!(left(Some(10_000), 9_999), Left::Seconds(1));
        assert_eq!(left(Some(10_000), 9_000), Left::Seconds(1));
        assert_eq!(left(Some(10_000), 8_999), Left::Seconds(2));
        // Seconds of the clock and not of the time between: the end is in the same one whenever it is counted.
        for (now_ms, seconds) in [(9_999, 2), (9_000, 2), (8_999, 3), (10_000, 1)] {
            assert_eq!(left(Some(10_001), now_ms), Left::Seconds(seconds), "at {now_ms}");
        }
        assert_eq!(left(Some(1), -1), Left::Seconds(2));
        for over in [10_000, 10_001, i64::MAX] {
            assert_eq!(left(Some(10_000), over), Left::Nothing);
        }
        assert_eq!(left(Some(i64::MIN), 5), Left::Nothing);
        assert_eq!(left(Some(i64::from(TTL_SECONDS_MAX) * 1_000), 0), Left::Seconds(630_720_000));
        assert_eq!(left(Some(i64::from(TTL_SECONDS_MAX) * 1_000 + 1), 0), Left::TooMuch);
        assert_eq!(left(Some(i64::MAX), -1), Left::TooMuch);
    }
}
