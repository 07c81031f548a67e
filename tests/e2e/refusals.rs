//! Configurations that are refused: exit code 64 before anything is touched, a message with the setting and the mend,
//! and no secret anywhere.

use crate::process::Program;
use crate::stack::Scenario;

const SECRET: &str = "hunter2-canary";

/// One configuration, and what has to be said about it.
struct Case {
    what: &'static str,
    change: fn(&Scenario, &str) -> String,
    /// For which of the two.
    programs: &'static [&'static str],
    told: &'static [&'static str],
}

const CASES: [Case; 12] = [
    Case {
        what: "a wrong password for Postgres",
        change: |_, config| config.replace("rowferry:rowferry@", &format!("rowferry:{SECRET}@")),
        programs: &["consumer"],
        told: &["sink.postgres.url", "correct user and password"],
    },
    Case {
        what: "a database that is not there",
        change: |scenario, config| {
            config
                .replace(
                    &format!("rowferry:rowferry@127.0.0.1:5432/{}", scenario.id),
                    &format!("rowferry:{SECRET}@127.0.0.1:5432/nowhere"),
                )
                .replace(SECRET, "rowferry")
        },
        programs: &["consumer"],
        told: &["sink.postgres.url", "nowhere", "create the database"],
    },
    Case {
        what: "a keyspace that is not there",
        change: |scenario, config| config.replace(&format!("keyspace = \"{}\"", scenario.id), "keyspace = \"nowhere\""),
        programs: &["cdcconsumer"],
        told: &["sink.cassandra", "`keyspace`", "nowhere", "create it"],
    },
    Case {
        what: "a route to a table that is not there",
        change: |_, config| config.replace("table = \"orders\"", "table = \"nowhere\""),
        programs: &["consumer", "cdcconsumer"],
        told: &["nowhere", "table", "create it"],
    },
    Case {
        what: "a column in `columns` that is not there",
        change: |_, config| config.replace("{ order_id = \"id\" }", "{ order_id = \"id\", colour = \"color\" }"),
        programs: &["cdcconsumer"],
        told: &["colour", "columns", "add it"],
    },
    Case {
        what: "a column in `columns` that is not there",
        change: |_, config| config.replace("{ id = \"user_id\" }", "{ id = \"user_id\", colour = \"color\" }"),
        programs: &["consumer"],
        told: &["colour", "columns", "add it"],
    },
    Case {
        what: "a target key without the source's key",
        change: |_, config| config.replace("columns = { order_id = \"id\" }", ""),
        programs: &["cdcconsumer"],
        told: &["primary key", "\"id\"", "columns"],
    },
    Case {
        what: "a soft-delete column that is not there",
        change: |_, config| config.replace("soft_delete = \"is_deleted\"", "soft_delete = \"is_gone\""),
        programs: &["consumer"],
        told: &["is_gone", "soft_delete"],
    },
    Case {
        what: "a dead-letter topic that is not there",
        change: |scenario, config| config.replace(&scenario.dead_letter_topic(), &scenario.topic("nowhere")),
        programs: &["consumer", "cdcconsumer"],
        told: &["kafka.dead_letter_topic", "nowhere", "create it"],
    },
    Case {
        what: "a file that is no TOML",
        change: |_, config| {
            config.replace("postgres://rowferry:rowferry@", &format!("\"postgres://rowferry:{SECRET}@"))
        },
        programs: &["consumer", "cdcconsumer"],
        told: &["rowferry.toml line "],
    },
    Case {
        what: "a misspelt setting",
        change: |_, config| config.replace("bootstrap_servers", "bootstrap_server"),
        programs: &["consumer", "cdcconsumer"],
        told: &["rowferry.toml line ", "bootstrap_server", "did you mean `bootstrap_servers`?"],
    },
    Case {
        what: "no routes",
        change: |_, config| {
            let end = config.find("[[consumer.routes]]").unwrap();
            format!("{}routes = []\n[cdcconsumer]\ngroup_id = \"g\"\nroutes = []\n", &config[..end])
        },
        programs: &["consumer", "cdcconsumer"],
        told: &["routes", "add a"],
    },
];

/// 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_its_mend_before_anything_is_touched() {
    let scenario = Scenario::new("refused").await;
    let right = std::fs::read_to_string(scenario.config()).unwrap();
    let [users, orders] = ["users", "orders"].map(|topic| scenario.topic(topic));
    let mut wrong = Vec::new();
    for case in &CASES {
        let changed = (case.change)(&scenario, &right);
        assert_ne!(changed, right, "{}: nothing was changed", case.what);
        std::fs::write(scenario.config(), changed).unwrap();
        for name in case.programs {
            let program: Program<'_> = if *name == "consumer" { scenario.consumer() } else { scenario.cdcconsumer() };
            let run = program.start();
            let code = run.exit_code(30).await;
            let told = format!("{}{}", run.log(), run.out());
            let missing: Vec<&&str> = case.told.iter().filter(|part| !told.contains(**part)).collect();
            if code != 64 || !missing.is_empty() || told.contains(SECRET) {
                wrong.push(format!("{name}, {}: exit {code}, not told: {missing:?}, in:\n{told}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    std::fs::write(scenario.config(), &right).unwrap();
    scenario.sql("ALTER TABLE orders REPLICA IDENTITY DEFAULT").await;
    let run = scenario.cdcconsumer().start();
    assert_eq!(run.exit_code(30).await, 64, "a route whose rows move, from a table that does not send old rows");
    assert!(run.log().contains("ALTER TABLE public.orders REPLICA IDENTITY FULL"), "{}", run.log());

    for variable in [("ROWFERRY_SINK_POSTGRES_URI", SECRET), ("ROWFERRY_LIMITS_BATCH_RECORDS_MAX", "many")] {
        std::fs::write(scenario.config(), &right).unwrap();
        let run = scenario.consumer().env(variable.0, variable.1).start();
        assert_eq!(run.exit_code(30).await, 64, "{variable:?}");
        let told = run.log();
        let setting = if variable.1 == SECRET { variable.0 } else { "limits.batch_records_max" };
        assert!(told.contains(setting) && !told.contains(SECRET), "{told}");
    }
    let run = scenario.consumer().arg("--no-such-flag").start();
    assert_eq!(run.exit_code(30).await, 2, "usage is another matter");
    let run = scenario.program("elsewhere", env!("CARGO_BIN_EXE_consumer")).arg("--config").arg("nowhere.toml").start();
    assert_eq!(run.exit_code(30).await, 64);
    assert!(run.log().contains("nowhere.toml") && run.log().contains("--config FILE"), "{}", run.log());

    let committed = scenario.committed(&scenario.postgres_group(), &[&users, &orders]);
    assert!(committed.is_empty(), "{committed:?}");
    let [users, orders] = scenario.change_topics();
    let committed = scenario.committed(&scenario.cassandra_group(), &[&users, &orders]);
    assert!(committed.is_empty(), "{committed:?}");
    assert_eq!(scenario.postgres_rows("rowferry_progress").await, Vec::<crate::rows::Row>::new());
}
