//! Rows that Debezium's `ExtractNewRecordState` took out of their envelopes.
//!
//! Facts: Debezium 3.6 documentation, "New Record State Extraction", with every way of handling deletes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::image::Columns;
use crate::format::json::{Name, Skip};
use crate::format::payload::{CLOUD_EVENT, OpLetter, Payload, Told};
use crate::format::unmapped::Unwanted;
use crate::record::{Header, Record};
use crate::row::{Row, Shape, Value};

/// On the second half of a key change, which the transform does not tell from an insert in any other way.
const OLD_KEY_HEADER: &str = "__debezium.oldkey";
/// The transform's `add.fields.prefix`.
const METADATA_PREFIX: &str = "__";

/// Reads a payload as a row, or as one of the records that pass through the transform as they are.
pub fn read(payload: Payload<'_, '_>, record: &Record) -> Result<Told, Reject> {
    let Payload { shape, columns, unmapped, what, text } = payload;
    let unwanted = Unwanted::of(unmapped);
    let seed = |only| FlatSeed { columns, only, unwanted: &unwanted };
    let mut flat = match columns.notes.read(what, text, seed(None)) {
        Ok(Some(flat)) => flat,
        Ok(None) => return Ok(Told::Nothing),
        // A delete's row is junk under REPLICA IDENTITY DEFAULT, but for its key, and a signal's is none of ours. What
        // the record is stands behind its columns, so they are passed over now.
        Err(reject) => match columns.notes.read(what, text, seed(Some(&[]))) {
            Ok(Some(flat)) if flat.is_signal(shape) => flat,
            Ok(Some(flat)) if flat.is_delete() => match columns.notes.read(what, text, seed(Some(&shape.before)))? {
                Some(flat) => flat,
                None => return Ok(Told::Nothing),
            },
            _ => return Err(reject),
        },
    };
    if flat.is_signal(shape) {
        return Ok(Told::Other(Decoded::Signal));
    }
    if let Some(decoded) = flat.marks.other(&columns) {
        return decoded.map(Told::Other);
    }
    let op = match flat.op {
        _ if flat.is_delete() => Op::Delete,
        Some(OpLetter::Row(op)) => op,
        Some(OpLetter::Truncate) => return Ok(Told::Other(Decoded::Truncate)),
        Some(OpLetter::Message) => return Ok(Told::Other(Decoded::Message)),
        None if record.headers.iter().any(|Header { name, .. }| name == OLD_KEY_HEADER) => Op::Create,
        None => Op::Update,
    };
    if op == Op::Delete {
        let junk = flat.row.iter_mut().enumerate().filter(|(at, _)| !shape.before.contains(at));
        junk.for_each(|(_, value)| *value = Value::Absent);
        return Ok(Told::Change(Change::of(op, Some(flat.row), None), Vec::new()));
    }
    let change = Change::of(op, None, Some(flat.row));
    Ok(Told::Change(change, unwanted.into_names()))
}

struct Flat<'t> {
    row: Row,
    deleted: bool,
    op: Option<OpLetter>,
    schema: Option<Name<'t>>,
    table: Option<Name<'t>>,
    marks: Marks,
}

impl Flat<'_> {
    fn is_delete(&self) -> bool {
        self.deleted || self.op == Some(OpLetter::Row(Op::Delete))
    }

    /// Only where the transform adds both names. The name of a table alone is not enough.
    fn is_signal(&self, shape: &Shape) -> bool {
        let is = |named: &Option<Name<'_>>, wanted: &String| named.as_ref().is_some_and(|name| name.0 == *wanted);
        shape.signal_table.as_ref().is_some_and(|(schema, table)| is(&self.schema, schema) && is(&self.table, table))
    }
}

const MARKS: [&str; 11] =
    ["ts_ms", "status", "id", "op", "source", "after", "message", "specversion", "type", "ddl", "tableChanges"];

/// Members that no field wants and that records have which are no rows.
#[derive(Default)]
struct Marks {
    members: usize,
    ts_ms: bool,
    status: bool,
    id: bool,
    op: bool,
    op_of_message: bool,
    source: bool,
    after: bool,
    message: bool,
    ddl: bool,
    specversion: bool,
    kind: bool,
}

