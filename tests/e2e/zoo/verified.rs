//! The zoo by `cdcconsumer verify`: it must find equal what the test's own queries found equal.

use super::Setting;
use super::setting::KnownBy;
use crate::stack::Scenario;

/// The rows of which Debezium itself loses something, which no record shows: the BC of a date in a snapshot, and in
/// what it streams every `name`.
const LOST_BY_DEBEZIUM: [(&str, &str); 2] = [("zoo id=12: different", "nm"), ("zoo id=3: different", "d ")];

/// Every other row and column is equal, and a cell that is changed by hand is not.
pub async fn verify(scenario: &Scenario, setting: &Setting) {
    if setting.known_by != KnownBy::Catalog {
        let key = "source_key = [\"id\"]\n";
        scenario.edit_config(|text| text.replace(key, &format!("{key}source_table = \"public.zoo\"\n")));
    }
    // What the catalog says of large values does not matter to rows that are all there.
    scenario.sql("ALTER TABLE zoo REPLICA IDENTITY FULL").await;
    let url = format!("source.postgres.url=postgres://debezium:debezium@127.0.0.1:5432/{}", scenario.id);
    let verify = async || {
        let verify = scenario.cdcconsumer().arg("verify").set(&url).start();
        assert_eq!(verify.exit_code(60).await, 1, "{}{}", verify.out(), verify.log());
        verify.out()
    };
    let told = verify().await;
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("zoo id=")).collect();
    let cells: Vec<&str> = told.lines().filter(|line| line.starts_with("  * ")).collect();
    assert_eq!(rows.len(), LOST_BY_DEBEZIUM.len(), "{told}");
    assert_eq!(cells.len(), LOST_BY_DEBEZIUM.len(), "{told}");
    for (row, column) in LOST_BY_DEBEZIUM {
        assert!(rows.contains(&row), "{row}: {told}");
        assert!(cells.iter().any(|cell| cell[4..].starts_with(column)), "{row}, {column}: {told}");
    }

    let changed = [
        ("f8", "1.5"),
        ("t", "'T'"),
        ("by", "0xdeadbeee"),
        ("ts", "'2024-02-29 23:59:59.122Z'"),
        ("tm3", "'23:59:59.122'"),
        ("bt8", "'00101011'"),
        ("ip", "'192.168.0.1'"),
        ("ai2", "[3, 1]"),
        ("ai2_set", "{3, 1, 4}"),
        ("h2_open", "{'a': '1', 'b': 'two words', 'c': ''}"),
        ("pt", "(1.5, 2.5)"),
        ("aj", "['{\"x\":1}']"),
        ("iv", if setting.name == "texts" { "1y2mo3d4h5m6s" } else { "1" }),
    ];
    for (column, value) in changed {
        scenario.cql(&format!("UPDATE {}.zoo SET \"{column}\" = {value} WHERE id = 2", scenario.id)).await;
    }
    let told = verify().await;
    let cells: Vec<&str> = told.lines().filter(|line| line.starts_with("  * ")).collect();
    for (column, _) in changed {
        let is_told = |cell: &&str| cell[4..].split(' ').next() == Some(column);
        assert!(cells.iter().any(is_told), "{column}: {told}");
    }
    assert_eq!(cells.len(), LOST_BY_DEBEZIUM.len() + changed.len(), "{told}");
}
