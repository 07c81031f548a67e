//! Columns fed by constants, headers and the envelope's `source`.

use bytes::Bytes;
use insta::assert_snapshot;

use super::*;
use crate::plan::bench_tests::{Bench, Sent, sent, spec};
use crate::record::Header;

fn fed(table: &str, fed: &[(&str, FeedSpec)]) -> RouteSpec {
    let mut spec = spec(table);
    spec.dropped.retain(|name| !fed.iter().any(|(column, _)| column == name));
    spec.fed = fed.iter().map(|(column, fed)| (column.to_string(), fed.clone())).collect();
    spec
}

fn told(spec: RouteSpec) -> String {
    match Bench::new(&[spec]) {
        Ok(bench) => bench.routes.notices.join("\n"),
        Err(problems) => problems,
    }
}

const CREATE: &str = r#"{"op":"c","source":{"lsn":77,"db":"shop","table":"orders","ts_ms":1500},"after":{"id":1,"user_id":5,"note":"a"}}"#;

#[test]
fn constants_headers_and_source_members_stand_beside_the_row() {
    let bench = Bench::new(&[fed(
        "orders",
        &[
            ("region", FeedSpec::Header("tenant".into())),
            ("bucket", FeedSpec::Constant(Value::Int(3))),
            ("seen_at", FeedSpec::Source("ts_ms".into())),
        ],
    )])
    .expect("the route fits");
    let with = |headers: &[(&'static str, Option<&'static [u8]>)]| Sent { headers: headers.into(), ..sent(CREATE) };
    assert_snapshot!(bench.plan(&[with(&[("tenant", Some(b"old")), ("tenant", Some(b"eu"))])]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a") region=Text("eu") bucket=Int(3) seen_at=Timestamp(1500000)"#);
    // What is not there is absent; a null header is a null.
    assert_snapshot!(bench.plan(&[sent(&CREATE.replace("ts_ms", "ts"))]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a") bucket=Int(3)"#);
    assert_snapshot!(bench.plan(&[with(&[("tenant", None)])]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a") region=Null bucket=Int(3) seen_at=Timestamp(1500000)"#);
    assert_snapshot!(bench.plan(&[with(&[("tenant", Some(b"\xff"))])]), @r#"reject record 0 by orders → orders: wrong_type: header "tenant" is not UTF-8"#);
    // A member that is not what Debezium writes is the record's fault.
    assert_snapshot!(bench.plan(&[sent(&CREATE.replace("1500", "\"x\""))]), @r#"reject record 0 by -: wrong_type: column "ts_ms": expected timestamp in milliseconds, found a string"#);
}

#[test]
fn one_member_of_source_is_read_in_two_forms() {
    let number =
        fed("orders", &[("bucket", FeedSpec::Source("lsn".into())), ("region", FeedSpec::Source("db".into()))]);
    let bench = Bench::new(&[number, fed("by_user", &[("region", FeedSpec::Source("db".into()))])]);
    assert!(
        bench.is_ok_and(|bench| bench.routes.topics[0].shape.source.len() == 2),
        "what two routes want is read once"
    );
    let value = CREATE.replace("\"ts_ms\":1500", "\"ts_us\":1500000");
    let forms = [("seen_at", FeedSpec::Source("ts_us".into())), ("region", FeedSpec::Source("ts_us".into()))];
    let mut spec = fed("orders", &forms);
    assert!(told(spec.clone()).contains("loses microseconds: allow it with `lossy = true`"));
    spec.policies.insert("seen_at".into(), crate::plan::convert::Policy { lossy: true, ..Default::default() });
    let bench = Bench::new(&[spec]).expect("the route fits");
    assert_snapshot!(bench.plan(&[sent(&value)]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a") region=Text("1500000") seen_at=Timestamp(1500000)"#);
}

#[test]
fn a_constant_in_the_key_does_not_make_rows_move() {
    let bench = Bench::new(&[fed("bucketed", &[("bucket", FeedSpec::Constant(Value::Int(3)))])]).expect("it fits");
    assert!(!bench.routes.routes[0].moves);
    let update = r#"{"op":"u","before":null,"after":{"id":1,"user_id":6,"note":"a"}}"#;
    assert_snapshot!(bench.plan(&[sent(CREATE), sent(update)]), @r#"Upsert bucketed @103 id=Int(1) user_id=Int(6) note=Text("a") bucket=Int(3)"#);
    assert_snapshot!(bench.plan(&[sent("")]), @"Delete bucketed @100 id=Int(1) bucket=Int(3)");
}

#[test]
fn what_cannot_be_fed_like_this_is_refused_with_the_reason() {
    let constant = |value| FeedSpec::Constant(value);
    let text = |text: &str| constant(Value::Text(text.into()));
    assert_snapshot!(told(fed("by_region", &[("region", FeedSpec::Header("tenant".into()))])), @r#"route orders → by_region: key column "region" of "by_region" is fed by a header, which may be another one in a later record of the same row, and the row under the old key could not be found again: feed it by a column of the row, or take it out of the primary key"#);
    assert!(told(fed("by_region", &[("region", FeedSpec::Source("db".into()))])).contains("by a member of `source`"));
    assert_snapshot!(told(fed("orders", &[("id", constant(Value::Int(1)))])), @r#"route orders → orders: the primary key of "orders" does not contain the source's key column "id": two source rows could then share one row there; add it to the table's primary key, or name it in `columns` if it is called differently"#);
    assert_snapshot!(told(fed("orders", &[("bucket", constant(Value::Int(70_000)))])), @r#"route orders → orders: column "bucket" of "orders" (int16) has a number beyond its range: correct its `constant`"#);
    assert_snapshot!(told(fed("orders", &[("bucket", text("3"))])), @r#"route orders → orders: column "bucket" of "orders" (int16) takes no text: correct its `constant`"#);
    assert_snapshot!(told(fed("orders", &[("bucket", FeedSpec::Header("h".into()))])), @r#"route orders → orders: column "bucket" of "orders" (int16) takes no text: give it another type"#);
    assert_snapshot!(told(fed("orders", &[("region", FeedSpec::Source("Lsn".into()))])), @r#"route orders → orders: column "region" of "orders" (text): `source` has no member "Lsn", but version, connector, name, snapshot, db, schema, table, sequence, origin, txId, lsn, xmin, ts_ms, ts_us, ts_ns"#);
    let flat = RouteSpec { format: Format::Flat, ..fed("orders", &[("region", FeedSpec::Source("db".into()))]) };
    assert!(told(flat).contains("which only whole envelopes have"));
}

#[test]
fn what_is_dropped_needs_no_type_and_gets_no_notice() {
    let bench = Bench::new(&[spec("orders")]).expect("the route fits");
    assert_eq!(bench.routes.notices, Vec::<String>::new());
    let mut twice = fed("orders", &[("region", FeedSpec::Header("h".into()))]);
    twice.dropped.extend(["region", "id", "nowhere"].map(String::from));
    assert_snapshot!(told(twice), @r#"
    route orders → orders: column "region" of "orders" is in `drop`, and in `columns` too: take it out there
    route orders → orders: column "id" of "orders" is in `drop`, and a row needs all of its key: take it out there
    route orders → orders: table "orders" has no column "nowhere": take it out of `drop`
    route orders → orders: the primary key of "orders" does not contain the source's key column "id": two source rows could then share one row there; add it to the table's primary key, or name it in `columns` if it is called differently
    "#);
}

#[test]
fn the_last_header_of_a_name_counts() {
    let mut record = Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: [].into(),
    };
    assert_eq!(header(&record, "a").expect("it can be read"), Value::Absent);
    let of = |name: &str, value| Header { name: name.into(), value: Some(Bytes::from_static(value)) };
    record.headers = [of("a", b"1"), of("a", b"2"), of("b", b"3")].into();
    assert_eq!(header(&record, "a").expect("it can be read"), Value::Text("2".into()));
}
