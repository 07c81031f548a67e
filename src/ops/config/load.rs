//! Reading the configuration: the file, the environment over it, flags over both.

use std::path::Path;

use toml::{Table, Value};

use crate::ops::config::nearest::{nearest, with_nearest};
use crate::ops::config::{Config, ConfigError, check, properties, secrets};

/// The file that is read when `--config` names none.
pub const FILE_DEFAULT: &str = "rowferry.toml";

/// Reads the file, `.env` and the environment, and the `--set` flags over them.
pub fn load_with_env(file: &Path, sets: &[String]) -> Result<Config, ConfigError> {
    load(file, environment()?, sets)
}

/// The same of a text that is no file yet; errors call it `name`.
pub fn parse_with_env(name: &str, text: &str, sets: &[String]) -> Result<Config, ConfigError> {
    parse(name, text, environment()?, sets)
}

/// Every variable, those of `.env` among them.
fn environment() -> Result<impl Iterator<Item = (String, String)>, ConfigError> {
    match dotenvy::dotenv() {
        Ok(_) => {}
        Err(error) if error.not_found() => {}
        Err(_) => return Err(refused(".env cannot be read: write one NAME=value a line".into())),
    }
    // A variable that is no UTF-8 cannot be one of ours.
    Ok(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))
}

/// Reads the file and what overrides it. `environment` is every variable, `sets` are `section.key=value` flags.
fn load(
    file: &Path,
    environment: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| refused(format!("{}: {error}; name the configuration with --config FILE", file.display())))?;
    parse(&file.display().to_string(), &text, environment, sets)
}

/// Settings that can be overridden: section, key, and whether the value is a string, a number or a list of strings.
pub(super) const OVERRIDES: [(&str, &str, Shape); 43] = [
    ("kafka", "bootstrap_servers", Shape::Text),
    ("kafka", "dead_letter_topic", Shape::Text),
    ("source.postgres", "url", Shape::Text),
    ("source.postgres", "url_file", Shape::Text),
    ("source.postgres", "password", Shape::Text),
    ("source.postgres", "password_file", Shape::Text),
    ("sink.postgres", "url", Shape::Text),
    ("sink.postgres", "url_file", Shape::Text),
    ("sink.postgres", "password", Shape::Text),
    ("sink.postgres", "password_file", Shape::Text),
    ("sink.cassandra", "nodes", Shape::List),
    ("sink.cassandra", "keyspace", Shape::Text),
    ("sink.cassandra", "user", Shape::Text),
    ("sink.cassandra", "password", Shape::Text),
    ("sink.cassandra", "password_file", Shape::Text),
    ("sink.cassandra.tls", "ca_file", Shape::Text),
    ("sink.cassandra.tls", "cert_file", Shape::Text),
    ("sink.cassandra.tls", "key_file", Shape::Text),
    ("sink.cassandra.tls", "server_name", Shape::Text),
    ("sink.cassandra.tls", "insecure_skip_verify", Shape::Flag),
    ("sink.cassandra", "in_flight_max", Shape::Number),
    ("consumer", "group_id", Shape::Text),
    ("consumer", "group_instance_id", Shape::Text),
    ("consumer", "rebalance_protocol", Shape::Text),
    ("cdcconsumer", "group_id", Shape::Text),
    ("cdcconsumer", "group_instance_id", Shape::Text),
    ("cdcconsumer", "rebalance_protocol", Shape::Text),
    ("cdcconsumer", "topics_interval_seconds", Shape::Number),
    ("consumer.admin", "address", Shape::Text),
    ("consumer.admin", "token", Shape::Text),
    ("consumer.admin", "token_file", Shape::Text),
    ("cdcconsumer.admin", "address", Shape::Text),
    ("cdcconsumer.admin", "token", Shape::Text),
    ("cdcconsumer.admin", "token_file", Shape::Text),
    ("limits", "batch_records_max", Shape::Number),
    ("limits", "batch_bytes_max", Shape::Number),
    ("limits", "record_bytes_max", Shape::Number),
    ("limits", "held_bytes_max", Shape::Number),
    ("limits", "shutdown_grace_seconds", Shape::Number),
    ("limits", "dead_letters_in_a_row_max", Shape::Number),
    ("limits", "dead_letters_per_minute_max", Shape::Number),
    ("log", "level", Shape::Text),
    ("log", "format", Shape::Text),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    Flag,
    List,
}

