//! The rewind guard (V6): which records a connector may have sent before.
//!
//! After a crash a connector sends the end of its stream again, behind what it had sent, with new offsets and so with
//! new versions. A high-water mark for each stream of a partition tells such records; what is stored of the row then
//! decides, which is no matter of this file. Marks hold no reader up: a record that reaches its mark is taken as it is.

use std::fmt::Write as _;

use crate::change::position::{Origin, POSITION_BYTES, Position, Standing, digest};
use crate::change::{Change, Decoded, Op};

/// Streams of one partition whose marks are kept: beyond them the one that was quiet for longest is forgotten, and its
/// next record sets a new mark. A topic has one stream, and two while a connector is replaced by another.
pub const MARKS_MAX: usize = 4;

/// What a partition's streams have sent so far. The state goes with the commit, as of its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guard {
    /// The stream that was heard last stands first.
    marks: [Option<Mark>; MARKS_MAX],
    /// The last record was the delete of this key: its tombstone follows and stands where it stands.
    deleted: Option<Deleted>,
    /// See [`Guard::REDRIVEN`]. Nobody saves it.
    redriven: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    source: u64,
    /// The furthest position.
    position: Position,
    /// The latest commit, which need not be that of the furthest position: commit times run backwards between
    /// transactions, and a record sent again must never look later than all that was sent.
    ts_us: i64,
}

impl Mark {
    fn is_behind(&self, other: Mark) -> bool {
        self.source == other.source && self.position.is_before(other.position)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deleted {
    key: u64,
    standing: Standing,
}

/// What a position says against its stream's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the mark, which moves there.
    Accept,
    /// It is behind the mark, and so it was sent before: the row's stored position decides.
    Suspect,
    /// It is behind the mark and later than all before it: the source was restored, or another server took over. The
    /// mark begins anew.
    NewHistory,
}

impl Guard {
    /// Nothing was sent yet.
    pub const NEW: Guard = Guard { marks: [None; MARKS_MAX], deleted: None, redriven: false };

    /// That of a record which is redriven alone. It has no stream around it, so any change is a suspect: it may be one
    /// that the source sent again, and what the source sent again behind it the target has had before, by versions that
    /// are lower than this record's.
    pub const REDRIVEN: Guard = Guard { redriven: true, ..Guard::NEW };

    /// The marks of a floor, for what stands behind it when all before it was read again. A floor that was found in the
    /// sink has none, and a delete's tombstone may come now. A stream that was heard again and has not come to its mark is
    /// in the middle of what was sent again: we began there, and wrote changes that had been passed over, but not yet those
    /// that followed them. So these are taken, too.
    pub fn behind(self, read_again: Guard) -> Guard {
        let marks = self.marks.map(|mark| {
            let mut heard = read_again.marks.into_iter().flatten();
            heard.find(|again| mark.is_some_and(|mark| again.is_behind(mark))).or(mark)
        });
        Guard { marks, deleted: self.deleted.or(read_again.deleted), ..self }
    }

    /// Takes the next position of a stream, in the order of offsets, once.
    pub fn observe(&mut self, origin: &Origin) -> Verdict {
        let fresh = Mark { source: origin.source, position: origin.position, ts_us: origin.ts_us };
        let known = self.marks.iter().position(|mark| mark.is_some_and(|mark| mark.source == origin.source));
        self.marks[..=known.unwrap_or(MARKS_MAX - 1)].rotate_right(1);
        let place = &mut self.marks[0];
        let Some(mark) = place.as_mut().filter(|_| known.is_some()) else {
            *place = Some(fresh);
            return Verdict::Accept;
        };
        if !origin.position.is_before(mark.position) {
            let commit_lsn = origin.position.commit_lsn.max(mark.position.commit_lsn);
            mark.position = Position { commit_lsn, ..origin.position };
            mark.ts_us = mark.ts_us.max(origin.ts_us);
            return Verdict::Accept;
        }
        if origin.ts_us > mark.ts_us {
            *mark = fresh;
            return Verdict::NewHistory;
        }
        Verdict::Suspect
    }

