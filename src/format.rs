//! Bytes become meaning: one record in, one [`Decoded`] out, for every format that topics carry.
//!
//! Decoding is total. What cannot be read is a reject whose text names the place and never the value. It knows
//! nothing of tables, versions or sinks.

mod envelope;
mod event;
mod json;
mod logical;
#[cfg(test)]
mod recordings_tests;

use crate::change::{Decoded, Reject, RejectClass};
use crate::record::Record;
use crate::row::{Format, Shape};

/// Decodes the records of one topic.
#[derive(Debug, Clone)]
pub struct Decoder {
    shape: Shape,
    record_bytes_max: usize,
}

impl Decoder {
    /// Only the fields of `shape` are read; records longer than `record_bytes_max` are refused unread.
    pub fn new(shape: &Shape, record_bytes_max: usize) -> Decoder {
        Decoder { shape: shape.clone(), record_bytes_max }
    }

    pub fn decode(&mut self, record: &Record) -> Decoded {
        if record.bytes() > self.record_bytes_max {
            let text = format!("the record has {} bytes, the limit is {}", record.bytes(), self.record_bytes_max);
            return Decoded::Reject(Reject::new(RejectClass::TooLarge, text));
        }
        let decoded = match self.shape.format {
            Format::Envelope | Format::Flat => envelope::decode(&self.shape, record),
            Format::Event => event::decode(&self.shape, record),
        };
        decoded.unwrap_or_else(Decoded::Reject)
    }

    pub fn take_notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    pub fn take_wires(&mut self) -> Option<Vec<Option<crate::row::wire::Wire>>> {
        None
    }
}

/// Reads one value that was written in JSON in this form. `name` is its column, for a reject.
pub fn value(name: &str, wire: &crate::row::wire::Wire, json: &str) -> Result<crate::row::Value, Reject> {
    let _ = (name, wire, json);
    todo!()
}
