//! How far a command is: a bar with rate and time left on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
    begun: Instant,
    said: Instant,
}

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Looking at the clock costs more than counting.
const LOOK_EVERY: u64 = 64;

impl Progress {
    pub fn begin(what: &'static str, total: u64) -> Progress {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
        let bar = style.ok().filter(|_| total > 0 && std::io::stderr().is_terminal()).map(|style| {
            let bar = ProgressBar::new(total).with_style(style).with_message(what);
            bar.tick();
            bar
        });
        let now = Instant::now();
        Progress { what, bar, done: 0, total, begun: now, said: now }
    }

    pub fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.done.is_multiple_of(LOOK_EVERY) && self.said.elapsed() >= LINE_INTERVAL {
            self.said = Instant::now();
            let rate = self.done as f64 / self.begun.elapsed().as_secs_f64();
            let left = self.total.saturating_sub(self.done) as f64 / rate;
            tracing::info!("{}: {} of {}, {rate:.0}/s, {left:.0} s left", self.what, self.done, self.total);
        }
    }

    /// Runs what prints, with the bar out of the way.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
