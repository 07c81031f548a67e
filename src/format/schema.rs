//! Kafka Connect's schema block as JSON: what kind of record it announces, and the wire form of each column.
//!
//! Facts: Kafka's JsonConverter; Debezium 3.6 documentation, "Debezium connector for PostgreSQL", data type mappings,
//! for every time, decimal, binary, interval and hstore mode.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer};

use crate::change::{Reject, RejectClass};
use crate::format::json::Notes;
use crate::row::Field;
use crate::row::wire::{BytesForm, Unit, Wire};

/// What a record is by the name of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Envelope,
    /// A flattened row.
    Row,
    Message,
    Heartbeat,
    Transaction,
    SchemaChange,
    /// The name says nothing: the record's members have to.
    Unnamed,
}

/// A schema block that was read.
#[derive(Debug, Clone)]
pub struct Block {
    /// As it stands in the record.
    text: Box<str>,
    pub meaning: Meaning,
    /// For each field of the shape. `None` where the block has no such column, or its type is not known.
    pub wires: Vec<Option<Wire>>,
}

/// The blocks of a topic's values, or of its keys, the one in force first.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    seen: Vec<Block>,
}

/// While connectors change over, or several tables share a topic, blocks take turns.
const BLOCKS_MAX: usize = 4;
/// Far above the block of a table with Postgres's most columns. Each partition may remember [`BLOCKS_MAX`] of them.
const BLOCK_BYTES_MAX: usize = 1 << 20;

impl Blocks {
    /// The block in force.
    pub fn current(&self) -> Option<&Block> {
        self.seen.first()
    }

    /// The newest block of rows.
    pub fn of_rows(&self) -> Option<&Block> {
        self.seen.iter().find(|block| matches!(block.meaning, Meaning::Envelope | Meaning::Row | Meaning::Unnamed))
    }

    /// Finds a known block at the beginning of a text as the JSON converter writes it, and makes it the one in
    /// force. Returns what follows, which is the payload if nothing but a closing brace was behind it, and whether
    /// another block was in force.
    pub fn skip<'t>(&mut self, text: &'t str) -> Option<(&'t str, bool)> {
        let inside = text.strip_prefix("{\"schema\":")?.strip_suffix('}')?;
        let payload = |block: &Block| inside.strip_prefix(&*block.text)?.strip_prefix(",\"payload\":");
        let (at, payload) = self.seen.iter().enumerate().find_map(|(at, block)| Some((at, payload(block)?)))?;
        self.seen[..=at].rotate_right(1);
        Some((payload, at != 0))
    }

    /// Makes a block the one in force, and reads it unless it is known. Returns whether another was in force.
    pub fn read(&mut self, what: &str, text: &str, fields: &[Field]) -> Result<bool, Reject> {
        match self.seen.iter().position(|block| *block.text == *text) {
            Some(at) => {
                self.seen[..=at].rotate_right(1);
                Ok(at != 0)
            }
            None if text.len() > BLOCK_BYTES_MAX => {
                let text = format!("{what} has {} bytes, the limit is {BLOCK_BYTES_MAX}", text.len());
                Err(Reject::new(RejectClass::TooLarge, text))
            }
            None => {
                let block = Block::read(what, text, fields)?;
                self.seen.truncate(BLOCKS_MAX - 1);
                self.seen.insert(0, block);
                Ok(true)
            }
        }
    }
}

impl Block {
    fn read(what: &str, text: &str, fields: &[Field]) -> Result<Block, Reject> {
        let owned = text.into();
        let notes = Notes::new(&owned);
        let schema = notes.read(what, &owned, NodeSeed)?;
        let meaning = schema.meaning();
        let column = |node: &Node<'_>, name: &str| node.fields.iter().find(|field| field.field == name).map(Node::wire);
        let rows = schema.rows();
        let wire = |field: &Field| match &field.wire {
            Some(wire) if field.declared => Some(wire.clone()),
            _ => rows.iter().find_map(|row| column(row, &field.name)).flatten(),
        };
        Ok(Block { text: text.into(), meaning, wires: fields.iter().map(wire).collect() })
    }
}

/// A column's name, and its form where it is known.
pub type Column = (String, Option<Wire>);

/// Every column that a block announces, and what kind of record it does.
pub fn columns(what: &str, text: &str) -> Result<(Meaning, Vec<Column>), Reject> {
    let owned = text.into();
    let schema = Notes::new(&owned).read(what, &owned, NodeSeed)?;
    let row = schema.rows().into_iter().next();
    let columns = row.into_iter().flat_map(|row| &row.fields);
    Ok((schema.meaning(), columns.map(|column| (column.field.to_string(), column.wire())).collect()))
}

/// One node of a schema. Members that are not named here are passed over.
#[derive(Deserialize)]
struct Node<'t> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'t, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'t, str>>,
    /// The member's name, where it is one of a struct.
    #[serde(borrow, default)]
    field: Cow<'t, str>,
    #[serde(borrow, default)]
    fields: Vec<Node<'t>>,
    #[serde(borrow, default)]
    items: Option<Box<Node<'t>>>,
    #[serde(borrow, default)]
    keys: Option<Box<Node<'t>>>,
    #[serde(borrow, default)]
    values: Option<Box<Node<'t>>>,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'t>>,
}

#[derive(Deserialize)]
struct Parameters<'t> {
    #[serde(borrow, default)]
    scale: Option<Cow<'t, str>>,
    #[serde(borrow, default)]
    length: Option<Cow<'t, str>>,
    /// Written where `column.propagate.source.type` asks for it.
    #[serde(borrow, default, rename = "__debezium.source.column.type")]
    source_type: Option<Cow<'t, str>>,
}

