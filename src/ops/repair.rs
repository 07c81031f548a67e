//! Keys of rows that Debezium is asked to send once more, as conditions of its incremental snapshots. Pure.
//!
//! A signal's data is JSON, of which Debezium's own signal table holds 2048 characters. Values cannot be bound, because
//! the condition travels as text: they are literals that mean the same under every setting of the server, each cast to
//! its column's type.

use crate::ops::backfill::signal_data;
use crate::sink::postgres::source::SourceKey;

/// What `data varchar(2048)` of the signal table holds.
pub const SIGNAL_CHARS_MAX: usize = 2048;
/// Keys that one signal asks for.
pub const KEYS_PER_SIGNAL_MAX: usize = 50;

/// What is asked for, signal by signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub conditions: Vec<String>,
    /// Keys that are too long for a signal.
    pub too_long: usize,
}

/// The conditions that choose exactly the rows of `table` with these keys.
pub fn conditions(table: &str, key: &[SourceKey], keys: &[Vec<String>]) -> Asked {
    let mut asked = Asked { conditions: Vec::new(), too_long: 0 };
    let names: Vec<String> = key.iter().map(|key| format!("\"{}\"", key.name.replace('"', "\"\""))).collect();
    let condition = |rows: &[String]| format!("{} IN ({})", row(&names), rows.join(", "));
    let fits = |rows: &[String]| {
        rows.len() <= KEYS_PER_SIGNAL_MAX
            && signal_data(table, Some(&condition(rows))).chars().count() <= SIGNAL_CHARS_MAX
    };
    let mut rows: Vec<String> = Vec::new();
    for values in keys {
        let cast = |(key, value): (&SourceKey, &String)| format!("{}::{}", literal(value), key.type_name);
        rows.push(row(&key.iter().zip(values).map(cast).collect::<Vec<String>>()));
        if fits(&rows) {
            continue;
        }
        let last = rows.split_off(rows.len() - 1);
        if !fits(&last) {
            asked.too_long += 1;
        } else {
            asked.conditions.push(condition(&rows));
            rows = last;
        }
    }
    if !rows.is_empty() {
        asked.conditions.push(condition(&rows));
    }
    asked
}

/// One value as it is, several as a row.
fn row(values: &[String]) -> String {
    match values {
        [value] => value.clone(),
        values => format!("({})", values.join(", ")),
    }
}

/// A text as SQL writes it. One with a backslash is an escape string, which means the same whatever
/// `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(columns: &[(&str, &str)]) -> Vec<SourceKey> {
        let column = |(name, type_name): &(&str, &str)| SourceKey {
            name: (*name).into(),
            type_name: (*type_name).into(),
            millis: false,
        };
        columns.iter().map(column).collect()
    }

    fn keys(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|value| value.to_string()).collect()).collect()
    }

    fn of(columns: &[(&str, &str)], rows: &[&[&str]]) -> Asked {
        conditions("public.t", &key(columns), &keys(rows))
    }

    #[test]
    fn keys_are_literals_of_their_columns_types() {
        let asked = of(&[("id", "uuid")], &[&["7"], &["8"]]);
        insta::assert_snapshot!(asked.conditions.join("\n"), @r#""id" IN ('7'::uuid, '8'::uuid)"#);
        let asked = of(&[("Tenant\"s", "character varying(50)"), ("n", "bigint")], &[&["a", "-1"], &["b", "2"]]);
        insta::assert_snapshot!(asked.conditions.join("\n"), @r#"("Tenant""s", "n") IN (('a'::character varying(50), '-1'::bigint), ('b'::character varying(50), '2'::bigint))"#);
        assert_eq!(of(&[("id", "uuid")], &[]), Asked { conditions: Vec::new(), too_long: 0 });
    }

    #[test]
    fn no_value_ends_its_literal() {
        for (value, literal_text) in [
            ("'; DROP TABLE users; --", "'''; DROP TABLE users; --'"),
            ("\\", "E'\\\\'"),
            ("\\'", "E'\\\\'''"),
            ("'' OR ''='", "''''' OR ''''='''"),
            ("?", "'?'"),
            ("\n\u{1b}é", "'\n\u{1b}é'"),
            ("", "''"),
        ] {
            assert_eq!(literal(value), literal_text);
        }
    }

    #[test]
    fn signals_hold_what_their_table_holds_and_no_key_is_left_out_or_asked_twice() {
        let many: Vec<Vec<String>> = (0..173).map(|n| vec![format!("{}{n:03}", "\"".repeat(20))]).collect();
        let asked = conditions("public.t", &key(&[("id", "text")]), &many);
        assert!(asked.conditions.len() > 3);
        for condition in &asked.conditions {
            assert!(signal_data("public.t", Some(condition)).chars().count() <= SIGNAL_CHARS_MAX);
        }
        let inside = |condition: &String| condition["\"id\" IN (".len()..condition.len() - 1].to_string();
        let all = asked.conditions.iter().map(inside).collect::<Vec<String>>().join(", ");
        let expected: Vec<String> = many.iter().map(|values| format!("'{}'::text", values[0])).collect();
        assert_eq!(all, expected.join(", "));

        let short: Vec<Vec<String>> = (0..2 * KEYS_PER_SIGNAL_MAX + 1).map(|n| vec![n.to_string()]).collect();
        assert_eq!(conditions("t", &key(&[("i", "int")]), &short).conditions.len(), 3);
    }

    #[test]
    fn a_key_that_is_too_long_is_counted_and_holds_up_no_other() {
        let long = "x".repeat(SIGNAL_CHARS_MAX);
        let asked = of(&[("id", "text")], &[&["a"], &[&long], &["b"]]);
        assert_eq!(asked.too_long, 1);
        insta::assert_snapshot!(asked.conditions.join("\n"), @r#""id" IN ('a'::text, 'b'::text)"#);
    }
}
