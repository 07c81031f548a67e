//! A route's `rewind_guard` as it is typed: where the target keeps positions, and for how long after a delete.

use serde::{Deserialize, Serialize};

use crate::ops::config::ttl::seconds;
use crate::plan::route;

/// The position of a row's last change goes into `column` of the route's table, and into `deletes_table` when the row
/// is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RewindGuard {
    /// The blob column of the route's table that keeps where its row's last change stood in the source's log.
    pub column: String,
    /// The table that keeps it for rows that are gone, with the key of the route's table.
    pub deletes_table: String,
    /// How long it is kept there, a week when it is not given. A connector that comes back later than that after its crash may bring deleted rows back for a moment.
    pub deletes_ttl: Option<String>,
}

/// A connector that is down for longer than a week has mostly lost its slot.
const DELETES_TTL_SECONDS: u32 = 7 * 86_400;
/// The longest time to live that Cassandra takes: 20 years.
const DELETES_TTL_SECONDS_MAX: u32 = 20 * 365 * 86_400;

impl RewindGuard {
    pub fn spec(&self) -> route::RewindGuard {
        let deletes_ttl = self.deletes_ttl.as_deref().and_then(seconds);
        route::RewindGuard {
            column: self.column.clone(),
            deletes_table: self.deletes_table.clone(),
            deletes_ttl_seconds: deletes_ttl.unwrap_or(DELETES_TTL_SECONDS),
        }
    }

    /// What cannot be, whatever the servers have.
    pub fn problems(&self) -> Vec<String> {
        let empty = [("column", &self.column), ("deletes_table", &self.deletes_table)];
        let empty = empty.into_iter().filter(|(_, name)| name.is_empty());
        let mut problems: Vec<String> =
            empty.map(|(setting, _)| format!("`rewind_guard`: `{setting}` is empty: name one")).collect();
        let fits = |text: &String| seconds(text).is_some_and(|seconds| seconds <= DELETES_TTL_SECONDS_MAX);
        if let Some(wrong) = self.deletes_ttl.as_ref().filter(|text| !fits(text)) {
            problems.push(format!(
                "`rewind_guard`: deletes_ttl = \"{wrong}\": give a whole number above 0 and a unit, at most 20 years: \
                 \"12h\", \"30d\""
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RewindGuard, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_string())
    }

    #[test]
    fn deletes_are_kept_for_a_week_unless_it_is_said() {
        let names = "column = \"at\"\ndeletes_table = \"gone\"\n";
        let kept = |ttl: &str| read(&format!("{names}{ttl}")).expect("it fits").spec().deletes_ttl_seconds;
        assert_eq!((kept(""), kept("deletes_ttl = \"12h\"")), (604_800, 43_200));
        let problems = |ttl: &str| read(&format!("{names}deletes_ttl = \"{ttl}\"")).expect("it is read").problems();
        assert!(problems("7300d").is_empty());
        for wrong in ["", "0d", "7301d", "1w", "soon"] {
            assert_eq!(problems(wrong).len(), 1, "{wrong}");
        }
        let empty = read("column = \"\"\ndeletes_table = \"\"").expect("it is read").problems();
        insta::assert_snapshot!(empty.join("\n"), @r"
        `rewind_guard`: `column` is empty: name one
        `rewind_guard`: `deletes_table` is empty: name one
        ");
        insta::assert_snapshot!(read("column = \"at\"").expect_err("no table"), @"missing field `deletes_table`");
        insta::assert_snapshot!(read("colum = \"at\"").expect_err("misspelt"), @"unknown field `colum`, expected one of `column`, `deletes_table`, `deletes_ttl`");
    }
}
