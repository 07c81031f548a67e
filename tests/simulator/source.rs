//! The source, its connector, and the log that it fills; and, written apart from the code under test, what each target
//! row is after each record.

use std::sync::Arc;

use bytes::Bytes;
use rowferry::change::position::Position;
use rowferry::record::Record;

use crate::cassandra::{Statement, StatementKind, StoredRow};

pub const IDS: i64 = 3;
pub const USERS: i64 = 3;
/// Beside the id: the user, `a` and `b`. The last may be null, and may be left out of an update as unchanged TOAST.
pub const COLUMNS: usize = 3;
pub const TOPIC: &str = "rows";

/// A row's columns beside its id.
pub type Values = [Option<i64>; COLUMNS];
/// What somebody who reads a row sees.
pub type Seen = Option<Values>;

/// The table by id has its rows first, then those of the table by user.
pub fn slot_of(id: i64, user: Option<i64>) -> usize {
    let slot = user.map_or(id, |user| IDS + user * IDS + id);
    usize::try_from(slot).expect("ids and users are small")
}

/// Which of the source's two tables a schedule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// One target by id; updates may leave out what they did not change.
    Plain,
    /// A second target whose key has the user in it; images are whole (REPLICA IDENTITY FULL).
    Moving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alteration {
    /// Both columns get new values.
    Update,
    /// `a` gets a new value, and `b` is left alone.
    UpdateA,
    /// `b` becomes null.
    Clear,
    /// The row goes to another user, or to the same.
    Move(i64),
    Delete,
}

/// The timestamp that the record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Now,
    None,
    /// After 2100.
    Absurd,
}

/// One record as the source means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `before` is the user that the row had; `whole` says that every column is sent.
    Put {
        op: char,
        id: i64,
        before: Option<i64>,
        values: Values,
        whole: bool,
    },
    Delete {
        id: i64,
        user: i64,
    },
    Tombstone {
        id: i64,
    },
    /// Bytes that nobody can read, which somebody else has put there.
    Junk,
}

/// A record in the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub record: Record,
    pub event: Event,
    pub poison: bool,
    /// The connector had sent it before, and the rewind guard is on: readers are not to see it again.
    pub hidden: bool,
}

/// A row of a target after each record that changed it, the first before any. By index into the log.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub states: Vec<(usize, Seen)>,
    /// What each of them is stamped with.
    pub timestamps: Vec<i64>,
    /// As last stored by an undisturbed run that wrote record by record.
    pub stored: Option<StoredRow>,
    /// After every record, those among them that are refused at first.
    pub whole: Seen,
}

/// What the connector has streamed: where it stands in the source's log, when it was committed.
#[derive(Debug, Clone)]
struct Streamed {
    event: Event,
    position: Position,
    ts_us: i64,
    poison: bool,
}

/// Source, connector and log.
#[derive(Debug)]
pub struct Source {
    table: Table,
    topic: Arc<str>,
    rows: [Seen; IDS as usize],
    /// What the connector has streamed, in commit order: it may send the end of it again.
    streamed: Vec<Streamed>,
    guarded: bool,
    /// Something was sent again.
    pub again: bool,
    /// The end of the last commit, the last transaction, and the row that it changed.
    commit_lsn: u64,
    changed: i64,
    counter: i64,
    pub now_ms: i64,
    pub log: Vec<Entry>,
    pub end: i64,
    last: i64,
    pub histories: Vec<History>,
}

impl Source {
    pub fn new(table: Table, guarded: bool) -> Source {
        let slots = match table {
            Table::Plain => IDS,
            Table::Moving => IDS + IDS * USERS,
        };
        let history =
            History { states: vec![(0, None)], timestamps: vec![i64::MIN], stored: Some(StoredRow::NONE), whole: None };
        Source {
            table,
            topic: TOPIC.into(),
            rows: [None; IDS as usize],
            streamed: Vec::new(),
            guarded,
            again: false,
            commit_lsn: 1_000,
            changed: -1,
            counter: 0,
            now_ms: 1_700_000_000_000,
            log: Vec::new(),
            end: 0,
            last: 0,
            histories: vec![history; usize::try_from(slots).expect("it is small")],
        }
    }

