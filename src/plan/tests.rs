//! Planning as tables of text: envelopes in, writes out.

use std::collections::BTreeMap;

use bytes::Bytes;
use insta::assert_snapshot;

use super::*;
use crate::format::Decoder;
use crate::plan::route::{RouteSpec, TargetTable};
use crate::plan::source::{SourceFact, SourceFacts};
use crate::record::{Header, Record};
use crate::row::wire::{BinaryMode, DecimalMode};
use crate::row::{Column, Format, Kind};

fn table(name: &str, columns: &[(&str, Kind)], key: &[&str]) -> (String, TargetTable) {
    let columns = columns.iter().map(|(name, kind)| Column { name: name.to_string(), kind: kind.clone() }).collect();
    let key = key.iter().map(|name| name.to_string()).collect();
    (name.into(), TargetTable { name: name.into(), columns, key })
}

fn spec(table: &str, renamed: &[(&str, &str)]) -> RouteSpec {
    let renamed = renamed.iter().map(|(target, source)| (target.to_string(), source.to_string())).collect();
    let types = [("id", "bigint"), ("user_id", "bigint"), ("note", "text")];
    RouteSpec { renamed, ..RouteSpec::new("orders", table, &["id"]).typed(&types) }
}

fn tables() -> BTreeMap<String, TargetTable> {
    let columns = [("order_id", Kind::Int64), ("user_id", Kind::Int64), ("note", Kind::Text)];
    BTreeMap::from([
        table("orders", &columns, &["order_id"]),
        table("orders_by_user", &columns, &["user_id", "order_id"]),
        table("by_user_only", &columns, &["user_id"]),
        table("blobs", &[("order_id", Kind::Int64), ("note", Kind::Bytes)], &["order_id"]),
    ])
}

fn routes() -> Arc<Routes> {
    let specs = [spec("orders", &[("order_id", "id")]), spec("orders_by_user", &[("order_id", "id")])];
    Arc::new(Routes::resolve(&specs, &tables()).expect("the routes fit the tables"))
}

fn decoder(routes: Arc<Routes>) -> impl FnMut(&mut Versioned) -> Decoded {
    let mut decoder = Decoder::new(&routes.topic("orders").expect("the topic is routed").shape, 1 << 20);
    move |versioned| decoder.decode(&versioned.record)
}

