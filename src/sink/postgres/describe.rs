//! What the source says about our rights, and about columns that only snapshots bring.

use sqlx::{Executor as _, Row as _};

use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::types::quote_table;

impl Postgres {
    /// Whether we may read the rows of a table (`users`, `public.users`); `None` when there is no such table.
    pub async fn may_read(&self, table: &str) -> Result<Option<bool>, Failure> {
        let text = "SELECT has_table_privilege(to_regclass($1), 'SELECT')";
        let mut connection = self.connections.lease().await?;
        let told = connection.fetch_one(sqlx::query(text).bind(quote_table(table))).await.map_err(Fault::from)?;
        connection.give_back();
        Ok(told.try_get(0).map_err(Fault::from)?)
    }

    /// The columns of a table that the server computes itself.
    pub async fn generated_columns(&self, table: &str) -> Result<Vec<String>, Failure> {
        let text = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 \
                       AND NOT attisdropped AND attgenerated <> '' ORDER BY attnum";
        let mut connection = self.connections.lease().await?;
        let rows = connection.fetch_all(sqlx::query(text).bind(quote_table(table))).await.map_err(Fault::from)?;
        connection.give_back();
        let names: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(names.map_err(Fault::from)?)
    }
}
