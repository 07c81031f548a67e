//! Decoded records become writes: routes are found, rows cut to columns, moves split in two, rejects set aside.
//!
//! A pure function of the routes, the records and their versions. A record is planned for all its routes or, when
//! one of them refuses it, for none.

pub mod convert;
pub mod feed;
pub mod condition;
pub mod filter;
pub mod ttl;
pub mod route;
pub mod source;
mod resolve;
pub mod write;
mod fold;
pub mod guard;

use std::sync::Arc;

use crate::change::{Change, Decoded, Op, Reject, RejectClass};
use crate::mutation::{self, Mutation};
use crate::plan::convert::{convert, to_key};
use crate::plan::feed::Feed;
use crate::plan::fold::Fold;
use crate::plan::route::{Apply, OnTruncate, Route, RouteColumn, Routes, Topic};
use crate::plan::write::{Batch, Expect, Rejected, Versioned, Write, WriteKind};
use crate::record::TopicPartition;
use crate::row::{Row, Shape, Value};

/// A batch that is being filled, record by record in offset order.
#[derive(Debug)]
pub struct Draft {
    routes: Arc<Routes>,
    partition: TopicPartition,
    records: Vec<Versioned>,
    rejects: Vec<Rejected>,
    writes: Fold,
    passed_over: u64,
    next_offset: i64,
    bytes: usize,
}

/// The header of an event that was produced again, and may change a row only where that is older.
pub const UNLESS_NEWER: &str = "rowferry.unless-newer";

/// What became of a record that was offered to a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    Taken,
    /// The partition has to stop in front of this record, which is not part of the draft.
    Stop(String),
}

/// What one record asks for, `None` when it speaks of no row; or the route and reason that refuse it.
type Planned = Result<Option<Vec<Write>>, Rejected>;

impl Draft {
    /// An empty draft whose first record will have `next_offset` or a higher one.
    pub fn new(routes: Arc<Routes>, partition: TopicPartition, next_offset: i64) -> Self {
        let (records, rejects, writes) = (Vec::new(), Vec::new(), Fold::default());
        Draft { routes, partition, records, rejects, writes, passed_over: 0, next_offset, bytes: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Bytes of the keys and values of the records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record. `decode` is called for its meaning, and may say how the record stands (V6); a panic in it, or in planning, rejects the record (K10).
    pub fn push(&mut self, mut versioned: Versioned, decode: impl FnOnce(&mut Versioned) -> Decoded) -> Pushed {
        let at = self.records.len();
        let routes = &self.routes;
        // Planning only reads what it is given, and a decoder changes at its end or not at all.
        let planned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match decode(&mut versioned) {
            Decoded::Truncate if stops_at_truncate(routes, &versioned) => Err(TRUNCATED.to_string()),
            Decoded::Stop(why) => Err(why),
            decoded => Ok(plan(routes, at, &versioned, decoded)),
        }));
        let planned = match planned {
            Ok(Ok(planned)) => planned,
            Ok(Err(why)) => return Pushed::Stop(why),
            Err(_) => Err(rejected(at, None, Reject::new(RejectClass::Panicked, "decoding or planning it panicked"))),
        };
        match planned {
            Ok(None) => self.passed_over += 1,
            Ok(Some(writes)) => writes.into_iter().for_each(|write| self.writes.push(&self.routes, write)),
            Err(reject) => self.rejects.push(reject),
        }
        self.next_offset = versioned.record.offset + 1;
        self.bytes += versioned.record.bytes();
        self.records.push(versioned);
        Pushed::Taken
    }

    /// The batch to write, and an empty draft that goes on behind it.
    pub fn take(&mut self) -> Batch {
        let next = Draft::new(self.routes.clone(), self.partition.clone(), self.next_offset);
        let draft = std::mem::replace(self, next);
        Batch {
            partition: draft.partition,
            records: draft.records,
            writes: draft.writes.into_writes(),
            rejects: draft.rejects,
            passed_over: draft.passed_over,
            next_offset: draft.next_offset,
        }
    }
}

/// Plans a batch again without the records below `next_offset`, which are durable, and without those that were
/// refused before or are now. Their dead letters are not repeated: the new batch's rejects are those that are new.
pub fn again(
    routes: &Arc<Routes>,
    batch: Batch,
    next_offset: i64,
    refused: &[Rejected],
    mut decode: impl FnMut(&mut Versioned) -> Decoded,
) -> Batch {
    let mut draft = Draft::new(routes.clone(), batch.partition.clone(), next_offset);
    let is_refused = |at: usize| refused.iter().chain(&batch.rejects).any(|rejected| rejected.record == at);
    for (at, versioned) in batch.records.into_iter().enumerate() {
        if versioned.record.offset >= next_offset && !is_refused(at) {
            // It was taken once, so that nothing should stop it now; were it left out, it would be lost.
            if let Pushed::Stop(why) = draft.push(versioned.clone(), &mut decode) {
                draft.push(versioned, |_| Decoded::Reject(Reject::new(RejectClass::WrongType, why)));
            }
        }
    }
    Batch { next_offset: batch.next_offset, passed_over: batch.passed_over, ..draft.take() }
}

