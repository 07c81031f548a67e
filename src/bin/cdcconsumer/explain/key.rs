//! A row's key as a person types it: `id=5` pairs in any order, or plain values in the order of the key. Pure.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveTime, Timelike as _};
use rowferry::plan::convert::{Policy, convert, to_key};
use rowferry::row::{Float, Kind, Value};

/// A column of a table's primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    pub name: String,
    pub kind: Kind,
}

/// Reads one value for each column of the key, in its order; or says what is missing or wrong, and how it is typed.
pub fn read(table: &str, columns: &[KeyColumn], words: &[String]) -> Result<Vec<Value>, String> {
    let texts = texts(columns, words).map_err(|why| format!("{why}: the key of {table} is {}", usage(columns)))?;
    let read = columns.iter().zip(texts).map(|(column, text)| {
        value(&column.kind, text).map_err(|form| {
            let name = &column.name;
            format!("{name} = \"{text}\" is no {}: write {form}; the key of {table} is {}", column.kind, usage(columns))
        })
    });
    read.collect()
}

/// `user_id=… order_id=…`
fn usage(columns: &[KeyColumn]) -> String {
    columns.iter().map(|column| format!("{}=…", column.name)).collect::<Vec<_>>().join(" ")
}

/// The text of each column. Words are pairs when one of them begins with a column's name: a plain value may have an
/// equals sign in it, too.
fn texts<'w>(columns: &[KeyColumn], words: &'w [String]) -> Result<Vec<&'w str>, String> {
    let named = |word: &'w String, column: &KeyColumn| word.strip_prefix(column.name.as_str())?.strip_prefix('=');
    if !words.iter().any(|word| columns.iter().any(|column| named(word, column).is_some())) {
        return match words.len() {
            given if given == columns.len() => Ok(words.iter().map(String::as_str).collect()),
            given => Err(format!("{} values are needed, and {given} are given", columns.len())),
        };
    }
    if let Some(stray) = words.iter().find(|word| columns.iter().all(|column| named(word, column).is_none())) {
        return Err(format!("\"{stray}\" names no column of the key"));
    }
    let one = |column: &KeyColumn| {
        let mut found = words.iter().filter_map(|word| named(word, column));
        match (found.next(), found.next()) {
            (Some(text), None) => Ok(text),
            (None, _) => Err(format!("{} is missing", column.name)),
            (Some(_), Some(_)) => Err(format!("{} is given twice", column.name)),
        }
    };
    columns.iter().map(one).collect()
}

/// The value that a target's column holds. The error is the form that the kind is typed in.
fn value(kind: &Kind, text: &str) -> Result<Value, &'static str> {
    let (read, form) = match kind {
        Kind::Bool => (text.parse().ok().map(Value::Bool), "true or false"),
        Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => {
            (text.parse().ok().map(Value::Int), "a whole number in its range")
        }
        Kind::Integer | Kind::Decimal => (text.parse::<BigDecimal>().ok().map(Value::Decimal), "a number: 7, -1.50"),
        Kind::Float32 | Kind::Float64 => {
            (text.parse().ok().map(|number| Value::Float64(Float(number))), "a number: 0.5")
        }
        Kind::Ascii | Kind::Text => (Some(Value::Text(text.into())), "ASCII"),
        Kind::Bytes => (bytes(text), "its bytes as 0x00ff"),
        Kind::Uuid | Kind::TimeUuid => (Some(Value::Text(text.to_lowercase().into())), "it with its hyphens"),
        Kind::Inet => (text.parse().ok().map(Value::Inet), "an address: 10.0.0.1, ::1"),
        Kind::Date => {
            let day = text.parse::<NaiveDate>().ok();
            (day.map(|day| Value::Date(day.to_epoch_days())), "2026-01-31")
        }
        Kind::Time => {
            let time = text.parse::<NaiveTime>().ok().map(|time| {
                Value::Time(
                    i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1000),
                )
            });
            (time, "12:30:00.5")
        }
        Kind::TimestampMillis | Kind::Timestamp => {
            let instant = DateTime::parse_from_rfc3339(text).ok();
            let form = "2026-01-31T12:30:00Z, no finer than the column";
            (instant.map(|instant| Value::Timestamp(instant.timestamp_micros())), form)
        }
        Kind::Duration
        | Kind::List(_)
        | Kind::Set(_)
        | Kind::Map(..)
        | Kind::Vector(..)
        | Kind::Tuple(_)
        | Kind::Struct(_) => (None, "keys of simple types only; others cannot be typed here"),
    };
    let mut value = read.and_then(|value| convert(&value, kind, Policy::default()).ok()).ok_or(form)?;
    to_key(&mut value);
    Ok(value)
}

