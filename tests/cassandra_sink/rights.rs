//! Whether a table may be read and written is found out without writing to it.

use rowferry::sink::cassandra::describe::TableFacts;

use crate::live::Live;

#[tokio::test]
async fn a_table_is_described_and_left_alone() {
    let tables = [
        "single (id text PRIMARY KEY, v text) WITH gc_grace_seconds = 3600 AND default_time_to_live = 60",
        "\"CompoundKey\" (a int, b blob, c frozen<list<int>>, d decimal, PRIMARY KEY ((a, b), c))",
    ];
    // The names that routes know are without quotes.
    let live = Live::new(&tables[..1]).await;
    crate::live::ddl(&live.cluster, &format!("CREATE TABLE {}.{}", live.keyspace, tables[1])).await;
    live.cluster.tables(&["single"]).await.unwrap();
    let facts = live.cluster.table_facts(&["single", "CompoundKey", "nowhere"]).await.unwrap();
    let (may_read, may_write) = (Some(true), Some(true));
    let single = TableFacts { gc_grace_seconds: Some(3600), ttl_seconds: Some(60), may_read, may_write };
    let compound = TableFacts { gc_grace_seconds: Some(864_000), ttl_seconds: Some(0), may_read, may_write };
    assert_eq!(
        facts.into_iter().collect::<Vec<_>>(),
        [("CompoundKey".to_string(), compound), ("single".to_string(), single)]
    );
    assert_eq!(live.select("id", "single").await, Vec::<Vec<_>>::new());
    assert_eq!(live.select("a", "\"CompoundKey\"").await, Vec::<Vec<_>>::new());
    live.drop().await;
}