pub(in crate::ops) fn parse(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error| in_file(name, text, &error))?;
    let mut problems = Vec::new();
    for (variable, value) in environment {
        let Some(path) = variable.strip_prefix("ROWFERRY_") else { continue };
        if let Some((section, name)) = property_variable(path) {
            set_property(&mut table, section, &name, &value, &variable, &mut problems);
            continue;
        }
        let found = OVERRIDES.iter().find(|(section, key, _)| variable_name(section, key) == path);
        match found {
            Some((section, key, shape)) => set(&mut table, section, key, *shape, &value, &variable, &mut problems),
            None => {
                let known: Vec<String> =
                    OVERRIDES.iter().map(|(section, key, _)| variable_name(section, key)).collect();
                let meant = nearest(path, known.iter().map(String::as_str));
                let meant = meant.map_or(String::new(), |name| format!(" (did you mean ROWFERRY_{name}?)"));
                problems.push(format!("{variable} in the environment names no setting{meant}: unset it or correct it"));
            }
        }
    }
    for flag in sets {
        if let Some((section, name, value)) = property_flag(flag) {
            set_property(&mut table, section, name, value, "--set", &mut problems);
            continue;
        }
        let setting = flag.split_once('=').and_then(|(path, value)| {
            let (section, key) = path.rsplit_once('.')?;
            let (_, _, shape) = OVERRIDES.iter().find(|(known, name, _)| *known == section && *name == key)?;
            Some((section, key, *shape, value))
        });
        match setting {
            Some((section, key, shape, value)) => set(&mut table, section, key, shape, value, "--set", &mut problems),
            None => {
                let path = flag.split_once('=').map_or(flag.as_str(), |(path, _)| path);
                let known: Vec<String> = OVERRIDES.iter().map(|(section, key, _)| format!("{section}.{key}")).collect();
                let meant = nearest(path, known.iter().map(String::as_str));
                let meant = meant.map_or(String::new(), |name| format!(" (did you mean {name}?)"));
                problems.push(format!(
                    "--set {path} names no setting{meant}: write section.key=value, as in --set \
                     kafka.bootstrap_servers=host:9092"
                ));
            }
        }
    }
    let config = if table == text.parse::<Table>().unwrap_or_default() {
        // Unchanged, so that an error can name the line.
        toml::from_str::<Config>(text).map_err(|error| in_file(name, text, &error))
    } else {
        Value::Table(table)
            .try_into::<Config>()
            .map_err(|error| refused(format!("{name}: {}", with_nearest(error.message()))))
    };
    match config {
        Ok(mut config) => {
            secrets::resolve(&mut config, &mut problems);
            check(&config, &mut problems);
            if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
        }
        Err(ConfigError(more)) => Err(ConfigError(problems.into_iter().chain(more).collect())),
    }
}

pub(super) fn variable_name(section: &str, key: &str) -> String {
    format!("{section}_{key}").replace('.', "_").to_uppercase()
}

