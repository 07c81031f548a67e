//! What the loop counts of a partition, and what is seen of one that comes and goes.

use std::sync::Mutex;

use super::*;
use crate::pipeline::STOPPED_RETRY;
use crate::pipeline::tests::{assignment, record, rig, routes, upsert};
use crate::sink::{Failure, Opened, Outcome, Retry, Sink};
use crate::version::Chain;

/// A sink that says what it was told to, and then that all is durable.
struct Scripted(Mutex<Vec<Outcome>>);

impl Sink for Scripted {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), _: &Batch) -> Outcome {
        self.0.lock().expect("no test panics with it").pop().unwrap_or(Outcome::Durable)
    }
}

fn away() -> Outcome {
    Outcome::Retry(Retry { next_offset: 0, waiting_for: "the sink".into(), parent: None })
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_counted_once_however_often_it_is_tried() {
    let mut rig = rig(Scripted(Mutex::new(vec![away(), away()])), 10);
    let (given, hold) = assignment(0, Chain::START);
    let worker = tokio::spawn(rig.pipeline.clone().run(given));
    let meters = hold.meters.clone();
    let deleted = record(1, 2, None);
    let (broken, heartbeat) = ("broken".to_string(), "{\"ts_ms\":1}".to_string());
    let chunk = vec![upsert(0, 1), deleted, record(2, 3, Some(broken)), record(3, 3, Some(heartbeat))];
    chunk.iter().for_each(|record| hold.held.add(record));
    hold.chunks.send(chunk).await.expect("the worker listens");
    let letter = rig.letters.recv().await.expect("a letter");
    assert_eq!((hold.held.records(), meters.finished.get(), meters.retries.get()), (4, 0, 0));
    assert!(meters.begun_ms.get() > 0 && meters.oldest_ms.get() == 1_000, "the record that comes first");
    letter.answer.send(Ok(())).expect("it is waited for");
    tokio::time::sleep(STOPPED_RETRY).await;
    assert_eq!((hold.held.records(), hold.held.bytes(), meters.finished.get(), meters.batches.get()), (0, 0, 4, 1));
    assert_eq!((meters.dead_lettered.get(), meters.passed_over.get(), meters.retries.get()), (1, 1, 2));
    assert_eq!(meters.rejects().collect::<Vec<_>>(), [(RejectClass::NotJson, 1)]);
    assert_eq!((meters.write.read().count(), meters.delay.read().count()), (3, 3), "the letter had no delay");
    assert_eq!((meters.begun_ms.get(), meters.oldest_ms.get()), (0, 0));
    let table = &meters.tables[0];
    assert_eq!((table.table.as_str(), table.upserts.get(), table.deletes.get()), ("docs", 1, 1));
    hold.revoke.send(true).expect("the worker lives");
    worker.await.expect("it ends");
}

#[test]
fn of_a_batch_that_is_durable_in_part_that_part_is_counted() {
    let routes = routes();
    let meters = PartitionMeters::of(&routes, "docs");
    let write = |record| crate::plan::write::Write {
        record,
        route: 0,
        kind: WriteKind::Upsert,
        expect: crate::plan::write::Expect::Any,
        version: None,
        ends_at_ms: None,
        standing: Default::default(),
        values: Vec::new(),
    };
    let records = (5..8).map(|offset| crate::plan::write::Versioned::new(upsert(offset, offset), 0)).collect();
    let partition = TopicPartition { topic: "docs".into(), partition: 0 };
    let writes = vec![write(0), write(1), write(2)];
    let batch = Batch { partition, records, writes, rejects: Vec::new(), passed_over: 0, next_offset: 8 };
    meters.wrote(&routes, &batch, 7);
    assert_eq!(meters.tables[0].upserts.get(), 2);
    let recent = |meters: &PartitionMeters| meters.tables[0].recent().iter().map(|row| row.offset).collect::<Vec<_>>();
    assert_eq!(recent(&meters), [5, 6]);
    meters.wrote(&routes, &batch, i64::MAX);
    assert_eq!(meters.tables[0].upserts.get(), 5);
    for _ in 0..4 {
        meters.wrote(&routes, &batch, i64::MAX);
    }
    assert_eq!(recent(&meters), [7, 5, 6, 7, 5, 6, 7, 5, 6, 7], "the last ones, and no more");
}

#[test]
fn classes_are_counted_in_the_order_of_their_list() {
    for (at, class) in RejectClass::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, at, "{}", class.as_str());
    }
}

#[test]
fn a_partition_is_seen_while_somebody_holds_it_and_keeps_its_counts() {
    let (meters, routes) = (Meters::default(), routes());
    let id = TopicPartition { topic: "docs".into(), partition: 3 };
    let own = |next_offset| {
        let (progress, seen) = watch::channel(Progress::at(next_offset, None));
        let (revoke, revoked) = watch::channel(false);
        (Arc::new(Live { progress: seen, revoked, held: Arc::default() }), progress, revoke)
    };
    let (live, progress, _revoke) = own(7);
    let counts = meters.begin(&id, &routes, &live);
    counts.finished.add(4);
    let seen = |of: fn(&Reading) -> Option<i64>| of(&meters.read()[0]);
    assert_eq!(seen(Reading::lag_records), None, "nobody has said where it ends");
    counts.end_offset.set(10);
    assert_eq!(seen(Reading::lag_records), Some(3));
    progress.send_modify(|progress| progress.next_offset = 12);
    assert_eq!(seen(Reading::lag_records), Some(0));
    drop(progress);
    assert!(matches!(live.progress().state, State::Stopped(why) if why.contains("by a bug")));
    drop(live);
    assert!(meters.read()[0].live.is_none(), "it is given up");
    let (live, _progress, _revoke) = own(12);
    let again = meters.begin(&id, &routes, &live);
    assert_eq!((again.finished.get(), meters.read().len()), (4, 1));
}

#[test]
fn a_wait_that_goes_on_keeps_its_beginning() {
    let meters = Meters::default();
    meters.starts(Some("Kafka"));
    let Doing::Starting(Some(first)) = meters.doing() else { panic!("it starts") };
    while now_ms() == first.since_ms {
        std::hint::spin_loop();
    }
    meters.starts(Some("Kafka"));
    assert_eq!(meters.doing(), Doing::Starting(Some(first.clone())));
    meters.starts(Some("Cassandra"));
    let Doing::Starting(Some(second)) = meters.doing() else { panic!("it starts") };
    assert!(second.since_ms > first.since_ms);
    meters.kafka_is_away(Some("one word"));
    let since_ms = meters.away().map(|away| away.since_ms);
    meters.kafka_is_away(Some("another"));
    assert_eq!(meters.away(), since_ms.map(|since_ms| Wait { what: "another".into(), since_ms }));
    meters.kafka_is_away(None);
    assert_eq!(meters.away(), None);
}
