//! A part of the rows, and no faster than allowed.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Live, Verified};

const ROWS: u32 = 3_000;
/// A tenth of [`ROWS`], give or take what chance does in one of a million runs.
const TENTH: std::ops::RangeInclusive<u64> = 220..=385;

/// The number that an earlier run logged.
fn seed_of(verified: &Verified) -> String {
    let after = verified.err.split_once("--sample-seed ").unwrap_or_else(|| panic!("{verified:?}")).1;
    after.split(' ').next().unwrap().to_string()
}

#[tokio::test]
async fn a_sample_is_a_part_of_each_side_and_the_same_one_when_asked() {
    let mut live = Live::new().await;
    live.fill(ROWS, 1).await;
    let sampled = async |live: &Live, more: &[&str]| {
        live.verify(&[&["--table", "users", "--sample", "10%"][..], more].concat()).await
    };
    let first = sampled(&live, &[]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    let [equal, ..] = first.counts("users");
    assert!(TENTH.contains(&equal), "{equal}");
    let again = sampled(&live, &["--sample-seed", &seed_of(&first)]).await;
    assert_eq!(again.counts("users"), first.counts("users"));

    // Rows that are only in the source, and then rows that are only in the target.
    live.cql("TRUNCATE @users").await;
    let [equal, _, missing, extra, _] = sampled(&live, &["--sample-seed", &seed_of(&first)]).await.counts("users");
    assert_eq!((equal, missing, extra), (0, first.counts("users")[0], 0));
    live.copy().await;
    live.sql("DELETE FROM orders; DELETE FROM users").await;
    let verified = sampled(&live, &[]).await;
    let [equal, _, missing, extra, _] = verified.counts("users");
    assert!(equal == 0 && missing == 0 && TENTH.contains(&extra), "{verified:?}");
    assert_eq!(verified.code, Some(1));

    for wrong in ["100%", "10", "0%"] {
        let refused = live.verify(&["--sample", wrong]).await;
        assert!(refused.code == Some(2) && refused.err.contains("5% or 0.25%"), "{refused:?}");
    }
    live.drop().await;
}

#[tokio::test]
async fn rows_are_read_no_faster_than_allowed() {
    let mut live = Live::new().await;
    live.fill(400, 1).await;
    let begun = Instant::now();
    let verified = live.verify(&["--table", "users", "--rows-per-second-max", "40"]).await;
    assert_eq!(verified.counts("users"), [400, 0, 0, 0, 0]);
    // 800 rows of both sides, and the last page is not waited for.
    assert!(begun.elapsed() > Duration::from_secs(18), "{:?}", begun.elapsed());
    live.drop().await;
}

/// On a terminal, which `script` makes one of, a bar says how far it is, and is gone when the report is printed.
#[tokio::test]
async fn a_bar_says_on_a_terminal_how_far_it_is() {
    let mut live = Live::new().await;
    live.fill(200, 1).await;
    live.sql("ANALYZE users").await;
    let verify = live.command(&["--table", "users", "--rows-per-second-max", "100"]);
    let words: Vec<String> = std::iter::once(verify.get_program())
        .chain(verify.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(env!("CARGO_MANIFEST_DIR")).env("TERM", "xterm");
    let out = tokio::task::spawn_blocking(move || script.output()).await.unwrap().expect("script, of util-linux");
    let shown = String::from_utf8_lossy(&out.stdout).replace('\r', "\n");
    assert!(out.status.success(), "{shown}");
    assert!(shown.contains("users, 0 differences") && shown.contains("of about 400 rows"), "{shown}");
    let report = shown.lines().rfind(|line| line.starts_with("users ")).unwrap_or_default();
    assert!(report.split_whitespace().skip(2).take(5).eq(["200", "0", "0", "0", "0"]), "{shown}");
    live.drop().await;
}
