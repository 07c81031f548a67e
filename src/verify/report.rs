//! What a comparison found, and how it is printed. Pure.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat};

use crate::row::{Row, Value};
use crate::verify::mapping::{MappedColumn, Mapping};

/// Differences that are printed with their rows, for each table; the others are counted.
pub const DIFFERENCES_SHOWN_MAX: usize = 10;

/// The widest column of values: longer ones push what stands right of them.
const COLUMN_CHARS_MAX: usize = 60;

/// Characters of a value that are printed.
const VALUE_CHARS_MAX: usize = 200;

/// What was found, one part for each target table. Printed, it shows values of rows: that is what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub tables: Vec<TableReport>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    pub target: String,
    pub source: String,
    pub counts: Counts,
    /// At most [`DIFFERENCES_SHOWN_MAX`].
    pub first: Vec<Difference>,
    /// Where they differ, for whoever mends it.
    pub keys: Keys,
    /// What is not compared, and why: lines for people.
    pub notes: Vec<String>,
    /// There were too many differences to go on: the counts are those of a part of the rows.
    pub cut_short: bool,
}

/// The keys of rows that differ, as many as were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keys of the source, as it finds rows by: of rows that are different or missing in the target.
    pub of_source: Vec<Vec<String>>,
    /// Keys of the target, of rows that are extra.
    pub of_extra: Vec<Row>,
}

/// Rows by what became of them. `equal`, `different`, `missing` and `unsettled` are source rows, `extra` target rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub equal: u64,
    pub different: u64,
    pub missing: u64,
    pub extra: u64,
    /// They changed in the source at every look.
    pub unsettled: u64,
    /// Source rows that the target does not have, and need not have.
    pub unknown: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Both tables have the row, with other values.
    Different,
    /// The target does not have the row.
    Missing,
    /// The source does not have the row, or has it where it belongs under another key of the target.
    Extra,
}

/// A target key at which the two tables differ, and what both have there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: DifferenceKind,
    pub key: Vec<(String, Value)>,
    pub cells: Vec<Cell>,
    /// Where the source row belongs when that is another key.
    pub belongs: Option<Vec<(String, Value)>>,
}

/// One column of a difference; `None` where there is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub column: String,
    pub source: Option<Value>,
    pub target: Option<Value>,
    pub differs: bool,
}

impl Report {
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(TableReport::is_equal)
    }
}

impl TableReport {
    pub fn new(mapping: &Mapping) -> TableReport {
        TableReport {
            target: mapping.target.clone(),
            source: mapping.source.name.clone(),
            counts: Counts::default(),
            first: Vec::new(),
            keys: Keys::default(),
            notes: Vec::new(),
            cut_short: false,
        }
    }

    pub fn is_equal(&self) -> bool {
        self.counts.differences() == 0 && self.counts.unsettled == 0 && !self.cut_short
    }

    /// Adds what was not compared, once all rows were looked at.
    pub fn conclude(&mut self, mapping: &Mapping) {
        let columns = mapping.not_compared();
        if !columns.is_empty() {
            self.notes.push(format!("not compared: {} (only records have it)", columns.join(", ")));
        }
        if let (1.., Some(why)) = (self.counts.unknown, mapping.unknown_why()) {
            self.notes.push(format!("{} missing rows are not judged: {why}", self.counts.unknown));
        }
    }

    /// Counts a difference at a target key, and keeps its rows when it is one of the first.
    pub fn add(
        &mut self,
        mapping: &Mapping,
        kind: DifferenceKind,
        key: &[Value],
        source: Option<&[Value]>,
        target: Option<&[Value]>,
    ) {
        match kind {
            DifferenceKind::Different => self.counts.different += 1,
            DifferenceKind::Missing => self.counts.missing += 1,
            DifferenceKind::Extra => self.counts.extra += 1,
        }
        if self.first.len() < DIFFERENCES_SHOWN_MAX {
            self.first.push(Difference::new(mapping, kind, key, source, target));
        }
    }
}

impl Keys {
    /// Keeps a key of a difference, where there are fewer of its kind.
    pub fn keep(&mut self, kind: DifferenceKind, target: &[Value], source: &[String], keys_max: usize) {
        match kind {
            DifferenceKind::Extra if self.of_extra.len() < keys_max => self.of_extra.push(target.to_vec()),
            DifferenceKind::Different | DifferenceKind::Missing if self.of_source.len() < keys_max => {
                self.of_source.push(source.to_vec());
            }
            _ => {}
        }
    }
}

impl Counts {
    pub fn differences(&self) -> u64 {
        self.different + self.missing + self.extra
    }
}

