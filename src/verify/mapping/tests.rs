//! Rows through a route, compared value by value.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use bigdecimal::BigDecimal;

use super::*;
use crate::plan::route::{RouteSpec, Routes};

/// `orders (id, user_id, total)` → `orders_by_user ((user_id), order_id, total)`, unless told otherwise.
pub fn orders_by_user(source: &[(&str, &str, Kind)], source_key: &[&str]) -> Result<Mapping, Vec<String>> {
    asking(source, source_key, &[])
}

/// The same for a route with a `where`.
fn asking(source: &[(&str, &str, Kind)], source_key: &[&str], conditions: &[&str]) -> Result<Mapping, Vec<String>> {
    let target = TargetTable {
        name: "orders_by_user".into(),
        columns: [("user_id", Kind::Int64), ("order_id", Kind::Int64), ("total", Kind::Decimal)]
            .map(|(name, kind)| Column { name: name.into(), kind })
            .into(),
        key: vec!["user_id".into(), "order_id".into()],
    };
    let renamed = BTreeMap::from([("order_id".into(), "id".into())]);
    let conditions = conditions.iter().map(|text| text.to_string()).collect();
    let spec = RouteSpec { renamed, conditions, schemas: true, ..RouteSpec::new("t", &target.name, &["id"]) };
    let spec = spec.typed(&[("total", "numeric"), ("note", "text")]);
    let routes =
        Routes::resolve(&[spec], &BTreeMap::from([(target.name.clone(), target)])).expect("the route is right");
    let column = |(name, type_name, kind): &(&str, &str, Kind)| SourceColumn {
        name: (*name).into(),
        type_name: (*type_name).into(),
        kind: Some(kind.clone()),
        blank_padded: type_name.starts_with("character("),
    };
    let source = SourceTable {
        name: "public.orders".into(),
        columns: source.iter().map(column).collect(),
        key: source_key.iter().map(|name| (*name).into()).collect(),
    };
    Mapping::new(&routes.routes[0], &routes.topics[0], &source)
}

pub fn mapping() -> Mapping {
    let source = [
        ("total", "numeric", Kind::Decimal),
        ("id", "integer", Kind::Int32),
        ("note", "text", Kind::Text),
        ("user_id", "bigint", Kind::Int64),
    ];
    orders_by_user(&source, &["id"]).expect("it can be mapped")
}

pub fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).expect("a number"))
}

#[test]
fn keys_are_found_in_both_directions() {
    let mapping = mapping();
    let read: Vec<&str> = mapping.source.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(read, ["user_id", "id", "total"], "only what is needed is read");
    let source = [Value::Int(7), Value::Int(1), decimal("1.50")];
    assert_eq!(mapping.source_key(&source), [Value::Int(1)]);
    assert_eq!(mapping.target_key(&source), [Value::Int(7), Value::Int(1)]);
    assert_eq!(mapping.source_key_of(&[Value::Int(7), Value::Int(1)]), Some(vec![Value::Int(1)]));
    // The target's bigint holds what the source's integer cannot: nothing there to ask for.
    assert_eq!(mapping.source_key_of(&[Value::Int(7), Value::Int(1 << 40)]), None);
    assert!(mapping.is_equal(&source, &[Value::Int(7), Value::Int(1), decimal("1.5")]));
    assert!(!mapping.is_equal(&source, &[Value::Int(7), Value::Int(1), Value::Null]));
}

#[test]
fn values_are_compared_not_their_forms() {
    for (source, target, equal) in [
        (decimal("1.50"), decimal("1.5"), true),
        (decimal("0.00"), decimal("0"), true),
        (decimal("100"), decimal("1e2"), true),
        (decimal("-0.5"), decimal("0.5"), false),
        (decimal("1.5"), decimal("1.51"), false),
        (decimal("1"), decimal("1e-2000000000"), false),
        (decimal("0"), Value::Null, false),
        (Value::Text("".into()), Value::Null, false),
        (Value::Text("a ".into()), Value::Text("a".into()), false),
        (Value::Null, Value::Null, true),
        // Cassandra keeps milliseconds: what has more is not what is there.
        (Value::Timestamp(1_000), Value::Timestamp(1_000), true),
        (Value::Timestamp(1_001), Value::Timestamp(1_000), false),
    ] {
        assert_eq!(same(&source, &target), equal, "{source:?} {target:?}");
    }
}

