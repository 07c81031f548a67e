//! The record's key as a row of key columns, and its agreement with the row that the value tells of.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::change::{Reject, RejectClass};
use crate::format::image::Columns;
use crate::format::json::Name;
use crate::row::{Row, Shape};

/// Reads a key object; `null` is no key. A member that is no key column means that the key is not the row's, so it
/// is refused.
pub struct KeySeed<'a, 't> {
    pub columns: Columns<'a, 't>,
    pub key: &'a [usize],
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, 'de> {
    type Value = Option<Row>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, 'de> {
    type Value = Option<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of key columns")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut row = self.columns.empty_row();
        let mut next = 0;
        while let Some(Name(name)) = map.next_key()? {
            match self.columns.find(&name, &mut next).filter(|at| self.key.contains(at)) {
                Some(at) => self.columns.read(at, &mut row, &mut map)?,
                None => {
                    // Its name is the record's own word, of any length, and stays in the record.
                    let text = "the record's key has a column that `source_key` does not name";
                    return Err(self.columns.notes.refuse(Reject::new(RejectClass::KeyMismatch, text)));
                }
            }
        }
        Ok(Some(row))
    }
}

pub fn missing_key() -> Reject {
    Reject::new(RejectClass::MissingKey, "the record has no key")
}

/// Every key column of the record's key has a value.
pub fn check_whole(shape: &Shape, key: &Row) -> Result<(), Reject> {
    match shape.key.iter().find(|at| !key[**at].is_present()) {
        Some(at) => {
            let text = format!("the record's key has no column \"{}\"", shape.fields[*at].name);
            Err(Reject::new(RejectClass::MissingKey, text))
        }
        None => Ok(()),
    }
}

/// The image is a row of this key.
pub fn check_same(shape: &Shape, key: &Row, image: &Row) -> Result<(), Reject> {
    for at in &shape.key {
        let name = &shape.fields[*at].name;
        if !image[*at].is_present() {
            return Err(Reject::new(RejectClass::MissingKey, format!("the row has no key column \"{name}\"")));
        }
        if image[*at] != key[*at] {
            let text = format!("the record's key and the row differ in key column \"{name}\"");
            return Err(Reject::new(RejectClass::KeyMismatch, text));
        }
    }
    Ok(())
}