impl Difference {
    fn new(
        mapping: &Mapping,
        kind: DifferenceKind,
        key: &[Value],
        source: Option<&[Value]>,
        target: Option<&[Value]>,
    ) -> Difference {
        let cell = |(at, column): (usize, &MappedColumn)| Cell {
            column: column.name.clone(),
            source: source.and_then(|row| column.expected(row)),
            target: target.map(|row| row[at].clone()),
            differs: source.zip(target).is_some_and(|(source, target)| !column.holds(source, &target[at])),
        };
        let elsewhere = source.map(|row| mapping.target_key(row)).filter(|belongs| belongs != key);
        Difference {
            kind,
            key: mapping.named_key(key),
            cells: mapping.columns.iter().enumerate().map(cell).collect(),
            belongs: elsewhere.map(|key| mapping.named_key(&key)),
        }
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DifferenceKind::Different => "different",
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
        })
    }
}

impl fmt::Display for Report {
    /// The counts, then the first differences of each table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NUMBERS: [&str; 5] = ["equal", "different", "missing", "extra", "unsettled"];
        let target_width = width("table", self.tables.iter().map(|table| table.target.as_str()));
        let source_width = width("source", self.tables.iter().map(|table| table.source.as_str()));
        write!(f, "{:target_width$}  {:source_width$}", "table", "source")?;
        NUMBERS.iter().try_for_each(|name| write!(f, "  {name:>10}"))?;
        writeln!(f)?;
        for table in &self.tables {
            write!(f, "{:target_width$}  {:source_width$}", table.target, table.source)?;
            let Counts { equal, different, missing, extra, unsettled, unknown: _ } = table.counts;
            [equal, different, missing, extra, unsettled].iter().try_for_each(|count| write!(f, "  {count:>10}"))?;
            table.notes.iter().try_for_each(|note| write!(f, "  {note}"))?;
            writeln!(
                f,
                "{}",
                if table.cut_short { "  too many differences: not all rows were looked at" } else { "" }
            )?;
        }
        self.tables.iter().try_for_each(|table| table.write_first(f))
    }
}

impl TableReport {
    fn write_first(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.first {
            writeln!(f, "\n{} {}: {}", self.target, Key(&difference.key), difference.kind)?;
            if let Some(key) = &difference.belongs {
                writeln!(f, "  the source row belongs under {}", Key(key))?;
            }
            difference.write_cells(f, &self.source)?;
        }
        match self.counts.differences().saturating_sub(self.first.len() as u64) {
            0 => Ok(()),
            more => writeln!(f, "\n{}: {more} more", self.target),
        }
    }
}

impl Difference {
    /// Both rows, a line for each column; `*` marks those that differ.
    fn write_cells(&self, f: &mut fmt::Formatter<'_>, source: &str) -> fmt::Result {
        let source = format!("source {source}");
        let sources: Vec<String> = self.cells.iter().map(|cell| shown(cell.source.as_ref())).collect();
        let name_width = width("column", self.cells.iter().map(|cell| cell.column.as_str()));
        let source_width = width(&source, sources.iter().map(String::as_str)).min(COLUMN_CHARS_MAX);
        writeln!(f, "    {:name_width$}  {source:source_width$}  target", "column")?;
        for (cell, source) in self.cells.iter().zip(&sources) {
            let mark = if cell.differs { '*' } else { ' ' };
            let target = shown(cell.target.as_ref());
            writeln!(f, "  {mark} {:name_width$}  {source:source_width$}  {target}", cell.column)?;
        }
        Ok(())
    }
}

/// `user_id=7f1c…, order_id=9d21…`
struct Key<'a>(&'a [(String, Value)]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={}", if at > 0 { ", " } else { "" }, shown(Some(value)))?;
        }
        Ok(())
    }
}

fn width<'a>(heading: &str, cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(|cell| cell.chars().count()).fold(heading.chars().count(), usize::max)
}

/// A value for a person: text in quotes and escaped, `-` where there is no row.
pub fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return "-".into(),
        Some(Value::Absent | Value::Unavailable) => return "?".into(),
        Some(Value::Null) => return "null".into(),
        Some(Value::Bool(bool)) => bool.to_string(),
        Some(Value::Int(int)) => int.to_string(),
        Some(Value::Decimal(decimal)) => decimal.to_string(),
        Some(Value::Uuid(uuid)) => uuid.to_string(),
        Some(Value::Text(text)) => {
            let start: String = text.chars().take(VALUE_CHARS_MAX).collect();
            let rest = text.len() - start.len();
            return if rest == 0 { format!("{start:?}") } else { format!("{start:?}… and {rest} bytes more") };
        }
        Some(Value::Date(days)) => match NaiveDate::from_epoch_days(*days) {
            Some(date) => date.to_string(),
            None => format!("day {days} from 1970-01-01"),
        },
        Some(Value::Timestamp(micros)) => match DateTime::from_timestamp_micros(*micros) {
            Some(instant) => instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            None => format!("{micros} µs from 1970-01-01"),
        },
        Some(Value::Bytes(bytes)) => bytes.iter().fold("0x".into(), |text: String, byte| text + &format!("{byte:02x}")),
        Some(other) => format!("{other:?}"),
    };
    let start: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if start.len() == text.len() { text } else { format!("{start}… of {} characters", text.chars().count()) }
}

#[cfg(test)]
mod tests;
