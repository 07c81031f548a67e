//! The transaction of a batch as a list of steps, and the search for the rows that the server refuses.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _, Transaction};

use crate::change::{Reject, RejectClass};
use crate::failpoint::{self, Stage};
use crate::plan::write::{Batch, Rejected};
use crate::record::TopicPartition;
use crate::retry::Verdict;
use crate::sink::ParentWait;
use crate::sink::postgres::PostgresSink;
use crate::sink::postgres::apply::{self, Checked, Current, Existing, Judged, Key, Rounds};
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::progress::Progress;

/// How the transaction of a batch ended.
#[derive(Debug)]
pub enum Ended {
    /// Rows and position are durable up to `next_offset`. With `wait`, the record there has no parent yet.
    Committed { next_offset: i64, wait: Option<(String, ParentWait)> },
    /// Nothing was changed; these records are refused.
    Refused(Vec<Rejected>),
    /// Nothing was changed: the partition's row is not where its owner left it. What it says.
    Elsewhere(Option<Progress>),
    /// The connection broke at COMMIT.
    Unknown,
}

/// What is to be known about a server once, before anything is written to it.
pub async fn check_server(connection: &mut PgConnection) -> Result<(), Fault> {
    let row = connection
        .fetch_one("SELECT to_regclass('rowferry_progress') IS NOT NULL, current_setting('synchronous_commit')")
        .await?;
    let (has_progress, synchronous): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
    if !has_progress {
        return Err(Fault::stop("the database has no table \"rowferry_progress\": create it with postgres-schema.sql"));
    }
    // Kafka's offset would be committed for rows that a crash of the server takes back.
    if synchronous == "off" {
        return Err(Fault::stop("synchronous_commit is off for this user: set it to local or on"));
    }
    Ok(())
}

impl PostgresSink {
    /// Fence first, so that a former owner touches nothing; then locks, verdicts and writes; then COMMIT.
    pub(super) async fn transaction(
        &self,
        connection: &mut PgConnection,
        of: &TopicPartition,
        expected: Progress,
        batch: &Batch,
    ) -> Result<Ended, Fault> {
        let mut transaction = match self.begin(connection, of, expected, batch).await? {
            Ok(transaction) => transaction,
            Err(elsewhere) => return Ok(elsewhere),
        };
        let checked = apply::check(&self.plans, &batch.writes);
        let known = self.read(&mut transaction, &checked).await?;
        if !known.judged.rejects.is_empty() {
            transaction.rollback().await?;
            return Ok(Ended::Refused(known.judged.rejects));
        }
        self.apply(&mut transaction, &checked, &known).await?;
        let (next_offset, wait) = match known.wait(batch) {
            None => (batch.next_offset, None),
            Some((offset, waiting_for, parent)) if offset <= expected.next_offset => {
                transaction.rollback().await?;
                return Ok(Ended::Committed { next_offset: expected.next_offset, wait: Some((waiting_for, parent)) });
            }
            Some((offset, waiting_for, parent)) => {
                let moved = Progress { next_offset: batch.next_offset, ..expected };
                self.group.advance(&mut transaction, of, moved, offset).await?;
                (offset, Some((waiting_for, parent)))
            }
        };
        failpoint::reach(Stage::BetweenStatements);
        match failpoint::during(Stage::Committing, transaction.commit()).await.map_err(Fault::from) {
            Ok(()) => Ok(Ended::Committed { next_offset, wait }),
            // A deferred constraint: the server said no, and that is known.
            Err(fault) if fault.verdict == Verdict::Reject => Err(fault),
            Err(_) => Ok(Ended::Unknown),
        }
    }

