//! What `init` writes: a configuration with its comments, made of what was given. Pure.

/// What was given or asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    pub brokers: String,
    pub source_url: String,
    pub source_password_file: Option<String>,
    pub nodes: Vec<String>,
    pub keyspace: String,
    pub cassandra_user: Option<String>,
    pub cassandra_password_file: Option<String>,
    /// Keys of [source.debezium] and their values.
    pub debezium: Vec<(String, String)>,
    pub group_id: String,
    pub dead_letter_topic: String,
}

/// A topic, and the source table whose changes it has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub topic: String,
    pub table: String,
}

/// The configuration, with routes as their lines.
pub fn configuration(answers: &Answers, routes: &[Vec<String>]) -> String {
    let nodes: Vec<String> = answers.nodes.iter().map(|node| quoted(node)).collect();
    let line = |key: &str, value: &Option<String>, example: &str| match value {
        Some(value) => format!("{key} = {}\n", quoted(value)),
        None => format!("# {key} = \"{example}\"\n"),
    };
    let mut text = format!(
        "# Rowferry's configuration, written by `cdcconsumer init`. docs/settings.md has every setting.\n\
         # What is in no route can be overridden: ROWFERRY_<SECTION>_<KEY> in the environment or .env, --set section.key=value.\n\
         \n\
         [kafka]\n\
         bootstrap_servers = {}\n\
         # Where refused records go, with their reason. It has to exist, must not be compacted, and takes records that are\n\
         # a little larger than those of the other topics.\n\
         dead_letter_topic = {}\n\
         # For brokers that want TLS and a login, librdkafka's own properties: docs/security.md.\n\
         # [kafka.properties]\n\
         # security.protocol = \"SASL_SSL\"\n\
         \n\
         # Where Debezium reads from: its catalog says the types of the columns. Reading is enough.\n\
         [source.postgres]\n\
         url = {}\n\
         {}\
         \n\
         # How the connector writes its records: its own settings, where they are not Debezium's defaults.\n\
         [source.debezium]\n\
         {}\
         \n\
         # Where the rows go. Keys and types are read from the live tables.\n\
         [sink.cassandra]\n\
         nodes = [{}]\n\
         keyspace = {}\n\
         {}{}\
         \n\
         [cdcconsumer]\n\
         # Its position is kept under this name.\n\
         group_id = {}\n",
        quoted(&answers.brokers),
        quoted(&answers.dead_letter_topic),
        quoted(&answers.source_url),
        line("password_file", &answers.source_password_file, "/run/secrets/source-password"),
        debezium(&answers.debezium),
        nodes.join(", "),
        quoted(&answers.keyspace),
        line("user", &answers.cassandra_user, "rowferry"),
        line("password_file", &answers.cassandra_password_file, "/run/secrets/cassandra-password"),
        quoted(&answers.group_id),
    );
    text += "\n# A route leads from a topic to a table. Columns are matched by name; what else it can do: docs/modeling.md.\n";
    for route in routes {
        text += &format!("{}\n\n", route.join("\n"));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The connector's settings, or two of them as an example.
fn debezium(given: &[(String, String)]) -> String {
    const EXAMPLE: &str = "# decimal_handling_mode = \"string\"  # decimal.handling.mode\n\
                           # replace_null_with_default = false  # of both converters; else a null may arrive as a default\n";
    let line = |(key, value): &(String, String)| match value.as_str() {
        "true" | "false" => format!("{key} = {value}\n"),
        text => format!("{key} = {}\n", quoted(text)),
    };
    if given.is_empty() { EXAMPLE.into() } else { given.iter().map(line).collect() }
}

/// The topics that have a table's changes, by their names: `PREFIX.schema.table`. The longest name of a table counts.
pub fn pairs(topics: &[String], tables: &[String], of_topic: impl Fn(&str) -> String) -> Vec<Pair> {
    topics.iter().filter_map(|topic| pair(topic, tables, &of_topic)).collect()
}

/// A topic as it is typed: alone, when its name ends with that of a table, or as `topic=schema.table`.
pub fn typed(text: &str, tables: &[String], of_topic: impl Fn(&str) -> String) -> Result<Pair, String> {
    if let Some((topic, table)) = text.split_once('=') {
        return match tables.iter().any(|known| known == table) {
            true => Ok(Pair { topic: topic.into(), table: table.into() }),
            false => Err(format!("--topic {text}: the source has no table \"{table}\" with a primary key")),
        };
    }
    pair(text, tables, &of_topic).ok_or_else(|| {
        format!(
            "--topic {text}: its name does not end with that of a table with a primary key: say which it is, as in \
             --topic {text}=public.users"
        )
    })
}

fn pair(topic: &str, tables: &[String], of_topic: &impl Fn(&str) -> String) -> Option<Pair> {
    let ends = |table: &&String| {
        topic.strip_suffix(&of_topic(table)).is_some_and(|prefix| prefix.len() > 1 && prefix.ends_with('.'))
    };
    let table = tables.iter().filter(ends).max_by_key(|table| table.len())?;
    Some(Pair { topic: topic.into(), table: table.clone() })
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

#[cfg(test)]
mod tests {
    use rowferry::ops::config::load::parse_with_env;
    use rowferry::row::wire::DecimalMode;

    use super::*;

    fn answers() -> Answers {
        Answers {
            brokers: "a:9092".into(),
            source_url: "postgres://u@db.example/shop?application_name=\"x\"".into(),
            source_password_file: None,
            nodes: vec!["n1:9042".into(), "n2:9042".into()],
            keyspace: "shop".into(),
            cassandra_user: None,
            cassandra_password_file: None,
            debezium: Vec::new(),
            group_id: "g".into(),
            dead_letter_topic: "d".into(),
        }
    }

    fn route(topic: &str) -> Vec<String> {
        let topic = format!("topic = \"{topic}\"");
        ["[[cdcconsumer.routes]]", &topic, "table = \"t\"", "source_key = [\"id\"]"].map(String::from).to_vec()
    }

    #[test]
    fn what_is_written_is_what_a_run_reads() {
        let text = configuration(&answers(), &[route("a"), route("b")]);
        let config = parse_with_env("rowferry.toml", &text, &[]).expect("it can be read");
        let consumer = config.cdcconsumer.expect("it is there");
        assert_eq!((consumer.group_id.as_str(), consumer.topics()), ("g", vec!["a".to_string(), "b".into()]));
        let source = config.source.postgres.expect("it is there");
        assert_eq!(source.url.reveal(), answers().source_url);
        assert_eq!(config.sink.cassandra.expect("it is there").nodes, ["n1:9042", "n2:9042"]);
        let text = |(key, value): (&str, &str)| (key.to_string(), value.to_string());
        let settings = [("decimal_handling_mode", "string"), ("schemas", "true")].map(text).to_vec();
        let text = configuration(&Answers { debezium: settings, ..answers() }, &[route("a")]);
        let modes = parse_with_env("rowferry.toml", &text, &[]).expect("it can be read").source.debezium.modes();
        assert_eq!(modes.decimal_handling_mode, DecimalMode::String);
        let given = Answers { cassandra_user: Some("r".into()), ..answers() };
        assert!(configuration(&given, &[]).contains("\nuser = \"r\"\n"));
    }

    #[test]
    fn a_topic_belongs_to_the_table_that_ends_its_name() {
        let tables = ["public.users", "inv.users", "a.inv.users", "Sales.order lines"].map(String::from);
        let of_topic = |table: &str| table.replace(' ', "_");
        let topics =
            ["shop.public.users", "public.users", "xpublic.users", "p.a.inv.users", "p.Sales.order_lines", "other"];
        let found = pairs(&topics.map(String::from), &tables, of_topic);
        let found: Vec<(&str, &str)> = found.iter().map(|pair| (pair.topic.as_str(), pair.table.as_str())).collect();
        let expected = [
            ("shop.public.users", "public.users"),
            ("p.a.inv.users", "a.inv.users"),
            ("p.Sales.order_lines", "Sales.order lines"),
        ];
        assert_eq!(found, expected);
        let typed = |text: &str| typed(text, &tables, of_topic).map(|pair| pair.table);
        assert_eq!(typed("people=inv.users").as_deref(), Ok("inv.users"));
        assert!(typed("people").is_err_and(|told| told.contains("--topic people=public.users")));
        assert!(typed("people=inv.nobody").is_err_and(|told| told.contains("no table \"inv.nobody\"")));
    }
}
