//! The admin server over a real connection: every path, who is turned away, and that no secret leaves it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::kafka::control::{Of, Order, Unmet, Wish};
use crate::kafka::seek::To;
use crate::ops::config::load;
use crate::pipeline::meters::Live;
use crate::pipeline::{Progress, State as PartitionState};
use crate::plan::route::{RouteSpec, Routes, TargetTable};
use crate::record::TopicPartition;
use crate::row::{Column, Kind};
use crate::sink::Load;

pub fn identity() -> Identity {
    Identity { binary: "cdcconsumer", group_id: "group".into(), group_instance_id: None, started_ms: 1_000 }
}

/// One partition that waits, and counts for it. It is ours as long as the second is there.
pub fn meters() -> (Arc<Meters>, Arc<Live>) {
    let columns = vec![Column { name: "id".into(), kind: Kind::Int64 }];
    let name = "a \"table\"";
    let table = TargetTable { name: name.into(), columns, key: vec!["id".into()] };
    let spec = RouteSpec::new("docs", name, &["id"]).typed(&[("id", "bigint")]);
    let routes = Routes::resolve(&[spec], &BTreeMap::from([(name.to_string(), table)])).expect("the route fits");
    let meters = Arc::new(Meters::default());
    meters.asks_load_of(|| Load { in_flight: 2, in_flight_max: 8 });
    let id = TopicPartition { topic: "docs".into(), partition: 3 };
    let waiting = PartitionState::Waiting("Cassandra".into());
    let (progress, seen) = watch::channel(Progress { state: waiting, ..Progress::at(4, None) });
    let (revoke, revoked) = watch::channel(false);
    // As long as the process lives, so does the worker.
    std::mem::forget((progress, revoke));
    let live = Arc::new(Live { progress: seen, revoked, held: Arc::default() });
    let counts = meters.begin(&id, &routes, &live);
    counts.records.add(5);
    counts.finished.add(4);
    counts.backoff_ms.add(1_500);
    counts.end_offset.set(10);
    counts.tables[0].upserts.add(7);
    counts.delay.observe_many(Duration::from_millis(300), 4);
    (meters, live)
}

const SECRETS: [&str; 7] = [
    "canary-source",
    "canary-sink",
    "canary-cassandra",
    "canary-token-of-admin",
    "canary-sasl",
    "canary-key",
    "canary-query",
];

const FILE: &str = r#"
    [kafka]
    bootstrap_servers = "127.0.0.1:9092"
    [kafka.properties]
    sasl.mechanism = "PLAIN"
    sasl.password = "canary-sasl"
    ssl.key.password = "canary-key"
    [source.postgres]
    url = "postgres://reader:canary-source@db:5432/shop"
    [sink.postgres]
    url = "postgres://writer@db:5432/shop?application_name=canary-query"
    password = "canary-sink"
    [sink.cassandra]
    nodes = ["127.0.0.1:9042"]
    keyspace = "shop"
    user = "rowferry"
    password = "canary-cassandra"
    [cdcconsumer]
    group_id = "g"
    routes = [
      { topic = "t", table = "t", source_key = ["id"], ttl = "30d", columns = { a = { constant = 1.5 }, b = "c" } },
    ]
    [cdcconsumer.admin]
    token = "canary-token-of-admin"
"#;

fn configuration() -> Config {
    load::parse("rowferry.toml", FILE, std::iter::empty(), &[]).expect("it is complete")
}

/// A server of its own.
async fn served(meters: Arc<Meters>) -> SocketAddr {
    served_with(meters, Level::told(Arc::default()), true).await
}

async fn served_with(meters: Arc<Meters>, level: Level, has_token: bool) -> SocketAddr {
    served_for(meters, Arc::default(), level, has_token).await
}

async fn served_for(meters: Arc<Meters>, control: Arc<Control>, level: Level, has_token: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let config = configuration();
    let token = config.cdcconsumer.as_ref().and_then(|consumer| consumer.admin.token.clone());
    let history = Arc::new(History::default());
    tokio::spawn(history::keep(history.clone(), meters.clone()));
    let admin = Admin {
        identity: identity(),
        meters,
        control,
        history,
        level,
        token: token.filter(|_| has_token),
        letters: letters::Source { access: config.kafka.access(), group_id: "g".into(), topic: "letters".into() },
        reading: Arc::new(Semaphore::new(1)),
        asking: Arc::new(Semaphore::new(1)),
        config: shown(&config),
        requests: Semaphore::new(REQUESTS_MAX),
        local: true,
    };
    tokio::spawn(async move { axum::serve(Door::new(listener), router(Arc::new(admin))).await });
    address
}

/// Status code, headers and body.
async fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("{request}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, head.to_ascii_lowercase(), body.to_string())
}

