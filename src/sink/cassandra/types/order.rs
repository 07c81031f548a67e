//! The server's order of values, in which the elements of its sets and the keys of its maps stand.
//!
//! The server sorts a set that is a column's value or inside a list or a map. Inside a tuple, a user-defined type or a
//! vector it keeps one as it was sent, and where a partition's token is computed nothing is sorted for us: there the
//! order on the wire has to be right. Facts: `org.apache.cassandra.db.marshal`, each kind checked against Cassandra
//! 5.0.8 by a test.

use std::cmp::Ordering;
use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};
use uuid::Uuid;

use crate::row::{Float, Kind, Value};

/// The elements of a set in the server's order; `None` when two of them are the same there.
pub fn sorted<'v>(item: &Kind, items: &'v [Value]) -> Option<Vec<&'v Value>> {
    let items = sort(item, items);
    let distinct = items.windows(2).all(|pair| compare(item, pair[0], pair[1]).is_lt());
    distinct.then_some(items)
}

/// The pairs of a map in the server's order; `None` when two keys are the same there.
pub fn sorted_pairs<'v>(key: &Kind, pairs: &'v [(Value, Value)]) -> Option<Vec<&'v (Value, Value)>> {
    let pairs = sort_pairs(key, pairs);
    let distinct = pairs.windows(2).all(|pair| compare(key, &pair[0].0, &pair[1].0).is_lt());
    distinct.then_some(pairs)
}

fn sort<'v>(item: &Kind, items: &'v [Value]) -> Vec<&'v Value> {
    let mut items: Vec<&Value> = items.iter().collect();
    items.sort_by(|left, right| compare(item, left, right));
    items
}

fn sort_pairs<'v>(key: &Kind, pairs: &'v [(Value, Value)]) -> Vec<&'v (Value, Value)> {
    let mut pairs: Vec<&(Value, Value)> = pairs.iter().collect();
    pairs.sort_by(|left, right| compare(key, &left.0, &right.0));
    pairs
}

/// Compares two values of a kind as the server does. Nulls, which only tuples and structs have, come first.
fn compare(kind: &Kind, left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right))
        | (Value::Time(left), Value::Time(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Decimal(left), Value::Decimal(right)) => compare_decimals(left, right),
        (Value::Float32(left), Value::Float32(right)) | (Value::Float64(left), Value::Float64(right)) => {
            compare_floats(*left, *right)
        }
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Uuid(left), Value::Uuid(right)) if *kind == Kind::TimeUuid => compare_timeuuids(*left, *right),
        (Value::Uuid(left), Value::Uuid(right)) => compare_uuids(*left, *right),
        (Value::Inet(left), Value::Inet(right)) => compare_addresses(*left, *right),
        (Value::List(left), Value::List(right)) => compare_lists(kind, left, right),
        (Value::Map(left), Value::Map(right)) => compare_maps(kind, left, right),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        // Values of two kinds do not get here.
        _ => Ordering::Equal,
    }
}

fn compare_lists(kind: &Kind, left: &[Value], right: &[Value]) -> Ordering {
    let by_parts = |kinds: &mut dyn Iterator<Item = &Kind>| {
        let pairs = kinds.zip(left.iter().zip(right));
        first_difference(pairs.map(|(kind, (left, right))| compare(kind, left, right)))
    };
    match kind {
        Kind::List(item) | Kind::Vector(item, _) => {
            let pairs = left.iter().zip(right);
            first_difference(pairs.map(|(left, right)| compare(item, left, right))).then(left.len().cmp(&right.len()))
        }
        Kind::Set(item) => {
            let pairs = sort(item, left).into_iter().zip(sort(item, right));
            first_difference(pairs.map(|(left, right)| compare(item, left, right))).then(left.len().cmp(&right.len()))
        }
        Kind::Tuple(kinds) => by_parts(&mut kinds.iter()),
        Kind::Struct(fields) => by_parts(&mut fields.iter().map(|(_, kind)| kind)),
        _ => Ordering::Equal,
    }
}

