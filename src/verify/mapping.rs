//! How a row of a source table stands in a target table: the keys of one in terms of the other, and what differs.
//!
//! Pure. A route says which source column feeds which target column; the two catalogs say what those columns are.
//! What a run makes of a value is decided by `plan::convert` here too: a fault of it cannot be seen by comparing.

mod key;
mod same;

use std::collections::BTreeMap;

use crate::plan::convert::{Policy, convert, to_key};
use crate::plan::feed::Feed;
use crate::plan::filter::Filter;
use crate::plan::route::{Route, Topic};
use crate::plan::source::SourceFacts;
use crate::plan::ttl::{Ttl, end_of};
use crate::row::wire::Wire;
use crate::row::{Field, Kind, Row, Shape, Value};
use crate::sink::postgres::source::{SourceKey, SourceTable};
use crate::verify::mapping::key::{KeyColumn, Match, key_text, matched};
use crate::verify::mapping::same::same_of;

/// A target table and the source table that it mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The source table with the columns that the route needs.
    pub source: SourceTable,
    pub target: String,
    /// The route's columns. Target rows below have one value for each of them.
    pub columns: Vec<MappedColumn>,
    /// The target's primary key, in its order: indexes into `columns`.
    target_key: Vec<usize>,
    /// For each column of the source's key: where it stands in a target key (V3b: it does).
    source_key: Vec<KeyColumn>,
    /// The route's `where`, and for each field of its topic that it asks for the source's column.
    filter: Filter,
    asked: Vec<(usize, usize)>,
    /// When rows end: by a column of the source, or counted from a record that is gone.
    ends: Option<Ends>,
    /// The column that says that the source has deleted the row.
    soft_delete: Option<usize>,
}

/// A row of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// Its key, as the source finds it by.
    pub key: Vec<String>,
    /// One value for each column of [`Mapping::source`].
    pub values: Row,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Index into the source's columns.
    Column(usize),
    AfterRecord,
}

/// Whether the target has a row for a row of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Belongs,
    /// Not by its `where`, or it has ended.
    Out,
    /// The source's row does not say it. If the target has a row, it is this one.
    Unknown,
}

/// So close to a row's end nobody can tell whether it is still there: clocks differ, and looking takes time.
const END_MARGIN_MILLIS: i64 = 60_000;

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

    /// Whether the target holds what the source row asks for.
    pub fn holds(&self, source: &[Value], found: &Value) -> bool {
        self.expected(source).is_none_or(|expected| {
            let of_map = || matches!(&self.origin, Origin::Row(at) if matches!(source[*at], Value::Map(_)));
            same_of(&self.kind, &expected, found) || of_map() && same::same_object(&expected, found)
        })
    }
}

impl Mapping {
    /// Maps a route, whose topic reads from this source table; `types` says how SQL casts to the types of its columns.
    /// Returns all that speaks against it, each with its mend.
    pub fn new(
        route: &Route,
        topic: &Topic,
        source: &SourceFacts,
        types: &BTreeMap<String, String>,
    ) -> Result<Mapping, Vec<String>> {
        let mut draft = Draft { topic, source, wanted: Vec::new(), problems: Vec::new() };
        let columns = draft.columns(route);
        let asked = draft.asked(route);
        let ends = draft.ends(route);
        draft.check_key();
        let key = if draft.problems.is_empty() { draft.key(route, &columns, types) } else { Vec::new() };
        let Draft { wanted, mut problems, .. } = draft;
        if problems.is_empty() && (key.is_empty() || key.len() != source.key.len()) {
            problems.push("the target's key does not contain the source's".into());
        }
        if !problems.is_empty() {
            let name = route.name();
            return Err(problems.into_iter().map(|problem| format!("route {name}: {problem}")).collect());
        }
        let (source_key, key): (Vec<KeyColumn>, Vec<SourceKey>) = key.into_iter().unzip();
        Ok(Mapping {
            source: SourceTable { name: source.table.clone(), columns: wanted, key },
            target: route.table.clone(),
            columns,
            target_key: route.key.clone(),
            source_key,
            filter: route.filter.clone(),
            asked,
            ends,
            soft_delete: route.soft_delete,
        })
    }

