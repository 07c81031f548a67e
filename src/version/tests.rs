//! Versions are a function of the log and the checkpoint, also when a partition is set back.

use proptest::prelude::*;

use super::*;

#[test]
fn versions_follow_the_timestamp_and_rise_by_at_least_two() {
    let mut chain = Chain::START;
    let stamps = [Some(5), Some(5), Some(4), None, Some(-1), Some(i64::MAX), Some(6)];
    let given: Vec<Version> = (0..).zip(stamps).map(|(offset, ms)| chain.next(offset, ms)).collect();
    assert_eq!(given, [5000, 5002, 5004, 5006, 5008, 5010, 6000]);
}

#[test]
fn a_commit_without_our_state_is_refused() {
    assert_eq!(Chain::load(""), Err(SavedError::Missing));
    for foreign in [
        "x",
        "rowferry:1:last=",
        "rowferry:1:last=-2",
        "rowferry:1:last=3",
        "rowferry:1:last=4:floor=2@1",
        "rowferry:2:last=4",
        "rowferry:2:last=4:floor=2",
        "rowferry:2:last=4:floor=3@1",
        "rowferry:2:last=4:floor=2@-1",
        "rowferry:2:last=3:floor=2@1",
        "rowferry:2:last=4:floor=2@1@0",
        "rowferry:3:last=4",
        "rowferry:3:last=4:floor=2@1",
        "rowferry:4:last=4",
        "rowferry:01:last=4",
    ] {
        assert_eq!(Chain::load(foreign), Err(SavedError::Foreign), "{foreign}");
    }
}

#[test]
fn what_was_saved_before_is_read_and_the_longest_form_is_short() {
    assert_eq!(Chain::load("rowferry:1:last=42"), Ok(Chain { last: 42, ..Chain::START }));
    let floor = Some(Floor { offset: i64::MAX, last: i64::MAX - 1, guard: guard::tests::longest() });
    let longest = Chain { last: i64::MAX - 1, floor, guard: guard::tests::longest() };
    assert_eq!(Chain::load(&longest.save()), Ok(longest));
    assert!(longest.save().is_ascii() && longest.save().len() <= SAVED_BYTES_MAX, "{}", longest.save().len());
    let floor = Some(Floor { offset: 9, last: 8, guard: Guard::NEW });
    assert_eq!(Chain { last: 6, floor, ..Chain::START }.save(), "rowferry:2:last=6:floor=8@9");
    assert_eq!(Chain::load("rowferry:2:last=6:floor=8@9"), Ok(Chain { last: 6, floor, ..Chain::START }));
}

#[test]
fn the_furthest_checkpoint_stays_the_floor_until_it_is_reached() {
    let chain = Chain { last: 1_000, ..Chain::START }.set_back(10);
    assert_eq!(chain, Chain { floor: Some(Floor { offset: 10, last: 1_000, guard: Guard::NEW }), ..Chain::START });
    // Set back again from half-way: the floor is still the furthest.
    let again = chain.after(4, 500).set_back(5);
    assert_eq!(again, Chain { floor: Some(Floor { offset: 10, last: 1_000, guard: Guard::NEW }), ..Chain::START });
    // Exactly at the floor, of which nobody has read a record yet.
    assert_eq!(chain.after(9, 800).set_back(10), again);
    let mut reached = again;
    assert_eq!((reached.next(9, None), reached.next(10, None), reached.floor()), (2, 1_002, None));
    // Offsets have gaps.
    let mut beyond = again;
    assert_eq!((beyond.next(12, None), beyond.floor()), (1_002, None));
    assert_eq!(again.after(12, 1_002), Chain { last: 1_002, ..Chain::START });
    let marked = Chain { guard: guard::tests::longest(), ..Chain::START }.set_back(10);
    assert_eq!((marked.guard(), marked.floor().map(|floor| floor.guard)), (Guard::NEW, Some(guard::tests::longest())));
    assert_eq!(Chain::load(&marked.save()), Ok(marked));
    let again = marked.after(3, 4).set_back(5).floor().map(|floor| floor.guard);
    assert_eq!(again, Some(guard::tests::longest()));
    assert_eq!(chain.raised(), Chain { last: 1_000, ..Chain::START });
    assert_eq!((Chain::above(7).last(), Chain::above(8).last(), Chain::above(-3).last()), (8, 8, 0));
}

