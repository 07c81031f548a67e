//! A row's history from records made by hand: which are its own, what is planned, and how well versions are known.

use rowferry::plan::route::{RouteSpec, TargetTable};
use rowferry::row::Column;

use super::*;

/// Orders, and the same by their users: there they move.
fn routes() -> Arc<Routes> {
    let columns = [("order_id", Kind::Int64), ("user_id", Kind::Int64), ("note", Kind::Text)];
    let table = |name: &str, key: &[&str]| {
        let columns = columns.iter().map(|(name, kind)| Column { name: name.to_string(), kind: kind.clone() });
        let key = key.iter().map(|name| name.to_string()).collect();
        (name.to_string(), TargetTable { name: name.into(), columns: columns.collect(), key })
    };
    let tables = BTreeMap::from([table("orders", &["order_id"]), table("by_user", &["user_id", "order_id"])]);
    let spec = |table: &str| {
        let types = [("id", "bigint"), ("user_id", "bigint"), ("note", "text")];
        let mut spec = RouteSpec::new("t", table, &["id"]).typed(&types);
        spec.renamed.insert("order_id".into(), "id".into());
        spec
    };
    Arc::new(Routes::resolve(&[spec("orders"), spec("by_user")], &tables).expect("the routes fit the tables"))
}

fn record(offset: i64, timestamp_ms: i64, key: i64, value: Option<&str>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp_ms: Some(timestamp_ms),
        key: Some(format!(r#"{{"id":{key}}}"#).into()),
        value: value.map(|value| value.to_string().into()),
        headers: [].into(),
    }
}

/// Reads these records from the first one on, for the row with this key.
fn found(table: &str, key: &[i64], chain: Chain, records: &[Record]) -> (Vec<Event>, Read) {
    let begin = records.first().map_or(0, |record| record.offset);
    let start = Start { partition: 0, begin, chain, lost_versions: false, compacted: false };
    let key: Vec<Value> = key.iter().map(|part| Value::Int(*part)).collect();
    let mut history = History::new(&routes(), "t", table, &key, &[start], 1 << 20);
    records.iter().cloned().for_each(|record| history.add(record));
    let (events, mut read) = history.into_found();
    (events, read.remove(0))
}

fn told(events: &[Event]) -> String {
    let write = |write: &Planned| {
        let key: Vec<&str> = write.key.iter().map(|(_, value)| value.as_str()).collect();
        let asked = if write.asked { "" } else { " elsewhere" };
        format!("{:?} {}{asked} @{}", write.kind, key.join(","), write.timestamp)
    };
    let event = |event: &Event| {
        let outcome = match &event.outcome {
            Outcome::Writes(writes) => writes.iter().map(write).collect::<Vec<_>>().join("; "),
            Outcome::Refused { class, why } => format!("{class}: {why}"),
            Outcome::Stops(why) => why.clone(),
        };
        format!("{} {} {}: {outcome}\n", event.offset, event.op, event.version)
    };
    events.iter().map(event).collect()
}

const CREATE: &str = r#"{"op":"c","after":{"id":1,"user_id":7,"note":"a"}}"#;
const OTHER: &str = r#"{"op":"c","after":{"id":2,"user_id":7,"note":"b"}}"#;
const MOVE: &str = r#"{"op":"u","before":{"id":1,"user_id":7,"note":"a"},"after":{"id":1,"user_id":8,"note":"a"}}"#;
const DELETE: &str = r#"{"op":"d","before":{"id":1,"user_id":8,"note":"a"}}"#;

#[test]
fn a_row_is_told_whole_though_it_moves_and_its_neighbours_are_not() {
    let records = [
        record(0, 5, 1, Some(CREATE)),
        record(1, 5, 2, Some(OTHER)),
        record(2, 5, 1, Some(MOVE)),
        record(3, 9, 1, Some("{")),
        record(4, 9, 2, Some("{")),
        record(5, 9, 1, Some(DELETE)),
        record(6, 9, 1, None),
    ];
    let (events, read) = found("by_user", &[7, 1], Chain::START, &records);
    insta::assert_snapshot!(told(&events), @r"
    0 create 5000: Upsert 7,1 @5001
    2 update 5004: Delete 7,1 @5004; Upsert 8,1 elsewhere @5005
    3 unreadable 9000: not_json: the value ends after 1 bytes in the middle of JSON (t → orders, by_user)
    5 delete 9004: Delete 8,1 elsewhere @9004
    6 tombstone 9006: 
    ");
    assert_eq!((read.records, read.certainty), (7, Certainty::Exact));
    let (events, _) = found("orders", &[2], Chain::START, &records);
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn what_the_group_has_saved_says_how_well_versions_are_known() {
    let records = [record(4, 5, 1, Some(CREATE)), record(5, 5, 1, Some(MOVE)), record(6, 1, 1, Some(DELETE))];
    // The group has read all but the last record; 5002 is what a reading from here comes to.
    let saved = |last: i64| Chain::above(last).set_back(6);
    let certainty = |chain: Chain| {
        let (events, read) = found("orders", &[1], chain, &records);
        (read.certainty_at(5), read.certainty_at(6), events[2].version)
    };
    assert_eq!(certainty(saved(5_002)), (Certainty::UnlessExpired, Certainty::Exact, 5_004));
    assert_eq!(certainty(saved(9_000)), (Certainty::AtLeast, Certainty::Exact, 9_002));
    let from_the_first: Vec<Record> =
        records.iter().map(|record| Record { offset: record.offset - 4, ..record.clone() }).collect();
    let (_, read) = found("orders", &[1], Chain::above(5_002).set_back(2), &from_the_first);
    assert_eq!(read.certainty, Certainty::Exact);
    // All that the group had read is gone.
    let (events, read) = found("orders", &[1], Chain::above(9_000), &records);
    assert_eq!((read.certainty, events[0].version), (Certainty::Exact, 9_002));
}

#[test]
fn only_the_newest_events_are_kept() {
    let records: Vec<Record> = (0..EVENTS_MAX as i64 + 3).map(|offset| record(offset, 5, 1, Some(CREATE))).collect();
    let start = Start { partition: 0, begin: 0, chain: Chain::START, lost_versions: true, compacted: false };
    let mut history = History::new(&routes(), "t", "orders", &[Value::Int(1)], &[start], 1 << 20);
    records.into_iter().for_each(|record| history.add(record));
    assert_eq!(history.left_out, 3);
    let (events, read) = history.into_found();
    assert_eq!((events.len(), events[0].offset), (EVENTS_MAX, 3));
    assert_eq!(read[0].certainty_at(i64::MAX), Certainty::Unknown, "another tool moved the group");
}
