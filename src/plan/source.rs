//! What the source's catalog says of a table, and what follows from it for a route: columns that nobody sends, states
//! that a record cannot tell apart, rows that cannot be found again.

use std::collections::BTreeSet;

use crate::plan::route::{Route, RouteSpec};
use crate::plan::ttl::Ttl;
use crate::row::Shape;
use crate::row::wire::{BinaryMode, Wire};

/// A source table as Postgres's catalog describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// `schema.table`
    pub table: String,
    pub columns: Vec<SourceFact>,
    /// The columns of its primary key; empty when it has none.
    pub key: Vec<String>,
    /// REPLICA IDENTITY FULL, on every leaf where the table is partitioned.
    pub full_identity: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFact {
    pub name: String,
    /// As [`Wire::of_postgres`] takes it: domains are what they stand for, enums and composites are called that.
    pub pg_type: String,
    /// It may be null and has a default, which a converter may send instead of the null.
    pub null_or_default: bool,
    /// Large values are stored out of line, and are not sent when an update leaves them alone.
    pub out_of_line: bool,
}

impl SourceFacts {
    pub fn column(&self, name: &str) -> Option<&SourceFact> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What speaks against a route whose source is known, each with its mend, and what a person should know of it.
pub fn check(
    spec: &RouteSpec,
    facts: &SourceFacts,
    route: &Route,
    shape: &Shape,
    replaces_null: bool,
) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut notices) = (Vec::new(), Vec::new());
    let table = &facts.table;
    if facts.key.is_empty() {
        problems.push(format!(
            "\"{table}\" has no primary key, so its records have no key and its rows cannot be told apart: add one"
        ));
    }
    if route.moves && !facts.full_identity {
        problems.push(format!(
            "its rows move when a column of the target's key changes, and \"{table}\" does not send its old rows: \
             ALTER TABLE {table} REPLICA IDENTITY FULL"
        ));
    }
    let fed = route.columns.iter().filter_map(|column| column.feed.field());
    let read: BTreeSet<usize> = fed.chain(route.filter.fields()).chain(route.ttl.and_then(Ttl::field)).collect();
    for field in read.into_iter().map(|at| &shape.fields[at]) {
        let (Some(fact), Some(wire)) = (facts.column(&field.name), &field.wire) else { continue };
        let name = &field.name;
        if fact.out_of_line && !facts.full_identity {
            match kept_apart(wire, spec.modes.binary_handling_mode) {
                KeptApart::Yes => {}
                KeptApart::NoAndItIsCommon => problems.push(format!(
                    "column \"{name}\" of \"{table}\": in the base64 modes Debezium sends null for a large value that \
                     an update left alone, which would wipe it: ALTER TABLE {table} REPLICA IDENTITY FULL, or set \
                     binary.handling.mode to bytes or hex"
                )),
                KeptApart::No => notices.push(format!(
                    "column \"{name}\" of \"{table}\": for a value that is stored out of line and that an update left \
                     alone Debezium sends null, which wipes it; ALTER TABLE {table} REPLICA IDENTITY FULL, or ALTER \
                     COLUMN \"{name}\" SET STORAGE MAIN, avoids that"
                )),
            }
        }
        if fact.null_or_default && replaces_null {
            notices.push(format!(
                "column \"{name}\" of \"{table}\" may be null and has a default: Kafka Connect's JSON converter sends \
                 the default instead of the null unless key.converter.replace.null.with.default and \
                 value.converter.replace.null.with.default are false; when they are, say so with \
                 replace_null_with_default = false in [source.debezium]"
            ));
        }
    }
    (problems, notices)
}

/// Whether a record tells an unchanged out-of-line value from a null.
enum KeptApart {
    Yes,
    No,
    NoAndItIsCommon,
}

fn kept_apart(wire: &Wire, binary: BinaryMode) -> KeptApart {
    match wire {
        Wire::Text | Wire::DecimalText | Wire::HstoreJson | Wire::HstoreMap => KeptApart::Yes,
        Wire::Bytes(_) => match binary {
            BinaryMode::Bytes | BinaryMode::Hex => KeptApart::Yes,
            BinaryMode::Base64 | BinaryMode::Base64UrlSafe => KeptApart::NoAndItIsCommon,
        },
        Wire::Array(item) => match **item {
            Wire::Text | Wire::Int32 | Wire::Int64 | Wire::Date | Wire::Uuid => KeptApart::Yes,
            Wire::Bytes(_) if binary == BinaryMode::Bytes => KeptApart::Yes,
            _ => KeptApart::No,
        },
        // Everything else that can be long: exact decimals, geometries, vectors.
        _ => KeptApart::No,
    }
}
