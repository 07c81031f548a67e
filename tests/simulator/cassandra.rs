//! Cassandra as the simulator has it: three replicas of last-write-wins cells with C1's tie rules, row markers and
//! tombstones, and messages to them that arrive in any order, late, or never.

use std::cmp::Ordering;

use rowferry::change::position::{Position, Stored};
use rowferry::plan::route::{Route, Routes};
use rowferry::plan::write::{Batch, Rejected, Write, WriteKind};
use rowferry::row::Value;

use crate::source::{COLUMNS, Seen, slot_of};

pub const REPLICAS: usize = 3;
/// What a read at QUORUM may hear.
pub const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];
const QUORUM: usize = 2;
const NEVER: i64 = i64::MIN;

/// A cell; without a value it is a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    at: i64,
    value: Option<i64>,
}

/// A row of one replica: when it was deleted, when a row was inserted, and its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRow {
    deleted: i64,
    marker: i64,
    cells: [Cell; COLUMNS],
    /// What the rewind guard keeps with the row, and of its delete in a table of its own.
    kept: Kept,
    of_delete: Kept,
}

/// A position and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    at: i64,
    position: Position,
}

/// One statement as a replica takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    pub slot: usize,
    pub timestamp: i64,
    pub kind: StatementKind,
    /// Of a guarded route: it goes into the row, or is remembered of its delete.
    pub position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    Delete,
    /// Keeps the position of a row that is deleted.
    Remember,
    /// `None` is UNSET, `Some(None)` is null.
    Insert([Option<Option<i64>>; COLUMNS]),
}

impl Kept {
    const NONE: Kept = Kept { at: NEVER, position: Position::ZERO };

    fn merge(&mut self, other: Kept) {
        if (other.at, other.position.to_bytes()) > (self.at, self.position.to_bytes()) {
            *self = other;
        }
    }
}

impl Cell {
    const NONE: Cell = Cell { at: NEVER, value: None };

    /// The later wins; at a tie a tombstone, then the larger value (C1).
    fn merge(&mut self, other: Cell) {
        let rank = |cell: &Cell| (cell.at, cell.value.is_none(), cell.value);
        if rank(&other).cmp(&rank(self)) == Ordering::Greater {
            *self = other;
        }
    }
}

impl StoredRow {
    pub const NONE: StoredRow = StoredRow {
        deleted: NEVER,
        marker: NEVER,
        cells: [Cell::NONE; COLUMNS],
        kept: Kept::NONE,
        of_delete: Kept::NONE,
    };

    pub fn apply(&mut self, statement: &Statement) {
        let at = statement.timestamp;
        match statement.kind {
            StatementKind::Delete => self.deleted = self.deleted.max(at),
            StatementKind::Remember => {
                self.of_delete.merge(Kept { at, position: statement.position.unwrap_or_default() });
            }
            StatementKind::Insert(values) => {
                statement.position.into_iter().for_each(|position| self.kept.merge(Kept { at, position }));
                self.marker = self.marker.max(at);
                for (cell, value) in self.cells.iter_mut().zip(values) {
                    if let Some(value) = value {
                        cell.merge(Cell { at, value });
                    }
                }
            }
        }
    }

    pub fn merged(mut self, other: &StoredRow) -> StoredRow {
        self.deleted = self.deleted.max(other.deleted);
        self.marker = self.marker.max(other.marker);
        self.cells.iter_mut().zip(other.cells).for_each(|(cell, other)| cell.merge(other));
        self.kept.merge(other.kept);
        self.of_delete.merge(other.of_delete);
        self
    }

    /// What a reader sees. A row is there while its marker or a cell lives.
    pub fn seen(&self) -> Seen {
        let live = self.live();
        let values = live.cells.map(|cell| cell.value);
        (live.marker != NEVER || values.iter().any(Option::is_some)).then_some(values)
    }

    /// Whether the rows are the same with the same write times, but for what a tombstone hides.
    pub fn is_as_written(&self, other: &StoredRow) -> bool {
        let (one, other) = (self.live(), other.live());
        (one.deleted, one.marker, one.cells) == (other.deleted, other.marker, other.cells)
    }

    /// When the row was last written or deleted.
    pub fn newest(&self) -> i64 {
        self.cells.iter().map(|cell| cell.at).fold(self.deleted.max(self.marker), i64::max)
    }