    /// The key under which a source row belongs in the target.
    pub fn target_key(&self, source: &[Value]) -> Vec<Value> {
        let value = |at: &usize| {
            // No key column is fed by what only a record says.
            let mut value = self.columns[*at].expected(source).unwrap_or(Value::Absent);
            to_key(&mut value);
            value
        };
        self.target_key.iter().map(value).collect()
    }

    /// What a target key says of the source row's key: equal for the two keys that speak of one source row.
    pub fn owner_of(&self, target_key: &[Value]) -> Vec<Value> {
        self.source_key.iter().map(|key| target_key[key.in_target_key].clone()).collect()
    }

    /// The same of a record's key: a row of this shape that has its key columns.
    pub fn owner_of_record(&self, shape: &Shape, key: &[Value]) -> Vec<Value> {
        let value = |(name, wire): &(String, Wire)| {
            let read_so = |field: &Field| field.name == *name && field.wire.as_ref() == Some(wire);
            let at = shape.fields.iter().position(read_so);
            at.and_then(|at| key.get(at)).cloned().unwrap_or(Value::Absent)
        };
        self.owner_of(&self.target_key(&self.source.columns.iter().map(value).collect::<Row>()))
    }

    /// The key to find the source row by that a target key speaks of; `None` when no row of the source can have it.
    pub fn source_key_of(&self, target_key: &[Value]) -> Option<Vec<String>> {
        self.source_key.iter().map(|key| key_text(&key.wire, &target_key[key.in_target_key])).collect()
    }

    /// The target's primary key with its values, for messages.
    pub fn named_key(&self, target_key: &[Value]) -> Vec<(String, Value)> {
        let name = |at: &usize| self.columns[*at].name.clone();
        self.target_key.iter().map(name).zip(target_key.iter().cloned()).collect()
    }

    /// Whether the source row belongs into the target, at this time in milliseconds since 1970.
    pub fn standing(&self, source: &[Value], now_ms: i64) -> Standing {
        let mut row = vec![Value::Absent; self.asked.iter().map(|(field, _)| field + 1).max().unwrap_or_default()];
        self.asked.iter().for_each(|(field, at)| row[*field] = source[*at].clone());
        let lasts = match self.ends {
            None => Some(true),
            Some(Ends::AfterRecord) => None,
            Some(Ends::Column(at)) => match end_of(&source[at]) {
                Ok(None) => Some(true),
                Ok(Some(end)) if end.saturating_sub(END_MARGIN_MILLIS) > now_ms => Some(true),
                Ok(Some(end)) if end.saturating_add(END_MARGIN_MILLIS) < now_ms => Some(false),
                Ok(Some(_)) | Err(_) => None,
            },
        };
        match (self.filter.certainly(&row), lasts) {
            (Some(false), _) | (_, Some(false)) => Standing::Out,
            (None, _) | (_, None) => Standing::Unknown,
            (Some(true), Some(true)) => Standing::Belongs,
        }
    }

    /// Why the standing of some rows is not known, for people; `None` where it always is.
    pub fn unknown_why(&self) -> Option<&'static str> {
        let by_op = self.filter.conditions.iter().any(|condition| condition.field().is_none());
        match (by_op, self.ends) {
            (true, None) => Some("`where` asks for the op"),
            (true, Some(_)) => Some("`where` asks for the op, and rows end by `ttl`"),
            (false, Some(Ends::AfterRecord)) => Some("`ttl` counts from a record that is not known"),
            (false, Some(Ends::Column(_))) => Some("they end at about this time"),
            (false, None) => None,
        }
    }

    /// The target's columns that are not compared, because only records say what is in them.
    pub fn not_compared(&self) -> Vec<&str> {
        let columns = self.columns.iter().filter(|column| column.origin == Origin::Record);
        columns.map(|column| column.name.as_str()).collect()
    }

    /// Whether a target row is kept though its source row is gone.
    pub fn is_soft_deleted(&self, target: &[Value]) -> bool {
        self.soft_delete.is_some_and(|at| target[at] == Value::Bool(true))
    }

    /// Whether a target row is what its source row asks for.
    pub fn is_equal(&self, source: &[Value], target: &[Value]) -> bool {
        self.columns.iter().zip(target).all(|(column, value)| column.holds(source, value))
    }
}

