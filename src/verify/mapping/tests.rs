//! Rows through a route, compared value by value.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;

use super::*;
use crate::plan::route::{RouteSpec, Routes, TargetTable};
use crate::plan::source::SourceFact;
use crate::plan::ttl::TtlSpec;
use crate::row::Column;

/// `orders (id, user_id, total)` → `orders_by_user ((user_id), order_id, total)`, unless told otherwise.
pub fn orders_by_user(source: &[(&str, &str)], source_key: &[&str]) -> Result<Mapping, Vec<String>> {
    mapped(source, source_key, |spec| spec)
}

fn mapped(
    source: &[(&str, &str)],
    source_key: &[&str],
    change: impl Fn(RouteSpec) -> RouteSpec,
) -> Result<Mapping, Vec<String>> {
    let target = TargetTable {
        name: "orders_by_user".into(),
        columns: [("user_id", Kind::Int64), ("order_id", Kind::Int64), ("total", Kind::Decimal)]
            .map(|(name, kind)| Column { name: name.into(), kind })
            .into(),
        key: vec!["user_id".into(), "order_id".into()],
    };
    let renamed = BTreeMap::from([("order_id".into(), "id".into())]);
    let spec = RouteSpec { renamed, ..RouteSpec::new("t", &target.name, &["id"]) };
    let spec = change(spec.typed(&[
        ("id", "int"),
        ("user_id", "bigint"),
        ("total", "numeric"),
        ("note", "text"),
        ("until", "timestamptz"),
    ]));
    let routes =
        Routes::resolve(&[spec], &BTreeMap::from([(target.name.clone(), target)])).expect("the route is right");
    let fact = |(name, pg_type): &(&str, &str)| SourceFact {
        name: (*name).into(),
        pg_type: (*pg_type).into(),
        null_or_default: false,
        out_of_line: false,
    };
    let facts = SourceFacts {
        table: "public.orders".into(),
        columns: source.iter().map(fact).collect(),
        key: source_key.iter().map(|name| (*name).into()).collect(),
        full_identity: true,
    };
    let types = source.iter().map(|(name, pg_type)| (name.to_string(), pg_type.to_string())).collect();
    Mapping::new(&routes.routes[0], &routes.topics[0], &facts, &types)
}

const SOURCE: [(&str, &str); 5] = [
    ("total", "numeric"),
    ("id", "integer"),
    ("note", "text"),
    ("user_id", "bigint"),
    ("until", "timestamp with time zone"),
];

pub fn mapping() -> Mapping {
    orders_by_user(&SOURCE, &["id"]).expect("it can be mapped")
}

/// The same, where rows end after their record: a row that is not there need not be.
pub fn mapping_with_ends() -> Mapping {
    let ending = |spec| RouteSpec { ttl: Some(TtlSpec::Seconds(60)), ..spec };
    mapped(&SOURCE, &["id"], ending).expect("it can be mapped")
}

pub fn decimal(text: &str) -> Value {
    Value::Decimal(BigDecimal::from_str(text).expect("a number"))
}

#[test]
fn keys_are_found_in_both_directions() {
    let mapping = mapping();
    let read: Vec<&str> = mapping.source.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(read, ["user_id", "id", "total"], "only what is needed is read");
    let source = [Value::Int(7), Value::Int(1), decimal("1.50")];
    let key = mapping.target_key(&source);
    assert_eq!(key, [Value::Int(7), Value::Int(1)]);
    assert_eq!(mapping.source_key_of(&key), Some(vec!["1".to_string()]));
    assert_eq!(mapping.owner_of(&key), mapping.owner_of(&[Value::Int(8), Value::Int(1)]), "one row of the source");
    assert_ne!(mapping.owner_of(&key), mapping.owner_of(&[Value::Int(7), Value::Int(2)]));
    assert!(mapping.is_equal(&source, &[Value::Int(7), Value::Int(1), decimal("1.5")]));
    assert!(!mapping.is_equal(&source, &[Value::Int(7), Value::Int(1), Value::Null]));
}

