//! Checker (C): what a group has committed, looked at twenty times a second by a client of its own. It never goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::report::Report;
use crate::stack::client;

const INTERVAL: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(5);

/// A thread of its own, for asking blocks.
pub struct CommitWatch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    violations: Vec<String>,
    /// Next offsets, by topic and partition.
    highest: BTreeMap<(String, i32), i64>,
}

impl CommitWatch {
    /// Of the partitions that the topics have now.
    pub fn of(group: &str, topics: &[String; 2]) -> CommitWatch {
        let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
            asked.add_partition_range(topic, 0, metadata.topics()[0].partitions().len() as i32 - 1);
        }
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        CommitWatch { over, thread: thread::spawn(move || look(&consumer, &asked, &is_over)) }
    }

    /// Stops it, and writes down what it saw that must not be.
    pub fn ends(self, report: &mut Report) {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        eprintln!("commits: {} looks at {} partitions", seen.looks, seen.highest.len());
        assert!(seen.looks > 20 && !seen.highest.is_empty(), "it has hardly looked: {seen:?}");
        report.violations.extend(seen.violations);
    }
}

fn look(consumer: &BaseConsumer, asked: &TopicPartitionList, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        // While a coordinator is away there is nothing to see.
        if let Ok(committed) = consumer.committed_offsets(asked.clone(), TIMEOUT) {
            seen.look(&committed);
        }
        thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
    }
    seen
}

impl Seen {
    fn look(&mut self, committed: &TopicPartitionList) {
        self.looks += 1;
        for element in committed.elements() {
            let Offset::Offset(next_offset) = element.offset() else { continue };
            let highest = self.highest.entry((element.topic().into(), element.partition())).or_insert(next_offset);
            if next_offset < *highest {
                let place = format!("{}[{}]", element.topic(), element.partition());
                self.violations.push(format!("{place}: the commit went back from {highest} to {next_offset}"));
            }
            *highest = (*highest).max(next_offset);
        }
    }
}

#[test]
fn a_commit_that_goes_back_is_noticed() {
    let committed = |next_offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, next_offset).unwrap();
        list
    };
    let mut seen = Seen::default();
    for next_offset in [Offset::Invalid, Offset::Offset(3), Offset::Offset(3), Offset::Offset(5)] {
        seen.look(&committed(next_offset));
    }
    assert_eq!(seen.violations, [""; 0]);
    seen.look(&committed(Offset::Offset(4)));
    assert_eq!(seen.violations, ["t[0]: the commit went back from 5 to 4"]);
}
