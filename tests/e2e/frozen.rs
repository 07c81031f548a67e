//! A process that stands still for longer than its session lasts, wakes up and goes on where it was: everything that
//! it had in hand is late. Somebody else has taken its partitions and written newer rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::load::Load;
use crate::process::Started;
use crate::rows::{Row, Rows, debezium_row, renamed};
use crate::stack::{Scenario, until};
use crate::topics::{Raw, Stored};
use crate::versions::slowly;

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_cdcconsumer_writes_late_and_changes_nothing() {
    let scenario = Scenario::new("frozen_cdc").await;
    let group = scenario.cassandra_group();
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let mut load = Load::new(11);
    load.go_on(&scenario, 6_000).await;

    // One request at a time, so that most partitions have a batch in hand that is not yet written, and little room,
    // so that they are paused when they are lost.
    let frozen = slowly(scenario.cdcconsumer()).set("limits.held_bytes_max=1000000").start();
    until("it writes", 30, async || scenario.cassandra_rows("orders").await.len() > 10).await;
    frozen.signal("STOP");
    let written = scenario.cassandra_rows("orders").await;

    let heir = scenario.cdcconsumer().start();
    heir.logs(" assigned ", 40).await;
    load.go_on(&scenario, 6_000).await;
    let at_the_end = || {
        let committed = scenario.committed(&group, &topics);
        topics.iter().all(|topic| {
            let ends = scenario.ends(topic).into_iter().enumerate();
            ends.into_iter().all(|(at, (_, end))| committed[&(topic.to_string(), at as i32)].next_offset == end)
        })
    };
    until("the heir has applied everything", 60, async || at_the_end()).await;
    let expected = load.expected();
    assert_eq!(scenario.all_writetimes(&scenario.id).await, expected);

    frozen.signal("CONT");
    frozen.logs(" revoked ", 30).await;
    assert!(at_the_end(), "a late commit moved a position back");
    let late = written_late(&scenario.records(&orders), &revoked(&frozen, &orders), &written);
    eprintln!("frozen: {late} orders were written late");
    assert!(late > 0, "it had finished what it had in hand");
    assert_eq!(scenario.all_writetimes(&scenario.id).await, expected, "late writes changed something");

    // It joins again, and both go on.
    until("it has partitions again", 40, async || shares(&frozen)).await;
    load.go_on(&scenario, 1_000).await;
    until("both have applied everything", 60, async || at_the_end()).await;
    for run in [frozen, heir] {
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    assert_eq!(scenario.all_writetimes(&scenario.id).await, load.expected());
    scenario.assert_committed_to_the_ends(&group, &topics);
    assert_eq!(scenario.dead_letters(), []);
}

/// How many orders were not yet, when it froze, what the records that it finished make of them.
fn written_late(records: &[Stored], left_off: &BTreeMap<i32, i64>, written: &Rows) -> usize {
    let mut finished: BTreeMap<&[u8], Option<Row>> = BTreeMap::new();
    for record in records.iter().filter(|record| left_off.get(&record.partition) > Some(&record.offset)) {
        let value: Option<Value> = record.value.as_deref().map(|value| serde_json::from_slice(value).unwrap());
        let image = value.filter(|value| value["after"].is_object()).map(|value| debezium_row(&value["after"]));
        finished.insert(record.key.as_deref().unwrap(), image);
    }
    let expected = renamed(finished.into_values().flatten().collect(), "id", "order_id");
    expected.iter().filter(|row| !written.contains(row)).count()
}

/// Where a process said that it left off, by partition.
fn revoked(run: &Started, topic: &str) -> BTreeMap<i32, i64> {
    let log = run.log();
    let of = format!("partition={topic}[");
    let left = log.lines().filter(|line| line.contains(" revoked ")).filter_map(|line| line.split_once(&of));
    left.map(|(_, rest)| {
        let (partition, rest) = rest.split_once("] next_offset=").unwrap();
        (partition.parse().unwrap(), rest.trim().parse().unwrap())
    })
    .collect()
}

/// Whether it was assigned partitions after it lost some.
fn shares(run: &Started) -> bool {
    let log = run.log();
    let last = |what: &str| log.rfind(what);
    last(" assigned ") > last(" revoked ")
}

/// 25 s. It is frozen while its first word of a transaction is on the way, so that is the first thing that Postgres
/// hears of it after it was thought dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_consumer_is_fenced_by_the_epoch_of_its_heir() {
    let scenario = Scenario::new("frozen_pg").await;
    let group = scenario.postgres_group();
    let (users, orders) = (scenario.topic("users"), scenario.topic("orders"));
    let named = async |name: &str| {
        let query = format!("SELECT count(*) AS n FROM users WHERE name = '{name}'");
        scenario.postgres_query(&query).await[0]["n"].as_deref() == Some("60")
    };
    let gate = Gate::open(5432).await;
    let behind_gate = format!("sink.postgres.url=postgres://rowferry:rowferry@127.0.0.1:{}/{}", gate.port, scenario.id);
    scenario.produce_all(&users, &everyone("CREATE", "first", 1)).await;
    let frozen = scenario.consumer().set(&behind_gate).start();
    until("everyone is there", 30, async || named("first").await).await;

    gate.is_open.send(false).unwrap();
    scenario.produce_all(&users, &everyone("UPDATE", "second", 2)).await;
    until("every partition has something to write", 30, async || gate.held.load(Ordering::SeqCst) >= 3).await;
    frozen.signal("STOP");

    let heir = scenario.consumer().start();
    until("the heir writes what the frozen one could not", 40, async || named("second").await).await;
    scenario.produce_all(&users, &everyone("UPDATE", "third", 3)).await;
    until("the heir goes on", 20, async || named("third").await).await;

    frozen.signal("CONT");
    gate.is_open.send(true).unwrap();
    until("all that it had in hand is refused", 20, async || {
        let fenced = |partition: &i32| format!("{users}[{partition}]: another owner took it (epoch 2, ours was 1)");
        let log = frozen.log();
        (0..3).all(|partition| log.contains(&fenced(&partition)))
    })
    .await;
    until("it has partitions again", 40, async || shares(&frozen)).await;
    assert!(named("third").await, "a late write changed something");
    scenario.produce_all(&users, &everyone("UPDATE", "fourth", 4)).await;
    until("both go on", 30, async || named("fourth").await).await;
    for run in [frozen, heir] {
        run.signal("TERM");
        assert_eq!(run.exit_code(25).await, 0);
    }
    scenario.assert_committed_to_the_ends(&group, &[&users, &orders]);
    assert_eq!(scenario.dead_letters(), []);
}

