//! Checker (B): a reader of hot rows, in a task of its own, that looks every 20 ms at QUORUM. [`Load`](crate::load::Load)
//! numbers its rows, so the number in a user's name must never fall.

use std::collections::BTreeMap;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::{Consistency, Statement};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::changes;
use crate::poller::Seen;
use crate::report::Report;
use crate::stack::Scenario;

const INTERVAL: Duration = Duration::from_millis(20);
/// So many users of a load are looked at.
const HOT: u64 = 12;

pub struct Reader {
    over: watch::Sender<bool>,
    task: JoinHandle<Seen>,
}

impl Reader {
    pub async fn of_users(scenario: &Scenario) -> Reader {
        let session = SessionBuilder::new().known_node("127.0.0.1:9042").build().await.unwrap();
        let ids: Vec<String> = (0..HOT).map(changes::id).collect();
        let query = format!("SELECT id, name FROM {}.users WHERE id IN ({})", scenario.id, ids.join(", "));
        let (over, is_over) = watch::channel(false);
        Reader { over, task: tokio::spawn(look(session, query, is_over)) }
    }

    /// Stops it, and writes down what it saw that must not be.
    pub async fn ends(self, report: &mut Report) {
        self.over.send(true).unwrap();
        let seen = self.task.await.unwrap();
        eprintln!("reader: {} looks, {} of them at older rows", seen.reads, seen.stale);
        assert!(seen.reads > 100, "it has hardly looked: {}", seen.reads);
        report.violations.extend(seen.first.map(|told| format!("a reader saw {told}")));
    }
}

async fn look(session: Session, query: String, is_over: watch::Receiver<bool>) -> Seen {
    let mut query = Statement::new(query);
    query.set_consistency(Consistency::Quorum);
    let mut seen = Seen::default();
    let mut interval = tokio::time::interval(INTERVAL);
    while !*is_over.borrow() {
        interval.tick().await;
        let found = session.query_unpaged(query.clone(), ()).await.unwrap().into_rows_result().unwrap();
        let rows = found.rows::<(Uuid, String)>().unwrap().map(Result::unwrap);
        let numbered = |(id, name): (Uuid, String)| {
            let number = name.strip_prefix("Name ").expect("a user of the load").parse().unwrap();
            (id.as_u128() as i64, number)
        };
        seen.look(&rows.map(numbered).collect::<BTreeMap<i64, i64>>());
    }
    seen
}
