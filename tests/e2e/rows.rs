//! Rows as text, read from Postgres and from Cassandra by the tests themselves, so that what is compared does not
//! pass through any code of ours.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use futures::TryStreamExt as _;
use scylla::value::{CqlValue, Row as CqlRow};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};

use crate::stack::Scenario;
use crate::topics::Stored;

/// Column to value; `None` is null. Times as `2025-01-31T12:00:00.000Z`, decimals with the places that they have.
pub type Row = BTreeMap<String, Option<String>>;

/// All rows of a table, sorted.
pub type Rows = Vec<Row>;

/// What differs, row by row, when these are not the same.
pub fn assert_same(what: &str, found: &Rows, expected: &Rows) {
    if found == expected {
        return;
    }
    let only = |rows: &Rows, others: &Rows| -> Vec<String> {
        let others: std::collections::BTreeSet<&Row> = others.iter().collect();
        rows.iter().filter(|row| !others.contains(row)).take(5).map(show).collect()
    };
    panic!(
        "{what}: {} rows found, {} expected\n  found, not expected:\n    {}\n  expected, not found:\n    {}",
        found.len(),
        expected.len(),
        only(found, expected).join("\n    "),
        only(expected, found).join("\n    ")
    );
}

pub fn show(row: &Row) -> String {
    let shown = row.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("null")));
    shown.collect::<Vec<_>>().join(" ")
}

/// The rows with a column under another name.
pub fn renamed(rows: Rows, from: &str, to: &str) -> Rows {
    let rename = |(name, value): (String, _)| if name == from { (to.into(), value) } else { (name, value) };
    let mut rows: Rows = rows.into_iter().map(|row| row.into_iter().map(rename).collect()).collect();
    rows.sort();
    rows
}

impl Scenario {
    /// The rows of a table in Postgres.
    pub async fn postgres_rows(&self, table: &str) -> Rows {
        self.postgres_query(&format!("SELECT * FROM {table}")).await
    }

    /// The rows of any query in Postgres. It is sent without parameters, so values come as Postgres prints them.
    pub async fn postgres_query(&self, query: &str) -> Rows {
        let fetched = sqlx::raw_sql(AssertSqlSafe(query.to_string())).fetch_all(&self.postgres).await.unwrap();
        let mut rows: Rows = fetched
            .iter()
            .map(|row| {
                let value = |at: usize| {
                    let raw = row.try_get_raw(at).unwrap();
                    let kind = raw.type_info().name().to_string();
                    (!raw.is_null()).then(|| postgres_text(&kind, raw.as_str().unwrap()))
                };
                row.columns().iter().map(|column| (column.name().into(), value(column.ordinal()))).collect()
            })
            .collect();
        rows.sort();
        rows
    }

    /// The rows of a table in this scenario's keyspace, read at QUORUM.
    pub async fn cassandra_rows(&self, table: &str) -> Rows {
        self.cassandra_query(&format!("SELECT * FROM {}.{table}", self.id)).await
    }

    pub async fn cassandra_query(&self, query: &str) -> Rows {
        let pager = self.cassandra.query_iter(query, ()).await.unwrap_or_else(|error| panic!("{error}: {query}"));
        let names: Vec<String> = pager.column_specs().iter().map(|spec| spec.name().to_string()).collect();
        let fetched: Vec<CqlRow> = pager.rows_stream::<CqlRow>().unwrap().try_collect().await.unwrap();
        let with_names = |row: CqlRow| {
            names.iter().cloned().zip(row.columns.into_iter().map(|value| value.map(cql_text))).collect::<Row>()
        };
        let mut rows: Rows = fetched.into_iter().map(with_names).collect();
        rows.sort();
        rows
    }

    /// The rows of a table with the WRITETIME of every cell beside it, as `writetime(column)`.
    pub async fn writetimes(&self, keyspace: &str, table: &str) -> Rows {
        let columns = "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
        let columns =
            self.cassandra.query_unpaged(columns, (keyspace, table)).await.unwrap().into_rows_result().unwrap();
        let columns: Vec<(String, String)> = columns.rows().unwrap().map(Result::unwrap).collect();
        let selected: Vec<String> = columns
            .iter()
            .map(|(name, kind)| if kind == "regular" { format!("{name}, writetime({name})") } else { name.clone() })
            .collect();
        self.cassandra_query(&format!("SELECT {} FROM {keyspace}.{table}", selected.join(", "))).await
    }

    /// All three tables of a keyspace with their WRITETIMEs.
    pub async fn all_writetimes(&self, keyspace: &str) -> BTreeMap<String, Rows> {
        let mut tables = BTreeMap::new();
        for table in ["users", "orders", "orders_by_user"] {
            tables.insert(table.to_string(), self.writetimes(keyspace, table).await);
        }
        tables
    }

    /// Asserts that all three Cassandra tables hold what Postgres holds, neither less nor more.
    pub async fn assert_cassandra_equals_postgres(&self) {
        let users = self.postgres_rows("users").await;
        assert_same("users in Cassandra", &self.cassandra_rows("users").await, &users);
        let orders = renamed(self.postgres_rows("orders").await, "id", "order_id");
        assert_same("orders in Cassandra", &self.cassandra_rows("orders").await, &orders);
        assert_same("orders_by_user in Cassandra", &self.cassandra_rows("orders_by_user").await, &orders);
    }