/// Status code and the whole answer.
async fn post(address: SocketAddr, path: &str, token: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: \
         {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let code: u16 = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, answer)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}")).await
}

#[tokio::test]
async fn it_is_ready_when_all_that_it_needs_is_there_and_says_what_is_not() {
    let (meters, _live) = meters();
    let address = served(meters.clone()).await;
    let ready = async || {
        let (code, _, body) = get(address, "/ready").await;
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let of: Vec<String> =
            json["reasons"].as_array().expect("a list").iter().map(|it| it["of"].to_string()).collect();
        assert_eq!((code == 200, json["ready"] == true), (of.is_empty(), of.is_empty()), "{body}");
        of.join(" ")
    };
    assert_eq!(ready().await, "", "a wait of a moment is everyday life");
    meters.kafka_is_away(Some("no broker answers"));
    assert_eq!(ready().await, "\"kafka\"");
    meters.kafka_is_away(None);
    meters.sink_is_away(Some("no node answers"));
    assert_eq!(ready().await, "", "one question without an answer is none yet");
    meters.sink_is_away(None);
    meters.starts(Some("Cassandra"));
    assert_eq!(ready().await, "\"start\"");
    meters.does(crate::pipeline::meters::Doing::Running);
    meters.read()[0].meters.state_since_ms.set(now_ms() - 60_000);
    assert_eq!(ready().await, "\"docs[3]\"");
}

#[tokio::test]
async fn it_is_live_until_the_polling_thread_hangs() {
    let (meters, _live) = meters();
    let address = served(meters.clone()).await;
    assert_eq!(get(address, "/live").await.0, 200, "it has not begun to poll");
    meters.polled_ms.set(now_ms());
    assert_eq!(get(address, "/live").await.0, 200);
    meters.polled_ms.set(now_ms() - 600_000);
    assert_eq!(get(address, "/live").await.0, 503);
}

#[tokio::test]
async fn the_status_says_what_flows_where_and_what_waits() {
    let (meters, _live) = meters();
    let (code, head, body) = get(served(meters).await, "/status").await;
    assert!(code == 200 && head.contains("content-type: application/json"), "{head}");
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&status["binary"], &status["phase"]), (&"cdcconsumer".into(), &"running".into()));
    assert_eq!((&status["routes"][0]["upserts"], &status["routes"][0]["changes"]), (&7.into(), &serde_json::json!([])));
    let partition = &status["partitions"][0];
    assert_eq!((&partition["state"], &partition["lag_records"]), (&"waiting".into(), &6.into()));
    assert_eq!(status["reasons"][0]["text"], "waiting for Cassandra");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_read_through_the_browser() {
    let address = served(meters().0).await;
    let of_host = async |host: &str| ask(address, &format!("GET /status HTTP/1.1\r\nHost: {host}")).await.0;
    for local in ["localhost:9402", "127.0.0.1", "127.0.0.2:9402", "[::1]:9402", "localhost"] {
        assert_eq!(of_host(local).await, 200, "{local}");
    }
    for foreign in ["example.org:9402", "localhost.example.org", "10.0.0.1:9402"] {
        assert_eq!(of_host(foreign).await, 421, "{foreign}");
    }
    let (_, head, _) = get(address, "/metrics").await;
    assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("nosniff"), "{head}");
    assert!(!head.contains("access-control-allow-origin"), "{head}");
}

#[tokio::test]
async fn no_answer_has_a_secret() {
    let (meters, _live) = meters();
    let address = served(meters).await;
    let (_, _, config) = get(address, "/config").await;
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["source"]["postgres"]["url"], "postgres://reader:***@db:5432/shop");
    assert_eq!(
        config["kafka"]["properties"],
        serde_json::json!({"sasl.mechanism": "PLAIN", "sasl.password": "***", "ssl.key.password": "***"})
    );
    let route = &config["cdcconsumer"]["routes"][0];
    assert_eq!((&route["ttl"], &route["columns"]["b"]), (&"2592000s".into(), &"c".into()));
    for path in ["/config", "/status", "/history", "/ready", "/metrics", "/live", "/", "/page.js", "/nothing"] {
        let (_, head, body) = get(address, path).await;
        for secret in SECRETS {
            assert!(!body.contains(secret) && !head.contains(secret), "{path} has {secret}");
        }
    }
    assert!(SECRETS.iter().all(|secret| FILE.contains(secret)), "one is not configured");
}

#[tokio::test]
async fn an_address_that_was_asked_for_is_had_or_refused_and_a_common_one_is_stepped_aside_from() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = taken.local_addr().expect("it is bound");
    assert_eq!(listen(CDCCONSUMER, Listen::At(address)).await.err(), Some(Exit::Refused));
    let beside = listen(CDCCONSUMER, Listen::Near(address)).await.expect("no refusal").expect("another port");
    assert_ne!(beside.local_addr().expect("it is bound"), address);
    assert!(listen(CDCCONSUMER, Listen::Off).await.expect("no refusal").is_none());
}

