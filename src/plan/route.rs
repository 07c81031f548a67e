//! Routes: which columns of a topic go to which table, as they are written and as they are ready to plan with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::convert::Policy;
use crate::plan::feed::{Feed, FeedSpec};
use crate::plan::filter::Filter;
use crate::plan::source::SourceFacts;
use crate::plan::ttl::{Ttl, TtlSpec};
use crate::row::wire::Modes;
use crate::row::{Column, Format, Kind, Shape, UNAVAILABLE_DEFAULT, Unmapped};

/// A route as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    pub topic: String,
    pub table: String,
    /// The primary key of the source table, as the record's key names it.
    pub source_key: Vec<String>,
    /// Target column → source column, where the names differ.
    pub renamed: BTreeMap<String, String>,
    /// Target column → what feeds it, where that is no column of the row under a name.
    pub fed: BTreeMap<String, FeedSpec>,
    /// Target columns that the route leaves alone.
    pub dropped: Vec<String>,
    /// `where`: what a row must meet to be in the target, all of it.
    pub conditions: Vec<String>,
    /// When rows end by themselves.
    pub ttl: Option<TtlSpec>,
    pub consistency: Consistency,
    /// What the target keeps so that its readers never see a row go back (V6).
    pub guard: Option<RewindGuard>,
    /// The boolean target column that a delete of the source sets instead of deleting. Mirrored tables only.
    pub soft_delete: Option<String>,
    /// Target column → what becomes of values that it cannot hold, where that is not to reject them.
    pub policies: BTreeMap<String, Policy>,
    pub format: Format,
    /// How the connector writes its values.
    pub modes: Modes,
    /// Source column → Postgres type, as a person declared it.
    pub types: BTreeMap<String, String>,
    /// The source table as the live catalog describes it, where it could be asked.
    pub source: Option<SourceFacts>,
    /// Every record brings a schema block, so that types need not be known before.
    pub schemas: bool,
    pub on_truncate: OnTruncate,
    pub unmapped: Unmapped,
    /// Debezium's `unavailable.value.placeholder`.
    pub unavailable: String,
    /// Debezium's `signal.data.collection`, as schema and table.
    pub signal_table: Option<(String, String)>,
    /// The source table, when columns that a moved row lacks can be read from it.
    pub reselect: Option<String>,
    /// Kafka Connect's converters may send a column's default instead of its null (their own default).
    pub replaces_null: bool,
    pub apply: Apply,
}

/// How many replicas have a write before it counts as durable, under CQL's names. For sinks that have replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consistency {
    #[default]
    LocalQuorum,
    Quorum,
    EachQuorum,
    All,
    LocalOne,
    One,
    Two,
    Three,
}

/// The rewind guard of a route: where the target keeps the position of each row's last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewindGuard {
    /// The column for it, in the route's table and in that of its deletes.
    pub column: String,
    /// The table that keeps it for rows that are gone, with the key of the route's table.
    pub deletes_table: String,
    /// How long it is kept there: the replay window. A delete that a connector sends again later is applied again.
    pub deletes_ttl_seconds: u32,
}

/// What a TRUNCATE of the source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTruncate {
    /// The partition stops: a person decides.
    #[default]
    Stop,
    /// It is passed over, and the rows stay.
    Ignore,
}

impl RouteSpec {
    /// A route with the defaults of everything that it does not have to say.
    pub fn new(topic: &str, table: &str, source_key: &[&str]) -> RouteSpec {
        RouteSpec {
            topic: topic.into(),
            table: table.into(),
            source_key: source_key.iter().map(|name| name.to_string()).collect(),
            renamed: BTreeMap::new(),
            fed: BTreeMap::new(),
            dropped: Vec::new(),
            conditions: Vec::new(),
            ttl: None,
            consistency: Consistency::LocalQuorum,
            guard: None,
            soft_delete: None,
            policies: BTreeMap::new(),
            format: Format::Envelope,
            modes: Modes::default(),
            types: BTreeMap::new(),
            source: None,
            schemas: false,
            on_truncate: OnTruncate::Stop,
            unmapped: Unmapped::Ignore,
            unavailable: UNAVAILABLE_DEFAULT.into(),
            signal_table: None,
            reselect: None,
            replaces_null: true,
            apply: Apply::Mirror,
        }
    }

