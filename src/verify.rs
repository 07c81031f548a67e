//! Source and target compared row by row, both streamed in bounded memory.
//!
//! Two directions for each table: every source row is looked for in the target, and every target row's source row in
//! the source. What looks wrong is looked at again (`settle`), so that a pipeline which is a moment behind is no
//! difference. It reads only, `sweep` apart; dropping it at any await is harmless. It sees both clients and is seen by the
//! binary.
//!
//! What it shares with a run, and so cannot see a fault of: the resolved routes, `plan::convert`, `plan::filter`, and the
//! reading of those JSON values that have but one form (`sink::postgres::forms`). It has nothing of the log: no version,
//! no fold, no batch, no offset.

pub mod mapping;
pub mod report;
pub mod sample;
pub mod sweep;
mod pace;
mod settle;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::time::{Instant, sleep};

use crate::format;
use crate::row::Value;
use crate::row::wire::Wire;
use crate::sink::Failure;
use crate::sink::cassandra::expiry::now_ms;
use crate::sink::cassandra::read::Reader;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::source::Read;
use crate::verify::mapping::{Mapping, SourceRow, Standing};
use crate::verify::pace::Pace;
use crate::verify::report::{Report, TableReport};
use crate::verify::sample::Sample;
use crate::verify::settle::{Candidate, Judged, row_bytes};

/// How long a source row has to hold still before a difference counts: longer than a healthy pipeline is behind.
const STILL: Duration = Duration::from_millis(1500);
/// How often a row that changes between two looks is looked at again.
const SETTLE_LOOKS_MAX: usize = 3;
/// How long it waits before all tables that were not equal are looked at again.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// Candidates that wait for their second look: more than these and the look is taken at once.
const CANDIDATES_MAX: usize = 1_000;
const CANDIDATE_BYTES_MAX: usize = 8 << 20;
/// Differences of a table after which it is no use to count on.
const DIFFERENCES_MAX: u64 = 10_000;
/// Rows of the source that a page of a sample goes through, so that it is there in time.
const SCANNED_ROWS_MAX: u64 = 100_000;
/// Rows read at once: few at first, then as many as keep a page below its bytes.
const PAGE_ROWS_FIRST: usize = 16;
const PAGE_ROWS_MAX: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// A comparison that is ready to run.
pub struct Verify {
    pub source: Postgres,
    pub tables: Vec<Table>,
    /// Not all rows, but a part of them.
    pub sample: Option<Sample>,
    /// Only rows that are extra are looked for: the source is not gone through.
    pub target_only: bool,
    /// So many keys of each kind of difference are kept for whoever mends them, beside those that are shown.
    pub keys_max: usize,
    pub rows_per_second_max: Option<NonZeroU32>,
    /// Is told how far it is, page by page.
    pub progress: Box<dyn Fn(&Progress<'_>) + Send + Sync>,
}

/// How far the comparison of a table is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub table: &'a str,
    /// Rows that were read of the source, and keys of the target.
    pub source_rows: u64,
    pub target_rows: u64,
    pub differences: u64,
}

/// A target table, how it mirrors its source, and what reads it.
pub struct Table {
    pub mapping: Mapping,
    pub target: Reader,
}