fn set(
    table: &mut Table,
    section: &str,
    key: &str,
    shape: Shape,
    text: &str,
    origin: &str,
    problems: &mut Vec<String>,
) {
    let value = match shape {
        Shape::Text => Value::String(text.into()),
        Shape::List => Value::Array(text.split(',').map(|item| Value::String(item.trim().into())).collect()),
        Shape::Flag => match text.parse::<bool>() {
            Ok(flag) => Value::Boolean(flag),
            Err(_) => {
                problems.push(format!("{section}.{key} = \"{text}\" ({origin}): give true or false"));
                return;
            }
        },
        Shape::Number => match text.parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                problems.push(format!("{section}.{key} = \"{text}\" ({origin}): give a whole number"));
                return;
            }
        },
    };
    let Some(at) = open(table, section, problems) else { return };
    // A secret and the file that it is in are one setting.
    at.remove(&format!("{key}_file"));
    at.remove(key.strip_suffix("_file").unwrap_or_default());
    at.insert(key.into(), value);
}

/// The table of a section, made where it is missing.
fn open<'t>(table: &'t mut Table, section: &str, problems: &mut Vec<String>) -> Option<&'t mut Table> {
    let mut at = table;
    for part in section.split('.') {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        match next.as_table_mut() {
            Some(next) => at = next,
            None => {
                problems.push(format!("{part} in the file is no section: write it as [{section}]"));
                return None;
            }
        }
    }
    Some(at)
}

/// Where librdkafka's properties are, and the files with values of them.
const PROPERTIES: [&str; 2] = ["kafka.properties_from_files", "kafka.properties"];

/// `KAFKA_PROPERTIES_SASL_PASSWORD` is `sasl.password`.
fn property_variable(path: &str) -> Option<(&'static str, String)> {
    PROPERTIES.iter().find_map(|section| {
        let name = path.strip_prefix(&variable_name(section, ""))?;
        Some((*section, name.to_lowercase().replace('_', ".")))
    })
}

/// `kafka.properties.NAME=value`
fn property_flag(flag: &str) -> Option<(&'static str, &str, &str)> {
    let (path, value) = flag.split_once('=')?;
    PROPERTIES.iter().find_map(|section| Some((*section, path.strip_prefix(section)?.strip_prefix('.')?, value)))
}

fn set_property(table: &mut Table, section: &str, name: &str, value: &str, origin: &str, problems: &mut Vec<String>) {
    // As with other secrets: the property and the file that it is in are one setting.
    for either in PROPERTIES.iter().filter(|either| **either != section) {
        if let Some(other) = open(table, either, problems) {
            properties::remove(other, name);
        }
    }
    let Some(at) = open(table, section, problems) else { return };
    if let Err(problem) = properties::set(at, name, value) {
        problems.push(format!("{section} ({origin}): {problem}"));
    }
}

/// The place of an error, without the line itself, which may hold a secret.
fn in_file(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let place = line.map_or_else(|| name.to_string(), |line| format!("{name} line {line}"));
    refused(format!("{place}: {}", with_nearest(error.message().lines().next().unwrap_or_default())))
}