    /// Waits until the change topics, folded by key, hold what Postgres holds: Debezium has sent everything.
    pub async fn until_debezium_has_sent_all(&self) {
        for table in ["users", "orders"] {
            let topic = self.topic(&format!("public.{table}"));
            let rows = self.postgres_rows(table).await;
            let deadline = Instant::now() + Duration::from_secs(90);
            let (mut seen, mut read_at) = (Vec::new(), None);
            loop {
                let ends = self.ends(&topic);
                let has_news = std::mem::replace(&mut seen, ends.clone()) != ends;
                if has_news || read_at.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(5)) {
                    read_at = Some(Instant::now());
                    if self.folded(&topic) == rows {
                        break;
                    }
                }
                let is_late = Instant::now() > deadline;
                assert!(
                    !is_late,
                    "Debezium has not sent all of {table}: {}",
                    self.history_of_difference(&topic, &rows)
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The records of the first row of which the topic says something else.
    fn history_of_difference(&self, topic: &str, rows: &Rows) -> String {
        let folded = self.folded(topic);
        let others = folded.iter().filter(|row| !rows.contains(row));
        let missing = rows.iter().filter(|row| !folded.contains(row));
        let differing: Vec<&Row> = others.chain(missing).collect();
        let Some(id) = differing.first().and_then(|row| row["id"].clone()) else { return "nothing differs now".into() };
        let of_row =
            |record: &Stored| record.key.as_ref().is_some_and(|key| String::from_utf8_lossy(key).contains(&id));
        let records = self.records(topic).into_iter().filter(of_row);
        let told: Vec<String> = records.map(|record| format!("{} {}", record.offset, record.value_text())).collect();
        let row = rows.iter().find(|row| row["id"].as_ref() == Some(&id));
        format!("{} rows differ; one is {row:?} in Postgres, and its records are\n{}", differing.len(), told.join("\n"))
    }

    /// What a change topic says that its table holds now.
    fn folded(&self, topic: &str) -> Rows {
        let newest = self.newest(topic);
        let images = newest.values().map(|value| &value["after"]).filter(|after| after.is_object());
        let mut rows: Rows = images.map(debezium_row).collect();
        rows.sort();
        rows
    }

    /// The last envelope of each key.
    pub fn newest(&self, topic: &str) -> BTreeMap<Vec<u8>, Value> {
        let envelope = |record: Stored| Some((record.key?, serde_json::from_slice(&record.value?).unwrap()));
        self.records(topic).into_iter().filter_map(envelope).collect()
    }
}

/// The final tables as `producer --oracle` prints them: one JSON line a row, `{"table":…,"row":{…}}`.
pub fn oracle_rows(lines: &str, table: &str) -> Rows {
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut rows: Rows = lines
        .filter(|line| line["table"] == table)
        .map(|line| {
            let columns = line["row"].as_object().unwrap();
            columns.iter().map(|(name, value)| (name.clone(), json_text(value))).collect()
        })
        .collect();
    rows.sort();
    rows
}

fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A row of an envelope.
pub fn debezium_row(image: &Value) -> Row {
    image.as_object().unwrap().iter().map(|(name, value)| (name.clone(), debezium_text(name, value))).collect()
}

/// A value of an envelope under the settings of `debezium-config.sh`.
fn debezium_text(column: &str, value: &Value) -> Option<String> {
    match value {
        Value::Number(days) if column == "dob" => Some(day(days.as_i64().unwrap())),
        Value::String(time) if column.ends_with("_at") => Some(instant(DateTime::parse_from_rfc3339(time).unwrap())),
        other => json_text(other),
    }
}

fn postgres_text(kind: &str, text: &str) -> String {
    match kind {
        "TIMESTAMPTZ" => instant(DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").unwrap()),
        "BOOL" => (text == "t").to_string(),
        _ => text.into(),
    }
}

fn cql_text(value: CqlValue) -> String {
    match value {
        CqlValue::Text(text) | CqlValue::Ascii(text) => text,
        CqlValue::Uuid(uuid) => uuid.to_string(),
        CqlValue::Int(number) => number.to_string(),
        CqlValue::BigInt(number) => number.to_string(),
        CqlValue::Boolean(flag) => flag.to_string(),
        CqlValue::Decimal(number) => bigdecimal::BigDecimal::from(number).to_plain_string(),
        CqlValue::Blob(bytes) => bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
        // Days, with 1970-01-01 in the middle of the range.
        CqlValue::Date(date) => day(i64::from(date.0) - (1 << 31)),
        CqlValue::Timestamp(time) => instant(DateTime::<Utc>::from_timestamp_millis(time.0).unwrap()),
        other => panic!("no test has read a {other:?} yet: add it to rows.rs"),
    }
}

fn instant<Z: chrono::TimeZone>(time: DateTime<Z>) -> String {
    time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn day(since_1970: i64) -> String {
    (NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(since_1970)).to_string()
}
