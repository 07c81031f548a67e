//! Rules of the house that the compiler does not know: who may see whom, how long files get, what they begin with.
//!
//! They are read from the files themselves, so a broken rule fails the test run and names the line.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Who may name whom. A module that is not in the list may be named by binaries only. `sink` alone is the contract,
/// `sink::cassandra` and the like are systems, and see none of each other.
const MAY_SEE: [(&str, &[&str]); 23] = [
    ("record", &[]),
    ("row", &[]),
    ("change", &["row", "mutation"]),
    ("format", &["record", "row", "change"]),
    ("mutation", &[]),
    ("failpoint", &[]),
    ("plan", &["record", "row", "change", "mutation"]),
    ("version", &["change", "mutation"]),
    ("watermark", &["mutation"]),
    ("ownership", &["version", "watermark", "mutation"]),
    ("retry", &[]),
    ("meter", &[]),
    ("sink", &["record", "row", "change", "plan"]),
    ("sink::tls", &[]),
    (
        "pipeline",
        &[
            "record",
            "row",
            "change",
            "format",
            "mutation",
            "failpoint",
            "plan",
            "version",
            "ownership",
            "retry",
            "meter",
            "sink",
        ],
    ),
    ("sink::cassandra", &["record", "row", "change", "failpoint", "plan", "retry", "sink"]),
    ("sink::postgres", &["record", "row", "change", "failpoint", "plan", "retry", "sink"]),
    ("kafka", &["record", "failpoint", "version", "ownership", "retry", "sink", "pipeline"]),
    ("verify", &["record", "row", "change", "format", "plan", "retry", "sink", "sink::cassandra", "sink::postgres"]),
    ("shop", &[]),
    (
        "ops",
        &[
            "record",
            "row",
            "change",
            "format",
            "mutation",
            "plan",
            "version",
            "retry",
            "meter",
            "sink",
            "pipeline",
            "kafka",
            "sink::cassandra",
            "sink::postgres",
        ],
    ),
    ("page_tests", &[]),
    ("tidy", &[]),
];

/// Modules that take values and return values: no runtime, client, environment or log.
const PURE: [&str; 12] = [
    "record",
    "row",
    "change",
    "format",
    "mutation",
    "plan",
    "version",
    "watermark",
    "ownership",
    "retry",
    "meter",
    "shop",
];
const IMPURE: [&str; 8] =
    ["tokio", "rdkafka", "scylla", "sqlx", "tracing", "std::env", "Instant::now", "SystemTime::now"];
/// Crates that only these modules may name.
const KEPT_TO: [(&str, &[&str]); 6] = [
    ("backoff", &["retry"]),
    ("anyhow", &["ops"]),
    ("axum", &["ops"]),
    ("rdkafka", &["kafka"]),
    ("scylla", &["sink::cassandra"]),
    ("sqlx", &["sink::postgres"]),
];
const NAMELESS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "handler", "misc"];

struct Source {
    path: PathBuf,
    /// `sink::cassandra` for src/sink/cassandra/types.rs; `None` for binaries, tests and lib.rs.
    module: Option<String>,
    text: String,
}

impl Source {
    /// The lines that are no tests, numbered from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_tests = self.path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        let end = if is_tests { 0 } else { usize::MAX };
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.take(end).take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }
}