const TRUNCATED: &str = "the table was truncated at the source, and a truncate has no version and no order among the \
                         rows of other partitions: stop, truncate the target by hand, then move the group past this \
                         record";

/// Completes a write whose row lacks columns: `values` are those that the source has of them now, in the order of
/// [`lacked`], or `None` when it has no such row any more. Then a later record deletes the row, and it goes without.
pub fn complete(routes: &Routes, batch: &mut Batch, write: usize, values: Option<Vec<Value>>) -> Result<(), Rejected> {
    let write = &mut batch.writes[write];
    let route = &routes.routes[write.route];
    let mut values = values.map(Vec::into_iter);
    for (column, value) in route.columns.iter().zip(&mut write.values).filter(|(_, value)| is_lacked(value)) {
        let read = values.as_mut().and_then(Iterator::next).unwrap_or(Value::Absent);
        *value = fitted(route, column, &read).map_err(|reject| rejected(write.record, Some(write.route), reject))?;
    }
    Ok(())
}

/// The columns that a write's row lacks and that have to be read from the source: indexes into the topic's shape.
pub fn lacked(routes: &Routes, write: &Write) -> Vec<usize> {
    let columns = routes.routes[write.route].columns.iter().zip(&write.values);
    columns.filter(|(_, value)| is_lacked(value)).filter_map(|(column, _)| column.feed.field()).collect()
}

/// A planned write has an unavailable value only where its row is new under its key, so that there is no older cell
/// for the target to keep (C3).
fn is_lacked(value: &Value) -> bool {
    *value == Value::Unavailable
}

fn rejected(record: usize, route: Option<usize>, reject: Reject) -> Rejected {
    Rejected { record, route, reject }
}

fn stops_at_truncate(routes: &Routes, versioned: &Versioned) -> bool {
    routes.topic(&versioned.record.topic).is_none_or(|topic| topic.on_truncate == OnTruncate::Stop)
}

fn plan(routes: &Routes, record: usize, versioned: &Versioned, decoded: Decoded) -> Planned {
    if let Decoded::Reject(reject) = decoded {
        return Err(rejected(record, None, reject));
    }
    let Some(Topic { shape, routes: feeds, .. }) = routes.topic(&versioned.record.topic) else { return Ok(None) };
    let mut writes = Vec::with_capacity(feeds.len());
    let origin = match &decoded {
        Decoded::Change(change) => &change.source[..],
        _ => &[],
    };
    let unless_newer = versioned.record.headers.iter().any(|header| header.name == UNLESS_NEWER);
    let mut each = |plan: &dyn Fn(&mut RoutePlan<'_>) -> Result<(), Reject>| {
        for at in feeds {
            let route = &routes.routes[*at];
            let writes = &mut writes;
            let mut planned = RoutePlan { at: *at, route, shape, record, versioned, origin, unless_newer, writes };
            plan(&mut planned).map_err(|reject| rejected(record, Some(*at), reject))?;
        }
        Ok(())
    };
    match &decoded {
        Decoded::Change(change) => each(&|route| route.change(change))?,
        Decoded::Tombstone(key) => each(&|route| route.tombstone(key))?,
        // The draft has stopped in front of the first two, or was told to pass over a truncate.
        Decoded::Truncate
        | Decoded::Stop(_)
        | Decoded::Message
        | Decoded::Heartbeat
        | Decoded::Transaction
        | Decoded::SchemaChange
        | Decoded::Signal
        | Decoded::Reject(_) => return Ok(None),
    }
    Ok(Some(writes))
}

/// One record on its way through one route.
struct RoutePlan<'a> {
    at: usize,
    route: &'a Route,
    shape: &'a Shape,
    record: usize,
    versioned: &'a Versioned,
    /// The values of the shape's `source`.
    origin: &'a [Value],
    unless_newer: bool,
    writes: &'a mut Vec<Write>,
}

