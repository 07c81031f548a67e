//! CQL for a keyspace and tables that hold a source exactly. Pure: it writes text, and nothing to a cluster.

mod key;
mod types;

use std::fmt::Write as _;

pub use self::key::{Key, KeyError};
pub use self::types::{CqlType, Grain, cql_type};
use super::statement::quoted;
use crate::plan::convert::{Fit, fit};
use crate::plan::route::RewindGuard;
use crate::row::wire::Wire;

/// A table to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What its rows come from, for a comment.
    pub source: String,
    pub name: String,
    pub columns: Vec<DraftColumn>,
    /// The primary key of the source, as the target's columns are called.
    pub source_key: Vec<String>,
    /// Another key than the source's, when one was chosen.
    pub key: Option<Key>,
    /// What keeps positions, where the route is guarded (V6).
    pub guard: Option<RewindGuard>,
    /// Source columns that cannot be carried, and why.
    pub left_out: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftColumn {
    pub name: String,
    /// The type as the source calls it, for a comment.
    pub source_type: String,
    pub wire: Wire,
}

/// How many copies the keyspace has, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    EveryDatacenter(u32),
    Datacenters(Vec<(String, u32)>),
}

/// The longest name that the server takes for a keyspace; one for tables is longer, and file names end it.
const NAME_CHARS_MAX: usize = 48;

/// `CREATE KEYSPACE IF NOT EXISTS`.
pub fn keyspace(name: &str, replication: &Replication) -> Result<String, String> {
    check_name("keyspace", name)?;
    let copies: Vec<String> = match replication {
        Replication::EveryDatacenter(copies) => vec![format!("'replication_factor': {copies}")],
        Replication::Datacenters(named) => {
            named.iter().map(|(name, copies)| format!("'{}': {copies}", name.replace('\'', "''"))).collect()
        }
    };
    Ok(format!(
        "CREATE KEYSPACE IF NOT EXISTS {}\n  WITH replication = {{'class': 'NetworkTopologyStrategy', {}}};\n",
        quoted(name),
        copies.join(", ")
    ))
}

/// `CREATE TABLE IF NOT EXISTS`, with comments that say what its types and its key cost; or what speaks against it.
pub fn table(keyspace: &str, draft: &Draft, grain: Grain) -> Result<String, Vec<String>> {
    let names = draft.guard.iter().map(|guard| &guard.deletes_table).chain([&draft.name]);
    let mut problems: Vec<String> = names.filter_map(|name| check_name("table", name).err()).collect();
    if draft.source_key.is_empty() {
        problems.push("the source has no primary key, so its records have no key: add one there".into());
    }
    let key = draft.key.clone().unwrap_or_else(|| Key::of(&draft.source_key));
    let is_column = |name: &&String| draft.columns.iter().any(|column| column.name == **name);
    for name in key.columns().filter(|name| !is_column(name)) {
        problems.push(format!("the key names \"{name}\", and the table has no such column: correct --key"));
    }
    for name in draft.source_key.iter().filter(|name| !key.columns().any(|column| column == *name)) {
        problems.push(format!(
            "the key does not contain \"{name}\", which is in the source's key: two source rows could then share one \
             row; add it to --key, at the end if it shall not group the rows"
        ));
    }
    if !problems.is_empty() {
        return Err(problems.into_iter().map(|problem| format!("table \"{}\": {problem}", draft.name)).collect());
    }
    Ok(text(keyspace, draft, &key, grain))
}