#[test]
fn what_cannot_be_compared_is_refused_with_its_mend() {
    let told = |source: &[(&str, &str)], key: &[&str]| {
        orders_by_user(source, key).expect_err("it is wrong").join("\n").replace("route t → orders_by_user: ", "")
    };
    let (id, user) = (("id", "integer"), ("user_id", "bigint"));
    insta::assert_snapshot!(told(&[id, user], &["id"]), @r#"source table "public.orders" has no column "total", which feeds "total": correct the route's `columns`, or its `source_table`"#);
    insta::assert_snapshot!(told(&[id, user, ("total", "numeric")], &["id", "user_id"]), @r#"`source_key` is [id], the primary key of "public.orders" is [id, user_id]: correct `source_key`, or the table"#);
    let problems = mapped(&SOURCE, &["id"], |spec| {
        let policies = [("order_id".to_string(), Policy { lossy: true, ..Policy::default() })].into();
        RouteSpec { policies, ..spec }.typed(&[("id", "interval")])
    });
    insta::assert_snapshot!(problems.expect_err("the months are lost").join("\n"), @r#"route t → orders_by_user: key column "id" of the source has type integer, and "order_id", which it feeds, is int64: a source row cannot be found by such a value; give the target's column the source's type"#);
}

#[test]
fn a_constant_is_expected_and_what_only_the_record_says_is_not_compared() {
    let mut mapping = mapping();
    mapping.columns[2].origin = Origin::Constant(decimal("2"));
    let source = [Value::Int(7), Value::Int(1), decimal("1.50")];
    let with = |total: &str| [Value::Int(7), Value::Int(1), decimal(total)];
    assert!(mapping.is_equal(&source, &with("2.0")) && !mapping.is_equal(&source, &with("1.50")));
    assert!(mapping.not_compared().is_empty());
    mapping.columns[2].origin = Origin::Record;
    assert!(mapping.is_equal(&source, &with("99")));
    assert_eq!(mapping.not_compared(), ["total"]);
    mapping.columns[0].origin = Origin::Constant(Value::Int(3));
    assert_eq!(mapping.target_key(&source), [Value::Int(3), Value::Int(1)]);
}

/// A route with a `where`.
fn asking(conditions: &[&str]) -> Mapping {
    let conditions: Vec<String> = conditions.iter().map(|text| text.to_string()).collect();
    mapped(&SOURCE, &["id"], |spec| RouteSpec { conditions: conditions.clone(), ..spec }).expect("it can be mapped")
}

#[test]
fn rows_that_where_keeps_out_do_not_belong() {
    let mapping = asking(&["note != 'draft'", "total > 1"]);
    let read: Vec<&str> = mapping.source.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(read, ["user_id", "id", "total", "note"]);
    let text = |text: &str| Value::Text(text.into());
    let standing = |total: &str, note| mapping.standing(&[Value::Int(7), Value::Int(1), decimal(total), note], 0);
    assert_eq!(standing("1.01", text("paid")), Standing::Belongs);
    assert_eq!(standing("1", text("paid")), Standing::Out);
    assert_eq!(standing("2", text("draft")), Standing::Out);
    assert_eq!(standing("2", Value::Null), Standing::Out, "a comparison with null is not true");
    assert_eq!(mapping.unknown_why(), None);
}

#[test]
fn a_where_that_asks_for_the_op_leaves_unknown_what_it_does_not_keep_out() {
    let mapping = asking(&["op = 'c'", "total > 1"]);
    let standing = |total: &str| mapping.standing(&[Value::Int(7), Value::Int(1), decimal(total)], 0);
    assert_eq!(standing("2"), Standing::Unknown);
    assert_eq!(standing("1"), Standing::Out);
    assert_eq!(mapping.unknown_why(), Some("`where` asks for the op"));
}

#[test]
fn rows_belong_until_they_end_and_close_to_it_nobody_can_tell() {
    let ending = |spec| RouteSpec { ttl: Some(TtlSpec::Column("until".into())), ..spec };
    let mapping = mapped(&SOURCE, &["id"], ending).expect("it can be mapped");
    let standing = |until: Value, now_s: i64| {
        mapping.standing(&[Value::Int(7), Value::Int(1), decimal("1"), until], now_s * 1_000)
    };
    let hour = || Value::Timestamp(3_600_000_000);
    assert_eq!(standing(hour(), 3_600 - 61), Standing::Belongs);
    for near in [3_600 - 60, 3_600, 3_600 + 60] {
        assert_eq!(standing(hour(), near), Standing::Unknown);
    }
    assert_eq!(standing(hour(), 3_600 + 61), Standing::Out);
    assert_eq!(standing(Value::Null, i64::MAX / 1_000), Standing::Belongs);
    assert_eq!(standing(Value::Special(crate::row::Special::NegativeInfinity), 0), Standing::Out);
    let after_record = mapping_with_ends();
    assert_eq!(after_record.standing(&[Value::Int(7), Value::Int(1), decimal("1")], 0), Standing::Unknown);
}

#[test]
fn an_hstore_as_text_is_compared_as_an_object() {
    let mut mapping = mapping();
    mapping.columns[2].kind = Kind::Text;
    let text = |text: &str| Value::Text(text.into());
    let source = [Value::Int(7), Value::Int(1), Value::Map(vec![(text("b"), text("1")), (text("a"), Value::Null)])];
    let with = |total: &str| [Value::Int(7), Value::Int(1), text(total)];
    assert!(mapping.is_equal(&source, &with(r#"{"a":null,"b":"1"}"#)));
    assert!(!mapping.is_equal(&source, &with(r#"{"a":null,"b":"2"}"#)));
    // Of a text column every character counts.
    let source = [Value::Int(7), Value::Int(1), text(r#"{"a":1}"#)];
    assert!(!mapping.is_equal(&source, &with(r#"{"a": 1}"#)));
}

#[test]
fn a_record_and_a_target_row_of_one_source_row_have_one_owner() {
    let mapping = mapping();
    let field = |name: &str, wire| crate::row::Field { name: name.into(), wire: Some(wire), declared: true };
    // The topic's fields stand in another order than the source's columns.
    let fields = vec![field("total", Wire::Int64), field("id", Wire::Int32), field("user_id", Wire::Int64)];
    let shape = Shape::new(crate::row::Format::Envelope, fields, vec![1]);
    let owner = |key: &[Value]| mapping.owner_of_record(&shape, key);
    let key = owner(&[Value::Absent, Value::Int(5), Value::Absent]);
    assert_eq!(key, mapping.owner_of(&[Value::Int(1), Value::Int(5)]));
    assert_eq!(key, mapping.owner_of(&[Value::Int(2), Value::Int(5)]), "under whatever user it stands");
    assert_ne!(key, owner(&[Value::Absent, Value::Int(6), Value::Absent]));
}
