//! Resolving: routes as they are written, against the target's live tables and what is known of the source, into
//! routes that are ready to plan with. Everything that speaks against them is said at once.

mod guard;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use self::wanted::{Known, filter_of, pg_type_of, source_column, ttl_of};
use crate::plan::convert::{Fit, fit};
use crate::plan::feed::{Feed, beside};
use crate::plan::route::{Apply, Route, RouteColumn, RouteSpec, Routes, TargetTable, Topic};
use crate::plan::source;
use crate::plan::ttl::TtlSpec;
use crate::row::wire::Wire;
use crate::row::{Column, Field, Format, Kind, Shape, Unmapped, Value};

impl Routes {
    /// Resolves every route against the tables it names. Returns all problems at once, each with its mend.
    pub fn resolve(specs: &[RouteSpec], tables: &BTreeMap<String, TargetTable>) -> Result<Routes, Vec<String>> {
        let mut routes = Routes { topics: Vec::new(), routes: Vec::new(), notices: Vec::new() };
        let mut problems = Vec::new();
        for spec in specs {
            let mut told = Vec::new();
            match tables.get(&spec.table) {
                Some(table) => {
                    told = guard::problems(spec, table, tables, &routes.routes);
                    routes.add(spec, table, &mut told);
                }
                None => told.push(format!(
                    "the target has no table \"{}\": create it or correct the route's `table`",
                    spec.table
                )),
            }
            problems.extend(told.into_iter().map(|problem| format!("route {}: {problem}", spec.name())));
        }
        if problems.is_empty() { Ok(routes) } else { Err(problems) }
    }

    /// Whether the fields of a topic, now that a record's schema block has said how they stand on the wire, fit the
    /// columns that they feed: what a person should know of it, or why the topic cannot be read like that.
    pub fn check_wires(&self, topic: &str, wires: &[Option<Wire>]) -> Result<Vec<String>, String> {
        let (mut problems, mut notices) = (Vec::new(), Vec::new());
        let feeds = self.topic(topic).map_or(&[][..], |topic| &topic.routes);
        for route in feeds.iter().map(|at| &self.routes[*at]) {
            for column in &route.columns {
                let Some(Some(wire)) = column.feed.field().and_then(|at| wires.get(at)) else { continue };
                let told = check_fit(&route.table, column, wire);
                problems.extend(told.0.map(|problem| format!("route {}: {problem}", route.name())));
                notices.extend(told.1.map(|notice| format!("route {}: {notice}", route.name())));
            }
            let unfit =
                route.filter.check_wires(wires).into_iter().chain(route.ttl.and_then(|ttl| ttl.check_wires(wires)));
            problems.extend(unfit.map(|problem| format!("route {}: {problem}", route.name())));
        }
        if problems.is_empty() { Ok(notices) } else { Err(problems.join("; ")) }
    }

    fn add(&mut self, spec: &RouteSpec, table: &TargetTable, problems: &mut Vec<String>) {
        check_spec(spec, table, problems);
        let topic = self.topic_of(spec, problems);
        let shape = &mut self.topics[topic].shape;
        let mut notices = Vec::new();
        let columns = columns_of(spec, table, shape, problems, &mut notices);
        let filter = filter_of(spec, shape, problems);
        let ttl = ttl_of(spec, shape, problems);
        shape.positions |= spec.guard.is_some();
        let key: Vec<usize> =
            table.key.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect();
        let is_of_row = |name: &str| !spec.source_key.iter().any(|key| key == name);
        let moves = key.iter().any(|at| name_of(&columns[*at], shape).is_some_and(is_of_row));
        if problems.is_empty() {
            // Where rows move their old images are whole, and say whether the old row was there at all.
            let asked = filter.fields().filter(|_| moves);
            let of_key = key.iter().filter_map(|at| columns[*at].feed.field());
            set_keys(spec, shape, of_key.chain(asked), problems);
        }
        let flag = spec.soft_delete.as_ref();
        let soft_delete = flag.and_then(|flag| columns.iter().position(|column| column.name == *flag));
        let route = Route {
            topic: spec.topic.clone(),
            table: table.name.clone(),
            columns,
            key,
            moves,
            filter,
            ttl,
            consistency: spec.consistency,
            guard: spec.guard.clone(),
            soft_delete,
            reselect: spec.reselect.clone(),
            apply: spec.apply.clone(),
        };
        if moves && spec.format == Format::Flat {
            problems.push(
                "its rows move when a column of the target's key changes, and flattened records have no image before \
                 to find the old row by: send whole envelopes to a topic for this table"
                    .into(),
            );
        }
        if let Some(facts) = &spec.source {
            let (more, told) = source::check(spec, facts, &route, shape, spec.replaces_null);
            problems.extend(more);
            notices.extend(told);
        }
        if problems.is_empty() {
            self.topics[topic].routes.push(self.routes.len());
            self.notices.extend(notices.into_iter().map(|notice| format!("route {}: {notice}", spec.name())));
            self.routes.push(route);
        }
    }

