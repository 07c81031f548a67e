//! Large records of two partitions that together have more than all the room there is.

use std::sync::Mutex;

use crate::pipeline::tests::{assignment, record, rig};
use crate::plan::write::Batch;
use crate::record::TopicPartition;
use crate::sink::{Failure, Opened, Outcome, Retry, Sink};
use crate::version::Chain;

use super::*;

/// The partition that begins here cannot be written, in this way; every other can.
const STUCK: i64 = 0;

struct Stuck {
    outcome: Outcome,
    /// The values that each attempt for the stuck partition found.
    found: Mutex<Vec<usize>>,
}

impl Sink for Stuck {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        assert_eq!(batch.records.len(), 1, "a large record is a batch of its own");
        if batch.records[0].record.offset != STUCK {
            return Outcome::Durable;
        }
        self.found.lock().expect("no test panics with it").push(batch.writes.len());
        self.outcome.clone()
    }
}

fn large(offset: i64) -> Record {
    let text = "x".repeat(LARGE_BYTES_MAX);
    record(offset, offset, Some(format!(r#"{{"op":"c","after":{{"id":{offset},"a":1}},"filler":"{text}"}}"#)))
}

async fn others_go_on_beside(outcome: Outcome) {
    let rig = rig(Stuck { outcome, found: Mutex::default() }, 10);
    let (stuck, hold_stuck) = assignment(STUCK, Chain::START);
    tokio::spawn(rig.pipeline.clone().run(stuck));
    hold_stuck.chunks.send(vec![large(STUCK), large(STUCK + 1)]).await.expect("the worker lives");
    let found = || rig.pipeline.sink.found.lock().expect("no test panics with it").clone();
    while found().is_empty() {
        tokio::task::yield_now().await;
    }
    let (other, mut hold) = assignment(100, Chain::START);
    tokio::spawn(rig.pipeline.clone().run(other));
    hold.chunks.send(vec![large(100), record(101, 101, None), large(102)]).await.expect("the worker lives");
    hold.progress.wait_for(|progress| progress.next_offset == 103).await.expect("the worker lives");
    while found().len() < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(found().iter().all(|writes| *writes == 1), "its write is there at every attempt");
    assert_eq!(hold_stuck.progress.borrow().next_offset, STUCK);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_waits_takes_no_room() {
    let parent = None;
    others_go_on_beside(Outcome::Retry(Retry { next_offset: STUCK, waiting_for: "a table".into(), parent })).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_stopped_takes_no_room() {
    others_go_on_beside(Outcome::Stop("a table".into())).await;
}