fn compare_maps(kind: &Kind, left: &[(Value, Value)], right: &[(Value, Value)]) -> Ordering {
    let Kind::Map(key, value) = kind else { return Ordering::Equal };
    let pairs = sort_pairs(key, left).into_iter().zip(sort_pairs(key, right));
    let compared =
        pairs.map(|(left, right)| compare(key, &left.0, &right.0).then_with(|| compare(value, &left.1, &right.1)));
    first_difference(compared).then(left.len().cmp(&right.len()))
}

fn first_difference(mut compared: impl Iterator<Item = Ordering>) -> Ordering {
    compared.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

/// By number, whatever the scale. Never writes out the zeros of a large exponent.
fn compare_decimals(left: &BigDecimal, right: &BigDecimal) -> Ordering {
    let ((left_digits, left_scale), (right_digits, right_scale)) =
        (left.as_bigint_and_scale(), right.as_bigint_and_scale());
    let by_sign = left_digits.sign().cmp(&right_digits.sign());
    if by_sign.is_ne() || left_digits.sign() == Sign::NoSign {
        return by_sign;
    }
    if left_scale == right_scale {
        return left_digits.cmp(&right_digits);
    }
    let first_digit = |decimal: &BigDecimal, scale: i64| i128::from(decimal.digits()) - i128::from(scale);
    let by_size = first_digit(left, left_scale).cmp(&first_digit(right, right_scale));
    if by_size.is_ne() {
        return if left_digits.sign() == Sign::Minus { by_size.reverse() } else { by_size };
    }
    // The first digits stand at the same place, so the scales differ by no more than the numbers have digits.
    let raised = |digits: &BigInt, by: i64| digits * BigInt::from(10).pow(u32::try_from(by).unwrap_or(0));
    raised(&left_digits, right_scale - left_scale).cmp(&raised(&right_digits, left_scale - right_scale))
}

/// -0.0 before 0.0, and NaN behind all.
fn compare_floats(left: Float, right: Float) -> Ordering {
    let one_nan = |float: Float| if float.0.is_nan() { f64::NAN.abs() } else { float.0 };
    one_nan(left).total_cmp(&one_nan(right))
}

/// By version, then by time where the version has one, then by bytes.
fn compare_uuids(left: Uuid, right: Uuid) -> Ordering {
    let version = left.get_version_num().cmp(&right.get_version_num());
    let by_time = if left.get_version_num() == 1 { time_of(left).cmp(&time_of(right)) } else { Ordering::Equal };
    version.then(by_time).then_with(|| left.cmp(&right))
}

/// By time, then by the last eight bytes, each of them signed.
fn compare_timeuuids(left: Uuid, right: Uuid) -> Ordering {
    let signed = |uuid: Uuid| uuid.as_u64_pair().1 ^ 0x8080_8080_8080_8080;
    time_of(left).cmp(&time_of(right)).then_with(|| signed(left).cmp(&signed(right)))
}

/// The first eight bytes of a version 1 UUID with the highest part of its time in front.
fn time_of(uuid: Uuid) -> u64 {
    let (low, middle, high, _) = uuid.as_fields();
    u64::from(high) << 48 | u64::from(middle) << 32 | u64::from(low)
}

fn compare_addresses(left: IpAddr, right: IpAddr) -> Ordering {
    match (left, right) {
        (IpAddr::V4(left), IpAddr::V4(right)) => left.octets().cmp(&right.octets()),
        (IpAddr::V6(left), IpAddr::V6(right)) => left.octets().cmp(&right.octets()),
        (IpAddr::V4(left), IpAddr::V6(right)) => left.octets()[..].cmp(&right.octets()[..]),
        (IpAddr::V6(left), IpAddr::V4(right)) => left.octets()[..].cmp(&right.octets()[..]),
    }
}
