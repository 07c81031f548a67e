//! A bench for tests of routes: tables and specs on one side, records in, and the writes as text out.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::format::Decoder;
use crate::plan::route::{RouteSpec, TargetTable};
use crate::record::{Header, Record};
use crate::row::{Column, Kind};

/// Routes of the topic `orders`, keyed by `id`.
pub struct Bench {
    pub routes: Arc<Routes>,
}

/// A record as a test writes it.
#[derive(Clone)]
pub struct Sent {
    pub key: String,
    /// Null where it is empty.
    pub value: String,
    pub headers: Vec<(&'static str, Option<&'static [u8]>)>,
    pub timestamp_ms: Option<i64>,
}

pub fn sent(value: &str) -> Sent {
    Sent { key: r#"{"id":1}"#.into(), value: value.into(), headers: Vec::new(), timestamp_ms: Some(1_000) }
}

/// `orders (id)`, `by_user ((user_id), id)`, `bucketed ((bucket), id)`: each with every column.
pub fn tables() -> BTreeMap<String, TargetTable> {
    let columns = [
        ("id", Kind::Int64),
        ("user_id", Kind::Int64),
        ("note", Kind::Text),
        ("region", Kind::Text),
        ("bucket", Kind::Int16),
        ("seen_at", Kind::TimestampMillis),
        ("deleted", Kind::Bool),
    ];
    let columns: Vec<Column> = columns.map(|(name, kind)| Column { name: name.into(), kind }).into();
    let table = |name: &str, key: &[&str]| {
        let key = key.iter().map(|name| name.to_string()).collect();
        (name.to_string(), TargetTable { name: name.into(), columns: columns.clone(), key })
    };
    BTreeMap::from([
        table("orders", &["id"]),
        table("by_user", &["user_id", "id"]),
        table("bucketed", &["bucket", "id"]),
        table("by_region", &["region", "id"]),
    ])
}

/// A route into one of them that knows the types of the source's columns, and drops the target's others.
pub fn spec(table: &str) -> RouteSpec {
    let types = [("id", "bigint"), ("user_id", "bigint"), ("note", "text"), ("status", "text")];
    let dropped = ["region", "bucket", "seen_at", "deleted"].map(String::from).into();
    RouteSpec { dropped, ..RouteSpec::new("orders", table, &["id"]).typed(&types) }
}

impl Bench {
    pub fn new(specs: &[RouteSpec]) -> Result<Bench, String> {
        let routes = Routes::resolve(specs, &tables()).map_err(|problems| problems.join("\n"))?;
        Ok(Bench { routes: Arc::new(routes) })
    }

    pub fn batch(&self, records: &[Sent]) -> Batch {
        let mut decoder = Decoder::new(&self.routes.topics[0].shape, 1 << 20);
        let mut draft = Draft::new(self.routes.clone(), TopicPartition { topic: "orders".into(), partition: 0 }, 0);
        for (at, sent) in (0..).zip(records) {
            let header = |(name, value): &(&str, Option<&'static [u8]>)| Header {
                name: (*name).into(),
                value: value.map(Bytes::from_static),
            };
            let record = Record {
                topic: "orders".into(),
                partition: 0,
                offset: at,
                timestamp_ms: sent.timestamp_ms,
                key: Some(sent.key.clone().into()),
                value: (!sent.value.is_empty()).then(|| sent.value.clone().into()),
                headers: sent.headers.iter().map(header).collect(),
            };
            draft.push(Versioned::new(record, 100 + 2 * at), |versioned| decoder.decode(&versioned.record));
        }
        draft.take()
    }

    /// The writes and rejects of these records, one a line.
    pub fn plan(&self, records: &[Sent]) -> String {
        let batch = self.batch(records);
        let mut lines = Vec::new();
        for write in &batch.writes {
            let route = &self.routes.routes[write.route];
            let values = route.columns.iter().zip(&write.values).filter(|(_, value)| **value != Value::Absent);
            let values: Vec<String> = values.map(|(column, value)| format!("{}={value:?}", column.name)).collect();
            let version = write.version.expect("mirrored writes have one");
            lines.push(format!("{:?} {} @{version} {}", write.kind, route.table, values.join(" ")));
        }
        for rejected in &batch.rejects {
            let route = rejected.route.map_or("-".into(), |at| self.routes.routes[at].name());
            lines.push(format!("reject record {} by {route}: {}", rejected.record, rejected.reject));
        }
        lines.join("\n")
    }
}
