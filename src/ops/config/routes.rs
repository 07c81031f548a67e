//! Routes and the connector's settings as they are typed, and the routes that they mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ops::config::columns::Column;
use crate::ops::config::guard::RewindGuard;
use crate::ops::config::pattern::TopicPattern;
use crate::ops::config::ttl::Ttl;
use crate::plan::route::{Apply, Consistency, OnTruncate, RouteSpec};
use crate::row::wire::{BinaryMode, DecimalMode, HstoreMode, IntervalMode, Modes, TimeMode};
use crate::row::{Format, UNAVAILABLE_DEFAULT, Unmapped};

/// A topic's way into a table.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The topic to read. One topic may have several routes.
    #[serde(default)]
    pub topic: String,
    /// Changes only, in the place of `topic`: every topic whose whole name matches. `{group}` in `table`, `source_table`
    /// and constants stands for what the group of that name matched.
    pub topic_pattern: Option<TopicPattern>,
    /// The target's table. Its key and types are read from the live schema.
    pub table: String,
    /// The primary key of the source table, or the id of the business event.
    pub source_key: Vec<String>,
    /// Target column = what feeds it, where the names differ or values need leave to change.
    #[serde(default)]
    pub columns: BTreeMap<String, Column>,
    /// Target columns that the route leaves alone.
    #[serde(default)]
    pub drop: Vec<String>,
    /// Changes only: the table that the topic's records come from, as `schema.table`. A topic's name cannot say it:
    /// dots in it mean nothing certain, and connectors rename topics.
    pub source_table: Option<String>,
    /// Changes only: what a row must meet to be in the table, all of it: `status != 'DRAFT'`, `deleted_at is null`.
    #[serde(default, rename = "where")]
    pub conditions: Vec<String>,
    /// Changes only: when rows end by themselves, `30d` after the record's time or when a column of theirs says.
    pub ttl: Option<Ttl>,
    /// Changes only: how many replicas have a write before it counts, under CQL's names. LOCAL_QUORUM when it is not given.
    pub consistency: Option<Consistency>,
    /// Changes only: keeps readers from seeing a row go back after the connector has crashed (V6). Off when it is not given.
    pub rewind_guard: Option<RewindGuard>,
    /// The flag column that a delete sets instead of deleting. Business events need one.
    pub soft_delete: Option<String>,
    /// Business events only: the target's column that says when a row was modified, by which events that are produced
    /// again (`cdcconsumer dead-letters redrive --reproduce`) are kept from going over a newer row.
    pub modified_at: Option<String>,
    /// Changes only: whole envelopes, or the rows alone (`ExtractNewRecordState`).
    pub format: Option<ChangeFormat>,
    /// Source column = its Postgres type, where nothing else says it: `numeric(10,2)`, `timestamptz`, `enum`, `int[]`.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// What a record's column does that no route wants.
    #[serde(default)]
    pub unmapped: UnmappedPolicy,
    /// Source columns that no route wants, and that need not be spoken of.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// What a TRUNCATE of the source does: the partition stops in front of it, or passes over it and the rows stay.
    #[serde(default)]
    pub on_truncate: TruncatePolicy,
    /// Settings of the connector that writes this topic, over those of `[source.debezium]`.
    #[serde(default)]
    pub debezium: Debezium,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeFormat {
    Envelope,
    Flat,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnmappedPolicy {
    Ignore,
    #[default]
    Warn,
    Stop,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TruncatePolicy {
    #[default]
    Stop,
    Ignore,
}

/// The connector's settings that decide what its records look like, under Debezium's names.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Debezium {
    /// `decimal.handling.mode`; `precise` when it is not given.
    decimal_handling_mode: Option<DecimalMode>,
    /// `time.precision.mode`; `adaptive` when it is not given.
    time_precision_mode: Option<TimeMode>,
    /// `binary.handling.mode`; `bytes` when it is not given.
    binary_handling_mode: Option<BinaryMode>,
    /// `interval.handling.mode`; `numeric` when it is not given.
    interval_handling_mode: Option<IntervalMode>,
    /// `hstore.handling.mode`; `json` when it is not given.
    hstore_handling_mode: Option<HstoreMode>,
    /// `include.unknown.datatypes`; false when it is not given.
    include_unknown_datatypes: Option<bool>,
    /// `unavailable.value.placeholder`: what stands for an unchanged large value.
    unavailable_value_placeholder: Option<String>,
    /// `signal.data.collection`, as `schema.table`: where `backfill` writes its signals.
    pub signal_data_collection: Option<String>,
    /// `signal.kafka.topic`: where `backfill` sends its signals, if not to the table.
    pub signal_kafka_topic: Option<String>,
    /// `notification.sink.topic.name`: what `backfill --wait` and `verify --repair` follow.
    pub notification_topic: Option<String>,
    /// `topic.prefix`, where topics are not called as Debezium calls them by itself.
    pub topic_prefix: Option<String>,
    /// `value.converter.schemas.enable`: every record brings its schema.
    schemas: Option<bool>,
    /// `value.converter.replace.null.with.default`: a null may arrive as its column's default, as Connect does it when
    /// nothing is said.
    replace_null_with_default: Option<bool>,
}

impl Route {
    /// What a route of business events means.
    pub fn events(&self, connector: &Debezium) -> RouteSpec {
        RouteSpec {
            format: Format::Event,
            unmapped: Unmapped::Ignore,
            apply: Apply::Events {
                soft_delete: self.soft_delete.clone().unwrap_or_default(),
                modified_at: self.modified_at.clone(),
            },
            soft_delete: None,
            ..self.spec(connector)
        }
    }

    /// What a route of changes means. `connector` is the settings that stand where the route has none of its own.
    pub fn spec(&self, connector: &Debezium) -> RouteSpec {
        let key: Vec<&str> = self.source_key.iter().map(String::as_str).collect();
        let named = |(target, column): (&String, &Column)| Some((target.clone(), column.from()?.to_string()));
        let fed = |(target, column): (&String, &Column)| Some((target.clone(), column.fed()?));
        let allowed = |(target, column): (&String, &Column)| Some((target.clone(), column.policy()?));
        let debezium = self.debezium.over(connector);
        let except = self.ignore.clone();
        RouteSpec {
            renamed: self.columns.iter().filter_map(named).collect(),
            fed: self.columns.iter().filter_map(fed).collect(),
            dropped: self.drop.clone(),
            conditions: self.conditions.clone(),
            ttl: self.ttl.as_ref().map(Ttl::spec),
            consistency: self.consistency.unwrap_or_default(),
            guard: self.rewind_guard.as_ref().map(RewindGuard::spec),
            policies: self.columns.iter().filter_map(allowed).collect(),
            format: match self.format {
                Some(ChangeFormat::Flat) => Format::Flat,
                Some(ChangeFormat::Envelope) | None => Format::Envelope,
            },
            soft_delete: self.soft_delete.clone(),
            modes: debezium.modes(),
            types: self.types.clone(),
            schemas: debezium.schemas.unwrap_or_default(),
            on_truncate: match self.on_truncate {
                TruncatePolicy::Stop => OnTruncate::Stop,
                TruncatePolicy::Ignore => OnTruncate::Ignore,
            },
            unmapped: match self.unmapped {
                UnmappedPolicy::Ignore => Unmapped::Ignore,
                UnmappedPolicy::Warn => Unmapped::Warn { except },
                UnmappedPolicy::Stop => Unmapped::Stop { except },
            },
            unavailable: debezium.unavailable_value_placeholder.unwrap_or_else(|| UNAVAILABLE_DEFAULT.into()),
            signal_table: debezium.signal_data_collection.as_deref().and_then(schema_and_table),
            replaces_null: debezium.replace_null_with_default.unwrap_or(true),
            ..RouteSpec::new(&self.topic, &self.table, &key)
        }
    }
}

impl Route {
    /// The topic, or the pattern of topics, as a message names it.
    pub fn topics(&self) -> &str {
        self.topic_pattern.as_ref().map_or(&self.topic, TopicPattern::as_str)
    }

    /// What the route says that cannot be, whatever the servers have.
    pub fn problems(&self) -> Vec<String> {
        let keys = self.columns.iter().filter_map(|(target, column)| Some((target, column.key()?)));
        let unknown = keys.filter(|(_, key)| !self.source_key.iter().any(|name| name == key)).map(|(target, key)| {
            format!(
                "`columns`, {target}: the record's key has no column \"{key}\": its columns are those of `source_key`"
            )
        });
        let guard = self.rewind_guard.iter().flat_map(RewindGuard::problems);
        self.topic_problems().into_iter().chain(unknown).chain(guard).collect()
    }

    /// The settings of this route that only changes have.
    pub fn for_changes(&self) -> impl Iterator<Item = &'static str> + use<> {
        let given = [
            ("topic_pattern", self.topic_pattern.is_some()),
            ("source_table", self.source_table.is_some()),
            ("format", self.format.is_some()),
            ("types", !self.types.is_empty()),
            ("ignore", !self.ignore.is_empty()),
            ("where", !self.conditions.is_empty()),
            ("ttl", self.ttl.is_some()),
            ("consistency", self.consistency.is_some()),
            ("rewind_guard", self.rewind_guard.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(setting, _)| setting)
    }
}

/// The last dot divides: a schema's name may have dots, and a table's hardly ever.
fn schema_and_table(name: &str) -> Option<(String, String)> {
    name.rsplit_once('.').map(|(schema, table)| (schema.into(), table.into()))
}

impl Debezium {
    /// These settings, and those of `base` where these say nothing.
    pub fn over(&self, base: &Debezium) -> Debezium {
        let text = |mine: &Option<String>, base: &Option<String>| mine.as_ref().or(base.as_ref()).cloned();
        Debezium {
            decimal_handling_mode: self.decimal_handling_mode.or(base.decimal_handling_mode),
            time_precision_mode: self.time_precision_mode.or(base.time_precision_mode),
            binary_handling_mode: self.binary_handling_mode.or(base.binary_handling_mode),
            interval_handling_mode: self.interval_handling_mode.or(base.interval_handling_mode),
            hstore_handling_mode: self.hstore_handling_mode.or(base.hstore_handling_mode),
            include_unknown_datatypes: self.include_unknown_datatypes.or(base.include_unknown_datatypes),
            unavailable_value_placeholder: text(
                &self.unavailable_value_placeholder,
                &base.unavailable_value_placeholder,
            ),
            signal_data_collection: text(&self.signal_data_collection, &base.signal_data_collection),
            signal_kafka_topic: text(&self.signal_kafka_topic, &base.signal_kafka_topic),
            notification_topic: text(&self.notification_topic, &base.notification_topic),
            topic_prefix: text(&self.topic_prefix, &base.topic_prefix),
            schemas: self.schemas.or(base.schemas),
            replace_null_with_default: self.replace_null_with_default.or(base.replace_null_with_default),
        }
    }

    /// How a connector with these settings writes its values.
    pub fn modes(&self) -> Modes {
        Modes {
            decimal_handling_mode: self.decimal_handling_mode.unwrap_or_default(),
            time_precision_mode: self.time_precision_mode.unwrap_or_default(),
            binary_handling_mode: self.binary_handling_mode.unwrap_or_default(),
            interval_handling_mode: self.interval_handling_mode.unwrap_or_default(),
            hstore_handling_mode: self.hstore_handling_mode.unwrap_or_default(),
            include_unknown_datatypes: self.include_unknown_datatypes.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::convert::{Policy, Unrepresentable};

    fn read(text: &str) -> Result<Route, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_string())
    }

    const ROUTE: &str = "topic = \"t\"\ntable = \"t\"\nsource_key = [\"id\"]\n";

    #[test]
    fn a_route_says_what_its_topic_is_like_over_the_connectors_settings() {
        let connector: Debezium = toml::from_str(
            "decimal_handling_mode = \"string\"\nschemas = true\nsignal_data_collection = \"a.b.signal\"",
        )
        .expect("settings of Debezium");
        let route = "format = \"flat\"\nunmapped = \"stop\"\nignore = [\"x\"]\non_truncate = \"ignore\"\n\
                     types = { n = \"numeric\" }\ndebezium = { schemas = false, time_precision_mode = \"isostring\" }\n\
                     columns = { a = \"b\", c = { lossy = true }, d = { from = \"e\", unrepresentable = \"clamp\" } }";
        let spec = read(&format!("{ROUTE}{route}")).expect("a route").spec(&connector);
        assert_eq!((spec.format, spec.on_truncate, spec.schemas), (Format::Flat, OnTruncate::Ignore, false));
        assert_eq!(spec.unmapped, Unmapped::Stop { except: vec!["x".into()] });
        assert_eq!(spec.modes.decimal_handling_mode, DecimalMode::String);
        assert_eq!(spec.modes.time_precision_mode, TimeMode::Isostring);
        assert_eq!(spec.signal_table, Some(("a.b".into(), "signal".into())));
        assert_eq!((spec.source_of("a"), spec.source_of("c"), spec.source_of("d")), (Some("b"), Some("c"), Some("e")));
        let policy = |lossy, unrepresentable| Some(Policy { lossy, unrepresentable });
        assert_eq!(spec.policies.get("a"), None);
        assert_eq!(spec.policies.get("c").copied(), policy(true, Unrepresentable::Reject));
        assert_eq!(spec.policies.get("d").copied(), policy(false, Unrepresentable::Clamp));
        assert!(spec.replaces_null, "as Kafka Connect does when nobody says otherwise");
    }

    #[test]
    fn what_is_misspelt_is_named_with_what_could_stand_there() {
        let told = |text: &str| read(&format!("{ROUTE}{text}")).expect_err("it is wrong");
        insta::assert_snapshot!(told("columns = { a = { form = \"b\" } }"), @"unknown field `form`, expected one of `from`, `constant`, `key`, `header`, `source`, `lossy`, `unrepresentable`");
        insta::assert_snapshot!(told("columns = { a = 1 }"), @r#"invalid type: integer `1`, expected a source column's name, or { from = "name", lossy = true, unrepresentable = "null" }"#);
        insta::assert_snapshot!(told("consistency = \"QUORUMM\""), @"unknown variant `QUORUMM`, expected one of `LOCAL_QUORUM`, `QUORUM`, `EACH_QUORUM`, `ALL`, `LOCAL_ONE`, `ONE`, `TWO`, `THREE`");
        insta::assert_snapshot!(told("unmapped = \"fail\""), @"unknown variant `fail`, expected one of `ignore`, `warn`, `stop`");
        insta::assert_snapshot!(told("debezium = { decimal_handling_mode = \"exact\" }"), @"unknown variant `exact`, expected one of `precise`, `double`, `string`");
    }
}
