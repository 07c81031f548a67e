//! A history that `producer` sends, and the tables that it must lead to.

use crate::process::Program;
use crate::rows::{assert_same, oracle_rows};
use crate::stack::Scenario;

/// What `producer` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct History {
    pub users: u64,
    pub orders: u64,
    pub seed: u64,
}

impl History {
    /// `producer`, to be started: it writes the history to the scenario's topics.
    pub fn producer<'s>(&self, scenario: &'s Scenario) -> Program<'s> {
        scenario
            .program("producer", env!("CARGO_BIN_EXE_producer"))
            .arg("--config")
            .arg("rowferry.toml")
            .arg(format!("--users={}", self.users))
            .arg(format!("--orders={}", self.orders))
            .arg(format!("--seed={}", self.seed))
            .arg(format!("--users-topic={}", scenario.topic("users")))
            .arg(format!("--orders-topic={}", scenario.topic("orders")))
    }

    /// Asserts that Postgres holds what the whole history leads to, neither less nor more.
    pub async fn assert_in_postgres(&self, scenario: &Scenario) {
        let oracle = self.producer(scenario).arg("--oracle").start();
        assert_eq!(oracle.exit_code(30).await, 0, "producer --oracle");
        let lines = oracle.out();
        for table in ["users", "orders"] {
            let expected = oracle_rows(&lines, table);
            assert!(!expected.is_empty(), "the oracle knows no {table}");
            assert_same(&format!("{table} in Postgres"), &scenario.postgres_rows(table).await, &expected);
        }
    }
}
