//! Logs: human on a terminal, JSON elsewhere, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::ops::config::{ConfigError, Log};

/// Starts logging, and keeps panics from printing what they were about.
pub fn start(log: &Log) -> Result<(), ConfigError> {
    #[cfg(feature = "mutations")]
    std::env::var("PLANTED").iter().for_each(|name| crate::mutation::plant_everywhere(name));
    let filter = EnvFilter::builder().parse(&log.level).map_err(|error| {
        ConfigError(vec![format!("log.level = \"{}\": {error}; give a level such as info or debug", log.level)])
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match log.format.as_str() {
        "json" => true,
        "text" => false,
        _ => !std::io::stderr().is_terminal(),
    };
    if json {
        subscriber.json().flatten_event(true).init();
    } else {
        subscriber.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        // The message may quote a record, so only the place is told.
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "panicked");
    }));
    Ok(())
}
