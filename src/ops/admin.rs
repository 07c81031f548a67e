//! The admin server: health, metrics, status and configuration over HTTP, on this machine alone unless it is told
//! otherwise. Whoever reaches it may look; what it tells has no secret and no value of a record. Changes need a token.

mod change;
mod door;
pub mod exposition;
mod history;
mod letters;
mod page;
mod seen;
mod status;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use self::door::Door;
use self::history::History;
use self::seen::Seen;
use self::status::{Ready, Status};
use crate::kafka::control::Control;
use crate::kafka::owners;
use crate::ops::config::admin::Listen;
use crate::ops::config::{Config, Consumer, Secret};
use crate::ops::service::{Exit, Outside};
use crate::ops::telemetry::Level;
use crate::pipeline::meters::{Meters, now_ms};

/// Requests that are answered at once; more are turned away.
const REQUESTS_MAX: usize = 32;

/// A binary that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary {
    /// As its section is called.
    pub name: &'static str,
    pub port_default: u16,
}

pub const CONSUMER: Binary = Binary { name: "consumer", port_default: 9401 };
pub const CDCCONSUMER: Binary = Binary { name: "cdcconsumer", port_default: 9402 };

/// Who is looked at.
pub struct Identity {
    pub binary: &'static str,
    pub group_id: String,
    pub group_instance_id: Option<String>,
    pub started_ms: i64,
}

/// What the answers are made of.
struct Admin {
    identity: Identity,
    meters: Arc<Meters>,
    control: Arc<Control>,
    history: Arc<History>,
    level: Level,
    token: Option<Secret>,
    letters: letters::Source,
    /// The dead-letter topic is read by one request at a time, and the group described for one.
    reading: Arc<Semaphore>,
    asking: Arc<Semaphore>,
    /// The configuration as it is shown.
    config: String,
    requests: Semaphore,
    /// Only names of this machine are answered to, so that no page of another site reads it through the browser.
    local: bool,
}

/// Begins to serve. It ends with the process. `Err` when the configuration wants an address that cannot be had.
pub async fn start(
    binary: Binary,
    config: &Config,
    consumer: &Consumer,
    Outside { meters, control }: &Outside,
    level: Level,
) -> Result<(), Exit> {
    let Some(listener) = listen(binary, consumer.admin.listen(binary.port_default)).await? else { return Ok(()) };
    let Ok(address) = listener.local_addr() else { return Ok(()) };
    tracing::info!("page, metrics and status are at http://{address}/");
    let identity = Identity {
        binary: binary.name,
        group_id: consumer.group_id.clone(),
        group_instance_id: consumer.group_instance_id.clone(),
        started_ms: now_ms(),
    };
    let history = Arc::new(History::default());
    tokio::spawn(history::keep(history.clone(), meters.clone()));
    let admin = Admin {
        identity,
        meters: meters.clone(),
        control: control.clone(),
        history,
        level,
        token: consumer.admin.token.clone(),
        letters: letters::Source {
            access: config.kafka.access(),
            group_id: consumer.group_id.clone(),
            topic: config.kafka.dead_letter_topic.clone(),
        },
        reading: Arc::new(Semaphore::new(1)),
        asking: Arc::new(Semaphore::new(1)),
        config: shown(config),
        requests: Semaphore::new(REQUESTS_MAX),
        local: address.ip().is_loopback(),
    };
    let router = router(Arc::new(admin));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(Door::new(listener), router).await {
            tracing::error!("the admin server has ended: {error}");
        }
    });
    Ok(())
}

async fn listen(binary: Binary, wanted: Listen) -> Result<Option<TcpListener>, Exit> {
    match wanted {
        Listen::Off => Ok(None),
        Listen::At(address) => match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                let name = binary.name;
                tracing::error!(
                    "refused: {name}.admin.address = \"{address}\": {error}: give another address or port, or \"off\""
                );
                Err(Exit::Refused)
            }
        },
        Listen::Near(address) => {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = match TcpListener::bind(address).await {
                Ok(listener) => Ok(listener),
                // Several instances on one machine are common, and nobody said which of them has the port.
                Err(_) => TcpListener::bind(any).await,
            };
            Ok(listener.inspect_err(|error| tracing::warn!("there is no admin server: {address}: {error}")).ok())
        }
    }
}

