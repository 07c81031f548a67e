//! A part of the rows in the place of all of them: of the source by a hash of the key, of the target by stretches of
//! the token ring. Every row of the part is compared whole, each direction in itself. Pure.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::sink::postgres::source::KeyShare;

/// How many rows of each side are looked at, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    of_10_000: u32,
    pub seed: u64,
}

/// In so many places of the ring, so that a few large partitions do not make the sample.
const STRETCHES: u64 = 64;

impl Sample {
    pub fn with_seed(self, seed: u64) -> Sample {
        Sample { seed, ..self }
    }

    /// How many of so many rows it takes, about; at least one.
    pub fn rows_of(&self, rows: u64) -> usize {
        usize::try_from(rows * u64::from(self.of_10_000) / 10_000).unwrap_or(usize::MAX).max(1)
    }

    /// The source's part.
    pub fn share(&self) -> KeyShare {
        KeyShare { of_10_000: self.of_10_000, seed: self.seed.cast_signed() }
    }

    /// The target's part, in rising order and apart from each other.
    pub fn stretches(&self) -> Vec<RangeInclusive<i64>> {
        let whole = u64::MAX / STRETCHES;
        let length = (u128::from(whole) * u128::from(self.of_10_000) / 10_000) as u64;
        // One place in every part of the ring: a multiplication spreads the seed over them.
        let place = |part: u64| (self.seed ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15) % (whole - length + 1);
        let from = |part: u64| part * whole + place(part);
        let token = |at: u64| at.cast_signed() ^ i64::MIN;
        (0..STRETCHES).map(|part| token(from(part))..=token(from(part) + length)).collect()
    }
}

impl FromStr for Sample {
    type Err = String;

    /// `5%`, `0.5%`
    fn from_str(text: &str) -> Result<Sample, String> {
        let told = || "write it as in 5% or 0.25%, more than 0% and less than 100%".to_string();
        let number: f64 = text.trim().strip_suffix('%').and_then(|number| number.parse().ok()).ok_or_else(told)?;
        let of_10_000 = (number * 100.0).round();
        if !(1.0..10_000.0).contains(&of_10_000) {
            return Err(told());
        }
        Ok(Sample { of_10_000: of_10_000 as u32, seed: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_others_refused() {
        let read = |text: &str| text.parse::<Sample>().map(|sample| sample.of_10_000);
        assert_eq!(read("5%"), Ok(500));
        assert_eq!(read("0.25%"), Ok(25));
        let rows_of = |text: &str| text.parse::<Sample>().map(|sample| sample.rows_of(5_000));
        assert_eq!((rows_of("50%"), rows_of("0.01%")), (Ok(2_500), Ok(1)));
        for wrong in ["5", "0%", "100%", "101%", "-1%", "0.001%", "NaN%", "x%", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stretches_are_apart_and_together_as_long_as_the_share() {
        for (text, seed) in [("5%", 0), ("0.01%", 7), ("99.99%", u64::MAX), ("50%", 1 << 40)] {
            let sample: Sample = text.parse().expect("a share");
            let stretches = sample.with_seed(seed).stretches();
            let apart = stretches.windows(2).all(|two| two[0].end() < two[1].start());
            assert!(apart && stretches.iter().all(|stretch| !stretch.is_empty()), "{text} {seed}");
            let length = |stretch: &RangeInclusive<i64>| stretch.end().abs_diff(*stretch.start()) as f64;
            let share = stretches.iter().map(length).sum::<f64>() / u64::MAX as f64;
            assert!((share * 10_000.0 - f64::from(sample.of_10_000)).abs() < 0.01, "{text}: {share}");
        }
        let of = |seed| "5%".parse::<Sample>().expect("a share").with_seed(seed).stretches();
        assert_ne!(of(1), of(2), "another run looks at other rows");
    }
}