#[test]
fn modules_see_only_what_the_direction_allows() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = &source.module else { continue };
        let Some((_, allowed)) = MAY_SEE.iter().find(|(name, _)| name == module) else {
            broken.push(format!("{}: module {module} has no place in the direction", source.path.display()));
            continue;
        };
        for (number, line) in source.lines().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for seen in named(line) {
                if seen != *module && !allowed.contains(&seen.as_str()) {
                    broken.push(format!("{}:{number}: {module} may not see {seen}", source.path.display()));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn pure_modules_do_no_io_and_clients_keep_to_their_place() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some(module) = &source.module else { continue };
        for (number, line) in source.lines().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let names = |word: &str| names_path(line, word);
            if PURE.contains(&module.as_str()) {
                let impure = IMPURE.iter().filter(|word| names(word));
                broken
                    .extend(impure.map(|word| format!("{}:{number}: {word} in a pure module", source.path.display())));
            }
            for (word, kept_to) in KEPT_TO {
                if names(word) && !kept_to.contains(&module.as_str()) && module != "tidy" {
                    broken.push(format!("{}:{number}: {word} is kept to {kept_to:?}", source.path.display()));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let path = source.path.display();
        if !source.text.starts_with("//! ") {
            broken.push(format!("{path}:1: a file opens with a sentence that says what it is"));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{path}: {lines} lines, the limit is {FILE_LINES_MAX}"));
        }
        let stem = source.path.file_stem().map(|stem| stem.to_string_lossy().to_string()).unwrap_or_default();
        if NAMELESS.contains(&stem.as_str()) {
            broken.push(format!("{path}: \"{stem}\" says nothing about what is inside"));
        }
        for (number, lines) in long_functions(&source.text) {
            broken.push(format!("{path}:{number}: a function of {lines} lines, the limit is {FUNCTION_LINES_MAX}"));
        }
        for (number, line) in source.lines() {
            if line.trim_start().starts_with("use ") && line.trim_end().ends_with("::*;") {
                broken.push(format!("{path}:{number}: a glob hides where names come from"));
            }
        }
    }
    report(&broken);
}

/// A promise without its test is none: the page names them between backquotes, and nothing else that looks like one.
#[test]
fn the_tests_that_the_guarantees_name_exist() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guarantees.md");
    let page = fs::read_to_string(page).expect("the page can be read");
    let sources = sources(&["src", "tests"]);
    let words = page.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.matches('_').count() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
    };
    let tests: std::collections::BTreeSet<&str> = words.filter(is_name).collect();
    assert!(tests.len() > 10, "the page names its tests in another way: {tests:?}");
    let exists = |test: &&str| sources.iter().any(|source| source.text.contains(&format!("fn {test}(")));
    let missing =
        tests.into_iter().filter(|test| !exists(test)).map(|test| format!("docs/guarantees.md: no test {test}"));
    report(&missing.collect::<Vec<_>>());
}

/// The modules that a line names by `crate::`: `sink::cassandra`, or `sink` for everything directly in it.
fn named(line: &str) -> Vec<String> {
    let paths = line.split("crate::").skip(1);
    paths
        .filter_map(|rest| {
            let words: Vec<&str> = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
            let is_path = |at: usize| words.get(at).is_some_and(|word| !word.is_empty());
            let name = words.first().filter(|name| !name.is_empty())?;
            let below = ["cassandra", "postgres"]
                .into_iter()
                .find(|system| *name == "sink" && rest.starts_with("sink::") && is_path(2) && words[2] == *system);
            Some(below.map_or_else(|| (*name).to_string(), |system| format!("sink::{system}")))
        })
        .collect()
}

/// Whether a line names a crate or path, as a word of its own.
fn names_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + word.len()..];
        let free = !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '"' | '.'));
        free && (after.starts_with("::") || after.starts_with(';') || after.starts_with('('))
    })
}

/// First line and length of each function that is too long; a function ends at the brace under its first line.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_fn = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
        line.starts_with("fn ") || line.starts_with("async fn ") || line.starts_with("const fn ")
    };
    let starts = lines.iter().enumerate().filter(|(_, line)| is_fn(line));
    starts
        .filter_map(|(start, line)| {
            let close = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
            let length = lines[start..].iter().position(|line| *line == close)? + 1;
            (length > FUNCTION_LINES_MAX).then_some((start + 1, length))
        })
        .collect()
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file can be read");
                let path = path.strip_prefix(root).expect("it is below the root").to_path_buf();
                found.push(Source { module: module(&path), path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no sources found");
    found
}

fn module(path: &Path) -> Option<String> {
    let words: Vec<String> = path.with_extension("").iter().map(|word| word.to_string_lossy().to_string()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["src", "lib"] | ["src", "bin", ..] => None,
        ["src", "sink", system, ..] => Some(format!("sink::{system}")),
        ["src", module, ..] => Some(module.to_string()),
        _ => None,
    }
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