    /// A transaction that changes one row, or creates it where it is not. What it logs `early` stands before what the
    /// transaction has logged that committed before it: an INSERT is logged before its key is found to be free, and
    /// transactions of different rows run side by side.
    pub fn change(&mut self, id: i64, alteration: Alteration, stamp: Stamp, poison: bool, early: bool) {
        let at = usize::try_from(id).expect("it is small");
        self.counter += 1;
        let early = early && (self.rows[at].is_none() || self.changed != id);
        let lsn = if early { self.commit_lsn - 7 } else { self.commit_lsn + 5 };
        let tx_id = u32::try_from(self.counter).expect("it is small");
        let place = Position { commit_lsn: self.commit_lsn, lsn, tx_id };
        (self.commit_lsn, self.changed) = (self.commit_lsn + 10, id);
        let fresh = Some(self.counter);
        let Some(old) = self.rows[at] else {
            let user = match alteration {
                Alteration::Move(user) => user,
                _ => self.counter % USERS,
            };
            let b = if alteration == Alteration::Clear { None } else { fresh };
            let values = [Some(user), fresh, b];
            self.rows[at] = Some(values);
            return self.stream(Event::Put { op: 'c', id, before: None, values, whole: true }, place, stamp, poison);
        };
        let user = old[0].expect("a row has a user");
        let (values, whole) = match alteration {
            Alteration::Update => ([old[0], fresh, fresh], true),
            Alteration::UpdateA => ([old[0], fresh, old[2]], self.table == Table::Moving),
            Alteration::Clear => ([old[0], old[1], None], true),
            Alteration::Move(user) => ([Some(user), fresh, old[2]], self.table == Table::Moving),
            Alteration::Delete => {
                self.rows[at] = None;
                self.stream(Event::Delete { id, user }, place, stamp, poison);
                return self.stream(Event::Tombstone { id }, place, stamp, false);
            }
        };
        self.rows[at] = Some(values);
        self.stream(Event::Put { op: 'u', id, before: Some(user), values, whole }, place, stamp, poison);
    }

    /// A snapshot, or a chunk of an incremental one: these rows as they are, at their place in the stream. They have no
    /// position, so that with the guard on nothing from before them may be sent again: the connector saves its offset.
    pub fn snapshot(&mut self, ids: u8) {
        if self.guarded {
            self.streamed.clear();
        }
        for id in (0..IDS).filter(|id| ids & (1 << id) != 0) {
            if let Some(values) = self.rows[usize::try_from(id).expect("it is small")] {
                let event = Event::Put { op: 'r', id, before: None, values, whole: true };
                self.append(event, None, Stamp::Now, false, false);
            }
        }
    }

    /// The connector dies before it has saved how far it came, and sends the end of its stream again.
    pub fn crash(&mut self, events: usize) {
        let mut from = self.streamed.len().saturating_sub(events);
        // A tombstone has the place of its delete, and is not sent again without it.
        from += usize::from(matches!(self.streamed.get(from), Some(Streamed { event: Event::Tombstone { .. }, .. })));
        let again: Vec<Streamed> = self.streamed[from..].into();
        self.again |= !again.is_empty();
        for streamed in again {
            let place = Some((streamed.position, streamed.ts_us));
            self.append(streamed.event, place, Stamp::Now, streamed.poison, self.guarded);
        }
    }

    pub fn junk(&mut self) {
        self.append(Event::Junk, None, Stamp::Now, false, false);
    }

    /// Offsets that hold no record, as aborted transactions and markers leave them.
    pub fn gap(&mut self) {
        self.end += 1;
    }

    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// The first record at or behind an offset.
    pub fn index_of(&self, offset: i64) -> usize {
        self.log.partition_point(|entry| entry.record.offset < offset)
    }

    /// What the source has of a target row.
    pub fn row(&self, slot: usize) -> Seen {
        let ids = usize::try_from(IDS).expect("it is small");
        let row = self.rows[slot % ids];
        let user = i64::try_from(slot / ids).expect("it is small") - 1;
        row.filter(|values| user < 0 || values[0] == Some(user))
    }

    fn stream(&mut self, event: Event, position: Position, stamp: Stamp, poison: bool) {
        // Commit times run backwards between transactions.
        let ts_us = 1_000 * self.now_ms - 700 * (self.counter % 3);
        self.streamed.push(Streamed { event: event.clone(), position, ts_us, poison });
        self.append(event, Some((position, ts_us)), stamp, poison, false);
    }