    /// Finds the records whose rows the server refuses: halves the batch under savepoints until the culprits stand
    /// alone. Nothing of it is kept.
    pub(super) async fn isolate(
        &self,
        connection: &mut PgConnection,
        of: &TopicPartition,
        expected: Progress,
        batch: &Batch,
    ) -> Result<Ended, Fault> {
        let mut transaction = match self.begin(connection, of, expected, batch).await? {
            Ok(transaction) => transaction,
            Err(elsewhere) => return Ok(elsewhere),
        };
        transaction.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        let checked = apply::check(&self.plans, &batch.writes);
        let records: Vec<&[Checked<'_>]> =
            checked.chunk_by(|one, next| one.write.record == next.write.record).collect();
        let mut refused = Vec::new();
        // The ranges still to try, the next one last. They are tried in record order, each on top of those before.
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..records.len()).collect();
        while let Some(range) = ranges.pop() {
            let writes = records[range.clone()].concat();
            let mut savepoint = transaction.begin().await?;
            match self.read_and_apply(&mut savepoint, &writes).await {
                Ok(known) => {
                    savepoint.commit().await?;
                    if known.judged.cut.is_some() {
                        // What stands behind a record that waits is not judged.
                        break;
                    }
                }
                Err(fault) if fault.verdict == Verdict::Reject => {
                    savepoint.rollback().await?;
                    if range.len() > 1 {
                        let middle = range.start + range.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    } else if let Some(Checked { write, .. }) = writes.first() {
                        let reject = Reject::new(RejectClass::Refused, fault.text);
                        refused.push(Rejected { record: write.record, route: Some(write.route), reject });
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        transaction.rollback().await?;
        if refused.is_empty() {
            // Refused together and not one by one: another transaction was in the way, and is not any more.
            return Err(Fault::retry("Postgres refused the batch, and then none of its rows"));
        }
        Ok(Ended::Refused(refused))
    }

    /// A transaction that has moved the partition's row, and so holds it; or how it ended because the row is not where
    /// its owner left it.
    async fn begin<'c>(
        &self,
        connection: &'c mut PgConnection,
        of: &TopicPartition,
        expected: Progress,
        batch: &Batch,
    ) -> Result<Result<Transaction<'c, sqlx::Postgres>, Ended>, Fault> {
        let mut transaction = connection.begin().await?;
        if self.group.advance(&mut transaction, of, expected, batch.next_offset).await? {
            return Ok(Ok(transaction));
        }
        let row = self.group.settled(&mut transaction, of).await?;
        transaction.rollback().await?;
        Ok(Err(Ended::Elsewhere(row)))
    }

    async fn read_and_apply(&self, connection: &mut PgConnection, checked: &[Checked<'_>]) -> Result<Known, Fault> {
        let known = self.read(connection, checked).await?;
        self.apply(connection, checked, &known).await?;
        Ok(known)
    }

    /// Locks the rows and their parents, reads them, and judges the records.
    async fn read(&self, connection: &mut PgConnection, checked: &[Checked<'_>]) -> Result<Known, Fault> {
        let progress = self.parents_progress(connection, checked).await?;
        let mut existing = Existing::default();
        let mut rows = HashMap::new();
        for route in &self.order {
            let read = self.lock(connection, *route, checked, &mut existing).await?;
            existing.rows.extend(read.keys().map(|key| (*route, key.clone())));
            rows.insert(*route, read);
        }
        Ok(Known { judged: apply::judge(&self.plans, checked, &existing), rows, progress })
    }

    /// Writes what the accepted records in front of the cut come to.
    async fn apply(&self, connection: &mut PgConnection, checked: &[Checked<'_>], known: &Known) -> Result<(), Fault> {
        let end = known.judged.cut.as_ref().map_or(usize::MAX, |cut| cut.record);
        let refused: HashSet<usize> = known.judged.rejects.iter().map(|rejected| rejected.record).collect();
        for route in &self.order {
            let writes = checked
                .iter()
                .map(|checked| checked.write)
                .filter(|write| write.route == *route && write.record < end && !refused.contains(&write.record));
            let rounds = Rounds::new(&self.plans[*route], writes);
            self.rounds(connection, *route, rounds, &known.rows[route]).await?;
        }
        Ok(())
    }

    /// How far the topics that feed parents are applied. Read before the parents are looked for: a parent that is
    /// missing then was in no record below these offsets.
    async fn parents_progress(
        &self,
        connection: &mut PgConnection,
        checked: &[Checked<'_>],
    ) -> Result<Vec<(String, i32, i64)>, Fault> {
        let mut topics: Vec<String> = checked
            .iter()
            .flat_map(|checked| &self.plans[checked.write.route].parents)
            .map(|parent| parent.topic.clone())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() { Ok(Vec::new()) } else { self.group.of_topics(connection, &topics).await }
    }

    /// Locks the parents of the route's rows, then the rows, and reads them.
    async fn lock(
        &self,
        connection: &mut PgConnection,
        route: usize,
        checked: &[Checked<'_>],
        existing: &mut Existing,
    ) -> Result<HashMap<Key, Current>, Fault> {
        let plan = &self.plans[route];
        let writes = || {
            let sound = checked.iter().filter(|checked| checked.flaw.is_none() && checked.write.route == route);
            sound.map(|checked| checked.write)
        };
        let keys: Vec<Key> = distinct(writes().map(|write| apply::pick(&write.values, &plan.key)));
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        for parent in 0..plan.parents.len() {
            let named = writes().flat_map(|write| apply::parents_named(plan, write));
            let named = distinct(named.filter(|(at, _)| *at == parent).map(|(_, key)| key));
            let found = self.statements[route].lock_parents(connection, parent, &named, &keys).await?;
            existing.parents.extend(found.into_iter().map(|key| (route, parent, key)));
        }
        self.statements[route].lock_rows(connection, &keys).await
    }

    async fn rounds(
        &self,
        connection: &mut PgConnection,
        route: usize,
        mut rounds: Rounds<'_>,
        first: &HashMap<Key, Current>,
    ) -> Result<(), Fault> {
        let (plan, statements) = (&self.plans[route], &self.statements[route]);
        let mut again = None;
        while !rounds.is_done() {
            let Some(round) = rounds.take(plan, again.as_ref().unwrap_or(first)) else {
                return Err(Fault::retry(format!("a row of \"{}\" went away while it was locked", plan.name)));
            };
            if !round.inserts.is_empty() {
                let inserted = statements.insert(connection, &round.inserts).await?;
                if inserted != round.inserts.len() as u64 {
                    return Err(Fault::retry(format!("a row of \"{}\" appeared meanwhile", plan.name)));
                }
            }
            if !round.updates.is_empty() {
                let updated = statements.update(connection, &round.updates).await?;
                if updated != round.updates.len() as u64 {
                    return Err(Fault::stop(format!(
                        "a trigger or policy of \"{}\" drops updates: the rows would not be what their events say",
                        plan.name
                    )));
                }
            }
            if !rounds.is_done() {
                // Triggers may have changed what was just written.
                again = Some(statements.lock_rows(connection, &rounds.keys()).await?);
            }
        }
        Ok(())
    }
}

/// What was read for a batch, and what follows from it.
struct Known {
    judged: Judged,
    /// By route and key.
    rows: HashMap<usize, HashMap<Key, Current>>,
    /// (topic, partition, next offset) of the topics that feed parents.
    progress: Vec<(String, i32, i64)>,
}

impl Known {
    /// The offset of the record that waits, and for what.
    fn wait(self, batch: &Batch) -> Option<(i64, String, ParentWait)> {
        let cut = self.judged.cut?;
        let progress = self.progress.into_iter().filter(|(topic, _, _)| *topic == cut.topic);
        let progress = progress.map(|(_, partition, next_offset)| (partition, next_offset)).collect();
        let offset = batch.records[cut.record].record.offset;
        Some((offset, cut.waiting_for, ParentWait { topic: cut.topic, progress, rejected: cut.rejected }))
    }
}

fn distinct(keys: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(key.clone())).collect()
}
