//! Fault 15: tombstones are remembered for ten seconds, and a dead letter from before a delete is redriven after that.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;

use crate::changes::{change, id, key, user};
use crate::process::Started;
use crate::replicas::ask_every_replica;
use crate::report::{Report, is_long, seed};
use crate::rows::Row;
use crate::servers::turn;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// Every second one is deleted behind its letter, the others are changed.
const ROWS: u64 = 20;
/// The one that a hand brings back, which shows that its tombstone is gone.
const PROBE: u64 = 0;
/// Shipped with Cassandra, and started as the stack starts its nodes.
const NODETOOL: &str = r#". stack/lib/common.sh; . "$STACK/lib/needs.sh"; find_jdk17 || die "no JDK 17: make up"
exec "$JAVA_HOME/bin/java" @stack/conf/cassandra-jvm.options -XX:TieredStopAtLevel=1 -Xmx128m -Duser.home="$1" \
  -Dcom.sun.jndi.rmiURLParsing=legacy -Dcassandra.storagedir="$1" -cp "$LIBS/cassandra/*" org.apache.cassandra.tools.NodeTool -p "$2" "${@:3}""#;

/// 20 s; 60 s with `make chaos`, where the tombstones are really purged.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_letter_is_not_redriven_over_a_delete_that_is_forgotten() {
    let _turn = turn().await;
    let mut scenario = Scenario::new("chaos_late").await;
    let mut report = Report::new(15, "an old letter and a short gc_grace_seconds", seed());
    let [users, _] = scenario.change_topics();
    set_grace(&scenario, "users", 10).await;
    let version = refuse_and_delete(&scenario, &users).await;
    mend(&scenario);
    if is_long() {
        purge(&scenario, version).await;
    }
    ask_every_replica(&mut scenario).await;
    let before = scenario.writetimes(&scenario.id, "users").await;
    let redriven = redrive(&scenario).await;
    report.injected = ROWS;
    report.observed = count(&redriven, "too_old");
    assert_eq!(redriven.exit_code(1).await, 1, "what is left is no success");
    if scenario.writetimes(&scenario.id, "users").await != before {
        report.violations.push("a redrive of what is too old changed rows".into());
    }
    // Somebody who knows that no tombstone of these rows is gone says so, and deleted rows stay away by theirs.
    if !is_long() {
        set_grace(&scenario, "users", 864_000).await;
        let redriven = redrive(&scenario).await;
        assert_eq!(count(&redriven, "written"), ROWS);
        let deleted = |row: &Row| (0..ROWS).step_by(2).any(|number| row["id"] == Some(id(number)));
        let back = scenario.cassandra_rows("users").await.into_iter().filter(deleted).count();
        assert_eq!(back, 0, "deleted rows came back");
    }
    report.end();
}

/// A row for each number: a letter, and behind it a delete or a change. Returns a version from before all of them.
async fn refuse_and_delete(scenario: &Scenario, users: &str) -> i64 {
    let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 - 60_000;
    let mut records: Vec<Raw> = Vec::new();
    for number in 0..ROWS {
        let (old, new) = (user(number, "old"), user(number, "new"));
        records.push(change(None, Some(&unfit(old.clone()))));
        let is_deleted = number % 2 == 0;
        records.push(change(Some(&old), (!is_deleted).then_some(&new)));
        records.extend(is_deleted.then(|| Raw::tombstone(key(&old))));
    }
    let records: Vec<Raw> = records.into_iter().zip(start..).map(|(record, at)| record.to(0).at(at)).collect();
    scenario.produce_all(users, &records).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.dead_letters().len() as u64, ROWS, "every old value has a letter");
    1_000 * start - 1
}

/// The row with a time that the tables cannot hold until their route allows the loss.
fn unfit(mut row: Value) -> Value {
    row["modified_at"] = "2025-01-01T00:00:00.000001Z".into();
    row
}

fn mend(scenario: &Scenario) {
    scenario.edit_config(|text| {
        text.replace(
            "table = \"users\"\nsource_key = [\"id\"]\n",
            "table = \"users\"\nsource_key = [\"id\"]\ncolumns = { modified_at = { lossy = true } }\n",
        )
    });
}

pub async fn set_grace(scenario: &Scenario, table: &str, seconds: u32) {
    scenario.cql(&format!("ALTER TABLE {}.{table} WITH gc_grace_seconds = {seconds}", scenario.id)).await;
}

/// Every letter once more, to the end.
pub async fn redrive(scenario: &Scenario) -> Arc<Started> {
    let redriven = scenario.cdcconsumer().arg("dead-letters").arg("redrive").arg("--all").start();
    redriven.ended(60).await;
    redriven
}

/// How many letters had this fate.
fn count(redriven: &Started, fate: &str) -> u64 {
    redriven.out().lines().filter(|line| line.split('\t').next() == Some(fate)).count() as u64
}

/// Makes the nodes forget the tombstones, until an old write by hand is there, as that of a letter would be.
async fn purge(scenario: &Scenario, version: i64) {
    let probe = format!(
        "INSERT INTO {}.users (id, name) VALUES ({}, 'probe') USING TIMESTAMP {version}",
        scenario.id,
        id(PROBE)
    );
    until("an old write of a deleted row is there", 90, async || {
        for verb in ["flush", "compact"] {
            let tools = (1..=3).map(|node| {
                let tool = scenario.program("nodetool", "bash").arg("-c").arg(NODETOOL).arg("nodetool");
                let tool = tool.arg(&scenario.dir).arg(format!("719{node}")).arg(verb);
                tool.arg(&scenario.id).arg("users").in_repository().start()
            });
            let tools: Vec<Arc<Started>> = tools.collect();
            let codes = join_all(tools.iter().map(|tool| tool.exit_code(60))).await;
            assert_eq!(codes, [0, 0, 0], "nodetool {verb}");
        }
        scenario.cql(&probe).await;
        let rows = scenario.cassandra_rows("users").await;
        rows.iter().any(|row| row["id"] == Some(id(PROBE)) && row["name"].as_deref() == Some("probe"))
    })
    .await;
}
