//! Secrets and what comes from files, in every place where they could be told.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ops::config::load::parse;
use crate::ops::config::{Config, ConfigError};

const FILE: &str = r#"
[kafka]
bootstrap_servers = "127.0.0.1:9092"
[kafka.properties]
security.protocol = "sasl_ssl"
sasl.mechanism = "SCRAM-SHA-512"
"sasl.username" = "me"
"sasl.password" = "canary-1"
socket.keepalive.enable = true
socket.timeout.ms = 9000
[sink.postgres]
url = "postgres://me@127.0.0.1/db"
password = "canary-2:/@ü"
[sink.cassandra]
nodes = ["127.0.0.1:9042"]
keyspace = "k"
user = "me"
password = "canary-3"
"#;

fn with(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    parse("rowferry.toml", text, environment, &sets)
}

fn told(text: &str) -> String {
    with(text, &[], &[]).expect_err("it is wrong").0.join("\n")
}

/// A file for one test, removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Temporary {
        let path = std::env::temp_dir().join(format!("rowferry-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("it can be written");
        Temporary(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("it is UTF-8")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_configuration_prints_no_secret() {
    let config = with(FILE, &[], &[]).expect("it is right");
    let shown = serde_json::to_string(&config).expect("it has nothing that JSON has not");
    for printed in [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.kafka.access()), shown] {
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[test]
fn properties_are_librdkafkas_own_however_they_are_written() {
    let config = with(FILE, &[], &[]).expect("it is right");
    let properties = config.kafka.access().properties;
    let expected = [
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.password", "canary-1"),
        ("sasl.username", "me"),
        ("security.protocol", "sasl_ssl"),
        ("socket.keepalive.enable", "true"),
        ("socket.timeout.ms", "9000"),
    ];
    assert!(properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{config:?}");
    let twice = FILE.replace("\"sasl.username\"", "sasl.password = \"canary\"\n\"sasl.username\"");
    insta::assert_snapshot!(told(&twice), @"rowferry.toml line 4: sasl.password is given twice, in quotes and without: give it once");
}

#[test]
fn the_password_goes_into_the_url() {
    let config = with(FILE, &[], &[]).expect("it is right");
    let url = config.sink.postgres.as_ref().map(|postgres| postgres.url.reveal());
    assert_eq!(url, Some("postgres://me:canary%2D2%3A%2F%40%C3%BC@127.0.0.1/db"));
    insta::assert_snapshot!(told(&FILE.replace("me@", "me:canary@")), @"sink.postgres.url has a password already: give it there or as `password`, once");
    insta::assert_snapshot!(told(&FILE.replace("me@", "")), @"sink.postgres.password needs a url of the form postgres://user@host:port/database");
    insta::assert_snapshot!(told(&FILE.replace("url = \"postgres://me@127.0.0.1/db\"", "")), @"sink.postgres: give `url`, or `url_file` with the path of a file that holds it");
}

#[test]
fn a_secret_of_another_type_is_not_repeated() {
    for wrong in
        ["4711", "47.11", "true", "1990-04-11", "[\"canary\"]", "{ name = \"canary\" }", "-9223372036854775808"]
    {
        for key in ["canary-1", "canary-2:/@ü", "canary-3"] {
            let error = with(&FILE.replace(&format!("\"{key}\""), wrong), &[], &[]);
            // librdkafka takes numbers, as every value is text to it.
            if let Err(error) = error {
                let error = error.to_string();
                assert!(!["47", "canary", "9223", "04-11"].iter().any(|it| error.contains(it)), "{error}");
            } else {
                assert_eq!(key, "canary-1", "{wrong}");
            }
        }
    }
    insta::assert_snapshot!(told(&FILE.replace("\"canary-3\"", "4711")), @"rowferry.toml line 18: a secret is a string: put it in quotes");
}

#[test]
fn secrets_come_from_files_without_their_last_line_break() {
    for (text, secret) in [("canary\n", "canary"), ("canary\r\n", "canary"), ("canary\n\n", "canary\n"), (" c", " c")] {
        let file = Temporary::new("secret", text);
        let from = FILE
            .replace("password = \"canary-3\"", &format!("password_file = {:?}", file.path()))
            .replace("\"sasl.password\" = \"canary-1\"", "")
            .replace(
                "[sink.postgres]",
                &format!("[kafka.properties_from_files]\nsasl.password = {:?}\n[sink.postgres]", file.path()),
            );
        let config = with(&from, &[], &[]).expect("it is right");
        let cassandra = config.sink.cassandra.as_ref().and_then(|cassandra| cassandra.password.as_ref());
        assert_eq!(cassandra.map(|secret| secret.reveal()), Some(secret));
        assert_eq!(config.kafka.access().properties["sasl.password"], secret);
        assert!(!format!("{config:?}").contains("canary"));
    }
    let url = Temporary::new("url", "postgres://me@h:1/db\n");
    let from = FILE.replace("url = \"postgres://me@127.0.0.1/db\"", &format!("url_file = {:?}", url.path()));
    let config = with(&from, &[], &[]).expect("it is right");
    let url = config.sink.postgres.map(|postgres| postgres.url.reveal().to_string());
    assert_eq!(url.as_deref(), Some("postgres://me:canary%2D2%3A%2F%40%C3%BC@h:1/db"));
}

#[test]
fn a_file_that_holds_no_secret_is_told_with_its_setting() {
    let empty = Temporary::new("empty", "\n");
    let with_file = |file: &str| told(&FILE.replace("password = \"canary-3\"", &format!("password_file = {file:?}")));
    assert!(with_file(empty.path()).ends_with("the file is empty: write the secret into it"));
    insta::assert_snapshot!(with_file("/nowhere"), @r#"sink.cassandra.password_file = "/nowhere": No such file or directory (os error 2): correct the path, or who may read it"#);
    assert!(with_file(Path::new("/").to_str().expect("it is")).contains("correct the path"));
    insta::assert_snapshot!(told(&FILE.replace("user = ", "password_file = \"/etc/hostname\"\nuser = ")), @"sink.cassandra: give one of password and password_file");
    insta::assert_snapshot!(told(&FILE.replace("[sink.postgres]", "[kafka.properties_from_files]\nsasl.password = \"/etc/hostname\"\n[sink.postgres]")), @"kafka.properties_from_files, sasl.password: it is in [kafka.properties] too: give it once");
}

#[test]
fn the_environment_wins_over_a_secret_and_over_its_file() {
    let file = Temporary::new("environment", "from-a-file\n");
    let in_files = FILE
        .replace("password = \"canary-3\"", "password_file = \"/nowhere\"")
        .replace("\"sasl.password\" = \"canary-1\"", "")
        .replace("[sink.postgres]", "[kafka.properties_from_files]\nsasl.password = \"/nowhere\"\n[sink.postgres]");
    let secrets = |text: &str, environment: &[(&str, &str)], sets: &[&str]| {
        let config = with(text, environment, sets).unwrap_or_else(|error| panic!("{error}"));
        let cassandra = config.sink.cassandra.as_ref().and_then(|cassandra| cassandra.password.clone());
        [config.kafka.access().properties["sasl.password"].clone(), cassandra.expect("it has one").reveal().into()]
    };
    let plain = [("ROWFERRY_KAFKA_PROPERTIES_SASL_PASSWORD", "a"), ("ROWFERRY_SINK_CASSANDRA_PASSWORD", "b")];
    assert_eq!(secrets(FILE, &plain, &[]), ["a", "b"]);
    assert_eq!(secrets(&in_files, &plain, &[]), ["a", "b"]);
    let files = [
        ("ROWFERRY_KAFKA_PROPERTIES_FROM_FILES_SASL_PASSWORD", file.path()),
        ("ROWFERRY_SINK_CASSANDRA_PASSWORD_FILE", file.path()),
    ];
    assert_eq!(secrets(FILE, &files, &[]), ["from-a-file", "from-a-file"]);
    assert_eq!(secrets(&in_files, &files, &[]), ["from-a-file", "from-a-file"]);
    let sets = ["kafka.properties.sasl.password=c=d", "sink.cassandra.password=e"];
    assert_eq!(secrets(&in_files, &files, &sets), ["c=d", "e"]);
}

#[test]
fn properties_that_cannot_be_are_told_before_a_client_is_made() {
    let told = |line: &str| told(&FILE.replace("socket.timeout.ms = 9000", line));
    insta::assert_snapshot!(told("enable.auto.commit = true\nacks = 1"), @"
    kafka.properties, enable.auto.commit: Rowferry sets it itself (only what is durable is committed): remove it
    kafka.properties, acks: Rowferry sets it itself (a record counts as sent when all replicas have it): remove it
    ");
    insta::assert_snapshot!(told("sasl.passwort = \"canary\""), @"kafka.properties, sasl.passwort: librdkafka has no such property: correct its name, as librdkafka's CONFIGURATION.md has it, or remove it");
    insta::assert_snapshot!(told("socket.timeout.ms = \"soon\""), @r#"kafka.properties, socket.timeout.ms: librdkafka refuses it (Invalid value for configuration property "socket.timeout.ms"): correct it"#);
    insta::assert_snapshot!(told("ssl.ca.location = \"/nowhere\""), @r#"kafka.properties, ssl.ca.location = "/nowhere": No such file or directory (os error 2): correct the path, or who may read it"#);
    insta::assert_snapshot!(told("linger.ms = [1]"), @"rowferry.toml line 4: linger.ms: give a string, a number, true or false");
    let error = told("\"ssl.key.pem\" = \"canary\"");
    assert!(error.contains("kafka.properties") && !error.contains("canary"), "{error}");
    let error = told("socket.timeout.ms = \"\\u0000canary\"");
    assert!(error.contains("NUL") && !error.contains("canary"), "{error}");
}

#[test]
fn what_is_turned_off_is_warned_of() {
    assert_eq!(with(FILE, &[], &[]).expect("it is right").warnings(), Vec::<String>::new());
    let off = FILE
        .replace("sasl_ssl", "SASL_PLAINTEXT")
        .replace("socket.timeout.ms = 9000", "enable.ssl.certificate.verification = false")
        .replace("127.0.0.1/db", "db.example.org/db?sslmode=require")
        + "[sink.cassandra.tls]\ninsecure_skip_verify = true\n";
    let warnings = with(&off, &[], &[]).expect("it is right").warnings().join("\n");
    insta::assert_snapshot!(warnings, @"
    kafka.properties, enable.ssl.certificate.verification is false: anyone may pose as a broker
    kafka.properties, security.protocol is SASL_PLAINTEXT: the login and all records can be read on the way; use SASL_SSL
    sink.postgres.url: sslmode=require: anyone may pose as the server; use sslmode=verify-full
    sink.cassandra.tls.insecure_skip_verify = true: anyone may pose as a node
    ");
}
