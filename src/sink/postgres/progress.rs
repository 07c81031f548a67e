//! `rowferry_progress`: how far each partition is applied, and who owns it.
//!
//! The row is moved in the transaction that writes the batch, and only by the owner that finds it where it left it:
//! that makes the effect of every record exactly once, whoever else still writes.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};

use crate::record::TopicPartition;
use crate::sink::postgres::errors::Fault;

/// The row of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub next_offset: i64,
    pub owner_epoch: i64,
}

/// Whose rows: every statement names the group.
#[derive(Debug, Clone)]
pub struct Group(pub String);

impl Group {
    /// Makes the caller the owner: every earlier one finds its epoch gone. Waits for a transaction that is moving
    /// the row, up to the connection's lock timeout. The id is that of the topic that the row was made for.
    pub async fn take(
        &self,
        connection: &mut PgConnection,
        of: &TopicPartition,
        start_offset: i64,
        topic_id: Option<&str>,
    ) -> Result<(Progress, Option<String>), Fault> {
        let query = sqlx::query(
            "INSERT INTO rowferry_progress (consumer_group, topic, partition, next_offset, owner_epoch, topic_id) \
             VALUES ($1, $2, $3, $4, 1, $5) \
             ON CONFLICT (consumer_group, topic, partition) \
             DO UPDATE SET owner_epoch = rowferry_progress.owner_epoch + 1, \
                           topic_id = coalesce(rowferry_progress.topic_id, excluded.topic_id) \
             RETURNING next_offset, owner_epoch, topic_id",
        );
        let query = query.bind(&self.0).bind(&*of.topic).bind(of.partition).bind(start_offset).bind(topic_id);
        let row = connection.fetch_one(query).await?;
        Ok((progress(&row)?, row.try_get(2)?))
    }

    /// Moves the row from where it is `expected` to `next_offset`. False when it is not there, or not ours.
    pub async fn advance(
        &self,
        connection: &mut PgConnection,
        of: &TopicPartition,
        expected: Progress,
        next_offset: i64,
    ) -> Result<bool, Fault> {
        let query = sqlx::query(
            "UPDATE rowferry_progress SET next_offset = $1 \
             WHERE consumer_group = $2 AND topic = $3 AND partition = $4 AND owner_epoch = $5 AND next_offset = $6",
        );
        let query = query.bind(next_offset).bind(&self.0).bind(&*of.topic).bind(of.partition);
        let done = connection.execute(query.bind(expected.owner_epoch).bind(expected.next_offset)).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The row as it stands once no transaction is moving it: one whose COMMIT we lost sight of has ended then.
    pub async fn settled(&self, connection: &mut PgConnection, of: &TopicPartition) -> Result<Option<Progress>, Fault> {
        let query = sqlx::query(
            "SELECT next_offset, owner_epoch FROM rowferry_progress \
             WHERE consumer_group = $1 AND topic = $2 AND partition = $3 FOR UPDATE",
        );
        let row = connection.fetch_optional(query.bind(&self.0).bind(&*of.topic).bind(of.partition)).await?;
        Ok(row.as_ref().map(progress).transpose()?)
    }

    /// Next offset of each partition of these topics that was ever taken: (topic, partition, next offset).
    pub async fn of_topics(
        &self,
        connection: &mut PgConnection,
        topics: &[String],
    ) -> Result<Vec<(String, i32, i64)>, Fault> {
        let query = sqlx::query(
            "SELECT topic, partition, next_offset FROM rowferry_progress \
             WHERE consumer_group = $1 AND topic = ANY($2) ORDER BY topic, partition",
        );
        let rows = connection.fetch_all(query.bind(&self.0).bind(topics)).await?;
        let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }
}

fn progress(row: &PgRow) -> Result<Progress, sqlx::Error> {
    Ok(Progress { next_offset: row.try_get(0)?, owner_epoch: row.try_get(1)? })
}
