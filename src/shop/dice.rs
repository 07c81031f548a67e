//! Seeded randomness that no dependency can change: the ChaCha8 stream, and everything drawn from it spelled out here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use uuid::Uuid;

/// Draws from one seed. The ranges are computed here rather than by `rand`, whose algorithms may change between
/// versions: the same seed must give the same history, byte for byte, after any upgrade.
pub struct Dice {
    stream: ChaCha8Rng,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Dice { stream: ChaCha8Rng::from_seed(key) }
    }

    /// Evenly from `0..end`; 0 when that is empty. (The bias of the multiplication is below `end` in 2^64.)
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.stream.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Evenly from an inclusive range.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A place in a list that is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A random (version 4) uuid.
    pub fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.stream.next_u64()) << 64) | u128::from(self.stream.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
