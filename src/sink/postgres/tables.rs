//! The tables that a source has, for whoever begins with it.

use sqlx::{Executor as _, Row as _};

use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;

/// Tables of people with a primary key, which Debezium captures as a whole: a partition counts as its parent.
const TABLES: &str = "\
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition \
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
       AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) \
     ORDER BY 1 LIMIT $1";

/// More tables than that nobody sets up at once.
const TABLES_MAX: i64 = 10_000;

impl Postgres {
    /// The tables with a primary key as `schema.table`, in the order of their names.
    pub async fn source_tables(&self) -> Result<Vec<String>, Failure> {
        let mut connection = self.connections.lease().await?;
        let rows = connection.fetch_all(sqlx::query(TABLES).bind(TABLES_MAX)).await.map_err(Fault::from)?;
        connection.give_back();
        let names: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(names.map_err(Fault::from)?)
    }
}
