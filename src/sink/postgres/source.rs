//! Reading tables, for `verify`: rows in key order page by page, and rows by keys. Values come as JSON in the forms of
//! `forms`; keys travel as text both ways, so that a key may have any type that has an order.

use std::collections::BTreeMap;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, Executor as _, Row as _};

use crate::retry::Verdict;
use crate::row::wire::Wire;
use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::forms::select;
use crate::sink::postgres::schema::catalog_columns;
use crate::sink::postgres::types::{quote, quote_table};

/// What is read of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// `users`, `public.users`
    pub name: String,
    /// The columns that are read, with the forms that records have them in.
    pub columns: Vec<(String, Wire)>,
    /// The primary key, in its order.
    pub key: Vec<SourceKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceKey {
    pub name: String,
    /// As SQL casts to it: `character varying(50)`, `inv.mood`.
    pub type_name: String,
    /// A text asks for the whole millisecond that begins with it.
    pub millis: bool,
}

/// One row: its key as text, and each column as JSON; `None` is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub key: Vec<String>,
    pub columns: Vec<Option<String>>,
}

/// A part of the rows, chosen by a hash of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyShare {
    pub of_10_000: u32,
    pub seed: i64,
}

impl SourceTable {
    /// The forms of the columns of a [`Read`].
    pub fn forms(&self) -> Vec<Wire> {
        self.columns.iter().map(|(name, wire)| select(name, wire).1).collect()
    }

    /// What stands between SELECT and FROM: the key's texts, and then the columns.
    fn select_list(&self) -> String {
        let key = self.key.iter().map(|key| format!("format('%s', t.{})", quote(&key.name)));
        let columns = self.columns.iter().map(|(name, wire)| select(&format!("t.{}", quote(name)), wire).0);
        key.chain(columns).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &PgRow) -> Result<Read, sqlx::Error> {
        let key = (0..self.key.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        let columns = (0..self.columns.len()).map(|at| row.try_get(self.key.len() + at)).collect::<Result<_, _>>()?;
        Ok(Read { key, columns })
    }
}

impl Postgres {
    /// The type of each column of a table, as SQL casts to it; none when there is no such table.
    pub async fn type_names(&self, table: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut connection = self.connections.lease().await?;
        let columns = catalog_columns(&mut connection, table).await?;
        connection.give_back();
        Ok(columns.into_iter().map(|column| (column.name, column.type_name)).collect())
    }

    /// Why a row of this table that is not found need not be gone; `None` where it is.
    pub async fn hides_rows(&self, table: &str) -> Result<Option<String>, Failure> {
        let mut connection = self.connections.lease().await?;
        let text = "SELECT pg_is_in_recovery(), coalesce(row_security_active(to_regclass($1)), false)";
        let row = connection.fetch_one(sqlx::query(text).bind(quote_table(table))).await.map_err(Fault::from)?;
        connection.give_back();
        let is_standby: bool = row.try_get(0).map_err(Fault::from)?;
        let is_filtered: bool = row.try_get(1).map_err(Fault::from)?;
        Ok(match (is_standby, is_filtered) {
            (true, _) => Some("it is a standby, which may not have the newest rows yet: name the primary".into()),
            (_, true) => Some(format!(
                "row security hides rows of \"{table}\" from its user: give it a user with BYPASSRLS, or the owner"
            )),
            _ => None,
        })
    }

