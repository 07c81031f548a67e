//! Schedules: what happens, step by step, drawn from a seed. Every step means something in every situation, so that
//! any of them can be left out.

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::source::{Alteration, IDS, Stamp, Table, USERS};

pub const PROCESSES: usize = 2;
const STEPS_MAX: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub seed: u64,
    pub table: Table,
    /// The routes have the rewind guard (V6).
    pub guarded: bool,
    pub batch_records_max: usize,
    pub steps: Vec<Step>,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFate {
    Taken,
    NotTaken,
    /// Taken, and the process does not hear of it.
    Unheard,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    // The source and its connector.
    Change {
        id: i64,
        alteration: Alteration,
        stamp: Stamp,
        poison: bool,
        early: bool,
    },
    Snapshot {
        ids: u8,
    },
    ConnectorCrash {
        events: usize,
    },
    Junk,
    Gap,
    Clock {
        by_ms: i64,
    },
    // A process goes on: gets the partition if nobody has it, reads, writes, is answered, commits.
    Work {
        process: usize,
        records: usize,
    },
    // The same in its parts.
    Assign {
        process: usize,
    },
    Fetch {
        process: usize,
        records: usize,
    },
    Poll {
        process: usize,
    },
    Letters {
        process: usize,
        taken: bool,
    },
    Commit {
        process: usize,
        fate: CommitFate,
    },
    Elapse,
    // The network to the cluster.
    Deliver {
        count: usize,
        pick: usize,
        answers: bool,
    },
    Lose {
        pick: usize,
    },
    TimeOut {
        process: usize,
    },
    // Members come and go.
    Kill {
        process: usize,
    },
    Start {
        process: usize,
    },
    Revoke {
        process: usize,
        ends: bool,
    },
    CutOff {
        process: usize,
    },
    Reconnect {
        process: usize,
    },
    // The operator.
    SetBack {
        to: usize,
    },
    /// A process may be cut off while the operator does it, and so is not stopped.
    Refill {
        cut_off: Option<usize>,
    },
}

/// Kinds of steps that one schedule has and another does not, so that each is also seen without the noise of the rest.
const KINDS: [Kind; 13] = [
    Kind::Alone,
    Kind::Moves,
    Kind::Poison,
    Kind::Stamps,
    Kind::Jumps,
    Kind::Emissions,
    Kind::Parts,
    Kind::Network,
    Kind::Crashes,
    Kind::Rebalances,
    Kind::CutOffs,
    Kind::SetBacks,
    Kind::Refills,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One key only.
    Alone,
    Moves,
    Poison,
    Stamps,
    Jumps,
    Emissions,
    Parts,
    Network,
    Crashes,
    Rebalances,
    CutOffs,
    SetBacks,
    Refills,
}

impl Schedule {
    pub fn of(seed: u64) -> Schedule {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let table = if dice.random_bool(0.5) { Table::Plain } else { Table::Moving };
        let guarded = dice.random_bool(0.4);
        let batch_records_max = dice.random_range(1..8);
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| dice.random_bool(0.5)).collect();
        let length = dice.random_range(10..STEPS_MAX);
        let steps = (0..length).map(|_| Step::draw(&mut dice, &kinds)).collect();
        Schedule { seed, table, guarded, batch_records_max, steps }
    }
}

impl Step {
    fn draw(dice: &mut ChaCha8Rng, kinds: &[Kind]) -> Step {
        let process = dice.random_range(0..PROCESSES);
        let pick = dice.random_range(0..64);
        match dice.random_range(0..100) {
            0..38 => Step::change(dice, kinds),
            38..58 => Step::Work { process, records: dice.random_range(1..7) },
            _ => match kinds.choose(dice) {
                None | Some(Kind::Alone | Kind::Moves | Kind::Poison | Kind::Stamps) => {
                    if dice.random_bool(0.5) {
                        Step::change(dice, kinds)
                    } else {
                        Step::Gap
                    }
                }
                Some(Kind::Jumps) => {
                    Step::Clock { by_ms: *[1, 5, 1_000, -1, -5, -1_000, 60_000, -60_000].choose(dice).expect("some") }
                }
                Some(Kind::Emissions) => match dice.random_range(0..5) {
                    0 => Step::Snapshot { ids: dice.random_range(1..1 << IDS) },
                    1 => Step::Junk,
                    _ => Step::ConnectorCrash { events: dice.random_range(1..8) },
                },
                Some(Kind::Parts) => match dice.random_range(0..9) {
                    0 => Step::Assign { process },
                    1 | 2 => Step::Fetch { process, records: dice.random_range(1..7) },
                    3 | 4 => Step::Poll { process },
                    5 => Step::Letters { process, taken: dice.random_bool(0.6) },
                    6 => Step::Commit { process, fate: CommitFate::Taken },
                    7 => {
                        let fate = if dice.random_bool(0.5) { CommitFate::NotTaken } else { CommitFate::Unheard };
                        Step::Commit { process, fate }
                    }
                    _ => Step::Elapse,
                },
                Some(Kind::Network) => match dice.random_range(0..8) {
                    0..5 => Step::Deliver { count: dice.random_range(1..6), pick, answers: dice.random_bool(0.8) },
                    5 => Step::Lose { pick },
                    _ => Step::TimeOut { process },
                },
                Some(Kind::Crashes) => {
                    if dice.random_bool(0.5) {
                        Step::Kill { process }
                    } else {
                        Step::Start { process }
                    }
                }
                Some(Kind::Rebalances) => match dice.random_range(0..3) {
                    0 => Step::Revoke { process, ends: dice.random_bool(0.7) },
                    1 => Step::Assign { process },
                    _ => Step::Fetch { process, records: dice.random_range(1..7) },
                },
                Some(Kind::CutOffs) => match dice.random_range(0..5) {
                    0 => Step::CutOff { process },
                    1 => Step::Reconnect { process },
                    2 => Step::Assign { process: 1 - process },
                    3 => Step::Fetch { process, records: dice.random_range(1..7) },
                    _ => Step::Poll { process },
                },
                Some(Kind::SetBacks) => Step::SetBack { to: pick },
                Some(Kind::Refills) => Step::Refill { cut_off: dice.random_bool(0.5).then_some(process) },
            },
        }
    }

    fn change(dice: &mut ChaCha8Rng, kinds: &[Kind]) -> Step {
        let id = if kinds.contains(&Kind::Alone) { 0 } else { dice.random_range(0..IDS) };
        let alteration = match dice.random_range(0..10) {
            0..3 => Alteration::Update,
            3..6 => Alteration::UpdateA,
            6 => Alteration::Clear,
            7 | 8 if kinds.contains(&Kind::Moves) => Alteration::Move(dice.random_range(0..USERS)),
            _ => Alteration::Delete,
        };
        let poison = kinds.contains(&Kind::Poison) && dice.random_bool(0.15);
        let stamp = match dice.random_range(0..6) {
            0 if kinds.contains(&Kind::Stamps) => Stamp::None,
            1 if kinds.contains(&Kind::Stamps) => Stamp::Absurd,
            _ => Stamp::Now,
        };
        Step::Change { id, alteration, stamp, poison, early: dice.random_bool(0.2) }
    }
}
