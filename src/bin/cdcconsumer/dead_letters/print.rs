//! Letters on standard output: a list, one whole, or JSON lines.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use rowferry::ops::config::Config;
use rowferry::ops::letters::letter::Letter;
use rowferry::ops::letters::mask::{printable, shown};
use rowferry::ops::service::Exit;
use rowferry::record::Record;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::dead_letters::reading;
use crate::dead_letters::selection::Entry;

/// A line for each letter, then how many there are of each class. On a terminal the columns are aligned.
pub fn list(chosen: Vec<Entry>, letters_max: usize) -> Result<Exit, Exit> {
    let terminal = std::io::stdout().is_terminal();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let shown = &chosen[..letters_max.min(chosen.len())];
    // Who closes standard output early still gets the exit code.
    let _ = lines(&mut out, shown, terminal).and_then(|()| out.flush());
    let counts = counts(&chosen, shown.len());
    if terminal {
        let _ = writeln!(out, "\n{counts}").and_then(|()| out.flush());
    } else {
        eprintln!("{counts}");
    }
    Ok(Exit::Done)
}

fn lines(out: &mut impl Write, entries: &[Entry], terminal: bool) -> std::io::Result<()> {
    const NAMES: [&str; 6] = ["ORIGIN", "REFUSED", "CLASS", "ROUTE", "VERSION", "BYTES"];
    if !terminal {
        return entries.iter().try_for_each(|entry| writeln!(out, "{}", cells(entry).join("\t")));
    }
    let mut widths = NAMES.map(str::len);
    for entry in entries {
        for (width, cell) in widths.iter_mut().zip(cells(entry)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; 6]| {
        let [origin, refused, class, route, version, bytes] = widths;
        writeln!(
            out,
            "{:origin$}  {:refused$}  {:class$}  {:route$}  {:>version$}  {:>bytes$}",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
        )
    };
    line(NAMES)?;
    entries.iter().try_for_each(|entry| {
        let cells = cells(entry);
        line([&cells[0], &cells[1], &cells[2], &cells[3], &cells[4], &cells[5]])
    })
}

fn cells(entry: &Entry) -> [String; 6] {
    [
        printable(&entry.origin.to_string()),
        entry.refused_ms.map_or_else(|| "-".into(), instant),
        printable(&entry.class),
        if entry.route.is_empty() { "-".into() } else { printable(&entry.route) },
        entry.version.map_or_else(|| "-".into(), |version| version.to_string()),
        entry.bytes.to_string(),
    ]
}

/// `3 letters: 2 wrong_type, 1 too_large`
fn counts(entries: &[Entry], shown: usize) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    entries.iter().for_each(|entry| *counts.entry(&entry.class).or_default() += 1);
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let counts: Vec<String> = counts.iter().map(|(class, count)| format!("{count} {}", printable(class))).collect();
    let cut = if shown < entries.len() { format!(" ({shown} shown)") } else { String::new() };
    let letters = if entries.len() == 1 { "letter" } else { "letters" };
    format!("{} {letters}{cut}: {}", entries.len(), counts.join(", "))
}

/// One letter whole.
pub async fn show(
    config: &Config,
    chosen: Vec<Entry>,
    values: bool,
    shutdown: &watch::Receiver<bool>,
) -> Result<Exit, Exit> {
    each(config, chosen, shutdown, move |out, entry, record| out.write_all(whole(entry, record, values).as_bytes()))
        .await
}

/// JSON lines.
pub async fn export(
    config: &Config,
    chosen: Vec<Entry>,
    values: bool,
    shutdown: &watch::Receiver<bool>,
) -> Result<Exit, Exit> {
    each(config, chosen, shutdown, move |out, entry, record| writeln!(out, "{}", as_json(entry, record, values))).await
}

