//! What a topic still says of one row: its records decoded, versioned and planned in order, as a run does it. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rowferry::change::{Change, Decoded, Op};
use rowferry::format::Decoder;
use rowferry::plan::convert::{Policy, convert, to_key};
use rowferry::plan::feed::Feed;
use rowferry::plan::route::{Route, Routes};
use rowferry::plan::write::{Versioned, Write, WriteKind};
use rowferry::plan::{Draft, Pushed};
use rowferry::record::Record;
use rowferry::row::{Kind, Row, Value};
use rowferry::verify::report::shown;
use rowferry::version::guard::Guard;
use rowferry::version::{Chain, Floor};

/// Events that are kept to be shown: the newest ones.
pub const EVENTS_MAX: usize = 500;

/// A record of the topic that speaks of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub version: i64,
    pub op: &'static str,
    /// Its source may have sent it before: it is written only where the row's stored position is older (V6).
    pub suspect: bool,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What it asks of the table; nothing, where a `where` or another key leaves nothing to do.
    Writes(Vec<Planned>),
    /// It goes to the dead-letter topic, for all routes.
    Refused { class: &'static str, why: String },
    /// The partition stops in front of it.
    Stops(String),
}

/// A write as the sink is asked for it, values as they are shown to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub kind: WriteKind,
    /// What it is stamped with: the record's version, and one more for an upsert.
    pub timestamp: i64,
    pub key: Vec<(String, String)>,
    /// What is sent beside the key.
    pub values: Vec<(String, String)>,
    /// Its key is the one that was asked for: a row that moves is written under two.
    pub asked: bool,
}

/// How well versions are known of the records that the group has read. From its place on they are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Read from the first record, and at the group's place they come to what the group has saved.
    Exact,
    /// They come to what the group has saved, but older records are gone: one with a later timestamp would have raised
    /// them.
    UnlessExpired,
    /// The group has saved a higher one: it had read other records before these.
    AtLeast,
    /// Another tool moved the group, and nobody knows what was given.
    Unknown,
}

/// Where a partition's reading begins.
#[derive(Debug, Clone)]
pub struct Start {
    pub partition: i32,
    pub begin: i64,
    /// As a seek to the beginning would start it: its floor is the furthest place of the group.
    pub chain: Chain,
    pub lost_versions: bool,
    /// The topic is compacted, so that records are missing in the middle.
    pub compacted: bool,
}

/// What was found in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub partition: i32,
    pub records: u64,
    /// The offset from which on versions are exact; `None` when all are as one.
    pub floor: Option<i64>,
    /// Of the records before it.
    pub certainty: Certainty,
}

/// A topic on its way through.
pub struct History {
    topic: String,
    routes: Arc<Routes>,
    wanted: Vec<Wanted>,
    lanes: BTreeMap<i32, Lane>,
    record_bytes_max: usize,
    events: VecDeque<Event>,
    /// Events that were more than are kept.
    pub left_out: u64,
}

/// One partition.
struct Lane {
    decoder: Decoder,
    chain: Chain,
    guard: Option<Guard>,
    floor: Option<Floor>,
    /// The last version before the floor.
    at_floor: i64,
    begin: i64,
    lost_versions: bool,
    compacted: bool,
    records: u64,
}

impl Read {
    /// How well the version of the record at this offset is known.
    pub fn certainty_at(&self, offset: i64) -> Certainty {
        if self.floor.is_some_and(|floor| offset >= floor) { Certainty::Exact } else { self.certainty }
    }
}

