//! Keys and values for a person's eyes: masked, so that only the shape is seen, or as they are. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What stands for whatever is hidden.
pub const MASK: &str = "•••";

/// Bytes as text: `values` shows them, else only lengths and the names of JSON's members are seen.
pub fn shown(bytes: Option<&[u8]>, values: bool) -> String {
    match (bytes, values) {
        (None, _) => "null".into(),
        (Some(bytes), true) => plain(bytes),
        (Some(bytes), false) => masked(bytes),
    }
}

/// Text that moves no cursor and breaks no line, wherever it came from.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { out.extend(char.escape_default()) } else { out.push(char) }
    }
    out
}

fn plain(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => printable(text),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

fn masked(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(json) => {
            let mut out = String::new();
            mask(&json, &mut out);
            out
        }
        Err(_) => format!("{MASK}({} bytes)", bytes.len()),
    }
}

/// Null is told: it says that there is nothing.
fn mask(json: &Value, out: &mut String) {
    let sequence =
        |out: &mut String, open: char, close: char, each: &mut dyn Iterator<Item = (Option<&str>, &Value)>| {
            out.push(open);
            for (at, (name, value)) in each.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                if let Some(name) = name {
                    // Writing to a string does not fail.
                    let _ = write!(out, "{}:", Value::from(name));
                }
                mask(value, out);
            }
            out.push(close);
        };
    match json {
        Value::Null => out.push_str("null"),
        Value::Bool(_) | Value::Number(_) => out.push_str(MASK),
        Value::String(text) => {
            let _ = write!(out, "\"{MASK}({})\"", text.chars().count());
        }
        Value::Array(items) => sequence(out, '[', ']', &mut items.iter().map(|item| (None, item))),
        Value::Object(members) => {
            sequence(out, '{', '}', &mut members.iter().map(|(name, value)| (Some(name.as_str()), value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        shown(Some(text.as_bytes()), false)
    }

    #[test]
    fn only_the_shape_is_seen() {
        insta::assert_snapshot!(hidden(r#"{"op":"u","after":{"id":7,"name":"Ánn","gone":true,"note":null,"l":[1,"a"]}}"#), @r#"{"after":{"gone":•••,"id":•••,"l":[•••,"•••(1)"],"name":"•••(3)","note":null},"op":"•••(1)"}"#);
        insta::assert_snapshot!(hidden("7f1c0a52-5b1c"), @"•••(13 bytes)");
        insta::assert_snapshot!(hidden("123"), @"•••");
        insta::assert_snapshot!(hidden(r#"{"id":7} {"id":8}"#), @"•••(17 bytes)");
        insta::assert_snapshot!(hidden(&"[".repeat(10_000)), @"•••(10000 bytes)");
        insta::assert_snapshot!(hidden(""), @"•••(0 bytes)");
        assert_eq!(shown(None, false), "null");
        assert_eq!(shown(Some(&[0xff, 0]), false), "•••(2 bytes)");
    }

    #[test]
    fn values_are_shown_when_asked_and_control_no_terminal() {
        assert_eq!(shown(Some(b"{\"a\":\n\"\x1b[2J\xc2\x9b\"}"), true), r#"{"a":\n"\u{1b}[2J\u{9b}"}"#);
        assert_eq!(shown(Some(&[0xff, 0]), true), "base64:/wA=");
        assert_eq!(shown(None, true), "null");
    }
}