/// The configuration without its secrets and without what nobody has set.
fn shown(config: &Config) -> String {
    fn set(value: serde_json::Value) -> Option<serde_json::Value> {
        match value {
            serde_json::Value::Null => None,
            serde_json::Value::Object(members) => {
                Some(members.into_iter().filter_map(|(name, value)| Some((name, set(value)?))).collect())
            }
            serde_json::Value::Array(items) => Some(items.into_iter().filter_map(set).collect()),
            other => Some(other),
        }
    }
    let value = serde_json::to_value(config).ok().and_then(set);
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_default()
}

fn router(admin: Arc<Admin>) -> Router {
    let pages = page::FILES
        .into_iter()
        .fold(Router::new(), |router, file| router.route(file.0, get(move || std::future::ready(page::answer(file)))));
    pages
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/config", get(config))
        .route("/history", get(past))
        .route("/dead-letters", get(dead_letters))
        .route("/owners", get(owners))
        .route("/log-level", post(change::log_level))
        .route("/pause", post(change::pause))
        .route("/resume", post(change::resume))
        .route("/seek", post(change::seek))
        .layer(DefaultBodyLimit::max(change::BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(admin.clone(), guarded))
        .with_state(admin)
}

/// Looks at every request before it is answered, and says what a browser may make of the answer.
async fn guarded(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    if admin.local && !host.is_none_or(is_local) {
        return (StatusCode::MISDIRECTED_REQUEST, "call it by an address of this machine\n").into_response();
    }
    let Ok(_turn) = admin.requests.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n").into_response();
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                  frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn live(State(admin): State<Arc<Admin>>) -> Response {
    match Seen::now(&admin.meters).is_live() {
        true => (StatusCode::OK, "live\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the polling thread hangs: start it again\n").into_response(),
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let seen = Seen::now(&admin.meters);
    let ready = Ready::of(&seen);
    let code = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, json(&ready)).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let text = exposition::render(&admin.identity, &Seen::now(&admin.meters));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let seen = Seen::now(&admin.meters);
    json(&Status::of(&admin.identity, &seen))
}

async fn past(State(admin): State<Arc<Admin>>) -> Response {
    json(&admin.history.samples())
}

async fn dead_letters(State(admin): State<Arc<Admin>>) -> Response {
    let source = admin.letters.clone();
    asked(&admin.reading, move || letters::newest(&source).map_err(|error| error.to_string())).await
}

async fn owners(State(admin): State<Arc<Admin>>) -> Response {
    let letters::Source { access, group_id, .. } = admin.letters.clone();
    asked(&admin.asking, move || owners::owners(&access, &group_id).map_err(|error| format!("Kafka: {error}"))).await
}

/// What Kafka answers to a question. One is asked at a time.
async fn asked<T: Serialize + Send + 'static>(
    turns: &Arc<Semaphore>,
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Response {
    let Ok(turn) = turns.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "it is being read: ask again\n").into_response();
    };
    let (done, answered) = oneshot::channel();
    // A thread that the end of the process does not wait for.
    let work = move || {
        let _turn = turn;
        drop(done.send(ask()));
    };
    if let Err(error) = std::thread::Builder::new().name("admin".into()).spawn(work) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("a thread cannot be started: {error}\n")).into_response();
    }
    match answered.await {
        Ok(Ok(told)) => json(&told),
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "see the log\n").into_response(),
    }
}

async fn config(State(admin): State<Arc<Admin>>) -> Response {
    ([(CONTENT_TYPE, JSON)], admin.config.clone()).into_response()
}

const JSON: &str = "application/json";

fn json(value: &impl Serialize) -> Response {
    // What is told here has neither maps with other keys than text nor anything else that JSON cannot hold.
    let text = serde_json::to_string(value).unwrap_or_default();
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

#[cfg(test)]
mod tests;