fn bytes(text: &str) -> Option<Value> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() % 2 == 0 && digits.is_ascii())?;
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(|bytes| Value::Bytes(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[(&str, Kind)], words: &[&str]) -> Result<Vec<Value>, String> {
        let columns: Vec<KeyColumn> =
            columns.iter().map(|(name, kind)| KeyColumn { name: name.to_string(), kind: kind.clone() }).collect();
        read("t", &columns, &words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn a_key_is_pairs_in_any_order_or_values_in_that_of_the_key() {
        let columns = [("id", Kind::Int64), ("name", Kind::Text)];
        let expected = Ok(vec![Value::Int(5), Value::Text("a".into())]);
        assert_eq!(of(&columns, &["5", "a"]), expected);
        assert_eq!(of(&columns, &["id=5", "name=a"]), expected);
        assert_eq!(of(&columns, &["name=a", "id=5"]), expected);
        // A value may have an equals sign, and may be empty.
        assert_eq!(of(&columns[1..], &["x=y"]), Ok(vec![Value::Text("x=y".into())]));
        assert_eq!(of(&columns[1..], &["name=name=y"]), Ok(vec![Value::Text("name=y".into())]));
        assert_eq!(of(&columns[1..], &["name="]), Ok(vec![Value::Text("".into())]));
    }

    #[test]
    fn values_have_the_form_that_the_target_holds() {
        for (kind, text, value) in [
            (Kind::Bool, "true", Value::Bool(true)),
            (Kind::Int8, "-128", Value::Int(-128)),
            (Kind::Decimal, "1.50", Value::Decimal("1.5".parse().expect("a number"))),
            (Kind::Float32, "0.5", Value::Float32(Float(0.5))),
            (Kind::Bytes, "0x00ff", Value::Bytes(vec![0, 255].into())),
            (Kind::Date, "1970-01-02", Value::Date(1)),
            (Kind::Time, "00:00:01.5", Value::Time(1_500_000)),
            (Kind::TimestampMillis, "1970-01-01T01:00:00.001+01:00", Value::Timestamp(1_000)),
            (Kind::Inet, "::1", Value::Inet("::1".parse().expect("an address"))),
        ] {
            assert_eq!(of(&[("id", kind)], &[text]), Ok(vec![value]), "{text}");
        }
        let uuid = of(&[("id", Kind::Uuid)], &["00000000-0000-4000-8000-00000000000A"]);
        assert!(matches!(uuid.as_deref(), Ok([Value::Uuid(_)])), "{uuid:?}");
    }

    #[test]
    fn what_is_wrong_is_told_with_the_key_and_how_it_is_typed() {
        let told = |columns: &[(&str, Kind)], words: &[&str]| of(columns, words).expect_err("it is wrong");
        let two = [("user_id", Kind::Uuid), ("order_id", Kind::Int64)];
        insta::assert_snapshot!(told(&two, &["7"]), @"2 values are needed, and 1 are given: the key of t is user_id=… order_id=…");
        insta::assert_snapshot!(told(&two, &["order_id=7"]), @"user_id is missing: the key of t is user_id=… order_id=…");
        insta::assert_snapshot!(told(&two, &["order_id=7", "order_id=8"]), @"user_id is missing: the key of t is user_id=… order_id=…");
        insta::assert_snapshot!(told(&two, &["order_id=7", "oder=8"]), @r#""oder=8" names no column of the key: the key of t is user_id=… order_id=…"#);
        insta::assert_snapshot!(told(&two, &["user_id=7", "order_id=8"]), @r#"user_id = "7" is no uuid: write it with its hyphens; the key of t is user_id=… order_id=…"#);
        insta::assert_snapshot!(told(&two[1..], &["ordr_id=8"]), @r#"order_id = "ordr_id=8" is no int64: write a whole number in its range; the key of t is order_id=…"#);
        for (kind, wrong) in [
            (Kind::Int8, "128"),
            (Kind::TimeUuid, "00000000-0000-4000-8000-000000000001"),
            (Kind::TimestampMillis, "1970-01-01T00:00:00.000001Z"),
            (Kind::Bytes, "0xé"),
            (Kind::Bytes, "00"),
            (Kind::Integer, "1.5"),
            (Kind::List(Box::new(Kind::Int8)), "[1]"),
        ] {
            assert!(of(&[("id", kind.clone())], &[wrong]).is_err(), "{kind} {wrong}");
        }
    }
}
