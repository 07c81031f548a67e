//! The stack's servers, ended and started by `stack/server`, as a person would.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use scylla::policies::host_filter::AllowListHostFilter;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::stack::{REPOSITORY, Scenario, until};

static TURN: RwLock<()> = RwLock::const_new(());

/// Nodes are asked this often how they are, and believed when they say the same so many times: longer than a hint stays
/// in memory (`hints_flush_period`).
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const IN_A_ROW: u32 = 15;
const HINTS: &str = "SELECT host_id FROM system_views.pending_hints";
const WAITING_WRITES: &str =
    "SELECT name FROM system_views.thread_pools WHERE name = 'MutationStage' AND pending_tasks > 0 ALLOW FILTERING";

/// Waits until no test of this binary hurts the servers.
pub async fn turn() -> RwLockReadGuard<'static, ()> {
    let turn = TURN.read().await;
    expect_servers();
    turn
}

/// Waits until no other test of this binary runs: for those that hurt the servers.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    let turn = TURN.write().await;
    expect_servers();
    turn
}

fn expect_servers() {
    let status = server(&["status"]).output().unwrap();
    let told = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success(), "the stack is not running: make up\n{told}");
}

/// What a test did to servers, undone when it is dropped. Made after the scenario, so that it is undone before the
/// scenario is removed.
#[derive(Default)]
pub struct Servers {
    down: BTreeSet<String>,
}

impl Servers {
    /// As its own way of stopping has it; of Postgres the fast one, which does not wait for clients.
    pub fn stop(&mut self, name: &str) {
        self.down("stop", name);
    }

    /// kill -9.
    pub fn kill(&mut self, name: &str) {
        self.down("kill", name);
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&mut self, name: &str) {
        self.down("pause", name);
    }

    fn down(&mut self, verb: &str, name: &str) {
        self.down.insert(name.into());
        eprintln!("outage: {verb} {name}");
        assert!(server(&[verb, name]).status().unwrap().success(), "{verb} {name}");
    }

    /// All that are down, at once, for brokers wait for each other. Returns when each of them answers.
    pub fn back(&mut self) {
        let names = std::mem::take(&mut self.down);
        if names.is_empty() {
            return;
        }
        // One that was killed cannot be resumed, and says so.
        names.iter().for_each(|name| drop(server(&["resume", name]).stderr(Stdio::null()).status()));
        let starting: Vec<_> = names.iter().map(|name| server(&["start", name]).spawn().unwrap()).collect();
        let started = starting.into_iter().map(|mut child| child.wait().unwrap().success()).filter(|ok| *ok).count();
        // A connector's task may have given up meanwhile; without a failed one this changes nothing.
        let connect = "http://127.0.0.1:8083/connectors";
        let restart = format!(
            "for c in $(curl -s -m 10 {connect} | tr -d '[]\"' | tr ',' ' '); do \
               curl -s -m 30 -o /dev/null -X POST \"{connect}/$c/restart?includeTasks=true&onlyFailed=true\"; done"
        );
        drop(Command::new("sh").args(["-c", &restart]).status());
        eprintln!("outage: over for {names:?}");
        assert!(started == names.len() || std::thread::panicking(), "not all of {names:?} could be started again");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.back();
    }
}

/// The stack of this checkout. E2E_STACK_SERVER names that of another, for work in a second checkout.
fn server(arguments: &[&str]) -> Command {
    let path = std::env::var_os("E2E_STACK_SERVER");
    let path = path.map_or_else(|| PathBuf::from(REPOSITORY).join("stack/server"), PathBuf::from);
    let mut command = Command::new(path);
    command.args(arguments);
    command
}

/// Nodes that answer do not know at once that the others answer, too, and what was written while one was away comes to
/// it later. A node that is told to drop a keyspace meanwhile may do half of it, and disagrees about the schema from
/// then on.
pub async fn until_cassandra_has_settled(scenario: &Scenario) {
    until_it_stays("every Cassandra node sees a quorum", async || {
        let read = format!("SELECT id FROM {}.users LIMIT 1", scenario.id);
        scenario.cassandra.query_unpaged(read, ()).await.is_ok()
    })
    .await;
    for node in ["127.0.0.1:9042", "127.0.0.2:9042", "127.0.0.3:9042"] {
        let alone = AllowListHostFilter::new([node]).unwrap();
        let session = SessionBuilder::new().known_node(node).host_filter(Arc::new(alone)).build().await.unwrap();
        let has_none = async |query: &str| {
            let found = session.query_unpaged(query, ()).await.unwrap().into_rows_result().unwrap();
            found.rows_num() == 0
        };
        let is_quiet = async || has_none(HINTS).await && has_none(WAITING_WRITES).await;
        until_it_stays(&format!("{node} has no writes under way"), is_quiet).await;
    }
}

/// Looks until it was true [`IN_A_ROW`].
async fn until_it_stays(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let mut times = 0;
    until(what, 90, async || {
        tokio::time::sleep(LOOK_INTERVAL).await;
        times = if look().await { times + 1 } else { 0 };
        times >= IN_A_ROW
    })
    .await;
}
