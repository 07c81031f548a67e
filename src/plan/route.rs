//! Routes: which columns of a topic go to which table, resolved against the target's live schema before anything runs.

use std::collections::BTreeMap;

use crate::plan::convert::Policy;
use crate::row::wire::{Modes, Wire};
use crate::row::{Column, Field, Format, Kind, Shape, UNAVAILABLE_DEFAULT, Unmapped};

/// A route as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    pub topic: String,
    pub table: String,
    /// The primary key of the source table, as the record's key names it.
    pub source_key: Vec<String>,
    /// Target column → source column, where the names differ.
    pub renamed: BTreeMap<String, String>,
    /// Target column → what becomes of values that it cannot hold, where that is not to reject them.
    pub policies: BTreeMap<String, Policy>,
    pub format: Format,
    /// How the connector writes its values.
    pub modes: Modes,
    /// Source column → Postgres type, from the configuration or the source's catalog.
    pub types: BTreeMap<String, String>,
    /// Every record brings a schema block, so that types need not be known before.
    pub schemas: bool,
    pub on_truncate: OnTruncate,
    pub unmapped: Unmapped,
    pub unavailable: String,
    pub signal_table: Option<(String, String)>,
    /// Columns that a moved row lacks can be read from the source.
    pub reselect: bool,
    pub apply: Apply,
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
            policies: BTreeMap::new(),
            format: Format::Envelope,
            modes: Modes::default(),
            types: BTreeMap::new(),
            schemas: false,
            on_truncate: OnTruncate::Stop,
            unmapped: Unmapped::Ignore,
            unavailable: UNAVAILABLE_DEFAULT.into(),
            signal_table: None,
            reselect: false,
            apply: Apply::Mirror,
        }
    }

    /// A route of business events, with the same defaults.
    pub fn events(topic: &str, table: &str, source_key: &[&str], soft_delete: &str) -> RouteSpec {
        let apply = Apply::Events { soft_delete: soft_delete.into() };
        RouteSpec { format: Format::Event, apply, ..RouteSpec::new(topic, table, source_key) }
    }
}

/// What the topic's records say about rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// The table mirrors its source: every change is taken as the newest state of its row.
    Mirror,
    /// Business events: CREATE expects no row, UPDATE and DELETE expect one, DELETE sets the flag column.
    Events { soft_delete: String },
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
}

/// What is read from a topic, and which routes it feeds (indexes into [`Routes::routes`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub shape: Shape,
    pub routes: Vec<usize>,
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
    pub apply: Apply,
}

/// One column of the target and where in the topic's shape its value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteColumn {
    pub name: String,
    pub kind: Kind,
    pub source: usize,
    pub policy: Policy,
}

