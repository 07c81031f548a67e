//! Memory under the largest rows in many partitions.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::changes::{change, user};
use crate::process::Started;
use crate::stack::Scenario;

/// The sum of docs/operations.md for 200 partitions and rows of 1 MiB.
const HARD_LIMIT_BYTES: u64 = 512 * 1024 * 1024;
const MANY_PARTITIONS: i32 = 200;

/// 100 s. More than it may hold of the largest rows, in many partitions, and nobody takes them: under a limit that ends
/// the process when it asks for more.
#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_of_large_rows_fit_into_a_hard_limit_while_nothing_is_taken() {
    let scenario = Scenario::new("out_many").await;
    let [users, _] = scenario.change_topics();
    scenario.delete_topic(&users).await;
    scenario.make_topic(&users, MANY_PARTITIONS, &[("max.message.bytes", "12582912")]).await;
    let run = scenario.cdcconsumer().start();
    limit_memory(&run, HARD_LIMIT_BYTES);
    run.logs(&format!("{users}[199]"), 60).await;
    // Nodes that are frozen would keep all of it as hints for each other: the table goes instead.
    scenario.cql(&format!("DROP TABLE {}.users", scenario.id)).await;
    let large = "x".repeat(1024 * 1024);
    for round in 0..3 {
        for partition in 0..MANY_PARTITIONS {
            let row = user((round * MANY_PARTITIONS + partition) as u64, &large);
            scenario.produce(&users, &change(None, Some(&row)).to(partition)).await;
        }
    }
    run.logs("stopped: ", 60).await;
    let held_since = Instant::now();
    while held_since.elapsed() < Duration::from_secs(30) {
        assert!(run.is_running(), "it did not fit into {HARD_LIMIT_BYTES} bytes");
        sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{}: peak {} MiB", run.name, peak_rss_bytes(&run) / 1_048_576);
    assert!(peak_rss_bytes(&run) < HARD_LIMIT_BYTES);
    assert!(peak_rss_bytes(&run) > 200 * 1024 * 1024, "a record of each partition is held, or nothing was tested");
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert_eq!(scenario.dead_letters(), []);
}

/// The most memory that was ever in use (VmHWM).
fn peak_rss_bytes(run: &Started) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it runs");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// From now on it ends when it asks for more private memory than this.
fn limit_memory(run: &Started, bytes_max: u64) {
    let limit = format!("--data={bytes_max}");
    let set = Command::new("prlimit").arg("--pid").arg(run.pid.to_string()).arg(limit).status().unwrap();
    assert!(set.success(), "prlimit (of util-linux) could not limit its memory");
}
