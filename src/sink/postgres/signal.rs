//! Signals to Debezium, through its signal table.

use sqlx::{AssertSqlSafe, Executor as _};

use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::types::quote_table;

impl Postgres {
    /// Writes a signal into the table that `signal.data.collection` names. Debezium knows its columns by their place.
    /// The same signal may be written again, when it is not known whether it was.
    pub async fn signal(&self, table: &str, id: &str, kind: &str, data: &str) -> Result<(), Failure> {
        let text = format!("INSERT INTO {} VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", quote_table(table));
        let query = sqlx::query(AssertSqlSafe(text)).bind(id).bind(kind).bind(data);
        let mut connection = self.connections.lease().await?;
        connection.execute(query).await.map_err(Fault::from)?;
        connection.give_back();
        Ok(())
    }
}