    /// The route's topic, made by the first route that names it. What a topic's records are like must be the same for
    /// all of its routes.
    fn topic_of(&mut self, spec: &RouteSpec, problems: &mut Vec<String>) -> usize {
        let shape = Shape {
            unmapped: spec.unmapped.clone(),
            unavailable: spec.unavailable.clone(),
            signal_table: spec.signal_table.clone(),
            ..Shape::new(spec.format, Vec::new(), Vec::new())
        };
        let Some(at) = self.topics.iter().position(|topic| topic.name == spec.topic) else {
            let (name, on_truncate) = (spec.topic.clone(), spec.on_truncate);
            self.topics.push(Topic { name, shape, routes: Vec::new(), on_truncate });
            return self.topics.len() - 1;
        };
        let topic = &mut self.topics[at];
        let mut differs = |what: &str, same: bool| {
            if !same {
                problems.push(format!("{what} differs from that of another route of this topic: a topic has one"));
            }
        };
        differs("`format`", topic.shape.format == shape.format);
        differs("`on_truncate`", topic.on_truncate == spec.on_truncate);
        differs("the placeholder of unavailable values", topic.shape.unavailable == shape.unavailable);
        differs("the signal table", topic.shape.signal_table == shape.signal_table);
        let unmapped = merged(&topic.shape.unmapped, &shape.unmapped);
        differs("`unmapped`", unmapped.is_some());
        topic.shape.unmapped = unmapped.unwrap_or(Unmapped::Ignore);
        at
    }
}

/// What two routes of a topic say together about columns that no route wants; `None` when they disagree.
fn merged(one: &Unmapped, other: &Unmapped) -> Option<Unmapped> {
    let joined = |one: &[String], other: &[String]| one.iter().chain(other).cloned().collect();
    match (one, other) {
        (Unmapped::Ignore, Unmapped::Ignore) => Some(Unmapped::Ignore),
        (Unmapped::Warn { except: one }, Unmapped::Warn { except: other }) => {
            Some(Unmapped::Warn { except: joined(one, other) })
        }
        (Unmapped::Stop { except: one }, Unmapped::Stop { except: other }) => {
            Some(Unmapped::Stop { except: joined(one, other) })
        }
        (Unmapped::Ignore | Unmapped::Warn { .. } | Unmapped::Stop { .. }, _) => None,
    }
}

/// Rules that a route and its table must meet: named columns exist, and V3b, one owner for each target row.
fn check_spec(spec: &RouteSpec, table: &TargetTable, problems: &mut Vec<String>) {
    let has = |name: &str| table.columns.iter().any(|column| column.name == name);
    let named: BTreeSet<&String> = spec.renamed.keys().chain(spec.fed.keys()).chain(spec.policies.keys()).collect();
    for target in named.iter().filter(|target| !has(target)) {
        problems.push(format!("table \"{}\" has no column \"{target}\": add it or correct `columns`", table.name));
    }
    for target in &spec.dropped {
        if !has(target) {
            problems.push(format!("table \"{}\" has no column \"{target}\": take it out of `drop`", table.name));
        }
        if table.key.contains(target) || named.contains(target) {
            problems.push(format!(
                "column \"{target}\" of \"{}\" is in `drop`, and {}: take it out there",
                table.name,
                if named.contains(target) { "in `columns` too" } else { "a row needs all of its key" }
            ));
        }
    }
    check_soft_delete(spec, table, &named, problems);
    if let Apply::Events { soft_delete, modified_at } = &spec.apply {
        if !has(soft_delete) {
            let name = &table.name;
            problems.push(format!("table \"{name}\" has no column \"{soft_delete}\": add it or correct `soft_delete`"));
        }
        let is_ordered = |name: &str| table.columns.iter().any(|column| column.name == name && orders(&column.kind));
        if let Some(modified_at) = modified_at.as_ref().filter(|name| !is_ordered(name)) {
            problems.push(format!(
                "\"{modified_at}\" of \"{}\" is no column of timestamps, dates or whole numbers, which could say what \
                 is newer: correct `modified_at`",
                table.name
            ));
        }
    }
    if spec.source_key.is_empty() {
        problems.push("`source_key` is empty: name the columns of the source table's primary key".into());
    }
    for source in &spec.source_key {
        if !table.key.iter().any(|target| spec.source_of(target) == Some(source)) {
            problems.push(format!(
                "the primary key of \"{}\" does not contain the source's key column \"{source}\": two source rows \
                 could then share one row there; add it to the table's primary key, or name it in `columns` if it \
                 is called differently",
                table.name
            ));
        }
    }
}

