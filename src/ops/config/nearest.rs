//! What somebody who misspelt a setting meant.

/// The known word that is nearest to this one, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of a word's letters may be wrong, and one of a short word.
    let near_enough = (word.chars().count() / 3).max(1);
    let distance = |known: &str| strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase());
    let found = known.into_iter().map(|known| (distance(known), known)).min_by_key(|(distance, _)| *distance);
    found.filter(|(distance, _)| *distance <= near_enough).map(|(_, known)| known)
}

/// serde's complaint about an unknown setting or choice, with the nearest known one in the place of them all.
pub fn with_nearest(message: &str) -> String {
    let in_ticks: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let meant = match in_ticks.split_first() {
        Some((word, known)) if is_unknown => nearest(word, known.iter().copied()),
        _ => None,
    };
    match (meant, message.split_once(", expected")) {
        (Some(meant), Some((unknown, _))) => format!("{unknown}, did you mean `{meant}`?"),
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_nearest_is_named_when_it_is_near() {
        let known = ["topic", "table", "source_key", "source_table", "soft_delete", "ttl"];
        let meant = |word| nearest(word, known);
        assert_eq!(meant("tabel"), Some("table"));
        assert_eq!(meant("Table"), Some("table"));
        assert_eq!(meant("sourcekey"), Some("source_key"));
        assert_eq!(meant("softdelete"), Some("soft_delete"));
        assert_eq!(meant("tll"), Some("ttl"));
        assert_eq!(meant("xyz"), None);
        assert_eq!(meant("group_id"), None);
        assert_eq!(meant(""), None);
    }

    #[test]
    fn serdes_complaint_is_shortened_only_when_something_is_near() {
        let of = |text: &str| {
            with_nearest(toml::from_str::<crate::ops::config::routes::Route>(text).expect_err("it is wrong").message())
        };
        let route = "topic = \"t\"\ntable = \"t\"\nsource_key = [\"id\"]\n";
        assert_snapshot!(of("tabel = \"t\""), @"unknown field `tabel`, did you mean `table`?");
        assert_snapshot!(of(&format!("{route}columns = {{ a = {{ form = \"b\" }} }}")), @"unknown field `form`, did you mean `from`?");
        assert_snapshot!(of(&format!("{route}ttl = {{ colum = \"b\" }}")), @"unknown field `colum`, did you mean `column`?");
        assert_snapshot!(of(&format!("{route}debezium = {{ decimal_mode = \"b\" }}")), @"unknown field `decimal_mode`, expected one of `decimal_handling_mode`, `time_precision_mode`, `binary_handling_mode`, `interval_handling_mode`, `hstore_handling_mode`, `include_unknown_datatypes`, `unavailable_value_placeholder`, `signal_data_collection`, `signal_kafka_topic`, `notification_topic`, `topic_prefix`, `schemas`, `replace_null_with_default`");
        assert_snapshot!(of(&format!("{route}debezium = {{ decimal_handling_modes = \"b\" }}")), @"unknown field `decimal_handling_modes`, did you mean `decimal_handling_mode`?");
        assert_snapshot!(of(&format!("{route}consistency = \"LOCAL_QUORM\"")), @"unknown variant `LOCAL_QUORM`, did you mean `LOCAL_QUORUM`?");
        assert_snapshot!(of(&format!("{route}ttl = {{ colour = \"b\" }}")), @"unknown field `colour`, expected `column`");
        assert_snapshot!(of("topic = 1"), @"invalid type: integer `1`, expected a string");
    }
}
