//! Planted defects: ten ways to break a rule, each at the one line that keeps it, so that the simulator and the runs on
//! real servers can show that they would notice.
//!
//! They exist with the feature `mutations` alone, which no build for use has: without it [`is`] is `false` when the
//! code is compiled, and nothing is left of them.

#[cfg(feature = "mutations")]
use std::cell::Cell;
#[cfg(feature = "mutations")]
use std::sync::OnceLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// An upsert that a later one covers in part gives it its other cells, which so get the later version (V3a).
    FoldMergesCells,
    /// Versions rise by one only, so that an insert ties with the next record's delete (V1).
    LastPlusOne,
    /// The position moves when a write begins, not when it is durable (K1).
    CommitBeforeWrite,
    /// The guard takes the log position alone for the order of events (V6).
    GuardByLsnOnly,
    /// What is read behind the furthest checkpoint goes on with the versions of what was read again (V2).
    FloorIgnored,
    /// What a worker of a former assignment finished counts for the present one (K4).
    OldEpochAccepted,
    /// A value that the source left alone becomes a null (C2).
    NullForAbsent,
    /// A delete is stamped like the insert of its record (V1).
    DeleteAtInsert,
    /// The reader's clock takes part in versions (V1).
    OurClock,
    /// A record that is in neither the sink nor the dead-letter topic counts as finished (K1).
    WatermarkSkipsHole,
}

#[cfg(feature = "mutations")]
impl Mutation {
    pub const ALL: [Mutation; 10] = [
        Mutation::FoldMergesCells,
        Mutation::LastPlusOne,
        Mutation::CommitBeforeWrite,
        Mutation::GuardByLsnOnly,
        Mutation::FloorIgnored,
        Mutation::OldEpochAccepted,
        Mutation::NullForAbsent,
        Mutation::DeleteAtInsert,
        Mutation::OurClock,
        Mutation::WatermarkSkipsHole,
    ];
}

#[cfg(not(feature = "mutations"))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub(crate) fn is(mutation: Mutation) -> bool {
    PLANTED.get() == Some(mutation) || PLANTED_EVERYWHERE.get() == Some(&mutation)
}

#[cfg(feature = "mutations")]
thread_local! {
    static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    static CLOCK_MS: Cell<i64> = const { Cell::new(0) };
}

#[cfg(feature = "mutations")]
static PLANTED_EVERYWHERE: OnceLock<Mutation> = OnceLock::new();

/// Plants the defect of this name in all threads, for good.
#[cfg(feature = "mutations")]
pub fn plant_everywhere(name: &str) {
    let mutation = Mutation::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name);
    let mutation = mutation.unwrap_or_else(|| panic!("no defect is called {name}"));
    PLANTED_EVERYWHERE.get_or_init(|| mutation);
}

/// Plants a defect for this thread, or takes it out.
#[cfg(feature = "mutations")]
pub fn plant(mutation: Option<Mutation>) {
    PLANTED.set(mutation);
}

/// Sets the clock that [`Mutation::OurClock`] reads on this thread.
#[cfg(feature = "mutations")]
pub fn set_clock(now_ms: i64) {
    CLOCK_MS.set(now_ms);
}

/// What [`Mutation::OurClock`] takes for a record's timestamp, when it is planted.
#[cfg(feature = "mutations")]
pub(crate) fn our_clock_ms() -> Option<i64> {
    is(Mutation::OurClock).then(|| CLOCK_MS.get())
}
