//! The text of a condition, read once: a column or `op`, what is asked of it, and literals with their places.

use crate::plan::condition::Relation;

/// So long is no condition that a person wrote.
const CHARS_MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub subject: Subject,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Column(String),
    Op,
}

/// Literals and relations stand with their places: characters from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    OneOf { literals: Vec<(usize, Token)>, not: bool },
    Ordered { at: usize, relation: Relation, literal: (usize, Token) },
    IsNull { not: bool },
}

/// A literal as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Text(String),
    Number(String),
    Bool(bool),
}

/// What is wrong with a text, and at which of its characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    at: usize,
    why: String,
}

pub fn error(at: usize, why: impl Into<String>) -> ParseError {
    ParseError { at, why: why.into() }
}

impl ParseError {
    pub fn in_text(self, text: &str) -> String {
        format!("\"{text}\", at character {}: {}", self.at + 1, self.why)
    }
}

pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > CHARS_MAX {
        return Err(error(CHARS_MAX, format!("a condition has at most {CHARS_MAX} characters")));
    }
    let mut rest = Rest { chars, at: 0 };
    let subject = rest.subject()?;
    let test = rest.test()?;
    rest.skip_blanks();
    match rest.peek() {
        None => Ok(Parsed { subject, test }),
        Some(_) => Err(error(
            rest.at,
            "the condition ends here: give each one as a text of its own, for all of them must hold",
        )),
    }
}

struct Rest {
    chars: Vec<char>,
    at: usize,
}

impl Rest {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// A name, as it is written, or in double quotes when it has other characters or is called like a word of ours.
    fn subject(&mut self) -> Result<Subject, ParseError> {
        self.skip_blanks();
        let at = self.at;
        if self.peek() == Some('"') {
            return Ok(Subject::Column(self.quoted('"')?));
        }
        match self.word() {
            word if word.is_empty() => Err(error(at, "begin with a column's name, or with `op`")),
            word if word.eq_ignore_ascii_case("op") => Ok(Subject::Op),
            word => Ok(Subject::Column(word)),
        }
    }

    fn word(&mut self) -> String {
        self.skip_blanks();
        let start = self.at;
        let is_part =
            |c: char, first: bool| c == '_' || if first { c.is_alphabetic() } else { c.is_alphanumeric() || c == '$' };
        while self.peek().is_some_and(|c| is_part(c, self.at == start)) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// Takes a word when it is the next one, in capitals or not.
    fn takes(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let found = self.word().eq_ignore_ascii_case(wanted);
        if !found {
            self.at = before;
        }
        found
    }

    fn test(&mut self) -> Result<Test, ParseError> {
        self.skip_blanks();
        let at = self.at;
        for (symbol, relation) in [
            ("<=", Some(Relation::LessOrEqual)),
            (">=", Some(Relation::GreaterOrEqual)),
            ("!=", None),
            ("<>", None),
            ("<", Some(Relation::Less)),
            (">", Some(Relation::Greater)),
            ("=", None),
        ] {
            if !self.chars[self.at..].starts_with(&symbol.chars().collect::<Vec<_>>()) {
                continue;
            }
            self.at += symbol.len();
            let literal = self.literal()?;
            return Ok(match relation {
                Some(relation) => Test::Ordered { at, relation, literal },
                None => Test::OneOf { literals: vec![literal], not: symbol != "=" },
            });
        }
        if self.takes("is") {
            let not = self.takes("not");
            self.skip_blanks();
            let at = self.at;
            return if self.takes("null") {
                Ok(Test::IsNull { not })
            } else {
                Err(error(at, "write `is null` or `is not null`"))
            };
        }
        let not = self.takes("not");
        if self.takes("in") {
            return Ok(Test::OneOf { literals: self.list()?, not });
        }
        Err(error(at, "write =, !=, <, <=, >, >=, is null, is not null, in (…) or not in (…)"))
    }

    fn list(&mut self) -> Result<Vec<(usize, Token)>, ParseError> {
        self.skip_blanks();
        if self.peek() != Some('(') {
            return Err(error(self.at, "a list begins with (, as in ('a', 'b')"));
        }
        let mut literals = Vec::new();
        loop {
            self.at += 1;
            literals.push(self.literal()?);
            self.skip_blanks();
            match self.peek() {
                Some(',') => {}
                Some(')') => {
                    self.at += 1;
                    return Ok(literals);
                }
                _ => return Err(error(self.at, "write , or ) here")),
            }
        }
    }

    fn literal(&mut self) -> Result<(usize, Token), ParseError> {
        self.skip_blanks();
        let at = self.at;
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
        let token = match self.peek() {
            Some('\'') => Token::Text(self.quoted('\'')?),
            Some(c) if is_number(c) => {
                while self.peek().is_some_and(|c| is_number(c) || matches!(c, 'e' | 'E')) {
                    self.at += 1;
                }
                Token::Number(self.chars[at..self.at].iter().collect())
            }
            _ => match self.word() {
                word if word.eq_ignore_ascii_case("true") => Token::Bool(true),
                word if word.eq_ignore_ascii_case("false") => Token::Bool(false),
                word if word.eq_ignore_ascii_case("null") => {
                    return Err(error(at, "nothing is equal to null: write `is null` or `is not null`"));
                }
                _ => return Err(error(at, "write a text in single quotes, a number, true or false")),
            },
        };
        Ok((at, token))
    }

    /// What stands between two quotes; a doubled quote is one.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += 1;
            if c != quote {
                text.push(c);
            } else if self.peek() == Some(quote) {
                text.push(quote);
                self.at += 1;
            } else {
                return Ok(text);
            }
        }
        Err(error(start, format!("the {quote} that opens here is never closed")))
    }
}