fn text(keyspace: &str, draft: &Draft, key: &Key, grain: Grain) -> String {
    let mut text = format!("-- {}\n", one_line(&draft.source));
    for (name, why) in &draft.left_out {
        // Writing to a String never fails.
        let _ = writeln!(text, "-- Left out: \"{}\" {}.", one_line(name), one_line(why));
    }
    if key.columns().count() > draft.source_key.len() {
        text += "-- The key holds more than the source's key, so a row moves when such a column changes: that needs\n\
                 -- REPLICA IDENTITY FULL on the source table and a topic that is not compacted. A row in which such a\n\
                 -- column is null is refused.\n";
    }
    let _ = writeln!(text, "CREATE TABLE IF NOT EXISTS {}.{} (", quoted(keyspace), quoted(&draft.name));
    for column in in_key_order(draft, key) {
        let typ = cql_type(&column.wire, &column.source_type, key.contains(&column.name), grain);
        let note = note(column, &typ);
        let _ = writeln!(text, "  {} {},{note}", quoted(&column.name), typ.cql);
    }
    if let Some(guard) = &draft.guard {
        let _ =
            writeln!(text, "  {} blob, -- rewind_guard: the position of the row's last change", quoted(&guard.column));
    }
    let _ = writeln!(text, "  PRIMARY KEY ({key})\n);");
    if let Some(guard) = &draft.guard {
        text += &deletes(keyspace, draft, key, grain, guard);
    }
    text
}

/// The table that keeps the positions of deletes: the same key, and rows that end by themselves.
fn deletes(keyspace: &str, draft: &Draft, key: &Key, grain: Grain, guard: &RewindGuard) -> String {
    let (table, deletes) = (quoted(keyspace), quoted(&guard.deletes_table));
    let mut text = format!("\n-- The deletes of {}, for its rewind_guard.\n", one_line(&draft.name));
    let _ = writeln!(text, "CREATE TABLE IF NOT EXISTS {table}.{deletes} (");
    for column in in_key_order(draft, key).into_iter().filter(|column| key.contains(&column.name)) {
        let typ = cql_type(&column.wire, &column.source_type, true, grain);
        let _ = writeln!(text, "  {} {},", quoted(&column.name), typ.cql);
    }
    let _ = writeln!(text, "  {} blob,\n  PRIMARY KEY ({key})\n);", quoted(&guard.column));
    text
}

/// The columns of the key first, then the others as the source has them.
fn in_key_order<'d>(draft: &'d Draft, key: &Key) -> Vec<&'d DraftColumn> {
    let named = |name: &String| draft.columns.iter().find(|column| column.name == *name);
    let others = draft.columns.iter().filter(|column| !key.contains(&column.name));
    key.columns().filter_map(named).chain(others).collect()
}

fn note(column: &DraftColumn, typ: &CqlType) -> String {
    let verdict = match fit(&column.wire, &typ.kind) {
        Fit::Exact => String::new(),
        Fit::Checked(what) | Fit::Never(what) => what,
        Fit::Lossy(what) => format!("{what}: the route needs lossy = true for it"),
    };
    let told = [one_line(&column.source_type), verdict, typ.note.unwrap_or_default().to_string()];
    format!(" -- {}", told.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
}

/// A comment ends with its line; and not every tool that splits CQL at its semicolons knows a comment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace(';', ",")
}

/// Whether a column of this draft needs leave to lose something.
pub fn is_lossy(column: &DraftColumn, in_key: bool, grain: Grain) -> bool {
    let typ = cql_type(&column.wire, &column.source_type, in_key, grain);
    matches!(fit(&column.wire, &typ.kind), Fit::Lossy(_))
}

/// The nearest name that the server takes for a table.
pub fn table_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).take(NAME_CHARS_MAX).collect()
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || table_name(name) != name {
        return Err(format!(
            "Cassandra takes no {what} called \"{name}\": letters, digits and _ only, at most {NAME_CHARS_MAX} of them"
        ));
    }
    Ok(())
}

impl std::str::FromStr for Replication {
    type Err = String;

    /// `3`, or `dc1=3,dc2=2`.
    fn from_str(text: &str) -> Result<Replication, String> {
        let mend = || format!("\"{text}\" is no replication: give a number of copies, or dc1=3,dc2=2");
        let copies = |text: &str| text.trim().parse::<u32>().ok().filter(|copies| *copies > 0).ok_or_else(mend);
        if !text.contains('=') {
            return copies(text).map(Replication::EveryDatacenter);
        }
        let each = text.split(',').map(|part| {
            let (name, number) = part.split_once('=').ok_or_else(mend)?;
            Ok((name.trim().to_string(), copies(number)?))
        });
        each.collect::<Result<_, String>>().map(Replication::Datacenters)
    }
}

#[cfg(test)]
mod tests;