/// Sixty users, all with this name.
fn everyone(event_type: &str, name: &str, day: u32) -> Vec<Raw> {
    (0..60)
        .map(|number| {
            let id = format!("00000000-0000-4000-8000-0000{number:08}");
            let event = serde_json::json!({
                "event_type": event_type, "user_id": id, "name": name, "dob": "1990-01-01",
                "created_at": "2025-01-01T00:00:00.000Z", "modified_at": format!("2025-01-{day:02}T00:00:00.000Z"),
            });
            Raw::new(&id, event.to_string()).header("schema-version", "1")
        })
        .collect()
}

/// A way to a server that can be closed: what the client says is held until it opens again.
struct Gate {
    port: u16,
    is_open: watch::Sender<bool>,
    /// How often something was held.
    held: Arc<AtomicUsize>,
}

impl Gate {
    async fn open(server: u16) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_open, opened) = watch::channel(true);
        let held = Arc::new(AtomicUsize::new(0));
        let count = held.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, opened.clone(), count.clone()));
            }
        });
        Gate { port, is_open, held }
    }
}

async fn carry(client: TcpStream, server: TcpStream, mut is_open: watch::Receiver<bool>, held: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        if !*is_open.borrow() {
            held.fetch_add(1, Ordering::SeqCst);
        }
        if is_open.wait_for(|open| *open).await.is_err() || to_server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
