//! Letters on their way: not taken, too many, or under way when the partition is revoked.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::pipeline::tests::{Gated, assignment, record, rig, settle, upsert};
use crate::pipeline::{STOPPED_RETRY, State};
use crate::version::Chain;

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_not_taken_stops_the_partition_and_is_tried_again() {
    let mut rig = rig(Gated { permits: Semaphore::new(100), offsets: Mutex::default() }, 10);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    let chunk = vec![upsert(0, 1), record(1, 1, Some("broken".into())), upsert(2, 1)];
    hold.chunks.send(chunk).await.expect("the worker listens");
    let refused = rig.letters.recv().await.expect("a letter");
    assert_eq!((refused.letter.record.offset, refused.letter.version), (1, Some(1_000_002)));
    refused.answer.send(Err("the topic is gone".into())).expect("it is waited for");
    settle().await;
    assert_eq!(hold.progress.borrow().state, State::Stopped("the topic is gone".into()));
    assert_eq!(hold.progress.borrow().next_offset, 0);
    let before = tokio::time::Instant::now();
    let again = rig.letters.recv().await.expect("the letter again");
    assert!(before.elapsed() >= STOPPED_RETRY - Duration::from_millis(10));
    again.answer.send(Ok(())).expect("it is waited for");
    settle().await;
    let progress = hold.progress.borrow().clone();
    assert_eq!((progress.next_offset, hold.meters.dead_lettered.get(), progress.state), (3, 1, State::Running));
    hold.revoke.send(true).expect("the worker listens");
    worker.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_records_stops_in_front_of_its_batch_with_nothing_sent() {
    let mut rig = rig(Gated { permits: Semaphore::new(100), offsets: Mutex::default() }, 100);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    hold.chunks.send(vec![upsert(0, 1)]).await.expect("the worker listens");
    settle().await;
    let broken = |offset| record(offset, 1, Some("broken".into()));
    let flood = [upsert(1, 1)].into_iter().chain((2..23).map(broken)).collect();
    hold.chunks.send(flood).await.expect("the worker listens");
    tokio::time::sleep(10 * STOPPED_RETRY).await;
    let progress = hold.progress.borrow().clone();
    assert_eq!((progress.next_offset, hold.meters.dead_lettered.get()), (1, 0));
    assert!(matches!(progress.state, State::Stopped(why) if why.contains("21 records in a row")));
    assert!(rig.letters.try_recv().is_err(), "a letter was sent");
    hold.revoke.send(true).expect("the worker listens");
    worker.await.expect("it ends");
    assert_eq!(hold.progress.borrow().next_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_waits_a_little_for_a_letter_that_is_on_its_way() {
    for is_taken in [true, false] {
        let mut rig = rig(Gated { permits: Semaphore::new(100), offsets: Mutex::default() }, 10);
        let (given, hold) = assignment(0, Chain::START);
        let worker = tokio::spawn(rig.pipeline.clone().run(given));
        let chunk = vec![upsert(0, 1), record(1, 1, Some("broken".into()))];
        hold.chunks.send(chunk).await.expect("the worker listens");
        let letter = rig.letters.recv().await.expect("a letter");
        hold.revoke.send(true).expect("the worker listens");
        settle().await;
        assert!(!worker.is_finished(), "its letter is on its way");
        if is_taken {
            letter.answer.send(Ok(())).expect("it is waited for");
        }
        worker.await.expect("it ends");
        assert_eq!(hold.progress.borrow().next_offset, if is_taken { 2 } else { 0 });
    }
}
