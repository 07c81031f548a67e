//! How far a comparison is: a bar on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rowferry::verify::Progress;

/// Shared by who compares and who ends it.
#[derive(Clone)]
pub struct Told {
    bar: Option<ProgressBar>,
    /// Rows of each table, where somebody has an idea of them.
    rows_about: BTreeMap<String, u64>,
    said: Arc<Mutex<Instant>>,
}

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the bar is drawn.
const DRAWN_PER_SECOND: u8 = 4;

impl Told {
    pub fn begin(rows_about: BTreeMap<String, u64>) -> Told {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of about {len} rows, {per_sec}");
        let bar = style.ok().filter(|_| std::io::stderr().is_terminal()).map(|style| {
            let target = indicatif::ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND);
            ProgressBar::with_draw_target(Some(0), target).with_style(style)
        });
        Told { bar, rows_about, said: Arc::new(Mutex::new(Instant::now())) }
    }

    pub fn tell(&self, progress: &Progress<'_>) {
        let Progress { table, source_rows, target_rows, differences } = *progress;
        if let Some(bar) = &self.bar {
            // Each row is read on both sides.
            let read = source_rows + target_rows;
            let about = self.rows_about.get(table).map_or(read, |rows| rows * 2).max(read);
            bar.set_length(about);
            bar.set_position(read);
            bar.set_message(format!("{table}, {differences} differences"));
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= LINE_INTERVAL {
            *said = Instant::now();
            tracing::info!(table, source_rows, target_rows, differences, "comparing");
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
