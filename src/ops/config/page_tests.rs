//! The tables of docs/settings.md, made of the structs themselves: names and types as serde takes them, defaults as the
//! code has them, and the fields' own comments.

use serde::de::DeserializeOwned;

use super::admin::Admin;
use super::columns::ColumnDetail;
use super::guard::RewindGuard;
use super::load::{OVERRIDES, variable_name};
use super::routes::{Debezium, Route};
use super::{
    Cassandra, CassandraTls, Config, Consumer, Kafka, Limits, Log, Postgres, Sinks, Source, dead_letter_topic,
    in_flight_max, topics_interval_seconds,
};
use crate::page_tests::expect_between;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
const BEGIN: &str = "<!-- made by src/ops/config/page_tests.rs: WRITE_DOCS=1 cargo test --lib page_tests -->\n";
const END: &str = "<!-- the end of what is made -->";

/// Where the fields and their comments are.
const SOURCES: [&str; 5] = [
    include_str!("../config.rs"),
    include_str!("admin.rs"),
    include_str!("routes.rs"),
    include_str!("columns.rs"),
    include_str!("guard.rs"),
];

/// One section of the page: its heading, a sentence, what it is called in overrides, the struct, and how it is read.
struct Section {
    heading: &'static str,
    about: &'static str,
    overrides: &'static [&'static str],
    of: &'static str,
    read: fn(&str) -> String,
}

fn section(
    heading: &'static str,
    about: &'static str,
    overrides: &'static [&'static str],
    of: &'static str,
    read: fn(&str) -> String,
) -> Section {
    Section { heading, about, overrides, of, read }
}

fn sections() -> Vec<Section> {
    let mut sections = of_servers();
    sections.extend(of_binaries());
    sections.extend([
        section("[limits]", "What is held at once.", &["limits"], "Limits", told::<Limits>),
        section("[log]", "What is said on standard error.", &["log"], "Log", told::<Log>),
    ]);
    sections
}

fn of_servers() -> Vec<Section> {
    vec![
        section("[kafka]", "How Kafka is reached.", &["kafka"], "Kafka", told::<Kafka>),
        section(
            "[source.postgres] and [sink.postgres]",
            "The source that Debezium reads from, and where `consumer` writes to.",
            &["source.postgres", "sink.postgres"],
            "Postgres",
            told::<Postgres>,
        ),
        section(
            "[source.debezium]",
            "How the connector writes its records: its own settings under its own names. A route's `debezium` has the \
             same keys, and goes before these.",
            &[],
            "Debezium",
            told::<Debezium>,
        ),
        section(
            "[sink.cassandra]",
            "Where `cdcconsumer` writes to.",
            &["sink.cassandra"],
            "Cassandra",
            told::<Cassandra>,
        ),
        section(
            "[sink.cassandra.tls]",
            "TLS with the nodes.",
            &["sink.cassandra.tls"],
            "CassandraTls",
            told::<CassandraTls>,
        ),
    ]
}

fn of_binaries() -> Vec<Section> {
    vec![
        section(
            "[consumer] and [cdcconsumer]",
            "The two consuming binaries.",
            &["consumer", "cdcconsumer"],
            "Consumer",
            told::<Consumer>,
        ),
        section(
            "[consumer.admin] and [cdcconsumer.admin]",
            "Where a binary serves its page, metrics and health. [operations.md](operations.md#the-admin-server) has what \
             is there.",
            &["consumer.admin", "cdcconsumer.admin"],
            "Admin",
            told::<Admin>,
        ),
        section(
            "[[consumer.routes]] and [[cdcconsumer.routes]]",
            "From a topic to a table. [modeling.md](modeling.md) has examples of all of it.",
            &[],
            "Route",
            told::<Route>,
        ),
        section(
            "A column of a route's `columns`",
            "`target = \"source\"`, or `target = { … }` with these keys. One thing feeds a column.",
            &[],
            "ColumnDetail",
            told::<ColumnDetail>,
        ),
        section(
            "A route's `rewind_guard`",
            "[operations.md](operations.md#rewind-guard) says what it does and costs.",
            &[],
            "RewindGuard",
            told::<RewindGuard>,
        ),
    ]
}

