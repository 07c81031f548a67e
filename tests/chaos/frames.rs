//! Fault 6: Cassandra answers writes with error frames, one kind after the other, and a node is behind with the schema.
//! What passes is tried again with the version that it had.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use scylla::errors::{DbError, WriteType};
use scylla::statement::Consistency;
use scylla_proxy::{
    Condition, Node, Proxy, Reaction as _, RequestFrame, RequestOpcode, RequestReaction, RequestRule, ResponseFrame,
    ResponseOpcode, ResponseReaction, ResponseRule, RunningProxy, ShardAwareness, TargetShard,
};
use tokio::sync::mpsc;

use crate::journal::assert_tables;
use crate::load::Load;
use crate::preload::build;
use crate::process::Started;
use crate::reader::Reader;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

/// Of each kind, by each node.
const FRAMES: usize = 10;
const NODES: usize = 3;
const UNPREPARED: i32 = 0x2500;

/// What a node has answered.
type Told = mpsc::UnboundedReceiver<(RequestFrame, Option<TargetShard>)>;

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_frame_that_passes_is_answered_by_the_same_write() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_frames").await;
    let mut report = Report::new(6, "error frames of Cassandra", seed());
    let mut line = Line::start(&scenario, report.seed).await;
    for _ in 0..times(1, 3) {
        for (kind, answer) in answers() {
            report.injected += (NODES * FRAMES) as u64;
            let told = line.each_node_answers(&answer);
            let seen = || told.iter().map(Told::len).collect::<Vec<usize>>();
            let begun = Instant::now();
            while seen().iter().any(|seen| *seen < FRAMES) {
                assert!(begun.elapsed().as_secs() < 60, "{kind} was answered {:?} times by the nodes", seen());
                line.load.go_on(&scenario, 50).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            report.observed += seen().iter().sum::<usize>() as u64;
            report.recovered.push(line.until_applied().await);
        }
    }
    assert!(line.run.log().contains("Cassandra pushes back: fewer requests at once"));
    line.ends(report).await;
}

/// 15 s. One node does not know the statements, and refuses them when they are prepared again: it is behind with the
/// schema. It says so when it is asked, or says that it has no such table while its version is that of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_with_the_schema_makes_no_dead_letters() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_schema").await;
    let mut report = Report::new(6, "a node is behind with the schema", seed());
    let mut line = Line::start(&scenario, report.seed).await;
    let names_it = Condition::BodyContainsCaseSensitive(b"schema_version".as_slice().into());
    let answers = Condition::and(Condition::ResponseOpcode(ResponseOpcode::Result), names_it);
    let is_another = ResponseReaction::transform_frame(Arc::new(another_version));
    let says_so = (vec![ResponseRule(answers, is_another)], "no", "the nodes do not agree about the schema yet");
    let has_forgotten = (vec![], "keyspace cdc does not exist", "a node does not know a table that others know");
    for _ in 0..times(1, 10) {
        for (versions, refusal, waits) in [&says_so, &has_forgotten] {
            report.injected += FRAMES as u64;
            let heard = line.run.log().len();
            let node = &mut line.proxy.running_nodes[2];
            let (tell, told) = mpsc::unbounded_channel();
            let refuses = RequestReaction::forge_with_error_and_message(DbError::Invalid, Some((*refusal).into()));
            let prepares = Condition::RequestOpcode(RequestOpcode::Prepare);
            let prepares = Condition::and(Condition::not(Condition::ConnectionRegisteredAnyEvent), prepares);
            node.change_response_rules(Some(versions.clone()));
            node.change_request_rules(Some(vec![
                RequestRule(prepares, refuses.with_feedback_when_performed(tell)),
                RequestRule(writes(), RequestReaction::forge_response(Arc::new(unprepared))),
            ]));
            until(&format!("it has refused statements, and {waits}"), 60, async || {
                line.load.go_on(&scenario, 50).await;
                told.len() >= FRAMES && line.run.log()[heard..].contains(waits)
            })
            .await;
            report.observed += FRAMES as u64;
            node.change_request_rules(None);
            node.change_response_rules(None);
            report.recovered.push(line.until_applied().await);
        }
    }
    line.ends(report).await;
}

/// `cdcconsumer`, and a proxy before each node.
struct Line<'s> {
    scenario: &'s Scenario,
    proxy: RunningProxy,
    run: Arc<Started>,
    load: Load,
    reader: Reader,
}

