//! One dead letter, read from the record that it is: whose it is, why it was refused, and when. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::plan::UNLESS_NEWER;
use crate::record::{Header, Record, TopicPartition};

/// Where a refused record stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

/// A letter without the record itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where the refused record stands; for a damaged letter its own place, as nobody knows better.
    pub origin: Origin,
    /// What it is a copy of, when it was produced again.
    pub copy_of: Option<Origin>,
    pub class: String,
    pub text: String,
    pub route: String,
    /// Of the refused record.
    pub timestamp_ms: Option<i64>,
    pub version: Option<i64>,
    /// The headers that the refused record came with.
    pub original_headers: Vec<Header>,
    pub damaged: bool,
}

/// The class of a letter that does not say what a letter has to say.
pub const DAMAGED: &str = "damaged";
/// The header of an event that was produced again: its origin.
pub const REPRODUCED: &str = "rowferry.reproduced";
/// The first of the headers that a letter adds; the refused record's own come before it, whatever they are called.
const FIRST: &str = "rowferry.reason";
/// Longest name or class that is believed; topics have at most 249 characters, and a route names some tables.
const NAME_BYTES_MAX: usize = 4096;

impl Letter {
    /// Reads the headers of a letter.
    pub fn read(record: &Record) -> Letter {
        Letter::whole(record).unwrap_or_else(|why| Letter {
            origin: Origin { topic: record.topic.clone(), partition: record.partition, offset: record.offset },
            copy_of: None,
            class: DAMAGED.into(),
            text: why,
            route: String::new(),
            timestamp_ms: None,
            version: None,
            original_headers: record.headers.to_vec(),
            damaged: true,
        })
    }

    fn whole(record: &Record) -> Result<Letter, String> {
        let first = record.headers.iter().rposition(|header| header.name == FIRST);
        let first = first.ok_or_else(|| format!("it has no header {FIRST}: Rowferry did not write it"))?;
        let (original, ours) = record.headers.split_at(first);
        let ours = Ours(ours);
        let origin = Origin {
            topic: ours.text("topic")?.into(),
            partition: ours.number("partition")?,
            offset: ours.number("offset")?,
        };
        if origin.partition < 0 || origin.offset < 0 {
            return Err("its headers name no place in a topic".into());
        }
        let copy_of = original.iter().rfind(|header| header.name == REPRODUCED);
        let copy_of = copy_of.and_then(|header| std::str::from_utf8(header.value.as_ref()?).ok()?.parse().ok());
        Ok(Letter {
            origin,
            copy_of,
            class: ours.text("reason")?.into(),
            text: ours.text("text")?.into(),
            route: ours.text("route")?.into(),
            timestamp_ms: ours.find("timestamp")?.map(|_| ours.number("timestamp")).transpose()?,
            version: ours.find("version")?.map(|_| ours.number("version")).transpose()?,
            original_headers: original.to_vec(),
            damaged: false,
        })
    }

    /// What all letters of one record have in common: a copy that was refused again is the record that it copies.
    pub fn identity(&self) -> &Origin {
        self.copy_of.as_ref().unwrap_or(&self.origin)
    }

    /// The refused record as it was, out of the letter that carries it.
    pub fn refused_record(&self, letter: Record) -> Record {
        Record {
            topic: self.origin.topic.clone(),
            partition: self.origin.partition,
            offset: self.origin.offset,
            timestamp_ms: self.timestamp_ms,
            headers: self.original_headers.clone().into(),
            ..letter
        }
    }

    /// The headers of the record that is produced again. Without `unless_newer` it may go over a newer row.
    pub fn reproduced_headers(&self, unless_newer: bool) -> Vec<Header> {
        let ours = |header: &&Header| header.name != REPRODUCED && header.name != UNLESS_NEWER;
        let mut headers: Vec<Header> = self.original_headers.iter().filter(ours).cloned().collect();
        headers.push(Header { name: REPRODUCED.into(), value: Some(self.identity().to_string().into()) });
        if unless_newer {
            headers.push(Header { name: UNLESS_NEWER.into(), value: Some("true".into()) });
        }
        headers
    }
}

/// The headers that a letter adds, without their prefix.
struct Ours<'a>(&'a [Header]);

impl<'a> Ours<'a> {
    fn find(&self, name: &str) -> Result<Option<&'a str>, String> {
        let is = |header: &&Header| header.name.strip_prefix("rowferry.") == Some(name);
        let mut found = self.0.iter().filter(is);
        let Some(header) = found.next() else { return Ok(None) };
        let text = header.value.as_ref().and_then(|value| std::str::from_utf8(value).ok());
        match text.filter(|text| text.len() <= NAME_BYTES_MAX && found.next().is_none()) {
            Some(text) => Ok(Some(text)),
            None => Err(format!("its header rowferry.{name} is damaged")),
        }
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.find(name)?.ok_or_else(|| format!("it has no header rowferry.{name}"))
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<N, String> {
        self.text(name)?.parse().map_err(|_| format!("its header rowferry.{name} is no whole number"))
    }
}

