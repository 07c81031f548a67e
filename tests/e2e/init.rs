//! `cdcconsumer init`: what it writes is what a run takes, and what it cannot know it asks for or refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::check::{KEPT_A_WEEK, assert_told};
use crate::ddl::run_cql;
use crate::stack::{BROKERS, Scenario};

const NODES: &str = "127.0.0.1:9042,127.0.0.2:9042,127.0.0.3:9042";

/// Exit code, and everything it said. The files are `new.toml` and `new.cql`.
async fn init(scenario: &Scenario, flags: &[&str]) -> (i32, String) {
    let program = scenario.program("init", env!("CARGO_BIN_EXE_cdcconsumer"));
    let program = program.arg("init").arg("--config").arg("new.toml").arg("--cql").arg("new.cql");
    let run = flags.iter().fold(program, |program, flag| program.arg(flag)).start();
    let code = run.exit_code(90).await;
    (code, format!("{}{}", run.out(), run.log()))
}

/// 45 s. From servers that have everything but our tables to tables that are equal.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_configuration_is_written_and_runs() {
    let scenario = Scenario::new("init").await;
    scenario
        .sql(
            "CREATE TABLE events (no int, region text, at timestamptz(3), n numeric(9,3), PRIMARY KEY (no, region));
             ALTER PUBLICATION cdc_pub ADD TABLE events; GRANT SELECT ON events TO debezium;
             INSERT INTO events SELECT n, 'r' || n % 3, now(), n / 8.0 FROM generate_series(1, 50) n",
        )
        .await;
    let topic = scenario.topic("public.events");
    scenario.make_topic(&topic, 2, &KEPT_A_WEEK).await;
    scenario.start_debezium_on("public.events", "").await;
    let (url, keyspace) = (format!("postgres://debezium@127.0.0.1:5432/{}", scenario.id), format!("{}_b", scenario.id));
    let (group, letters) = (format!("{}-b", scenario.id), scenario.dead_letter_topic());
    fs::write(scenario.dir.join("password"), "debezium\n").unwrap();
    let servers = ["--brokers", BROKERS, "--source-url", &url, "--source-password-file", "password", "--nodes", NODES];
    let names = ["--keyspace", &keyspace, "--group-id", &group, "--dead-letter-topic", &letters];
    let modes = ["--debezium", "decimal_handling_mode=string", "--debezium", "replace_null_with_default=false"];
    let all = [&servers[..], &names, &modes].concat();

    // Of all topics of the cluster only this one is this database's for sure.
    let (code, told) = init(&scenario, &[&all[..], &["--topic", &topic]].concat()).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("written: new.toml") && told.contains("there is no keyspace"), "{told}");
    let (file, cql) = (scenario.dir.join("new.toml"), fs::read_to_string(scenario.dir.join("new.cql")).unwrap());
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("debezium:debezium") && text.contains("password_file = \"password\""), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let created = format!("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
    assert!(scenario.cassandra_query(&created).await.is_empty(), "it creates nothing");

    let (code, told) = init(&scenario, &[&all[..], &["--topic", &topic]].concat()).await;
    assert!(code == 64 && told.contains("new.toml and new.cql is there already"), "exit {code}: {told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "it was left alone");
    let (code, _) = init(&scenario, &[&all[..], &["--topic", &topic, "--force"]].concat()).await;
    assert_eq!((code, fs::read_to_string(&file).unwrap()), (0, text.clone()));

    run_cql(&scenario, &cql).await;
    fs::write(scenario.config(), format!("{text}\n[log]\nformat = \"text\"\n")).unwrap();
    assert_told("what init wrote", &scenario, 0, &["1 routes: 0 problems, 0 warnings"]).await;
    scenario.cdcconsumer_to_the_end().await;
    let verify = scenario.cdcconsumer().arg("verify").arg("--within").arg("1m").start();
    assert_eq!(verify.exit_code(90).await, 0, "{}{}", verify.out(), verify.log());
    assert!(verify.out().contains("public.events"), "{}", verify.out());
    scenario.assert_no_dead_letters();
}

/// 15 s. There is no terminal here, so that nothing can be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_said_and_nothing_is_written() {
    let scenario = Scenario::new("init_refused").await;
    let url = format!("postgres://debezium:debezium@127.0.0.1:5432/{}", scenario.id);
    let servers = ["--brokers", BROKERS, "--nodes", NODES, "--keyspace", &scenario.id];
    let all = [&servers[..], &["--source-url", &url]].concat();
    for (flags, code, parts) in [
        (&servers[..], 64, &["give --source-url: there is no terminal to ask on"][..]),
        (&[], 64, &["give --brokers, --source-url, --nodes, --keyspace"]),
        (&[&all[..], &["--topic", "people"]].concat(), 64, &["--topic people=public.users"]),
        (&[&all[..], &["--topic", "people=public.nobody"]].concat(), 64, &["no table \"public.nobody\""]),
        (&[&all[..], &["--debezium", "decimal_handling_mode=exact"]].concat(), 64, &["unknown variant `exact`"]),
        (&[&all[..], &["--debezium", "decimal.handling.mode=string"]].concat(), 2, &["is no key of [source.debezium]"]),
        (
            &[&servers[..], &["--source-url", "postgres://nobody:secret@127.0.0.1:5432/x"]].concat(),
            64,
            &["--source-url"],
        ),
    ] {
        let (found, told) = init(&scenario, flags).await;
        assert_eq!(found, code, "{flags:?}: {told}");
        parts.iter().for_each(|part| assert!(told.contains(part), "{flags:?}: {told}"));
        assert!(!told.contains("secret"), "{told}");
        assert!(!scenario.dir.join("new.toml").exists() && !scenario.dir.join("new.cql").exists(), "{flags:?}");
    }
}
