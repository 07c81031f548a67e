//! Rows that a route's `where` keeps out, lets in and puts out again.

use insta::assert_snapshot;

use crate::plan::bench_tests::{Bench, sent, spec};
use crate::plan::route::RouteSpec;
use crate::plan::{complete, lacked};
use crate::row::{Format, Value};

fn asking(table: &str, conditions: &[&str]) -> RouteSpec {
    RouteSpec { conditions: conditions.iter().map(|text| text.to_string()).collect(), ..spec(table) }
}

fn told(spec: RouteSpec) -> String {
    Bench::new(&[spec]).err().unwrap_or_default()
}

/// An image with this user and status.
fn row(user: &str, status: &str) -> String {
    format!(r#"{{"id":1,"user_id":{user},"note":"a","status":{status}}}"#)
}

fn change(op: &str, before: &str, after: &str) -> crate::plan::bench_tests::Sent {
    sent(&format!(r#"{{"op":"{op}","before":{before},"after":{after}}}"#))
}

#[test]
fn a_row_that_is_kept_out_is_a_delete_with_the_records_version() {
    let bench = Bench::new(&[asking("orders", &["status != 'DRAFT'"])]).expect("it fits");
    let (draft, paid, none) = (row("5", "\"DRAFT\""), row("5", "\"PAID\""), row("5", "null"));
    assert_snapshot!(bench.plan(&[change("c", "null", &draft)]), @"Delete orders @100 id=Int(1)");
    assert_snapshot!(bench.plan(&[change("c", "null", &paid)]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a")"#);
    assert_snapshot!(bench.plan(&[change("u", "null", &paid)]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a")"#);
    assert_snapshot!(bench.plan(&[change("u", "null", &draft)]), @"Delete orders @100 id=Int(1)");
    assert_snapshot!(bench.plan(&[change("r", "null", &none)]), @"Delete orders @100 id=Int(1)");
    assert_snapshot!(bench.plan(&[change("d", &draft, "null")]), @"Delete orders @100 id=Int(1)");
    assert_snapshot!(bench.plan(&[sent("")]), @"Delete orders @100 id=Int(1)");
}

#[test]
fn in_a_table_where_rows_move_both_places_are_cleared() {
    let bench = Bench::new(&[asking("by_user", &["status != 'DRAFT'"])]).expect("it fits");
    let (draft, paid) = (|user| row(user, "\"DRAFT\""), |user| row(user, "\"PAID\""));
    assert_snapshot!(bench.plan(&[change("u", &paid("5"), &draft("6"))]), @"
    Delete by_user @100 id=Int(1) user_id=Int(5)
    Delete by_user @100 id=Int(1) user_id=Int(6)
    ");
    assert_snapshot!(bench.plan(&[change("u", &paid("5"), &draft("5"))]), @"Delete by_user @100 id=Int(1) user_id=Int(5)");
    assert_snapshot!(bench.plan(&[change("u", &draft("5"), &paid("6"))]), @r#"
    Delete by_user @100 id=Int(1) user_id=Int(5)
    Upsert by_user @101 id=Int(1) user_id=Int(6) note=Text("a")
    "#);
    assert_snapshot!(bench.plan(&[change("u", &draft("5"), &paid("5"))]), @r#"Upsert by_user @101 id=Int(1) user_id=Int(5) note=Text("a")"#);
    assert_snapshot!(bench.plan(&[change("u", &draft("5"), &draft("6"))]), @"
    Delete by_user @100 id=Int(1) user_id=Int(5)
    Delete by_user @100 id=Int(1) user_id=Int(6)
    ");
}

#[test]
fn a_row_that_is_kept_out_may_lack_the_targets_key() {
    let bench = Bench::new(&[asking("by_user", &["user_id is not null"])]).expect("it fits");
    let (some, none) = (row("5", "\"PAID\""), row("null", "\"PAID\""));
    assert_snapshot!(bench.plan(&[change("c", "null", &none)]), @"");
    assert_snapshot!(bench.plan(&[change("u", &none, &some)]), @r#"Upsert by_user @101 id=Int(1) user_id=Int(5) note=Text("a")"#);
    assert_snapshot!(bench.plan(&[change("u", &some, &none)]), @"Delete by_user @100 id=Int(1) user_id=Int(5)");
    assert_snapshot!(bench.plan(&[change("d", &none, "null")]), @"");
    // Nobody kept this one out, so its old place has to be known.
    let bench = Bench::new(&[asking("by_user", &["status != 'DRAFT'"])]).expect("it fits");
    assert_snapshot!(bench.plan(&[change("u", &none, &some)]), @r#"reject record 0 by orders → by_user: missing_image: key column "user_id" of "by_user" has no value"#);
    // And where the record does not say the key, there is no telling where the row stood.
    let lacking = r#"{"id":1,"status":"DRAFT"}"#;
    assert_snapshot!(bench.plan(&[change("u", &some, lacking)]), @r#"reject record 0 by orders → by_user: missing_key: key column "user_id" of "by_user" has no value"#);
}

#[test]
fn what_a_condition_asks_for_must_be_in_the_record() {
    let bench =
        Bench::new(&[spec("orders"), asking("orders", &["status != 'DRAFT'", "user_id > 3"])]).expect("it fits");
    let unavailable = row("5", "\"__debezium_unavailable_value\"");
    assert_snapshot!(bench.plan(&[change("u", "null", &unavailable)]), @r#"reject record 0 by orders → orders: unavailable: the record brings no value for column "status", which the route's `where` asks for (unchanged TOAST, or left out by the connector): set REPLICA IDENTITY FULL"#);
    assert_snapshot!(bench.plan(&[change("u", "null", r#"{"id":1,"user_id":5}"#)]), @r#"reject record 0 by orders → orders: unavailable: the record brings no value for column "status", which the route's `where` asks for (unchanged TOAST, or left out by the connector): set REPLICA IDENTITY FULL"#);
    // One condition that is not true is enough to know.
    let other = row("2", "\"__debezium_unavailable_value\"");
    assert_snapshot!(bench.plan(&[change("u", "null", &other)]), @r#"
    Upsert orders @101 id=Int(1) user_id=Int(2) note=Text("a")
    Delete orders @100 id=Int(1)
    "#);
}

#[test]
fn a_row_that_comes_in_by_an_update_has_no_cells_to_keep() {
    let update = change("u", "null", r#"{"id":1,"user_id":5,"note":"__debezium_unavailable_value","status":"PAID"}"#);
    let asking = asking("orders", &["status != 'DRAFT'"]);
    let bench = Bench::new(std::slice::from_ref(&asking)).expect("it fits");
    assert_snapshot!(bench.plan(std::slice::from_ref(&update)), @r#"reject record 0 by orders → orders: unavailable: the row is new under its key and brings no value for column "note" of "orders" (unchanged TOAST): set REPLICA IDENTITY FULL, or configure [source.postgres] and the route's `source_table`"#);
    let bench = Bench::new(&[RouteSpec { reselect: Some("public.orders".into()), ..asking }]).expect("it fits");
    let mut batch = bench.batch(&[update]);
    let wanted = lacked(&bench.routes, &batch.writes[0]);
    let names: Vec<&str> = wanted.iter().map(|at| bench.routes.topics[0].shape.fields[*at].name.as_str()).collect();
    assert_eq!(names, ["note"]);
    complete(&bench.routes, &mut batch, 0, Some(vec![Value::Text("now".into())])).expect("it fits");
    assert!(lacked(&bench.routes, &batch.writes[0]).is_empty());
}

#[test]
fn conditions_on_the_op_keep_out_what_only_a_snapshot_read() {
    let bench = Bench::new(&[asking("orders", &["op in ('create', 'u')"])]).expect("it fits");
    let paid = row("5", "\"PAID\"");
    assert_snapshot!(bench.plan(&[change("r", "null", &paid)]), @"Delete orders @100 id=Int(1)");
    assert_snapshot!(bench.plan(&[change("c", "null", &paid)]), @r#"Upsert orders @101 id=Int(1) user_id=Int(5) note=Text("a")"#);
}

#[test]
fn conditions_that_cannot_be_asked_are_refused_at_the_start() {
    assert_snapshot!(told(asking("orders", &["state = 'PAID'"])), @r#"route orders → orders: `where`, "state = 'PAID'", at character 1: nothing says the type of column "state": add it to the route: types = { "state" = "…" }, or add `source_table`"#);
    assert_snapshot!(told(asking("orders", &["status > 1", "user_id = 'x'"])), @r#"
    route orders → orders: `where`, "status > 1", at character 10: the column is compared with a text in single quotes
    route orders → orders: `where`, "user_id = 'x'", at character 11: the column is compared with a number, as in 10 or -0.5
    "#);
    assert_snapshot!(told(RouteSpec { format: Format::Flat, ..asking("orders", &["op = 'c'"]) }), @r#"route orders → orders: `where`, "op = 'c'": flattened records do not always say their op: ask for a column"#);
    let schemas = RouteSpec { schemas: true, ..asking("orders", &["total > 10"]) };
    assert_snapshot!(told(schemas), @r#"route orders → orders: `where`, "total > 10", at character 9: nothing says the column's type before the first record: add it to the route's `types`"#);
    assert_snapshot!(told(asking("orders", &["user_id = 1 or user_id = 2"])), @r#"route orders → orders: `where`, "user_id = 1 or user_id = 2", at character 13: the condition ends here: give each one as a text of its own, for all of them must hold"#);
}

#[test]
fn a_schema_block_that_changes_an_asked_column_is_a_stop() {
    let bench = Bench::new(&[asking("orders", &["status != 'DRAFT'"])]).expect("it fits");
    let shape = &bench.routes.topics[0].shape;
    let wires: Vec<_> = shape.fields.iter().map(|_| Some(crate::row::wire::Wire::Int64)).collect();
    let problem = bench.routes.check_wires("orders", &wires).expect_err("a text is no number");
    assert!(problem.contains("its column has another type by now"), "{problem}");
}
