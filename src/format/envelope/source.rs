//! The `source` of an envelope: where the change comes from, and what the signal table is told apart by.

mod origin;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use self::origin::Told;
use crate::format::json::{Name, Notes, Skip};
use crate::format::logical::{Place, ValueSeed};
use crate::format::unavailable::Placeholder;
use crate::row::{Row, Shape, Value};

/// What is read of a `source`.
#[derive(Default)]
pub struct Source<'t> {
    /// Its table is the signal table.
    pub signal: bool,
    /// One value for each of the shape's `source`.
    pub values: Row,
    /// What it says of its place, where the shape asks for positions.
    pub origin: Told<'t>,
}

pub struct SourceSeed<'a, 't> {
    pub shape: &'a Shape,
    pub placeholder: &'a Placeholder,
    pub notes: &'a Notes<'t>,
}

impl<'de> DeserializeSeed<'de> for SourceSeed<'_, 'de> {
    type Value = Source<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Source<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SourceSeed<'_, 'de> {
    type Value = Source<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Source<'de>, E> {
        Ok(Source { values: self.shape.empty_source(), ..Source::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source<'de>, A::Error> {
        let (mut schema, mut table) = (None, None);
        let (mut values, mut origin) = (self.shape.empty_source(), Told::default());
        while let Some(Name(name)) = map.next_key()? {
            let names_table = matches!(name.as_ref(), "schema" | "table");
            let places = self.shape.positions && origin::MEMBERS.contains(&name.as_ref());
            if !names_table && !places && !self.shape.source.iter().any(|field| field.name == name) {
                map.next_value::<Skip>()?;
                continue;
            }
            let raw = map.next_value::<&'de RawValue>()?.get();
            let text = || serde_json::from_str::<Option<Name<'de>>>(raw).ok().flatten();
            match name.as_ref() {
                "schema" => schema = text(),
                "table" => table = text(),
                member if places => origin.take(member, raw),
                _ => {}
            }
            self.read(&name, raw, &mut values).map_err(A::Error::custom)?;
        }
        let signal = self.shape.signal_table.as_ref();
        let is = |named: &Option<Name<'_>>, wanted: &String| named.as_ref().is_some_and(|name| name.0 == *wanted);
        let signal = signal.is_some_and(|(of_schema, of_table)| is(&schema, of_schema) && is(&table, of_table));
        Ok(Source { signal, values, origin })
    }
}

impl<'de> SourceSeed<'_, 'de> {
    /// Reads a member into every wanted field of its name: one may be wanted in two forms.
    fn read(&self, name: &str, raw: &'de str, values: &mut [Value]) -> Result<(), serde_json::Error> {
        for (field, value) in self.shape.source.iter().zip(values).filter(|(field, _)| field.name == name) {
            let Some(wire) = &field.wire else { continue };
            let (placeholder, notes, place) = (self.placeholder, self.notes, Place::Inside);
            let seed = ValueSeed { wire, column: &field.name, placeholder, notes, place };
            *value = seed.deserialize(&mut serde_json::Deserializer::from_str(raw))?;
        }
        Ok(())
    }
}
