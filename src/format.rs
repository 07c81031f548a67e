//! Bytes become meaning: one record in, one [`Decoded`] out, for every format that topics carry.
//!
//! Decoding is total. What cannot be read is a reject whose text names the place and never the value. It knows
//! nothing of tables, versions or sinks.

pub mod envelope;
pub mod event;
mod json;
mod logical;
#[cfg(test)]
mod recordings_tests;

use crate::change::{Decoded, Reject, RejectClass};
use crate::record::Record;
use crate::row::Shape;

/// The formats, chosen by configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Debezium's envelope as JSON without a schema block.
    Envelope,
    /// Business events: a flat JSON object with an `event_type`.
    Event,
}

/// Decodes one record. Only the columns of `shape` are read; values longer than `record_bytes_max` are refused unread.
pub fn decode(format: Format, shape: &Shape, record_bytes_max: usize, record: &Record) -> Decoded {
    if record.bytes() > record_bytes_max {
        let text = format!("the record has {} bytes, the limit is {record_bytes_max}", record.bytes());
        return Decoded::Reject(Reject::new(RejectClass::TooLarge, text));
    }
    let decoded = match format {
        Format::Envelope => envelope::decode(shape, record),
        Format::Event => event::decode(shape, record),
    };
    decoded.unwrap_or_else(Decoded::Reject)
}
