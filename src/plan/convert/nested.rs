//! Values with values inside: lists, sets, maps, vectors, tuples, and what has named parts.

use std::collections::HashSet;

use crate::plan::convert::{Misfit, Policy, convert, out_of_range, unrepresentable, wrong};
use crate::row::{Float, Kind, Value};

const NULL_ELEMENT: &str = "has a null element, which it cannot hold";
const OTHER_LENGTH: &str = "has another number of elements than it holds";

/// The value of a part by its name.
pub fn part<'v>(parts: &'v [(&'static str, Value)], name: &str) -> Option<&'v Value> {
    parts.iter().find(|(part, _)| *part == name).map(|(_, value)| value)
}

/// A geometry's bytes, which carry its SRID where it has one.
pub fn to_bytes(value: &Value) -> Result<Value, Misfit> {
    match value {
        Value::Struct(parts) => match part(parts, "wkb") {
            Some(wkb @ Value::Bytes(_)) => Ok(wkb.clone()),
            _ => Err(wrong(value)),
        },
        _ => Err(wrong(value)),
    }
}

pub fn to_list(value: &Value, item: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let Value::List(values) = value else { return Err(wrong(value)) };
    list_of(elements(values, item, policy)?, policy)
}

/// Elements that are equal once they are converted are one. A set has an order of its own, of which nothing is known
/// here.
pub fn to_set(value: &Value, item: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let Value::List(values) = value else { return Err(wrong(value)) };
    let Some(mut values) = elements(values, item, policy)? else { return list_of(None, policy) };
    let mut seen = HashSet::with_capacity(values.len());
    let is_new: Vec<bool> = values.iter().map(|value| seen.insert(value)).collect();
    if is_new.contains(&false) {
        if !policy.lossy {
            return Err(out_of_range("would lose elements that are there twice"));
        }
        let mut is_new = is_new.into_iter();
        values.retain(|_| is_new.next() == Some(true));
    }
    Ok(Value::List(values))
}

/// hstore, or a sparse vector's numbers by their index.
pub fn to_map(value: &Value, keys: &Kind, values: &Kind, policy: Policy) -> Result<Value, Misfit> {
    let pairs = match value {
        Value::Map(pairs) => pairs,
        Value::Struct(parts) => sparse(parts).ok_or_else(|| wrong(value))?.1,
        _ => return Err(wrong(value)),
    };
    let mut map = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match (inside(key, keys, policy)?, inside(value, values, policy)?) {
            (Value::Null, _) | (_, Value::Null) => return list_of(None, policy),
            pair => map.push(pair),
        }
    }
    let mut seen = HashSet::with_capacity(map.len());
    if !map.iter().all(|(key, _)| seen.insert(key)) {
        return Err(out_of_range("has a key twice"));
    }
    Ok(Value::Map(map))
}

pub fn to_vector(value: &Value, item: &Kind, dimensions: usize, policy: Policy) -> Result<Value, Misfit> {
    match value {
        Value::List(values) if values.len() != dimensions => Err(out_of_range(OTHER_LENGTH)),
        Value::List(values) => list_of(elements(values, item, policy)?, policy),
        Value::Struct(parts) => {
            let (length, pairs) = sparse(parts).ok_or_else(|| wrong(value))?;
            if usize::try_from(length) != Ok(dimensions) {
                return Err(out_of_range(OTHER_LENGTH));
            }
            list_of(elements(&dense(pairs, dimensions)?, item, policy)?, policy)
        }
        _ => Err(wrong(value)),
    }
}

/// One element for each part. A point is its two coordinates, or these and its SRID.
pub fn to_tuple(value: &Value, items: &[Kind], policy: Policy) -> Result<Value, Misfit> {
    let values: Vec<&Value> = match value {
        Value::List(values) => values.iter().collect(),
        Value::Struct(parts) if matches!(items.len(), 2 | 3) => {
            let named = ["x", "y", "srid"].iter().take(items.len()).map(|name| part(parts, name));
            named.collect::<Option<_>>().ok_or_else(|| wrong(value))?
        }
        _ => return Err(wrong(value)),
    };
    if values.len() != items.len() {
        return Err(out_of_range(OTHER_LENGTH));
    }
    let items = values.iter().zip(items).map(|(value, item)| inside(value, item, policy));
    items.collect::<Result<_, _>>().map(Value::List)
}

/// Parts by name: each that the kind names, and none of the others.
pub fn to_struct(value: &Value, fields: &[(String, Kind)], policy: Policy) -> Result<Value, Misfit> {
    let Value::Struct(parts) = value else { return Err(wrong(value)) };
    let parts = fields.iter().map(|(name, kind)| inside(part(parts, name).ok_or_else(|| wrong(value))?, kind, policy));
    parts.collect::<Result<_, _>>().map(Value::List)
}

/// A value inside another: null is one, and nothing is absent there.
fn inside(value: &Value, kind: &Kind, policy: Policy) -> Result<Value, Misfit> {
    match value {
        Value::Absent | Value::Unavailable => Err(wrong(value)),
        _ => convert(value, kind, policy),
    }
}

/// All elements, or `None` when one of them is null or becomes it.
fn elements(values: &[Value], item: &Kind, policy: Policy) -> Result<Option<Vec<Value>>, Misfit> {
    let mut elements = Vec::with_capacity(values.len());
    for value in values {
        match inside(value, item, policy)? {
            Value::Null => return Ok(None),
            element => elements.push(element),
        }
    }
    Ok(Some(elements))
}

/// A list without the null element would be another list, so it is null as a whole where the policy is null.
fn list_of(elements: Option<Vec<Value>>, policy: Policy) -> Result<Value, Misfit> {
    match elements {
        Some(elements) => Ok(Value::List(elements)),
        None => unrepresentable(policy, None, NULL_ELEMENT),
    }
}

/// A sparse vector's dimensions and its numbers by their index.
fn sparse<'v>(parts: &'v [(&'static str, Value)]) -> Option<(i64, &'v [(Value, Value)])> {
    match (part(parts, "dimensions")?, part(parts, "vector")?) {
        (Value::Int(dimensions), Value::Map(pairs)) => Some((*dimensions, pairs)),
        _ => None,
    }
}

/// Every number of a sparse vector. pgvector counts from 1.
fn dense(pairs: &[(Value, Value)], dimensions: usize) -> Result<Vec<Value>, Misfit> {
    let mut numbers = vec![Value::Float64(Float(0.0)); dimensions];
    let mut taken = vec![false; dimensions];
    for (index, number) in pairs {
        let Value::Int(index) = index else { return Err(wrong(index)) };
        let place = usize::try_from(*index).ok().and_then(|index| index.checked_sub(1));
        match place.filter(|place| taken.get(*place) == Some(&false)) {
            Some(place) => {
                numbers[place] = number.clone();
                taken[place] = true;
            }
            None => return Err(out_of_range("has a number at an index that it does not have, or twice")),
        }
    }
    Ok(numbers)
}