    /// What the guard is told of the row: what stands in it, or else what is remembered of its delete.
    fn stored(&self) -> Option<Stored> {
        let alive = self.kept.at > self.deleted;
        let kept = if alive { self.kept } else { self.of_delete };
        (kept.at != NEVER).then_some(Stored { position: kept.position, version: kept.at })
    }

    /// The row without what its tombstone hides.
    fn live(mut self) -> StoredRow {
        if self.marker <= self.deleted {
            self.marker = NEVER;
        }
        self.cells.iter_mut().filter(|cell| cell.at <= self.deleted).for_each(|cell| *cell = Cell::NONE);
        self
    }
}

/// Statements to one partition of a table: a replica takes them all at once.
#[derive(Debug, Clone)]
struct Message {
    write: usize,
    group: usize,
    replica: usize,
}

/// What `Sink::write` was asked for and has not answered, or has and may still be on its way.
#[derive(Debug)]
struct Pending {
    process: usize,
    /// By partition of a table.
    groups: Vec<(usize, Vec<Statement>)>,
    acknowledged: Vec<usize>,
    refused: Vec<Rejected>,
    /// Whether it is known: every group acknowledged by a quorum, or not all in time.
    answered: Option<bool>,
}

/// A record that the server refuses; one that was sent again only where the guard has left something to write of it.
#[derive(Debug, Clone, Copy)]
pub struct Poison {
    pub offset: i64,
    pub hidden: bool,
}

/// What became of a write.
pub enum Answer {
    Durable,
    Unknown,
    Refused(Vec<Rejected>),
}

/// The cluster and the network to it.
#[derive(Debug)]
pub struct Cluster {
    replicas: Vec<[StoredRow; REPLICAS]>,
    writes: Vec<Pending>,
    messages: Vec<Message>,
    /// Rows that changed since they were last looked at.
    pub dirty: Vec<usize>,
    /// The records whose rows the server refuses, until the operator has mended that.
    pub poison: Vec<Poison>,
    reads: usize,
}

impl Cluster {
    pub fn new(slots: usize) -> Cluster {
        let replicas = vec![[StoredRow::NONE; REPLICAS]; slots];
        Cluster { replicas, writes: Vec::new(), messages: Vec::new(), dirty: Vec::new(), poison: Vec::new(), reads: 0 }
    }

    /// A process writes a batch: each group goes to each replica. A batch with rows that the server refuses is
    /// answered so, and the rest of it may arrive all the same.
    pub fn submit(&mut self, process: usize, routes: &Routes, batch: &Batch) -> usize {
        let refuses = |record: &usize| {
            let offset = batch.records[*record].record.offset;
            let poison = self.poison.iter().find(|poison| poison.offset == offset);
            poison.is_some_and(|poison| !poison.hidden || batch.writes.iter().any(|write| write.record == *record))
        };
        let refused: Vec<usize> = (0..batch.records.len()).filter(refuses).collect();
        let mut groups: Vec<(usize, Vec<Statement>)> = Vec::new();
        let slots = batch.writes.iter().filter(|write| refused.contains(&write.record));
        let slots: Vec<(usize, usize)> = slots.map(|write| (slot(routes, write), write.record)).collect();
        // What is behind a refused row of the same key is taken not to arrive: docs/guarantees.md says what may be seen.
        let is_behind =
            |write: &Write| slots.iter().any(|(at, record)| *at == slot(routes, write) && *record <= write.record);
        for write in batch.writes.iter().filter(|write| !is_behind(write)) {
            for (partition, statement) in statements(routes, write) {
                match groups.iter_mut().find(|(known, _)| *known == partition) {
                    Some((_, statements)) => statements.push(statement),
                    None => groups.push((partition, vec![statement])),
                }
            }
        }
        let id = self.writes.len();
        for group in 0..groups.len() {
            self.messages.extend((0..REPLICAS).map(|replica| Message { write: id, group, replica }));
        }
        let reject = |record| Rejected { record, route: Some(0), reject: crate::process::poisoned() };
        let refused: Vec<Rejected> = refused.into_iter().map(reject).collect();
        let answered = (groups.is_empty() || !refused.is_empty()).then_some(true);
        let acknowledged = vec![0; groups.len()];
        self.writes.push(Pending { process, groups, acknowledged, refused, answered });
        id
    }

