//! `cdcconsumer check`: what is right is shown, and each planted mistake is found with words to act on.

use crate::changes::{change, order, user};
use crate::rows::Row;
use crate::stack::{BROKERS, Scenario};
use crate::topics::{Commit, Commits, Raw};

/// Runs it: exit code and everything it said.
async fn check(scenario: &Scenario) -> (i32, String) {
    let run = scenario.cdcconsumer().arg("check").start();
    let code = run.exit_code(60).await;
    (code, format!("{}{}", run.out(), run.log()))
}

/// Runs it, and asserts how it ends and that it says all of this.
pub async fn assert_told(what: &str, scenario: &Scenario, exit: i32, parts: &[&str]) {
    let (code, told) = check(scenario).await;
    let missing: Vec<&&str> = parts.iter().filter(|part| !told.contains(**part)).collect();
    assert!(code == exit && missing.is_empty(), "{what}: exit {code}, not told: {missing:?}, in:\n{told}");
}

/// Settings of a topic of which there is nothing to say.
pub const KEPT_A_WEEK: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("retention.ms", "604800000"), ("max.message.bytes", "12582912")];

/// 15 s. Shown in full, and nothing anywhere is changed: no commit, no dead letter, no row.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_is_shown_and_nothing_is_touched() {
    let scenario = Scenario::new("check_right").await;
    let [users, orders] = scenario.change_topics();
    for topic in [&users, &orders] {
        scenario.alter_topic(topic, &KEPT_A_WEEK).await;
    }
    scenario.produce(&users, &change(None, Some(&user(1, "Ann"))).to(2)).await;
    scenario.produce(&orders, &change(None, Some(&order(1, 1, "19.90"))).to(0)).await;
    let (code, told) = check(&scenario).await;
    assert_eq!(code, 0, "{told}");
    for part in [
        format!("route {orders} → orders_by_user\n"),
        "5 partitions, 3 replicas, cleanup.policy=delete, kept 7 d, records up to 12582912 bytes".into(),
        "1, none read yet".into(),
        "[2] offset 0 of ".into(),
        "an insert".into(),
        "user_id, order_id; rows move when it changes".into(),
        "order_id     uuid ← id uuid, sent as uuid".into(),
        "total_amount decimal ← total_amount numeric(10,2), sent as decimal: rejects NaN and infinity".into(),
        "3 routes: 0 problems, 0 warnings".into(),
    ] {
        assert!(told.contains(&part), "no \"{part}\" in:\n{told}");
    }
    assert!(scenario.committed(&scenario.cassandra_group(), &[&users, &orders]).is_empty());
    assert_eq!(scenario.ends(&scenario.dead_letter_topic()), [(0, 0); 3], "it is not written to");
    for table in ["users", "orders", "orders_by_user"] {
        assert_eq!(scenario.cassandra_rows(table).await, Vec::<Row>::new());
    }

    // Beside a running consumer, and after it, it says the same.
    let run = scenario.cdcconsumer().start();
    run.logs("assigned", 30).await;
    assert_told("beside a run", &scenario, 0, &["0 problems, 0 warnings"]).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    assert!(!run.log().contains("WARN"), "a run has nothing to warn of either: {}", run.log());
    scenario.cdcconsumer_to_the_end().await;
    assert_told("after a run", &scenario, 0, &["0 of 1 unread", "0 problems, 0 warnings"]).await;
}

/// 25 s. Mistakes in the configuration, in the topics and in the group's offsets, and all at once.
#[tokio::test(flavor = "multi_thread")]
async fn every_planted_mistake_is_found_and_the_mend_is_named() {
    let scenario = Scenario::new("check_wrong").await;
    let right = std::fs::read_to_string(scenario.config()).unwrap();
    let [users, orders] = scenario.change_topics();
    let letters = scenario.dead_letter_topic();
    for topic in [&users, &orders] {
        scenario.alter_topic(topic, &KEPT_A_WEEK).await;
    }

    topics(&scenario, &users, &orders, &letters).await;
    records_and_commits(&scenario, &users, &orders).await;
    rights_and_tables(&scenario, &right).await;

    // Everything at once, each with its own line.
    let wrong = right
        .replace(&format!("topic = \"{users}\""), "topic = \"e2e.nowhere\"")
        .replacen("columns = { order_id = \"id\" }", "columns = { order_id = \"id\", colour = \"color\" }", 1)
        .replace(
            "table = \"orders_by_user\"\nsource_key = [\"id\"]",
            "table = \"orders_by_user\"\nsource_key = [\"uid\"]",
        )
        .replace(&format!("\"{letters}\""), "\"e2e.no-letters\"");
    std::fs::write(scenario.config(), &wrong).unwrap();
    let all = [
        "e2e.nowhere is not there yet: a run waits for it",
        "has no column \"colour\": add it or correct `columns`",
        "does not contain the source's key column \"uid\"",
        "kafka.dead_letter_topic = \"e2e.no-letters\": there is no such topic; create it",
        "cannot be used as it is: see the problems",
        "3 routes: 3 problems, 1 warnings",
    ];
    assert_told("all at once", &scenario, 64, &all).await;

    std::fs::write(scenario.config(), right.replace(BROKERS, "127.0.0.1:1")).unwrap();
    let away = ["Kafka: no answer within", "route ", "Not checked"];
    assert_told("no Kafka", &scenario, 1, &away).await;
    std::fs::write(scenario.config(), right.replace("keyspace = \"", "keyspace = \"not_")).unwrap();
    assert_told("no keyspace", &scenario, 64, &["there is no keyspace \"not_e2e", "1 problems"]).await;
}

