//! What feeds a target column, as it is typed in a route's `columns`.

use std::fmt;

use bigdecimal::BigDecimal;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::convert::{Policy, Unrepresentable};
use crate::plan::feed::FeedSpec;
use crate::row::Value;

/// The source column's name, or what else feeds the target column and what may become of its values.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Column {
    From(String),
    Detailed(ColumnDetail),
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDetail {
    /// The source column; the target's own name when nothing is said to feed it.
    from: Option<String>,
    /// The same value in every row.
    constant: Option<Constant>,
    /// A column of the record's key.
    key: Option<String>,
    /// A header of the record, as text.
    header: Option<String>,
    /// A member of the envelope's `source`.
    source: Option<String>,
    /// What is too fine for the target is cut.
    #[serde(default)]
    lossy: bool,
    /// What the target has no value for: infinities, NaN, 24:00.
    #[serde(default)]
    unrepresentable: UnrepresentablePolicy,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum UnrepresentablePolicy {
    #[default]
    Reject,
    Clamp,
    Null,
}

/// A text, number or boolean.
#[derive(Debug, Clone, PartialEq)]
struct Constant(Value);

impl Column {
    /// The source column, where it is named.
    pub fn from(&self) -> Option<&str> {
        match self {
            Column::From(name) => Some(name),
            Column::Detailed(detail) => detail.from.as_deref().or(detail.key.as_deref()),
        }
    }

    /// The column of the record's key that feeds it, where it says so.
    pub fn key(&self) -> Option<&str> {
        match self {
            Column::From(_) => None,
            Column::Detailed(detail) => detail.key.as_deref(),
        }
    }

    /// What feeds it when that is no column of the row.
    pub fn fed(&self) -> Option<FeedSpec> {
        let Column::Detailed(detail) = self else { return None };
        let constant = detail.constant.as_ref().map(|Constant(value)| FeedSpec::Constant(value.clone()));
        constant
            .or_else(|| detail.header.clone().map(FeedSpec::Header))
            .or_else(|| detail.source.clone().map(FeedSpec::Source))
    }

    /// Its constant, where that is a text.
    pub fn constant_text(&self) -> Option<&str> {
        match self {
            Column::Detailed(ColumnDetail { constant: Some(Constant(Value::Text(text))), .. }) => Some(text),
            Column::From(_) | Column::Detailed(_) => None,
        }
    }

    /// The same with its constant filled in.
    pub fn filled(&self, fill: &impl Fn(&str) -> String) -> Column {
        match (self, self.constant_text()) {
            (Column::Detailed(detail), Some(text)) => {
                let constant = Some(Constant(Value::Text(fill(text).into())));
                Column::Detailed(ColumnDetail { constant, ..detail.clone() })
            }
            _ => self.clone(),
        }
    }

    pub fn policy(&self) -> Option<Policy> {
        match self {
            Column::From(_) => None,
            Column::Detailed(detail) => Some(Policy {
                lossy: detail.lossy,
                unrepresentable: match detail.unrepresentable {
                    UnrepresentablePolicy::Reject => Unrepresentable::Reject,
                    UnrepresentablePolicy::Clamp => Unrepresentable::Clamp,
                    UnrepresentablePolicy::Null => Unrepresentable::Null,
                },
            }),
        }
    }
}

impl ColumnDetail {
    fn feeds(&self) -> usize {
        let texts = [&self.from, &self.key, &self.header, &self.source];
        texts.into_iter().flatten().count() + usize::from(self.constant.is_some())
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Column, D::Error> {
        struct ColumnVisitor;
        impl<'de> Visitor<'de> for ColumnVisitor {
            type Value = Column;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source column's name, or { from = \"name\", lossy = true, unrepresentable = \"null\" }")
            }
            fn visit_str<E>(self, name: &str) -> Result<Column, E> {
                Ok(Column::From(name.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Column, A::Error> {
                let detail = ColumnDetail::deserialize(MapAccessDeserializer::new(map))?;
                if detail.feeds() > 1 {
                    let text =
                        "a column is fed by one thing: give one of `from`, `constant`, `key`, `header`, `source`";
                    return Err(A::Error::custom(text));
                }
                Ok(Column::Detailed(detail))
            }
        }
        deserializer.deserialize_any(ColumnVisitor)
    }
}

impl Serialize for Constant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Bool(value) => value.serialize(serializer),
            Value::Int(value) => value.serialize(serializer),
            Value::Decimal(value) => value.to_string().serialize(serializer),
            Value::Text(value) => serializer.serialize_str(value),
            // No other can be written as a constant.
            _ => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Constant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Constant, D::Error> {
        struct ConstantVisitor;
        impl Visitor<'_> for ConstantVisitor {
            type Value = Constant;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Constant, E> {
                Ok(Constant(Value::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Constant, E> {
                Ok(Constant(Value::Int(value)))
            }
            /// As exact as it is printed: TOML has no decimals, and 0.1 means one tenth.
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Constant, E> {
                let exact: Result<BigDecimal, _> = value.to_string().parse();
                exact.map(|exact| Constant(Value::Decimal(exact))).map_err(|_| E::custom("a constant is no number"))
            }
            fn visit_str<E>(self, value: &str) -> Result<Constant, E> {
                Ok(Constant(Value::Text(value.into())))
            }
        }
        deserializer.deserialize_any(ConstantVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Column, String> {
        #[derive(Deserialize)]
        struct Line {
            column: Column,
        }
        let line: Result<Line, toml::de::Error> = toml::from_str(&format!("column = {text}"));
        line.map(|line| line.column).map_err(|error| error.message().into())
    }

    #[test]
    fn a_column_is_fed_by_one_thing() {
        let fed = |text: &str| read(text).expect("a column").fed();
        let constant = |value| Some(FeedSpec::Constant(value));
        assert_eq!(fed(r#"{ constant = "eu" }"#), constant(Value::Text("eu".into())));
        assert_eq!(fed("{ constant = 7 }"), constant(Value::Int(7)));
        assert_eq!(fed("{ constant = true }"), constant(Value::Bool(true)));
        assert_eq!(fed("{ constant = 0.10 }"), constant(Value::Decimal("0.1".parse().expect("a number"))));
        assert_eq!(fed(r#"{ header = "tenant" }"#), Some(FeedSpec::Header("tenant".into())));
        assert_eq!(fed(r#"{ source = "lsn" }"#), Some(FeedSpec::Source("lsn".into())));
        assert_eq!(fed(r#"{ key = "id" }"#), None);
        assert_eq!(read(r#"{ key = "id" }"#).expect("a column").from(), Some("id"));
        for wrong in [r#"{ from = "a", header = "b" }"#, r#"{ constant = 1, key = "id" }"#] {
            assert!(read(wrong).is_err_and(|text| text.contains("fed by one thing")));
        }
        assert!(read("{ constant = [1] }").is_err_and(|text| text.contains("a text, a number or a boolean")));
        assert!(read("{ constant = nan }").is_err_and(|text| text.contains("no number")));
    }
}
