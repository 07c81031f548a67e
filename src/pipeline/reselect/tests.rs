//! A row that moved and lacks values: what is asked of its source, and what is made of each answer.

use std::sync::Mutex;

use super::*;
use crate::pipeline::tests::{assignment, record, rig, upsert};
use crate::plan::write::Write;
use crate::record::TopicPartition;
use crate::sink::{Opened, Outcome};
use crate::version::Chain;

/// A sink that keeps what it is asked to write.
#[derive(Default)]
struct Kept(Mutex<Vec<Write>>);

impl Sink for Kept {
    type Partition = ();

    async fn open(&self, _: &TopicPartition, start_offset: i64, _: Option<&str>) -> Result<Opened<()>, Failure> {
        Ok(Opened { state: (), next_offset: start_offset })
    }

    async fn write(&self, _: &mut (), batch: &Batch) -> Outcome {
        self.0.lock().expect("no test panics with it").extend(batch.writes.iter().cloned());
        Outcome::Durable
    }
}

#[tokio::test(start_paused = true)]
async fn a_moved_row_waits_for_its_source_and_goes_with_what_that_has() {
    let mut rig = rig(Kept::default(), 10);
    let (given, mut hold) = assignment(0, Chain::START);
    tokio::spawn(rig.pipeline.clone().run(given));
    let moved = |offset, key| {
        let value = format!(r#"{{"op":"c","after":{{"id":{key},"a":1,"b":"__debezium_unavailable_value"}}}}"#);
        record(offset, key, Some(value))
    };
    let records = vec![moved(0, 5), moved(1, 6), moved(2, 7), upsert(3, 8)];
    records.iter().for_each(|record| hold.held.add(record));
    hold.chunks.send(records).await.expect("the worker lives");
    let unread = |class| Err(Unread::Refused(Reject::new(class, "planted")));
    let answers: [Answer; 4] = [
        Err(Unread::Failed(Failure::Retry("the source".into()))),
        Ok(Some(vec![Value::Int(42)])),
        Ok(None),
        unread(RejectClass::Unavailable),
    ];
    for (answer, key) in answers.into_iter().zip([5, 5, 6, 7]) {
        let request = rig.reselects.recv().await.expect("it asks");
        assert_eq!((&*request.table, &request.key[..]), ("public.docs", &[("id".to_string(), Value::Int(key))][..]));
        assert_eq!(request.columns, [("b".to_string(), Wire::Int64)]);
        request.answer.send(answer).expect("it waits");
    }
    let letter = rig.letters.recv().await.expect("the third is refused");
    assert_eq!((letter.letter.record.offset, letter.letter.reject.class), (2, RejectClass::Unavailable));
    letter.answer.send(Ok(())).expect("it waits");
    // The batch is planned again without it, and what the others lack is asked for again.
    for answer in [Ok(Some(vec![Value::Int(43)])), Ok(None)] {
        rig.reselects.recv().await.expect("it asks").answer.send(answer).expect("it waits");
    }
    hold.progress.wait_for(|progress| progress.next_offset == 4).await.expect("the worker lives");
    let writes = rig.pipeline.sink.0.lock().expect("no test panics with it");
    let values: Vec<&[Value]> = writes.iter().map(|write| &write.values[..]).collect();
    let (one, absent) = (Value::Int(1), Value::Absent);
    assert_eq!(values[0], [Value::Int(5), one.clone(), Value::Int(43)]);
    assert_eq!(values[1], [Value::Int(6), one, absent.clone()]);
    assert_eq!(values[2], [Value::Int(8), Value::Int(3), absent]);
}
