//! `cdcconsumer verify --repair`: damage done to the target by hand is mended by the connector and by a sweep.

use crate::backfill::rows_without_a_snapshot;
use crate::stack::Scenario;

/// 100 s, most of it signals, of which a connector takes one in ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn cells_rows_and_extra_rows_are_mended_and_the_next_look_finds_nothing() {
    let scenario = Scenario::new("repair").await;
    let ended = async |words: &[&str], code: i32| {
        let run = words.iter().fold(scenario.cdcconsumer(), |program, word| program.arg(word)).start();
        assert_eq!(run.exit_code(180).await, code, "{words:?}\n{}\n{}", run.out(), run.log());
        run
    };
    let refused = ended(&["verify", "--repair"], 64).await;
    assert!(refused.log().contains("signal_data_collection"), "{}", refused.log());
    rows_without_a_snapshot(&scenario, 300).await;
    let alone = ended(&["verify", "--repair"], 1).await;
    assert!(alone.log().contains("run cdcconsumer"), "{}", alone.log());

    let run = scenario.cdcconsumer().start();
    for route in ["users", "orders"] {
        ended(&["backfill", route, "--wait"], 0).await;
    }
    let equal = ended(&["verify", "--repair", "--within", "60s"], 0).await;
    assert!(!equal.out().contains("asked for a snapshot"), "nothing is to be mended: {}", equal.out());

    let id = &scenario.id;
    let keys = scenario.postgres_query("SELECT id, user_id FROM orders ORDER BY quantity LIMIT 80").await;
    for (at, row) in keys.iter().enumerate() {
        let (order, user) = (row["id"].as_deref().unwrap(), row["user_id"].as_deref().unwrap());
        match at {
            // More than a signal asks for.
            0..70 => scenario.cql(&format!("DELETE FROM {id}.orders WHERE order_id = {order}")).await,
            70..75 => {
                scenario.cql(&format!("UPDATE {id}.orders SET quantity = -1 WHERE order_id = {order}")).await;
                scenario.cql(&format!("UPDATE {id}.orders SET status = null WHERE order_id = {order}")).await;
            }
            _ => {
                let place = format!("user_id = {user} AND order_id = {order}");
                scenario.cql(&format!("DELETE FROM {id}.orders_by_user WHERE {place}")).await;
                let elsewhere = "00000000-0000-4000-8000-00000000000a";
                let columns = "(user_id, order_id, quantity)";
                scenario
                    .cql(&format!("INSERT INTO {id}.orders_by_user {columns} VALUES ({elsewhere}, {order}, 1)"))
                    .await;
            }
        }
    }
    for extra in ["00000000-0000-4000-8000-0000000000e1", "00000000-0000-4000-8000-0000000000e2"] {
        scenario.cql(&format!("INSERT INTO {id}.users (id, name) VALUES ({extra}, 'Nobody')")).await;
    }
    let found = ended(&["verify"], 1).await;
    let counts = |table: &str| {
        let line = found.out().lines().find(|line| line.starts_with(&format!("{table} "))).unwrap().to_string();
        line.split_whitespace().skip(3).take(3).map(|count| count.parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!([counts("users"), counts("orders"), counts("orders_by_user")], [[0, 0, 2], [5, 70, 0], [0, 5, 5]]);

    let mended = ended(&["verify", "--repair"], 0).await;
    let count = |word: &str| mended.out().matches(word).count();
    assert_eq!((count("asked for a snapshot of public.orders"), count("swept\t")), (3, 7), "{}", mended.out());
    ended(&["verify"], 0).await;
    run.signal("TERM");
    assert_eq!(run.exit_code(25).await, 0);
    scenario.assert_cassandra_equals_postgres().await;
    scenario.assert_no_dead_letters();
}
