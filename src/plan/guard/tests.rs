//! Suspects in a batch: what folding keeps for them, and what is left of them once the target was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use insta::assert_snapshot;

use super::*;
use crate::change::Decoded;
use crate::format::Decoder;
use crate::plan::Draft;
use crate::plan::route::{RewindGuard, RouteSpec, TargetTable};
use crate::plan::write::Versioned;
use crate::record::{Record, TopicPartition};
use crate::row::{Column, Format, Kind};
use crate::version::guard::Guard;

fn table(name: &str, columns: &[(&str, Kind)], key: &[&str]) -> (String, TargetTable) {
    let columns = columns.iter().map(|(name, kind)| Column { name: name.to_string(), kind: kind.clone() }).collect();
    let key = key.iter().map(|name| name.to_string()).collect();
    (name.into(), TargetTable { name: name.into(), columns, key })
}

fn tables() -> BTreeMap<String, TargetTable> {
    let row =
        [("id", Kind::Int64), ("owner", Kind::Int64), ("a", Kind::Int64), ("b", Kind::Int64), ("at", Kind::Bytes)];
    let of = |name, columns: &[usize], key: &[&str]| {
        let columns: Vec<(&str, Kind)> = columns.iter().map(|at| row[*at].clone()).collect();
        table(name, &columns, key)
    };
    BTreeMap::from([
        of("docs", &[0, 2, 3, 4], &["id"]),
        of("docs_deletes", &[0, 4], &["id"]),
        of("by_owner", &[0, 1, 2, 4], &["owner", "id"]),
        of("by_owner_deletes", &[0, 1, 4], &["owner", "id"]),
        of("plain", &[0, 2, 3], &["id"]),
        table("number", &[("id", Kind::Int64), ("a", Kind::Int64), ("at", Kind::Int64)], &["id"]),
    ])
}

fn spec(table: &str) -> RouteSpec {
    let types = [("id", "bigint"), ("owner", "bigint"), ("a", "bigint"), ("b", "bigint")];
    RouteSpec::new("docs", table, &["id"]).typed(&types)
}

fn guarded(table: &str) -> RouteSpec {
    let (column, deletes_table) = ("at".into(), format!("{table}_deletes"));
    let guard = Some(RewindGuard { column, deletes_table, deletes_ttl_seconds: 60 });
    RouteSpec { guard, ..spec(table) }
}