#[test]
fn a_target_may_hold_fewer_values_than_its_source() {
    for (source, target, compared) in [
        (Kind::Timestamp, Kind::TimestampMillis, true),
        (Kind::Text, Kind::Ascii, true),
        (Kind::Int64, Kind::Int16, true),
        (Kind::Text, Kind::Bytes, false),
        (Kind::Date, Kind::TimestampMillis, false),
    ] {
        let column =
            SourceColumn { name: "c".into(), type_name: "t".into(), kind: Some(source.clone()), blank_padded: false };
        assert_eq!(kind_for(&column, true, "c", &target).ok(), compared.then_some(source));
    }
}

#[test]
fn what_the_source_cannot_hold_is_not_asked_for() {
    for (kind, value, holds) in [
        (Kind::Int16, Value::Int(32_767), true),
        (Kind::Int16, Value::Int(32_768), false),
        (Kind::Text, Value::Text("a\0".into()), false),
        (Kind::Date, Value::Date(i32::MIN), false),
        (Kind::Date, Value::Date(0), true),
        (Kind::Timestamp, Value::Timestamp(i64::MIN), false),
        (Kind::Decimal, decimal("1e-20000"), false),
        (Kind::Decimal, decimal("1e200000"), false),
        (Kind::Decimal, decimal("123.45"), true),
        (Kind::Uuid, Value::Null, false),
    ] {
        assert_eq!(source_holds(&kind, &value), holds, "{value:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_its_mend() {
    let told = |source: &[(&str, &str, Kind)], key: &[&str]| {
        orders_by_user(source, key).expect_err("it is wrong").join("\n").replace("route t → orders_by_user: ", "")
    };
    let id = ("id", "integer", Kind::Int32);
    let user = ("user_id", "bigint", Kind::Int64);
    let total = ("total", "numeric", Kind::Decimal);
    insta::assert_snapshot!(told(&[("id", "uuid", Kind::Uuid), user.clone()], &["id"]), @r#"
    column "id" of the source has type uuid, and "order_id", which it feeds, is int64: such values cannot be compared; give the target's column the source's type
    source table "public.orders" has no column "total", which feeds "total": correct the route's `columns`
    "#);
    insta::assert_snapshot!(told(&[id, user.clone(), total.clone()], &["id", "user_id"]), @r#"`source_key` is [id], the primary key of "public.orders" is [id, user_id]: correct `source_key`, or the table"#);
    insta::assert_snapshot!(told(&[("id", "character(3)", Kind::Int32), user, total], &["id"]), @r#"key column "id" of "public.orders" is character(3), whose padded values cannot be looked up by verify: make it varchar"#);
}

#[test]
fn a_constant_is_expected_and_what_only_the_record_says_is_not_compared() {
    let mut mapping = mapping();
    mapping.columns[2].origin = Origin::Constant(decimal("2"));
    let source = [Value::Int(7), Value::Int(1), decimal("1.50")];
    let with = |total: &str| [Value::Int(7), Value::Int(1), decimal(total)];
    assert!(mapping.is_equal(&source, &with("2.0")) && !mapping.is_equal(&source, &with("1.50")));
    mapping.columns[2].origin = Origin::Record;
    assert!(mapping.is_equal(&source, &with("99")));
    mapping.columns[0].origin = Origin::Constant(Value::Int(3));
    assert_eq!(mapping.target_key(&source), [Value::Int(3), Value::Int(1)]);
}

#[test]
fn rows_that_where_keeps_out_do_not_belong() {
    let source = [
        ("id", "integer", Kind::Int32),
        ("user_id", "bigint", Kind::Int64),
        ("total", "numeric", Kind::Decimal),
        ("note", "text", Kind::Text),
    ];
    let mapping = asking(&source, &["id"], &["note != 'draft'", "total > 1"]).expect("it can be mapped");
    let read: Vec<&str> = mapping.source.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(read, ["user_id", "id", "total", "note"]);
    let belongs = |total: &str, note: Value| mapping.belongs(&[Value::Int(7), Value::Int(1), decimal(total), note]);
    assert!(belongs("1.01", Value::Text("paid".into())));
    assert!(!belongs("1", Value::Text("paid".into())) && !belongs("2", Value::Text("draft".into())));
    assert!(!belongs("2", Value::Null), "a comparison with null is not true");
    let problems = asking(&source, &["id"], &["op = 'c'"]).expect_err("no row says it");
    assert!(problems[0].contains("leave it out with --table"), "{problems:?}");
}
