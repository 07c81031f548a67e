//! What every reader of JSON here needs: where a text is refused, its names, its wrapping, and what is passed over.
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

    /// Refuses a member that comes a second time.
    pub fn once<E: serde::de::Error>(&self, name: &str, twice: bool) -> Result<(), E> {
        if twice {
            let text = format!("the member \"{name}\" comes twice");
            return Err(self.refuse(Reject::new(RejectClass::WrongType, text)));
        }
        Ok(())
    }

    /// Runs the seed over `part`, which lies in the text. `what` names it in the reject: `the value`, `the key`.
    pub fn read<S>(&self, what: &str, part: &'t str, seed: S) -> Result<S::Value, Reject>
    where
        S: DeserializeSeed<'t>,
    {
        let mut json = serde_json::Deserializer::from_str(part);
        let read = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
        read.map_err(|error| match self.reject.borrow_mut().take() {
            Some(reject) => reject,
            None => in_our_words(what, part.len(), &error),
        })
    }

    /// The text of a string without escapes, sharing the record's buffer.
    pub fn share(&self, borrowed: &'t str) -> ByteString {
        self.text.slice_ref(borrowed)
    }

    pub fn share_name(&self, name: Name<'t>) -> ByteString {
        match name.0 {
            Cow::Borrowed(borrowed) => self.share(borrowed),
            Cow::Owned(owned) => owned.into(),
        }
    }
}

/// What the JSON converter wraps around a key or value when `schemas.enable=true`.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrapped<'t> {
    /// The schema block; `None` where it is null.
    pub schema: Option<&'t str>,
    pub payload: &'t str,
}

/// Finds the wrapping of a text: an object whose only members are `schema`, an object or null, and `payload`. `None`
/// when there is none, and also where the text is not JSON: reading it will say so.
pub fn wrapped(text: &str) -> Option<Wrapped<'_>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Option<(&'de str, &'de str)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut schema, mut payload) = (None, None);
            while let Some(Name(name)) = map.next_key()? {
                let part = match name.as_ref() {
                    "schema" => &mut schema,
                    "payload" => &mut payload,
                    // The rest is not worth reading.
                    _ => return Err(A::Error::custom("another member")),
                };
                if part.replace(map.next_value::<&RawValue>()?.get()).is_some() {
                    return Err(A::Error::custom("twice"));
                }
            }
            Ok(schema.zip(payload))
        }
    }
    let first = text.trim_start().strip_prefix('{')?.trim_start();
    if !first.starts_with("\"schema\"") && !first.starts_with("\"payload\"") {
        return None;
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let (schema, payload) = json.deserialize_map(Members).ok()??;
    json.end().ok()?;
    match schema.as_bytes().first() {
        Some(b'{') => Some(Wrapped { schema: Some(schema), payload }),
        Some(b'n') => Some(Wrapped { schema: None, payload }),
        _ => None,
    }
}

/// The UTF-8 text of a key or value, checked once so that its strings need no second check.
pub fn text(what: &str, bytes: &bytes::Bytes) -> Result<ByteString, Reject> {
    ByteString::try_from(bytes.clone()).map_err(|error| {
        let at = error.valid_up_to();
        Reject::new(RejectClass::NotJson, format!("{what} is not UTF-8 at byte {at}"))
    })
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
