//! A row out of a JSON object in one pass, straight into typed values, with text that shares the record's buffer.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::change::{Reject, RejectClass};
use crate::format::json::{Name, Notes, Skip};
use crate::format::logical::{Place, ValueSeed};
use crate::format::unavailable::Placeholder;
use crate::format::unmapped::Unwanted;
use crate::row::wire::Wire;
use crate::row::{Field, Row, Value};

/// The columns that are read, and how each of them stands on the wire in this record.
#[derive(Clone, Copy)]
pub struct Columns<'a, 't> {
    pub fields: &'a [Field],
    /// One for each field; `None` where nobody knows.
    pub wires: &'a [Option<Wire>],
    /// Some column is read in two forms.
    pub twins: bool,
    pub placeholder: &'a Placeholder,
    pub notes: &'a Notes<'t>,
}

impl<'a, 't> Columns<'a, 't> {
    pub fn empty_row(&self) -> Row {
        vec![Value::Absent; self.fields.len()]
    }

    /// The first field with this name. Members mostly come in the order of the fields, so that the search begins
    /// at `next`, behind the last one found.
    pub fn find(&self, name: &str, next: &mut usize) -> Option<usize> {
        let from = (*next).min(self.fields.len());
        let is_it = |field: &Field| field.name == name;
        let behind = if self.twins { None } else { self.fields[from..].iter().position(is_it).map(|at| from + at) };
        let at = behind.or_else(|| self.fields.iter().position(is_it))?;
        *next = at + 1;
        Some(at)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// Reads the value that comes next into the field, and into every other field of its name.
    pub fn read<A: MapAccess<'t>>(&self, at: usize, row: &mut Row, map: &mut A) -> Result<(), A::Error> {
        let name = &self.fields[at].name;
        self.notes.once(name, row[at] != Value::Absent)?;
        if !self.twins {
            row[at] = map.next_value_seed(self.seed(at)?)?;
            return Ok(());
        }
        let raw = map.next_value::<&'t RawValue>()?;
        self.read_raw(at, raw.get(), row).map_err(|error| match error.classify() {
            // A string that serde_json has passed over may still have an escape that is none.
            Category::Syntax | Category::Eof | Category::Io => {
                let text = format!("column \"{name}\": the value is not JSON");
                self.notes.refuse(Reject::new(RejectClass::NotJson, text))
            }
            Category::Data => A::Error::custom(error),
        })
    }

    /// Reads a value that was kept as its text.
    pub fn read_raw(&self, first: usize, raw: &'t str, row: &mut Row) -> Result<(), serde_json::Error> {
        let is_twin = |at: &usize| self.fields[*at].name == self.fields[first].name;
        for at in (first..self.fields.len()).filter(is_twin) {
            row[at] = self.seed(at)?.deserialize(&mut serde_json::Deserializer::from_str(raw))?;
        }
        Ok(())
    }

    fn seed<E: serde::de::Error>(&self, at: usize) -> Result<ValueSeed<'a, 't>, E> {
        let column = &self.fields[at].name;
        match &self.wires[at] {
            Some(wire) => {
                Ok(ValueSeed { wire, column, placeholder: self.placeholder, notes: self.notes, place: Place::Column })
            }
            None => {
                let text = format!(
                    "column \"{column}\": nothing says its type: add it to the route's `types`, or configure \
                     [source.postgres], or set value.converter.schemas.enable=true on the connector"
                );
                Err(self.notes.refuse(Reject::new(RejectClass::WrongType, text)))
            }
        }
    }
}

/// Reads `null` or an object as a row. Members that the shape does not name are passed over, members that are not
/// there stay [`Value::Absent`].
pub struct RowSeed<'a, 't> {
    pub columns: Columns<'a, 't>,
    /// Only these fields are read; the others stay absent.
    pub only: Option<&'a [usize]>,
    pub unwanted: Option<&'a Unwanted<'a>>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = Option<Row>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = Option<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut row = self.columns.empty_row();
        let mut next = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let found = self.columns.find(&name, &mut next);
            match found.filter(|at| self.only.is_none_or(|only| only.contains(at))) {
                Some(at) => self.columns.read(at, &mut row, &mut map)?,
                None => {
                    if let (None, Some(unwanted)) = (found, self.unwanted) {
                        unwanted.meet(&name);
                    }
                    map.next_value::<Skip>()?;
                }
            }
        }
        Ok(Some(row))
    }
}
