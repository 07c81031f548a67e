//! A row out of a JSON object in one pass, straight into typed values, with text that shares the record's buffer.
//!
//! serde's own messages quote what they found, so they never leave this file: what is wrong is noted in [`Notes`]
//! in our words, and only the place is taken from serde_json.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use bytestring::ByteString;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::change::{Reject, RejectClass};
use crate::format::logical;
use crate::row::wire::Wire;
use crate::row::{Field, Row, Shape, Value};

/// serde_json stops at this depth; [`Skip`] makes it count in what we pass over too.
const DEPTH_MAX: usize = 128;

/// What every seed needs to know: the text that is read, and where to note why it is refused.
pub struct Notes<'t> {
    text: &'t ByteString,
    reject: RefCell<Option<Reject>>,
}

impl<'t> Notes<'t> {
    pub fn new(text: &'t ByteString) -> Self {
        Notes { text, reject: RefCell::new(None) }
    }

    /// Notes why the record is refused, and gives serde the error that ends the parse.
    pub fn refuse<E: serde::de::Error>(&self, reject: Reject) -> E {
        self.reject.borrow_mut().get_or_insert(reject);
        E::custom("refused")
    }

    /// Runs the seed over the whole text. `what` names the text in the reject: `the value`, `the key`.
    pub fn read<S>(&self, what: &str, seed: S) -> Result<S::Value, Reject>
    where
        S: DeserializeSeed<'t>,
    {
        let mut json = serde_json::Deserializer::from_str(self.text);
        let read = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
        read.map_err(|error| match self.reject.borrow_mut().take() {
            Some(reject) => reject,
            None => in_our_words(what, self.text.len(), &error),
        })
    }
}

/// The UTF-8 text of a key or value, checked once so that its strings need no second check.
pub fn text(what: &str, bytes: &bytes::Bytes) -> Result<ByteString, Reject> {
    ByteString::try_from(bytes.clone()).map_err(|error| {
        let at = error.valid_up_to();
        Reject::new(RejectClass::NotJson, format!("{what} is not UTF-8 at byte {at}"))
    })
}

/// Reads `null` or an object as a row of the shape. Members that the shape does not name are passed over, members
/// that are not there stay [`Value::Absent`].
pub struct RowSeed<'a, 't> {
    pub shape: &'a Shape,
    pub notes: &'a Notes<'t>,
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
        let mut row = vec![Value::Absent; self.shape.fields.len()];
        while let Some(name) = map.next_key::<Name<'de>>()? {
            read_member(self.shape, self.notes, &name.0, &mut row, &mut map)?;
        }
        Ok(Some(row))
    }
}

/// Reads the value of the member `name` into its column, or passes over it when the shape does not name it.
pub fn read_member<'de, A: MapAccess<'de>>(
    shape: &Shape,
    notes: &Notes<'de>,
    name: &str,
    row: &mut Row,
    map: &mut A,
) -> Result<(), A::Error> {
    let mut fields = shape.fields.iter().enumerate().filter(|(_, field)| field.name == name);
    let Some((first, field)) = fields.next() else {
        map.next_value::<Skip>()?;
        return Ok(());
    };
    if row[first] != Value::Absent {
        return Err(notes.refuse(Reject::new(RejectClass::WrongType, format!("the member \"{name}\" comes twice"))));
    }
    match fields.next() {
        None => row[first] = map.next_value_seed(ValueSeed::new(field, shape, notes))?,
        // Two routes of business events read this column as different kinds: its text is read once for each.
        Some(second) => {
            let raw = map.next_value::<&RawValue>()?;
            for (at, field) in [(first, field), second].into_iter().chain(fields) {
                let mut json = serde_json::Deserializer::from_str(raw.get());
                row[at] = ValueSeed::new(field, shape, notes).deserialize(&mut json).map_err(A::Error::custom)?;
            }
        }
    }
    Ok(())
}

/// The name of a member, borrowed unless it has escapes.
pub struct Name<'de>(pub Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Any JSON value, passed over. Unlike serde's `IgnoredAny` it keeps to the depth limit.
pub struct Skip;

impl<'de> serde::Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SkipVisitor;
        impl<'de> Visitor<'de> for SkipVisitor {
            type Value = Skip;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
                Ok(Skip)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skip, A::Error> {
                while seq.next_element::<Skip>()?.is_some() {}
                Ok(Skip)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skip, A::Error> {
                while map.next_entry::<IgnoredAny, Skip>()?.is_some() {}
                Ok(Skip)
            }
        }
        deserializer.deserialize_any(SkipVisitor)
    }
}

