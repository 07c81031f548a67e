//! Fault 6: Cassandra answers writes with error frames, one kind after the other. What passes is tried again with the
//! version that it had.

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use scylla::errors::{DbError, WriteType};
use scylla::statement::Consistency;
use scylla_proxy::{
    Condition, Node, Proxy, Reaction as _, RequestOpcode, RequestReaction, RequestRule, RunningProxy, ShardAwareness,
    TargetShard,
};
use tokio::sync::mpsc;

use crate::journal::assert_tables;
use crate::load::Load;
use crate::preload::build;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// Of each kind, by each node.
const FRAMES: usize = 10;
const NODES: usize = 3;

/// 25 s. Alone it passes; among all others one of the nodes was once not seen to answer as often as it was told to.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "its count of frames is not understood yet: make chaos runs it"]
async fn an_error_frame_that_passes_is_answered_by_the_same_write() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_frames").await;
    let mut report = Report::new(6, "error frames of Cassandra", seed());
    let library = build(&scenario, "connect").await;
    let (mut proxy, elsewhere) = nodes().await;
    let run = scenario.cdcconsumer().env("LD_PRELOAD", library.to_str().unwrap());
    let run = run.env("CONNECT_ELSEWHERE", &elsewhere).start();
    let (mut load, group) = (Load::new(report.seed), scenario.cassandra_group());
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let is_applied = || scenario.committed_sum(&group, &topics) == scenario.ends_sum(&topics);
    load.go_on(&scenario, 500).await;
    until("it works", 60, async || is_applied()).await;
    for _ in 0..times(1, 3) {
        for error in errors() {
            report.injected += (NODES * FRAMES) as u64;
            let told = told(&mut proxy, &error);
            until(&format!("{error} was told {} times", NODES * FRAMES), 60, async || {
                load.go_on(&scenario, 50).await;
                told.len() >= NODES * FRAMES
            })
            .await;
            report.observed += told.len().min(NODES * FRAMES) as u64;
            let begun = Instant::now();
            until("it goes on", 60, async || is_applied()).await;
            report.recovered.push(begun.elapsed());
        }
    }
    report.rss_bytes_max = run.rss_bytes();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert!(run.log().contains("Cassandra pushes back: fewer requests at once"));
    assert!(!run.log().contains("stopped: "), "a partition was stopped");
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    scenario.assert_no_dead_letters();
    report.end();
}

fn errors() -> [DbError; 6] {
    let timeout = |write_type| DbError::WriteTimeout {
        consistency: Consistency::LocalQuorum,
        received: 1,
        required: 2,
        write_type,
    };
    [
        timeout(WriteType::Simple),
        timeout(WriteType::UnloggedBatch),
        DbError::Overloaded,
        DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 },
        DbError::IsBootstrapping,
        DbError::ServerError,
    ]
}

/// Each node answers its next writes with this error, and does nothing. Each that does is told.
fn told(
    proxy: &mut RunningProxy,
    error: &DbError,
) -> mpsc::UnboundedReceiver<(scylla_proxy::RequestFrame, Option<TargetShard>)> {
    let (tell, told) = mpsc::unbounded_channel();
    for node in &mut proxy.running_nodes {
        let is_write = Condition::any([RequestOpcode::Execute, RequestOpcode::Batch].map(Condition::RequestOpcode));
        let is_due = Condition::all([
            Condition::not(Condition::ConnectionRegisteredAnyEvent),
            is_write,
            Condition::TrueForLimitedTimes(FRAMES),
        ]);
        let answer = RequestReaction::forge_with_error(error.clone()).with_feedback_when_performed(tell.clone());
        node.change_request_rules(Some(vec![RequestRule(is_due, answer)]));
    }
    told
}

/// A proxy before each node, and where connections have to go in place of them.
async fn nodes() -> (RunningProxy, String) {
    // Held together until each is known, so that they differ.
    let free: Vec<TcpListener> = (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = free.iter().map(|listener| listener.local_addr().unwrap()).collect();
    drop(free);
    let real = |at: usize| format!("127.0.0.{}:9042", at + 1);
    let nodes = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| Node::new(real(at).parse().unwrap(), *address, ShardAwareness::Unaware, None, None));
    let elsewhere: Vec<String> =
        addresses.iter().enumerate().map(|(at, address)| format!("{}={}", real(at), address.port())).collect();
    (Proxy::new(nodes).run().await.unwrap(), elsewhere.join(","))
}