impl Verify {
    /// Compares every table, and those that are not equal again until they are or until no time is left. A look that
    /// has begun is finished. A server that is away is waited for as long as there is time.
    pub async fn run(&self, within: Duration) -> Result<Report, Failure> {
        let end = Instant::now() + within;
        let mut reports: Vec<Option<TableReport>> = self.tables.iter().map(|_| None).collect();
        loop {
            let looked = self.look_at_unequal(&mut reports).await;
            let time_is_left = Instant::now() + LOOK_PAUSE < end;
            match looked {
                Ok(()) if !time_is_left || reports.iter().flatten().all(TableReport::is_equal) => {
                    return Ok(Report { tables: reports.into_iter().flatten().collect() });
                }
                Err(Failure::Retry(what)) if time_is_left => tracing::warn!("waiting for {what}"),
                Err(failure) => return Err(failure),
                Ok(()) => {
                    let open = reports.iter().flatten().filter(|report| !report.is_equal());
                    let differences: u64 = open.clone().map(|report| report.counts.differences()).sum();
                    tracing::info!(tables = open.count(), differences, "not equal yet: looking again");
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    async fn look_at_unequal(&self, reports: &mut [Option<TableReport>]) -> Result<(), Failure> {
        for (table, report) in self.tables.iter().zip(reports) {
            if !report.as_ref().is_some_and(TableReport::is_equal) {
                *report = Some(Look::new(self, table).run().await?);
            }
        }
        Ok(())
    }
}

/// One comparison of one table, under way.
struct Look<'a> {
    verify: &'a Verify,
    target: &'a Reader,
    mapping: &'a Mapping,
    /// The forms of the source's values.
    forms: Vec<Wire>,
    report: TableReport,
    candidates: Vec<Candidate>,
    candidate_bytes: usize,
    source_rows: u64,
    target_rows: u64,
    pace: Pace,
}

impl<'a> Look<'a> {
    fn new(verify: &'a Verify, table: &'a Table) -> Look<'a> {
        Look {
            verify,
            target: &table.target,
            mapping: &table.mapping,
            forms: table.mapping.source.forms(),
            report: TableReport::new(&table.mapping),
            candidates: Vec::new(),
            candidate_bytes: 0,
            source_rows: 0,
            target_rows: 0,
            pace: Pace::new(verify.rows_per_second_max),
        }
    }

    async fn run(mut self) -> Result<TableReport, Failure> {
        if !self.verify.target_only {
            self.look_from_source().await?;
        }
        self.look_from_target().await?;
        self.report.conclude(self.mapping);
        Ok(self.report)
    }

    /// Looks for every source row in the target.
    async fn look_from_source(&mut self) -> Result<(), Failure> {
        let (source, table) = (&self.verify.source, &self.mapping.source);
        let share = self.verify.sample.map(|sample| sample.share());
        let mut rows_max = self.page_rows(PAGE_ROWS_FIRST);
        let mut after: Option<Vec<String>> = None;
        while !self.report.cut_short {
            self.pace.read(rows_max).await;
            let rows = source.rows_after(table, after.as_deref(), rows_max, share).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key.clone());
            let rows: Vec<SourceRow> = rows.into_iter().map(|row| decoded(self.mapping, &self.forms, row)).collect();
            let was_last = rows.len() < rows_max;
            rows_max = self.page_rows(next_page_rows(&rows));
            self.compare_page(rows).await?;
            if was_last {
                break;
            }
        }
        self.settle().await
    }

    /// How many source rows are read at once, where so many would fit.
    fn page_rows(&self, rows: usize) -> usize {
        let sample = self.verify.sample;
        self.pace.rows_at_once(sample.map_or(rows, |sample| rows.min(sample.rows_of(SCANNED_ROWS_MAX))))
    }

    async fn compare_page(&mut self, rows: Vec<SourceRow>) -> Result<(), Failure> {
        self.source_rows += rows.len() as u64;
        let belongs = |row: &SourceRow| self.mapping.standing(&row.values, now_ms()) != Standing::Out;
        let rows: Vec<SourceRow> = rows.into_iter().filter(belongs).collect();
        let keys: Vec<Vec<Value>> = rows.iter().map(|row| self.mapping.target_key(&row.values)).collect();
        let there = self.target.read_many(&keys).await?;
        for (row, there) in rows.into_iter().zip(there) {
            match there {
                Some(there) if self.mapping.is_equal(&row.values, &there) => self.report.counts.equal += 1,
                _ => self.suspect(Candidate::Source { before: row }).await?,
            }
        }
        self.tell();
        Ok(())
    }

    /// Looks for every target row's source row in the source.
    async fn look_from_target(&mut self) -> Result<(), Failure> {
        let stretches = match &self.verify.sample {
            None => vec![None],
            Some(sample) => sample.stretches().into_iter().map(Some).collect(),
        };
        for stretch in stretches {
            let mut scan = self.target.scan_keys(stretch).await?;
            let (mut keys, mut bytes) = (Vec::new(), 0);
            while let Some(key) = scan.try_next().await? {
                bytes += row_bytes(&key);
                keys.push(key);
                if keys.len() >= self.pace.rows_at_once(PAGE_ROWS_MAX) || bytes >= PAGE_BYTES {
                    self.find_owners(std::mem::take(&mut keys)).await?;
                    bytes = 0;
                }
                if self.report.cut_short {
                    return Ok(());
                }
            }
            self.find_owners(keys).await?;
        }
        self.settle().await
    }

    async fn find_owners(&mut self, keys: Vec<Vec<Value>>) -> Result<(), Failure> {
        self.pace.read(keys.len()).await;
        let owners = self.source_rows(&keys).await?;
        for key in keys {
            self.target_rows += 1;
            let owner = owners.get(&self.mapping.owner_of(&key));
            let is_owner = |owner: &SourceRow| {
                self.mapping.standing(&owner.values, now_ms()) != Standing::Out
                    && self.mapping.target_key(&owner.values) == key
            };
            if !owner.is_some_and(is_owner) {
                self.suspect(Candidate::Target { key, before: owner.cloned() }).await?;
            }
        }
        self.tell();
        Ok(())
    }

    /// Keeps a candidate for its second look.
    async fn suspect(&mut self, candidate: Candidate) -> Result<(), Failure> {
        self.candidate_bytes += candidate.bytes();
        self.candidates.push(candidate);
        if self.candidates.len() >= CANDIDATES_MAX || self.candidate_bytes >= CANDIDATE_BYTES_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    /// Looks at all candidates again, and counts them.
    async fn settle(&mut self) -> Result<(), Failure> {
        let mut candidates = std::mem::take(&mut self.candidates);
        self.candidate_bytes = 0;
        for _ in 0..SETTLE_LOOKS_MAX {
            if candidates.is_empty() {
                break;
            }
            sleep(STILL).await;
            candidates = self.look_again(candidates).await?;
            self.tell();
        }
        self.report.counts.unsettled += candidates.len() as u64;
        self.report.cut_short = self.report.counts.differences() >= DIFFERENCES_MAX;
        Ok(())
    }

    /// The second look: the target first, then the source. Returns what moved between the looks.
    async fn look_again(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, Failure> {
        let keys: Vec<Vec<Value>> = candidates.iter().map(|candidate| candidate.target_key(self.mapping)).collect();
        let source_keys: Vec<Option<Vec<String>>> =
            candidates.iter().map(|candidate| candidate.source_key(self.mapping)).collect();
        let targets = self.target.read_many(&keys).await?;
        // By the source's own key, which a source row that moved in the target has kept.
        let mut sources: HashMap<Vec<Value>, SourceRow> = HashMap::new();
        for row in self.read_sources(source_keys.iter().flatten()).await? {
            sources.insert(self.mapping.owner_of(&self.mapping.target_key(&row.values)), row);
        }
        let mut moved = Vec::new();
        for ((candidate, key), target) in candidates.into_iter().zip(keys).zip(targets) {
            let source = sources.get(&self.mapping.owner_of(&key));
            match candidate.judge(self.mapping, target.as_deref(), source, now_ms()) {
                Judged::Equal => self.report.counts.equal += 1,
                Judged::Resolved => {}
                Judged::Unknown => self.report.counts.unknown += 1,
                Judged::Moved(candidate) => moved.push(candidate),
                Judged::Differs(kind) => {
                    let source_key = source.map_or(&[][..], |row| row.key.as_slice());
                    self.report.keys.keep(kind, &key, source_key, self.verify.keys_max);
                    let source = source.map(|row| row.values.as_slice());
                    self.report.add(self.mapping, kind, &key, source, target.as_deref());
                }
            }
        }
        Ok(moved)
    }

    /// The source rows that these target keys speak of, by [`Mapping::owner_of`].
    async fn source_rows(&self, keys: &[Vec<Value>]) -> Result<HashMap<Vec<Value>, SourceRow>, Failure> {
        let source_keys: Vec<Vec<String>> = keys.iter().filter_map(|key| self.mapping.source_key_of(key)).collect();
        let rows = self.read_sources(source_keys.iter()).await?;
        Ok(rows.into_iter().map(|row| (self.mapping.owner_of(&self.mapping.target_key(&row.values)), row)).collect())
    }

    async fn read_sources<'k>(&self, keys: impl Iterator<Item = &'k Vec<String>>) -> Result<Vec<SourceRow>, Failure> {
        let keys: HashSet<&Vec<String>> = keys.collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Vec<String>> = keys.into_iter().cloned().collect();
        let rows = self.verify.source.rows_with(&self.mapping.source, &keys).await?;
        Ok(rows.into_iter().map(|row| decoded(self.mapping, &self.forms, row)).collect())
    }

    fn tell(&self) {
        (self.verify.progress)(&Progress {
            table: &self.report.target,
            source_rows: self.source_rows,
            target_rows: self.target_rows,
            differences: self.report.counts.differences(),
        });
    }
}

/// The values of a row. What the decoder of records refuses stands there as it is written, which no target has.
fn decoded(mapping: &Mapping, forms: &[Wire], row: Read) -> SourceRow {
    let columns = row.columns.into_iter().zip(&mapping.source.columns).zip(forms);
    let values = columns.map(|((json, (name, _)), form)| match json {
        None => Value::Null,
        Some(json) => format::value(name, form, &json).unwrap_or_else(|_| Value::Text(json.into())),
    });
    SourceRow { key: row.key, values: values.collect() }
}

/// How many rows like these fit a page.
fn next_page_rows(rows: &[SourceRow]) -> usize {
    let bytes: usize = rows.iter().map(SourceRow::bytes).sum();
    let fit = PAGE_BYTES * rows.len() / bytes.max(1);
    fit.clamp(1, PAGE_ROWS_MAX.min(rows.len() * 2))
}