impl<'s> Line<'s> {
    async fn start(scenario: &'s Scenario, seed: u64) -> Line<'s> {
        let library = build(scenario, "connect").await;
        let (proxy, elsewhere) = nodes().await;
        let run = scenario.cdcconsumer().env("LD_PRELOAD", library.to_str().unwrap());
        let run = run.env("CONNECT_ELSEWHERE", &elsewhere).start();
        let mut line = Line { scenario, proxy, run, load: Load::new(seed), reader: Reader::of_users(scenario).await };
        line.load.go_on(scenario, 500).await;
        line.until_applied().await;
        line
    }

    /// Each node answers its next writes so, and does nothing. Each answer is told.
    fn each_node_answers(&mut self, answer: &RequestReaction) -> Vec<Told> {
        let nodes = self.proxy.running_nodes.iter_mut();
        nodes
            .map(|node| {
                let (tell, told) = mpsc::unbounded_channel();
                let due = Condition::and(writes(), Condition::TrueForLimitedTimes(FRAMES));
                node.change_request_rules(Some(vec![RequestRule(
                    due,
                    answer.clone().with_feedback_when_performed(tell),
                )]));
                told
            })
            .collect()
    }

    async fn until_applied(&self) -> Duration {
        let (group, [users, orders]) = (self.scenario.cassandra_group(), self.scenario.change_topics());
        let topics = [users.as_str(), orders.as_str()];
        let begun = Instant::now();
        until("all is applied", 60, async || {
            self.scenario.committed_sum(&group, &topics) == self.scenario.ends_sum(&topics)
        })
        .await;
        begun.elapsed()
    }

    async fn ends(self, mut report: Report) {
        report.rss_bytes_max = self.run.rss_bytes();
        self.run.signal("TERM");
        assert_eq!(self.run.exit_code(25).await, 0);
        assert!(!self.run.log().contains("stopped: "), "a partition was stopped");
        self.reader.ends(&mut report).await;
        assert_tables(self.scenario).await;
        assert_eq!(self.load.expected(), self.scenario.all_writetimes(&self.scenario.id).await);
        self.scenario.assert_no_dead_letters();
        report.end();
    }
}

/// Single statements and batches, on connections that are not the driver's own.
fn writes() -> Condition {
    let is_write = [RequestOpcode::Execute, RequestOpcode::Batch].map(Condition::RequestOpcode);
    Condition::and(Condition::not(Condition::ConnectionRegisteredAnyEvent), Condition::any(is_write))
}

fn answers() -> Vec<(String, RequestReaction)> {
    let timeout = |write_type| DbError::WriteTimeout {
        consistency: Consistency::LocalQuorum,
        received: 1,
        required: 2,
        write_type,
    };
    let errors = [
        timeout(WriteType::Simple),
        timeout(WriteType::UnloggedBatch),
        DbError::Overloaded,
        DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 },
        DbError::IsBootstrapping,
        DbError::ServerError,
    ];
    let answers = errors.map(|error| (error.to_string(), RequestReaction::forge_with_error(error)));
    let unprepared = ("Unprepared".to_string(), RequestReaction::forge_response(Arc::new(unprepared)));
    answers.into_iter().chain([unprepared]).collect()
}

/// The node says that it does not know the (first) statement of the request.
fn unprepared(request: RequestFrame) -> ResponseFrame {
    // EXECUTE begins with the id; BATCH with its type, the number of statements, and the kind of the first.
    let at = if request.opcode == RequestOpcode::Batch { 4 } else { 0 };
    let id_bytes = 2 + usize::from(u16::from_be_bytes([request.body[at], request.body[at + 1]]));
    let mut body = BytesMut::new();
    body.put_i32(UNPREPARED);
    body.put_slice(b"\0\x0aUnprepared");
    body.put_slice(&request.body[at..at + id_bytes]);
    ResponseFrame::new(request.params.for_response(), ResponseOpcode::Error, body.freeze())
}

/// The answer to a question for the version of the schema ends with it.
fn another_version(mut answer: ResponseFrame) -> ResponseFrame {
    let mut body = BytesMut::from(&answer.body[..]);
    if let Some(last) = body.last_mut() {
        *last = !*last;
    }
    answer.body = body.freeze();
    answer
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
