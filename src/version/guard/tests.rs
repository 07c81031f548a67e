//! The guard against a model of a connector that crashes and sends the end of its stream again.

use proptest::prelude::*;

use super::*;
use crate::row::{Row, Value};
use crate::version::Chain;

fn at(commit_lsn: u64, lsn: u64, tx_id: u32) -> Position {
    Position { commit_lsn, lsn, tx_id }
}

fn origin(position: Position, ts_us: i64) -> Origin {
    Origin { source: 1, position, ts_us }
}

/// A guard whose saved form is the longest that there is.
pub fn longest() -> Guard {
    let position = at(u64::MAX, u64::MAX, u32::MAX);
    let mark = |source| Some(Mark { source, position, ts_us: i64::MIN });
    let standing = Standing { position: Some(position), suspect: true, mark: Some(position), alone: false };
    let marks = [mark(u64::MAX), mark(1), mark(2), mark(3)];
    Guard { marks, deleted: Some(Deleted { key: u64::MAX, standing }), redriven: false }
}

fn saved(guard: &Guard) -> String {
    let mut out = String::new();
    guard.save(&mut out, "");
    out
}

/// The guard that whoever comes next has.
fn reloaded(guard: Guard) -> Guard {
    let chain = Chain::START.after(0, 2).guarded(guard);
    Chain::load(&chain.save()).expect("our own form").guard()
}

#[test]
fn a_position_is_taken_suspected_or_another_history() {
    let mut guard = Guard::NEW;
    let mut observe = |position, ts_us| guard.observe(&origin(position, ts_us));
    assert_eq!(observe(at(10, 12, 1), 100), Verdict::Accept, "the first one sets the mark");
    assert_eq!(observe(at(10, 12, 1), 100), Verdict::Accept, "several rows may share a position");
    assert_eq!(observe(at(20, 15, 2), 90), Verdict::Accept, "a later commit, whose clock ran behind");
    assert_eq!(observe(at(10, 12, 1), 100), Verdict::Suspect, "not later than all that was sent");
    assert_eq!(observe(at(20, 14, 2), 90), Verdict::Suspect);
    assert_eq!(observe(at(0, 16, 2), 90), Verdict::Accept, "the rest of a transaction that was half sent");
    assert_eq!(observe(at(20, 15, 3), 90), Verdict::Suspect, "the commit before is still known");
    assert_eq!(observe(at(1, 2, 3), 101), Verdict::NewHistory);
    assert_eq!(observe(at(1, 3, 3), 101), Verdict::Accept, "the mark began anew");
    assert_eq!(observe(at(1, 2, 3), 101), Verdict::Suspect);
}

#[test]
fn each_stream_has_its_mark_and_the_quietest_is_forgotten() {
    let mut guard = Guard::NEW;
    let mut observe = |source, lsn| guard.observe(&Origin { source, position: at(1, lsn, 0), ts_us: 0 });
    for source in 1..=MARKS_MAX as u64 {
        assert_eq!(observe(source, 50), Verdict::Accept);
        assert_eq!(observe(source, 49), Verdict::Suspect);
    }
    assert_eq!(observe(1, 50), Verdict::Accept, "heard again");
    assert_eq!(observe(99, 10), Verdict::Accept, "one too many: 2 was quiet for longest");
    assert_eq!(observe(1, 49), Verdict::Suspect);
    assert_eq!(observe(3, 49), Verdict::Suspect);
    assert_eq!(observe(2, 49), Verdict::Accept);
}

#[test]
fn behind_a_floor_a_stream_that_was_heard_again_goes_on_from_where_it_was_heard() {
    let heard = |positions: &[u64]| {
        let mut guard = Guard::NEW;
        for &lsn in positions {
            guard.observe(&origin(at(1, lsn, 0), 0));
        }
        guard
    };
    let next = |read_again: Guard, lsn| heard(&[50]).behind(read_again).observe(&origin(at(1, lsn, 0), 0));
    assert_eq!(next(heard(&[20, 30]), 40), Verdict::Accept, "it began in the middle of what was sent again");
    assert_eq!(next(heard(&[20, 30]), 29), Verdict::Suspect);
    assert_eq!(next(heard(&[20, 50]), 40), Verdict::Suspect, "it has come to the mark");
    assert_eq!(next(Guard::NEW, 40), Verdict::Suspect, "it was not heard");
    let mut other = Guard::NEW;
    other.observe(&Origin { source: 2, ..origin(at(1, 30, 0), 0) });
    assert_eq!(next(other, 40), Verdict::Suspect, "another stream says nothing of it");
}