/// What serde says of a text that is not what it wants.
fn told<T: DeserializeOwned>(text: &str) -> String {
    match toml::from_str::<T>(text) {
        Ok(_) => String::new(),
        Err(error) => error.message().to_string(),
    }
}

/// The words that stand between backticks behind this.
fn listed(message: &str, behind: &str) -> Option<Vec<String>> {
    let (_, rest) = message.split_once(behind)?;
    Some(rest.split('`').skip(1).step_by(2).map(str::to_string).collect())
}

/// The settings of a struct, in its order: those that it says it expects.
fn settings(section: &Section) -> Vec<String> {
    listed(&(section.read)("no_such_setting = 1"), "expected ").expect("it refuses what it does not know")
}

/// What a setting takes: told by giving it a text that nothing takes.
fn kind(section: &Section, name: &str) -> String {
    let message = (section.read)(&format!("{name} = \"no such thing?\""));
    if let Some(variants) = message.strip_prefix("unknown variant").and_then(|rest| listed(rest, "expected ")) {
        return variants.iter().map(|variant| format!("`\"{variant}\"`")).collect::<Vec<_>>().join(", ");
    }
    let expected = message.split_once("invalid type: string").and_then(|(_, rest)| rest.split_once("expected "));
    let is_secret = matches!(name, "url" | "password" | "token") && section.of != "ColumnDetail";
    match expected.map(|(_, expected)| expected.lines().next().unwrap_or_default()) {
        Some("a boolean") => "true or false".into(),
        Some("usize" | "u64" | "u32") => "whole number".into(),
        Some("a sequence") if name == "routes" => "list of sections".into(),
        Some("a sequence") => "list of texts".into(),
        Some(map) if map.contains("map") || map.contains("struct") => "section".into(),
        Some(other) => panic!("{}.{name} expects {other}: give it a word here", section.of),
        None if name.ends_with("_file") => "path".into(),
        None if is_secret => "text, secret".into(),
        None => "text".into(),
    }
}

/// A field as it stands in the source: its comment, and whether it may be left out.
struct Field {
    comment: String,
    required: bool,
    optional: bool,
}

fn field(of: &str, setting: &str) -> Field {
    let declaration = format!("pub struct {of} {{\n");
    let source = SOURCES.into_iter().find(|source| source.contains(&declaration)).expect("the struct is in a file");
    let (before, body) = source.split_once(&declaration).expect("it was found");
    let all_default = before.lines().next_back().is_some_and(|line| line.contains("default"));
    let (mut comment, mut attributes) = (String::new(), String::new());
    for line in body.lines().take_while(|line| *line != "}").map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment = format!("{comment} {}", text.trim());
        } else if line.starts_with("#[") {
            attributes += line;
        } else if let Some((name, kind)) = line.trim_end_matches(',').split_once(": ") {
            let name = name.strip_prefix("pub ").unwrap_or(name);
            let renamed = attributes.contains(&format!("rename = \"{setting}\""));
            if name == setting || renamed {
                let optional = kind.starts_with("Option<");
                let required = !optional && !all_default && !attributes.contains("default");
                return Field { comment: comment.trim().into(), required, optional };
            }
            (comment, attributes) = (String::new(), String::new());
        }
    }
    panic!("{of} has no field for `{setting}`")
}

