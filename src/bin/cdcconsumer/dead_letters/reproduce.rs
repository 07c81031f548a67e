//! `redrive --reproduce`: business events at the end of their topic again, in the order that they had.
//!
//! Whether a row is newer is decided by `consumer`, on the locked row, when the event arrives: a look from here could
//! not see what is still on its way. The event asks for that by a header.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use rowferry::kafka::produce::{Outgoing, SendError, Sender};
use rowferry::ops::config::{Config, Consumer};
use rowferry::ops::letters::letter::Letter;
use rowferry::ops::service::Exit;
use rowferry::record::Record;
use tokio::sync::watch;

use crate::dead_letters::fate::{Fate, Ledger};
use crate::dead_letters::progress::Progress;
use crate::dead_letters::selection::Entry;
use crate::dead_letters::{Redrive, reading};
use crate::refused;

/// Letters that are read and produced together. In between everything is delivered, and told.
const WINDOW_LETTERS_MAX: usize = 10_000;
const WINDOW_BYTES_MAX: usize = 16 << 20;

/// Whether a letter is an event of `consumer`: it has no version, and comes from a topic of its routes.
pub fn is_event(config: &Config, entry: &Entry) -> bool {
    let routes = config.consumer.as_ref().map_or(&[][..], |consumer| &consumer.routes);
    !entry.damaged && entry.version.is_none() && routes.iter().any(|route| *route.topic == *entry.origin.topic)
}

/// Produces the chosen events again, or says what would be produced.
pub async fn run(
    config: &Config,
    asked: &Redrive,
    chosen: Vec<Entry>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<Exit, Exit> {
    let consumer = config.consumer.as_ref().ok_or_else(|| refused("--reproduce needs the section [consumer]"))?;
    if !asked.even_if_newer {
        check_modified_at(consumer, &chosen)?;
    }
    let mut ledger = Ledger::new(asked.dry_run);
    let letters = chosen.len();
    if asked.dry_run {
        chosen.iter().for_each(|entry| ledger.tell(&entry.origin, &Fate::Produced, &[]));
        return Ok(ledger.close(letters));
    }
    let mut sender = Sender::new(&config.kafka.access()).map_err(|error| refused(&error.to_string()))?;
    let mut progress = Progress::begin("reproducing", letters as u64);
    for window in windows(chosen) {
        let bodies = match bodies(config, window, &shutdown).await {
            Ok(bodies) => bodies,
            Err(exit) => {
                ledger.close(letters);
                return Err(exit);
            }
        };
        if *shutdown.borrow() {
            break;
        }
        let sent = tokio::select! {
            sent = send(&mut sender, &bodies, !asked.even_if_newer) => sent.map_err(|error| error.to_string()),
            _ = shutdown.wait_for(|asked| *asked) => Err("it was asked to stop".into()),
        };
        if let Err(why) = sent {
            tracing::error!("{why}: how many of the last {} were produced is not known", bodies.len());
            break;
        }
        progress.beside(|| bodies.iter().for_each(|(entry, _)| ledger.tell(&entry.origin, &Fate::Produced, &[])));
        bodies.iter().for_each(|_| progress.step());
    }
    drop(progress);
    Ok(ledger.close(letters))
}

/// Every route of these events says how it is known what is newer.
fn check_modified_at(consumer: &Consumer, chosen: &[Entry]) -> Result<(), Exit> {
    let is_chosen = |topic: &str| chosen.iter().any(|entry| *entry.origin.topic == *topic);
    let silent = consumer.routes.iter().find(|route| route.modified_at.is_none() && is_chosen(&route.topic));
    match silent {
        None => Ok(()),
        Some(route) => Err(refused(&format!(
            "consumer.routes, {} → {}: an event that is produced again could go over a newer row: name the column that \
             says when a row was modified, as in modified_at = \"modified_at\", and start consumer with it; or say \
             --even-if-newer",
            route.topic, route.table
        ))),
    }
}

/// The letters in the order of their records, cut so that a part fits into memory.
fn windows(chosen: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut windows: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in chosen {
        let fits = bytes + entry.bytes <= WINDOW_BYTES_MAX;
        match windows.last_mut().filter(|window| fits && window.len() < WINDOW_LETTERS_MAX) {
            Some(window) => {
                bytes += entry.bytes;
                window.push(entry);
            }
            None => {
                bytes = entry.bytes;
                windows.push(vec![entry]);
            }
        }
    }
    windows
}

/// The bodies of a window, in the order of their records.
async fn bodies(
    config: &Config,
    window: Vec<Entry>,
    shutdown: &watch::Receiver<bool>,
) -> Result<Vec<(Entry, Record)>, Exit> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let into = found.clone();
    let each = move |letters| {
        into.lock().unwrap_or_else(PoisonError::into_inner).extend::<Vec<(Entry, Record)>>(letters);
        ControlFlow::Continue(())
    };
    reading::bodies(config, window, shutdown, each).await?;
    let mut found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    found.sort_by(|(one, _), (other, _)| one.origin.cmp(&other.origin));
    Ok(found)
}

/// Sends them in this order, and returns when the brokers have them all.
async fn send(sender: &mut Sender, letters: &[(Entry, Record)], unless_newer: bool) -> Result<(), SendError> {
    for (entry, record) in letters {
        let headers = Letter::read(record).reproduced_headers(unless_newer);
        let (topic, key, value) = (&*entry.origin.topic, record.key.as_deref(), record.value.as_deref());
        sender.send(Outgoing { topic, key, value, headers: &headers }).await?;
    }
    sender.all_delivered().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry::ops::letters::letter::Origin;

    #[test]
    fn windows_keep_the_order_and_hold_what_fits() {
        let entry = |offset, bytes| {
            let origin = Origin { topic: "t".into(), partition: 0, offset };
            Entry {
                origin: origin.clone(),
                identity: origin,
                place: (0, offset),
                class: "".into(),
                route: "".into(),
                refused_ms: None,
                timestamp_ms: None,
                version: None,
                bytes,
                times: 1,
                damaged: false,
            }
        };
        let big = WINDOW_BYTES_MAX;
        let cut = windows(vec![entry(0, 1), entry(1, big - 1), entry(2, 1), entry(3, big + 1), entry(4, 0)]);
        let offsets: Vec<Vec<i64>> =
            cut.iter().map(|window| window.iter().map(|entry| entry.origin.offset).collect()).collect();
        assert_eq!(offsets, [vec![0, 1], vec![2], vec![3], vec![4]]);
    }
}