impl Marks {
    fn take(&mut self, name: &str, raw: &str) {
        let (is_text, is_object) = (raw.starts_with('"'), raw.starts_with('{'));
        match name {
            "ts_ms" => self.ts_ms = raw.starts_with(|c: char| c.is_ascii_digit()),
            "status" => self.status = matches!(raw, "\"BEGIN\"" | "\"END\""),
            "id" => self.id = is_text,
            "op" => (self.op, self.op_of_message) = (is_text, raw == "\"m\""),
            "source" => self.source = is_object || is_text,
            "after" => self.after = is_object,
            "message" => self.message = is_object,
            "specversion" => self.specversion = is_text,
            "type" => self.kind = is_text,
            // The last of the names.
            _ => self.ddl = true,
        }
    }

    /// What the record is if it is unmistakably no row. A member of these that the shape wants is a column, and was
    /// never counted here.
    fn other(&self, columns: &Columns<'_, '_>) -> Option<Result<Decoded, Reject>> {
        let refused = |text: &str| Some(Err(Reject::new(RejectClass::WrongType, text)));
        match self {
            Marks { op_of_message: true, source: true, message: true, .. } => Some(Ok(Decoded::Message)),
            Marks { ts_ms: true, members: 1, .. } => Some(Ok(Decoded::Heartbeat)),
            Marks { status: true, id: true, .. } => Some(Ok(Decoded::Transaction)),
            Marks { ddl: true, source: true, .. } if !columns.wants("databaseName") => Some(Ok(Decoded::SchemaChange)),
            Marks { specversion: true, kind: true, source: true, .. } => refused(CLOUD_EVENT),
            Marks { op: true, source: true, after: true, .. } => refused(
                "the value is an envelope and no row: set the route's format to envelope, or flatten the topic's \
                 records with ExtractNewRecordState",
            ),
            _ => None,
        }
    }
}

struct FlatSeed<'a, 't> {
    columns: Columns<'a, 't>,
    only: Option<&'a [usize]>,
    unwanted: &'a Unwanted<'a>,
}

impl<'de> DeserializeSeed<'de> for FlatSeed<'_, 'de> {
    type Value = Option<Flat<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FlatSeed<'_, 'de> {
    type Value = Option<Flat<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { columns, only, unwanted } = self;
        let row = columns.empty_row();
        let mut flat = Flat { row, deleted: false, op: None, schema: None, table: None, marks: Marks::default() };
        let mut next = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            flat.marks.members += 1;
            let found = columns.find(&name, &mut next);
            let read = found.filter(|at| only.is_none_or(|only| only.contains(at)));
            if name.starts_with(METADATA_PREFIX) {
                let raw = map.next_value::<&'de RawValue>()?.get();
                flat.metadata(&columns, &name, raw)?;
                if let Some(at) = read {
                    columns.notes.once(&name, flat.row[at] != Value::Absent)?;
                    columns.read_raw(at, raw, &mut flat.row).map_err(A::Error::custom)?;
                }
                continue;
            }
            match (found, read) {
                (_, Some(at)) => columns.read(at, &mut flat.row, &mut map)?,
                (Some(_), None) => {
                    map.next_value::<Skip>()?;
                }
                (None, None) => {
                    unwanted.meet(&name);
                    if MARKS.contains(&name.as_ref()) {
                        flat.marks.take(&name, map.next_value::<&RawValue>()?.get());
                    } else {
                        map.next_value::<Skip>()?;
                    }
                }
            }
        }
        Ok(Some(flat))
    }
}

impl<'de> Flat<'de> {
    /// A member that the transform added. Their names can be configured; those that are not known say nothing.
    fn metadata<E: serde::de::Error>(
        &mut self,
        columns: &Columns<'_, 'de>,
        name: &str,
        raw: &'de str,
    ) -> Result<(), E> {
        let text = || serde_json::from_str::<Name<'de>>(raw).ok();
        match name {
            "__deleted" => self.deleted = matches!(raw, "true" | "\"true\""),
            "__op" => {
                let letter = text().map(|Name(letter)| OpLetter::of(&letter)).transpose();
                self.op = letter.map_err(|reject| columns.notes.refuse(reject))?;
            }
            "__schema" | "__source_schema" => self.schema = text(),
            "__table" | "__source_table" => self.table = text(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
