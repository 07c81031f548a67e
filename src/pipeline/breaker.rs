//! The breaker of one partition: when dead letters come in a flood, it is not the records that are wrong. Pure: the
//! time is passed in.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::change::RejectClass;

/// What a partition may refuse before it stops. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Refused records with no good one between them.
    pub in_a_row_max: usize,
    /// Letters within any minute.
    pub per_minute_max: usize,
}

/// Counts what a partition refuses. It counts anew with each assignment.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    /// Refused in a row up to the end of the last finished batch.
    run: Tally,
    /// The records of the batch at hand in order, and why those of them are refused that are.
    batch: Vec<(i64, Option<RejectClass>)>,
    /// Letters of the last minute; kept where that is limited.
    sent: VecDeque<(Instant, RejectClass)>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Breaker {
    pub fn new(limits: BreakerLimits) -> Breaker {
        Breaker { limits, run: Tally::default(), batch: Vec::new(), sent: VecDeque::new() }
    }

    /// A batch with records at these offsets is about to be written.
    pub fn begin(&mut self, offsets: impl Iterator<Item = i64>) {
        self.batch.clear();
        self.batch.extend(offsets.map(|offset| (offset, None)));
    }

    /// These records of the batch are refused and about to get their letters. The error says that it is a flood, and
    /// how to go on: then none of them is to be sent.
    pub fn refuse(&mut self, now: Instant, refused: &[(i64, RejectClass)]) -> Result<(), String> {
        for (offset, class) in refused {
            if let Ok(at) = self.batch.binary_search_by_key(offset, |(offset, _)| *offset) {
                self.batch[at].1 = Some(*class);
            }
        }
        let row = self.longest_run();
        if exceeds(row.count(), self.limits.in_a_row_max) {
            let limit = format!("dead_letters_in_a_row_max = {}", self.limits.in_a_row_max);
            return Err(self.flood(&row, "records in a row", &limit));
        }
        if self.limits.per_minute_max > 0 {
            self.sent.retain(|(sent, _)| now.saturating_duration_since(*sent) < MINUTE);
            self.sent.extend(refused.iter().map(|(_, class)| (now, *class)));
            if exceeds(self.sent.len(), self.limits.per_minute_max) {
                let mut minute = Tally::default();
                self.sent.iter().for_each(|(_, class)| minute.add(*class));
                let limit = format!("dead_letters_per_minute_max = {}", self.limits.per_minute_max);
                return Err(self.flood(&minute, "records within a minute", &limit));
            }
        }
        Ok(())
    }

    /// The batch is durable. What has not been refused of it is good.
    pub fn finish(&mut self) {
        for (_, refused) in std::mem::take(&mut self.batch) {
            self.run.count_record(refused);
        }
    }

    /// The longest run that ends in the batch, as far as it is known. A record that is not refused yet counts as good,
    /// and the runs are counted again when it is refused after all.
    fn longest_run(&self) -> Tally {
        let mut run = self.run.clone();
        let mut longest = Tally::default();
        for (_, refused) in &self.batch {
            run.count_record(*refused);
            if run.count() > longest.count() {
                longest.clone_from(&run);
            }
        }
        longest
    }

    fn flood(&self, tally: &Tally, what: &str, limit: &str) -> String {
        let first = self.batch.first().map_or(0, |(offset, _)| *offset);
        format!(
            "a flood of dead letters: {} {what} are refused, most of them as {} (limits.{limit}). Nothing is lost: it \
             stands in front of offset {first}. Look at what is there with `cdcconsumer dead-letters list`, mend the \
             cause and start again; where they are to be dead letters, raise the limit (0 is none) and start again",
            tally.count(),
            tally.commonest()
        )
    }
}

fn exceeds(count: usize, max: usize) -> bool {
    max > 0 && count > max
}