    fn append(&mut self, event: Event, place: Option<(Position, i64)>, stamp: Stamp, poison: bool, hidden: bool) {
        let timestamp_ms = match stamp {
            Stamp::Now => Some(self.now_ms),
            Stamp::None => None,
            Stamp::Absurd => Some(9_000_000_000_000_000),
        };
        let believed = if stamp == Stamp::Now { self.now_ms } else { 0 };
        self.last = (1000 * believed).max(self.last + 2);
        let index = self.log.len();
        let id = match event {
            Event::Put { id, .. } | Event::Delete { id, .. } | Event::Tombstone { id } => id,
            Event::Junk => 0,
        };
        let record = Record {
            topic: self.topic.clone(),
            partition: 0,
            offset: self.end,
            timestamp_ms,
            key: Some(format!(r#"{{"id":{id}}}"#).into()),
            value: value(&event, place.filter(|_| self.guarded)).map(Bytes::from),
            headers: [].into(),
        };
        let version = self.last;
        let effects = if hidden { Vec::new() } else { effects(self.table, &event) };
        for (slot, kind) in effects {
            let history = &mut self.histories[slot];
            let state = |before: Seen| match kind {
                StatementKind::Delete | StatementKind::Remember => None,
                StatementKind::Insert(values) => {
                    let mut row = before.unwrap_or_default();
                    row.iter_mut().zip(values).for_each(|(cell, value)| *cell = value.unwrap_or(*cell));
                    Some(row)
                }
            };
            history.whole = state(history.whole);
            if !poison {
                let before = history.states.last().and_then(|(_, seen)| *seen);
                history.states.push((index, state(before)));
                let timestamp = version + i64::from(kind != StatementKind::Delete);
                history.timestamps.push(timestamp);
                history
                    .stored
                    .iter_mut()
                    .for_each(|row| row.apply(&Statement { slot, timestamp, kind, position: None }));
            }
        }
        self.log.push(Entry { record, event, poison, hidden });
        self.end += 1;
    }
}

/// What a record makes of its target rows, in their order.
pub fn effects(table: Table, event: &Event) -> Vec<(usize, StatementKind)> {
    let mut effects = Vec::with_capacity(3);
    match event {
        Event::Put { id, before, values, whole, .. } => {
            let user = values[0].expect("a row has a user");
            let sent = [Some(values[0]), Some(values[1]), whole.then_some(values[2])];
            effects.push((slot_of(*id, None), StatementKind::Insert(sent)));
            if table == Table::Moving {
                if let Some(old) = before.filter(|old| *old != user) {
                    effects.push((slot_of(*id, Some(old)), StatementKind::Delete));
                }
                effects.push((slot_of(*id, Some(user)), StatementKind::Insert(sent)));
            }
        }
        Event::Delete { id, user } => {
            effects.push((slot_of(*id, None), StatementKind::Delete));
            if table == Table::Moving {
                effects.push((slot_of(*id, Some(*user)), StatementKind::Delete));
            }
        }
        Event::Tombstone { id } => effects.push((slot_of(*id, None), StatementKind::Delete)),
        Event::Junk => {}
    }
    effects
}

/// The record's value as Debezium writes it.
fn value(event: &Event, place: Option<(Position, i64)>) -> Option<String> {
    let source = place.map_or_else(String::new, |(Position { commit_lsn, lsn, tx_id }, ts_us)| {
        let sequence = format!(r#"[\"{commit_lsn}\",\"{lsn}\"]"#);
        format!(
            r#","source":{{"name":"s","db":"d","ts_us":{ts_us},"sequence":"{sequence}","txId":{tx_id},"lsn":{lsn}}}"#
        )
    });
    let number = |value: Option<i64>| value.map_or("null".to_string(), |number| number.to_string());
    match event {
        Event::Put { op, id, before, values, whole } => {
            let unavailable = || "\"__debezium_unavailable_value\"".to_string();
            let b = if *whole { number(values[2]) } else { unavailable() };
            let before = before.map_or("null".to_string(), |user| format!(r#"{{"id":{id},"user_id":{user}}}"#));
            let (user, a) = (number(values[0]), number(values[1]));
            let after = format!(r#"{{"id":{id},"user_id":{user},"a":{a},"b":{b}}}"#);
            Some(format!(r#"{{"op":"{op}","before":{before},"after":{after}{source}}}"#))
        }
        Event::Delete { id, user } => {
            Some(format!(r#"{{"op":"d","before":{{"id":{id},"user_id":{user}}},"after":null{source}}}"#))
        }
        Event::Tombstone { .. } => None,
        Event::Junk => Some("junk".to_string()),
    }
}