/// Whether values of this kind say which of two is newer.
fn orders(kind: &Kind) -> bool {
    matches!(kind, Kind::Int64 | Kind::Int32 | Kind::Date | Kind::Timestamp | Kind::TimestampMillis)
}

/// The target's columns that the route writes, each with what feeds it.
fn columns_of(
    spec: &RouteSpec,
    table: &TargetTable,
    shape: &mut Shape,
    problems: &mut Vec<String>,
    notices: &mut Vec<String>,
) -> Vec<RouteColumn> {
    let mut columns = Vec::with_capacity(table.columns.len());
    let mut untyped = Vec::new();
    let is_written = |column: &&Column| !spec.is_flag(&column.name) && !spec.is_left_alone(&column.name);
    for column in table.columns.iter().filter(is_written) {
        let feed = match found(spec, table, column, shape) {
            Ok(Found::Beside(feed)) => Some(feed),
            Ok(Found::Field(field)) => Some(Feed::Field(shape_field(shape, field, problems))),
            Ok(Found::Nothing) => {
                notices.push(format!(
                    "no column of the source feeds \"{}\" of \"{}\", which keeps what it has",
                    column.name, table.name
                ));
                None
            }
            Ok(Found::Untyped(name)) => {
                untyped.push(name);
                None
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let policy = spec.policies.get(&column.name).copied().unwrap_or_default();
        columns.extend(feed.map(|feed| {
            let (name, kind) = (column.name.clone(), column.kind.clone());
            RouteColumn { name, kind, policy, feed }
        }));
    }
    if !untyped.is_empty() {
        problems.push(untyped_problem(&untyped));
    }
    for column in &columns {
        if let Some(wire) = column.feed.wire(shape) {
            let told = check_fit(&table.name, column, wire);
            problems.extend(told.0);
            notices.extend(told.1);
        }
    }
    let is_name =
        |column: &&RouteColumn| name_of(column, shape).is_some_and(|source| pg_type_of(spec, source) == Some("name"));
    for column in columns.iter().filter(is_name) {
        notices.push(format!(
            "\"{}\" of \"{}\" is fed by a column of type name, for which Debezium sends null in whatever it streams: \
             make that column text",
            column.name, table.name
        ));
    }
    columns
}

/// The column of the row that feeds a target column.
fn name_of<'a>(column: &RouteColumn, shape: &'a Shape) -> Option<&'a str> {
    column.feed.field().map(|at| shape.fields[at].name.as_str())
}

/// The flag of a mirrored table: a boolean of its own, for rows whose deletes need nothing but their key.
fn check_soft_delete(spec: &RouteSpec, table: &TargetTable, named: &BTreeSet<&String>, problems: &mut Vec<String>) {
    let Some(flag) = &spec.soft_delete else { return };
    let place = format!("`soft_delete`, column \"{flag}\" of \"{}\"", table.name);
    match table.columns.iter().find(|column| column.name == *flag) {
        None => problems.push(format!("{place}: the table has no such column: add it or correct `soft_delete`")),
        Some(column) if column.kind != Kind::Bool => {
            problems.push(format!("{place} is {}: a flag is boolean", column.kind));
        }
        Some(_) if table.key.contains(flag) => {
            problems.push(format!("{place} is in the primary key, and would make another row of it"));
        }
        Some(_) => {}
    }
    if named.contains(flag) || spec.is_left_alone(flag) {
        problems.push(format!("{place} is in `columns` or `drop` too: it is fed by deletes alone, take it out there"));
    }
    if !spec.conditions.is_empty() {
        problems.push(
            "`soft_delete` and `where`: the delete of a row does not say whether the row was in the table at all; give \
             one of them"
                .into(),
        );
    }
    if matches!(spec.ttl, Some(TtlSpec::Column(_))) {
        problems.push(
            "`soft_delete` and the column of `ttl`: the delete of a row does not bring that column; give a time, or one \
             of them"
                .into(),
        );
    }
}

/// What was found to feed a target column.
enum Found<'a> {
    Field(Field),
    Beside(Feed),
    /// A source column of whose type nobody knows.
    Untyped(&'a str),
    /// The source is known, and has no column of that name.
    Nothing,
}

/// What feeds a target column; where that is a source column, how it stands on the wire.
fn found<'a>(
    spec: &'a RouteSpec,
    table: &TargetTable,
    column: &'a Column,
    shape: &mut Shape,
) -> Result<Found<'a>, String> {
    if spec.soft_delete.as_ref() == Some(&column.name) {
        // An upsert says that the row is there.
        return Ok(Found::Beside(Feed::Constant(Value::Bool(false))));
    }
    match (spec.source_of(&column.name), spec.fed.get(&column.name)) {
        (None, Some(fed)) => beside(spec, table, column, fed, shape).map(Found::Beside),
        (None, None) => Ok(Found::Nothing),
        (Some(name), _) => field_of(spec, table, column, name),
    }
}

