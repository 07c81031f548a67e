//! How a row of a source table stands in a target table: the keys of one in terms of the other, and what differs.
//!
//! Pure. A route says which source column feeds which target column; the two catalogs say what those columns are.

use crate::plan::convert::{Policy, convert, to_key};
use crate::plan::feed::Feed;
use crate::plan::filter::Filter;
use crate::plan::route::{Route, TargetTable, Topic};
use crate::row::{Column, Kind, Value};
use crate::sink::postgres::source::{SourceColumn, SourceTable};

/// A target table and the source table that it mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The source table with the columns that the route needs. Source rows below have one value for each of them.
    pub source: TargetTable,
    pub target: String,
    /// The route's columns. Target rows below have one value for each of them.
    pub columns: Vec<MappedColumn>,
    /// The target's primary key, in its order: indexes into `columns`.
    target_key: Vec<usize>,
    /// For each column of the source's key: where it stands in a source row, and in a target key (V3b: it does).
    source_key: Vec<KeyColumn>,
    /// The route's `where`, and for each field of its topic that it asks for the source's column.
    filter: Filter,
    asked: Vec<(usize, usize)>,
    /// The column that says that the source has deleted the row.
    soft_delete: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedColumn {
    pub name: String,
    origin: Origin,
    kind: Kind,
    policy: Policy,
}

/// What a target column's value is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// Index into the source's columns.
    Row(usize),
    Constant(Value),
    /// Only the record said it, in a header or as a member of its `source`: nothing is compared.
    Record,
}

