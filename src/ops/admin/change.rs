//! Changes of the running process, for whoever has the token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Admin;

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