/// The source column that feeds a target column, and how it stands on the wire.
fn field_of<'a>(
    spec: &'a RouteSpec,
    table: &TargetTable,
    column: &'a Column,
    name: &'a str,
) -> Result<Found<'a>, String> {
    if spec.format == Format::Event {
        return Ok(Found::Field(Field { name: name.into(), wire: event_wire(&column.kind), declared: false }));
    }
    let wanted = format!("feeds \"{}\" of \"{}\"", column.name, table.name);
    Ok(match (source_column(spec, name, &wanted, "leave it out of the target's table")?, &spec.source) {
        (Known::Field(field), _) => Found::Field(field),
        (Known::Untyped, _) => Found::Untyped(name),
        (Known::Missing, Some(facts))
            if spec.renamed.contains_key(&column.name) || table.key.contains(&column.name) =>
        {
            let table = &facts.table;
            return Err(format!("source column \"{name}\", which {wanted}, is not in \"{table}\": correct `columns`"));
        }
        (Known::Missing, _) => Found::Nothing,
    })
}

fn untyped_problem(names: &[&str]) -> String {
    let lines: Vec<String> = names.iter().map(|name| format!("\"{name}\" = \"…\"")).collect();
    format!(
        "records without schema blocks do not say the types of these source columns: add them to the route with their \
         Postgres types, as in \"numeric(10,2)\": types = {{ {} }}; or add `source_table` and [source.postgres], so \
         that the catalog says them; or schemas = true in [source.debezium], if the connector sends schema blocks",
        lines.join(", ")
    )
}

/// Business events carry what their target's column holds, in the form of the contracts in `schemas/`.
fn event_wire(kind: &Kind) -> Option<Wire> {
    Some(match kind {
        Kind::Bool => Wire::Bool,
        Kind::Int16 => Wire::Int16,
        Kind::Int32 => Wire::Int32,
        Kind::Int64 => Wire::Int64,
        Kind::Decimal => Wire::DecimalText,
        Kind::Text => Wire::Text,
        Kind::Uuid => Wire::Uuid,
        Kind::Date => Wire::CalendarDate,
        Kind::Timestamp | Kind::TimestampMillis => Wire::ZonedTimestamp { decimals: 6 },
        _ => return None,
    })
}

/// The place of a field in the shape, added when it is new. One column of business events that is read as two kinds
/// stands there twice; one of a table is one.
fn shape_field(shape: &mut Shape, field: Field, problems: &mut Vec<String>) -> usize {
    let same = |known: &Field| match shape.format {
        Format::Event => *known == field,
        Format::Envelope | Format::Flat => known.name == field.name,
    };
    if let Some(at) = shape.fields.iter().position(same) {
        if shape.fields[at] != field {
            problems.push(format!(
                "column \"{}\" of the source has another type here than in another route of this topic: correct `types`",
                field.name
            ));
        }
        return at;
    }
    shape.fields.push(field);
    shape.fields.len() - 1
}

/// What a column makes of values that stand on the wire like this: a problem with its mend, or a loss that it allows.
fn check_fit(table: &str, column: &RouteColumn, wire: &Wire) -> (Option<String>, Option<String>) {
    let place = || format!("column \"{}\" of \"{table}\" ({})", column.name, column.kind);
    match fit(wire, &column.kind) {
        Fit::Exact | Fit::Checked(_) => (None, None),
        Fit::Lossy(what) if column.policy.lossy => (None, Some(format!("{} {what}", place()))),
        Fit::Lossy(what) => {
            let mend = format!("allow it with `lossy = true` for \"{}\" in the route's `columns`", column.name);
            (Some(format!("{} {what}: {mend}, or give it a type that holds all", place())), None)
        }
        Fit::Never(why) => (Some(format!("{} {why}: give it another type", place())), None),
    }
}

/// Sets the topic's key, and what has to be read from an image before: that key and the fields of `before`.
fn set_keys(spec: &RouteSpec, shape: &mut Shape, before: impl Iterator<Item = usize>, problems: &mut Vec<String>) {
    let field = |name: &String| shape.fields.iter().position(|field| field.name == *name);
    let source_key: Vec<usize> = spec.source_key.iter().filter_map(field).collect();
    if shape.key.is_empty() {
        shape.key = source_key.clone();
    } else if shape.key != source_key {
        problems.push("`source_key` differs from that of another route of this topic: a topic has one key".into());
    }
    for needed in source_key.into_iter().chain(before) {
        if !shape.before.contains(&needed) {
            shape.before.push(needed);
        }
    }
}
