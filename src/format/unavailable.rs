//! Debezium's placeholder for an unchanged TOAST value, in every form that it takes on the wire.
//!
//! Facts: Debezium 3.6 documentation, "Debezium connector for PostgreSQL", toasted values, and what was seen live.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use md5::{Digest, Md5};
use uuid::{Builder, Uuid};

use crate::format::logical::of_hex;
use crate::row::Value;
use crate::row::wire::{BytesForm, Wire};

/// A setting with this prefix gives the octets as hexadecimal digits.
const HEX_PREFIX: &str = "hex:";

/// The configured placeholder. An empty one is never found.
#[derive(Debug, Clone)]
pub struct Placeholder {
    octets: Bytes,
    text: String,
    base64: String,
    base64_url_safe: String,
    hstore_json: String,
    uuid: Uuid,
}

impl Placeholder {
    /// Takes `unavailable.value.placeholder` as it is configured at the connector.
    pub fn new(configured: &str) -> Placeholder {
        let octets = match configured.strip_prefix(HEX_PREFIX).and_then(of_hex) {
            Some(octets) => octets,
            None => configured.as_bytes().to_vec(),
        };
        let text = String::from_utf8_lossy(&octets).into_owned();
        let quoted = serde_json::Value::from(text.as_str()).to_string();
        Placeholder {
            base64: STANDARD.encode(&octets),
            base64_url_safe: URL_SAFE.encode(&octets),
            hstore_json: format!("{{{quoted}:{quoted}}}"),
            // Java's UUID.nameUUIDFromBytes, which has no namespace.
            uuid: Builder::from_md5_bytes(Md5::digest(&octets).into()).into_uuid(),
            text,
            octets: octets.into(),
        }
    }

    /// Whether a JSON string stands for an unchanged value of a column.
    pub fn is_text(&self, wire: &Wire, text: &str) -> bool {
        if self.text.is_empty() {
            return false;
        }
        match wire {
            // Hexadecimal mode has the plain text. The texts stay apart from values as long as the placeholder has
            // a character that is none of the form's, as Debezium's own has.
            Wire::Bytes(_) => text == self.text || text == self.base64 || text == self.base64_url_safe,
            Wire::HstoreJson => text == self.text || text == self.hstore_json,
            _ => text == self.text,
        }
    }

    /// Whether a JSON string as the only element stands for an unchanged array.
    pub fn is_item(&self, item: &Wire, text: &str) -> bool {
        let is_uuid = || *item == Wire::Uuid && Uuid::try_parse(text).is_ok_and(|uuid| uuid == self.uuid);
        !self.text.is_empty() && (self.is_text(item, text) || is_uuid())
    }

    /// Whether an array's elements are the octets, which Java counts as signed, and so stand for an unchanged array.
    pub fn is_octets(&self, item: &Wire, items: &[Value]) -> bool {
        let octet = |(octet, value): (&u8, &Value)| {
            let number = octet.cast_signed();
            match value {
                Value::Int(value) => *value == i64::from(number),
                Value::Date(days) => *days == i32::from(number),
                _ => false,
            }
        };
        matches!(item, Wire::Int32 | Wire::Int64 | Wire::Date)
            && !self.octets.is_empty()
            && items.len() == self.octets.len()
            && self.octets.iter().zip(items).all(octet)
    }

    /// Whether an hstore's only pair stands for an unchanged one.
    pub fn is_pair(&self, pairs: &[(Value, Value)]) -> bool {
        let is = |value: &Value| matches!(value, Value::Text(text) if *text == self.text.as_str());
        !self.text.is_empty() && matches!(pairs, [(key, value)] if is(key) && is(value))
    }

    /// The value that an element had which turned out not to be the only one; `None` where it is no value at all.
    pub fn as_item(&self, item: &Wire) -> Option<Value> {
        match item {
            Wire::Text => Some(Value::Text(self.text.as_str().into())),
            Wire::Bytes(BytesForm::Base64 | BytesForm::Base64UrlSafe) => Some(Value::Bytes(self.octets.clone())),
            Wire::Uuid => Some(Value::Uuid(self.uuid)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::UNAVAILABLE_DEFAULT;

    #[test]
    fn the_forms_are_those_that_debezium_writes() {
        let default = Placeholder::new(UNAVAILABLE_DEFAULT);
        assert_eq!(default.base64, "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==");
        assert_eq!(default.uuid.to_string(), "b68a35a7-17ad-35b3-af2a-ae46edb4545a");
        assert_eq!(default.hstore_json, r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#);
    }

    #[test]
    fn octets_are_signed_and_an_empty_placeholder_is_never_found() {
        let octets = Placeholder::new("hex:DEadBEef");
        assert_eq!((octets.base64.as_str(), octets.base64_url_safe.as_str()), ("3q2+7w==", "3q2-7w=="));
        let numbers = [-34, -83, -66, -17].map(Value::Int);
        assert!(octets.is_octets(&Wire::Int32, &numbers));
        assert!(!octets.is_octets(&Wire::Int16, &numbers), "an int2[] has no placeholder");
        assert!(!octets.is_octets(&Wire::Int32, &numbers[..3]));
        assert_eq!(Placeholder::new("hex:odd").text, "hex:odd");
        let empty = Placeholder::new("");
        assert!(!empty.is_text(&Wire::Text, "") && !empty.is_octets(&Wire::Int32, &[]));
        assert!(!empty.is_item(&Wire::Uuid, "d41d8cd9-8f00-3204-a980-0998ecf8427e"));
    }
}
