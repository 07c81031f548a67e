//! What a guarded route (V6) asks of its records and of the target: a position, and places that keep it.

use std::collections::BTreeMap;

use crate::plan::route::{Apply, RewindGuard, Route, RouteSpec, TargetTable};
use crate::row::{Format, Kind};

/// Everything that speaks against the guard of a route, each with its mend. `others` are the routes before it.
pub fn problems(
    spec: &RouteSpec,
    table: &TargetTable,
    tables: &BTreeMap<String, TargetTable>,
    others: &[Route],
) -> Vec<String> {
    let Some(guard) = &spec.guard else { return shared_deletes(spec, others) };
    let mut problems = of_records(spec);
    problems.extend(column_problem(&guard.column, table, true));
    let fed = spec.renamed.contains_key(&guard.column) || spec.fed.contains_key(&guard.column);
    if fed || spec.policies.contains_key(&guard.column) || spec.dropped.contains(&guard.column) {
        let column = &guard.column;
        problems
            .push(format!("`rewind_guard`, column \"{column}\": it is in `columns` or `drop` too: take it out there"));
    }
    match tables.get(&guard.deletes_table) {
        None => problems.push(format!(
            "`rewind_guard`: the target has no table \"{}\": create it (`cdcconsumer ddl` prints it) or correct \
             `deletes_table`",
            guard.deletes_table
        )),
        Some(deletes) => {
            problems.extend(column_problem(&guard.column, deletes, false));
            if deletes.name == table.name || keys(deletes) != keys(table) {
                problems.push(format!(
                    "`rewind_guard`: \"{}\" is no table for the deletes of \"{}\": its primary key has to be the same, \
                     columns and types (`cdcconsumer ddl` prints it)",
                    deletes.name, table.name
                ));
            }
        }
    }
    problems.extend(shared_deletes(spec, others));
    problems
}

/// A position is told by whole envelopes alone, and by changes alone.
fn of_records(spec: &RouteSpec) -> Vec<String> {
    let mend = match (&spec.apply, spec.format) {
        (Apply::Events { .. }, _) => "business events come from no stream of changes: remove it",
        (_, Format::Flat) => {
            "flattened records do not say where in their source's stream they stand: send whole envelopes to the topic, \
             or remove it"
        }
        (Apply::Mirror, _) => return Vec::new(),
    };
    vec![format!("`rewind_guard`: {mend}")]
}

fn column_problem(column: &str, table: &TargetTable, ours: bool) -> Option<String> {
    let place = format!("`rewind_guard`, column \"{column}\" of \"{}\"", table.name);
    match table.columns.iter().find(|known| known.name == *column) {
        None => Some(format!(
            "{place}: the table has no such column: add it ({}) or correct `column`",
            if ours { "ALTER TABLE … ADD … blob" } else { "`cdcconsumer ddl` prints the table" }
        )),
        Some(known) if known.kind != Kind::Bytes => Some(format!("{place} is {}: make it a blob", known.kind)),
        Some(_) if table.key.iter().any(|key| key == column) => {
            Some(format!("{place} is in the primary key, and every change would make another row of it"))
        }
        Some(_) => None,
    }
}

/// A table of deletes belongs to one route: a row of it would stand for two rows.
fn shared_deletes(spec: &RouteSpec, others: &[Route]) -> Vec<String> {
    let mut problems = Vec::new();
    let mine = spec.guard.as_ref().map(|guard| &guard.deletes_table);
    for other in others {
        let theirs = other.guard.as_ref().map(|guard: &RewindGuard| &guard.deletes_table);
        let shared = match (mine, theirs) {
            (Some(_), Some(_)) if spec.table == other.table => &spec.table,
            (Some(mine), Some(theirs)) if mine == theirs => mine,
            (Some(mine), _) if *mine == other.table => mine,
            (_, Some(theirs)) if *theirs == spec.table => theirs,
            _ => continue,
        };
        problems.push(format!(
            "`rewind_guard`: \"{shared}\" is a table of route {} too: give each guarded route a table and a \
             `deletes_table` of its own",
            other.name()
        ));
    }
    problems
}

fn keys(table: &TargetTable) -> Vec<(&String, Option<&Kind>)> {
    let kind = |name: &String| table.columns.iter().find(|column| column.name == *name).map(|column| &column.kind);
    table.key.iter().map(|name| (name, kind(name))).collect()
}
