//! `[kafka.properties]`: librdkafka's own settings, under its own names.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::ops::config::MASK;

/// Names and values for librdkafka, or names and files that hold the values. Names alone are printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
pub struct Properties(pub BTreeMap<String, String>);

impl TryFrom<Table> for Properties {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let mut properties = BTreeMap::new();
        for (name, value) in flat(&table)? {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Boolean(flag) => flag.to_string(),
                _ => return Err(format!("{name}: give a string, a number, true or false")),
            };
            properties.insert(name, text);
        }
        Ok(Properties(properties))
    }
}

/// Sets a property over those of the file, however they are nested there.
pub(super) fn set(table: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let mut properties: Table = flat(table)?.into_iter().map(|(name, value)| (name, value.clone())).collect();
    properties.insert(name.into(), Value::String(value.into()));
    *table = properties;
    Ok(())
}

/// Takes a property out of those of the file.
pub(super) fn remove(table: &mut Table, name: &str) {
    if let Some((first, rest)) = name.split_once('.')
        && let Some(Value::Table(below)) = table.get_mut(first)
    {
        remove(below, rest);
    }
    table.remove(name);
}

/// Names as librdkafka has them: TOML makes tables of `sasl.mechanism` where the name is not quoted.
fn flat(table: &Table) -> Result<BTreeMap<String, &Value>, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(String, &Value)> = table.iter().map(|(name, value)| (name.clone(), value)).collect();
    while let Some((name, value)) = open.pop() {
        match value {
            Value::Table(below) => open.extend(below.iter().map(|(part, value)| (format!("{name}.{part}"), value))),
            value => {
                if found.insert(name.clone(), value).is_some() {
                    return Err(format!("{name} is given twice, in quotes and without: give it once"));
                }
            }
        }
    }
    Ok(found)
}

/// Properties whose values are no secrets. Of all others only the names are told.
const TOLD: [&str; 7] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
];

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = |name: &str| TOLD.contains(&name);
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, if told(name) { value } else { MASK })))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