    pub fn answer(&self, write: usize) -> Option<Answer> {
        let write = &self.writes[write];
        match write.answered? {
            true if !write.refused.is_empty() => Some(Answer::Refused(write.refused.clone())),
            true => Some(Answer::Durable),
            false => Some(Answer::Unknown),
        }
    }

    /// Messages on their way.
    pub fn in_flight(&self) -> usize {
        self.messages.len()
    }

    /// A message arrives, and its answer does or does not.
    pub fn deliver(&mut self, pick: usize, answers: bool) {
        if self.messages.is_empty() {
            return;
        }
        let message = self.messages.swap_remove(pick % self.messages.len());
        let write = &mut self.writes[message.write];
        for statement in &write.groups[message.group].1 {
            self.replicas[statement.slot][message.replica].apply(statement);
            self.dirty.push(statement.slot);
        }
        if answers {
            write.acknowledged[message.group] += 1;
            if write.answered.is_none() && write.acknowledged.iter().all(|count| *count >= QUORUM) {
                write.answered = Some(true);
            }
        }
    }

    pub fn lose(&mut self, pick: usize) {
        if !self.messages.is_empty() {
            self.messages.swap_remove(pick % self.messages.len());
        }
    }

    /// What the process waits for is not answered in time. It may still arrive.
    pub fn time_out(&mut self, process: usize) {
        let open = self.writes.iter_mut().filter(|write| write.process == process && write.answered.is_none());
        open.for_each(|write| write.answered = Some(false));
    }

    /// Applies a write everywhere, at once.
    pub fn write(&mut self, routes: &Routes, write: &Write) {
        for (_, statement) in statements(routes, write) {
            self.replicas[statement.slot].iter_mut().for_each(|row| row.apply(&statement));
        }
    }

    /// What a read at QUORUM says of the position of a write's row. The pair changes from one read to the next.
    pub fn stored(&mut self, routes: &Routes, write: &Write) -> Option<Stored> {
        self.reads += 1;
        self.read(slot(routes, write), self.reads % PAIRS.len()).stored()
    }

    /// TRUNCATE of every table.
    pub fn empty(&mut self) {
        self.replicas.fill([StoredRow::NONE; REPLICAS]);
    }

    /// What a read at QUORUM gets from this pair of replicas.
    pub fn read(&self, slot: usize, pair: usize) -> StoredRow {
        let (one, other) = PAIRS[pair];
        self.replicas[slot][one].merged(&self.replicas[slot][other])
    }
}

/// The statements of a write, each with the partition that it goes to.
fn statements(routes: &Routes, write: &Write) -> Vec<(usize, Statement)> {
    let route = &routes.routes[write.route];
    let slot = slot(routes, write);
    let timestamp = write.version.expect("a mirrored write has one");
    let position = route.guard.as_ref().and(write.standing.position);
    // The tables' partitions: an id of the one, a user of the other; and beside them the tables of deletes.
    let partition = if route.moves { 100 + number(route, write, "user_id") } else { number(route, write, "id") };
    let partition = usize::try_from(partition).expect("it is small");
    let statement = |kind| Statement { slot, timestamp, kind, position };
    match write.kind {
        // A key column is no cell: that it shows among the values of the moving table is the slot's own doing.
        WriteKind::Upsert => {
            let values = ["user_id", "a", "b"].map(|name| value(route, write, name));
            vec![(partition, statement(StatementKind::Insert(values)))]
        }
        WriteKind::Delete => {
            let remember = position.map(|_| (1_000 + partition, statement(StatementKind::Remember)));
            [(partition, statement(StatementKind::Delete))].into_iter().chain(remember).collect()
        }
    }
}

fn slot(routes: &Routes, write: &Write) -> usize {
    let route = &routes.routes[write.route];
    slot_of(number(route, write, "id"), route.moves.then(|| number(route, write, "user_id")))
}

/// `None` is UNSET.
fn value(route: &Route, write: &Write, name: &str) -> Option<Option<i64>> {
    let at = route.columns.iter().position(|column| column.name == name).expect("every table has every column");
    match write.values[at] {
        Value::Int(number) => Some(Some(number)),
        Value::Null => Some(None),
        Value::Absent => None,
        ref other => panic!("{name} is {other:?}"),
    }
}

fn number(route: &Route, write: &Write, name: &str) -> i64 {
    value(route, write, name).flatten().expect("a key has a value")
}