    /// A route of business events, with the same defaults.
    pub fn events(topic: &str, table: &str, source_key: &[&str], soft_delete: &str) -> RouteSpec {
        let apply = Apply::Events { soft_delete: soft_delete.into(), modified_at: None };
        RouteSpec { format: Format::Event, apply, ..RouteSpec::new(topic, table, source_key) }
    }
}

/// What the topic's records say about rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// The table mirrors its source: every change is taken as the newest state of its row.
    Mirror,
    /// Business events: CREATE expects no row, UPDATE and DELETE expect one, DELETE sets the flag column. `modified_at`
    /// is the target's column that says which of an event and its row is newer, for events that were produced again.
    Events { soft_delete: String, modified_at: Option<String> },
}

/// A table as the target's server describes it. The key is in the order of the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTable {
    pub name: String,
    pub columns: Vec<Column>,
    pub key: Vec<String>,
}

/// Every route of a binary, ready to plan with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    pub topics: Vec<Topic>,
    pub routes: Vec<Route>,
    /// What a person should know before the first record moves: losses that the configuration allows, and what the
    /// source's settings hide.
    pub notices: Vec<String>,
}

/// What is read from a topic, and which routes it feeds (indexes into [`Routes::routes`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub shape: Shape,
    pub routes: Vec<usize>,
    pub on_truncate: OnTruncate,
}

/// A topic's way into one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub topic: String,
    pub table: String,
    pub columns: Vec<RouteColumn>,
    /// The target's primary key, in its order: indexes into `columns`.
    pub key: Vec<usize>,
    /// The target's key holds columns that are not in the source's key, so a row can move.
    pub moves: bool,
    /// What a row must meet to be in the target.
    pub filter: Filter,
    /// When rows end by themselves.
    pub ttl: Option<Ttl>,
    pub consistency: Consistency,
    pub guard: Option<RewindGuard>,
    /// The column that a delete of the source sets instead of deleting: index into `columns`.
    pub soft_delete: Option<usize>,
    /// The source table, when columns that a moved row lacks can be read from it.
    pub reselect: Option<String>,
    pub apply: Apply,
}

/// One column of the target and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteColumn {
    pub name: String,
    pub kind: Kind,
    pub feed: Feed,
    pub policy: Policy,
}

impl Routes {
    /// Whether some route of this topic asks for positions (V6).
    pub fn is_guarded(&self, topic: &str) -> bool {
        self.topic(topic).is_some_and(|topic| topic.shape.positions)
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// How a dead letter names what refused a record: the route, or else every route that its topic feeds.
    pub fn refusing(&self, topic: &str, route: Option<usize>) -> String {
        let feeds = self.topic(topic).map_or(&[][..], |topic| &topic.routes);
        match route {
            Some(at) => self.routes[at].name(),
            None => {
                let tables: Vec<&str> = feeds.iter().map(|at| self.routes[*at].table.as_str()).collect();
                format!("{topic} → {}", tables.join(", "))
            }
        }
    }
}

impl Route {
    /// How a dead letter and a message name the route.
    pub fn name(&self) -> String {
        format!("{} → {}", self.topic, self.table)
    }
}

impl RouteSpec {
    /// How a message names the route.
    pub fn name(&self) -> String {
        format!("{} → {}", self.topic, self.table)
    }

    /// The source column that feeds this target column: the same name, unless the route renames it. `None` when it is
    /// fed by something else, or by nothing.
    pub fn source_of<'a>(&'a self, target: &'a str) -> Option<&'a str> {
        let beside = self.is_left_alone(target) || self.fed.contains_key(target);
        (!beside).then(|| self.renamed.get(target).map_or(target, String::as_str))
    }

    /// Whether no value of a record goes into this target column.
    pub fn is_left_alone(&self, target: &str) -> bool {
        self.dropped.iter().any(|name| name == target)
            || self.guard.as_ref().is_some_and(|guard| guard.column == target)
    }

    /// The column that business events set as a flag, which no member of theirs feeds.
    pub fn is_flag(&self, target: &str) -> bool {
        matches!(&self.apply, Apply::Events { soft_delete, .. } if soft_delete == target)
    }

    /// The same route with these source columns and Postgres types declared.
    pub fn typed(mut self, types: &[(&str, &str)]) -> RouteSpec {
        self.types.extend(types.iter().map(|(name, pg_type)| (name.to_string(), pg_type.to_string())));
        self
    }
}
