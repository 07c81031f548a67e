//! What becomes of a letter that is redriven: whether it may be, and how it is told. Pure but for the printing.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use rowferry::ops::letters::letter::{Letter, Origin};
use rowferry::ops::letters::mask::printable;
use rowferry::ops::service::Exit;
use rowferry::plan::route::Routes;
use rowferry::record::Record;
use rowferry::version::Chain;
use rowferry::version::guard::Guard;

use crate::dead_letters::selection::Entry;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The target has it, or would have.
    Written,
    /// It is in its topic again, or would be.
    Produced,
    /// As it was before: the letter stays what it is.
    RefusedAgain(String),
    /// Older than a delete is remembered (C6).
    TooOld(String),
    /// Nobody can say what to do with it.
    Left(String),
    /// Something else than the record is wrong.
    Stopped(String),
    /// It was asked to stop before the outcome was known.
    Interrupted,
}

/// A record as the pipeline takes it: with the versions as they were before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    pub record: Record,
    pub chain: Chain,
}

/// A version this far ahead of our clock is not believed: nothing could ever be written over it.
const VERSION_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The record to be written again, if it may be. `gc_grace` is that of each target table.
pub fn ready(
    entry: &Entry,
    letter: Record,
    routes: &Routes,
    gc_grace: &BTreeMap<String, Duration>,
    now_ms: i64,
) -> Result<Ready, Fate> {
    let left = |why: &str| Err(Fate::Left(why.into()));
    let refused_ms = letter.timestamp_ms;
    let told = Letter::read(&letter);
    if told.damaged {
        return Err(Fate::Left(format!("the letter is damaged: {}", told.text)));
    }
    let Some(version) = entry.version else {
        return left("the letter has no version, so nobody can say which rows are newer");
    };
    let Some(topic) = routes.topic(&told.origin.topic) else {
        return left("no route reads its topic any more: add one, or let the letter go");
    };
    let ahead = VERSION_AHEAD_MAX.as_millis() as i64;
    if version > now_ms.saturating_add(ahead).saturating_mul(1_000) {
        return left("its version is more than a day ahead of this clock, and nothing could be written over it");
    }
    // The chain as it stood before the record gives it the same version again, or the letter's headers do not agree.
    let chain = Some(version).filter(|version| *version > 0 && version % 2 == 0).map(|it| Chain::above(it - 2));
    let Some(chain) = chain.filter(|chain| Chain::clone(chain).next(told.origin.offset, told.timestamp_ms) == version)
    else {
        return left("the letter is damaged: its version and its timestamp do not belong together");
    };
    let Some(record_ms) = told.timestamp_ms.filter(|ms| *ms > 0) else {
        return left("its record has no timestamp, so nobody can say whether deletes since are still remembered");
    };
    let age_ms = now_ms - record_ms.min(refused_ms.unwrap_or(record_ms));
    for table in topic.routes.iter().map(|at| &routes.routes[*at].table) {
        let Some(gc_grace) = gc_grace.get(table) else {
            return Err(Fate::Stopped(format!("the table \"{table}\" is gone: start again")));
        };
        if age_ms > (*gc_grace / 2).as_millis() as i64 {
            return Err(Fate::TooOld(format!(
                "its record is {} old, and \"{table}\" remembers deletes for {} (gc_grace_seconds): beyond half of that \
                 a row that was deleted since could come back. Have the source send the row again: an UPDATE of it that \
                 changes nothing, or a snapshot of its table",
                rounded(age_ms / 1_000),
                rounded(gc_grace.as_secs() as i64)
            )));
        }
    }
    Ok(Ready { record: told.refused_record(letter), chain: chain.guarded(Guard::REDRIVEN) })
}

/// `3 d`, `5 h`, `90 s`: whole units, rounded down.
fn rounded(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} d", seconds / 86_400),
        7_200.. => format!("{} h", seconds / 3_600),
        120.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Tells the fates as they come, one line each on standard output, and counts them.
pub struct Ledger {
    dry_run: bool,
    terminal: bool,
    counts: BTreeMap<&'static str, usize>,
    done: usize,
}

impl Ledger {
    pub fn new(dry_run: bool) -> Ledger {
        Ledger { dry_run, terminal: std::io::stdout().is_terminal(), counts: BTreeMap::new(), done: 0 }
    }

