//! Topics by pattern: a route that stands for one route of each topic that matches.

use regex::{Captures, Regex};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ops::config::guard::RewindGuard;
use crate::ops::config::routes::Route;

/// A regular expression that a topic's whole name must match.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    text: String,
    whole: Regex,
}

impl TopicPattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Route {
    /// What speaks against a route's topic or pattern, as far as the configuration alone shows it.
    pub fn topic_problems(&self) -> Vec<String> {
        let Some(pattern) = &self.topic_pattern else {
            let missing = self.topic.is_empty().then(|| "no topic: give `topic` or `topic_pattern`".to_string());
            return missing.into_iter().collect();
        };
        let mut problems = Vec::new();
        if !self.topic.is_empty() {
            problems.push("`topic` and `topic_pattern`: give one of them".into());
        }
        let known: Vec<&str> = pattern.whole.capture_names().flatten().collect();
        let deletes = self.rewind_guard.as_ref().map(|guard| &guard.deletes_table);
        let texts = [Some(&self.table), self.source_table.as_ref(), deletes].into_iter().flatten().map(String::as_str);
        for text in texts.chain(self.columns.values().filter_map(|column| column.constant_text())) {
            for name in placeholders(text).into_iter().filter(|name| !known.contains(name)) {
                problems.push(format!(
                    "\"{text}\": the pattern has no group \"{name}\": write (?<{name}>…) in it, or correct the name"
                ));
            }
        }
        problems
    }

    /// The route of a topic that its pattern matches.
    fn of_topic(&self, topic: &str, captures: &Captures<'_>) -> Route {
        let fill = |text: &str| filled(text, captures);
        Route {
            topic: topic.into(),
            topic_pattern: None,
            table: fill(&self.table),
            source_table: self.source_table.as_deref().map(fill),
            rewind_guard: self.rewind_guard.clone().map(|guard| {
                let deletes_table = fill(&guard.deletes_table);
                RewindGuard { deletes_table, ..guard }
            }),
            columns: self.columns.iter().map(|(name, column)| (name.clone(), column.filled(&fill))).collect(),
            ..self.clone()
        }
    }
}

/// The routes with those of matching topics in the place of their patterns, in the order of the file and of the topics.
pub fn expanded(routes: &[Route], topics: &[String]) -> Vec<Route> {
    let mut expanded = Vec::with_capacity(routes.len());
    for route in routes {
        match &route.topic_pattern {
            None => expanded.push(route.clone()),
            Some(pattern) => expanded.extend(topics.iter().filter_map(|topic| {
                let captures = pattern.whole.captures(topic)?;
                Some(route.of_topic(topic, &captures))
            })),
        }
    }
    expanded
}

/// The names in braces.
fn placeholders(text: &str) -> Vec<&str> {
    let name = |rest: &'_ str| rest.find('}').filter(|end| is_name(&rest[..*end]));
    text.match_indices('{').filter_map(|(at, _)| name(&text[at + 1..]).map(|end| &text[at + 1..at + 1 + end])).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The text with what the groups matched; a group that took no part in the match is empty.
fn filled(text: &str, captures: &Captures<'_>) -> String {
    let group = |name: &str| captures.name(name).map_or("", |matched| matched.as_str());
    placeholders(text)
        .into_iter()
        .fold(text.to_string(), |text, name| text.replace(&format!("{{{name}}}"), group(name)))
}

impl Serialize for TopicPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicPattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(whole) => Ok(TopicPattern { text, whole }),
            Err(error) => {
                // The error draws the pattern over several lines, and says what is wrong in the last.
                let told = error.to_string();
                let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(D::Error::custom(format!("`topic_pattern` is no regular expression: {why}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Result<Route, String> {
        let text = format!("source_key = [\"id\"]\n{text}");
        toml::from_str(&text).map_err(|error: toml::de::Error| error.message().into())
    }

    const YEARS: &str = r#"
        topic_pattern = 'shop[.]public[.]orders_(?<year>[0-9]{4})'
        table = "orders_{year}"
        source_table = "public.orders_{year}"
        columns = { year = { constant = "{year}" }, number = "id", kind = { constant = 1 } }
    "#;

    #[test]
    fn every_topic_whose_whole_name_matches_has_a_route() {
        let fixed = route("topic = \"other\"\ntable = \"t{year}\"").expect("a route");
        let topics = ["shop.public.orders_2024", "shop.public.orders_20245", "xshop.public.orders_2024", "other"];
        let topics: Vec<String> = topics.map(String::from).into();
        let routes = expanded(&[route(YEARS).expect("a route"), fixed], &topics);
        let shown: Vec<_> = routes
            .iter()
            .map(|route| (route.topic.as_str(), route.table.as_str(), route.source_table.as_deref()))
            .collect();
        let of_2024 = ("shop.public.orders_2024", "orders_2024", Some("public.orders_2024"));
        assert_eq!(shown, [of_2024, ("other", "t{year}", None)], "braces mean nothing without a pattern");
        assert_eq!(routes[0].columns["year"].constant_text(), Some("2024"));
        assert_eq!(routes[0].columns["number"].from(), Some("id"));
        let guard = "rewind_guard = { column = \"at\", deletes_table = \"gone_{year}\" }";
        let guarded = route(&format!("{YEARS}\n{guard}")).expect("a route");
        let routes = expanded(std::slice::from_ref(&guarded), &topics);
        assert_eq!(routes[0].rewind_guard.as_ref().map(|guard| &*guard.deletes_table), Some("gone_2024"));
        let misspelt = route(&format!("{YEARS}\n{}", guard.replace("year", "yaer"))).expect("a route");
        assert!(misspelt.topic_problems().join("").contains("no group \"yaer\""));
        assert!(expanded(&[route(YEARS).expect("a route")], &[]).is_empty());
    }

    #[test]
    fn what_a_pattern_does_not_say_is_refused() {
        let problems = |text: &str| route(text).expect("it can be read").topic_problems().join("\n");
        assert_eq!(problems(YEARS), "");
        insta::assert_snapshot!(problems(&YEARS.replace("orders_{year}", "orders_{yaer}")), @r#"
        "orders_{yaer}": the pattern has no group "yaer": write (?<yaer>…) in it, or correct the name
        "public.orders_{yaer}": the pattern has no group "yaer": write (?<yaer>…) in it, or correct the name
        "#);
        insta::assert_snapshot!(problems(&format!("{YEARS}\ntopic = \"t\"")), @"`topic` and `topic_pattern`: give one of them");
        insta::assert_snapshot!(problems("table = \"t\""), @"no topic: give `topic` or `topic_pattern`");
        insta::assert_snapshot!(route("table = \"t\"\ntopic_pattern = 'a(b'").expect_err("it is none"), @"`topic_pattern` is no regular expression: unclosed group");
    }
}