/// Reads one value of a column.
struct ValueSeed<'a, 't> {
    field: &'a Field,
    wire: &'a Wire,
    unavailable: &'a str,
    notes: &'a Notes<'t>,
}

impl<'a, 't> ValueSeed<'a, 't> {
    fn new(field: &'a Field, shape: &'a Shape, notes: &'a Notes<'t>) -> Self {
        let wire = field.wire.as_ref().unwrap_or(&Wire::Text);
        ValueSeed { field, wire, unavailable: &shape.unavailable, notes }
    }

    /// Adds the column's name to what is wrong with its value.
    fn refuse<E: serde::de::Error>(&self, reject: Reject) -> E {
        self.notes.refuse(Reject::new(reject.class, format!("column \"{}\": {}", self.field.name, reject.text)))
    }

    fn wrong<E: serde::de::Error>(&self, found: &str) -> E {
        self.refuse(logical::wrong(self.wire, found))
    }

    fn finish<E: serde::de::Error>(&self, read: Result<Value, Reject>) -> Result<Value, E> {
        read.map_err(|reject| self.refuse(reject))
    }

    fn is_placeholder(&self, text: &str) -> bool {
        !self.unavailable.is_empty() && text == self.unavailable
    }

    /// A decimal's number is read as the text that it is, so that no digit passes a float.
    fn decimal<E: serde::de::Error>(&self, raw: &str) -> Result<Value, E> {
        match raw.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(raw) {
                Ok(text) if self.is_placeholder(&text) => Ok(Value::Unavailable),
                Ok(text) => self.finish(logical::decimal(&text)),
                Err(_) => Err(self.wrong("a string that cannot be read")),
            },
            Some(b'n') => Ok(Value::Null),
            Some(b't' | b'f') => Err(self.wrong("a boolean")),
            Some(b'[') => Err(self.wrong("an array")),
            Some(b'{') => Err(self.wrong("an object")),
            _ => self.finish(logical::decimal(raw)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, 'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if *self.wire == Wire::DecimalText {
            let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
            return self.decimal(raw.get());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, 'de> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.wire)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        if *self.wire == Wire::Bool { Ok(Value::Bool(value)) } else { Err(self.wrong("a boolean")) }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.finish(logical::from_integer(self.wire, number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(self.refuse(logical::out_of_range(self.wire))),
        }
    }

    /// serde_json hands over as a float what has a fraction or an exponent, and integers beyond 64 bits.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.abs() >= 2f64.powi(63) {
            return Err(self.refuse(logical::out_of_range(self.wire)));
        }
        Err(self.wrong("a number with a fraction or an exponent"))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Value, E> {
        if *self.wire == Wire::Text && !self.is_placeholder(text) {
            return Ok(Value::Text(self.notes.text.slice_ref(text)));
        }
        self.visit_str(text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        if self.is_placeholder(text) {
            return Ok(Value::Unavailable);
        }
        self.finish(logical::from_text(self.wire, text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.wrong("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.wrong("an object"))
    }
}

/// The place of a syntax error, without serde_json's text, which may quote the record.
fn in_our_words(what: &str, bytes: usize, error: &serde_json::Error) -> Reject {
    use serde_json::error::Category;
    let at = format!("line {} column {}", error.line(), error.column());
    // serde_json has no category for these two; the messages are fixed and quote nothing.
    let message = error.to_string();
    if message.starts_with("recursion limit exceeded") {
        return Reject::new(RejectClass::TooDeep, format!("{what} nests deeper than {DEPTH_MAX} at {at}"));
    }
    if message.starts_with("number out of range") {
        return Reject::new(RejectClass::OutOfRange, format!("{what} has a number beyond 64-bit floats at {at}"));
    }
    match error.classify() {
        Category::Eof => {
            Reject::new(RejectClass::NotJson, format!("{what} ends after {bytes} bytes in the middle of JSON"))
        }
        Category::Syntax | Category::Io => Reject::new(RejectClass::NotJson, format!("{what} is not JSON at {at}")),
        Category::Data => {
            Reject::new(RejectClass::WrongType, format!("{what} has another shape than expected at {at}"))
        }
    }
}