    /// `details` are told instead of a reason, each on its own line.
    pub fn tell(&mut self, origin: &Origin, fate: &Fate, details: &[String]) {
        let (name, why) = match (fate, self.dry_run) {
            (Fate::Written, false) => ("written", ""),
            (Fate::Written, true) => ("would_write", ""),
            (Fate::Produced, false) => ("produced", ""),
            (Fate::Produced, true) => ("would_produce", ""),
            (Fate::RefusedAgain(why), _) => ("refused", why.as_str()),
            (Fate::TooOld(why), _) => ("too_old", why.as_str()),
            (Fate::Left(why), _) => ("left", why.as_str()),
            (Fate::Stopped(why), _) => ("stopped", why.as_str()),
            (Fate::Interrupted, _) => ("interrupted", "it was asked to stop"),
        };
        *self.counts.entry(name).or_default() += 1;
        self.done += usize::from(matches!(fate, Fate::Written | Fate::Produced));
        let whys = if details.is_empty() { vec![why] } else { details.iter().map(String::as_str).collect() };
        for why in whys {
            let (origin, why) = (printable(&origin.to_string()), printable(why));
            let line = match (self.terminal, why.is_empty()) {
                (true, true) => format!("{name:<11}  {origin}"),
                (true, false) => format!("{name:<11}  {origin}  {why}"),
                (false, _) => format!("{name}\t{origin}\t{why}"),
            };
            // Who closes standard output early still gets the exit code.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// Says how many there were of each, and whether that is all of what was chosen.
    pub fn close(&self, chosen: usize) -> Exit {
        let counts: Vec<String> = self.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let missing = chosen - self.counts.values().sum::<usize>().min(chosen);
        let missing = if missing > 0 { format!(", {missing} not reached") } else { String::new() };
        eprintln!("{chosen} chosen: {}{missing}", counts.join(", "));
        if self.done == chosen { Exit::Done } else { Exit::Failed }
    }
}

#[cfg(test)]
mod tests {
    use rowferry::plan::route::{RouteSpec, TargetTable};
    use rowferry::record::Header;
    use rowferry::row::{Column, Kind};

    use super::*;
    use crate::dead_letters::selection::{Filter, Index};

    const NOW_MS: i64 = 1_735_700_000_000;
    const RECORD_MS: i64 = NOW_MS - 3_600_000;

    fn routes() -> Routes {
        let columns = vec![Column { name: "id".into(), kind: Kind::Int64 }];
        let table = |name: &str| TargetTable { name: name.into(), columns: columns.clone(), key: vec!["id".into()] };
        let spec = |table: &str| RouteSpec::new("t", table, &["id"]).typed(&[("id", "bigint")]);
        let tables = BTreeMap::from(["a", "b"].map(|name| (name.to_string(), table(name))));
        Routes::resolve(&[spec("a"), spec("b")], &tables).expect("the routes fit")
    }

    fn gc_grace(seconds: u64) -> BTreeMap<String, Duration> {
        [("a", 864_000), ("b", seconds)].map(|(name, seconds)| (name.to_string(), Duration::from_secs(seconds))).into()
    }

    fn letter(change: &[(&str, Option<&str>)]) -> Record {
        let (version, timestamp) = ((RECORD_MS * 1_000).to_string(), RECORD_MS.to_string());
        let headers = [
            ("reason", "wrong_type"),
            ("text", "x"),
            ("route", "t → a"),
            ("topic", "t"),
            ("partition", "0"),
            ("offset", "7"),
            ("timestamp", &timestamp),
            ("version", &version),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| {
            let changed = change.iter().find(|(changed, _)| *changed == name);
            let value = changed.map_or(Some(value), |(_, value)| *value)?;
            Some(Header { name: format!("rowferry.{name}"), value: Some(value.to_string().into()) })
        });
        Record {
            topic: "letters".into(),
            partition: 0,
            offset: 1,
            timestamp_ms: Some(NOW_MS - 1_000),
            key: None,
            value: Some("v".into()),
            headers: headers.collect(),
        }
    }

    fn judged(change: &[(&str, Option<&str>)], grace_seconds: u64) -> Result<Ready, Fate> {
        let letter = letter(change);
        let mut index = Index::default();
        index.add(&Filter::default(), &letter);
        let entry = index.chosen(&Filter::default()).remove(0);
        ready(&entry, letter, &routes(), &gc_grace(grace_seconds), NOW_MS)
    }

    #[test]
    fn a_letter_that_may_be_written_again_gets_its_own_version() {
        let Ready { record, mut chain } = judged(&[], 864_000).expect("it may");
        assert_eq!((&*record.topic, record.offset, record.timestamp_ms), ("t", 7, Some(RECORD_MS)));
        assert_eq!(chain.next(record.offset, record.timestamp_ms), RECORD_MS * 1_000);
        // A record whose stamp went back has a version above it.
        let above = (RECORD_MS * 1_000 + 4_002).to_string();
        let Ready { record, mut chain } = judged(&[("version", Some(&above))], 864_000).expect("it may");
        assert_eq!(chain.next(record.offset, record.timestamp_ms).to_string(), above);
    }

    #[test]
    fn what_nobody_can_judge_is_left_alone() {
        let why = |change: &[(&str, Option<&str>)]| match judged(change, 864_000) {
            Err(Fate::Left(why)) => why,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(why(&[("version", None)]), @"the letter has no version, so nobody can say which rows are newer");
        insta::assert_snapshot!(why(&[("topic", Some("u"))]), @"no route reads its topic any more: add one, or let the letter go");
        insta::assert_snapshot!(why(&[("offset", None)]), @"the letter is damaged: it has no header rowferry.offset");
        insta::assert_snapshot!(why(&[("timestamp", None)]), @"its record has no timestamp, so nobody can say whether deletes since are still remembered");
        let odd = (RECORD_MS * 1_000 + 1).to_string();
        for version in ["-2", "0", "4", odd.as_str()] {
            let told = why(&[("version", Some(version))]);
            assert_eq!(
                told, "the letter is damaged: its version and its timestamp do not belong together",
                "{version}"
            );
        }
        for version in ["9223372036854775806", "1735800000000000"] {
            let told = why(&[("version", Some(version))]);
            assert!(told.contains("a day ahead of this clock"), "{told}");
        }
    }

    #[test]
    fn what_is_older_than_half_the_grace_of_any_of_its_tables_is_too_old() {
        assert!(judged(&[], 7_200).is_ok(), "an hour is half of two");
        let Err(Fate::TooOld(why)) = judged(&[], 7_199) else { panic!("it is older than that") };
        insta::assert_snapshot!(why, @r#"its record is 60 min old, and "b" remembers deletes for 119 min (gc_grace_seconds): beyond half of that a row that was deleted since could come back. Have the source send the row again: an UPDATE of it that changes nothing, or a snapshot of its table"#);
        // A stamp that is ahead of the clock makes no record young: it was refused a second ago at the latest.
        let ahead = (NOW_MS + 3_000).to_string();
        let version = ((NOW_MS + 3_000) * 1_000).to_string();
        assert!(matches!(judged(&[("timestamp", Some(&ahead)), ("version", Some(&version))], 1), Err(Fate::TooOld(_))));
    }
}