fn record(at: i64, value: &str) -> Versioned {
    let record = Record {
        topic: "orders".into(),
        partition: 0,
        offset: at,
        timestamp_ms: None,
        key: Some(Bytes::from_static(br#"{"id":1}"#)),
        value: (!value.is_empty()).then(|| Bytes::copy_from_slice(value.as_bytes())),
        headers: [].into(),
    };
    Versioned::new(record, 100 + 2 * at)
}

fn draft(values: &[&str]) -> Draft {
    let routes = routes();
    let partition = TopicPartition { topic: "orders".into(), partition: 0 };
    let mut draft = Draft::new(routes.clone(), partition, 0);
    for (at, value) in values.iter().enumerate() {
        draft.push(record(at as i64, value), decoder(routes.clone()));
    }
    draft
}

fn shown(batch: &Batch) -> String {
    let routes = routes();
    let mut lines = Vec::new();
    for write in &batch.writes {
        let route = &routes.routes[write.route];
        let values = route.columns.iter().zip(&write.values).filter(|(_, value)| **value != Value::Absent);
        let values: Vec<String> = values.map(|(column, value)| format!("{}={value:?}", column.name)).collect();
        let version = write.version.expect("mirrored writes have one");
        lines.push(format!("{:?} {} @{version} {}", write.kind, route.table, values.join(" ")));
    }
    for rejected in &batch.rejects {
        let route = rejected.route.map_or("-".into(), |at| routes.routes[at].name());
        lines.push(format!("reject record {} by {route}: {}", rejected.record, rejected.reject));
    }
    lines.join("\n")
}

#[test]
fn an_insert_goes_to_every_route() {
    let batch = draft(&[r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#]).take();
    assert_snapshot!(shown(&batch), @r#"
    Upsert orders @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    "#);
    assert_eq!(batch.next_offset, 1);
}

#[test]
fn a_changed_user_moves_the_row_that_is_keyed_by_it() {
    let value = r#"{"op":"u","before":{"id":1,"user_id":5,"note":"a"},"after":{"id":1,"user_id":6,"note":"a"}}"#;
    assert_snapshot!(shown(&draft(&[value]).take()), @r#"
    Upsert orders @101 order_id=Int(1) user_id=Int(6) note=Text("a")
    Delete orders_by_user @100 order_id=Int(1) user_id=Int(5)
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(6) note=Text("a")
    "#);
}

#[test]
fn an_update_in_place_deletes_nothing_so_that_unsent_columns_stay() {
    let value = r#"{"op":"u","before":{"id":1,"user_id":5,"note":"a"},"after":{"id":1,"user_id":5}}"#;
    assert_snapshot!(shown(&draft(&[value]).take()), @"
    Upsert orders @101 order_id=Int(1) user_id=Int(5)
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(5)
    ");
}

#[test]
fn a_delete_uses_the_image_before_and_its_tombstone_the_key() {
    let value = r#"{"op":"d","before":{"id":1,"user_id":5,"note":"a"},"after":null}"#;
    assert_snapshot!(shown(&draft(&[value]).take()), @"
    Delete orders @100 order_id=Int(1)
    Delete orders_by_user @100 order_id=Int(1) user_id=Int(5)
    ");
    assert_snapshot!(shown(&draft(&[value, ""]).take()), @"
    Delete orders_by_user @100 order_id=Int(1) user_id=Int(5)
    Delete orders @102 order_id=Int(1)
    ");
}

#[test]
fn a_record_is_refused_for_all_its_routes_or_for_none() {
    let no_before = r#"{"op":"u","before":null,"after":{"id":1,"user_id":5,"note":"a"}}"#;
    assert_snapshot!(shown(&draft(&[no_before]).take()), @"reject record 0 by orders → orders_by_user: missing_image: the change has no image before");
    let no_user = r#"{"op":"c","after":{"id":1,"user_id":null}}"#;
    assert_snapshot!(shown(&draft(&[no_user]).take()), @r#"reject record 0 by orders → orders_by_user: missing_key: key column "user_id" of "orders_by_user" has no value"#);
}

#[test]
fn folding_drops_what_is_covered_and_never_merges() {
    let create = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#;
    let partial = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":5,"note":"__debezium_unavailable_value"}}"#;
    let full = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":5,"note":null}}"#;
    assert_snapshot!(shown(&draft(&[create, partial]).take()), @r#"
    Upsert orders @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    Upsert orders @103 order_id=Int(1) user_id=Int(5)
    Upsert orders_by_user @103 order_id=Int(1) user_id=Int(5)
    "#);
    assert_snapshot!(shown(&draft(&[create, partial, full]).take()), @"
    Upsert orders @105 order_id=Int(1) user_id=Int(5) note=Null
    Upsert orders_by_user @105 order_id=Int(1) user_id=Int(5) note=Null
    ");
    let delete = r#"{"op":"d","before":{"id":1,"user_id":5}}"#;
    assert_snapshot!(shown(&draft(&[create, delete, create]).take()), @r#"
    Delete orders @102 order_id=Int(1)
    Delete orders_by_user @102 order_id=Int(1) user_id=Int(5)
    Upsert orders @105 order_id=Int(1) user_id=Int(5) note=Text("a")
    Upsert orders_by_user @105 order_id=Int(1) user_id=Int(5) note=Text("a")
    "#);
}

#[test]
fn planning_again_brings_back_what_a_refused_record_had_covered() {
    let create = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#;
    let update = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":5,"note":"b"}}"#;
    let batch = draft(&[create, "broken", update]).take();
    assert_eq!(batch.rejects.len(), 1);
    let refused = [rejected(2, None, Reject::new(RejectClass::Refused, "too big"))];
    let routes = routes();
    let again = again(&routes, batch, 0, &refused, decoder(routes.clone()));
    assert_eq!((again.records.len(), again.next_offset), (1, 3));
    assert_snapshot!(shown(&again), @r#"
    Upsert orders @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(5) note=Text("a")
    "#);
}

#[test]
fn planning_again_loses_no_record_that_would_stop_it_now() {
    let create = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#;
    let again = again(&routes(), draft(&[create]).take(), 0, &[], |_| Decoded::Stop("changed its mind".into()));
    assert_eq!((again.records.len(), again.rejects.len()), (1, 1));
}

#[test]
fn planning_again_leaves_out_what_is_durable() {
    let create = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#;
    let update = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":5,"note":"b"}}"#;
    let routes = routes();
    let again = again(&routes, draft(&[create, update]).take(), 1, &[], decoder(routes.clone()));
    let offsets: Vec<i64> = again.records.iter().map(|versioned| versioned.record.offset).collect();
    assert_eq!((offsets, again.next_offset), (vec![1], 2));
}

#[test]
fn the_draft_stops_in_front_of_a_truncate() {
    let mut draft = draft(&[r#"{"op":"c","after":{"id":1,"user_id":5}}"#]);
    let pushed = draft.push(record(1, r#"{"op":"t"}"#), decoder(routes()));
    assert!(matches!(pushed, Pushed::Stop(text) if text.contains("truncate")));
    assert_eq!(draft.take().next_offset, 1);
}

#[test]
fn a_panic_rejects_the_record_and_not_its_neighbours() {
    let mut draft = draft(&[r#"{"op":"c","after":{"id":1,"user_id":5}}"#]);
    draft.push(record(1, "{}"), |_| panic!("planted"));
    let batch = draft.take();
    assert_eq!((batch.writes.len(), batch.next_offset), (2, 2));
    assert_eq!(batch.rejects[0].reject.class, RejectClass::Panicked);
}

/// The same routes with a source to read from.
fn reselecting() -> Arc<Routes> {
    let mut routes = Routes::clone(&routes());
    routes.routes.iter_mut().for_each(|route| route.reselect = Some("public.orders".into()));
    Arc::new(routes)
}

const MOVED: &str = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"__debezium_unavailable_value"}}"#;

#[test]
fn a_moved_row_without_its_out_of_line_value_is_refused_where_there_is_no_source() {
    assert_snapshot!(shown(&draft(&[MOVED]).take()), @r#"reject record 0 by orders → orders: unavailable: the row is new under its key and brings no value for column "note" of "orders" (unchanged TOAST): set REPLICA IDENTITY FULL, or configure [source.postgres] and the route's `source_table`"#);
    let moved = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":6,"note":"__debezium_unavailable_value"}}"#;
    assert_snapshot!(shown(&draft(&[moved]).take()), @r#"reject record 0 by orders → orders_by_user: unavailable: the row is new under its key and brings no value for column "note" of "orders_by_user" (unchanged TOAST): set REPLICA IDENTITY FULL, or configure [source.postgres] and the route's `source_table`"#);
}

#[test]
fn a_moved_row_is_completed_from_the_source_under_its_own_version() {
    let routes = reselecting();
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
    draft.push(record(0, MOVED), decoder(routes.clone()));
    let mut batch = draft.take();
    assert_eq!(lacked(&routes, &batch.writes[0]), [2]);
    complete(&routes, &mut batch, 0, Some(vec![Value::Text("now".into())])).expect("it fits");
    complete(&routes, &mut batch, 1, None).expect("a row that is gone goes without");
    assert_snapshot!(shown(&batch), @r#"
    Upsert orders @101 order_id=Int(1) user_id=Int(5) note=Text("now")
    Upsert orders_by_user @101 order_id=Int(1) user_id=Int(5)
    "#);
    assert!(batch.writes.iter().all(|write| lacked(&routes, write).is_empty()));
}

#[test]
fn a_row_that_lacks_a_column_is_not_covered_by_one_that_lacks_it_too() {
    let routes = reselecting();
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
    let update = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":5,"note":"__debezium_unavailable_value"}}"#;
    draft.push(record(0, MOVED), decoder(routes.clone()));
    draft.push(record(1, update), decoder(routes.clone()));
    let batch = draft.take();
    assert_eq!(batch.writes.len(), 4, "the update finds no note to keep but the one that the moved row brings");
}

#[test]
fn a_truncate_is_passed_over_where_the_routes_say_so() {
    let mut routes = Routes::clone(&routes());
    routes.topics[0].on_truncate = OnTruncate::Ignore;
    let routes = Arc::new(routes);
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
    assert_eq!(draft.push(record(0, r#"{"op":"t"}"#), decoder(routes.clone())), Pushed::Taken);
    let batch = draft.take();
    assert_eq!((batch.writes.len(), batch.rejects.len(), batch.passed_over, batch.next_offset), (0, 0, 1, 1));
}

#[test]
fn routes_that_would_lose_rows_are_refused_with_the_mend() {
    let specs =
        [spec("by_user_only", &[("order_id", "id")]), spec("nowhere", &[]), spec("orders", &[("order_no", "id")])];
    let problems = Routes::resolve(&specs, &tables()).expect_err("none of them fits");
    assert_snapshot!(problems.join("\n"), @r#"
    route orders → by_user_only: the primary key of "by_user_only" does not contain the source's key column "id": two source rows could then share one row there; add it to the table's primary key, or name it in `columns` if it is called differently
    route orders → nowhere: the target has no table "nowhere": create it or correct the route's `table`
    route orders → orders: table "orders" has no column "order_no": add it or correct `columns`
    route orders → orders: the primary key of "orders" does not contain the source's key column "id": two source rows could then share one row there; add it to the table's primary key, or name it in `columns` if it is called differently
    route orders → orders: records without schema blocks do not say the types of these source columns: add them to the route with their Postgres types, as in "numeric(10,2)": types = { "order_id" = "…" }; or add `source_table` and [source.postgres], so that the catalog says them; or schemas = true in [source.debezium], if the connector sends schema blocks
    "#);
}

#[test]
fn what_is_known_of_the_source_speaks_against_routes_before_anything_moves() {
    let fact = |name: &str, pg_type: &str, out_of_line| SourceFact {
        name: name.into(),
        pg_type: pg_type.into(),
        null_or_default: name == "note",
        out_of_line,
    };
    let facts = |full_identity, key: &[&str], note: &str| SourceFacts {
        table: "public.orders".into(),
        columns: vec![fact("id", "bigint", false), fact("user_id", "bigint", false), fact("note", note, true)],
        key: key.iter().map(|name| name.to_string()).collect(),
        full_identity,
    };
    let told = |table: &str, facts: SourceFacts, binary: BinaryMode| {
        let mut spec = RouteSpec { source: Some(facts), ..spec(table, &[("order_id", "id")]) };
        spec.types.clear();
        spec.modes.binary_handling_mode = binary;
        match Routes::resolve(&[spec], &tables()) {
            Ok(routes) => routes.notices.join("\n"),
            Err(problems) => format!("refused: {}", problems.join("\n")),
        }
    };
    let default = "may be null and has a default: Kafka Connect's JSON converter sends the default";
    assert!(told("orders", facts(true, &["id"], "text"), BinaryMode::Bytes).contains(default));
    assert_snapshot!(told("orders_by_user", facts(false, &["id"], "text"), BinaryMode::Bytes), @r#"refused: route orders → orders_by_user: its rows move when a column of the target's key changes, and "public.orders" does not send its old rows: ALTER TABLE public.orders REPLICA IDENTITY FULL"#);
    assert_snapshot!(told("orders", facts(false, &[], "text"), BinaryMode::Bytes), @r#"refused: route orders → orders: "public.orders" has no primary key, so its records have no key and its rows cannot be told apart: add one"#);
    let wiped = told("orders", facts(false, &["id"], "numeric(10,2)"), BinaryMode::Bytes);
    assert!(wiped.contains("Debezium sends null, which wipes it"), "{wiped}");
    assert_snapshot!(told("orders", facts(true, &["id"], "box"), BinaryMode::Bytes), @r#"refused: route orders → orders: source column "note", which feeds "note" of "orders", is of a type that Debezium leaves out of its records: leave it out of the target's table"#);
    let base64 = told("blobs", facts(false, &["id"], "bytea"), BinaryMode::Base64);
    assert!(base64.starts_with("refused") && base64.contains("base64 modes"), "{base64}");
}

#[test]
fn routes_of_one_topic_agree_on_what_its_records_are_like() {
    let flat = RouteSpec { format: Format::Flat, ..spec("orders", &[("order_id", "id")]) };
    let problems = Routes::resolve(&[spec("orders", &[("order_id", "id")]), flat], &tables()).expect_err("they do not");
    assert_snapshot!(problems.join("\n"), @"route orders → orders: `format` differs from that of another route of this topic: a topic has one");
    let other = spec("orders", &[("order_id", "id")]).typed(&[("note", "varchar(3)[]")]);
    let problems =
        Routes::resolve(&[spec("orders", &[("order_id", "id")]), other], &tables()).expect_err("they do not");
    assert!(problems[0].contains("has another type here than in another route"), "{problems:?}");
    let flat = RouteSpec { format: Format::Flat, ..spec("orders_by_user", &[("order_id", "id")]) };
    let problems = Routes::resolve(&[flat], &tables()).expect_err("the old row cannot be found");
    assert!(problems[0].contains("no image before"), "{problems:?}");
}

#[test]
fn an_event_that_was_produced_again_needs_to_say_when_it_happened() {
    let columns = [("id", Kind::Int64), ("modified_at", Kind::Int64), ("note", Kind::Text), ("gone", Kind::Bool)];
    let tables = BTreeMap::from([table("orders", &columns, &["id"])]);
    let spec = |modified_at: &str| RouteSpec {
        apply: Apply::Events { soft_delete: "gone".into(), modified_at: Some(modified_at.into()) },
        ..RouteSpec::events("orders", "orders", &["id"], "gone")
    };
    let problems = Routes::resolve(&[spec("note")], &tables).expect_err("text has no order");
    assert_snapshot!(problems.join("\n"), @r#"route orders → orders: "note" of "orders" is no column of timestamps, dates or whole numbers, which could say what is newer: correct `modified_at`"#);
    let routes = Arc::new(Routes::resolve(&[spec("modified_at")], &tables).expect("the route fits"));
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
    let events = [
        r#"{"event_type":"CREATE","id":1}"#,
        r#"{"event_type":"UPDATE","id":1,"modified_at":7}"#,
        r#"{"event_type":"DELETE","id":1,"modified_at":null}"#,
    ];
    for (at, event) in events.iter().enumerate() {
        let mut versioned = record(at as i64, event);
        versioned.record.key = Some(Bytes::from_static(b"1"));
        versioned.record.headers = [Header { name: UNLESS_NEWER.into(), value: None }].into();
        draft.push(versioned, decoder(routes.clone()));
    }
    let batch = draft.take();
    let expected: Vec<Expect> = batch.writes.iter().map(|write| write.expect).collect();
    assert_eq!(expected, [Expect::Absent, Expect::PresentOlder(1)]);
    assert_snapshot!(batch.rejects[0].reject, @"wrong_type: the event was produced again and may not go over a newer row, but it has no value for the route's `modified_at`, or the route names none");
}

#[test]
fn equal_decimals_are_one_key() {
    let tables = BTreeMap::from([table("orders", &[("id", Kind::Decimal), ("note", Kind::Text)], &["id"])]);
    let spec = RouteSpec::new("orders", "orders", &["id"]).typed(&[("id", "numeric"), ("note", "text")]);
    let mut spec = spec;
    spec.modes.decimal_handling_mode = DecimalMode::String;
    let routes = Arc::new(Routes::resolve(&[spec], &tables).expect("the route fits"));
    let mut draft = Draft::new(routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
    for (at, id) in ["1.50", "1.5", "1.500"].iter().enumerate() {
        let mut versioned = record(at as i64, &format!(r#"{{"op":"c","after":{{"id":"{id}","note":"{at}"}}}}"#));
        versioned.record.key = Some(format!(r#"{{"id":"{id}"}}"#).into());
        draft.push(versioned, decoder(routes.clone()));
    }
    let batch = draft.take();
    assert_eq!((batch.writes.len(), batch.rejects.len()), (1, 0), "the last covers the others");
    assert_eq!(batch.writes[0].values[0], Value::Decimal("1.5".parse().expect("a number")));
}
