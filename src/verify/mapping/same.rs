//! When two values of one column are the same, whatever their form.

use bytestring::ByteString;

use crate::row::{Kind, Value};

/// Whether two values of a kind are the same: 1.50 is 1.5, sets and maps have no order, and a set, map or struct that
/// is not frozen is null where it is empty. Floats are the same bit by bit, and NaN is NaN.
pub fn same_of(kind: &Kind, one: &Value, other: &Value) -> bool {
    match kind {
        Kind::List(_) | Kind::Set(_) | Kind::Map(..) | Kind::Vector(..) | Kind::Tuple(_) | Kind::Struct(_) => {
            canonical(kind, one) == canonical(kind, other)
        }
        _ => match (one, other) {
            (Value::Decimal(_), Value::Decimal(_)) => canonical(kind, one) == canonical(kind, other),
            _ => one == other,
        },
    }
}

/// Whether two texts are one JSON object: an hstore has no order that is kept on every way.
pub fn same_object(one: &Value, other: &Value) -> bool {
    let (Value::Text(one), Value::Text(other)) = (one, other) else { return false };
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    read(one).is_some_and(|one| Some(one) == read(other))
}

/// One form for all values that are the same.
fn canonical(kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        // Not a decimal: to compare two of them, the crate writes out all zeros of what a target may hold, and
        // 1e-2000000000 is a decimal there.
        (_, Value::Decimal(number)) => {
            let number = number.normalized();
            let (digits, decimals) = number.as_bigint_and_scale();
            Value::Text(ByteString::from(format!("{digits} {decimals}")))
        }
        (Kind::Set(item), Value::List(items)) => match items[..] {
            [] => Value::Null,
            _ => Value::List(sorted(items.iter().map(|value| canonical(item, value)).collect())),
        },
        (Kind::Map(keys, values), Value::Map(pairs)) => match pairs[..] {
            [] => Value::Null,
            _ => {
                let pair = |(key, value): &(Value, Value)| (canonical(keys, key), canonical(values, value));
                Value::Map(sorted(pairs.iter().map(pair).collect()))
            }
        },
        (Kind::List(item) | Kind::Vector(item, _), Value::List(items)) => {
            Value::List(items.iter().map(|value| canonical(item, value)).collect())
        }
        (Kind::Tuple(kinds), Value::List(items)) => Value::List(parts(kinds.iter(), items)),
        (Kind::Struct(fields), Value::List(items)) => {
            if items.iter().all(|item| *item == Value::Null) {
                return Value::Null;
            }
            Value::List(parts(fields.iter().map(|(_, kind)| kind), items))
        }
        _ => value.clone(),
    }
}

fn parts<'k>(kinds: impl Iterator<Item = &'k Kind>, items: &[Value]) -> Vec<Value> {
    kinds.zip(items).map(|(kind, value)| canonical(kind, value)).collect()
}

/// In an order that only has to be the same every time.
fn sorted<T: std::fmt::Debug>(mut items: Vec<T>) -> Vec<T> {
    items.sort_by_cached_key(|item| format!("{item:?}"));
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Float;

    fn decimal(text: &str) -> Value {
        Value::Decimal(text.parse().expect("a number"))
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
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
            (text(""), Value::Null, false),
            (text("a "), text("a"), false),
            (Value::Null, Value::Null, true),
            (Value::Timestamp(1_001), Value::Timestamp(1_000), false),
            (Value::Float64(Float(f64::NAN)), Value::Float64(Float(-f64::NAN)), true),
            (Value::Float64(Float(0.0)), Value::Float64(Float(-0.0)), false),
        ] {
            let kind = if matches!(source, Value::Decimal(_)) { Kind::Decimal } else { Kind::Text };
            assert_eq!(same_of(&kind, &source, &target), equal, "{source:?} {target:?}");
        }
    }

    #[test]
    fn sets_and_maps_have_no_order_and_lists_have() {
        let list = |items: &[&str]| Value::List(items.iter().map(|item| decimal(item)).collect());
        let (one, other) = (list(&["1.0", "2"]), list(&["2.00", "1"]));
        assert!(same_of(&Kind::Set(Box::new(Kind::Decimal)), &one, &other));
        assert!(!same_of(&Kind::Set(Box::new(Kind::Decimal)), &one, &list(&["2", "3"])));
        assert!(!same_of(&Kind::Set(Box::new(Kind::Decimal)), &one, &list(&["1"])));
        assert!(!same_of(&Kind::List(Box::new(Kind::Decimal)), &one, &other));
        assert!(same_of(&Kind::List(Box::new(Kind::Decimal)), &one, &list(&["1", "2"])));
        assert!(!same_of(&Kind::List(Box::new(Kind::Decimal)), &one, &list(&["1", "2", "2"])));
        assert!(same_of(&Kind::Tuple(vec![Kind::Decimal; 2]), &one, &list(&["1", "2"])));

        let map = |pairs: &[(&str, &str)]| Value::Map(pairs.iter().map(|(k, v)| (text(k), decimal(v))).collect());
        let kind = Kind::Map(Box::new(Kind::Text), Box::new(Kind::Decimal));
        assert!(same_of(&kind, &map(&[("a", "1"), ("b", "2")]), &map(&[("b", "2.0"), ("a", "1.0")])));
        assert!(!same_of(&kind, &map(&[("a", "1"), ("b", "2")]), &map(&[("b", "1"), ("a", "2")])));
        let nested = Kind::List(Box::new(Kind::Set(Box::new(Kind::Decimal))));
        assert!(same_of(&nested, &Value::List(vec![one.clone()]), &Value::List(vec![other.clone()])));
    }

    #[test]
    fn what_is_empty_and_not_frozen_is_null() {
        let (set, list) = (Kind::Set(Box::new(Kind::Int32)), Kind::List(Box::new(Kind::Int32)));
        let map = Kind::Map(Box::new(Kind::Text), Box::new(Kind::Text));
        let place = Kind::Struct(vec![("x".into(), Kind::Int32), ("y".into(), Kind::Int32)]);
        assert!(same_of(&set, &Value::List(vec![]), &Value::Null));
        assert!(same_of(&map, &Value::Map(vec![]), &Value::Null));
        assert!(same_of(&place, &Value::List(vec![Value::Null, Value::Null]), &Value::Null));
        assert!(!same_of(&place, &Value::List(vec![Value::Null, Value::Int(1)]), &Value::Null));
        assert!(!same_of(&list, &Value::List(vec![]), &Value::Null));
        assert!(!same_of(&set, &Value::List(vec![Value::Int(1)]), &Value::Null));
    }

    #[test]
    fn an_hstore_as_text_is_one_object_in_any_order() {
        assert!(same_object(&text(r#"{"a":"1","b":null}"#), &text(r#"{"b":null,"a":"1"}"#)));
        assert!(!same_object(&text(r#"{"a":"1"}"#), &text(r#"{"a":"2"}"#)));
        assert!(!same_object(&text("no"), &text("no json")));
    }
}
