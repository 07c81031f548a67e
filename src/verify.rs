//! Source and target compared row by row, both streamed in bounded memory.
//!
//! Two directions for each table: every source row is looked for in the target, and every target row's source row in
//! the source. What looks wrong is looked at again (`settle`), so that a pipeline which is a moment behind is no
//! difference. Reads only; dropping it at any await is harmless. It sees both clients and is seen by the binary.

pub mod mapping;
pub mod report;
mod settle;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::time::{Instant, sleep};

use crate::row::{Row, Value};
use crate::sink::Failure;
use crate::sink::cassandra::read::Reader;
use crate::sink::postgres::Postgres;
use crate::verify::mapping::Mapping;
use crate::verify::report::{Report, TableReport};
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
/// Rows read at once: few at first, then as many as keep a page below its bytes.
const PAGE_ROWS_FIRST: usize = 16;
const PAGE_ROWS_MAX: usize = 500;
const PAGE_BYTES: usize = 4 << 20;
/// How often it says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A comparison that is ready to run.
pub struct Verify {
    pub source: Postgres,
    pub tables: Vec<Table>,
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
                *report = Some(Look::new(&self.source, table).run().await?);
            }
        }
        Ok(())
    }
}

/// One comparison of one table, under way.
struct Look<'a> {
    source: &'a Postgres,
    target: &'a Reader,
    mapping: &'a Mapping,
    report: TableReport,
    candidates: Vec<Candidate>,
    candidate_bytes: usize,
    source_rows: u64,
    target_rows: u64,
    told: Instant,
}

impl<'a> Look<'a> {
    fn new(source: &'a Postgres, table: &'a Table) -> Look<'a> {
        Look {
            source,
            target: &table.target,
            mapping: &table.mapping,
            report: TableReport::new(&table.mapping),
            candidates: Vec::new(),
            candidate_bytes: 0,
            source_rows: 0,
            target_rows: 0,
            told: Instant::now(),
        }
    }

    async fn run(mut self) -> Result<TableReport, Failure> {
        self.look_from_source().await?;
        self.look_from_target().await?;
        Ok(self.report)
    }

    /// Looks for every source row in the target.
    async fn look_from_source(&mut self) -> Result<(), Failure> {
        let mut rows_max = PAGE_ROWS_FIRST;
        let mut after: Option<Vec<Value>> = None;
        while !self.report.cut_short {
            let rows = self.source.rows_after(&self.mapping.source, after.as_deref(), rows_max).await?;
            let Some(last) = rows.last() else { break };
            after = Some(self.mapping.source_key(last));
            let was_last = rows.len() < rows_max;
            rows_max = next_page_rows(&rows);
            self.compare_page(rows).await?;
            if was_last {
                break;
            }
        }
        self.settle().await
    }

    async fn compare_page(&mut self, rows: Vec<Row>) -> Result<(), Failure> {
        self.source_rows += rows.len() as u64;
        let rows: Vec<Row> = rows.into_iter().filter(|row| self.mapping.belongs(row)).collect();
        let keys: Vec<Vec<Value>> = rows.iter().map(|row| self.mapping.target_key(row)).collect();
        let there = self.target.read_many(&keys).await?;
        for (row, there) in rows.into_iter().zip(there) {
            match there {
                Some(there) if self.mapping.is_equal(&row, &there) => self.report.counts.equal += 1,
                _ => self.suspect(Candidate::Source { before: row }).await?,
            }
        }
        self.tell();
        Ok(())
    }

    /// Looks for every target row's source row in the source.
    async fn look_from_target(&mut self) -> Result<(), Failure> {
        if self.report.cut_short {
            return Ok(());
        }
        let mut scan = self.target.scan_keys().await?;
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while let Some(key) = scan.try_next().await? {
            bytes += row_bytes(&key);
            keys.push(key);
            if keys.len() >= PAGE_ROWS_MAX || bytes >= PAGE_BYTES {
                self.find_owners(std::mem::take(&mut keys)).await?;
                bytes = 0;
            }
            if self.report.cut_short {
                return Ok(());
            }
        }
        self.find_owners(keys).await?;
        self.settle().await
    }

    async fn find_owners(&mut self, keys: Vec<Vec<Value>>) -> Result<(), Failure> {
        let source_keys: Vec<Option<Vec<Value>>> = keys.iter().map(|key| self.mapping.source_key_of(key)).collect();
        let owners = self.source_rows(&source_keys).await?;
        for (key, source_key) in keys.into_iter().zip(source_keys) {
            self.target_rows += 1;
            let owner = source_key.and_then(|key| owners.get(&key));
            let is_owner = |owner: &Row| self.mapping.belongs(owner) && self.mapping.target_key(owner) == key;
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
        let source_keys: Vec<Option<Vec<Value>>> =
            candidates.iter().map(|candidate| candidate.source_key(self.mapping)).collect();
        let targets = self.target.read_many(&keys).await?;
        let sources = self.source_rows(&source_keys).await?;
        let mut moved = Vec::new();
        for (((candidate, key), source_key), target) in candidates.into_iter().zip(keys).zip(source_keys).zip(targets) {
            let source = source_key.and_then(|key| sources.get(&key));
            match candidate.judge(self.mapping, target.as_deref(), source) {
                Judged::Equal => self.report.counts.equal += 1,
                Judged::Resolved => {}
                Judged::Moved(candidate) => moved.push(candidate),
                Judged::Differs(kind) => {
                    let source = source.map(Vec::as_slice);
                    self.report.add(self.mapping, kind, &key, source, target.as_deref());
                }
            }
        }
        Ok(moved)
    }

    /// The source rows with these keys, by key.
    async fn source_rows(&self, keys: &[Option<Vec<Value>>]) -> Result<HashMap<Vec<Value>, Row>, Failure> {
        let keys: HashSet<&Vec<Value>> = keys.iter().flatten().collect();
        let mut found = HashMap::with_capacity(keys.len());
        if keys.is_empty() {
            return Ok(found);
        }
        let keys: Vec<Row> = keys.into_iter().cloned().collect();
        for row in self.source.rows_with(&self.mapping.source, &keys).await? {
            found.insert(self.mapping.source_key(&row), row);
        }
        Ok(found)
    }

    /// Says how far it is, every few seconds.
    fn tell(&mut self) {
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        tracing::info!(
            table = self.report.target,
            source_rows = self.source_rows,
            target_rows = self.target_rows,
            differences = self.report.counts.differences(),
            "comparing"
        );
    }
}

/// How many rows like these fit a page.
fn next_page_rows(rows: &[Row]) -> usize {
    let bytes: usize = rows.iter().map(|row| row_bytes(row)).sum();
    let fit = PAGE_BYTES * rows.len() / bytes.max(1);
    fit.clamp(1, PAGE_ROWS_MAX.min(rows.len() * 2))
}
