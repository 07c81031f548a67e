//! `cdcconsumer sweep`: rows that the source deleted while nobody listened go, and nothing else does.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::changes::{change, id, user};
use crate::inputs::{CANARY, assert_holds_no_payload};
use crate::process::Started;
use crate::stack::{Scenario, until};
use crate::topics::Raw;

/// A command, to its end, with the exit code that it must have.
async fn ran(scenario: &Scenario, words: &[&str], code: i32) -> Arc<Started> {
    let run = words.iter().fold(scenario.cdcconsumer(), |program, word| program.arg(word)).start();
    assert_eq!(run.exit_code(120).await, code, "{words:?}\n{}\n{}", run.out(), run.log());
    assert!(!run.log().contains("panicked"), "{}", run.log());
    run
}

/// Lines of standard output that begin with this.
fn lines(run: &Started, first: &str) -> usize {
    run.out().lines().filter(|line| line.split('\t').next() == Some(first)).count()
}

/// Runs statements whose deletes no connector is told of.
async fn unheard(scenario: &Scenario, statements: &str) {
    scenario.sql("ALTER PUBLICATION cdc_pub SET (publish = 'insert, update, truncate')").await;
    scenario.sql(statements).await;
    scenario.sql("ALTER PUBLICATION cdc_pub SET (publish = 'insert, update, delete, truncate')").await;
}

fn insert_orders(which: &str) -> String {
    format!(
        "INSERT INTO orders SELECT md5('o' || n)::uuid, 'PLACED', md5('u' || (1 + n % 5))::uuid, n, n / 100.0,
                                   '2025-01-01Z', '2025-01-01Z' FROM generate_series(1, 200) n WHERE {which}"
    )
}