async fn topics(scenario: &Scenario, users: &str, orders: &str, letters: &str) {
    let compact = [("cleanup.policy", "compact"), ("max.message.bytes", "12582912")];
    scenario.alter_topic(orders, &compact).await;
    scenario.alter_topic(users, &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "60000")]).await;
    let told = [
        &format!("topic {orders} has cleanup.policy=compact, and the rows of orders_by_user move"),
        "set cleanup.policy=delete, and fill the table again from a snapshot",
        &format!("topic {users} has cleanup.policy=compact and min.compaction.lag.ms=60000 (1 min)"),
    ];
    assert_told("compaction", scenario, 64, &told).await;
    let run = scenario.cdcconsumer().start();
    assert_eq!(run.exit_code(30).await, 64, "a run is refused by the same judgement");
    assert!(run.log().contains(told[0]), "{}", run.log());

    scenario.alter_topic(orders, &KEPT_A_WEEK).await;
    let short = [KEPT_A_WEEK[0], ("retention.ms", "3600000"), KEPT_A_WEEK[2]];
    scenario.alter_topic(users, &short).await;
    scenario.alter_topic(letters, &[("cleanup.policy", "delete"), ("max.message.bytes", "100000")]).await;
    let told = [
        &format!("topic {users} keeps its records for 1 h (retention.ms=3600000)"),
        &format!(
            "the dead-letter topic {letters} has max.message.bytes=100000, and topic {users} takes records of 12582912"
        ),
        "to at least 12587008",
        "0 problems, 2 warnings",
    ];
    assert_told("retention and size", scenario, 0, &told.map(|part| part as &str)).await;
    let run = scenario.cdcconsumer().start();
    run.logs("keeps its records for 1 h", 30).await;
    run.logs("assigned", 30).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0, "a warning is no refusal");

    scenario.alter_topic(letters, &[("cleanup.policy", "compact"), ("max.message.bytes", "16777216")]).await;
    let told = "of two dead letters with the same key the older one would be removed";
    assert_told("a compacted dead-letter topic", scenario, 64, &[told]).await;
    scenario.alter_topic(letters, &[("cleanup.policy", "delete"), ("max.message.bytes", "16777216")]).await;
    scenario.alter_topic(users, &KEPT_A_WEEK).await;
}

async fn records_and_commits(scenario: &Scenario, users: &str, orders: &str) {
    for partition in 0..2 {
        scenario.produce(users, &Raw::new("{", "no json").to(partition)).await;
    }
    let group = scenario.cassandra_group();
    let commit = |next_offset, metadata: &str| Commit { next_offset, metadata: metadata.into() };
    let set = |topic: &str, partition, commit| {
        scenario.commit(&group, &Commits::from([((topic.to_string(), partition), commit)]));
    };
    set(users, 1, commit(1, ""));
    set(orders, 2, commit(7, "rowferry:1:last=4"));
    let told = [
        format!(
            "1 of the 1 newest unread records of {users}[0] would go to the dead-letter topic, as that at offset 0"
        ),
        format!("{users}[1]: the commit carries no version state: another tool set group {group} to offset 1"),
        format!("`cdcconsumer seek --to-beginning --topic {users} --partition 1`"),
        format!(
            "{orders}[2]: group {group} stands at offset 7, and the topic ends at 0: it was truncated or created anew"
        ),
        "Problems: a run stops these partitions".into(),
        "2 problems, 1 warnings".into(),
    ];
    assert_told("records and commits", scenario, 64, &told.each_ref().map(String::as_str)).await;
    set(users, 1, commit(1, "rowferry:1:last=4"));
    set(orders, 2, commit(0, "rowferry:1:last=0"));
}

async fn rights_and_tables(scenario: &Scenario, right: &str) {
    let role = format!("{}_reader", scenario.id);
    scenario.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'reader'; GRANT SELECT ON users TO {role}")).await;
    scenario.sql("ALTER TABLE orders REPLICA IDENTITY DEFAULT").await;
    scenario.cql(&format!("ALTER TABLE {}.users WITH gc_grace_seconds = 3600", scenario.id)).await;
    scenario.cql(&format!("ALTER TABLE {}.orders WITH default_time_to_live = 60", scenario.id)).await;
    std::fs::write(scenario.config(), right.replace("debezium:debezium@", &format!("{role}:reader@"))).unwrap();
    let told = [
        "ALTER TABLE public.orders REPLICA IDENTITY FULL",
        "the source table \"public.orders\" may not be read, which `cdcconsumer verify` has to",
        "GRANT SELECT ON public.orders to the user in source.postgres.url",
    ];
    let (code, told_all) = check(scenario).await;
    // The role is the cluster's, and would outlive the database.
    scenario.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    let missing: Vec<&&str> = told.iter().filter(|part| !told_all.contains(**part)).collect();
    assert!(code == 64 && missing.is_empty(), "rights: exit {code}, not told: {missing:?}, in:\n{told_all}");

    std::fs::write(scenario.config(), right).unwrap();
    scenario.sql("ALTER TABLE orders REPLICA IDENTITY FULL").await;
    let told = [
        "table \"users\" remembers deletes for 1 h (gc_grace_seconds=3600)",
        "table \"orders\" has default_time_to_live=60: its rows vanish",
    ];
    assert_told("tables", scenario, 0, &told).await;
    scenario.cql(&format!("ALTER TABLE {}.users WITH gc_grace_seconds = 864000", scenario.id)).await;
    scenario.cql(&format!("ALTER TABLE {}.orders WITH default_time_to_live = 0", scenario.id)).await;
}
