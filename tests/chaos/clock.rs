//! Fault 14: a consumer whose clock is an hour behind, an hour ahead or stands still, and records from the far future.
//! Versions are a function of the log (V1), so the write times have to be those that anybody computes from the topics.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::changes::{change, user};
use crate::journal::assert_tables;
use crate::load::{Load, PARTITIONS};
use crate::preload::build;
use crate::process::Program;
use crate::report::{Report, seed, times};
use crate::servers::turn;
use crate::stack::{Scenario, until};

const HOUR_SECONDS: i64 = 3_600;
/// A day in 2023.
const FROZEN: i64 = 1_700_000_000;
/// The last day of 2099 still counts; what is behind 2100 counts as no time at all.
const FUTURE_MS: [i64; 3] = [4_102_358_400_000, 4_200_000_000_000, i64::MAX / 2_000];
const CHANGES: usize = 500;

#[derive(Debug, Clone, Copy)]
enum Clock {
    Shifted(i64),
    Frozen,
}

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_and_records_of_the_far_future_change_no_version() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_clock").await;
    let mut report = Report::new(14, "clock an hour off or frozen, records of the far future", seed());
    let wrong = Wrong { library: build(&scenario, "clock").await };
    let again = scenario.another_keyspace().await;
    let group = scenario.cassandra_group();
    let topics = scenario.change_topics();
    let topics = topics.each_ref().map(String::as_str);
    for topic in topics {
        let settings = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            // A broker refuses what is more than an hour ahead of it, unless it is told not to.
            ("message.timestamp.after.max.ms", "9223372036854775807"),
        ];
        scenario.alter_topic(topic, &settings).await;
    }
    let mut load = Load::new(report.seed);
    for round in 0..times(1, 2) {
        for (number, clock) in (0..).zip([Clock::Shifted(-HOUR_SECONDS), Clock::Shifted(HOUR_SECONDS), Clock::Frozen]) {
            load.go_on(&scenario, CHANGES).await;
            let partition = (3 * round + number) % PARTITIONS;
            let future = FUTURE_MS.map(|ms| {
                let row = user(1_000 + 10 * partition + number, &format!("{ms}"));
                change(None, Some(&row)).to(partition as i32).at(ms)
            });
            scenario.produce_all(topics[0], &future).await;
            load.go_on(&scenario, CHANGES).await;

            report.injected += 1;
            let run = wrong.started(scenario.cdcconsumer(), clock).start();
            let end = scenario.ends_sum(&topics);
            until("all is applied", 60, async || scenario.committed_sum(&group, &topics) == end).await;
            report.observed += u64::from(clock.is_in(&run.log()));
            report.rss_bytes_max = report.rss_bytes_max.max(run.rss_bytes());
            run.signal("TERM");
            assert_eq!(run.exit_code(25).await, 0, "{clock:?}");
            assert_tables(&scenario).await;
        }
    }
    // All of it once more, by one whose clock is right.
    let whole = scenario.cdcconsumer().set(&format!("sink.cassandra.keyspace={again}"));
    let whole = whole.set(&format!("cdcconsumer.group_id={group}-b")).arg("--exit-when-caught-up").start();
    assert_eq!(whole.exit_code(60).await, 0);
    assert_eq!(scenario.all_writetimes(&again).await, scenario.all_writetimes(&scenario.id).await);
    scenario.assert_no_dead_letters();
    report.end();
}

/// The library that makes a process's clock wrong.
struct Wrong {
    library: PathBuf,
}

impl Wrong {
    fn started<'s>(&self, program: Program<'s>, clock: Clock) -> Program<'s> {
        let program = program.env("LD_PRELOAD", self.library.to_str().unwrap());
        match clock {
            Clock::Shifted(seconds) => program.env("CLOCK_SHIFT", &seconds.to_string()),
            Clock::Frozen => program.env("CLOCK_FROZEN", &FROZEN.to_string()),
        }
    }
}

impl Clock {
    /// Whether each line of this log was written by such a clock.
    fn is_in(self, log: &str) -> bool {
        let times = log.lines().filter_map(|line| DateTime::parse_from_rfc3339(line.split(' ').next()?).ok());
        let times: Vec<i64> = times.map(|time| time.timestamp()).collect();
        let is_so = |time: &i64| match self {
            Clock::Shifted(seconds) => (time - seconds - Utc::now().timestamp()).abs() < HOUR_SECONDS / 2,
            Clock::Frozen => *time == FROZEN,
        };
        !times.is_empty() && times.iter().all(is_so)
    }
}
