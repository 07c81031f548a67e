//! Ends of rows as tables: records in, the end that each write carries out.

use super::*;
use crate::plan::bench_tests::{Bench, Sent, sent, spec};
use crate::plan::route::RouteSpec;

fn ending(table: &str, ttl: TtlSpec) -> RouteSpec {
    let mut spec = RouteSpec { ttl: Some(ttl), ..spec(table) };
    spec.types.extend([("ends".into(), "timestamptz".into())]);
    spec
}

fn by_column() -> Bench {
    Bench::new(&[ending("orders", TtlSpec::Column("ends".into()))]).expect("it fits")
}

/// The ends of what these records write, or why they are refused.
fn ends(bench: &Bench, records: &[Sent]) -> Vec<Result<Option<i64>, String>> {
    let batch = bench.batch(records);
    let ends = batch.writes.iter().map(|write| Ok(write.ends_at_ms));
    ends.chain(batch.rejects.iter().map(|rejected| Err(rejected.reject.to_string()))).collect()
}

fn row(ends: &str) -> Sent {
    sent(&format!(r#"{{"op":"c","after":{{"id":1,"user_id":5,"note":"a","ends":{ends}}}}}"#))
}

#[test]
fn a_time_counts_from_the_records_own() {
    let bench = Bench::new(&[ending("orders", TtlSpec::Seconds(60))]).expect("it fits");
    let create = sent(r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#);
    assert_eq!(ends(&bench, std::slice::from_ref(&create)), [Ok(Some(61_000))]);
    for timestamp_ms in [None, Some(-1)] {
        let told = ends(&bench, &[Sent { timestamp_ms, ..create.clone() }]);
        assert!(
            told[0].as_ref().is_err_and(|text| text.starts_with("out_of_range: the record has no time")),
            "{told:?}"
        );
    }
    let delete = sent(r#"{"op":"d","before":{"id":1}}"#);
    assert_eq!(ends(&bench, &[delete]), [Ok(None)], "a delete ends nothing later");
}

#[test]
fn a_column_says_when_and_null_is_never() {
    let bench = by_column();
    assert_eq!(ends(&bench, &[row("null")]), [Ok(None)]);
    assert_eq!(ends(&bench, &[row("\"infinity\"")]), [Ok(None)]);
    assert_eq!(ends(&bench, &[row("\"-infinity\"")]), [Ok(Some(i64::MIN))]);
    assert_eq!(ends(&bench, &[row("\"1970-01-01T00:00:02.0009Z\"")]), [Ok(Some(2_000))]);
    let absent = sent(r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#);
    assert!(ends(&bench, &[absent])[0].as_ref().is_err_and(|text| text.starts_with("unavailable: ")));
}

#[test]
fn cells_that_an_update_leaves_alone_would_end_too_early() {
    let update = r#"{"op":"u","after":{"id":1,"user_id":5,"note":"__debezium_unavailable_value","ends":null}}"#;
    assert!(ends(&by_column(), &[sent(update)])[0].as_ref().is_err_and(|text| text.contains("brings no value")));
}

#[test]
fn dates_and_wall_times_are_taken_as_utc() {
    let end = |value| Ttl::Field(0).ends_at_ms(&record(), &[value]).expect("it says when");
    assert_eq!(end(Value::Date(2)), Some(172_800_000));
    assert_eq!(end(Value::LocalTimestamp(-1)), Some(-1));
    assert!(Ttl::Field(0).ends_at_ms(&record(), &[Value::Text("soon".into())]).is_err());
}

fn record() -> Record {
    let headers = [].into();
    Record { topic: "t".into(), partition: 0, offset: 0, timestamp_ms: None, key: None, value: None, headers }
}

#[test]
fn what_says_no_time_is_refused_at_the_start() {
    let told = |column: &str| Bench::new(&[ending("orders", TtlSpec::Column(column.into()))]).err().unwrap_or_default();
    insta::assert_snapshot!(told("note"), @r#"route orders → orders: `ttl`: column "note" is no date and no timestamp: name a date or timestamp, which says when a row ends"#);
    insta::assert_snapshot!(told("nowhere"), @r#"route orders → orders: `ttl`: nothing says the type of column "nowhere": add it to the route: types = { "nowhere" = "…" }, or add `source_table`"#);
    let wires = |bench: &Bench, wire: Wire| {
        let wires: Vec<_> = bench.routes.topics[0].shape.fields.iter().map(|field| field.wire.clone()).collect();
        let Some(Ttl::Field(at)) = bench.routes.routes[0].ttl else { return Ok(Vec::new()) };
        let mut wires = wires;
        wires[at] = Some(wire);
        bench.routes.check_wires("orders", &wires)
    };
    assert!(wires(&by_column(), Wire::Date).is_ok());
    assert!(wires(&by_column(), Wire::Int64).is_err_and(|text| text.contains("its column is int64")));
}
