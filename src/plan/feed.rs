//! Feeds: where the values of a target's column come from, which need not be a column of the row.

use crate::change::{Reject, RejectClass};
use crate::plan::convert::{convert, to_key};
use crate::plan::route::{RouteSpec, TargetTable};
use crate::record::Record;
use crate::row::wire::{Unit, Wire};
use crate::row::{Column, Field, Format, Kind, Shape, Value};

/// What feeds a target column beside the columns of the row, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSpec {
    /// A text, whole number, decimal or boolean.
    Constant(Value),
    /// A header of the record.
    Header(String),
    /// A member of the envelope's `source`.
    Source(String),
}

/// The same, ready to plan with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// A column of the row: index into the shape's fields.
    Field(usize),
    /// In the form that the column's kind takes.
    Constant(Value),
    Header(String),
    /// Index into the shape's `source`.
    Source(usize),
}

/// The members of `source` that Debezium's connector for PostgreSQL writes.
const SOURCE_MEMBERS: [(&str, Member); 15] = [
    ("version", Member::Text),
    ("connector", Member::Text),
    ("name", Member::Text),
    ("snapshot", Member::Text),
    ("db", Member::Text),
    ("schema", Member::Text),
    ("table", Member::Text),
    ("sequence", Member::Text),
    ("origin", Member::Text),
    ("txId", Member::Number),
    ("lsn", Member::Number),
    ("xmin", Member::Number),
    ("ts_ms", Member::Time(Unit::Millis)),
    ("ts_us", Member::Time(Unit::Micros)),
    ("ts_ns", Member::Time(Unit::Nanos)),
];

#[derive(Clone, Copy)]
enum Member {
    Text,
    Number,
    /// Since 1970: an instant in columns of instants, and a number in others.
    Time(Unit),
}

impl Feed {
    /// The field of the row that the values come from.
    pub fn field(&self) -> Option<usize> {
        match self {
            Feed::Field(at) => Some(*at),
            Feed::Constant(_) | Feed::Header(_) | Feed::Source(_) => None,
        }
    }

    /// How the values stand where they are read; `None` for those that nobody reads, or where nobody knows yet.
    pub fn wire<'a>(&self, shape: &'a Shape) -> Option<&'a Wire> {
        match self {
            Feed::Field(at) => shape.fields[*at].wire.as_ref(),
            Feed::Source(at) => shape.source[*at].wire.as_ref(),
            Feed::Header(_) => Some(&Wire::Text),
            Feed::Constant(_) => None,
        }
    }
}

/// How a member of `source` stands for a column that is to hold it exactly; `None` when `source` has no such member.
pub fn source_wire(member: &str) -> Option<Wire> {
    let (_, known) = SOURCE_MEMBERS.iter().find(|(name, _)| *name == member)?;
    Some(known.wire(match known {
        Member::Time(Unit::Millis) => &Kind::TimestampMillis,
        _ => &Kind::Int64,
    }))
}

/// What `source` has.
pub fn source_members() -> String {
    let known: Vec<&str> = SOURCE_MEMBERS.iter().map(|(name, _)| *name).collect();
    known.join(", ")
}

/// The feed of a target column that no column of the row feeds, or what speaks against it.
pub fn beside(
    spec: &RouteSpec,
    table: &TargetTable,
    column: &Column,
    fed: &FeedSpec,
    shape: &mut Shape,
) -> Result<Feed, String> {
    let (name, is_key) = (&column.name, table.key.contains(&column.name));
    let place = || format!("column \"{name}\" of \"{}\" ({})", table.name, column.kind);
    let moves = |what: &str| {
        format!(
            "key column \"{name}\" of \"{}\" is fed by {what}, which may be another one in a later record of the same \
             row, and the row under the old key could not be found again: feed it by a column of the row, or take it \
             out of the primary key",
            table.name
        )
    };
    match fed {
        FeedSpec::Constant(value) => {
            let policy = spec.policies.get(name).copied().unwrap_or_default();
            let mut value = convert(value, &column.kind, policy)
                .map_err(|misfit| format!("{} {}: correct its `constant`", place(), misfit.why))?;
            if is_key {
                to_key(&mut value);
            }
            Ok(Feed::Constant(value))
        }
        FeedSpec::Header(_) if is_key => Err(moves("a header")),
        FeedSpec::Header(header) => Ok(Feed::Header(header.clone())),
        FeedSpec::Source(_) if is_key => Err(moves("a member of `source`")),
        FeedSpec::Source(_) if spec.format != Format::Envelope => {
            Err(format!("{} is fed by a member of `source`, which only whole envelopes have", place()))
        }
        FeedSpec::Source(member) => {
            let Some((_, known)) = SOURCE_MEMBERS.iter().find(|(known, _)| known == member) else {
                return Err(format!("{}: `source` has no member \"{member}\", but {}", place(), source_members()));
            };
            let field = Field::known(member, known.wire(&column.kind));
            let at = shape.source.iter().position(|known| *known == field).unwrap_or_else(|| {
                shape.source.push(field);
                shape.source.len() - 1
            });
            Ok(Feed::Source(at))
        }
    }
}

/// The text of a record's last header of this name; absent where it has none.
pub fn header(record: &Record, name: &str) -> Result<Value, Reject> {
    let Some(header) = record.headers.iter().rfind(|header| header.name == name) else { return Ok(Value::Absent) };
    let Some(bytes) = &header.value else { return Ok(Value::Null) };
    let text = bytestring::ByteString::try_from(bytes.clone());
    let not_text = |_| Reject::new(RejectClass::WrongType, format!("header \"{name}\" is not UTF-8"));
    text.map(Value::Text).map_err(not_text)
}

impl Member {
    fn wire(self, kind: &Kind) -> Wire {
        match (self, kind) {
            (Member::Text, _) => Wire::Text,
            (Member::Time(unit), Kind::Timestamp | Kind::TimestampMillis) => {
                let decimals = if matches!(unit, Unit::Millis) { 3 } else { 6 };
                Wire::LocalTimestamp { unit, decimals }
            }
            (Member::Number | Member::Time(_), _) => Wire::Int64,
        }
    }
}

#[cfg(test)]
mod tests;
