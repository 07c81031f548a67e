//! How the brokers are reached: the one place where a client's configuration is made, from what the operator gives to
//! librdkafka and what Rowferry's promises need.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseProducer;

use crate::kafka::{GROUP_SETTINGS, Quiet, dead_letter, produce};
use crate::sink::Failure;
use crate::sink::tls::{Trouble, trouble};

/// Where the brokers are, and librdkafka's own properties for every client. Holds secrets: its `Debug` has no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Under librdkafka's names. They win over every setting that is ours only because it works well.
    pub properties: BTreeMap<String, String>,
}

/// Properties that what Rowferry promises rests on, or that have a setting of their own, each with the reason.
const REFUSED: [(&str, &str); 23] = [
    ("bootstrap.servers", "it is kafka.bootstrap_servers"),
    ("metadata.broker.list", "it is kafka.bootstrap_servers"),
    ("group.id", "it is `group_id` of [consumer] and [cdcconsumer]"),
    ("group.instance.id", "it is `group_instance_id` of [consumer] and [cdcconsumer]"),
    ("enable.auto.commit", "only what is durable is committed"),
    ("auto.commit.enable", "only what is durable is committed"),
    ("enable.auto.offset.store", "only what is durable is committed"),
    ("auto.offset.reset", "a position that is gone has to stop us, or records are lost in silence"),
    ("isolation.level", "records of transactions that were aborted must not be applied"),
    ("enable.partition.eof", "the end of a partition has to be seen"),
    ("partition.assignment.strategy", "it is `rebalance_protocol` of [consumer] and [cdcconsumer]"),
    ("group.protocol", "it is `rebalance_protocol` of [consumer] and [cdcconsumer]"),
    ("group.remote.assignor", "it is `rebalance_protocol` of [consumer] and [cdcconsumer]"),
    ("partitioner", "a key belongs in the partition where Java's clients put it"),
    ("acks", "a record counts as sent when all replicas have it"),
    ("request.required.acks", "a record counts as sent when all replicas have it"),
    ("message.timeout.ms", "an outage is waited out, however long it is"),
    ("delivery.timeout.ms", "an outage is waited out, however long it is"),
    ("enable.idempotence", "records must neither be sent twice nor change their order"),
    ("transactional.id", "nothing is sent in transactions"),
    ("queuing.strategy", "records must not change their order"),
    ("allow.auto.create.topics", "topics are never created by asking for them"),
    ("test.mock.num.brokers", "the brokers have to be real"),
];

/// Properties that name files, whose errors librdkafka tells without the path.
const FILES: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location", "ssl.crl.location"];

/// Ends of the names of properties whose values are never told.
const SECRET: [&str; 6] = ["password", "passphrase", "secret", ".pem", "oauthbearer.config", "jaas.config"];

/// How often it is looked whether a connection was refused, while a request waits for one.
const REASON_INTERVAL: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

impl Access {
    pub fn new(bootstrap_servers: &str) -> Access {
        Access { bootstrap_servers: bootstrap_servers.into(), properties: BTreeMap::new() }
    }

    /// A client's configuration: ours, and the operator's properties over it. Never print it with `Debug`, which
    /// shows `ssl.key.pem` and others.
    pub(super) fn client(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", "rowferry");
        // A broker that is away is said once by the status line; librdkafka would repeat it for every broker and try.
        config.set_log_level(RDKafkaLogLevel::Critical);
        for (name, value) in ours.iter().copied().chain(self.properties()) {
            config.set(name, value);
        }
        config
    }

    /// Everything that speaks against the properties, found without a broker: names, values, and the files that they
    /// name. Each problem begins with the setting.
    pub fn problems(&self) -> Vec<String> {
        let refused = REFUSED.iter().filter(|(name, _)| self.properties.contains_key(*name));
        let mut problems: Vec<String> = refused
            .map(|(name, why)| format!("kafka.properties, {name}: Rowferry sets it itself ({why}): remove it"))
            .collect();
        if !problems.is_empty() || self.properties.is_empty() {
            return problems;
        }
        for (name, value) in self.properties() {
            let mut one = ClientConfig::new();
            if let Err(error) = one.set(name, value).create_native_config() {
                problems.push(self.told(&error));
            }
        }
        for (name, file) in self.properties().filter(|(name, _)| FILES.contains(name)) {
            // "probe" is librdkafka's own word for the system's CAs.
            if let (false, Err(error)) = (file == "probe", File::open(file)) {
                let mend = "correct the path, or who may read it";
                problems.push(format!("kafka.properties, {name} = \"{file}\": {error}: {mend}"));
            }
        }
        if problems.is_empty() {
            // The clients as they are made later, with no broker to go to: this reads the files that are named.
            let made = [
                self.without_brokers(&GROUP_SETTINGS).create::<BaseConsumer>().err(),
                self.without_brokers(&dead_letter::SETTINGS).create::<BaseProducer>().err(),
                self.without_brokers(&produce::SETTINGS).create::<BaseProducer>().err(),
            ];
            problems.extend(made.iter().flatten().map(|error| self.told(error)));
            problems.dedup();
        }
        problems
    }

    fn without_brokers(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client(ours);
        config.remove("bootstrap.servers");
        config
    }

