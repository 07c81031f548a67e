//! What is known of a source column that a route wants, for a target column or for its `where`.

use crate::plan::condition;
use crate::plan::filter::Filter;
use crate::plan::resolve::shape_field;
use crate::plan::route::{Apply, RouteSpec};
use crate::plan::ttl::{Ttl, TtlSpec, is_end};
use crate::row::wire::{BinaryMode, Modes, Unsent, Wire};
use crate::row::{Field, Format, Shape};

pub enum Known {
    Field(Field),
    /// The column's type is not known.
    Untyped,
    /// The source is known, and has no column of that name.
    Missing,
}

/// The source column and how it stands on the wire. `wanted` says what for, and `mend` how to go without it.
pub fn source_column(spec: &RouteSpec, name: &str, wanted: &str, mend: &str) -> Result<Known, String> {
    let place = || format!("source column \"{name}\", which {wanted},");
    let wire_of = |pg_type: &str| {
        Wire::of_postgres(pg_type, &spec.modes).map_err(|unsent| match unsent {
            Unsent::Omitted => format!("{} {unsent}: {mend}", place()),
            Unsent::Unknown => format!("{} is declared as \"{pg_type}\", which {unsent}: correct its `types`", place()),
        })
    };
    if let Some(pg_type) = spec.types.get(name) {
        return Ok(Known::Field(Field { name: name.into(), wire: Some(wire_of(pg_type)?), declared: true }));
    }
    Ok(match &spec.source {
        Some(facts) => match facts.column(name) {
            Some(fact) => {
                let wire = wire_of(&fact.pg_type)?;
                let declared = hidden_by_block(&wire, &spec.modes);
                Known::Field(Field { name: name.into(), wire: Some(wire), declared })
            }
            None => Known::Missing,
        },
        None if spec.schemas => Known::Field(Field { name: name.into(), wire: None, declared: false }),
        None => Known::Untyped,
    })
}

/// Whether a schema block says less of a form than the catalog does: it has one word for bit and varbit, for hstore and
/// json, for bytes as text and text.
fn hidden_by_block(wire: &Wire, modes: &Modes) -> bool {
    match wire {
        Wire::Bits { .. } | Wire::HstoreJson => true,
        Wire::Bytes(_) => modes.binary_handling_mode != BinaryMode::Bytes,
        Wire::Array(item) => hidden_by_block(item, modes),
        _ => false,
    }
}

/// The Postgres type of a source column, where somebody has said it.
pub fn pg_type_of<'a>(spec: &'a RouteSpec, name: &str) -> Option<&'a str> {
    let declared = spec.types.get(name).map(|pg_type| pg_type.trim());
    declared.or_else(|| spec.source.as_ref()?.column(name).map(|fact| fact.pg_type.as_str()))
}

/// The route's conditions, their columns among the fields that are read.
pub fn filter_of(spec: &RouteSpec, shape: &mut Shape, problems: &mut Vec<String>) -> Filter {
    let mut filter = Filter::default();
    if spec.conditions.is_empty() {
        return filter;
    }
    if matches!(spec.apply, Apply::Events { .. }) {
        problems.push("`where` is for mirrored tables, and events are of none: remove it".into());
        return filter;
    }
    for text in &spec.conditions {
        match condition_of(spec, text, shape, problems) {
            Ok(condition) => filter.conditions.push(condition),
            Err(problem) => problems.push(format!("`where`, {problem}")),
        }
    }
    filter
}

fn condition_of(
    spec: &RouteSpec,
    text: &str,
    shape: &mut Shape,
    problems: &mut Vec<String>,
) -> Result<condition::Condition, String> {
    let draft = condition::Draft::read(text)?;
    let Some(column) = draft.column().map(String::from) else {
        if spec.format == Format::Flat {
            return Err(format!("\"{text}\": flattened records do not always say their op: ask for a column"));
        }
        return draft.of_op();
    };
    let field = wanted_field(spec, &column).map_err(|problem| format!("\"{text}\", at character 1: {problem}"))?;
    let wire = field.wire.clone();
    let at = shape_field(shape, field, problems);
    draft.of_field(at, wire.as_ref())
}

/// When the route's rows end. A column that says it is among the fields that are read.
pub fn ttl_of(spec: &RouteSpec, shape: &mut Shape, problems: &mut Vec<String>) -> Option<Ttl> {
    let column = match spec.ttl.as_ref()? {
        TtlSpec::Seconds(seconds) => return Some(Ttl::Seconds(*seconds)),
        TtlSpec::Column(column) => column,
    };
    match wanted_field(spec, column) {
        Ok(field) if field.wire.as_ref().is_some_and(is_end) => Some(Ttl::Field(shape_field(shape, field, problems))),
        Ok(Field { wire: None, .. }) => {
            let text = format!("`ttl`: nothing says the type of column \"{column}\" before the first record");
            problems.push(format!("{text}: add it to the route's `types`"));
            None
        }
        Ok(_) => {
            let mend = "name a date or timestamp, which says when a row ends";
            problems.push(format!("`ttl`: column \"{column}\" is no date and no timestamp: {mend}"));
            None
        }
        Err(problem) => {
            problems.push(format!("`ttl`: {problem}"));
            None
        }
    }
}

/// A source column that the route asks for by itself, whatever its target has.
fn wanted_field(spec: &RouteSpec, column: &str) -> Result<Field, String> {
    match source_column(spec, column, "the route asks for", "ask for another one")? {
        Known::Field(field) => Ok(field),
        Known::Missing => {
            let table = spec.source.as_ref().map_or("", |facts| facts.table.as_str());
            Err(format!("\"{table}\" has no column \"{column}\""))
        }
        Known::Untyped => {
            let mend = format!("add it to the route: types = {{ \"{column}\" = \"…\" }}, or add `source_table`");
            Err(format!("nothing says the type of column \"{column}\": {mend}"))
        }
    }
}