/// A mapping under way.
struct Draft<'a> {
    topic: &'a Topic,
    source: &'a SourceFacts,
    wanted: Vec<(String, Wire)>,
    problems: Vec<String>,
}

impl Draft<'_> {
    /// The place of a field's column among those that are read, added when it is new.
    fn want(&mut self, field: usize, what: &str) -> Option<usize> {
        let field = &self.topic.shape.fields[field];
        let name = &field.name;
        let (Some(_), Some(wire)) = (self.source.column(name), &field.wire) else {
            self.problems.push(format!(
                "source table \"{}\" has no column \"{name}\", which {what}: correct the route's `columns`, or its \
                 `source_table`",
                self.source.table
            ));
            return None;
        };
        let at = self.wanted.iter().position(|(wanted, _)| wanted == name);
        Some(at.unwrap_or_else(|| {
            self.wanted.push((name.clone(), wire.clone()));
            self.wanted.len() - 1
        }))
    }

    fn columns(&mut self, route: &Route) -> Vec<MappedColumn> {
        let mut columns = Vec::with_capacity(route.columns.len());
        for column in &route.columns {
            let origin = match &column.feed {
                Feed::Field(field) => self.want(*field, &format!("feeds \"{}\"", column.name)).map(Origin::Row),
                Feed::Constant(value) => Some(Origin::Constant(value.clone())),
                Feed::Header(_) | Feed::Source(_) => Some(Origin::Record),
            };
            columns.extend(origin.map(|origin| {
                let (name, kind, policy) = (column.name.clone(), column.kind.clone(), column.policy);
                MappedColumn { name, origin, kind, policy }
            }));
        }
        columns
    }

    /// The columns that the route's `where` asks for: fields of the topic, and the places where they are read.
    fn asked(&mut self, route: &Route) -> Vec<(usize, usize)> {
        let fields: Vec<usize> = route.filter.fields().collect();
        fields.into_iter().filter_map(|field| Some((field, self.want(field, "`where` asks for")?))).collect()
    }

    fn ends(&mut self, route: &Route) -> Option<Ends> {
        match route.ttl? {
            Ttl::Seconds(_) => Some(Ends::AfterRecord),
            Ttl::Field(field) => self.want(field, "`ttl` asks for").map(Ends::Column),
        }
    }

    /// Rows are paged through in key order, and found again by key.
    fn check_key(&mut self) {
        let shape = &self.topic.shape;
        let mut named: Vec<&str> = shape.key.iter().map(|at| shape.fields[*at].name.as_str()).collect();
        let mut key: Vec<&str> = self.source.key.iter().map(String::as_str).collect();
        key.sort_unstable();
        named.sort_unstable();
        if key != named {
            self.problems.push(format!(
                "`source_key` is [{}], the primary key of \"{}\" is [{}]: correct `source_key`, or the table",
                named.join(", "),
                self.source.table,
                key.join(", ")
            ));
        }
    }

    /// The source's key, each column with its place in the target's.
    fn key(
        &mut self,
        route: &Route,
        columns: &[MappedColumn],
        types: &BTreeMap<String, String>,
    ) -> Vec<(KeyColumn, SourceKey)> {
        let mut keys = Vec::new();
        for name in &self.source.key {
            let Some(in_source) = self.wanted.iter().position(|(wanted, _)| wanted == name) else { continue };
            let is_fed = |at: &usize| columns[*at].origin == Origin::Row(in_source);
            let Some(in_target_key) = route.key.iter().position(is_fed) else { continue };
            let (wire, target) = (self.wanted[in_source].1.clone(), &columns[route.key[in_target_key]]);
            let type_name = types.get(name).cloned().unwrap_or_default();
            match matched(&wire, &target.kind) {
                Some(found) => keys.push((
                    KeyColumn { wire, in_target_key },
                    SourceKey { name: name.clone(), type_name, millis: found == Match::Millis },
                )),
                None => self.problems.push(format!(
                    "key column \"{name}\" of the source has type {type_name}, and \"{}\", which it feeds, is {}: a \
                     source row cannot be found by such a value; give the target's column the source's type",
                    target.name, target.kind
                )),
            }
        }
        keys
    }
}

#[cfg(test)]
pub(super) mod tests;
