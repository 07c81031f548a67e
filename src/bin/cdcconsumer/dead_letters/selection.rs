//! Which letters are meant: filters, and an index in which each refused record stands once. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::DateTime;
use rowferry::ops::letters::letter::{Letter, Origin};
use rowferry::record::Record;

/// What letters have to be. What is not given lets all pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub origins: Vec<Origin>,
    pub topic: Option<String>,
    /// As the letter names it, or one of its tables.
    pub route: Option<String>,
    pub class: Option<String>,
    /// When it was refused.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub key: Option<String>,
}

/// The letters of a topic, one for each refused record: the newest.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<Origin, Entry>,
    names: HashSet<Arc<str>>,
}

/// A letter without its text, key, value and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub origin: Origin,
    pub identity: Origin,
    /// Where the letter stands in its own topic.
    pub place: (i32, i64),
    pub class: Arc<str>,
    pub route: Arc<str>,
    pub refused_ms: Option<i64>,
    pub timestamp_ms: Option<i64>,
    pub version: Option<i64>,
    /// Of key and value.
    pub bytes: usize,
    /// How often it stands there.
    pub times: u32,
    pub damaged: bool,
}

/// Refused records that an index holds, at its peak some 600 bytes each.
pub const LETTERS_MAX: usize = 500_000;

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
            && [&self.topic, &self.route, &self.class, &self.key].iter().all(|filter| filter.is_none())
            && self.since_ms.is_none()
            && self.until_ms.is_none()
    }

    /// Whether a letter passes in what all letters of its record have in common.
    fn admits(&self, letter: &Letter, record: &Record) -> bool {
        let named = |origin: &Origin| *origin == letter.origin || origin == letter.identity();
        (self.origins.is_empty() || self.origins.iter().any(named))
            && self.topic.as_ref().is_none_or(|topic| **topic == *letter.origin.topic)
            && self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key.as_bytes()))
    }

    /// Whether the newest letter of a record passes in what they may differ in.
    fn chooses(&self, entry: &Entry) -> bool {
        self.route.as_ref().is_none_or(|route| names_route(&entry.route, route))
            && self.class.as_ref().is_none_or(|class| **class == *entry.class)
            && self.since_ms.is_none_or(|since| entry.refused_ms.is_some_and(|at| at >= since))
            && self.until_ms.is_none_or(|until| entry.refused_ms.is_some_and(|at| at < until))
    }
}

/// Whether `wanted` is the route as a letter names it (`topic → table, table`), or one of its tables.
fn names_route(route: &str, wanted: &str) -> bool {
    let tables = route.split_once(" → ").map_or("", |(_, tables)| tables);
    route == wanted || tables.split(", ").any(|table| table == wanted)
}

impl Index {
    /// Takes a letter, if the filter admits it. False when there is no room for one more.
    pub fn add(&mut self, filter: &Filter, record: &Record) -> bool {
        let letter = Letter::read(record);
        if !filter.admits(&letter, record) {
            return true;
        }
        let entry = Entry {
            identity: self.origin(letter.identity()),
            origin: self.origin(&letter.origin),
            place: (record.partition, record.offset),
            class: self.name(&letter.class),
            route: self.name(&letter.route),
            refused_ms: record.timestamp_ms,
            timestamp_ms: letter.timestamp_ms,
            version: letter.version,
            bytes: record.bytes(),
            times: 1,
            damaged: letter.damaged,
        };
        let full = self.entries.len() >= LETTERS_MAX;
        match self.entries.get_mut(&entry.identity) {
            Some(known) => known.meet(entry),
            None if full => return false,
            None => drop(self.entries.insert(entry.identity.clone(), entry)),
        }
        true
    }

    /// The chosen letters in the order of their records.
    pub fn chosen(self, filter: &Filter) -> Vec<Entry> {
        let mut chosen: Vec<Entry> = self.entries.into_values().filter(|entry| filter.chooses(entry)).collect();
        chosen.sort_unstable_by(|one, other| one.origin.cmp(&other.origin));
        chosen
    }

    fn origin(&mut self, origin: &Origin) -> Origin {
        Origin { topic: self.name(&origin.topic), ..*origin }
    }

    /// Names repeat a lot, and are kept once.
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }
}

impl Entry {
    /// Another letter of the same record. The newest counts, with the highest version: a record that was read again
    /// after a rewind may have got a lower one, and the first is what its neighbours were written with (V2).
    fn meet(&mut self, other: Entry) {
        let times = self.times.saturating_add(1);
        let same = self.timestamp_ms == other.timestamp_ms && self.origin == other.origin;
        let version = if same { self.version.max(other.version) } else { None };
        if other.is_newer_than(self) {
            *self = other;
        }
        self.version = version.or(self.version);
        self.times = times;
    }

    fn is_newer_than(&self, other: &Entry) -> bool {
        if self.place.0 == other.place.0 {
            self.place.1 > other.place.1
        } else {
            (self.refused_ms, self.place) > (other.refused_ms, other.place)
        }
    }
}

/// Reads an RFC 3339 time, or `90s`, `30m`, `2h`, `7d` before now. Milliseconds.
pub fn moment(text: &str, now_ms: i64) -> Result<i64, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    let before = || {
        let unit = text.chars().next_back()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let number: u32 = text[..text.len() - 1].parse().ok()?;
        Some(now_ms - i64::from(number) * seconds * 1_000)
    };
    before().ok_or_else(|| "write a time as in 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d".into())
}

#[cfg(test)]
mod tests {
    use rowferry::record::Header;

    use super::*;