impl Origin {
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Reads `topic:partition:offset`; the name of a topic has no colon.
    fn from_str(text: &str) -> Result<Origin, String> {
        let read = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
            let is_place = !topic.is_empty() && !topic.contains(':') && partition >= 0 && offset >= 0;
            is_place.then(|| Origin { topic: topic.into(), partition, offset })
        };
        read().ok_or_else(|| "write topic:partition:offset, as `dead-letters list` prints it".into())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OURS: [(&str, &str); 8] = [
        ("rowferry.reason", "wrong_type"),
        ("rowferry.text", "no number"),
        ("rowferry.route", "t → u"),
        ("rowferry.topic", "t"),
        ("rowferry.partition", "3"),
        ("rowferry.offset", "17"),
        ("rowferry.timestamp", "1000"),
        ("rowferry.version", "1000000"),
    ];

    fn record(headers: &[(&str, &str)]) -> Record {
        let header = |(name, value): &(&str, &str)| Header {
            name: name.to_string(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        Record {
            topic: "letters".into(),
            partition: 1,
            offset: 5,
            timestamp_ms: Some(2_000),
            key: None,
            value: Some("v".into()),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn a_letter_says_whose_it_is_and_gives_the_record_back() {
        let laid = record(&[&[("trace", "x")], &OURS[..]].concat());
        let letter = Letter::read(&laid);
        assert_eq!((letter.origin.to_string().as_str(), letter.class.as_str()), ("t:3:17", "wrong_type"));
        assert_eq!((letter.timestamp_ms, letter.version, letter.damaged), (Some(1_000), Some(1_000_000), false));
        let refused = letter.refused_record(laid);
        assert_eq!((refused.topic_partition().to_string().as_str(), refused.offset), ("t[3]", 17));
        assert_eq!((refused.timestamp_ms, refused.headers.len(), refused.value), (Some(1_000), 1, Some("v".into())));
    }

    #[test]
    fn headers_that_the_record_came_with_are_never_taken_for_ours() {
        // A letter's record that was refused again, by a binary that has no versions.
        let again = [&OURS[..], &[("trace", "x")], &OURS[..6]].concat();
        let letter = Letter::read(&record(&again));
        assert_eq!((letter.timestamp_ms, letter.version), (None, None), "they belong to the first letter");
        assert_eq!(letter.original_headers.len(), 9);
    }

    #[test]
    fn what_is_missing_or_damaged_is_told_and_not_guessed() {
        let damaged = |headers: &[(&str, &str)]| {
            let letter = Letter::read(&record(headers));
            assert_eq!((letter.damaged, letter.origin.to_string().as_str()), (true, "letters:1:5"));
            letter.text
        };
        insta::assert_snapshot!(damaged(&[]), @"it has no header rowferry.reason: Rowferry did not write it");
        insta::assert_snapshot!(damaged(&OURS[..5]), @"it has no header rowferry.offset");
        let with = |at: usize, value: &'static str| {
            let mut headers = OURS;
            headers[at].1 = value;
            headers
        };
        insta::assert_snapshot!(damaged(&with(5, "-1")), @"its headers name no place in a topic");
        insta::assert_snapshot!(damaged(&with(4, "99999999999")), @"its header rowferry.partition is no whole number");
        insta::assert_snapshot!(damaged(&with(7, "1e9")), @"its header rowferry.version is no whole number");
        insta::assert_snapshot!(damaged(&[&OURS[..], &OURS[7..]].concat()), @"its header rowferry.version is damaged");
        let endless: &'static str = "x".repeat(NAME_BYTES_MAX + 1).leak();
        insta::assert_snapshot!(damaged(&with(2, endless)), @"its header rowferry.route is damaged");
    }

    #[test]
    fn a_copy_that_is_refused_again_stays_the_record_that_it_copies() {
        let letter = Letter::read(&record(&[&[("trace", "x")], &OURS[..6]].concat()));
        let first = letter.reproduced_headers(true);
        let names: Vec<&str> = first.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(names, ["trace", "rowferry.reproduced", "rowferry.unless-newer"]);
        let mut refused = record(&OURS[..6]);
        refused.headers = [&first[..], &refused.headers[..]].concat().into();
        let mut again = Letter::read(&refused);
        again.origin.offset = 99;
        assert_eq!(again.identity(), &origin("t:3:17"));
        let second = again.reproduced_headers(false);
        let names: Vec<&str> = second.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(names, ["trace", "rowferry.reproduced"]);
        assert_eq!(second[1].value.as_deref(), Some("t:3:17".as_bytes()));
    }

    #[test]
    fn origins_are_read_as_they_are_printed() {
        assert_eq!(origin("shop.public.users:0:17").to_string(), "shop.public.users:0:17");
        for wrong in ["", "t", "t:1", ":1:2", "t:x:1", "t:1:-2", "a:b:1:2"] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