fn change(op: Op, origin: Option<Origin>) -> Decoded {
    Decoded::Change(Change { origin, ..Change::of(op, None, Some(Row::new())) })
}

#[test]
fn a_redriven_change_is_a_suspect_wherever_it_stands() {
    let update = change(Op::Update, Some(origin(at(10, 12, 1), 100)));
    assert!(!{ Guard::NEW }.stand(Some(b"k"), &update).0.suspect);
    let redriven = Standing { position: Some(at(10, 12, 1)), suspect: true, ..Standing::default() };
    assert_eq!({ Guard::REDRIVEN }.stand(Some(b"k"), &update), (redriven, Verdict::Accept));
    // A snapshot says what the source had then: nothing of it is sent again.
    assert!(!{ Guard::REDRIVEN }.stand(Some(b"k"), &change(Op::Read, None)).0.suspect);
}

#[test]
fn rows_of_snapshots_neither_move_the_mark_nor_ask_it() {
    let mut guard = Guard::NEW;
    let mut stand = |decoded: &Decoded| guard.stand(Some(b"k"), decoded).0;
    let mark = origin(at(10, 12, 1), 100);
    stand(&change(Op::Update, Some(mark)));
    let zero = Standing { position: Some(Position::ZERO), ..Standing::default() };
    assert_eq!(stand(&change(Op::Read, None)), zero);
    assert_eq!(stand(&change(Op::Update, None)), zero, "and what says no position");
    assert_eq!(stand(&change(Op::Delete, None)), Standing::default(), "nothing is remembered of it");
    let at_mark = Standing { position: Some(mark.position), ..Standing::default() };
    assert_eq!(stand(&change(Op::Update, Some(mark))), at_mark);
    assert!(stand(&change(Op::Update, Some(origin(at(10, 11, 1), 100)))).suspect);
    for beside in [Decoded::Heartbeat, Decoded::Message, Decoded::Truncate, Decoded::Stop(String::new())] {
        assert_eq!(stand(&beside), Standing::default());
    }
}

#[test]
fn a_tombstone_stands_where_its_delete_stands_also_after_a_restart() {
    let delete = |lsn| change(Op::Delete, Some(origin(at(10, lsn, 1), 100)));
    let tombstone = Decoded::Tombstone(vec![Value::Int(1)]);
    let mut guard = Guard::NEW;
    let (first, _) = guard.stand(Some(b"k"), &delete(12));
    assert_eq!(reloaded(guard).stand(Some(b"k"), &tombstone).0, first);
    assert_eq!(guard.stand(Some(b"k"), &tombstone).0, first);
    assert_eq!(guard.stand(Some(b"k"), &tombstone).0, Standing::default(), "one tombstone for one delete");
    let (again, _) = guard.stand(Some(b"k"), &delete(11));
    assert!(again.suspect);
    let mut next = reloaded(guard);
    assert_eq!(next.stand(Some(b"k"), &tombstone).0, again);
    assert_eq!(guard.stand(Some(b"other"), &tombstone).0, Standing::default(), "of another row");
    guard.stand(Some(b"k"), &delete(11));
    guard.stand(Some(b"k"), &Decoded::Heartbeat);
    assert_eq!(guard.stand(Some(b"k"), &tombstone).0, Standing::default(), "not next to its delete");
    guard.stand(None, &delete(11));
    assert_eq!(guard.stand(None, &tombstone).0, Standing::default(), "without a key nobody can tell");
}

