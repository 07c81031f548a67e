//! The rewind guard: a connector sends the end of its stream again, and readers of the guarded table do not see it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::poller::{seqs, watched};
use crate::stack::{Scenario, until};
use crate::topics::Raw;

const IDS: [i64; 4] = [0, 1, 2, 3];
/// The change that deletes row 3, shortly before the crash.
const DELETE: i64 = 39;
/// Time for the reader to see each record that is sent again.
const PAUSE: Duration = Duration::from_millis(60);

/// A guarded route and a plain one, both from the topic `hot`.
pub fn routes(topic: &str, more: &str) -> String {
    let route = |table: &str, guard: &str| {
        format!(
            "\n[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = \"{table}\"\nsource_key = [\"id\"]\n\
             types = {{ id = \"bigint\", seq = \"bigint\" }}\n{guard}{more}"
        )
    };
    let guard = "rewind_guard = { column = \"position\", deletes_table = \"hot_deletes\", deletes_ttl = \"1h\" }\n";
    route("hot", guard) + &route("plain", "")
}

pub async fn make_tables(scenario: &Scenario) {
    let id = &scenario.id;
    scenario.cql(&format!("CREATE TABLE {id}.plain (id bigint PRIMARY KEY, seq bigint)")).await;
    scenario.cql(&format!("CREATE TABLE {id}.hot (id bigint PRIMARY KEY, seq bigint, position blob)")).await;
}

pub async fn make_deletes_table(scenario: &Scenario) {
    let id = &scenario.id;
    scenario.cql(&format!("CREATE TABLE {id}.hot_deletes (id bigint PRIMARY KEY, position blob)")).await;
}

/// The nth change of the source; a deleted row's record is followed by a tombstone. `lsn` is its place in the log.
fn change_at(n: i64, lsn: i64, delete: bool) -> Vec<Raw> {
    let id = n % IDS.len() as i64;
    let row = json!({ "id": id, "seq": n });
    let (op, before, after) = if delete { ("d", row, Value::Null) } else { ("u", Value::Null, row) };
    let value = json!({
        "before": before, "after": after,
        "source": {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "e2e", "ts_ms": 1_735_689_600_000_i64 + n,
            "snapshot": "false", "db": "e2e", "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 5), "schema": "public",
            "ts_us": (1_735_689_600_000_i64 + n) * 1_000, "table": "hot", "txId": 700 + n, "lsn": lsn, "xmin": null,
        },
        "transaction": null, "op": op, "ts_ms": 1_735_689_600_001_i64,
    });
    let key = json!({ "id": id }).to_string();
    let mut records = vec![Raw::new(&key, value.to_string()).to(0)];
    if delete {
        records.push(Raw::tombstone(&key).to(0));
    }
    records
}

fn change(n: i64) -> Vec<Raw> {
    change_at(n, 10_000 + 10 * n, n == DELETE)
}

async fn until_both_are(scenario: &Scenario, expected: &[(i64, i64)]) {
    let expected: BTreeMap<i64, i64> = expected.iter().copied().collect();
    until(&format!("both tables are {expected:?}"), 60, async || {
        seqs(scenario, "hot", &IDS).await == expected && seqs(scenario, "plain", &IDS).await == expected
    })
    .await;
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_connector_sends_again_is_seen_in_a_plain_table_and_never_in_a_guarded_one() {
    let scenario = Scenario::new("guard").await;
    let topic = scenario.topic("hot");
    scenario.make_topic(&topic, 1, &[]).await;
    make_tables(&scenario).await;
    scenario.edit_config(|text| format!("{text}{}", routes(&topic, "")));

    // Without the table of deletes nothing begins, and what to do is said.
    let refused = scenario.cdcconsumer().arg("--exit-when-caught-up").start();
    assert_eq!(refused.exit_code(30).await, 64);
    assert!(refused.log().contains("the target has no table \"hot_deletes\""), "{}", refused.log());
    make_deletes_table(&scenario).await;

    let run = scenario.cdcconsumer().start();
    for n in 1..=40 {
        scenario.produce_all(&topic, &change(n)).await;
    }
    until_both_are(&scenario, &[(0, 40), (1, 37), (2, 38)]).await;
    // Whoever goes on has the mark from the commit alone.
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    let committed = &scenario.committed(&scenario.cassandra_group(), &[&topic])[&(topic.clone(), 0)];
    assert!(committed.next_offset == 41 && committed.metadata.starts_with("rowferry:3:"), "{committed:?}");
    let run = scenario.cdcconsumer().start();

    let again = async {
        for n in 21..=40 {
            scenario.produce_all(&topic, &change(n)).await;
            let id = n % IDS.len() as i64;
            let expected: BTreeMap<i64, i64> = (n != DELETE).then_some((id, n)).into_iter().collect();
            let what = format!("the plain table went back to {n}");
            until(&what, 30, async || seqs(&scenario, "plain", &[id]).await == expected).await;
            tokio::time::sleep(PAUSE).await;
        }
        scenario.produce_all(&topic, &[41, 42, 43, 44].map(change).concat()).await;
        until_both_are(&scenario, &[(0, 44), (1, 41), (2, 42), (3, 43)]).await;
    };
    let ((), [guarded, plain]) = watched(&scenario, ["hot", "plain"], &IDS, again).await;
    eprintln!("guarded: {} stale of {} reads; plain: {} of {}", guarded.stale, guarded.reads, plain.stale, plain.reads);
    assert_eq!(guarded.stale, 0, "{:?}", guarded.first);
    assert!(plain.stale > 0, "the reader cannot see it: {plain:?}");
    // Up to 19 changes and a tombstone; what a newer record covers in its batch needs no look.
    run.logs("sent_again=", 20).await;
    assert!(!run.log().contains("source_history_changed"));

    // The source is restored: positions count from below, later. They are taken, which is said once.
    for (n, lsn) in [(45, 10), (46, 20), (47, 30)] {
        scenario.produce_all(&topic, &change_at(n, lsn, false)).await;
    }
    until_both_are(&scenario, &[(0, 44), (1, 45), (2, 46), (3, 47)]).await;
    assert_eq!(run.log().matches("source_history_changed").count(), 1);
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    let between = ["seek", "--to-offset", "30", "--partition", "0", "--topic", &topic];
    let between = between.iter().fold(scenario.cdcconsumer(), |program, word| program.arg(word)).start();
    assert_eq!(between.exit_code(40).await, 64);
    assert!(between.log().contains("say --to-beginning"), "{}", between.log());
    // What the group reads again by itself was not sent again: a table that was emptied is filled.
    scenario.cql(&format!("TRUNCATE {}.hot", scenario.id)).await;
    let seek = scenario.cdcconsumer().arg("seek").arg("--to-beginning").arg("--topic").arg(&topic).start();
    assert_eq!(seek.exit_code(40).await, 0);
    scenario.cdcconsumer_to_the_end().await;
    until_both_are(&scenario, &[(0, 44), (1, 45), (2, 46), (3, 47)]).await;
    scenario.assert_no_dead_letters();
}
