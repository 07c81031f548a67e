//! Lines that repeat are left out when they were said often enough, and how many were is said once a minute.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const WINDOW: Duration = Duration::from_secs(60);
/// Lines of the same words within a window.
const SAME_MAX: u32 = 5;
/// Lines of one place in the code within a window, whatever their words: 200 partitions may say the same of themselves.
const PLACE_MAX: u32 = 300;

/// Leaves out what repeats, from `info` up: whoever turns `debug` on wants all of it.
#[derive(Debug, Clone, Default)]
pub struct Repeats(Arc<Mutex<Said>>);

/// What was said in this window. Its size is bounded by what each place may say.
#[derive(Debug, Default)]
struct Said {
    begun: Option<Instant>,
    same: HashMap<u64, u32>,
    /// By file and line.
    places: HashMap<(&'static str, u32), Place>,
}

#[derive(Debug, Default)]
struct Place {
    lines: u32,
    left_out: u64,
}

impl Repeats {
    /// Says now and then how many lines were left out, for ever.
    pub async fn tell(self) {
        let mut turns = tokio::time::interval(WINDOW);
        loop {
            turns.tick().await;
            let left_out = self.said().take_left_out();
            for (place, lines) in left_out {
                tracing::warn!(place, lines, "lines that repeat were left out");
            }
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        // Counts that a panic left half-way make a line more or a line less.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let of = event.metadata();
        if *of.level() > Level::INFO {
            return true;
        }
        let mut words = Words(DefaultHasher::new());
        event.record(&mut words);
        let place = (of.file().unwrap_or_default(), of.line().unwrap_or_default());
        self.said().allows(place, words.0.finish(), Instant::now())
    }
}

impl Said {
    fn allows(&mut self, place: (&'static str, u32), words: u64, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now >= begun + WINDOW) {
            self.begun = Some(now);
            self.same.clear();
            self.places.values_mut().for_each(|place| place.lines = 0);
        }
        let of = self.places.entry(place).or_default();
        let allowed = of.lines < PLACE_MAX && {
            let same = self.same.entry(words).or_default();
            *same += 1;
            *same <= SAME_MAX
        };
        of.lines += u32::from(allowed);
        of.left_out += u64::from(!allowed);
        allowed
    }

    fn take_left_out(&mut self) -> Vec<(String, u64)> {
        let left_out = self.places.iter_mut().filter(|(_, of)| of.left_out > 0);
        left_out.map(|((file, line), of)| (format!("{file}:{line}"), std::mem::take(&mut of.left_out))).collect()
    }
}

/// Of everything that a line says.
struct Words(DefaultHasher);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        field.name().hash(&mut self.0);
        format!("{value:?}").hash(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics with it").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn with(&self, text: &str) -> usize {
            let bytes = self.0.lock().expect("no test panics with it");
            String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(text)).count()
        }
    }

    #[test]
    fn the_same_words_are_said_a_few_times_and_other_words_go_on() {
        let (lines, repeats) = (Lines::default(), Repeats::default());
        let writer = lines.clone();
        let told = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(told);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..PLACE_MAX + 100 {
                tracing::warn!("the same");
                tracing::warn!(number, "one of many");
                tracing::debug!("what is asked for");
            }
        });
        let said = ["the same", "one of many", "what is asked for"].map(|text| lines.with(text));
        assert_eq!(said, [SAME_MAX as usize, PLACE_MAX as usize, PLACE_MAX as usize + 100]);
        let mut left_out: Vec<u64> = repeats.said().take_left_out().into_iter().map(|(_, lines)| lines).collect();
        left_out.sort_unstable();
        assert_eq!(left_out, [100, u64::from(PLACE_MAX + 100 - SAME_MAX)]);
        assert_eq!(repeats.said().take_left_out(), [], "it is told once");
    }

    #[test]
    fn after_its_time_a_line_is_said_again() {
        let mut said = Said::default();
        let begun = Instant::now();
        let mut allows = |at| said.allows(("a file", 1), 7, at);
        let first = (0..SAME_MAX).all(|_| allows(begun));
        assert!(first && !allows(begun) && !allows(begun + WINDOW - Duration::from_millis(1)));
        assert!(allows(begun + WINDOW));
    }
}