#[test]
fn the_saved_form_is_read_as_it_was_written_and_nothing_else_is() {
    assert_eq!(saved(&Guard::NEW), "");
    let mut guard = Guard::NEW;
    guard.observe(&Origin { source: 0xab, position: at(1, 0x2f, 3), ts_us: -4 });
    let text = "00000000000000ab.0000000000000001000000000000002f00000003.-4";
    assert_eq!(saved(&guard), format!(":mark={text}"));
    assert_eq!(Chain::START.after(0, 2).guarded(guard).save(), format!("rowferry:3:last=2:mark={text}"));
    assert_eq!(saved(&longest()).len(), GUARD_BYTES_MAX);
    let load = |text: &str| Chain::load(text).ok().map(|chain| chain.guard());
    let deleted = "00000000000000ab.0000000000000001000000000000002f00000003";
    assert_eq!(load(&format!("rowferry:3:last=2:mark={text}")), Some(guard));
    assert!(load(&format!("rowferry:3:last=2:floor=4@1:mark={text}:mark={text}:deleted={deleted}")).is_some());
    for foreign in [
        format!("rowferry:1:last=2:mark={text}"),
        format!("rowferry:2:last=2:floor=4@1:mark={text}"),
        format!("rowferry:3:last=2:mark={text}:"),
        format!("rowferry:3:last=2:mark={text}:floor=4@1"),
        format!("rowferry:3:last=2:mark={text}:deleted={deleted}:deleted={deleted}"),
        format!("rowferry:3:last=2:mark={text}:deleted={deleted}:mark={text}"),
        format!("rowferry:3:last=2:mark={text}:deleted={deleted}:gone={deleted}"),
        format!("rowferry:3:last=2:deleted={deleted}"),
        format!("rowferry:3:last=2:mark={}", &text[1..]),
        format!("rowferry:3:last=2:mark={}", text.replace("2f", "2ö")),
        format!("rowferry:3:last=2:mark={}", text.replace("-4", "")),
        format!("rowferry:3:last=2{}", format!(":mark={text}").repeat(MARKS_MAX + 1)),
    ] {
        assert_eq!(Chain::load(&foreign), Err(crate::version::SavedError::Foreign), "{foreign}");
    }
}

/// A stream as a connector sends it: transactions in the order of their commits, whose rows are interleaved in the log
/// and whose commit times may run backwards.
fn stream() -> impl Strategy<Value = Vec<Origin>> {
    let transaction = (1..4usize, 0..30u64, -3..10i64);
    prop::collection::vec(transaction, 1..20).prop_map(|transactions| {
        let (mut commit_lsn, mut sent) = (1_000, Vec::new());
        for (tx_id, (rows, early, later)) in (1..).zip(transactions) {
            let begun = commit_lsn - early;
            let ts_us = commit_lsn as i64 + later;
            sent.extend((1..=rows as u64).map(|row| origin(at(commit_lsn, begun + 2 * row, tx_id), ts_us)));
            commit_lsn = commit_lsn.max(begun + 2 * rows as u64) + 5;
        }
        sent
    })
}

proptest! {
    /// Whatever is sent again is suspected, as long as it is behind what was sent, and whatever is new is taken: over any
    /// crashes of the connector and any restarts of ours, and also when a replay has forgotten the commit before it.
    #[test]
    fn what_is_sent_again_is_suspected_and_what_is_new_is_taken(
        stream in stream(),
        crashes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..5),
    ) {
        let (mut guard, mut sent) = (Guard::NEW, 0);
        let mut log: Vec<(usize, bool)> = Vec::new();
        for (until, back, forgets) in crashes {
            let until = sent + until.index(stream.len() - sent + 1);
            log.extend((sent..until).map(|at| (at, false)));
            sent = until;
            let back = back.index(sent + 1);
            log.extend((back..sent).map(|at| (at, forgets && stream[at].position.tx_id == stream[back].position.tx_id)));
        }
        log.extend((sent..stream.len()).map(|at| (at, false)));
        let mut furthest = None;
        for (at, forgets) in log {
            guard = reloaded(guard);
            let mut origin = stream[at];
            if forgets {
                origin.position.commit_lsn = 0;
            }
            let verdict = guard.observe(&origin);
            match furthest {
                // Rows of a transaction may share nothing but their commit with the mark: the last one is the mark itself.
                Some(furthest) if at < furthest => prop_assert_eq!(verdict, Verdict::Suspect, "{} of {}", at, furthest),
                _ => prop_assert_eq!(verdict, Verdict::Accept, "{}", at),
            }
            furthest = furthest.max(Some(at));
        }
    }
}
