//! The three servers, started by servers.sh and stopped when the test ends, also after a panic.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::certificates::{Holds, Pair};

pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// In no log, message or panic. Each is awkward in its own way, and easy to find.
pub const KAFKA_PASSWORD: &str = "canary-kafka-7f3a";
pub const CASSANDRA_PASSWORD: &str = "canary '\"cassandra\" 91c2";
pub const POSTGRES_PASSWORD: &str = "canary@postgres:/%?#&=+5e8d";

pub struct Servers {
    /// What they write, and `tls` and `conf`.
    pub dir: PathBuf,
    pub ca: Pair,
}

impl Servers {
    /// Returns when all three answer. `None`, loudly, where the stack was never fetched.
    pub fn start() -> Option<Servers> {
        let libs = Path::new(REPOSITORY).join(".stack/lib");
        if !["kafka", "cassandra", "postgres"].iter().all(|name| libs.join(name).is_dir()) {
            // Past the test harness, which would keep it to itself.
            let text = format!("\nSKIPPED: tests/secure needs the servers in {}: make up\n", libs.display());
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("secure");
        let servers = Servers { dir, ca: Pair::ca("rowferry-test-ca") };
        // What a run that was killed has left.
        if servers.dir.exists() {
            servers.script("down");
            fs::remove_dir_all(&servers.dir).unwrap();
        }
        fs::create_dir_all(servers.tls()).unwrap();
        fs::create_dir_all(servers.dir.join("conf")).unwrap();
        servers.write_certificates();
        servers.write_configurations();
        let begun = Instant::now();
        servers.script("up");
        eprintln!("secure: servers up after {} s", begun.elapsed().as_secs());
        Some(servers)
    }

    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// Runs servers.sh, which has to succeed.
    pub fn script(&self, verb: &str) {
        let script = Path::new(REPOSITORY).join("tests/secure/servers.sh");
        let mut command = Command::new(script);
        let done = command.arg(&self.dir).arg(verb).stdin(Stdio::null()).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        // A panic while another is under way would hide it.
        if !done.status.success() && !std::thread::panicking() {
            panic!("servers.sh {verb}: {}", String::from_utf8_lossy(&said));
        }
    }

    fn write_certificates(&self) {
        let tls = self.tls();
        self.ca.write(&tls, "ca");
        let server = self.ca.sign("server", &["127.0.0.1", "127.0.0.4", "rowferry.test"], Holds::Now);
        server.write(&tls, "server");
        self.ca.sign("admin", &[], Holds::Now).write(&tls, "admin");
        self.ca.sign("rowferry", &[], Holds::Now).write(&tls, "client");
        let other = Pair::ca("another-ca");
        other.write(&tls, "other-ca");
        other.sign("rowferry", &[], Holds::Now).write(&tls, "stranger");
    }

    fn write_configurations(&self) {
        let tls = self.tls().display().to_string();
        let yaml = fs::read_to_string(Path::new(REPOSITORY).join("stack/conf/cassandra.yaml")).unwrap();
        let yaml = yaml
            .replace("@ADDRESS@", "127.0.0.4")
            .replace("@TOKENS@", "0")
            .replace("num_tokens: 16", "num_tokens: 1")
            .replace("cluster_name: rowferry", "cluster_name: rowferry-secure")
            .replace("\"127.0.0.1,127.0.0.2,127.0.0.3\"", "\"127.0.0.4\"")
            .replace("AllowAllAuthenticator", "PasswordAuthenticator")
            .replace("AllowAllAuthorizer", "CassandraAuthorizer");
        for (name, text) in [
            ("kafka.properties", KAFKA.replace("@TLS@", &tls)),
            ("kafka-password", KAFKA_PASSWORD.into()),
            ("cassandra.yaml", yaml + &CASSANDRA.replace("@TLS@", &tls)),
            ("admin.properties", KAFKA_ADMIN.replace("@TLS@", &tls)),
            ("postgres-password", "postgres".into()),
            ("postgresql.conf", POSTGRES.into()),
            ("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n".into()),
        ] {
            fs::write(self.dir.join("conf").join(name), text).unwrap();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.script("down");
        if !std::thread::panicking() {
            // What is left of a run that failed is there for a look.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// One that is there after a while.
pub async fn until<T, E: std::fmt::Display>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Ok(there) => return there,
            Err(error) => assert!(Instant::now() < deadline, "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const KAFKA: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19194
listeners=SCRAM://127.0.0.1:19193,MUTUAL://127.0.0.1:19195,CONTROLLER://127.0.0.1:19194
advertised.listeners=SCRAM://127.0.0.1:19193,MUTUAL://127.0.0.1:19195
listener.security.protocol.map=SCRAM:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=MUTUAL
log.dirs=data
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=@TLS@/server-all.pem
ssl.truststore.type=PEM
ssl.truststore.location=@TLS@/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:CN=admin;User:CN=server;User:ANONYMOUS
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
";

const KAFKA_ADMIN: &str = "\
security.protocol=SSL
ssl.truststore.type=PEM
ssl.truststore.location=@TLS@/ca.pem
ssl.keystore.type=PEM
ssl.keystore.location=@TLS@/admin-all.pem
";

const CASSANDRA: &str = "
role_manager: CassandraRoleManager
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: @TLS@/server-all.pem
  truststore: @TLS@/ca.pem
";

const POSTGRES: &str = "\
listen_addresses = '127.0.0.1'
port = 15432
unix_socket_directories = ''
ssl = on
ssl_cert_file = '../server.pem'
ssl_key_file = '../server.key'
ssl_ca_file = '../ca.pem'
password_encryption = 'scram-sha-256'
fsync = off
shared_buffers = '32MB'
dynamic_shared_memory_type = posix
timezone = 'UTC'
lc_messages = 'C.UTF-8'
";
