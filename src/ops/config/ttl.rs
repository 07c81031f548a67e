//! A route's `ttl` as it is typed: `30d`, or the column that says when a row ends.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::ttl::TtlSpec;

/// When rows end by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ttl(TtlSpec);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ByColumn {
    column: String,
}

impl Ttl {
    pub fn spec(&self) -> TtlSpec {
        self.0.clone()
    }
}

/// A whole number and a unit, as seconds.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u32>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            TtlSpec::Seconds(seconds) => format!("{seconds}s").serialize(serializer),
            TtlSpec::Column(column) => ByColumn { column: column.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ttl, D::Error> {
        struct TtlVisitor;
        impl<'de> Visitor<'de> for TtlVisitor {
            type Value = Ttl;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as in \"90s\", \"15m\", \"12h\" or \"30d\", or { column = \"expires_at\" }")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Ttl, E> {
                let problem =
                    || E::custom("`ttl` is a whole number above 0 and a unit: \"90s\", \"15m\", \"12h\", \"30d\"");
                seconds(text).map(|seconds| Ttl(TtlSpec::Seconds(seconds))).ok_or_else(problem)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ttl, A::Error> {
                let ByColumn { column } = ByColumn::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Ttl(TtlSpec::Column(column)))
            }
        }
        deserializer.deserialize_any(TtlVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, expected) in
            [("1s", 1), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("49710d", 4_294_944_000)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for wrong in ["", "d", "30", "30 d", "-1d", "0s", "1w", "49711d", "1.5h", "d30", "3é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
