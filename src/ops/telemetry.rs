//! Logs: human on a terminal, JSON elsewhere, to standard error.

mod repeats;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry, reload};

use self::repeats::Repeats;

use crate::ops::config::{ConfigError, Log};

/// What is logged, and changes it while the process runs.
pub struct Level(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

/// Starts logging, and keeps panics from printing what they were about.
pub fn start(log: &Log) -> Result<Level, ConfigError> {
    #[cfg(feature = "mutations")]
    std::env::var("PLANTED").iter().for_each(|name| crate::mutation::plant_everywhere(name));
    let filter = filter(&log.level).map_err(|why| ConfigError(vec![format!("log.level = {why}")]))?;
    let (filter, handle) = reload::Layer::new(filter);
    let repeats = Repeats::default();
    let filtered = registry().with(filter).with(repeats.clone());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let json = match log.format.as_str() {
        "json" => true,
        "text" => false,
        _ => !std::io::stderr().is_terminal(),
    };
    if json {
        filtered.with(lines.json().flatten_event(true)).init();
    } else {
        filtered.with(lines.with_target(false).with_ansi(std::io::stderr().is_terminal())).init();
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(repeats.tell());
    }
    std::panic::set_hook(Box::new(|panic| {
        // The message may quote a record, so only the place is told.
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "panicked");
    }));
    Ok(Level::of(handle))
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let read = EnvFilter::builder().parse(level);
    read.map_err(|error| format!("\"{level}\": {error}; give a level such as info or debug"))
}

impl Level {
    fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Level {
        Level(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
    }

    /// Logs what these directives say from now on. The error says what is wrong with them.
    pub fn set(&self, level: &str) -> Result<(), String> {
        if level.is_empty() {
            return Err("give a level such as info or debug".into());
        }
        self.0(filter(level)?)
    }

    /// One that a test looks at.
    #[cfg(test)]
    pub fn told(told: std::sync::Arc<std::sync::Mutex<Vec<String>>>) -> Level {
        Level(Box::new(move |filter| {
            told.lock().expect("no test panics with it").push(filter.to_string());
            Ok(())
        }))
    }
}