impl MappedColumn {
    /// What the pipeline makes of the source row's value; the value itself where it would refuse it. `None` where the
    /// row does not say it.
    pub fn expected(&self, source: &[Value]) -> Option<Value> {
        match &self.origin {
            Origin::Row(at) => {
                let value = &source[*at];
                Some(convert(value, &self.kind, self.policy).unwrap_or_else(|_| value.clone()))
            }
            Origin::Constant(value) => Some(value.clone()),
            Origin::Record => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyColumn {
    kind: Kind,
    in_source: usize,
    in_target_key: usize,
}

impl Mapping {
    /// Maps a route, whose topic reads from this source table. Returns all that speaks against it, each with its mend.
    pub fn new(route: &Route, topic: &Topic, source: &SourceTable) -> Result<Mapping, Vec<String>> {
        let mut problems = Vec::new();
        if route.ttl.is_some() {
            problems.push("its rows end by themselves, so they cannot be compared: leave the table out".into());
        }
        let mut wanted: Vec<Column> = Vec::new();
        let mut columns = Vec::with_capacity(route.columns.len());
        for column in &route.columns {
            let mapped = |origin| {
                let (name, kind, policy) = (column.name.clone(), column.kind.clone(), column.policy);
                MappedColumn { name, origin, kind, policy }
            };
            let name = match &column.feed {
                Feed::Field(at) => &topic.shape.fields[*at].name,
                Feed::Constant(value) => {
                    columns.push(mapped(Origin::Constant(value.clone())));
                    continue;
                }
                Feed::Header(_) | Feed::Source(_) => {
                    columns.push(mapped(Origin::Record));
                    continue;
                }
            };
            let is_key = source.key.contains(name);
            let kind = match source.columns.iter().find(|column| column.name == *name) {
                Some(found) => kind_for(found, is_key, &column.name, &column.kind),
                None => Err(format!(
                    "source table \"{}\" has no column \"{name}\", which feeds \"{}\": correct the route's `columns`",
                    source.name, column.name
                )),
            };
            match kind {
                Ok(kind) => {
                    let at = want(&mut wanted, name, kind);
                    columns.push(mapped(Origin::Row(at)));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let asked = asked(route, topic, source, &mut wanted, &mut problems);
        let named: Vec<&str> = topic.shape.key.iter().map(|at| &*topic.shape.fields[*at].name).collect();
        check_key(source, &named, &mut problems);
        let key = |name: &String| key_column(name, &wanted, route, &columns);
        let source_key: Option<Vec<KeyColumn>> =
            if problems.is_empty() { source.key.iter().map(key).collect() } else { None };
        match source_key {
            Some(source_key) => Ok(Mapping {
                source: TargetTable { name: source.name.clone(), columns: wanted, key: source.key.clone() },
                target: route.table.clone(),
                columns,
                target_key: route.key.clone(),
                source_key,
                filter: route.filter.clone(),
                asked,
                soft_delete: route.soft_delete,
            }),
            None => {
                let name = route.name();
                if problems.is_empty() {
                    problems.push("the target's key does not contain the source's".into());
                }
                Err(problems.into_iter().map(|problem| format!("route {name}: {problem}")).collect())
            }
        }
    }

    /// The key of a source row.
    pub fn source_key(&self, source: &[Value]) -> Vec<Value> {
        self.source_key.iter().map(|key| source[key.in_source].clone()).collect()
    }

    /// The key under which a source row belongs in the target.
    pub fn target_key(&self, source: &[Value]) -> Vec<Value> {
        let value = |at: &usize| {
            let mut value = match &self.columns[*at].origin {
                Origin::Row(at) => source[*at].clone(),
                Origin::Constant(value) => value.clone(),
                // No key column is fed by what only a record says.
                Origin::Record => Value::Absent,
            };
            to_key(&mut value);
            value
        };
        self.target_key.iter().map(value).collect()
    }

    /// The key of the source row that a target key speaks of; `None` when no row of the source can have it.
    pub fn source_key_of(&self, target_key: &[Value]) -> Option<Vec<Value>> {
        let value = |key: &KeyColumn| {
            let value = &target_key[key.in_target_key];
            source_holds(&key.kind, value).then(|| value.clone())
        };
        self.source_key.iter().map(value).collect()
    }

    /// The target's primary key with its values, for messages.
    pub fn named_key(&self, target_key: &[Value]) -> Vec<(String, Value)> {
        let name = |at: &usize| self.columns[*at].name.clone();
        self.target_key.iter().map(name).zip(target_key.iter().cloned()).collect()
    }

    /// Whether the source row belongs into the target at all.
    pub fn belongs(&self, source: &[Value]) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let fields = self.asked.iter().map(|(field, _)| field + 1).max().unwrap_or_default();
        let mut row = vec![Value::Absent; fields];
        self.asked.iter().for_each(|(field, at)| row[*field] = source[*at].clone());
        !self.filter.kept_out(&row)
    }

    /// Whether a target row is kept though its source row is gone.
    pub fn is_soft_deleted(&self, target: &[Value]) -> bool {
        self.soft_delete.is_some_and(|at| target[at] == Value::Bool(true))
    }

    /// Whether a target row is what its source row asks for.
    pub fn is_equal(&self, source: &[Value], target: &[Value]) -> bool {
        self.columns
            .iter()
            .zip(target)
            .all(|(column, value)| column.expected(source).is_none_or(|expected| same(&expected, value)))
    }
}

/// Whether two values are the same, whatever their form: 1.50 is 1.5. Every other kind has one form for a value.
pub fn same(source: &Value, target: &Value) -> bool {
    match (source, target) {
        // Not `==`, which would write out all zeros of what a target may hold: 1e-2000000000 is a decimal there.
        (Value::Decimal(source), Value::Decimal(target)) => {
            let (source, target) = (source.normalized(), target.normalized());
            source.as_bigint_and_scale() == target.as_bigint_and_scale()
        }
        _ => source == target,
    }
}

/// The place of a source column among those that are read, added when it is new.
fn want(wanted: &mut Vec<Column>, name: &str, kind: Kind) -> usize {
    wanted.iter().position(|column| column.name == name).unwrap_or_else(|| {
        wanted.push(Column { name: name.into(), kind });
        wanted.len() - 1
    })
}

/// The columns that the route's `where` asks for: fields of the topic, and the places where they are read.
fn asked(
    route: &Route,
    topic: &Topic,
    source: &SourceTable,
    wanted: &mut Vec<Column>,
    problems: &mut Vec<String>,
) -> Vec<(usize, usize)> {
    let mut asked = Vec::new();
    for condition in &route.filter.conditions {
        let Some(field) = condition.field() else {
            problems.push(format!(
                "`where`, \"{}\": a row does not say what happened to it, so this table cannot be compared: leave it out \
                 with --table",
                condition.text
            ));
            continue;
        };
        let name = &topic.shape.fields[field].name;
        let found = source.columns.iter().find(|column| column.name == *name);
        match found.and_then(|found| found.kind.clone()) {
            Some(kind) => asked.push((field, want(wanted, name, kind))),
            None => problems.push(format!(
                "`where`, \"{}\": the column cannot be read at the source: leave the table out with --table",
                condition.text
            )),
        }
    }
    asked
}

/// How the source column is read for a target column of this kind, or why the two cannot be compared. A column of the
/// source's key is also found from the target's value, so there the two have the same values.
fn kind_for(source: &SourceColumn, is_key: bool, target: &str, kind: &Kind) -> Result<Kind, String> {
    let is_whole = |kind: &Kind| matches!(kind, Kind::Int16 | Kind::Int32 | Kind::Int64);
    let is_narrower =
        |found: &Kind| matches!((found, kind), (Kind::Timestamp, Kind::TimestampMillis) | (Kind::Text, Kind::Ascii));
    match &source.kind {
        Some(found) if !is_key || found == kind || is_whole(found) && is_whole(kind) || is_narrower(found) => {
            Ok(found.clone())
        }
        _ => Err(format!(
            "column \"{}\" of the source has type {}, and \"{target}\", which it feeds, is {kind}: such values cannot \
             be compared; give the target's column the source's type",
            source.name, source.type_name
        )),
    }
}

/// Rows are paged through in key order, and found again by key.
fn check_key(source: &SourceTable, named: &[&str], problems: &mut Vec<String>) {
    let mut key: Vec<&str> = source.key.iter().map(String::as_str).collect();
    let mut named = named.to_vec();
    key.sort_unstable();
    named.sort_unstable();
    if key != named {
        problems.push(format!(
            "`source_key` is [{}], the primary key of \"{}\" is [{}]: correct `source_key`, or the table",
            named.join(", "),
            source.name,
            key.join(", ")
        ));
    }
    let padded = |column: &&SourceColumn| column.blank_padded && source.key.contains(&column.name);
    for column in source.columns.iter().filter(padded) {
        problems.push(format!(
            "key column \"{}\" of \"{}\" is {}, whose padded values cannot be looked up by verify: make it varchar",
            column.name, source.name, column.type_name
        ));
    }
}

fn key_column(name: &String, wanted: &[Column], route: &Route, columns: &[MappedColumn]) -> Option<KeyColumn> {
    let in_source = wanted.iter().position(|column| column.name == *name)?;
    let in_target_key = route.key.iter().position(|at| columns[*at].origin == Origin::Row(in_source))?;
    Some(KeyColumn { kind: wanted[in_source].kind.clone(), in_source, in_target_key })
}

/// The days and instants that Postgres has, counted from 1970: 4713-11-24 BC on, and before 5874898-01-01.
const DAY_MIN: i32 = -2_440_588;
const DAY_MAX: i32 = 2_145_042_905;
const MICROS_MIN: i64 = -210_866_803_200_000_000;
/// Digits that a numeric has at most, before and behind its point.
const DIGITS_MAX: i64 = 131_072;
const DECIMALS_MAX: i64 = 16_383;

/// Whether a column of the source can hold this value of a target's key: what it cannot hold, it cannot be asked for.
fn source_holds(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Int16, Value::Int(int)) => i16::try_from(*int).is_ok(),
        (Kind::Int32, Value::Int(int)) => i32::try_from(*int).is_ok(),
        (Kind::Text, Value::Text(text)) => !text.contains('\0'),
        (Kind::Date, Value::Date(days)) => (DAY_MIN..=DAY_MAX).contains(days),
        (Kind::Timestamp, Value::Timestamp(micros)) => *micros >= MICROS_MIN,
        (Kind::Decimal, Value::Decimal(decimal)) => {
            let (digits, decimals) = decimal.as_bigint_and_scale();
            // Ten bits hold three digits and a little more.
            let digits = i64::try_from(digits.bits()).unwrap_or(i64::MAX) / 10 * 3;
            decimals <= DECIMALS_MAX && digits.saturating_sub(decimals) <= DIGITS_MAX
        }
        _ => *value != Value::Null,
    }
}

#[cfg(test)]
pub(super) mod tests;