impl RoutePlan<'_> {
    fn change(&mut self, change: &Change) -> Result<(), Reject> {
        match &self.route.apply {
            Apply::Mirror => self.mirror(change),
            Apply::Events { modified_at, .. } => self.event(change, modified_at.as_deref()),
        }
    }

    /// The newest image is the row. A row whose target key changed is deleted under the old one (C4).
    fn mirror(&mut self, change: &Change) -> Result<(), Reject> {
        let before = || {
            let missing = || Reject::new(RejectClass::MissingImage, "the change has no image before");
            change.before.as_ref().ok_or_else(missing)
        };
        match change.op {
            Op::Delete => {
                if let Some(old) = self.old_key(before()?)? {
                    self.remove(old)?;
                }
            }
            Op::Update if self.route.moves => {
                let old = self.old_key(before()?)?;
                self.put(change, old)?;
            }
            // A key change arrives as a delete and a create, which may lack what the update left alone.
            Op::Update | Op::Read | Op::Create => self.put(change, None)?,
        }
        Ok(())
    }

    /// Puts the image after in the place of the row under the old key; one that `where` keeps out is deleted there.
    fn put(&mut self, change: &Change, old: Option<Vec<Value>>) -> Result<(), Reject> {
        let after = self.after(change)?;
        let kept = self.route.filter.keeps(self.shape, after, change.op)?;
        let new = if kept { Some(self.values(after)?) } else { self.key_without_row(after, RejectClass::MissingKey)? };
        let same = |new: &Vec<Value>, old: &Vec<Value>| self.route.key.iter().all(|at| old[*at] == new[*at]);
        let moved = old.filter(|old| !new.as_ref().is_some_and(|new| same(new, old)));
        // A row that was kept out so far has no cells to keep.
        // And cells that are kept would end when the record that brought them says.
        let renews = !self.route.filter.is_empty() || self.route.ttl.is_some();
        let is_new = change.op != Op::Update || moved.is_some() || renews;
        moved.into_iter().for_each(|old| self.push(WriteKind::Delete, Expect::Any, old));
        match new {
            Some(values) if !kept => self.push(WriteKind::Delete, Expect::Any, values),
            Some(values) if is_new => self.push_new(values, self.ends_at_ms(after)?)?,
            Some(values) => self.push_kept(values),
            None => {}
        }
        Ok(())
    }

    /// The source has deleted the row with this key: it is deleted here, or its flag says that it was.
    fn remove(&mut self, mut key: Vec<Value>) -> Result<(), Reject> {
        match self.route.soft_delete {
            None => self.push(WriteKind::Delete, Expect::Any, key),
            Some(flag) => {
                key[flag] = Value::Bool(true);
                let ends_at_ms = self.ends_at_ms(&Row::new())?;
                self.push_until(WriteKind::Upsert, Expect::Any, key, ends_at_ms);
            }
        }
        Ok(())
    }

    /// When the row of this image ends.
    fn ends_at_ms(&self, image: &Row) -> Result<Option<i64>, Reject> {
        self.route.ttl.map_or(Ok(None), |ttl| ttl.ends_at_ms(&self.versioned.record, image))
    }

    /// The key that the row had; `None` when it was certainly kept out, and had none that a row could stand under.
    fn old_key(&self, before: &Row) -> Result<Option<Vec<Value>>, Reject> {
        if self.route.filter.kept_out(before) {
            return self.key_without_row(before, RejectClass::MissingImage);
        }
        self.keys_only(before, RejectClass::MissingImage).map(Some)
    }

    /// The key of a row that is not in the target; `None` when no row could stand under it, because part of it is null
    /// or does not fit.
    fn key_without_row(&self, image: &Row, missing: RejectClass) -> Result<Option<Vec<Value>>, Reject> {
        let is_there = |at: &usize| self.route.columns[*at].feed.field().is_none_or(|field| image[field].is_sent());
        match self.keys_only(image, missing) {
            Err(_) if self.route.key.iter().all(is_there) => Ok(None),
            key => key.map(Some),
        }
    }

    fn after<'c>(&self, change: &'c Change) -> Result<&'c Row, Reject> {
        let missing = || Reject::new(RejectClass::MissingImage, "the change has no image after");
        change.after.as_ref().ok_or_else(missing)
    }

    fn event(&mut self, change: &Change, modified_at: Option<&str>) -> Result<(), Reject> {
        let (kind, mut expect) = match change.op {
            Op::Create | Op::Read => (WriteKind::Upsert, Expect::Absent),
            Op::Update => (WriteKind::Upsert, Expect::Present),
            Op::Delete => (WriteKind::Delete, Expect::Present),
        };
        let values = self.values(self.after(change)?)?;
        if self.unless_newer && expect == Expect::Present {
            let column = self.route.columns.iter().position(|column| Some(column.name.as_str()) == modified_at);
            let comparable = column.filter(|at| values[*at].is_present()).ok_or_else(|| {
                let text = "the event was produced again and may not go over a newer row, but it has no value for the \
                            route's `modified_at`, or the route names none";
                Reject::new(RejectClass::WrongType, text)
            });
            expect = Expect::PresentOlder(comparable?);
        }
        self.push(kind, expect, values);
        Ok(())
    }

    /// The row is gone. Where the target's key needs more than the source's key, the delete before the tombstone
    /// has done it already.
    fn tombstone(&mut self, key: &Row) -> Result<(), Reject> {
        match &self.route.apply {
            Apply::Mirror if !self.route.moves => {
                let old = self.keys_only(key, RejectClass::MissingKey)?;
                self.remove(old)?;
            }
            Apply::Mirror | Apply::Events { .. } => {}
        }
        Ok(())
    }

    /// The route's columns out of an image of the topic's shape.
    fn values(&self, image: &Row) -> Result<Vec<Value>, Reject> {
        let values = self.route.columns.iter().map(|column| self.value(column, image));
        let mut values: Vec<Value> = values.collect::<Result<_, _>>()?;
        self.route.key.iter().for_each(|at| to_key(&mut values[*at]));
        self.check_key(&values, RejectClass::MissingKey)?;
        Ok(values)
    }

    fn keys_only(&self, image: &Row, missing: RejectClass) -> Result<Vec<Value>, Reject> {
        let mut values = vec![Value::Absent; self.route.columns.len()];
        for at in &self.route.key {
            values[*at] = self.value(&self.route.columns[*at], image)?;
            to_key(&mut values[*at]);
        }
        self.check_key(&values, missing)?;
        Ok(values)
    }

    /// The value of a column, in the form that it takes.
    fn value(&self, column: &RouteColumn, image: &Row) -> Result<Value, Reject> {
        match &column.feed {
            Feed::Field(at) => fitted(self.route, column, &image[*at]),
            Feed::Constant(value) => Ok(value.clone()),
            Feed::Header(name) => fitted(self.route, column, &feed::header(&self.versioned.record, name)?),
            Feed::Source(at) => fitted(self.route, column, self.origin.get(*at).unwrap_or(&Value::Absent)),
        }
    }

    fn check_key(&self, values: &[Value], missing: RejectClass) -> Result<(), Reject> {
        let absent = |at: &&usize| matches!(values[**at], Value::Absent | Value::Unavailable | Value::Null);
        match self.route.key.iter().find(absent) {
            None => Ok(()),
            Some(at) => {
                let name = &self.route.columns[*at].name;
                Err(Reject::new(missing, format!("key column \"{name}\" of \"{}\" has no value", self.route.table)))
            }
        }
    }

    /// A row that is there already: what the record does not bring, the target keeps.
    fn push_kept(&mut self, mut values: Vec<Value>) {
        let kept = if mutation::is(Mutation::NullForAbsent) { Value::Null } else { Value::Absent };
        values.iter_mut().filter(|value| is_lacked(value)).for_each(|value| *value = kept.clone());
        self.push(WriteKind::Upsert, Expect::Any, values);
    }

    /// A row that is new under its key: there is nothing for the target to keep, so what the record does not bring has
    /// to come from the source.
    fn push_new(&mut self, values: Vec<Value>, ends_at_ms: Option<i64>) -> Result<(), Reject> {
        if self.route.reselect.is_none()
            && let Some(at) = values.iter().position(is_lacked)
        {
            let text = format!(
                "the row is new under its key and brings no value for column \"{}\" of \"{}\" (unchanged TOAST): set REPLICA \
                 IDENTITY FULL, or configure [source.postgres] and the route's `source_table`",
                self.route.columns[at].name, self.route.table
            );
            return Err(Reject::new(RejectClass::Unavailable, text));
        }
        self.push_until(WriteKind::Upsert, Expect::Any, values, ends_at_ms);
        Ok(())
    }

    fn push(&mut self, kind: WriteKind, expect: Expect, values: Vec<Value>) {
        self.push_until(kind, expect, values, None);
    }

    /// A record's delete is stamped with its version and its insert one higher (V1).
    fn push_until(&mut self, kind: WriteKind, expect: Expect, values: Vec<Value>, ends_at_ms: Option<i64>) {
        let version = match expect {
            Expect::Any if mutation::is(Mutation::DeleteAtInsert) => Some(self.versioned.version + 1),
            Expect::Any => Some(self.versioned.version + i64::from(kind == WriteKind::Upsert)),
            Expect::Absent | Expect::Present | Expect::PresentOlder(_) => None,
        };
        let standing = self.route.guard.as_ref().map(|_| self.versioned.standing).unwrap_or_default();
        let (record, route) = (self.record, self.at);
        self.writes.push(Write { record, route, kind, expect, version, ends_at_ms, standing, values });
    }
}

/// A value of the source as its column takes it.
fn fitted(route: &Route, column: &RouteColumn, value: &Value) -> Result<Value, Reject> {
    convert(value, &column.kind, column.policy).map_err(|misfit| {
        let text = format!("column \"{}\" of \"{}\" ({}) {}", column.name, route.table, column.kind, misfit.why);
        Reject::new(misfit.class, text)
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod bench_tests;
#[cfg(test)]
mod soft_delete_tests;