    /// What the properties turn off, for the log at every start (S1).
    pub fn warnings(&self) -> Vec<String> {
        let is = |name: &str, values: &[&str]| {
            self.properties.get(name).is_some_and(|value| values.contains(&value.to_ascii_lowercase().as_str()))
        };
        let mut warnings = Vec::new();
        if is("enable.ssl.certificate.verification", &["false", "f", "0"]) {
            warnings.push(
                "kafka.properties, enable.ssl.certificate.verification is false: anyone may pose as a broker".into(),
            );
        }
        if is("ssl.endpoint.identification.algorithm", &["none"]) {
            warnings.push(
                "kafka.properties, ssl.endpoint.identification.algorithm is none: whoever has any certificate of the \
                 CA may pose as a broker"
                    .into(),
            );
        }
        if is("security.protocol", &["sasl_plaintext"]) {
            warnings.push(
                "kafka.properties, security.protocol is SASL_PLAINTEXT: the login and all records can be read on the \
                 way; use SASL_SSL"
                    .into(),
            );
        }
        warnings
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// librdkafka's words without the values that it repeats.
    pub(super) fn told(&self, error: &KafkaError) -> String {
        match error {
            KafkaError::ClientConfig(_, said, name, _) if said.starts_with("No such configuration property") => {
                format!(
                    "kafka.properties, {name}: librdkafka has no such property: correct its name, as librdkafka's \
                     CONFIGURATION.md has it, or remove it"
                )
            }
            KafkaError::ClientConfig(_, _, name, _) if is_secret(name) => {
                format!("kafka.properties, {name}: librdkafka does not take its value (which is not repeated here)")
            }
            KafkaError::ClientConfig(_, said, name, _) => {
                format!("kafka.properties, {name}: librdkafka refuses it ({}): correct it", self.masked(said))
            }
            KafkaError::Nul(_) => "kafka.properties: a value holds a NUL character: remove it".into(),
            KafkaError::ClientCreation(said) => {
                format!("kafka.properties: librdkafka refuses them ({}): correct them", self.masked(said))
            }
            other => format!("kafka.properties: librdkafka refuses them ({other}): correct them"),
        }
    }

    fn masked(&self, said: &str) -> String {
        let secrets = self.properties().filter(|(name, value)| is_secret(name) && !value.is_empty());
        secrets.fold(said.trim().to_string(), |said, (_, value)| said.replace(value, "***"))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Access")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &names)
            .finish()
    }
}

/// The context of a client that is asked before the others are made. A request only tells that it was not answered;
/// what the brokers, or TLS on the way to them, had against us is kept here.
#[derive(Debug, Default)]
struct Reasons(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    reason: Option<Failure>,
    /// Each broker was tried. Until then another one may still serve us.
    tried_all: bool,
}

impl ClientContext for Reasons {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tried_all |= error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if let Some(judged) = judge(&error, reason)
            && (kept.reason.is_none() || matches!(judged, Failure::Stop(_)))
        {
            kept.reason = Some(judged);
        }
    }
}

impl ConsumerContext for Reasons {}

/// Whether the brokers let us see this topic. [`Failure::Stop`]: they, or we, refuse the connection for good.
pub(super) fn sees_topic(access: &Access, topic: &str) -> Result<bool, Failure> {
    let consumer: BaseConsumer<Reasons> = access
        .client(&[])
        .create_with_context(Reasons::default())
        .map_err(|error| Failure::Stop(access.told(&error)))?;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    loop {
        let error = match consumer.fetch_metadata(Some(topic), REASON_INTERVAL) {
            Ok(seen) => return Ok(seen.topics().iter().any(|seen| seen.name() == topic && seen.error().is_none())),
            Err(error) => error,
        };
        // Reasons stand in the client's queue until it is polled.
        while consumer.poll(Duration::ZERO).is_some() {}
        let mut kept = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = kept.tried_all && matches!(kept.reason, Some(Failure::Stop(_)));
        if refused || Instant::now() >= deadline {
            // Whoever speaks plaintext to TLS is cut off, and librdkafka has nothing to say about it.
            return Err(kept.reason.take().unwrap_or_else(|| Failure::Retry(format!("Kafka: {error}: {WAY}"))));
        }
    }
}

const WAY: &str = "if the brokers are up, correct security.protocol in [kafka.properties], or the port";

/// What a connection's error means: with the mend, and whether it passes by itself. A broker that goes away in the
/// middle of a handshake looks like trouble with TLS.
pub(super) fn judge(error: &KafkaError, reason: &str) -> Option<Failure> {
    let reason = reason.split(" (after ").next().unwrap_or(reason).trim();
    let certain = |text: String| Failure::Stop(format!("kafka.properties: {text}"));
    let passing = |text: String| Failure::Retry(format!("Kafka: {text}"));
    Some(match error.rdkafka_error_code()? {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            let text = format!("{reason}: correct sasl.mechanism, sasl.username and sasl.password");
            if reason.contains("timed out") { passing(text) } else { certain(text) }
        }
        // With TLS 1.3 a broker refuses our certificate after the handshake, and the code is that of a broken line.
        _ if trouble(reason) == Some(Trouble::OwnCertificate) => certain(format!(
            "{reason}: the broker asks for a certificate of ours: correct ssl.certificate.location and ssl.key.location"
        )),
        RDKafkaErrorCode::SSL if trouble(reason).is_some_and(|trouble| trouble != Trouble::NoTls) => certain(format!(
            "{reason}: correct ssl.ca.location, or the broker's certificate: who signed it, the host names it is for, \
             its dates"
        )),
        RDKafkaErrorCode::SSL => passing(format!("{reason}: {WAY}")),
        RDKafkaErrorCode::BrokerTransportFailure
            if ["security.protocol", "PLAINTEXT broker"].iter().any(|hint| reason.contains(hint)) =>
        {
            passing(format!("{reason}: {WAY}"))
        }
        RDKafkaErrorCode::BrokerTransportFailure => passing(error.to_string()),
        _ => return None,
    })
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|end| name.ends_with(end))
}
