//! What is seen of the process at one moment: the counts, the states, and whether it can do its work.

use std::fs;
use std::sync::Arc;

use serde::Serialize;

use crate::meter::Buckets;
use crate::pipeline::State;
use crate::pipeline::meters::{Doing, Meters, Reading, now_ms};
use crate::sink::Load;

/// A thread that has not begun a round for so long hangs: a rebalance may hold it up for two minutes at most.
const POLL_AGE_MS_MAX: i64 = 180_000;
/// Waits shorter than this are everyday life, such as a new owner's first connection.
const WAIT_MS_MIN: i64 = 5_000;

/// One moment of the process.
pub struct Seen {
    pub now_ms: i64,
    pub readings: Vec<Reading>,
    pub doing: Doing,
    pub load: Load,
    /// What keeps it from its work. Without any it is ready.
    pub reasons: Vec<Reason>,
    pub process: Process,
    pub meters: Arc<Meters>,
}

/// Something that a part of the work waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `start`, `stop`, `kafka`, `sink`, or a partition.
    pub of: String,
    /// A person has to act.
    pub stopped: bool,
    pub text: String,
    pub since_ms: i64,
}

/// What the kernel says of us; nothing where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    pub rss_bytes: Option<u64>,
    pub cpu_seconds: Option<f64>,
}

impl Seen {
    pub fn now(meters: &Arc<Meters>) -> Seen {
        let (readings, doing) = (meters.read(), meters.doing());
        let mut reasons = Vec::new();
        if let Doing::Starting(wait) = &doing {
            let (text, since_ms) = match wait {
                Some(wait) => (format!("waiting for {}", wait.what), wait.since_ms),
                None => ("connecting".into(), now_ms()),
            };
            reasons.push(Reason { of: "start".into(), stopped: false, text, since_ms });
        }
        if doing == Doing::Stopping {
            let text = "it was asked to stop".into();
            reasons.push(Reason { of: "stop".into(), stopped: false, text, since_ms: now_ms() });
        }
        if let Some(away) = meters.away() {
            reasons.push(Reason { of: "kafka".into(), stopped: false, text: away.what, since_ms: away.since_ms });
        }
        if let Some(away) = meters.sink_away() {
            reasons.push(Reason { of: "sink".into(), stopped: false, text: away.what, since_ms: away.since_ms });
        }
        reasons.extend(readings.iter().filter_map(reason));
        let now_ms = now_ms();
        let (load, process) = (meters.load(), Process::now());
        Seen { now_ms, readings, doing, load, reasons, process, meters: meters.clone() }
    }

    /// The partitions that are ours.
    pub fn owned(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(|reading| reading.live.is_some())
    }

    /// Whether the polling thread goes round, or has not begun to.
    pub fn is_live(&self) -> bool {
        let polled_ms = self.meters.polled_ms.get();
        polled_ms == 0 || self.doing != Doing::Running || self.now_ms - polled_ms < POLL_AGE_MS_MAX
    }

    /// Reasons that have stood for longer than is common, and those for which a person has to act.
    pub fn unready(&self) -> impl Iterator<Item = &Reason> {
        let counts = |reason: &&Reason| {
            let lasts = self.now_ms - reason.since_ms >= WAIT_MS_MIN;
            reason.stopped || lasts || matches!(reason.of.as_str(), "start" | "stop" | "kafka")
        };
        self.reasons.iter().filter(counts)
    }

    /// A histogram over all partitions of one topic, or of all.
    pub fn over(&self, topic: Option<&str>, of: impl Fn(&Reading) -> Buckets) -> Buckets {
        let readings = self.readings.iter().filter(|reading| topic.is_none_or(|topic| *reading.id.topic == *topic));
        readings.fold(Buckets::default(), |sum, reading| sum.and(&of(reading)))
    }

    /// The topics of all partitions, in order.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.readings.iter().map(|reading| &*reading.id.topic).collect();
        topics.dedup();
        topics
    }
}

fn reason(reading: &Reading) -> Option<Reason> {
    let (stopped, text) = match reading.live.as_ref()?.progress().state {
        State::Running => return None,
        State::Waiting(what) => (false, format!("waiting for {what}")),
        State::Stopped(why) => (true, why),
    };
    Some(Reason { of: reading.id.to_string(), stopped, text, since_ms: reading.meters.state_since_ms.get() })
}

impl Process {
    /// Facts: proc_pid_status(5) and proc_pid_stat(5); the unit of times is 1/100 s on every Linux that there is.
    fn now() -> Process {
        const TICKS_PER_SECOND: f64 = 100.0;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program, in brackets, may have any characters.
        let times = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
        let times: Option<Vec<f64>> = times.and_then(|times| times.map(|ticks| ticks.parse().ok()).collect());
        let cpu_seconds = times.filter(|times| times.len() == 2);
        Process {
            rss_bytes: rss_kib.map(|kib| kib * 1024),
            cpu_seconds: cpu_seconds.map(|times| times.iter().sum::<f64>() / TICKS_PER_SECOND),
        }
    }
}