fn refused(problem: String) -> ConfigError {
    ConfigError(vec![problem])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::config::RebalanceProtocol;

    const FILE: &str = r#"
        [kafka]
        bootstrap_servers = "127.0.0.1:9092"
        [sink.postgres]
        url = "postgres://u:hunter2@h/db"
        [consumer]
        group_id = "g"
        routes = [{ topic = "users", table = "users", source_key = ["user_id"], soft_delete = "is_deleted" }]
    "#;

    fn with(text: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        parse("rowferry.toml", text, environment, &sets)
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let variables = [("ROWFERRY_KAFKA_BOOTSTRAP_SERVERS", "a:1"), ("ROWFERRY_LIMITS_BATCH_RECORDS_MAX", "7")];
        let config = with(FILE, &variables, &["kafka.bootstrap_servers=b:2"]).expect("it is complete");
        assert_eq!((config.kafka.bootstrap_servers.as_str(), config.limits.batch_records_max), ("b:2", 7));
        let config = with(
            FILE,
            &[("ROWFERRY_SINK_CASSANDRA_NODES", "a:1, b:2"), ("ROWFERRY_SINK_CASSANDRA_KEYSPACE", "k")],
            &[],
        );
        assert_eq!(config.expect("it is complete").sink.cassandra.expect("it is set").nodes, ["a:1", "b:2"]);
    }

    #[test]
    fn static_members_are_eager_and_others_cooperative() {
        let protocol = |sets: &[&str]| with(FILE, &[], sets).unwrap().consumer.unwrap().rebalance_protocol();
        assert_eq!(protocol(&[]), RebalanceProtocol::Cooperative);
        assert_eq!(protocol(&["consumer.rebalance_protocol=eager"]), RebalanceProtocol::Eager);
        assert_eq!(protocol(&["consumer.group_instance_id=a"]), RebalanceProtocol::Eager);
    }

    #[test]
    fn errors_name_the_setting_and_the_mend() {
        let told = |text: &str, environment: &[(&str, &str)], sets: &[&str]| {
            with(text, environment, sets).expect_err("it is wrong").0.join("\n")
        };
        insta::assert_snapshot!(told(&FILE.replace("127.0.0.1:9092", "nowhere"), &[], &[]), @r#"kafka.bootstrap_servers = "nowhere": give host:port, separated by commas"#);
        insta::assert_snapshot!(told(FILE, &[], &["consumer.group_instance_id=a", "consumer.rebalance_protocol=cooperative"]), @r#"consumer.rebalance_protocol = "cooperative": a member with a group_instance_id that is restarted during such a rebalance can leave partitions to nobody; remove one of the two, on all members"#);
        insta::assert_snapshot!(told(&FILE.replace("group_id", "group"), &[], &[]), @"rowferry.toml line 7: unknown field `group`, expected one of `group_id`, `group_instance_id`, `rebalance_protocol`, `topics_interval_seconds`, `admin`, `routes`");
        insta::assert_snapshot!(told(FILE, &[("ROWFERRY_KAFKA_BOOTSTRAP", "x")], &["limits.batch_records_max=many", "nothing=1"]), @r#"
        ROWFERRY_KAFKA_BOOTSTRAP in the environment names no setting: unset it or correct it
        limits.batch_records_max = "many" (--set): give a whole number
        --set nothing names no setting: write section.key=value, as in --set kafka.bootstrap_servers=host:9092
        "#);
        insta::assert_snapshot!(told(&FILE.replace("source_key", "sourcekey"), &[("ROWFERRY_KAFKA_BOOTSTRAP_SERVER", "x")], &["limit.held_bytes_max=1"]), @"
        ROWFERRY_KAFKA_BOOTSTRAP_SERVER in the environment names no setting (did you mean ROWFERRY_KAFKA_BOOTSTRAP_SERVERS?): unset it or correct it
        --set limit.held_bytes_max names no setting (did you mean limits.held_bytes_max?): write section.key=value, as in --set kafka.bootstrap_servers=host:9092
        rowferry.toml line 8: unknown field `sourcekey`, did you mean `source_key`?
        ");
        insta::assert_snapshot!(told(&FILE.replace("[kafka]", "[kafak]"), &[], &[]), @"rowferry.toml line 2: unknown field `kafak`, did you mean `kafka`?");
        insta::assert_snapshot!(told(&FILE.replace(", soft_delete = \"is_deleted\"", ""), &[], &["limits.held_bytes_max=0"]), @r"
        limits.held_bytes_max = 0: nothing could ever be taken; give at least 1
        consumer.routes, users → users: business events need a `soft_delete`: name the flag column
        ");
        insta::assert_snapshot!(told(&FILE.replace(", soft_delete", ", source_table = \"public.users\", soft_delete"), &[], &[]), @"consumer.routes, users → users: `source_table` is for mirrored tables, and events come from none: remove it");
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = with(FILE, &[], &[]).expect("it is complete");
        assert!(!format!("{config:?}").contains("hunter2"));
        for broken in
            [FILE.replace("@h/db\"", "@h/db"), FILE.replace("url = ", "url = 1 # "), FILE.replace("url", "uri")]
        {
            let error = with(&broken, &[], &[]).expect_err("it is broken").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
