//! One row of a source table read again, its columns in the forms in which records have them.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::row::wire::{BytesForm, Wire};
use crate::row::{Kind, Value};
use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
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
            match select(&quote(name), wire).filter(|_| type_name(name).is_some()) {
                Some(found) => selected.push(found),
                None => {
                    connection.give_back();
                    let why = format!("the row moved, and its column \"{name}\" cannot be read at the source");
                    return Ok(Reselected::Unreadable(why));
                }
            }
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

/// How a column is selected as JSON text, and the form of that JSON; `None` for what is never unavailable.
///
/// `format` prints a value as replication does, where a cast to text would take the blanks from a char(n). Casts to
/// json find hstore's whatever schema its extension is in.
fn select(column: &str, wire: &Wire) -> Option<(String, Wire)> {
    let place = format!("t.{column}");
    let (item, form) = match wire {
        Wire::Array(item) => {
            let (sql, form) = scalar("item", item)?;
            let items = format!(
                "(SELECT coalesce(json_agg(CASE WHEN item IS NOT NULL THEN {sql} END ORDER BY at), '[]') \
                    FROM unnest({place}) WITH ORDINALITY AS items(item, at))"
            );
            (items, Wire::Array(Box::new(form)))
        }
        Wire::HstoreJson | Wire::HstoreMap => (format!("{place}::json"), Wire::HstoreMap),
        _ => scalar(&place, wire)?,
    };
    Some((format!("CASE WHEN {place} IS NOT NULL THEN to_json({item})::text END"), form))
}

fn scalar(place: &str, wire: &Wire) -> Option<(String, Wire)> {
    Some(match wire {
        Wire::Text | Wire::DecimalText => (format!("format('%s', {place})"), wire.clone()),
        Wire::Uuid => (format!("{place}::text"), Wire::Uuid),
        Wire::Bytes(_) => (format!("encode({place}, 'hex')"), Wire::Bytes(BytesForm::Hex)),
        Wire::Int32 | Wire::Int64 => (place.to_string(), wire.clone()),
        // An infinite date has no day: the numbers are those that Debezium writes for it.
        Wire::Date => (
            format!(
                "CASE WHEN isfinite({place}) THEN {place} - date '1970-01-01' \
                      WHEN {place} > date '1970-01-01' THEN -622191234 ELSE -625821272 END"
            ),
            Wire::Date,
        ),
        _ => return None,
    })
}