    /// How the next record stands, in the order of offsets, once. Rows of snapshots are what the source has now: they
    /// have position zero, and no mark is moved or asked.
    pub fn stand(&mut self, key: Option<&[u8]>, decoded: &Decoded) -> (Standing, Verdict) {
        let deleted = self.deleted.take();
        match decoded {
            Decoded::Change(change) => {
                let (standing, verdict) = self.change(change);
                if change.op == Op::Delete {
                    self.deleted = key.map(|key| Deleted { key: digest(&[key]), standing });
                }
                (standing, verdict)
            }
            // It is sent with its delete. One that stands alone, because its topic is compacted, may be of any time.
            Decoded::Tombstone(_) => {
                let key = key.map(|key| digest(&[key]));
                let of_delete = deleted.filter(|deleted| Some(deleted.key) == key);
                (of_delete.map_or_else(Standing::default, |deleted| deleted.standing), Verdict::Accept)
            }
            _ => (Standing::default(), Verdict::Accept),
        }
    }

    fn change(&mut self, change: &Change) -> (Standing, Verdict) {
        let Some(origin) = &change.origin else {
            let position = (change.op != Op::Delete).then_some(Position::ZERO);
            return (Standing { position, ..Standing::default() }, Verdict::Accept);
        };
        let verdict = self.observe(origin);
        // That of the stream which was heard last.
        let mark = self.marks[0].filter(|_| verdict == Verdict::Suspect).map(|mark| mark.position);
        let suspect = mark.is_some() || self.redriven;
        (Standing { position: Some(origin.position), suspect, mark, alone: false }, verdict)
    }

    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        // A delete that has a position has left a mark.
        self.marks[0].is_none()
    }

    /// Appends the saved form, each part's name behind a prefix: ASCII, at most [`GUARD_BYTES_MAX`] long without the
    /// prefixes.
    pub(super) fn save(&self, out: &mut String, prefix: &str) {
        for mark in self.marks.iter().flatten() {
            // Writing into a string never fails.
            let _ = write!(out, ":{prefix}mark={:016x}.{}.{}", mark.source, hex(mark.position), mark.ts_us);
        }
        if let Some(Deleted { key, standing: Standing { position: Some(position), suspect, .. } }) = self.deleted {
            let name = if suspect { SUSPECT_DELETE } else { DELETE };
            let _ = write!(out, ":{prefix}{name}={key:016x}.{}", hex(position));
        }
    }

    /// Reads the parts of the saved form.
    pub(super) fn load<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Guard> {
        let mut guard = Guard::default();
        let mut marks = 0..MARKS_MAX;
        for part in parts {
            match part.split_once('=')? {
                ("mark", mark) if guard.deleted.is_none() => {
                    let (source, rest) = mark.split_once('.')?;
                    let (position, ts_us) = rest.split_once('.')?;
                    let (source, position) = (unhex_u64(source)?, unhex(position)?);
                    guard.marks[marks.next()?] = Some(Mark { source, position, ts_us: ts_us.parse().ok()? });
                }
                (name @ (SUSPECT_DELETE | DELETE), deleted) if guard.deleted.is_none() => {
                    let (key, position) = deleted.split_once('.')?;
                    let suspect = name == SUSPECT_DELETE;
                    // Its stream was heard last.
                    let mark = guard.marks[0].filter(|_| suspect).map(|mark| mark.position);
                    let standing = Standing { position: Some(unhex(position)?), suspect, mark, alone: false };
                    guard.deleted = Some(Deleted { key: unhex_u64(key)?, standing });
                }
                _ => return None,
            }
        }
        Some(guard)
    }
}

/// The parts' names of a delete that was a suspect, and of one that was not: its tombstone has not come yet.
const SUSPECT_DELETE: &str = "deleted";
const DELETE: &str = "gone";

/// The longest saved form: every mark, each with the longest time, and a delete.
pub const GUARD_BYTES_MAX: usize = MARKS_MAX * (":mark=".len() + 16 + 1 + 2 * POSITION_BYTES + 1 + 20)
    + ":deleted=".len()
    + 16
    + 1
    + 2 * POSITION_BYTES;

fn hex(position: Position) -> String {
    format!("{:016x}{:016x}{:08x}", position.commit_lsn, position.lsn, position.tx_id)
}

fn unhex(text: &str) -> Option<Position> {
    if text.len() != 2 * POSITION_BYTES || !text.is_ascii() {
        return None;
    }
    Some(Position {
        commit_lsn: unhex_u64(&text[..16])?,
        lsn: unhex_u64(&text[16..32])?,
        tx_id: u32::from_str_radix(&text[32..], 16).ok()?,
    })
}

fn unhex_u64(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
pub mod tests;
