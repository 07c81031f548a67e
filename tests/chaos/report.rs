//! What a case found, as a line for a person and, where `CHAOS_REPORT` names a file, as a line of JSON.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

/// One case of the table of faults.
#[derive(Debug)]
pub struct Report {
    /// The number of the fault, and what was done.
    pub fault: u32,
    pub case: String,
    pub seed: u64,
    /// Faults that were injected, and those of them that were seen to have hit.
    pub injected: u64,
    pub observed: u64,
    pub violations: Vec<String>,
    /// Records that were applied and not committed when a process died.
    pub redelivered: u64,
    /// From the end of the fault until nothing was left to do.
    pub recovered: Vec<Duration>,
    pub rss_bytes_max: u64,
    begun: Instant,
}

impl Report {
    pub fn new(fault: u32, case: &str, seed: u64) -> Report {
        eprintln!("chaos {fault}, {case}: CHAOS_SEED={seed}");
        Report {
            fault,
            case: case.into(),
            seed,
            injected: 0,
            observed: 0,
            violations: Vec::new(),
            redelivered: 0,
            recovered: Vec::new(),
            rss_bytes_max: 0,
            begun: Instant::now(),
        }
    }

    /// Writes the line down, and fails the test when a promise was broken or when a fault that was injected did not hit.
    pub fn end(mut self) {
        self.recovered.sort();
        let ms = |at: usize| self.recovered.get(at).map(|recovered| recovered.as_millis() as u64);
        let (p50, max) = (ms(self.recovered.len() / 2), ms(self.recovered.len().saturating_sub(1)));
        let line = json!({
            "fault": self.fault, "case": self.case, "seed": self.seed, "injected": self.injected,
            "observed": self.observed, "violations": self.violations.len(), "redelivered": self.redelivered,
            "recovery_p50_ms": p50, "recovery_max_ms": max, "rss_peak_mib": self.rss_bytes_max >> 20,
            "seconds": self.begun.elapsed().as_secs(),
        });
        eprintln!("chaos: {line}");
        if let Some(path) = std::env::var_os("CHAOS_REPORT") {
            let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
            writeln!(file, "{line}").unwrap();
        }
        for violation in self.violations.iter().take(10) {
            eprintln!("violation: {violation}");
        }
        assert!(self.violations.is_empty(), "{} promises were broken by {}", self.violations.len(), self.case);
        assert_eq!(self.observed, self.injected, "not every fault of {} hit", self.case);
    }
}

/// `CHAOS_SEED`, or a new one.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};

    let named = std::env::var("CHAOS_SEED").ok().map(|seed| seed.parse().expect("CHAOS_SEED is a number"));
    named.unwrap_or_else(|| RandomState::new().hash_one(0) >> 40)
}

/// How many lives end at each stage: `CHAOS_ROUNDS`, or 1.
pub fn rounds() -> u64 {
    std::env::var("CHAOS_ROUNDS").map_or(1, |rounds| rounds.parse().expect("CHAOS_ROUNDS is a number"))
}

/// How often a case does what it does: in a plain test run, and with `make chaos`.
pub fn times(plain: u64, long: u64) -> u64 {
    if is_long() { long } else { plain }
}

/// Whether this is `make chaos` and not a plain test run, in which a case leaves out what takes long. These ask: `late`
/// (tombstones that are really purged) and `network` (a narrow line, half-open connections to Kafka). What is long as a
/// whole has `#[ignore = "long…"]`, which a plain run prints.
pub fn is_long() -> bool {
    std::env::var_os("CHAOS_ROUNDS").is_some()
}
