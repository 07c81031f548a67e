//! A Kafka Connect worker of a scenario's own, which may be killed: the stack's is shared.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::process::Started;
use crate::stack::{REPOSITORY, Scenario, run, until};

/// The stack's own way to a JDK. It becomes the worker, so that its process id is the worker's.
const LAUNCH: &str = r#". stack/lib/common.sh; . "$STACK/lib/needs.sh"; find_jdk17 || die "no JDK 17: make up"
cd "$1" && exec "$JAVA_HOME/bin/java" $JVM_COMPILER -XX:+UseSerialGC -Xms128m -Xmx512m -cp "$LIBS/kafka/*" \
  org.apache.kafka.connect.cli.ConnectDistributed connect.properties"#;

/// Topics that a worker keeps its state in. It makes them itself.
const STATE_TOPICS: [&str; 3] = ["connect.configs", "connect.offsets", "connect.status"];

/// A worker's place: its port, and all that it needs to come back after a kill.
pub struct Connect<'s> {
    scenario: &'s Scenario,
    port: u16,
}

impl<'s> Connect<'s> {
    /// The stack's settings with names of this scenario, and with these in their place.
    pub fn new(scenario: &'s Scenario, settings: &[(&str, &str)]) -> Connect<'s> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let shipped = fs::read_to_string(Path::new(REPOSITORY).join("stack/conf/connect.properties")).unwrap();
        let plugins = format!("plugin.path={REPOSITORY}/.stack/lib/debezium");
        let mut text = shipped
            .replace("rowferry-connect.", &format!("{}.connect.", scenario.id))
            .replace("rowferry-connect", &format!("{}-connect", scenario.id))
            .replace("127.0.0.1:8083", &format!("127.0.0.1:{port}"))
            .replace("plugin.path=../lib/debezium", &plugins);
        assert!(
            text.contains(&plugins) && text.contains(&format!(":{port}")),
            "connect.properties has changed: {text}"
        );
        for (name, value) in settings {
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(&format!("{name}="))).collect();
            text = format!("{}\n{name}={value}\n", lines.join("\n"));
        }
        fs::write(scenario.dir.join("connect.properties"), text).unwrap();
        scenario.made.lock().unwrap().extend(STATE_TOPICS.map(|topic| scenario.topic(topic)));
        Connect { scenario, port }
    }

    /// Starts the worker and waits until it answers. Its connectors come back by themselves.
    pub async fn start(&self) -> Arc<Started> {
        let mut launch = self.scenario.program("connect", "bash").arg("-c").arg(LAUNCH).arg("connect");
        launch = launch.arg(&self.scenario.dir);
        let started = launch.in_repository().start();
        until("the worker answers", 120, async || {
            assert!(started.is_running(), "the worker has ended");
            let mut ask = Command::new("curl");
            ask.args(["-sf", "-m", "3", "-o", "/dev/null", &format!("http://127.0.0.1:{}/connectors", self.port)]);
            run(ask).await.status.success()
        })
        .await;
        started
    }

    /// Starts a connector on the scenario's database, as [`Scenario::start_debezium_on`] does on the shared worker. It
    /// ends with its worker.
    pub async fn start_debezium_on(&self, tables: &str) {
        let id = &self.scenario.id;
        let mut command = Command::new("sh");
        command.arg(Path::new(REPOSITORY).join("debezium-config.sh"));
        for (name, value) in [("CONNECTOR", id), ("TOPIC_PREFIX", id), ("SLOT", id), ("PG_DATABASE", id)] {
            command.env(format!("DEBEZIUM_{name}"), value);
        }
        command.env("DEBEZIUM_TABLES", tables).env("DEBEZIUM_CONNECT_URL", format!("http://127.0.0.1:{}", self.port));
        let output = run(command).await;
        assert!(output.status.success(), "no connector: {}", String::from_utf8_lossy(&output.stderr));
    }
}