/// 60 s.
#[tokio::test(flavor = "multi_thread")]
async fn rows_deleted_while_nobody_listened_are_swept_and_what_is_inserted_meanwhile_is_not() {
    let scenario = Scenario::new("sweep").await;
    scenario.start_debezium().await;
    scenario
        .sql(
            "INSERT INTO users SELECT md5('u' || n)::uuid, 'User ' || n, '1970-01-01', '2025-01-01Z', '2025-01-01Z'
               FROM generate_series(1, 5) n",
        )
        .await;
    scenario.sql(&insert_orders("true")).await;
    scenario.until_debezium_has_sent_all().await;
    // Nobody runs: what the topics hold is not applied, and nothing is said of rows.
    let behind = ran(&scenario, &["sweep", "orders", "--within", "1s"], 1).await;
    assert!(behind.log().contains("run cdcconsumer"), "{}", behind.log());
    let run = scenario.cdcconsumer().start();
    ran(&scenario, &["verify", "--within", "60s"], 0).await;
    unheard(&scenario, "DELETE FROM orders WHERE quantity <= 40").await;

    let verified = ran(&scenario, &["verify"], 1).await;
    assert!(verified.out().contains("extra"), "{}", verified.out());
    let dry = ran(&scenario, &["sweep", "orders", "orders_by_user"], 1).await;
    assert_eq!((lines(&dry, "extra"), lines(&dry, "swept")), (80, 0), "{}", dry.out());
    assert!(dry.out().contains("orders_by_user\tuser_id=•••, order_id=•••\twould be deleted"), "{}", dry.out());
    assert_eq!(scenario.cassandra_rows("orders").await.len(), 200, "nothing was deleted");
    let refused = ran(&scenario, &["sweep", "orders", "--apply", "--rows-max", "39"], 64).await;
    assert!(refused.log().contains("more than 39 rows"), "{}", refused.log());
    assert_eq!(scenario.cassandra_rows("orders").await.len(), 200, "nothing was deleted");

    // Half of the rows come back, one after the other, while they are swept.
    let sweeping = async {
        let run = ran(&scenario, &["sweep", "orders", "orders_by_user", "--apply"], 0).await;
        assert!(lines(&run, "swept") >= 40, "{}", run.out());
    };
    let inserting = async {
        for n in 1..=20 {
            scenario.sql(&insert_orders(&format!("n = {n}"))).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::join!(sweeping, inserting);
    ran(&scenario, &["verify", "--within", "60s"], 0).await;
    assert_eq!(scenario.cassandra_rows("orders").await.len(), 180);
    ran(&scenario, &["sweep", "orders", "orders_by_user"], 0).await;

    // The others come back later.
    scenario.sql(&insert_orders("n BETWEEN 21 AND 40")).await;
    ran(&scenario, &["verify", "--within", "60s"], 0).await;
    scenario.assert_cassandra_equals_postgres().await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.assert_no_dead_letters();
}

async fn user_ids(scenario: &Scenario) -> Vec<String> {
    let rows = scenario.cassandra_rows("users").await;
    let mut ids: Vec<String> = rows.iter().map(|row| row["id"].clone().unwrap()).collect();
    ids.sort();
    ids
}

/// A minute ago.
fn start_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - 60_000
}

/// 40 s. Records made by hand, of rows that the source does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_swept_row_stays_away_at_a_replay_and_comes_with_the_very_next_version() {
    let scenario = Scenario::new("sweep_versions").await;
    let topic = scenario.topic("public.users");
    let start = start_ms();
    let created = |number: u64| change(None, Some(&user(number, "Ann"))).to(0);
    scenario.produce_all(&topic, &[1, 2, 3].map(|number| created(number).at(start))).await;
    scenario.cdcconsumer_to_the_end().await;
    // One that somebody wrote by hand, and one whose time nobody can go over.
    let (id_of_scenario, ahead) = (&scenario.id, (start + 3_600_000) * 1_000);
    let by_hand = |number: u64, using: String| {
        format!("INSERT INTO {id_of_scenario}.users (id, name) VALUES ({}, 'Hand') {using}", id(number))
    };
    scenario.cql(&by_hand(4, String::new())).await;
    scenario.cql(&by_hand(5, format!("USING TIMESTAMP {ahead}"))).await;

    let swept = ran(&scenario, &["sweep", "users", "--apply", "--values"], 1).await;
    assert_eq!((lines(&swept, "swept"), lines(&swept, "spared")), (4, 1), "{}", swept.out());
    assert!(swept.out().contains(&format!("spared\tusers\tid={}\tits cells are ahead", id(5))), "{}", swept.out());
    assert_eq!(user_ids(&scenario).await, [id(5)]);

    let seek = ["seek", "--to-beginning", "--topic", &topic];
    ran(&scenario, &seek, 0).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(user_ids(&scenario).await, [id(5)], "what is read again is below what was swept");

    // Its stamp is that of the first, so that its version is the next one that the partition can give.
    scenario.produce_all(&topic, &[created(3).at(start), created(4).at(start + 120_000)]).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(user_ids(&scenario).await, [id(3), id(4), id(5)]);
    scenario.assert_no_dead_letters();
}

/// 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_dead_letter_is_spared_until_a_newer_record_has_written_it() {
    let scenario = Scenario::new("sweep_letters").await;
    let topic = scenario.topic("public.users");
    let created = |number: u64| change(None, Some(&user(number, CANARY))).to(0);
    let refused = |number: u64| {
        let mut broken = user(number, CANARY);
        broken["dob"] = json!("no day");
        change(Some(&user(number, CANARY)), Some(&broken)).to(0)
    };
    let no_row = Raw::new("no key", "no row").to(0);
    scenario.produce_all(&topic, &[created(1), created(2), created(3), refused(1), no_row, refused(3)]).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!(scenario.dead_letters().len(), 3);

    let swept = ran(&scenario, &["sweep", "users", "--apply"], 1).await;
    assert_eq!((lines(&swept, "swept"), lines(&swept, "spared")), (1, 2), "{}", swept.out());
    assert!(swept.out().contains("a dead letter speaks of it"), "{}", swept.out());
    assert!(swept.log().contains("keys that cannot be read"), "{}", swept.log());
    assert_holds_no_payload("sweep", &(swept.out() + &swept.log()));
    assert_eq!(user_ids(&scenario).await, [id(1), id(3)]);

    scenario.produce_all(&topic, &[created(1)]).await;
    scenario.cdcconsumer_to_the_end().await;
    ran(&scenario, &["sweep", "users", "--apply"], 1).await;
    assert_eq!(user_ids(&scenario).await, [id(3)], "a newer record had written the first one");
    ran(&scenario, &["sweep", "users", "--apply", "--with-dead-letters"], 0).await;
    assert!(user_ids(&scenario).await.is_empty());
}