impl History {
    /// Nothing is read yet. `key` is one value for each column of the table's key, in its order.
    pub fn new(
        routes: &Arc<Routes>,
        topic: &str,
        table: &str,
        key: &[Value],
        starts: &[Start],
        record_bytes_max: usize,
    ) -> History {
        let found = routes.topic(topic);
        let feeds = found.iter().flat_map(|topic| &topic.routes).filter(|at| routes.routes[**at].table == table);
        let wanted = feeds.filter_map(|at| Wanted::of(routes, *at, key)).collect();
        let lanes = starts.iter().filter_map(|start| {
            let decoder = Decoder::new(&found?.shape, record_bytes_max);
            let guard = routes.is_guarded(topic).then_some(Guard::NEW);
            let Start { begin, chain, lost_versions, compacted, .. } = *start;
            let (floor, at_floor, records) = (chain.floor(), chain.last(), 0);
            let lane = Lane { decoder, chain, guard, floor, at_floor, begin, lost_versions, compacted, records };
            Some((start.partition, lane))
        });
        let (lanes, events) = (lanes.collect(), VecDeque::new());
        let (topic, routes) = (topic.to_string(), routes.clone());
        History { topic, routes, wanted, lanes, record_bytes_max, events, left_out: 0 }
    }

    /// Takes the next record of its partition.
    pub fn add(&mut self, record: Record) {
        let Some(lane) = self.lanes.get_mut(&record.partition) else { return };
        let version = lane.version(&record);
        let decoded = lane.decoder.decode(&record);
        let mut versioned = Versioned::new(record, version);
        if let Some(guard) = &mut lane.guard {
            versioned.standing = guard.stand(versioned.record.key.as_deref(), &decoded).0;
        }
        let speaks = match &decoded {
            Decoded::Change(change) => self.wanted.iter().any(|wanted| wanted.is_changed(change)),
            Decoded::Tombstone(key) => self.wanted.iter().any(|wanted| wanted.is(key)),
            Decoded::Truncate => !self.wanted.is_empty(),
            Decoded::Reject(_) => {
                let key = self.key_alone(&versioned.record);
                key.is_some_and(|key| self.wanted.iter().any(|wanted| wanted.is(&key)))
            }
            _ => false,
        };
        if speaks {
            let event = self.event(versioned, decoded);
            self.events.push_back(event);
            if self.events.len() > EVENTS_MAX {
                self.events.pop_front();
                self.left_out += 1;
            }
        }
    }

    /// What was found: the events of each partition in order, and how well their versions are known.
    pub fn into_found(self) -> (Vec<Event>, Vec<Read>) {
        let read = self.lanes.iter().map(|(partition, lane)| Read {
            partition: *partition,
            records: lane.records,
            floor: lane.floor.filter(|_| !lane.lost_versions).map(|floor| floor.offset),
            certainty: lane.certainty(),
        });
        let read = read.collect();
        let mut events: Vec<Event> = self.events.into();
        events.sort_by_key(|event| (event.partition, event.offset));
        (events, read)
    }

    /// The key of a record whose value cannot be read: as its tombstone would have it.
    fn key_alone(&self, record: &Record) -> Option<Row> {
        let mut decoder = Decoder::new(&self.routes.topic(&self.topic)?.shape, self.record_bytes_max);
        match decoder.decode(&Record { value: None, ..record.clone() }) {
            Decoded::Tombstone(key) => Some(key),
            _ => None,
        }
    }

    fn event(&self, versioned: Versioned, decoded: Decoded) -> Event {
        let op = op(&decoded);
        let Record { partition, offset, timestamp_ms, .. } = versioned.record;
        let (version, suspect) = (versioned.version, versioned.standing.suspect);
        let of = versioned.record.topic_partition();
        let mut draft = Draft::new(self.routes.clone(), of, offset);
        let outcome = match draft.push(versioned, |_| decoded) {
            Pushed::Stop(why) => Outcome::Stops(why),
            Pushed::Taken => {
                let batch = draft.take();
                match batch.rejects.into_iter().next() {
                    Some(rejected) => {
                        let route = self.routes.refusing(&self.topic, rejected.route);
                        let (class, text) = (rejected.reject.class.as_str(), rejected.reject.text);
                        Outcome::Refused { class, why: format!("{text} ({route})") }
                    }
                    None => Outcome::Writes(batch.writes.iter().filter_map(|write| self.planned(write)).collect()),
                }
            }
        };
        Event { partition, offset, timestamp_ms, version, op, suspect, outcome }
    }

