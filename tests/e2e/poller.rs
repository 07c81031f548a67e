//! A reader that never stops looking: hot rows at QUORUM, and every time one of them went back.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use crate::stack::Scenario;

const INTERVAL: Duration = Duration::from_millis(20);

/// What was seen of one table.
#[derive(Debug, Default)]
pub struct Seen {
    pub reads: u64,
    /// Reads that found a row older than a read before did, or a row that was gone and came back no newer.
    pub stale: u64,
    /// The first of them, for a person.
    pub first: Option<String>,
    rows: BTreeMap<i64, Row>,
}

#[derive(Debug, Default)]
struct Row {
    highest: i64,
    gone: bool,
}

impl Seen {
    /// Takes what a read found.
    pub fn look(&mut self, found: &BTreeMap<i64, i64>) {
        self.reads += 1;
        for (id, seq) in found {
            let row = self.rows.entry(*id).or_default();
            if *seq < row.highest || (row.gone && *seq <= row.highest) {
                self.stale += 1;
                self.first.get_or_insert_with(|| format!("row {id} at {seq} after {row:?}"));
            } else {
                (row.highest, row.gone) = (*seq, false);
            }
        }
        for (_, row) in self.rows.iter_mut().filter(|(id, _)| !found.contains_key(id)) {
            row.gone = true;
        }
    }
}

/// Looks at these rows of both tables every 20 ms while the work is done. Tables have an `id` and a `seq` that rises.
pub async fn watched<T>(
    scenario: &Scenario,
    tables: [&str; 2],
    ids: &[i64],
    work: impl Future<Output = T>,
) -> (T, [Seen; 2]) {
    let mut seen = [Seen::default(), Seen::default()];
    let looking = async {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            for (table, seen) in tables.iter().zip(&mut seen) {
                seen.look(&seqs(scenario, table, ids).await);
            }
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = looking => unreachable!("it looks until the work is done"),
    };
    (done, seen)
}

/// The rows that are there, by id.
pub async fn seqs(scenario: &Scenario, table: &str, ids: &[i64]) -> BTreeMap<i64, i64> {
    let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let query = format!("SELECT id, seq FROM {}.{table} WHERE id IN ({ids})", scenario.id);
    let rows = scenario.cassandra.query_unpaged(query, ()).await.unwrap().into_rows_result().unwrap();
    rows.rows::<(i64, i64)>().unwrap().map(|row| row.unwrap()).collect()
}

#[test]
fn a_reader_notices_a_row_that_goes_back_and_one_that_comes_back() {
    let mut seen = Seen::default();
    let mut look = |rows: &[(i64, i64)]| {
        seen.look(&rows.iter().copied().collect());
        seen.stale
    };
    assert_eq!(look(&[(1, 5), (2, 6)]), 0);
    assert_eq!(look(&[(1, 5), (2, 7)]), 0);
    assert_eq!(look(&[(1, 4), (2, 7)]), 1, "it went back");
    assert_eq!(look(&[(1, 5)]), 1, "and is where it was; the other is gone");
    assert_eq!(look(&[(1, 5), (2, 7)]), 2, "it came back as it was");
    assert_eq!(look(&[(1, 5), (2, 8)]), 2, "and now it is new");
}
