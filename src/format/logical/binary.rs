//! Bytes and bit strings from the texts in which JSON carries them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;

use crate::change::Reject;
use crate::format::logical::{out_of_range, wrong};
use crate::row::Value;
use crate::row::wire::{BytesForm, Wire};

/// A short text could declare a bit string that fills the memory.
const BITS_MAX: u32 = 1 << 20;

/// A bytea in the form of `binary.handling.mode`.
pub fn bytes(form: BytesForm, text: &str) -> Result<Value, Reject> {
    let read = match form {
        BytesForm::Base64 => STANDARD.decode(text).ok(),
        BytesForm::Base64UrlSafe => URL_SAFE.decode(text).ok(),
        BytesForm::Hex => of_hex(text),
    };
    let found = match form {
        BytesForm::Hex => "a string that is not pairs of hexadecimal digits",
        _ => "a string that is not Base64",
    };
    read.map(|bytes| Value::Bytes(Bytes::from(bytes))).ok_or_else(|| wrong(&Wire::Bytes(form), found))
}

/// Pairs of hexadecimal digits, without a prefix.
pub fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then_some(bytes)
}

/// Debezium's `Bits`: Base64 of the bits as a little-endian number without its high zero bytes. What comes out is
/// the text that Postgres prints, high bit first.
pub fn bits(length: Option<u32>, text: &str) -> Result<Value, Reject> {
    let wire = Wire::Bits { length };
    let bytes = STANDARD.decode(text).map_err(|_| wrong(&wire, "a string that is not Base64"))?;
    let highest = bytes.iter().rposition(|byte| *byte != 0);
    let significant = highest.map_or(0, |at| at * 8 + bytes[at].ilog2() as usize + 1);
    let digits = match length {
        Some(length) if length > BITS_MAX || significant > length as usize => return Err(out_of_range(&wire)),
        Some(length) => length as usize,
        None => significant,
    };
    let is_set = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let text: String = (0..digits).rev().map(|at| if is_set(at) { '1' } else { '0' }).collect();
    Ok(Value::Text(text.into()))
}

/// A `varbit(1)`, which is a boolean since Debezium 3.6 and was one bit in Base64 before.
pub fn bit(text: &str) -> Result<Value, Reject> {
    match text {
        "AQ==" => Ok(Value::Bool(true)),
        "" | "AA==" => Ok(Value::Bool(false)),
        _ => Err(wrong(&Wire::Bool, "a string")),
    }
}
