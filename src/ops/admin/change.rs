//! Changes of the running process, for whoever has the token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use crate::kafka::control::{Of, Order, Unmet, Wish};
use crate::kafka::seek::To;

/// The longest text that is taken.
pub const BODY_BYTES_MAX: usize = 1_024;

/// Sets what is logged, as `log.level` does, until the process ends.
pub async fn log_level(State(admin): State<Arc<Admin>>, headers: HeaderMap, body: String) -> Response {
    if let Some(refusal) = refusal(&admin, &headers) {
        return refusal;
    }
    let level = body.trim();
    match admin.level.set(level) {
        Ok(()) => {
            tracing::info!(level, "the log level was changed by the admin server");
            (StatusCode::OK, "changed until the process ends\n").into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

/// What a request says of the partitions that it is about, and of where they are read again from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    topic: Option<String>,
    partition: Option<i32>,
    table: Option<String>,
    /// `"beginning"`, `"end"`, or an offset of one partition.
    to: Option<Place>,
    #[serde(default)]
    skip_records: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Place {
    Offset(i64),
    Named(End),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Beginning,
    End,
}

pub async fn pause(State(admin): State<Arc<Admin>>, headers: HeaderMap, body: String) -> Response {
    ordered(&admin, &headers, &body, |asked| asked.to.is_none().then_some(Wish::Pause)).await
}

pub async fn resume(State(admin): State<Arc<Admin>>, headers: HeaderMap, body: String) -> Response {
    ordered(&admin, &headers, &body, |asked| asked.to.is_none().then_some(Wish::Resume)).await
}

pub async fn seek(State(admin): State<Arc<Admin>>, headers: HeaderMap, body: String) -> Response {
    let wish = |asked: &Asked| {
        let to = match asked.to.as_ref()? {
            Place::Named(End::Beginning) => To::Beginning,
            Place::Named(End::End) => To::End,
            // An offset is one of one partition.
            Place::Offset(offset) => asked.partition.map(|_| To::Offset(*offset))?,
        };
        Some(Wish::Seek { to, skip_records: asked.skip_records })
    };
    ordered(&admin, &headers, &body, wish).await
}

const SHAPE: &str = "send {\"topic\": …}, {\"topic\": …, \"partition\": …} or {\"table\": …} as JSON, for a seek with \
                     \"to\": \"beginning\", \"end\" or an offset of one partition";

async fn ordered(admin: &Admin, headers: &HeaderMap, body: &str, wish: impl Fn(&Asked) -> Option<Wish>) -> Response {
    if let Some(refused) = refusal(admin, headers) {
        return refused;
    }
    let order = serde_json::from_str::<Asked>(body).ok().and_then(|asked| {
        let wish = wish(&asked)?;
        let of = match (asked.topic, asked.partition, asked.table) {
            (Some(topic), partition, None) => Of::Topic(topic, partition),
            (None, None, Some(table)) => Of::Table(table),
            _ => return None,
        };
        Some(Order { wish, of })
    });
    let Some(order) = order else { return (StatusCode::BAD_REQUEST, format!("{SHAPE}\n")).into_response() };
    match admin.control.ask(order).await {
        Ok(told) => (StatusCode::OK, format!("{told}\n")).into_response(),
        Err(Unmet::Refused(why)) => (StatusCode::CONFLICT, format!("{why}\n")).into_response(),
        Err(Unmet::Later(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// The answer to a request that has not the token.
fn refusal(admin: &Admin, headers: &HeaderMap) -> Option<Response> {
    let Some(token) = &admin.token else {
        let text = "no token is configured, so nothing can be changed: set `token_file` of the section that has the \
                    address\n";
        return Some((StatusCode::FORBIDDEN, text).into_response());
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.reveal().as_bytes();
    // Compared in the same time wherever they differ.
    let is = |given: &str| given.len() == token.len() && openssl::memcmp::eq(given.as_bytes(), token);
    let refused = !given.is_some_and(is);
    refused.then(|| (StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer …\n").into_response())
}
