//! Signals: the first SIGTERM or SIGINT asks to finish, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Turns true at the first signal. A second one ends the process with 1.
pub fn watch_signals() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        for times in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if times > 0 {
                tracing::warn!("asked again: ending at once");
                std::process::exit(1);
            }
            tracing::info!("asked to stop: finishing what is in flight");
            // Nobody listens when the work has ended already.
            let _ = asked.send(true);
        }
    });
    Ok(shutdown)
}
