//! Reading tables, for `verify`: what the catalog says of them, rows in key order page by page, and rows by keys.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::plan::route::TargetTable;
use crate::row::wire::{Modes, Wire};
use crate::row::{Column, Kind, Row};
use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::schema::{CatalogColumn, catalog_columns};
use crate::sink::postgres::types::{bind_array, bind_value, kind_of, quote, quote_table, read_row, type_of, unnest};

/// A table to read, as the live catalog describes it. Columns of every type are here: a reader needs only some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    pub name: String,
    pub columns: Vec<SourceColumn>,
    /// The primary key, in its order; empty when there is none.
    pub key: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    pub name: String,
    /// As Postgres prints it, for messages: `character varying(50)`.
    pub type_name: String,
    /// `None` for a type that is not carried.
    pub kind: Option<Kind>,
    /// `char(n)`, whose values compare without the blanks they end with.
    pub blank_padded: bool,
}

impl Postgres {
    /// Describes a table (`users`, `public.users`) as it is now; `None` when there is none.
    pub async fn source_table(&self, name: &str) -> Result<Option<SourceTable>, Failure> {
        let mut connection = self.connections.lease().await?;
        let columns = catalog_columns(&mut connection, name).await?;
        connection.give_back();
        if columns.is_empty() {
            return Ok(None);
        }
        let mut key: Vec<&CatalogColumn> = columns.iter().filter(|column| column.key_position.is_some()).collect();
        key.sort_by_key(|column| column.key_position);
        let key = key.into_iter().map(|column| column.name.clone()).collect();
        let columns = columns.iter().map(|column| SourceColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            // What replication sends as text is read as that text.
            kind: kind_of(&column.typname).or_else(|| is_text(&column.type_name).then_some(Kind::Text)),
            blank_padded: column.typname == "bpchar",
        });
        Ok(Some(SourceTable { name: name.into(), columns: columns.collect(), key }))
    }

    /// The next rows of a table in the order of its primary key, at most `rows_max`: after the row with the key
    /// `after`, or from the first one. Fewer than `rows_max` means that these were the last. One value for each of
    /// the table's columns; every page is a snapshot of its own.
    pub async fn rows_after(
        &self,
        table: &TargetTable,
        after: Option<&[crate::row::Value]>,
        rows_max: usize,
    ) -> Result<Vec<Row>, Failure> {
        let key = key_columns(table)?;
        let mut arguments = PgArguments::default();
        let mut beyond = String::new();
        let names: Vec<String> = key.iter().map(|column| format!("t.{}", quote(&column.name))).collect();
        if let Some(after) = after {
            let mut places = Vec::new();
            for (at, (column, value)) in key.iter().zip(after).enumerate() {
                bind_value(&mut arguments, &column.kind, value)?;
                places.push(format!("${}::{}", at + 1, type_of(&column.kind)));
            }
            beyond = format!("WHERE ({}) > ({})", names.join(", "), places.join(", "));
        }
        let text = format!(
            "SELECT {} FROM {} AS t {beyond} ORDER BY {} LIMIT {rows_max}",
            as_captured(&table.columns),
            quote_table(&table.name),
            names.join(", ")
        );
        self.rows(text, arguments, &table.columns).await
    }

    /// The rows with these keys, each one value for each column of the primary key; in no order, without those that
    /// do not exist.
    pub async fn rows_with(&self, table: &TargetTable, keys: &[Row]) -> Result<Vec<Row>, Failure> {
        let key = key_columns(table)?;
        let mut arguments = PgArguments::default();
        for (at, column) in key.iter().enumerate() {
            bind_array(&mut arguments, &column.kind, keys.iter().map(|key| &key[at]))?;
        }
        let same: Vec<String> =
            key.iter().enumerate().map(|(at, column)| format!("t.{} = k.k{at}", quote(&column.name))).collect();
        let text = format!(
            "SELECT {} FROM {} AS t JOIN {} ON {}",
            as_captured(&table.columns),
            quote_table(&table.name),
            unnest(key.iter().map(|column| &column.kind), 1, "k"),
            same.join(" AND ")
        );
        self.rows(text, arguments, &table.columns).await
    }

    async fn rows(&self, text: String, arguments: PgArguments, columns: &[Column]) -> Result<Vec<Row>, Failure> {
        let mut connection = self.connections.lease().await?;
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let rows: Vec<PgRow> = connection.fetch_all(query).await.map_err(Fault::from)?;
        connection.give_back();
        Ok(rows.iter().map(|row| read_row(row, columns, 0)).collect::<Result<_, Fault>>()?)
    }
}

fn is_text(type_name: &str) -> bool {
    Wire::of_postgres(type_name, &Modes::default()) == Ok(Wire::Text)
}

fn key_columns(table: &TargetTable) -> Result<Vec<&Column>, Fault> {
    let column = |name: &String| table.columns.iter().find(|column| column.name == *name);
    let gone = || Fault::stop(format!("table \"{}\": its key is not among its columns", table.name));
    table.key.iter().map(column).collect::<Option<Vec<&Column>>>().ok_or_else(gone)
}

/// What stands between SELECT and FROM so that `read_row` gets what logical decoding sends. That is the text a type
/// prints, which for char(n) has the blanks at its end that a cast to text would take away.
fn as_captured(columns: &[Column]) -> String {
    let columns: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote(&column.name);
            match column.kind {
                Kind::Text => format!("CASE WHEN t.{name} IS NOT NULL THEN format('%s', t.{name}) END"),
                _ => format!("t.{name}"),
            }
        })
        .collect();
    columns.join(", ")
}