/// The defaults of settings that have one, as the code has them.
fn default(of: &str, setting: &str) -> Option<String> {
    let limits = Limits::default();
    let log = Log::default();
    let number = |number: usize| {
        if number > 0 && number.is_multiple_of(1 << 20) {
            format!("{number} ({} MiB)", number >> 20)
        } else {
            number.to_string()
        }
    };
    Some(match (of, setting) {
        ("Kafka", "dead_letter_topic") => format!("`\"{}\"`", dead_letter_topic()),
        ("Cassandra", "in_flight_max") => number(in_flight_max()),
        ("Consumer", "topics_interval_seconds") => topics_interval_seconds().to_string(),
        ("Limits", "batch_records_max") => number(limits.batch_records_max),
        ("Limits", "batch_bytes_max") => number(limits.batch_bytes_max),
        ("Limits", "record_bytes_max") => number(limits.record_bytes_max),
        ("Limits", "held_bytes_max") => number(limits.held_bytes_max),
        ("Limits", "shutdown_grace_seconds") => limits.shutdown_grace_seconds.to_string(),
        ("Limits", "dead_letters_in_a_row_max") => number(limits.dead_letters_in_a_row_max),
        ("Limits", "dead_letters_per_minute_max") => number(limits.dead_letters_per_minute_max),
        ("Log", "level") => format!("`\"{}\"`", log.level),
        ("Log", "format") => format!("`\"{}\"`", log.format),
        _ => return of_enum(of, setting).map(|variant| format!("`\"{variant}\"`")),
    })
}

/// Enums have theirs where they are declared.
fn of_enum(of: &str, setting: &str) -> Option<String> {
    let text = match (of, setting) {
        ("Route", "unmapped") => format!("{:?}", super::routes::UnmappedPolicy::default()),
        ("Route", "on_truncate") => format!("{:?}", super::routes::TruncatePolicy::default()),
        ("ColumnDetail", "unrepresentable") => "reject".into(),
        _ => return None,
    };
    Some(text.to_lowercase())
}

fn line(section: &Section, setting: &str) -> String {
    let field = field(section.of, setting);
    assert!(!field.comment.is_empty(), "{}.{setting} has no comment: say what it is", section.of);
    let kind = kind(section, setting);
    // A url may come from its file, which serde does not know.
    let either = section.of == "Postgres" && setting == "url";
    let standard = match default(section.of, setting) {
        _ if either => "this or `url_file`".into(),
        Some(standard) => standard,
        None if field.required => "required".into(),
        None if field.optional || kind.starts_with("list") || kind == "section" || kind == "text" => "–".into(),
        None if kind == "true or false" => "false".into(),
        None => panic!("{}.{setting} has a default that is not told", section.of),
    };
    let comment = field.comment.replace('|', "\\|");
    format!("| `{setting}` | {kind} | {standard} | {comment} |\n")
}

fn overridden(section: &Section) -> String {
    let known = OVERRIDES.iter().filter(|(of, ..)| section.overrides.contains(of));
    let names: Vec<String> = known.map(|(of, key, _)| format!("`ROWFERRY_{}`", variable_name(of, key))).collect();
    if names.is_empty() { String::new() } else { format!("\nIn the environment: {}.\n", names.join(", ")) }
}

fn made() -> String {
    let page = |section: &Section| {
        let lines: String = settings(section).iter().map(|setting| line(section, setting)).collect();
        format!(
            "\n## {}\n\n{}\n\n| Setting | Takes | Default | What it is |\n|---|---|---|---|\n{lines}{}",
            section.heading,
            section.about,
            overridden(section)
        )
    };
    sections().iter().map(page).collect::<String>() + "\n"
}

#[test]
fn the_page_has_every_setting() {
    expect_between(PAGE, BEGIN, END, &made());
}

/// A section that is new has to get a place on the page.
#[test]
fn every_section_has_its_place() {
    let names = |message: String| listed(&message, "expected ").expect("it refuses what it does not know");
    assert_eq!(
        names(told::<Config>("no_such_section = 1")),
        ["kafka", "source", "sink", "consumer", "cdcconsumer", "limits", "log"]
    );
    assert_eq!(names(told::<Source>("no_such_section = 1")), ["postgres", "debezium"]);
    assert_eq!(names(told::<Sinks>("no_such_section = 1")), ["postgres", "cassandra"]);
    let known: Vec<&str> = sections().iter().flat_map(|section| section.overrides).copied().collect();
    assert!(OVERRIDES.iter().all(|(section, ..)| known.contains(section)), "an override of a section without place");
}