/// A partition's log: offsets with gaps, and timestamps of any kind.
fn log() -> impl Strategy<Value = Vec<(i64, Option<i64>)>> {
    let stamp = prop_oneof![
        4 => (1_700_000_000_000..1_700_000_000_100i64).prop_map(Some),
        1 => any::<i64>().prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec((1..3i64, stamp), 1..60).prop_map(|records| {
        let mut offset = -1;
        let place = |(gap, stamp)| {
            offset += gap;
            (offset, stamp)
        };
        records.into_iter().map(place).collect()
    })
}

/// What a commit holds.
#[derive(Debug, Clone)]
struct Checkpoint {
    next_offset: i64,
    saved: String,
}

/// Reads up to `count` records from a checkpoint on, and returns the versions with the next checkpoint.
fn read(log: &[(i64, Option<i64>)], from: &Checkpoint, count: usize) -> (Vec<(i64, Version)>, Checkpoint) {
    let start = Chain::load(&from.saved).expect("our own form");
    let (mut running, mut kept) = (start, from.clone());
    let records = log.iter().filter(|(offset, _)| *offset >= from.next_offset).take(count);
    let versions: Vec<(i64, Version)> =
        records.map(|(offset, stamp)| (*offset, running.next(*offset, *stamp))).collect();
    if let Some((offset, version)) = versions.last() {
        let after = start.after(*offset, *version);
        assert_eq!(after, running, "a checkpoint is made of the last version alone");
        kept = Checkpoint { next_offset: offset + 1, saved: after.save() };
    }
    (versions, kept)
}

proptest! {
    #[test]
    fn a_chain_resumed_anywhere_gives_the_same_versions(log in log(), cut in any::<prop::sample::Index>()) {
        let start = Checkpoint { next_offset: 0, saved: Chain::START.save() };
        let (whole, _) = read(&log, &start, log.len());
        let (first, kept) = read(&log, &start, cut.index(log.len()));
        let (second, _) = read(&log, &kept, log.len());
        prop_assert_eq!(&whole, &[first, second].concat());
        prop_assert!(whole.iter().all(|(_, version)| version % 2 == 0 && *version > 0));
    }

    /// Any part is read again from any place, any number of times, and killed anywhere: no version of a record that
    /// was read before is above its first one, and a new record's is the one that an undisturbed reader gives it.
    #[test]
    fn what_is_read_again_stays_below_and_what_is_new_comes_above(
        log in log(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 1..12),
    ) {
        let start = Checkpoint { next_offset: 0, saved: Chain::START.save() };
        let (first, _) = read(&log, &start, log.len());
        let first: std::collections::HashMap<i64, Version> = first.into_iter().collect();
        let mut stands = start;
        let mut furthest = 0;
        let mut all = 0;
        for (count, back, is_set_back) in steps {
            let (versions, next) = read(&log, &stands, count.index(log.len() + 1));
            for (offset, version) in versions {
                if offset < furthest {
                    prop_assert!(version <= first[&offset], "offset {offset}");
                } else {
                    prop_assert_eq!(version, first[&offset], "offset {}", offset);
                    prop_assert!(version > all);
                }
                all = all.max(version);
                furthest = furthest.max(offset + 1);
            }
            stands = next;
            if is_set_back && stands.next_offset > 0 {
                let chain = Chain::load(&stands.saved).expect("our own form").set_back(stands.next_offset);
                let to = back.index(usize::try_from(stands.next_offset).expect("it is small"));
                stands = Checkpoint { next_offset: to as i64, saved: chain.save() };
            }
        }
        // In the end every record has been read, and the last reading of each is as high as any other record's order
        // asks for: versions rise with offsets within one pass to the end.
        let (rest, _) = read(&log, &stands, log.len());
        prop_assert!(rest.windows(2).all(|pair| pair[0].1 < pair[1].1));
        for (offset, version) in rest {
            prop_assert!(version <= first[&offset] && (offset < furthest || version == first[&offset]));
        }
    }
}