    /// A letter at a place of its topic, of a record of `origin`.
    fn letter(place: (i32, i64), refused_ms: i64, origin: &str, rest: &[(&str, &str)]) -> Record {
        let origin: Origin = origin.parse().expect("an origin");
        let (partition, offset) = (origin.partition.to_string(), origin.offset.to_string());
        let given = |name: &str| rest.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        let headers = [
            ("reason", Some(given("reason").unwrap_or("wrong_type"))),
            ("text", Some("no number")),
            ("route", Some(given("route").unwrap_or("t → a, b"))),
            ("topic", Some(&*origin.topic)),
            ("partition", Some(partition.as_str())),
            ("offset", Some(offset.as_str())),
            ("timestamp", Some("1000")),
            ("version", given("version")),
        ];
        let header = |(name, value): (&str, Option<&str>)| {
            Some(Header { name: format!("rowferry.{name}"), value: Some(value?.to_string().into()) })
        };
        Record {
            topic: "letters".into(),
            partition: place.0,
            offset: place.1,
            timestamp_ms: Some(refused_ms),
            key: Some(given("key").unwrap_or("k").to_string().into()),
            value: None,
            headers: headers.into_iter().filter_map(header).collect(),
        }
    }

    fn chosen(filter: &Filter, letters: &[Record]) -> Vec<Entry> {
        let mut index = Index::default();
        assert!(letters.iter().all(|letter| index.add(filter, letter)));
        index.chosen(filter)
    }

    fn origins(filter: Filter, letters: &[Record]) -> Vec<String> {
        chosen(&filter, letters).iter().map(|entry| entry.origin.to_string()).collect()
    }

    #[test]
    fn a_record_counts_once_and_its_newest_letter_wins() {
        let letters = [
            letter((0, 8), 50, "t:0:2", &[("reason", "refused"), ("version", "90")]),
            letter((1, 3), 70, "t:0:2", &[("reason", "too_large"), ("version", "80")]),
            letter((0, 9), 60, "t:0:2", &[("reason", "empty"), ("version", "70")]),
            letter((0, 7), 99, "t:0:10", &[]),
            letter((0, 1), 10, "s:5:1", &[]),
        ];
        let mut reversed = letters.clone();
        reversed.reverse();
        for letters in [letters, reversed] {
            let found = chosen(&Filter::default(), &letters);
            let shown: Vec<String> = found
                .iter()
                .map(|entry| format!("{} {} {:?} ×{}", entry.origin, entry.class, entry.version, entry.times))
                .collect();
            // The highest version is the first one, which its neighbours were written beside.
            assert_eq!(shown, ["s:5:1 wrong_type None ×1", "t:0:2 too_large Some(90) ×3", "t:0:10 wrong_type None ×1"]);
        }
    }

    #[test]
    fn what_was_made_anew_under_the_same_name_keeps_its_own_version() {
        let mut old = letter((0, 1), 50, "t:0:2", &[("version", "90")]);
        old.headers =
            old.headers
                .iter()
                .cloned()
                .map(|header| {
                    if header.name.ends_with("timestamp") {
                        Header { value: Some("7".into()), ..header }
                    } else {
                        header
                    }
                })
                .collect();
        let new = letter((0, 2), 60, "t:0:2", &[("version", "80")]);
        assert_eq!(chosen(&Filter::default(), &[old, new])[0].version, Some(80));
    }

    #[test]
    fn filters_look_at_the_newest_letter() {
        let letters = [
            letter((0, 1), 10, "t:0:1", &[("reason", "empty")]),
            letter((0, 2), 20, "t:0:1", &[("reason", "refused"), ("route", "t → a")]),
            letter((0, 3), 30, "s:0:1", &[("key", "other")]),
        ];
        let with = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            origins(filter, &letters)
        };
        let nothing: [&str; 0] = [];
        assert_eq!(with(&|filter| filter.class = Some("empty".into())), nothing, "it was refused anew since");
        assert_eq!(with(&|filter| filter.class = Some("refused".into())), ["t:0:1"]);
        assert_eq!(with(&|filter| filter.route = Some("t → a".into())), ["t:0:1"]);
        assert_eq!(with(&|filter| filter.route = Some("b".into())), ["s:0:1"]);
        assert_eq!(with(&|filter| filter.topic = Some("t".into())), ["t:0:1"]);
        assert_eq!(with(&|filter| filter.key = Some("other".into())), ["s:0:1"]);
        assert_eq!(with(&|filter| filter.since_ms = Some(20)), ["s:0:1", "t:0:1"]);
        assert_eq!(with(&|filter| filter.until_ms = Some(20)), nothing);
        assert_eq!(with(&|filter| filter.origins = vec!["s:0:1".parse().expect("an origin")]), ["s:0:1"]);
    }

    #[test]
    fn damaged_letters_are_found_by_their_own_place() {
        let mut damaged = letter((2, 4), 10, "t:0:1", &[]);
        damaged.headers = [].into();
        let found = chosen(&Filter::default(), &[damaged]);
        assert_eq!((found[0].origin.to_string().as_str(), &*found[0].class), ("letters:2:4", "damaged"));
    }

    #[test]
    fn moments_are_times_or_how_long_ago() {
        let now = 1_000_000_000_000;
        assert_eq!(moment("2h", now), Ok(now - 7_200_000));
        assert_eq!(moment("7d", now), Ok(now - 604_800_000));
        assert_eq!(moment("1970-01-01T01:00:00.5+01:00", now), Ok(500));
        for wrong in ["", "h", "2", "2 h", "-2h", "2w", "é", "yesterday", "2026-01-01", "99999999999h"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