/// Prints the body of each letter.
async fn each(
    config: &Config,
    chosen: Vec<Entry>,
    shutdown: &watch::Receiver<bool>,
    print: impl Fn(&mut BufWriter<std::io::Stdout>, &Entry, &Record) -> std::io::Result<()> + Send + 'static,
) -> Result<Exit, Exit> {
    let letters = chosen.len();
    let mut out = BufWriter::new(std::io::stdout());
    let came = reading::bodies(config, chosen, shutdown, move |letters| {
        let printed = letters.iter().try_for_each(|(entry, record)| print(&mut out, entry, record));
        // Who closes standard output has read enough.
        if printed.and_then(|()| out.flush()).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    if came < letters {
        tracing::error!("{} of {letters} letters were not printed", letters - came);
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn whole(entry: &Entry, record: &Record, values: bool) -> String {
    let letter = Letter::read(record);
    let mut lines = vec![
        ("origin", letter.origin.to_string()),
        ("class", letter.class.clone()),
        ("reason", letter.text.clone()),
        ("route", letter.route.clone()),
        ("refused at", record.timestamp_ms.map_or_else(|| "-".into(), instant)),
        ("record of", letter.timestamp_ms.map_or_else(|| "-".into(), instant)),
        ("version", entry.version.map_or_else(|| "none".into(), |version| version.to_string())),
        ("letter", format!("{}:{}:{}", record.topic, record.partition, record.offset)),
    ];
    if entry.times > 1 {
        lines.push(("times", entry.times.to_string()));
    }
    lines.extend(letter.copy_of.iter().map(|origin| ("copy of", origin.to_string())));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {}\n", printable(value))).collect();
    for header in &letter.original_headers {
        let (name, value) = (printable(&header.name), shown(header.value.as_deref(), values));
        text += &format!("{:<11} {name} = {value}\n", "header");
    }
    for (name, bytes) in [("key", &record.key), ("value", &record.value)] {
        text += &format!("{name:<11} {}\n", shown(bytes.as_deref(), values));
    }
    text
}

fn as_json(entry: &Entry, record: &Record, values: bool) -> Value {
    let letter = Letter::read(record);
    let bytes = |into: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>| {
        let (name, value) = match bytes {
            Some(bytes) if values => match std::str::from_utf8(bytes) {
                Ok(text) => (name.into(), text.into()),
                Err(_) => (format!("{name}_base64"), STANDARD.encode(bytes).into()),
            },
            Some(_) => (name.into(), shown(bytes, false).into()),
            None => (name.into(), Value::Null),
        };
        into.insert(name, value);
    };
    let headers = letter.original_headers.iter().map(|header| {
        let mut of_header = Map::from_iter([("name".to_string(), Value::from(header.name.as_str()))]);
        bytes(&mut of_header, "value", header.value.as_deref());
        Value::Object(of_header)
    });
    let mut line = Map::from_iter(
        [
            ("topic", json!(*letter.origin.topic)),
            ("partition", json!(letter.origin.partition)),
            ("offset", json!(letter.origin.offset)),
            ("class", json!(letter.class)),
            ("text", json!(letter.text)),
            ("route", json!(letter.route)),
            ("refused_at_ms", json!(record.timestamp_ms)),
            ("timestamp_ms", json!(letter.timestamp_ms)),
            ("version", json!(entry.version)),
            ("times", json!(entry.times)),
            ("masked", json!(!values)),
            ("headers", Value::Array(headers.collect())),
        ]
        .map(|(name, value)| (name.to_string(), value)),
    );
    bytes(&mut line, "key", record.key.as_deref());
    bytes(&mut line, "value", record.value.as_deref());
    Value::Object(line)
}

fn instant(ms: i64) -> String {
    let instant = DateTime::from_timestamp_millis(ms);
    instant.map_or_else(|| format!("{ms} ms"), |instant| instant.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use rowferry::record::Header;

    use super::*;
    use crate::dead_letters::selection::{Filter, Index};

    fn record() -> Record {
        let header = |(name, value): (&str, &[u8])| Header { name: name.into(), value: Some(value.to_vec().into()) };
        let headers: [(&str, &[u8]); 10] = [
            ("trace\u{1b}", &[0xff, 1]),
            ("tenant", b"zqcanary"),
            ("rowferry.reason", b"wrong_type"),
            ("rowferry.text", b"no number"),
            ("rowferry.route", "t → a".as_bytes()),
            ("rowferry.topic", b"t"),
            ("rowferry.partition", b"0"),
            ("rowferry.offset", b"17"),
            ("rowferry.timestamp", b"1735689600000"),
            ("rowferry.version", b"1735689600000000"),
        ];
        Record {
            topic: "letters".into(),
            partition: 2,
            offset: 5,
            timestamp_ms: Some(1_735_689_660_000),
            key: Some(r#"{"id":"zqcanary"}"#.into()),
            value: Some(vec![0xff].into()),
            headers: headers.into_iter().map(header).collect(),
        }
    }

    fn entry() -> Entry {
        let mut index = Index::default();
        index.add(&Filter::default(), &record());
        index.chosen(&Filter::default()).remove(0)
    }

    #[test]
    fn a_line_is_stable_for_a_pipe_and_aligned_for_a_terminal() {
        let mut out = Vec::new();
        lines(&mut out, &[entry()], false).expect("memory takes it");
        let piped = String::from_utf8(out).expect("text");
        assert_eq!(piped, "t:0:17\t2025-01-01T00:01:00Z\twrong_type\tt → a\t1735689600000000\t18\n");
        let mut out = Vec::new();
        lines(&mut out, &[entry()], true).expect("memory takes it");
        insta::assert_snapshot!(String::from_utf8(out).expect("text"), @r"
        ORIGIN  REFUSED               CLASS       ROUTE           VERSION  BYTES
        t:0:17  2025-01-01T00:01:00Z  wrong_type  t → a  1735689600000000     18
        ");
        assert_eq!(counts(&[entry(), entry()], 1), "2 letters (1 shown): 2 wrong_type");
    }

    #[test]
    fn a_letter_shows_no_value_unless_asked() {
        let masked = whole(&entry(), &record(), false);
        insta::assert_snapshot!(masked, @r#"
        origin      t:0:17
        class       wrong_type
        reason      no number
        route       t → a
        refused at  2025-01-01T00:01:00Z
        record of   2025-01-01T00:00:00Z
        version     1735689600000000
        letter      letters:2:5
        header      trace\u{1b} = •••(2 bytes)
        header      tenant = •••(8 bytes)
        key         {"id":"•••(8)"}
        value       •••(1 bytes)
        "#);
        assert!(!as_json(&entry(), &record(), false).to_string().contains("zqcanary"));
        let whole = whole(&entry(), &record(), true);
        assert!(whole.contains("tenant = zqcanary") && whole.contains("value       base64:/w=="), "{whole}");
    }

    #[test]
    fn an_exported_letter_has_everything_as_text_or_base64() {
        let line = as_json(&entry(), &record(), true);
        assert_eq!(
            (&line["topic"], &line["offset"], &line["version"]),
            (&json!("t"), &json!(17), &json!(1_735_689_600_000_000_i64))
        );
        assert_eq!((&line["key"], &line["value_base64"]), (&json!(r#"{"id":"zqcanary"}"#), &json!("/w==")));
        assert_eq!(line["headers"][1], json!({ "name": "tenant", "value": "zqcanary" }));
        assert_eq!(line["headers"][0]["value_base64"], json!("/wE="));
        assert!(line.get("value").is_none());
    }
}