#[tokio::test]
async fn those_who_hold_connections_and_say_nothing_leave_room_when_they_go() {
    let address = served(meters().0).await;
    let mut silent = Vec::new();
    for _ in 0..door::CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let turned_away = tokio::time::timeout(Duration::from_millis(300), get(address, "/live")).await;
    assert!(turned_away.is_err(), "it was let in beside them");
    silent.pop();
    assert_eq!(get(address, "/live").await.0, 200);
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_their_types() {
    let address = served(meters().0).await;
    for (path, kind, content) in page::FILES {
        let (code, head, body) = get(address, path).await;
        assert!(code == 200 && head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert_eq!(body, content, "{path}");
    }
    let (code, _, history) = get(address, "/history").await;
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    assert!(code == 200 && history.is_array());
}

#[tokio::test]
async fn the_log_level_is_changed_by_whoever_has_the_token_and_by_nobody_else() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let address = served_with(meters().0, Level::told(told.clone()), true).await;
    let set = async |address: SocketAddr, token: &str, body: &str| post(address, "/log-level", token, body).await;
    assert_eq!(set(address, "canary-token-of-admin", "rowferry=debug").await.0, 200);
    for wrong in ["", "canary-token-of-admim", "canary-token-of-admin2"] {
        let (code, answer) = set(address, wrong, "trace").await;
        assert_eq!(code, 401, "{wrong}");
        assert!(!answer.contains("canary"), "{answer}");
    }
    assert_eq!(set(address, "canary-token-of-admin", "rowferry=loud").await.0, 400);
    assert_eq!(set(address, "canary-token-of-admin", &"x".repeat(2_000)).await.0, 413);
    assert_eq!(*told.lock().expect("no test panics with it"), ["rowferry=debug"]);
    let closed = served_with(meters().0, Level::told(told.clone()), false).await;
    assert_eq!(set(closed, "", "trace").await.0, 403, "without a token nobody may");
    assert_eq!(get(address, "/log-level").await.0, 405);
}

#[tokio::test]
async fn an_order_is_passed_on_as_it_was_meant_and_its_answer_comes_back() {
    let control = Arc::new(Control::default());
    let address = served_for(meters().0, control.clone(), Level::told(Arc::default()), true).await;
    let order = async |path: &str, body: &str| post(address, path, "canary-token-of-admin", body).await;
    assert_eq!(order("/pause", "{\"topic\":\"t\"}").await.0, 503, "nobody reads yet");
    let mut orders = control.listen();
    let of = |topic: &str, partition| Of::Topic(topic.to_string(), partition);
    for (path, body, wish, of) in [
        ("/pause", r#"{"topic":"t"}"#, Wish::Pause, of("t", None)),
        ("/resume", r#"{"table":"users"}"#, Wish::Resume, Of::Table("users".into())),
        ("/seek", r#"{"topic":"t","to":"beginning"}"#, again(To::Beginning, false), of("t", None)),
        ("/seek", r#"{"topic":"t","partition":3,"to":17}"#, again(To::Offset(17), false), of("t", Some(3))),
        ("/seek", r#"{"topic":"t","to":"end","skip_records":true}"#, again(To::End, true), of("t", None)),
    ] {
        let (answer, ()) = tokio::join!(order(path, body), async {
            let request = orders.recv().await.expect("it is passed on");
            assert_eq!(request.order, Order { wish, of });
            request.answer.send(Err(Unmet::Refused("because".into()))).expect("it waits");
        });
        assert!(answer.0 == 409 && answer.1.ends_with("because\n"), "{answer:?}");
    }
    for (path, body) in [
        ("/pause", ""),
        ("/pause", "{}"),
        ("/pause", r#"{"partition":3}"#),
        ("/pause", r#"{"topic":"t","table":"u"}"#),
        ("/pause", r#"{"topic":"t","to":"beginning"}"#),
        ("/seek", r#"{"topic":"t"}"#),
        ("/seek", r#"{"topic":"t","to":17}"#),
        ("/seek", r#"{"topic":"t","to":"middle"}"#),
        ("/seek", r#"{"topic":"t","to":"end","skip":true}"#),
    ] {
        assert_eq!(order(path, body).await.0, 400, "{path} {body}");
    }
    for path in ["/pause", "/resume", "/seek"] {
        assert_eq!(post(address, path, "", "{}").await.0, 401, "{path}");
        assert_eq!(get(address, path).await.0, 405, "{path}");
    }
    assert!(orders.try_recv().is_err(), "something was passed on");
}

fn again(to: To, skip_records: bool) -> Wish {
    Wish::Seek { to, skip_records }
}
