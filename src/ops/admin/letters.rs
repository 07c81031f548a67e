//! The newest dead letters for the page: why each record was refused, and its shape with every value masked.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::kafka::access::Access;
use crate::kafka::letters::{LetterTopic, LettersError};
use crate::ops::letters::letter::Letter;
use crate::ops::letters::mask::{MASK, shown};
use crate::record::Record;

/// Letters that are told, and that are read of each partition of their topic.
const LETTERS_MAX: usize = 50;
/// A key or value of more than this is not looked into.
const SHOWN_BYTES_MAX: usize = 64 * 1024;
/// Of what is shown of it, so much.
const SHOWN_CHARS_MAX: usize = 2_000;
/// What has not come by then is left out.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the letters are.
#[derive(Debug, Clone)]
pub struct Source {
    pub access: Access,
    /// What we are granted to read with. It is not joined.
    pub group_id: String,
    pub topic: String,
}

/// One letter. Nothing of its record's values is in it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `topic:partition:offset` of the refused record, as `cdcconsumer dead-letters show` takes it.
    origin: String,
    class: String,
    text: String,
    route: String,
    refused_ms: Option<i64>,
    key: String,
    value: String,
}

/// Reads the newest letters, newest first. Blocks its thread.
pub fn newest(source: &Source) -> Result<Vec<Shown>, LettersError> {
    let topic = LetterTopic::open(&source.access, &source.group_id, &source.topic)?;
    let mut spans = topic.spans(None)?;
    for span in &mut spans {
        span.next_offset = span.next_offset.max(span.end - LETTERS_MAX as i64);
    }
    let deadline = Instant::now() + PATIENCE;
    // Nobody asks it to stop: it ends soon by itself.
    let (_asked, shutdown) = watch::channel(false);
    let mut letters = Vec::new();
    topic.read(&spans, &shutdown, |record| {
        letters.push(show(&record));
        if Instant::now() < deadline { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.refused_ms));
    letters.truncate(LETTERS_MAX);
    Ok(letters)
}

fn show(record: &Record) -> Shown {
    let letter = Letter::read(record);
    Shown {
        origin: letter.origin.to_string(),
        class: letter.class,
        text: letter.text,
        route: letter.route,
        refused_ms: record.timestamp_ms,
        key: shape(record.key.as_deref()),
        value: shape(record.value.as_deref()),
    }
}

fn shape(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) if bytes.len() > SHOWN_BYTES_MAX => format!("{MASK}({} bytes)", bytes.len()),
        bytes => shown(bytes, false).chars().take(SHOWN_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Header;

    #[test]
    fn a_letter_is_told_with_its_reason_and_without_a_value() {
        let header = |(name, value): (&str, &'static str)| Header { name: name.into(), value: Some(value.into()) };
        let headers = [
            ("trace", "canary-header"),
            ("rowferry.reason", "wrong_type"),
            ("rowferry.text", "column a is no number"),
            ("rowferry.route", "t → u"),
            ("rowferry.topic", "t"),
            ("rowferry.partition", "3"),
            ("rowferry.offset", "17"),
        ];
        let mut record = Record {
            topic: "letters".into(),
            partition: 0,
            offset: 5,
            timestamp_ms: Some(7),
            key: Some("{\"id\":\"canary-key\"}".into()),
            value: Some("{\"after\":{\"a\":\"canary-value\",\"b\":4711}}".into()),
            headers: headers.map(header).into(),
        };
        let told = serde_json::to_string(&show(&record)).expect("JSON");
        assert!(!told.contains("canary") && !told.contains("4711"), "{told}");
        let letter = show(&record);
        assert_eq!(
            (letter.origin.as_str(), letter.class.as_str(), letter.refused_ms),
            ("t:3:17", "wrong_type", Some(7))
        );
        assert_eq!((letter.key.as_str(), letter.route.as_str()), ("{\"id\":\"•••(10)\"}", "t → u"));
        record.value = Some("x".repeat(SHOWN_BYTES_MAX + 1).into());
        assert_eq!(show(&record).value, "•••(65537 bytes)");
        record.value = Some(format!("[{}]", vec!["\"a\""; 5_000].join(",")).into());
        assert_eq!(show(&record).value.chars().count(), SHOWN_CHARS_MAX);
    }
}
