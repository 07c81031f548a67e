//! Bytes become meaning: one record in, one [`Decoded`] out, for every format that topics carry.
//!
//! Decoding is total. What cannot be read is a reject whose text names the place and never the value. It knows
//! nothing of tables, versions or sinks.

mod json;
mod unavailable;
mod logical;
mod unmapped;
mod image;
mod schema;
mod key;
mod payload;
mod envelope;
mod flat;
mod event;
pub mod commit_time;
pub mod announced;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod recordings_tests;
#[cfg(test)]
mod source_rows_tests;
#[cfg(test)]
mod properties_tests;

use bytestring::ByteString;

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::format::image::Columns;
use crate::format::json::{Notes, Skip, Wrapped};
use crate::format::logical::{Place, ValueSeed};
use crate::format::payload::{Payload, Told};
use crate::format::schema::{Blocks, Meaning};
use crate::format::unavailable::Placeholder;
use crate::format::unmapped::UnmappedColumns;
use crate::record::Record;
use crate::row::wire::Wire;
use crate::row::{Field, Format, Row, Shape, Value};

/// Decodes the records of one topic, and remembers the schema blocks that it has read.
#[derive(Debug, Clone)]
pub struct Decoder {
    shape: Shape,
    record_bytes_max: usize,
    placeholder: Placeholder,
    /// What is known of each field's wire without a block.
    wires: Vec<Option<Wire>>,
    /// Some column is read in two forms.
    twins: bool,
    values: Blocks,
    keys: Blocks,
    /// The block in force is another than before.
    changed: bool,
    unmapped: UnmappedColumns,
}

impl Decoder {
    /// Only the fields of `shape` are read; records longer than `record_bytes_max` are refused unread.
    pub fn new(shape: &Shape, record_bytes_max: usize) -> Decoder {
        let is_twin = |(at, field): (usize, &Field)| shape.fields[..at].iter().any(|other| other.name == field.name);
        Decoder {
            shape: shape.clone(),
            record_bytes_max,
            placeholder: Placeholder::new(&shape.unavailable),
            wires: shape.fields.iter().map(|field| field.wire.clone()).collect(),
            twins: shape.fields.iter().enumerate().any(is_twin),
            values: Blocks::default(),
            keys: Blocks::default(),
            changed: false,
            unmapped: UnmappedColumns::new(&shape.unmapped),
        }
    }

    /// The meaning of one record.
    pub fn decode(&mut self, record: &Record) -> Decoded {
        if record.bytes() > self.record_bytes_max {
            let text = format!("the record has {} bytes, the limit is {}", record.bytes(), self.record_bytes_max);
            return Decoded::Reject(Reject::new(RejectClass::TooLarge, text));
        }
        let decoded = match self.shape.format {
            Format::Envelope | Format::Flat => self.debezium(record),
            Format::Event => event::decode(self, record),
        };
        decoded.unwrap_or_else(Decoded::Reject)
    }

    /// What a person should hear, once each.
    pub fn take_notices(&mut self) -> Vec<String> {
        self.unmapped.take_notices()
    }