/// The nth change of the source, of this row.
fn streamed(n: i64, id: i64, seq: Value) -> Raw {
    let lsn = 10_000 + 10 * n;
    let value = json!({
        "before": null, "after": { "id": id, "seq": seq },
        "source": {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "e2e", "ts_ms": 1_735_689_600_000_i64 + n,
            "snapshot": "false", "db": "e2e", "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 5), "schema": "public",
            "ts_us": (1_735_689_600_000_i64 + n) * 1_000, "table": "hot", "txId": 700 + n, "lsn": lsn, "xmin": null,
        },
        "transaction": null, "op": "c", "ts_ms": 1_735_689_600_001_i64,
    });
    Raw::new(json!({ "id": id }).to_string(), value.to_string()).to(0)
}

/// 45 s. A guarded route, a plain one and one with `soft_delete`, from one topic; a row of nulls, which has no cell that
/// tells its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_route_remembers_what_was_swept_and_soft_delete_sets_its_flag() {
    let scenario = Scenario::new("sweep_guard").await;
    let (topic, name) = (scenario.topic("hot"), &scenario.id);
    scenario.make_topic(&topic, 1, &[]).await;
    crate::guard::make_tables(&scenario).await;
    crate::guard::make_deletes_table(&scenario).await;
    scenario.cql(&format!("CREATE TABLE {name}.kept (id bigint PRIMARY KEY, seq bigint, gone boolean)")).await;
    scenario.sql("CREATE TABLE hot (id bigint PRIMARY KEY, seq bigint); GRANT SELECT ON hot TO debezium").await;
    let more = "source_table = \"public.hot\"\n";
    let kept = format!(
        "\n[[cdcconsumer.routes]]\ntopic = \"{topic}\"\ntable = \"kept\"\nsource_key = [\"id\"]\n\
         types = {{ id = \"bigint\", seq = \"bigint\" }}\nsoft_delete = \"gone\"\n{more}"
    );
    scenario.edit_config(|text| format!("{text}{}{kept}", crate::guard::routes(&topic, more)));
    let (first, nulls, last) = (streamed(1, 1, json!(1)), streamed(2, 2, Value::Null), streamed(3, 3, json!(3)));
    scenario.produce_all(&topic, &[first.clone(), nulls, last]).await;
    scenario.sql("INSERT INTO hot VALUES (3, 3)").await;
    scenario.cdcconsumer_to_the_end().await;

    let swept = ran(&scenario, &["sweep", "hot", "plain", "kept", "--apply"], 0).await;
    assert_eq!(lines(&swept, "swept"), 6, "{}", swept.out());
    let ids = async |query: &str| {
        let rows = scenario.cassandra_query(&format!("SELECT id FROM {name}.{query} ALLOW FILTERING")).await;
        rows.iter().map(|row| row["id"].clone().unwrap()).collect::<Vec<String>>()
    };
    assert_eq!((ids("hot").await, ids("plain").await), (vec!["3".into()], vec!["3".into()]));
    assert_eq!(ids("kept WHERE gone = true").await, ["1", "2"]);
    assert_eq!(ids("hot_deletes").await, ["1", "2"]);
    ran(&scenario, &["sweep", "hot", "plain", "kept"], 0).await;

    // The connector sends the first change again: the plain table has its row again, until it is swept once more.
    scenario.produce_all(&topic, &[first]).await;
    scenario.cdcconsumer_to_the_end().await;
    assert_eq!((ids("hot").await, ids("plain").await), (vec!["3".into()], vec!["1".into(), "3".into()]));
    // What the source inserts now is new to both.
    scenario.produce_all(&topic, &[streamed(9, 1, json!(9))]).await;
    scenario.sql("INSERT INTO hot VALUES (1, 9)").await;
    scenario.cdcconsumer_to_the_end().await;
    until("both have it", 10, async || ids("hot").await == ["1", "3"] && ids("plain").await == ["1", "3"]).await;
    assert_eq!(ids("kept WHERE gone = true").await, ["2"], "the flag of a row that came back is taken away");
    scenario.assert_no_dead_letters();
}
