//! One row of a source table read again, its columns in the forms in which records have them.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::row::wire::Wire;
use crate::row::{Kind, Value};
use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::forms::select;
use crate::sink::postgres::schema::catalog_columns;
use crate::sink::postgres::types::{bind_value, quote, quote_table, type_of};

/// What a look at one row brought.
#[derive(Debug)]
pub enum Reselected {
    /// For each wanted column its value as JSON and how that is written; no JSON is null.
    Row(Vec<(Wire, Option<String>)>),
    /// There is no such row.
    Gone,
    /// Such a row or column is not read again; the text says why.
    Unreadable(String),
}

impl Postgres {
    /// Reads the row of `table` (`public.users`) with this key. `columns` are those wanted, with the forms that
    /// records have them in.
    pub async fn reselect(
        &self,
        table: &str,
        key: &[(String, Value)],
        columns: &[(String, Wire)],
    ) -> Result<Reselected, Failure> {
        let mut connection = self.connections.lease().await?;
        let catalog = catalog_columns(&mut connection, table).await?;
        let type_name = |name: &str| catalog.iter().find(|column| column.name == name).map(|column| &column.type_name);
        let mut arguments = PgArguments::default();
        let mut conditions = Vec::with_capacity(key.len());
        for (name, value) in key {
            let (Some(kind), Some(type_name)) = (kind_of(value), type_name(name)) else {
                connection.give_back();
                let why = format!("the row moved, and its key column \"{name}\" cannot be looked up at the source");
                return Ok(Reselected::Unreadable(why));
            };
            bind_value(&mut arguments, &kind, value)?;
            let at = conditions.len() + 1;
            // Text stands for every type that has no kind of its own, such as enums.
            let cast = if kind == Kind::Text { format!("::{type_name}") } else { String::new() };
            conditions.push(format!("t.{} = ${at}::{}{cast}", quote(name), type_of(&kind)));
        }
        let mut selected = Vec::with_capacity(columns.len());
        for (name, wire) in columns {
            if type_name(name).is_none() {
                connection.give_back();
                let why = format!("the row moved, and its column \"{name}\" is not there at the source any more");
                return Ok(Reselected::Unreadable(why));
            }
            selected.push(select(&format!("t.{}", quote(name)), wire));
        }
        let list: Vec<&str> = selected.iter().map(|(sql, _)| sql.as_str()).collect();
        let text =
            format!("SELECT {} FROM {} AS t WHERE {}", list.join(", "), quote_table(table), conditions.join(" AND "));
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let row = connection.fetch_optional(query).await.map_err(Fault::from)?;
        connection.give_back();
        let Some(row) = row else { return Ok(Reselected::Gone) };
        let read = |(at, (_, wire)): (usize, (String, Wire))| Ok((wire, row.try_get(at)?));
        let columns: Result<_, sqlx::Error> = selected.into_iter().enumerate().map(read).collect();
        Ok(Reselected::Row(columns.map_err(Fault::from)?))
    }
}

/// The kind that a key's value is bound as.
fn kind_of(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int64,
        Value::Decimal(_) => Kind::Decimal,
        Value::Text(_) => Kind::Text,
        Value::Uuid(_) => Kind::Uuid,
        Value::Date(_) => Kind::Date,
        Value::Timestamp(_) => Kind::Timestamp,
        _ => return None,
    })
}
