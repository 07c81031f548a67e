//! Where the partitions stand, kept beside the rows: for the day on which a commit loses the versions that go with it.
//!
//! A row a partition, stamped with the last version that it tells of, so that what is read again below the furthest
//! place never goes over it (V2).

use std::collections::BTreeMap;

use scylla::statement::prepared::PreparedStatement;

use super::cluster::Cluster;
use super::statement::quoted;
use super::verdict;
use crate::record::TopicPartition;
use crate::sink::{Checkpoint, Failure};

/// The table, in the keyspace of the targets.
pub const TABLE: &str = "rowferry_progress";

const COLUMNS: [&str; 7] = [
    "consumer_group text",
    "topic text",
    "partition int",
    "next_offset bigint",
    "last_version bigint",
    "topic_id text",
    "PRIMARY KEY ((consumer_group, topic), partition)",
];

/// The statements for one group.
pub struct Checkpoints {
    cluster: Cluster,
    group_id: String,
    insert: PreparedStatement,
    select: PreparedStatement,
}

/// CQL that creates the table.
pub fn ddl(keyspace: &str) -> String {
    format!(
        "-- Where the consumer stands, for the day on which another tool commits offsets of its group.\n\
         CREATE TABLE IF NOT EXISTS {}.{TABLE} (\n  {}\n);\n",
        quoted(keyspace),
        COLUMNS.join(",\n  ")
    )
}

impl Cluster {
    /// `None` when the table is not there: then a commit that has lost its versions can only be decided by a person.
    pub async fn checkpoints(&self, group_id: &str) -> Result<Option<Checkpoints>, Failure> {
        if self.tables(&[TABLE]).await?.found.is_empty() {
            return Ok(None);
        }
        let keyspace = quoted(&self.keyspace);
        let insert = format!(
            "INSERT INTO {keyspace}.{TABLE} (consumer_group, topic, partition, next_offset, last_version, topic_id) \
             VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        );
        let select = format!(
            "SELECT partition, next_offset, last_version, topic_id FROM {keyspace}.{TABLE} WHERE consumer_group = ? AND \
             topic = ?"
        );
        let (insert, select) = (self.prepare(insert).await?, self.prepare(select).await?);
        Ok(Some(Checkpoints { cluster: self.clone(), group_id: group_id.into(), insert, select }))
    }
}

impl Checkpoints {
    pub async fn keep(&self, partition: &TopicPartition, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let Checkpoint { next_offset, last_version, topic_id } = checkpoint;
        let (topic, number) = (&*partition.topic, partition.partition);
        let values = (&self.group_id, topic, number, next_offset, last_version, topic_id, last_version);
        let kept = self.cluster.session.execute_unpaged(&self.insert, values).await;
        kept.map(drop).map_err(|error| verdict::execution(&error).into_failure())
    }

    pub async fn kept(&self, topic: &str) -> Result<BTreeMap<i32, Checkpoint>, Failure> {
        let answer = self.cluster.session.execute_unpaged(&self.select, (&self.group_id, topic)).await;
        let answer = answer.map_err(|error| verdict::execution(&error).into_failure())?;
        let another_shape = || {
            Failure::Stop(format!("Cassandra: table {TABLE} has not the columns {}: make it anew", COLUMNS.join(", ")))
        };
        let rows = answer.into_rows_result().map_err(|_| another_shape())?;
        let mut kept = BTreeMap::new();
        for row in rows.rows::<(i32, Option<i64>, Option<i64>, Option<String>)>().map_err(|_| another_shape())? {
            let (partition, next_offset, last_version, topic_id) = row.map_err(|_| another_shape())?;
            // A row without its cells tells nothing, whoever wrote it.
            if let Some((next_offset, last_version)) = next_offset.zip(last_version) {
                kept.insert(partition, Checkpoint { next_offset, last_version, topic_id });
            }
        }
        Ok(kept)
    }
}
