//! A primary key as a person writes it: `(user_id), order_id`.

use std::fmt;
use std::str::FromStr;

use crate::sink::cassandra::statement::quoted;

/// The columns that choose the partition, and those that order the rows inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub partition: Vec<String>,
    pub clustering: Vec<String>,
}

/// Why a key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no key: write it as in \"(user_id), order_id\", with names that are no plain words in double quotes"
)]
pub struct KeyError(String);

impl Key {
    /// All columns choose the partition.
    pub fn of(columns: &[String]) -> Key {
        Key { partition: columns.to_vec(), clustering: Vec::new() }
    }

    pub fn columns(&self) -> impl Iterator<Item = &String> {
        self.partition.iter().chain(&self.clustering)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.columns().any(|column| column == name)
    }
}

impl fmt::Display for Key {
    /// As PRIMARY KEY takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        write!(f, "({})", names(&self.partition))?;
        if self.clustering.is_empty() { Ok(()) } else { write!(f, ", {}", names(&self.clustering)) }
    }
}

impl FromStr for Key {
    type Err = KeyError;

    /// Without parentheses the first column is the partition key, as in CQL. Letters keep their case.
    fn from_str(text: &str) -> Result<Key, KeyError> {
        let error = || KeyError(text.into());
        let words = words(text).ok_or_else(error)?;
        let (partition, rest) = match words.split_first() {
            Some((Word::Open, rest)) => {
                let close = rest.iter().position(|word| *word == Word::Close).ok_or_else(error)?;
                (names(&rest[..close]).ok_or_else(error)?, &rest[close + 1..])
            }
            Some((Word::Name(name), rest)) => (vec![name.clone()], rest),
            _ => return Err(error()),
        };
        let clustering = match rest.split_first() {
            None => Vec::new(),
            Some((Word::Comma, rest)) => names(rest).ok_or_else(error)?,
            Some(_) => return Err(error()),
        };
        let key = Key { partition, clustering };
        let all: Vec<&String> = key.columns().collect();
        let twice = (0..all.len()).any(|at| all[..at].contains(&all[at]));
        if twice { Err(error()) } else { Ok(key) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Open,
    Close,
    Comma,
    Name(String),
}

fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, length) = match first {
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            ',' => (Word::Comma, 1),
            '"' => {
                let length = quoted_length(rest)?;
                (Word::Name(rest[1..length - 1].replace("\"\"", "\"")), length)
            }
            _ => {
                let length = rest.find(|c: char| "(),\"".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
                (Word::Name(rest[..length].into()), length)
            }
        };
        words.push(word);
        rest = rest[length..].trim_start();
    }
    Some(words)
}

/// The bytes of a name in double quotes that a text begins with; a double quote inside stands twice.
fn quoted_length(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find('"')? + 1;
        if !text[at..].starts_with('"') {
            return (at > 2).then_some(at);
        }
        at += 1;
    }
}

/// Names with commas between them, at least one.
fn names(words: &[Word]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for (at, word) in words.iter().enumerate() {
        match word {
            Word::Name(name) if at % 2 == 0 => names.push(name.clone()),
            Word::Comma if at % 2 == 1 => {}
            _ => return None,
        }
    }
    (words.len() % 2 == 1).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_cql_writes_them() {
        let read = |text: &str| text.parse::<Key>().map(|key| key.to_string());
        for (text, told) in [
            ("id", r#"("id")"#),
            ("a, b", r#"("a"), "b""#),
            ("(a, b)", r#"("a", "b")"#),
            (" ( user_id ) , order_id , Line ", r#"("user_id"), "order_id", "Line""#),
            (r#"("Mixed Case", b), "a ""b"" (c), d""#, r#"("Mixed Case", "b"), "a ""b"" (c), d""#),
        ] {
            assert_eq!(read(text).as_deref(), Ok(told), "{text}");
        }
        for text in ["", "()", "(a", "a b", "a,", ",a", "(a),", "(a) b", "((a), b)", "a, a", "\"\"", "\"a", "(a,), b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
