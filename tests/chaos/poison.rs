//! Fault 10: records that cannot be read or kept, of eighteen kinds, a hundred of each, among good ones. Exactly these
//! become dead letters, each once and with its reason. `tests/e2e/inputs` looks at what a letter says, for many more kinds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::changes::{envelope, id, key, user};
use crate::journal::{Journal, assert_table, assert_tables};
use crate::late::{redrive, set_grace};
use crate::load::{Dice, Load, PARTITIONS};
use crate::replicas::ask_every_replica;
use crate::report::{Report, seed};
use crate::servers::turn;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// Of each kind.
const TIMES: u64 = 100;
/// Of each kind, before good ones come again.
const AT_ONCE: u64 = 5;
const RECORD_BYTES_MAX: usize = 100_000;
/// The row that bad records are about; nothing good is.
const BAD: u64 = 1_000;

/// 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn eighteen_kinds_of_poison_a_hundred_times_each_are_dead_letters_and_nothing_else_is() {
    let _turn = turn().await;
    let mut scenario = Scenario::new("chaos_poison").await;
    let mut report = Report::new(10, "18 kinds of poison, 100 of each, among good records", seed());
    let (mut dice, mut load) = (Dice(report.seed | 1), Load::new(report.seed));
    let [users, orders] = scenario.change_topics();
    let topics = [users.as_str(), orders.as_str()];
    let run = scenario.cdcconsumer().set(&format!("limits.record_bytes_max={RECORD_BYTES_MAX}")).start();
    let mut planted: BTreeMap<(i32, i64), String> = BTreeMap::new();
    for _ in 0..TIMES / AT_ONCE {
        let mut kinds: Vec<_> = (0..AT_ONCE).flat_map(|_| kinds()).collect();
        (1..kinds.len()).for_each(|at| kinds.swap(at, dice.below(at as u64 + 1) as usize));
        let bad = kinds.iter().map(|(_, raw)| raw.clone().to(dice.below(PARTITIONS) as i32));
        let bad: Vec<Raw> = bad.collect();
        let places = scenario.produce_all(&users, &bad).await;
        planted.extend(places.into_iter().zip(kinds.into_iter().map(|(class, _)| class.to_string())));
        load.go_on(&scenario, bad.len()).await;
        report.injected += bad.len() as u64;
    }
    let group = scenario.cassandra_group();
    let end = scenario.ends_sum(&topics);
    until("all is applied", 120, async || scenario.committed_sum(&group, &topics) == end).await;
    report.rss_bytes_max = run.rss_bytes();
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);

    let letters = scenario.dead_letters();
    report.observed = letters.len() as u64;
    let classes: BTreeMap<(i32, i64), String> =
        letters.iter().map(|letter| ((letter.origin().1, letter.origin().2), letter.reason())).collect();
    for (place, class) in &planted {
        let found = classes.get(place);
        let is_right = found == Some(class);
        report.violations.extend((!is_right).then(|| format!("{place:?}: {found:?} in place of {class}")));
    }
    let others = classes.keys().filter(|place| !planted.contains_key(place));
    report.violations.extend(others.map(|place| format!("{place:?} is a dead letter")));
    ask_every_replica(&mut scenario).await;
    let is_planted = |partition, offset| planted.contains_key(&(partition, offset));
    let journal = Journal::read_without(&scenario, &users, is_planted);
    assert_table(&scenario, "users", &journal, "id", &["id"]).await;
    report.end();
}

/// A defect of ours over one record is that record's dead letter, and the worker goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_over_a_record_is_its_dead_letter_and_a_redrive_makes_it_good() {
    let _turn = turn().await;
    let scenario = Scenario::new("chaos_panic").await;
    let mut report = Report::new(10, "a panic of our own over one record", seed());
    let mut load = Load::new(report.seed);
    report.injected = 1;
    let secret = ("ROWFERRY_KAFKA_PROPERTIES_SASL_PASSWORD", "canary-of-the-password-55aa");
    let run = scenario.cdcconsumer().env(secret.0, secret.1).env("FAILPOINT", "decoding:100").start();
    load.go_on(&scenario, 300).await;
    let ([users, orders], group) = (scenario.change_topics(), scenario.cassandra_group());
    let topics = [users.as_str(), orders.as_str()];
    until("all is applied", 60, async || scenario.committed_sum(&group, &topics) == scenario.ends_sum(&topics)).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    let reasons: Vec<String> = scenario.dead_letters().iter().map(|letter| letter.reason()).collect();
    assert_eq!(reasons, ["panicked"]);
    let told = format!("{}{:?}", run.log(), scenario.dead_letters()[0].headers);
    assert!(told.contains("panicked") && !told.contains(secret.1), "a panic tells a secret: {told}");
    report.observed = 1;

    // The load's records are of a day long ago.
    for table in ["users", "orders", "orders_by_user"] {
        set_grace(&scenario, table, 315_360_000).await;
    }
    let redriven = redrive(&scenario).await;
    assert_eq!(redriven.exit_code(1).await, 0, "{}", redriven.out());
    assert_tables(&scenario).await;
    assert_eq!(load.expected(), scenario.all_writetimes(&scenario.id).await);
    report.end();
}

/// Reason and record.
fn kinds() -> [(&'static str, Raw); 18] {
    let row = user(BAD, "bad");
    let good = envelope("c", None, Some(&row)).to_string();
    let bad = |value: &str| Raw::new(key(&row), value);
    let with = |member: &str, value: Value| {
        let mut envelope = envelope("c", None, Some(&row));
        envelope[member] = value;
        bad(&envelope.to_string())
    };
    let column = |name: &str, value: Value| {
        let mut row = row.clone();
        row[name] = value;
        bad(&envelope("c", None, Some(&row)).to_string())
    };
    let keyed = |key: &str| Raw::new(key, &good);
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find("bad").unwrap();
    not_utf8[at] = 0xff;
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    [
        ("empty", bad("")),
        ("not_json", bad("{not json")),
        ("not_json", bad(&good[..good.len() / 2])),
        ("not_json", Raw::new(key(&row), not_utf8)),
        ("not_json", keyed("no key")),
        ("wrong_type", bad(&format!("[{good}]"))),
        ("wrong_type", bad("7")),
        ("wrong_type", with("op", 7.into())),
        ("wrong_type", bad(&good.replacen('{', r#"{"op":"c","#, 1))),
        ("wrong_type", column("is_deleted", "bad".into())),
        ("unknown_op", with("op", "bad".into())),
        ("missing_image", with("after", Value::Null)),
        ("missing_key", Raw { value: Some(good.clone().into()), ..Raw::default() }),
        ("key_mismatch", keyed(&json!({ "id": id(BAD + 1) }).to_string())),
        ("out_of_range", column("dob", i32::MAX.into())),
        ("out_of_range", column("modified_at", "2025-01-01T00:00:00.000001Z".into())),
        ("too_deep", bad(&good.replacen('{', &format!("{{\"extra\":{deep},"), 1))),
        ("too_large", column("name", "x".repeat(RECORD_BYTES_MAX).into())),
    ]
}
