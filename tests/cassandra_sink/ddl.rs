//! The server takes every type that `ddl` writes, and describes it as the kind that `ddl` takes it for.

use std::collections::BTreeMap;

use rowferry::row::wire::{Modes, Wire};
use rowferry::sink::cassandra::ddl::{self, Draft, DraftColumn, Grain, cql_type};

use crate::live::Live;

const TYPES: [&str; 26] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric(10,2)",
    "numeric",
    "text",
    "inet",
    "uuid",
    "bytea",
    "bit(8)",
    "date",
    "time",
    "timetz",
    "timestamp(3)",
    "timestamptz",
    "interval",
    "hstore",
    "point",
    "vector(3)",
    "halfvec",
    "sparsevec(4)",
    "integer[]",
    "timestamptz[]",
];

#[tokio::test]
async fn every_type_is_taken_in_keys_and_beside_them() {
    let live = Live::new(&["single (id int PRIMARY KEY)"]).await;
    let modes = Modes::default();
    let column = |name: String, source_type: &str| DraftColumn {
        name,
        source_type: source_type.into(),
        wire: Wire::of_postgres(source_type, &modes).unwrap(),
    };
    let mut expected: BTreeMap<(String, String), _> = BTreeMap::new();
    for grain in [Grain::Exact, Grain::Milliseconds] {
        for (in_key, key) in [(true, "k"), (false, "v")] {
            let name = format!("t_{key}_{}", u8::from(grain == Grain::Exact));
            let columns: Vec<DraftColumn> =
                TYPES.iter().map(|source_type| column(format!("a {source_type}"), source_type)).collect();
            for (source_type, column) in TYPES.iter().zip(&columns) {
                let kind = cql_type(&column.wire, source_type, in_key, grain).kind;
                expected.insert((name.clone(), column.name.clone()), kind);
            }
            let source_key = match in_key {
                true => columns.iter().map(|column| column.name.clone()).collect(),
                false => vec!["id".to_string()],
            };
            let mut columns = columns;
            if !in_key {
                columns.push(column("id".into(), "integer"));
            }
            let draft = Draft {
                source: "s.t".into(),
                name: name.clone(),
                columns,
                source_key,
                key: None,
                guard: None,
                left_out: vec![],
            };
            let cql = ddl::table(&live.keyspace, &draft, grain).unwrap();
            crate::live::ddl(&live.cluster, &cql).await;
        }
    }
    let names = ["t_k_0", "t_k_1", "t_v_0", "t_v_1"];
    let tables = live.cluster.tables(&names).await.unwrap();
    assert_eq!(tables.problems, Vec::<String>::new());
    let found: BTreeMap<(String, String), _> = tables
        .found
        .into_values()
        .flat_map(|table| table.columns.into_iter().map(move |column| ((table.name.clone(), column.name), column.kind)))
        .filter(|((_, column), _)| column != "id")
        .collect();
    assert_eq!(found, expected);
    live.drop().await;
}