/// Refused records by class.
#[derive(Debug, Clone, Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count_record(&mut self, refused: Option<RejectClass>) {
        match refused {
            Some(class) => self.add(class),
            None => self.0.clear(),
        }
    }

    fn add(&mut self, class: RejectClass) {
        *self.0.entry(class.as_str()).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.0.values().sum()
    }

    fn commonest(&self) -> &'static str {
        self.0.iter().max_by_key(|(_, count)| **count).map_or("", |(class, _)| class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::RejectClass::{NotJson, WrongType};

    fn breaker(in_a_row_max: usize, per_minute_max: usize) -> Breaker {
        Breaker::new(BreakerLimits { in_a_row_max, per_minute_max })
    }

    /// A batch of records from `first` on, `refused` of them.
    fn batch(breaker: &mut Breaker, first: i64, records: i64, refused: &[i64]) -> Result<(), String> {
        breaker.begin(first..first + records);
        let refused: Vec<(i64, RejectClass)> = refused.iter().map(|offset| (*offset, WrongType)).collect();
        breaker.refuse(Instant::now(), &refused)?;
        breaker.finish();
        Ok(())
    }

    #[test]
    fn a_run_goes_on_over_batches_and_a_good_record_ends_it() {
        let mut counts = breaker(3, 0);
        assert_eq!(batch(&mut counts, 0, 3, &[1, 2]), Ok(()));
        assert_eq!(batch(&mut counts, 3, 2, &[3]), Ok(()), "three in a row are allowed");
        assert_eq!(batch(&mut counts, 5, 4, &[6, 7, 8]), Ok(()));
        assert!(batch(&mut counts, 9, 1, &[9]).is_err(), "the fourth is not");
        assert!(batch(&mut breaker(3, 0), 0, 9, &[2, 3, 4, 5]).is_err(), "in the middle of a batch");
    }

    #[test]
    fn records_that_the_sink_refuses_later_join_the_runs_of_those_refused_before() {
        let mut counts = breaker(3, 0);
        counts.begin(0..6);
        assert_eq!(counts.refuse(Instant::now(), &[(1, NotJson), (3, NotJson)]), Ok(()));
        assert_eq!(counts.refuse(Instant::now(), &[(2, WrongType)]), Ok(()));
        let told = counts.refuse(Instant::now(), &[(0, WrongType), (4, WrongType)]).expect_err("five in a row");
        insta::assert_snapshot!(told, @"a flood of dead letters: 5 records in a row are refused, most of them as wrong_type (limits.dead_letters_in_a_row_max = 3). Nothing is lost: it stands in front of offset 0. Look at what is there with `cdcconsumer dead-letters list`, mend the cause and start again; where they are to be dead letters, raise the limit (0 is none) and start again");
    }

    #[test]
    fn gaps_in_the_offsets_end_no_run() {
        let mut counts = breaker(1, 0);
        counts.begin([4, 9].into_iter());
        assert!(counts.refuse(Instant::now(), &[(9, NotJson), (4, NotJson)]).is_err());
    }

    #[test]
    fn a_minute_slides() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counts = breaker(0, 2);
        counts.begin(0..9);
        assert_eq!(counts.refuse(at(0), &[(0, NotJson)]), Ok(()));
        assert_eq!(counts.refuse(at(30), &[(2, NotJson)]), Ok(()));
        assert_eq!(counts.refuse(at(60), &[(4, NotJson)]), Ok(()), "the first is a minute ago");
        let told = counts.refuse(at(89), &[(6, WrongType)]).expect_err("three within a minute");
        assert!(told.contains("3 records within a minute are refused, most of them as not_json"), "{told}");
    }

    #[test]
    fn without_limits_nothing_is_a_flood_and_nothing_is_kept() {
        let mut counts = breaker(0, 0);
        let all: Vec<i64> = (0..10_000).collect();
        assert_eq!(batch(&mut counts, 0, 10_000, &all), Ok(()));
        assert!(counts.sent.is_empty());
    }
}
