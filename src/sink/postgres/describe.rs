//! What the source says about our rights.

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
}