struct NodeSeed;

impl<'de> DeserializeSeed<'de> for NodeSeed {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        Node::deserialize(deserializer)
    }
}

impl Node<'_> {
    /// The structs whose members are the columns.
    fn rows(&self) -> Vec<&Self> {
        match self.meaning() {
            Meaning::Envelope => {
                self.fields.iter().filter(|field| matches!(field.field.as_ref(), "after" | "before")).collect()
            }
            _ => vec![self],
        }
    }

    /// The name decides, for topics can be renamed and tables may have columns of any name.
    fn meaning(&self) -> Meaning {
        let name = self.name.as_deref().unwrap_or_default();
        let has = |member: &str| self.fields.iter().any(|field| field.field == member);
        let is_struct = |member: &str| self.fields.iter().any(|field| field.field == member && field.kind == "struct");
        match name.rsplit('.').next().unwrap_or_default() {
            "Envelope" => Meaning::Envelope,
            "Value" => Meaning::Row,
            "MessageValue" => Meaning::Message,
            "Heartbeat" => Meaning::Heartbeat,
            "TransactionMetadataValue" => Meaning::Transaction,
            "SchemaChangeValue" => Meaning::SchemaChange,
            // A transform may have renamed it, and no flattened row has a struct like this.
            _ if has("op") && has("source") && is_struct("after") => Meaning::Envelope,
            _ => Meaning::Unnamed,
        }
    }

    /// The semantic name says what a value means, and the type how it is written. A name that is not known here
    /// leaves a primitive what it is; a struct that is not known has no wire form.
    fn wire(&self) -> Option<Wire> {
        let name = self.name.as_deref().unwrap_or_default();
        let semantic = match name.strip_prefix("io.debezium.") {
            Some(rest) => rest.rsplit('.').next().unwrap_or_default(),
            // Kafka Connect's own logical types, as `time.precision.mode=connect` uses them.
            None => match name {
                "org.apache.kafka.connect.data.Decimal" => "Decimal",
                "org.apache.kafka.connect.data.Date" => "Date",
                "org.apache.kafka.connect.data.Time" => "Time",
                "org.apache.kafka.connect.data.Timestamp" => "Timestamp",
                _ => "",
            },
        };
        match self.kind.as_ref() {
            "boolean" => Some(Wire::Bool),
            "int8" => Some(Wire::Int8),
            "int16" => Some(Wire::Int16),
            "int32" => Some(match semantic {
                "Date" => Wire::Date,
                "Time" => Wire::Time { unit: Unit::Millis, decimals: 3 },
                _ => Wire::Int32,
            }),
            "int64" => Some(match semantic {
                "MicroTime" => Wire::Time { unit: Unit::Micros, decimals: 6 },
                "NanoTime" => Wire::Time { unit: Unit::Nanos, decimals: 6 },
                "Timestamp" => Wire::LocalTimestamp { unit: Unit::Millis, decimals: 3 },
                "MicroTimestamp" => Wire::LocalTimestamp { unit: Unit::Micros, decimals: 6 },
                "NanoTimestamp" => Wire::LocalTimestamp { unit: Unit::Nanos, decimals: 6 },
                "MicroDuration" => Wire::MicroDuration,
                _ => Wire::Int64,
            }),
            "float" => Some(Wire::Float32),
            "double" => Some(Wire::Float64),
            "string" => Some(match semantic {
                "Uuid" => Wire::Uuid,
                "IsoDate" => Wire::IsoDate,
                "IsoTime" => Wire::IsoTime,
                "IsoTimestamp" => Wire::IsoTimestamp { decimals: 6 },
                "ZonedTimestamp" => Wire::ZonedTimestamp { decimals: 6 },
                "ZonedTime" => Wire::ZonedTime,
                "Interval" => Wire::Interval,
                _ => Wire::Text,
            }),
            "bytes" => self.bytes(semantic),
            "array" => match semantic {
                "DoubleVector" | "FloatVector" => Some(Wire::Vector),
                _ => self.items.as_ref()?.wire().map(|item| Wire::Array(Box::new(item))),
            },
            "map" => {
                let is_text = |node: &Option<Box<Node<'_>>>| node.as_ref().is_some_and(|node| node.kind == "string");
                (is_text(&self.keys) && is_text(&self.values)).then_some(Wire::HstoreMap)
            }
            "struct" => match semantic {
                "VariableScaleDecimal" => Some(Wire::VariableScaleDecimal),
                "Point" => Some(Wire::Point),
                "Geometry" | "Geography" => Some(Wire::Geometry),
                "SparseDoubleVector" | "SparseVector" => Some(Wire::SparseVector),
                _ => None,
            },
            _ => None,
        }
    }

    fn bytes(&self, semantic: &str) -> Option<Wire> {
        let parameters = self.parameters.as_ref();
        match semantic {
            "Decimal" => {
                let scale = parameters?.scale.as_ref()?.parse().ok()?;
                Some(Wire::Decimal { scale })
            }
            "Bits" => {
                // The length is that of a bit and the limit of a varbit alike, so it counts for a bit alone.
                let of_bit = parameters.filter(|parameters| parameters.source_type.as_deref() == Some("BIT"));
                Some(Wire::Bits { length: of_bit.and_then(|parameters| parameters.length.as_ref()?.parse().ok()) })
            }
            _ => Some(Wire::Bytes(BytesForm::Base64)),
        }
    }
}