    /// How many rows the planner takes a table to have; `None` before it was analysed.
    pub async fn rows_about(&self, table: &str) -> Result<Option<u64>, Failure> {
        let mut connection = self.connections.lease().await?;
        let text = "SELECT sum(greatest(reltuples, 0))::int8 FROM pg_class \
                     WHERE oid = to_regclass($1) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf)";
        let row = connection.fetch_one(sqlx::query(text).bind(quote_table(table))).await.map_err(Fault::from)?;
        connection.give_back();
        let rows: Option<i64> = row.try_get(0).map_err(Fault::from)?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()).filter(|rows| *rows > 0))
    }

    /// The next rows of a table in the order of its primary key, at most `rows_max`: after the row with the key
    /// `after`, or from the first one. Fewer than `rows_max` means that these were the last. Every page is a snapshot
    /// of its own.
    pub async fn rows_after(
        &self,
        table: &SourceTable,
        after: Option<&[String]>,
        rows_max: usize,
        share: Option<KeyShare>,
    ) -> Result<Vec<Read>, Failure> {
        let mut arguments = PgArguments::default();
        let mut conditions = Vec::new();
        let names: Vec<String> = table.key.iter().map(|key| format!("t.{}", quote(&key.name))).collect();
        if let Some(after) = after {
            let places = table.key.iter().enumerate().map(|(at, key)| format!("${}::text::{}", at + 1, key.type_name));
            let places: Vec<String> = places.collect();
            conditions.push(format!("({}) > ({})", names.join(", "), places.join(", ")));
            for value in after {
                arguments.add(value).map_err(|error| Fault::from(sqlx::Error::Encode(error)))?;
            }
        }
        if let Some(KeyShare { of_10_000, seed }) = share {
            let key = format!("concat_ws(chr(31), {})", names.join(", "));
            let hash = format!("hashtextextended({key}, {seed}) & 9223372036854775807");
            conditions.push(format!("({hash}) % 10000 < {of_10_000}"));
        }
        let conditions =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        let text = format!(
            "SELECT {} FROM {} AS t {conditions} ORDER BY {} LIMIT {rows_max}",
            table.select_list(),
            quote_table(&table.name),
            names.join(", ")
        );
        Ok(self.read(table, text, arguments).await?)
    }

    /// The rows with these keys, in no order, without those that do not exist. A text that the key's type cannot be is
    /// the key of no row.
    pub async fn rows_with(&self, table: &SourceTable, keys: &[Vec<String>]) -> Result<Vec<Read>, Failure> {
        let mut found = Vec::new();
        let mut open = vec![keys];
        while let Some(keys) = open.pop() {
            match self.rows_with_all(table, keys).await {
                Ok(rows) => found.extend(rows),
                // One of them is to blame, and the server does not say which.
                Err(fault) if fault.verdict == Verdict::Reject && keys.len() > 1 => {
                    let (one, other) = keys.split_at(keys.len() / 2);
                    open.extend([one, other]);
                }
                Err(fault) if fault.verdict == Verdict::Reject => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(found)
    }

    async fn rows_with_all(&self, table: &SourceTable, keys: &[Vec<String>]) -> Result<Vec<Read>, Fault> {
        let mut arguments = PgArguments::default();
        let (mut arrays, mut names, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for (at, key) in table.key.iter().enumerate() {
            let texts: Vec<&str> = keys.iter().map(|key| key[at].as_str()).collect();
            arguments.add(texts).map_err(|error| Fault::from(sqlx::Error::Encode(error)))?;
            arrays.push(format!("${}::text[]", at + 1));
            names.push(format!("k{at}"));
            let (place, wanted) = (format!("t.{}", quote(&key.name)), format!("k.k{at}::{}", key.type_name));
            conditions.push(match key.millis {
                false => format!("{place} = {wanted}"),
                true => format!("{place} >= {wanted} AND {place} < {wanted} + interval '1 millisecond'"),
            });
        }
        let text = format!(
            "SELECT {} FROM {} AS t JOIN UNNEST({}) AS k({}) ON {}",
            table.select_list(),
            quote_table(&table.name),
            arrays.join(", "),
            names.join(", "),
            conditions.join(" AND ")
        );
        self.read(table, text, arguments).await
    }

    async fn read(&self, table: &SourceTable, text: String, arguments: PgArguments) -> Result<Vec<Read>, Fault> {
        let mut connection = self.connections.lease().await?;
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let rows = connection.fetch_all(query).await.map_err(Fault::from);
        if rows.as_ref().err().is_none_or(|fault| fault.verdict == Verdict::Reject) {
            connection.give_back();
        }
        let rows: Result<Vec<Read>, sqlx::Error> = rows?.iter().map(|row| table.read(row)).collect();
        Ok(rows?)
    }
}