    /// A write, where it is one of the table that was asked for.
    fn planned(&self, write: &Write) -> Option<Planned> {
        let wanted = self.wanted.iter().find(|wanted| wanted.route == write.route)?;
        let route = &self.routes.routes[write.route];
        let named = |at: usize| (route.columns[at].name.clone(), shown(Some(&write.values[at])));
        let others = (0..route.columns.len()).filter(|at| !route.key.contains(at));
        let sent = others.filter(|at| write.values.get(*at).is_some_and(Value::is_sent));
        Some(Planned {
            kind: write.kind,
            timestamp: write.version.unwrap_or_default(),
            key: route.key.iter().map(|at| named(*at)).collect(),
            values: if write.kind == WriteKind::Upsert { sent.map(named).collect() } else { Vec::new() },
            asked: route.key.iter().map(|at| &write.values[*at]).eq(&wanted.key),
        })
    }
}

fn op(decoded: &Decoded) -> &'static str {
    match decoded {
        Decoded::Change(Change { op: Op::Read, .. }) => "snapshot",
        Decoded::Change(Change { op: Op::Create, .. }) => "create",
        Decoded::Change(Change { op: Op::Update, .. }) => "update",
        Decoded::Change(Change { op: Op::Delete, .. }) => "delete",
        Decoded::Tombstone(_) => "tombstone",
        Decoded::Truncate => "truncate",
        _ => "unreadable",
    }
}

impl Lane {
    fn version(&mut self, record: &Record) -> i64 {
        self.records += 1;
        let version = self.chain.next(record.offset, record.timestamp_ms);
        if self.chain.floor().is_some() {
            self.at_floor = version;
        }
        version
    }

    /// Versions rise by the records' timestamps and never less than by 2, so that what was given before a record is
    /// forgotten once a later timestamp comes: two chains over the same records can only come nearer to each other.
    fn certainty(&self) -> Certainty {
        match self.floor {
            _ if self.lost_versions => Certainty::Unknown,
            None => Certainty::Exact,
            Some(floor) if self.begin >= floor.offset => Certainty::Exact,
            Some(floor) if self.at_floor < floor.last => Certainty::AtLeast,
            Some(_) if self.begin > 0 || self.compacted => Certainty::UnlessExpired,
            Some(_) => Certainty::Exact,
        }
    }
}

/// The key of the source as a route's table has it.
struct Wanted {
    route: usize,
    parts: Vec<Part>,
    /// Of the target, whole.
    key: Vec<Value>,
}

/// A column of the source's key.
struct Part {
    /// Where a row has it, and where a key alone does.
    fields: [usize; 2],
    kind: Kind,
    policy: Policy,
    value: Value,
}

impl Wanted {
    /// `None` when a constant of the route puts its rows under another key.
    fn of(routes: &Routes, at: usize, key: &[Value]) -> Option<Wanted> {
        let route: &Route = &routes.routes[at];
        let shape = &routes.topic(&route.topic)?.shape;
        let mut parts = Vec::new();
        for (column, value) in route.key.iter().map(|at| &route.columns[*at]).zip(key) {
            match &column.feed {
                Feed::Constant(constant) if constant != value => return None,
                Feed::Field(field) => {
                    let is_same = |of_key: &&usize| shape.fields[**of_key].name == shape.fields[*field].name;
                    if let Some(of_key) = shape.key.iter().find(is_same) {
                        let (kind, policy, value) = (column.kind.clone(), column.policy, value.clone());
                        parts.push(Part { fields: [*field, *of_key], kind, policy, value });
                    }
                }
                _ => {}
            }
        }
        Some(Wanted { route: at, parts, key: key.to_vec() })
    }

    fn is_changed(&self, change: &Change) -> bool {
        change.before.iter().chain(&change.after).any(|image| self.is(image))
    }

    /// Whether an image is of this row, by the source's key.
    fn is(&self, image: &Row) -> bool {
        self.parts.iter().all(|part| {
            let there = part.fields.iter().map(|at| &image[*at]).find(|value| value.is_sent());
            let value = there.and_then(|value| convert(value, &part.kind, part.policy).ok());
            value.is_some_and(|mut value| {
                to_key(&mut value);
                value == part.value
            })
        })
    }
}

#[cfg(test)]
mod tests;