impl Routes {
    /// Resolves every route against the tables it names. Returns all problems at once, each with its mend.
    pub fn resolve(specs: &[RouteSpec], tables: &BTreeMap<String, TargetTable>) -> Result<Routes, Vec<String>> {
        let mut routes = Routes { topics: Vec::new(), routes: Vec::new() };
        let mut problems = Vec::new();
        for spec in specs {
            match tables.get(&spec.table) {
                Some(table) => routes.add(spec, table, &mut problems),
                None => problems.push(format!(
                    "route {} → {}: the target has no table \"{}\": create it or correct the route's `table`",
                    spec.topic, spec.table, spec.table
                )),
            }
        }
        if problems.is_empty() { Ok(routes) } else { Err(problems) }
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

    fn add(&mut self, spec: &RouteSpec, table: &TargetTable, problems: &mut Vec<String>) {
        let before = problems.len();
        check_spec(spec, table, problems);
        let topic = match self.topics.iter().position(|topic| topic.name == spec.topic) {
            Some(at) => at,
            None => {
                let shape = Shape::new(spec.format, Vec::new(), Vec::new());
                self.topics.push(Topic { name: spec.topic.clone(), shape, routes: Vec::new() });
                self.topics.len() - 1
            }
        };
        let shape = &mut self.topics[topic].shape;
        let columns: Vec<RouteColumn> = table
            .columns
            .iter()
            .filter(|column| !spec.is_flag(&column.name))
            .map(|column| RouteColumn {
                name: column.name.clone(),
                kind: column.kind.clone(),
                policy: spec.policies.get(&column.name).copied().unwrap_or_default(),
                source: shape_field(shape, spec.source_of(&column.name), &column.kind),
            })
            .collect();
        let key: Vec<usize> =
            table.key.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect();
        if problems.len() > before {
            return;
        }
        let source_key: Vec<usize> = spec
            .source_key
            .iter()
            .filter_map(|name| shape.fields.iter().position(|field| field.name == *name))
            .collect();
        if shape.key.is_empty() {
            shape.key = source_key;
        } else if shape.key != source_key {
            problems.push(format!(
                "route {} → {}: `source_key` differs from that of another route of this topic: a topic has one key",
                spec.topic, spec.table
            ));
            return;
        }
        let moves = key.len() > spec.source_key.len();
        self.topics[topic].routes.push(self.routes.len());
        self.routes.push(Route {
            topic: spec.topic.clone(),
            table: spec.table.clone(),
            columns,
            key,
            moves,
            apply: spec.apply.clone(),
        });
    }
}

impl Route {
    /// How a dead letter and a message name the route.
    pub fn name(&self) -> String {
        format!("{} → {}", self.topic, self.table)
    }
}

impl RouteSpec {
    /// The source column that feeds this target column: the same name, unless the route renames it.
    pub fn source_of<'a>(&'a self, target: &'a str) -> &'a str {
        self.renamed.get(target).map_or(target, String::as_str)
    }

    fn is_flag(&self, target: &str) -> bool {
        matches!(&self.apply, Apply::Events { soft_delete } if soft_delete == target)
    }
}

/// Rules that a route and its table must meet: named columns exist, and V3b, one owner for each target row.
fn check_spec(spec: &RouteSpec, table: &TargetTable, problems: &mut Vec<String>) {
    let mut problem = |text: String| problems.push(format!("route {} → {}: {text}", spec.topic, spec.table));
    let has = |name: &str| table.columns.iter().any(|column| column.name == name);
    for target in spec.renamed.keys().filter(|target| !has(target)) {
        problem(format!("table \"{}\" has no column \"{target}\": add it or correct `columns`", table.name));
    }
    if let Apply::Events { soft_delete } = &spec.apply
        && !has(soft_delete)
    {
        problem(format!("table \"{}\" has no column \"{soft_delete}\": add it or correct `soft_delete`", table.name));
    }
    if spec.source_key.is_empty() {
        problem("`source_key` is empty: name the columns of the source table's primary key".into());
    }
    for source in &spec.source_key {
        if !table.key.iter().any(|target| spec.source_of(target) == source) {
            problem(format!(
                "the primary key of \"{}\" does not contain the source's key column \"{source}\": two source rows \
                 could then share one row there; add it to the table's primary key, or name it in `columns` if it \
                 is called differently",
                table.name
            ));
        }
    }
}

/// The place of a source column in the shape, added when it is new. One column of business events that is read as two
/// kinds stands there twice.
fn shape_field(shape: &mut Shape, name: &str, kind: &Kind) -> usize {
    let wanted = Field { name: name.into(), wire: wire_of(shape.format, kind), declared: false };
    shape.fields.iter().position(|field| *field == wanted).unwrap_or_else(|| {
        shape.fields.push(wanted);
        shape.fields.len() - 1
    })
}

/// Business events carry what their target's column holds, in the form of the contracts in `schemas/`.
fn wire_of(format: Format, kind: &Kind) -> Option<Wire> {
    Some(match kind {
        Kind::Date if format != Format::Event => Wire::Date,
        Kind::Bool => Wire::Bool,
        Kind::Int16 => Wire::Int16,
        Kind::Int32 => Wire::Int32,
        Kind::Int64 => Wire::Int64,
        Kind::Decimal => Wire::DecimalText,
        Kind::Text => Wire::Text,
        Kind::Uuid => Wire::Uuid,
        Kind::Date => Wire::CalendarDate,
        Kind::Timestamp | Kind::TimestampMillis => Wire::ZonedTimestamp { decimals: 6 },
        _ => return None,
    })
}