    /// After a record whose schema block differs from the one before: the wire now in force for each field, `None`
    /// where the block has no such column or its type is not known here.
    pub fn take_wires(&mut self) -> Option<Vec<Option<Wire>>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut wires = self.values.of_rows()?.wires.clone();
        // A column filter may leave key columns to the key alone.
        if let Some(key) = self.keys.current() {
            for at in self.shape.key.iter().filter(|at| wires[**at].is_none()).copied().collect::<Vec<_>>() {
                wires[at] = key.wires[at].clone();
            }
        }
        Some(wires)
    }

    /// One record of a Debezium topic: null in any form, or a payload, wrapped with its schema or alone.
    fn debezium(&mut self, record: &Record) -> Result<Decoded, Reject> {
        let Some(value) = &record.value else {
            return self.key(record, false).map(Decoded::Tombstone);
        };
        if value.is_empty() {
            return Err(Reject::new(RejectClass::Empty, "the value has no bytes"));
        }
        let text = json::text("the value", value)?;
        if let Some((payload, changed)) = self.values.skip(&text) {
            self.changed |= changed;
            match self.payload(record, &text, payload, true) {
                // Something follows the payload, or it is damaged: the whole value is looked at.
                Err(reject) if reject.class == RejectClass::NotJson => {}
                told => return told,
            }
        }
        let is_column = |name: &str| self.shape.fields.iter().any(|field| field.name == name);
        match json::wrapped(&text) {
            Some(Wrapped { schema: Some(schema), payload }) => {
                self.changed |= self.values.read("the value's schema block", schema, &self.shape.fields)?;
                self.payload(record, &text, payload, true)
            }
            Some(Wrapped { schema: None, payload }) if !is_column("schema") => {
                self.payload(record, &text, payload, false)
            }
            _ => self.payload(record, &text, &text, false),
        }
    }

    /// Reads the part of a value that is data. `block`: it came with the block in force.
    fn payload<'t>(
        &mut self,
        record: &Record,
        text: &'t ByteString,
        part: &'t str,
        block: bool,
    ) -> Result<Decoded, Reject> {
        let notes = Notes::new(text);
        let block_of_value = self.values.current().filter(|_| block);
        let meaning = block_of_value.map_or(Meaning::Unnamed, |block| block.meaning);
        let wires = block_of_value.map_or(&self.wires, |block| &block.wires);
        let columns = self.columns(wires, &notes);
        let what = if part.len() == text.len() { "the value" } else { "the payload" };
        let payload = Payload { shape: &self.shape, columns, unmapped: &self.unmapped, what, text: part };
        let other = |decoded| {
            notes.read(what, part, SkipSeed)?;
            Ok(if part == "null" { Told::Nothing } else { Told::Other(decoded) })
        };
        let told = match (meaning, self.shape.format) {
            (Meaning::Message, _) => other(Decoded::Message)?,
            (Meaning::Heartbeat, _) => other(Decoded::Heartbeat)?,
            (Meaning::Transaction, _) => other(Decoded::Transaction)?,
            (Meaning::SchemaChange, _) => other(Decoded::SchemaChange)?,
            (Meaning::Envelope, _) | (Meaning::Unnamed, Format::Envelope) => envelope::read(payload)?,
            (Meaning::Row, _) | (Meaning::Unnamed, Format::Flat | Format::Event) => flat::read(payload, record)?,
        };
        match told {
            Told::Nothing => self.key(record, block).map(Decoded::Tombstone),
            Told::Other(decoded) => Ok(decoded),
            Told::Change(change, unwanted) => {
                let change = self.with_key(change, record, block)?;
                let stop = self.unmapped.settle(&record.topic, unwanted);
                Ok(stop.map_or(Decoded::Change(change), Decoded::Stop))
            }
        }
    }

    /// A change that agrees with the record's key. Without an image the key alone names the row that is gone.
    fn with_key(&mut self, mut change: Change, record: &Record, block: bool) -> Result<Change, Reject> {
        let key = self.key(record, block)?;
        if change.op == Op::Delete && change.before.is_none() {
            change.before = Some(key.clone());
        }
        if let Some(image) = change.after.as_ref().or(change.before.as_ref()) {
            key::check_same(&self.shape, &key, image)?;
        }
        Ok(change)
    }

    /// The record's key as a row that has nothing but its key columns. Without a block of its own it is read by that
    /// of its value, or else by the newest one of rows.
    fn key(&mut self, record: &Record, block: bool) -> Result<Row, Reject> {
        let bytes = record.key.as_ref().filter(|key| !key.is_empty()).ok_or_else(key::missing_key)?;
        let text = json::text("the key", bytes)?;
        let known = self.keys.skip(&text).map(|(payload, _)| payload);
        if let Some(payload) = known {
            match self.read_key(&text, payload, true, block) {
                Err(reject) if reject.class == RejectClass::NotJson => {}
                read => return read,
            }
        }
        match json::wrapped(&text) {
            Some(Wrapped { schema: Some(schema), payload }) => {
                self.keys.read("the key's schema block", schema, &self.shape.fields)?;
                self.read_key(&text, payload, true, block)
            }
            Some(Wrapped { schema: None, payload }) => self.read_key(&text, payload, false, block),
            None => self.read_key(&text, &text, false, block),
        }
    }

    fn read_key<'t>(&self, text: &'t ByteString, part: &'t str, wrapped: bool, block: bool) -> Result<Row, Reject> {
        let notes = Notes::new(text);
        let own = self.keys.current().filter(|_| wrapped);
        let of_value = || if block { self.values.current() } else { self.newest_if_unknown() };
        let wires = own.or_else(of_value).map_or(&self.wires, |block| &block.wires);
        let seed = key::KeySeed { columns: self.columns(wires, &notes), key: &self.shape.key };
        let row = notes.read("the key", part, seed)?.ok_or_else(key::missing_key)?;
        key::check_whole(&self.shape, &row)?;
        Ok(row)
    }

    /// Tombstones have no block. Where nothing else says the types, those of the rows before hold.
    fn newest_if_unknown(&self) -> Option<&schema::Block> {
        let is_unknown = self.shape.key.iter().any(|at| self.wires[*at].is_none());
        self.values.of_rows().filter(|_| is_unknown)
    }

    fn columns<'a, 't>(&'a self, wires: &'a [Option<Wire>], notes: &'a Notes<'t>) -> Columns<'a, 't> {
        let (fields, placeholder) = (&self.shape.fields, &self.placeholder);
        Columns { fields, wires, twins: self.twins, placeholder, notes }
    }
}

/// Reads one value that stands in JSON in this form and is no placeholder. `column` is its name in a reject.
pub fn value(column: &str, wire: &Wire, json: &str) -> Result<Value, Reject> {
    let (text, placeholder) = (ByteString::from(json), Placeholder::new(""));
    let notes = Notes::new(&text);
    let seed = ValueSeed { wire, column, placeholder: &placeholder, notes: &notes, place: Place::Inside };
    notes.read("the value", &text, seed)
}

/// Passes over a value.
struct SkipSeed;

impl<'de> serde::de::DeserializeSeed<'de> for SkipSeed {
    type Value = Skip;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Skip, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}
