//! Progress of one partition: what may be committed, and what already was.

use crate::mutation::{self, Mutation};

/// The highest next offset of a partition with everything below it durable. Batches finish in order, so one number
/// is enough and no set of intervals is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitWatermark {
    committed: i64,
    durable: i64,
}

impl CommitWatermark {
    pub fn new(committed: i64) -> Self {
        CommitWatermark { committed, durable: committed }
    }

    /// Everything below `next_offset` is durable. A lower offset than before changes nothing: the broker would
    /// accept a commit that goes backward (K4), so it is refused here. True when it is not lower.
    pub fn advance(&mut self, next_offset: i64) -> bool {
        let forward = next_offset >= self.durable;
        self.durable = self.durable.max(next_offset);
        forward
    }

    /// The offset to commit now, if there is news.
    pub fn pending(&self) -> Option<i64> {
        (self.durable > self.committed).then_some(self.durable + i64::from(mutation::is(Mutation::WatermarkSkipsHole)))
    }

    /// The broker has taken this offset.
    pub fn committed(&mut self, next_offset: i64) {
        self.committed = self.committed.max(next_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_backward() {
        let mut mark = CommitWatermark::new(10);
        assert_eq!(mark.pending(), None);
        mark.advance(12);
        mark.advance(11);
        assert_eq!(mark.pending(), Some(12));
        mark.committed(12);
        mark.advance(9);
        assert_eq!(mark.pending(), None);
    }
}