/// The batch of these changes: what stands before `lsn|` is its place, `c` and `u` bring an image, `d` none, `r` is of a
/// snapshot and `t` is a tombstone.
fn batch(routes: &Arc<Routes>, guard: &mut Guard, changes: &[&str]) -> Batch {
    let mut decoder = Decoder::new(&routes.topics[0].shape, 1 << 20);
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "docs".into(), partition: 0 }, 0);
    for (offset, change) in (0..).zip(changes) {
        let [lsn, op, id, rest] = change.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{change}") };
        let source = format!(
            r#""source":{{"name":"s","db":"d","sequence":"[\"1\",\"{lsn}\"]","lsn":{lsn},"txId":0,"ts_us":0}}"#
        );
        let image = format!(r#"{{"id":{id}{rest}}}"#);
        let value = match op {
            "t" => None,
            "d" => Some(format!(r#"{{"op":"d","before":{image},{source}}}"#)),
            "r" => Some(format!(r#"{{"op":"r","after":{image},{source}}}"#)),
            op => {
                let (before, after) = rest.split_once("->").unwrap_or((rest, rest));
                let image = |rest: &str| format!(r#"{{"id":{id}{rest}}}"#);
                Some(format!(r#"{{"op":"{op}","before":{},"after":{},{source}}}"#, image(before), image(after)))
            }
        };
        let record = Record {
            topic: "docs".into(),
            partition: 0,
            offset,
            timestamp_ms: None,
            key: Some(format!(r#"{{"id":{id}}}"#).into()),
            value: value.map(Into::into),
            headers: [].into(),
        };
        let read = |versioned: &mut Versioned| {
            let decoded: Decoded = decoder.decode(&versioned.record);
            versioned.standing = guard.stand(versioned.record.key.as_deref(), &decoded).0;
            decoded
        };
        draft.push(Versioned::new(record, 100 + 10 * offset), read);
    }
    draft.take()
}

fn shown(routes: &Routes, batch: &Batch) -> String {
    let line = |write: &Write| {
        let route = &routes.routes[write.route];
        let values = route.columns.iter().zip(&write.values).filter(|(_, value)| value.is_sent());
        let values: Vec<String> = values.map(|(column, value)| format!("{}={value:?}", column.name)).collect();
        let lsn = write.standing.position.map_or("-".into(), |position| position.lsn.to_string());
        let suspect = if write.standing.suspect { "?" } else { "" };
        format!("{:?} {} {} lsn {lsn}{suspect}", write.kind, route.table, values.join(" "))
    };
    batch.writes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The batch as it was planned, then as it is settled against what is stored of each row that is asked for.
fn settled(specs: &[RouteSpec], changes: &[&str], stored: &[Option<(u64, i64)>]) -> String {
    let routes = Arc::new(Routes::resolve(specs, &tables()).expect("the routes fit"));
    let mut batch = batch(&routes, &mut Guard::default(), changes);
    let planned = shown(&routes, &batch);
    let rows = asked(&routes, &batch);
    let stored = stored.iter().map(|stored| {
        stored.map(|(lsn, version)| Stored { position: Position { commit_lsn: 1, lsn, tx_id: 0 }, version })
    });
    assert_eq!(stored.len(), rows.len(), "rows asked for: {planned}");
    let dropped = settle(&routes, &mut batch, &rows, stored.collect());
    format!("{planned}\n--- {dropped} dropped\n{}", shown(&routes, &batch))
}

#[test]
fn a_suspect_covers_nothing_and_what_it_is_judged_by_stays() {
    // The target has the row as of 9: what was sent again up to there is dropped, and the rest is judged by what the batch
    // itself writes before it.
    let changes = ["11 u 1 ,\"a\":11", "12 u 2 ,\"a\":12", "8 u 1 ,\"a\":8", "11 u 1 ,\"a\":11", "12 u 2 ,\"a\":12"];
    assert_snapshot!(settled(&[guarded("docs")], &changes, &[Some((9, 7))]), @r"
    Upsert docs id=Int(1) a=Int(11) lsn 11
    Upsert docs id=Int(1) a=Int(8) lsn 8?
    Upsert docs id=Int(1) a=Int(11) lsn 11?
    Upsert docs id=Int(2) a=Int(12) lsn 12
    --- 2 dropped
    Upsert docs id=Int(1) a=Int(11) lsn 11
    Upsert docs id=Int(2) a=Int(12) lsn 12
    ");
}

#[test]
fn a_newer_write_covers_a_suspect_and_one_that_does_not_keeps_what_is_before() {
    let covered = ["10 u 1 ,\"a\":10", "8 u 1 ,\"a\":8", "12 u 1 ,\"a\":12"];
    assert_snapshot!(settled(&[guarded("docs")], &covered, &[]), @r"
    Upsert docs id=Int(1) a=Int(12) lsn 12
    --- 0 dropped
    Upsert docs id=Int(1) a=Int(12) lsn 12
    ");
    // The last write says nothing of b. Without the first one the suspect would be taken for news.
    let open = ["10 u 1 ,\"a\":10", "8 u 1 ,\"a\":8,\"b\":8", "12 u 1 ,\"a\":12"];
    assert_snapshot!(settled(&[guarded("docs")], &open, &[Some((3, 7))]), @r"
    Upsert docs id=Int(1) a=Int(10) lsn 10
    Upsert docs id=Int(1) a=Int(8) b=Int(8) lsn 8?
    Upsert docs id=Int(1) a=Int(12) lsn 12
    --- 1 dropped
    Upsert docs id=Int(1) a=Int(10) lsn 10
    Upsert docs id=Int(1) a=Int(12) lsn 12
    ");
}

#[test]
fn what_the_target_lacks_is_written_and_what_is_written_counts() {
    let again = ["10 u 2 ,\"a\":1", "5 c 1 ,\"a\":5", "6 d 1 ", "6 t 1 ", "7 c 1 ,\"a\":7", "5 c 3 ,\"a\":5"];
    let specs = [guarded("docs"), spec("plain")];
    // Row 1 stands at 5, so its delete is news, and so is what follows it. Of row 3 nothing is stored.
    assert_snapshot!(settled(&specs, &again, &[Some((5, 7)), None]), @r"
    Upsert docs id=Int(2) a=Int(1) lsn 10
    Upsert plain id=Int(2) a=Int(1) lsn -
    Upsert docs id=Int(1) a=Int(5) lsn 5?
    Delete docs id=Int(1) lsn 6?
    Delete docs id=Int(1) lsn 6?
    Delete plain id=Int(1) lsn -
    Upsert docs id=Int(1) a=Int(7) lsn 7?
    Upsert plain id=Int(1) a=Int(7) lsn -
    Upsert docs id=Int(3) a=Int(5) lsn 5?
    Upsert plain id=Int(3) a=Int(5) lsn -
    --- 2 dropped
    Upsert docs id=Int(2) a=Int(1) lsn 10
    Upsert plain id=Int(2) a=Int(1) lsn -
    Delete docs id=Int(1) lsn 6
    Delete plain id=Int(1) lsn -
    Upsert docs id=Int(1) a=Int(7) lsn 7
    Upsert plain id=Int(1) a=Int(7) lsn -
    Upsert docs id=Int(3) a=Int(5) lsn 5
    Upsert plain id=Int(3) a=Int(5) lsn -
    ");
}

#[test]
fn a_tombstone_sent_again_does_not_delete_the_row_that_came_after() {
    let changes = ["10 u 2 ,\"a\":1", "6 d 1 ", "6 t 1 ", "7 c 1 ,\"a\":7"];
    assert_snapshot!(settled(&[guarded("docs")], &changes, &[Some((7, 7))]), @r"
    Upsert docs id=Int(2) a=Int(1) lsn 10
    Delete docs id=Int(1) lsn 6?
    Delete docs id=Int(1) lsn 6?
    Upsert docs id=Int(1) a=Int(7) lsn 7?
    --- 3 dropped
    Upsert docs id=Int(2) a=Int(1) lsn 10
    ");
}

#[test]
fn what_this_record_or_a_later_one_wrote_before_is_written_again() {
    // The version of the first suspect is 110, of the second 120: we wrote the second before we died, and not all of it
    // need have arrived.
    let changes = ["10 u 2 ,\"a\":1", "5 u 1 ,\"a\":5,\"b\":5", "6 u 1 ,\"a\":6"];
    let written = |lsn, version| settled(&[guarded("docs")], &changes, &[Some((lsn, version))]);
    assert!(written(6, 121).contains("--- 0 dropped"), "{}", written(6, 121));
    assert!(written(5, 110).contains("--- 0 dropped"), "{}", written(5, 110));
    assert!(written(6, 109).contains("--- 2 dropped"), "{}", written(6, 109));
}

#[test]
fn rows_of_snapshots_are_written_and_stand_at_zero() {
    let changes = ["10 u 2 ,\"a\":1", "9 r 1 ,\"a\":9", "5 u 1 ,\"a\":5,\"b\":5", "9 r 1 ,\"a\":9"];
    assert_snapshot!(settled(&[guarded("docs")], &changes, &[Some((7, 7))]), @r"
    Upsert docs id=Int(2) a=Int(1) lsn 10
    Upsert docs id=Int(1) a=Int(9) lsn 0
    Upsert docs id=Int(1) a=Int(5) b=Int(5) lsn 5?
    Upsert docs id=Int(1) a=Int(9) lsn 0
    --- 0 dropped
    Upsert docs id=Int(2) a=Int(1) lsn 10
    Upsert docs id=Int(1) a=Int(9) lsn 0
    Upsert docs id=Int(1) a=Int(5) b=Int(5) lsn 5
    Upsert docs id=Int(1) a=Int(9) lsn 0
    ");
}

#[test]
fn a_moved_row_is_judged_under_both_keys() {
    let changes = ["10 u 2 ,\"owner\":1,\"a\":1", "5 u 1 ,\"owner\":1->,\"owner\":2,\"a\":5"];
    let stands = [Some((6, 7)), Some((6, 7))];
    assert_snapshot!(settled(&[guarded("by_owner")], &changes, &stands), @r"
    Upsert by_owner id=Int(2) owner=Int(1) a=Int(1) lsn 10
    Delete by_owner id=Int(1) owner=Int(1) lsn 5?
    Upsert by_owner id=Int(1) owner=Int(2) a=Int(5) lsn 5?
    --- 2 dropped
    Upsert by_owner id=Int(2) owner=Int(1) a=Int(1) lsn 10
    ");
}

#[test]
fn a_batch_planned_again_keeps_what_was_found_of_its_records() {
    let routes = Arc::new(Routes::resolve(&[guarded("docs")], &tables()).expect("the route fits"));
    let mut guard = Guard::NEW;
    let planned = batch(&routes, &mut guard, &["10 u 2 ,\"a\":1", "5 u 1 ,\"a\":5", "6 u 1 ,\"a\":6"]);
    let mut decoder = Decoder::new(&routes.topics[0].shape, 1 << 20);
    let refused =
        [crate::plan::rejected(0, Some(0), crate::change::Reject::new(crate::change::RejectClass::Refused, ""))];
    let again = crate::plan::again(&routes, planned, 0, &refused, |versioned| decoder.decode(&versioned.record));
    assert_snapshot!(shown(&routes, &again), @r"
    Upsert docs id=Int(1) a=Int(5) lsn 5?
    Upsert docs id=Int(1) a=Int(6) lsn 6?
    ");
}

#[test]
fn a_guard_that_cannot_be_is_refused_with_its_mend() {
    let told = |spec: RouteSpec| Routes::resolve(&[spec], &tables()).expect_err("it cannot be").join("\n");
    // What else is wrong with the columns is told by others.
    let told = |spec: RouteSpec| {
        told(spec).lines().filter(|line| line.contains("rewind_guard")).collect::<Vec<_>>().join("\n")
    };
    let with = |table: &str, column: &str, deletes: &str| {
        let guard = RewindGuard { column: column.into(), deletes_table: deletes.into(), deletes_ttl_seconds: 60 };
        RouteSpec { guard: Some(guard), ..spec(table) }
    };
    assert_snapshot!(told(with("docs", "nil", "docs_deletes")), @r#"
    route docs → docs: `rewind_guard`, column "nil" of "docs": the table has no such column: add it (ALTER TABLE … ADD … blob) or correct `column`
    route docs → docs: `rewind_guard`, column "nil" of "docs_deletes": the table has no such column: add it (`cdcconsumer ddl` prints the table) or correct `column`
    "#);
    assert_snapshot!(told(with("number", "at", "docs_deletes")), @r#"route docs → number: `rewind_guard`, column "at" of "number" is int64: make it a blob"#);
    assert_snapshot!(told(with("docs", "at", "nil")), @r#"route docs → docs: `rewind_guard`: the target has no table "nil": create it (`cdcconsumer ddl` prints it) or correct `deletes_table`"#);
    assert_snapshot!(told(with("docs", "at", "by_owner_deletes")), @r#"route docs → docs: `rewind_guard`: "by_owner_deletes" is no table for the deletes of "docs": its primary key has to be the same, columns and types (`cdcconsumer ddl` prints it)"#);
    assert_snapshot!(told(with("docs", "at", "docs")), @r#"route docs → docs: `rewind_guard`: "docs" is no table for the deletes of "docs": its primary key has to be the same, columns and types (`cdcconsumer ddl` prints it)"#);
    assert_snapshot!(told(RouteSpec { format: Format::Flat, ..guarded("docs") }), @r#"route docs → docs: `rewind_guard`: flattened records do not say where in their source's stream they stand: send whole envelopes to the topic, or remove it"#);
    assert_snapshot!(told(RouteSpec { dropped: vec!["at".into()], ..guarded("docs") }), @r#"route docs → docs: `rewind_guard`, column "at": it is in `columns` or `drop` too: take it out there"#);
    let shared = [guarded("docs"), RouteSpec { guard: guarded("docs").guard, ..spec("plain") }];
    let told = Routes::resolve(&shared, &tables()).expect_err("it is shared").join("\n");
    assert!(told.contains("\"docs_deletes\" is a table of route docs → docs too"), "{told}");
}

#[test]
fn a_tombstone_apart_from_its_delete_does_not_take_away_what_is_kept_of_it() {
    let routes = Arc::new(Routes::resolve(&[guarded("docs")], &tables()).expect("the route fits"));
    let mut guard = Guard::NEW;
    // The delete at 50 was committed, and its tombstone begins the next assignment.
    batch(&routes, &mut guard, &["50 d 1 "]);
    let mut guard =
        crate::version::Chain::load(&crate::version::Chain::START.guarded(guard).save()).expect("our own").guard();
    let mut batch = batch(&routes, &mut guard, &["0 t 1 ", "20 c 1 ,\"a\":1,\"b\":1"]);
    let position = Position { commit_lsn: 1, lsn: 50, tx_id: 0 };
    let asked = asked(&routes, &batch);
    assert_eq!(settle(&routes, &mut batch, &asked, vec![Some(Stored { position, version: 90 })]), 1);
    assert_eq!(batch.writes.len(), 1, "the tombstone alone");
}
