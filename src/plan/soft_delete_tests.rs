//! Deletes that only set a flag: which rows get it, which are deleted all the same, and what is refused.

use insta::assert_snapshot;

use crate::plan::bench_tests::{Bench, sent, spec};
use crate::plan::route::RouteSpec;
use crate::plan::ttl::TtlSpec;

fn flagged(table: &str) -> RouteSpec {
    let mut spec = RouteSpec { soft_delete: Some("deleted".into()), ..spec(table) };
    spec.dropped.retain(|name| name != "deleted");
    spec
}

fn told(spec: RouteSpec) -> String {
    Bench::new(&[spec]).err().unwrap_or_default()
}

const CREATE: &str = r#"{"op":"c","after":{"id":1,"user_id":5,"note":"a"}}"#;
const MOVE: &str = r#"{"op":"u","before":{"id":1,"user_id":5},"after":{"id":1,"user_id":6,"note":"a"}}"#;
const DELETE: &str = r#"{"op":"d","before":{"id":1,"user_id":6,"note":""}}"#;

#[test]
fn a_delete_sets_the_flag_and_leaves_the_rest() {
    let bench = Bench::new(&[flagged("orders")]).expect("it fits");
    assert_snapshot!(bench.plan(&[sent(CREATE), sent(DELETE), sent("")]), @r#"
    Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a") deleted=Bool(false)
    Upsert orders @105 id=Int(1) deleted=Bool(true)
    "#);
    // Without the row before it, and with nothing but the key.
    assert_snapshot!(bench.plan(&[sent(r#"{"op":"d","before":{"id":1}}"#)]), @"Upsert orders @101 id=Int(1) deleted=Bool(true)");
    assert_snapshot!(bench.plan(&[sent(DELETE), sent(CREATE)]), @r#"Upsert orders @103 id=Int(1) user_id=Int(5) note=Text("a") deleted=Bool(false)"#);
}

#[test]
fn a_row_that_moves_is_deleted_under_its_old_key() {
    let bench = Bench::new(&[flagged("by_user")]).expect("it fits");
    assert_snapshot!(bench.plan(&[sent(CREATE), sent(MOVE), sent(DELETE), sent("")]), @r#"
    Delete by_user @102 id=Int(1) user_id=Int(5)
    Upsert by_user @103 id=Int(1) user_id=Int(6) note=Text("a") deleted=Bool(false)
    Upsert by_user @105 id=Int(1) user_id=Int(6) deleted=Bool(true)
    "#);
}

#[test]
fn a_flag_ends_with_its_row() {
    let bench = Bench::new(&[RouteSpec { ttl: Some(TtlSpec::Seconds(60)), ..flagged("orders") }]).expect("it fits");
    let ends: Vec<_> = bench.batch(&[sent(CREATE), sent("")]).writes.iter().map(|write| write.ends_at_ms).collect();
    assert_eq!(ends, [Some(61_000), Some(61_000)]);
}

#[test]
fn what_a_delete_cannot_say_is_refused() {
    let with = |flag: &str| RouteSpec { soft_delete: Some(flag.into()), ..flagged("orders") };
    assert_snapshot!(told(with("nowhere")), @r#"
    route orders → orders: `soft_delete`, column "nowhere" of "orders": the table has no such column: add it or correct `soft_delete`
    route orders → orders: records without schema blocks do not say the types of these source columns: add them to the route with their Postgres types, as in "numeric(10,2)": types = { "deleted" = "…" }; or add `source_table` and [source.postgres], so that the catalog says them; or schemas = true in [source.debezium], if the connector sends schema blocks
    "#);
    assert_snapshot!(told(with("note")), @r#"
    route orders → orders: `soft_delete`, column "note" of "orders" is text: a flag is boolean
    route orders → orders: records without schema blocks do not say the types of these source columns: add them to the route with their Postgres types, as in "numeric(10,2)": types = { "deleted" = "…" }; or add `source_table` and [source.postgres], so that the catalog says them; or schemas = true in [source.debezium], if the connector sends schema blocks
    "#);
    assert_snapshot!(told(RouteSpec { soft_delete: Some("deleted".into()), ..spec("orders") }), @r#"route orders → orders: `soft_delete`, column "deleted" of "orders" is in `columns` or `drop` too: it is fed by deletes alone, take it out there"#);
    assert_snapshot!(told(RouteSpec { conditions: vec!["user_id > 1".into()], ..flagged("orders") }), @"route orders → orders: `soft_delete` and `where`: the delete of a row does not say whether the row was in the table at all; give one of them");
    let ends = RouteSpec { ttl: Some(TtlSpec::Column("ends".into())), ..flagged("orders") };
    assert_snapshot!(told(ends.typed(&[("ends", "date")])), @"route orders → orders: `soft_delete` and the column of `ttl`: the delete of a row does not bring that column; give a time, or one of them");
}
