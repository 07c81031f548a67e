//! Everything that is easily wrong, one at a time, with the words that have to be told.

use std::fs;

use crate::certificates::Holds;
use crate::clusters::tail;
use crate::impostor::{Opening, answer, pose};
use crate::program::{CDCCONSUMER, CONSUMER, Ended, PRODUCER, run};
use crate::servers::Servers;

struct Mistake {
    what: &'static str,
    program: &'static str,
    /// From the words of the right configuration to the wrong ones.
    change: &'static [(&'static str, &'static str)],
    /// Refused with 64, or told of while it is waited for.
    refused: bool,
    told: &'static [&'static str],
}

pub fn are_told(servers: &Servers, config: &str) {
    pose_as_servers(servers);
    let tls = servers.tls().display().to_string();
    let mut wrong = Vec::new();
    for mistake in MISTAKES.iter().chain(KAFKA).chain(CASSANDRA) {
        let mut changed = config.to_string();
        for (right, other) in mistake.change {
            let (right, other) = (right.replace("@TLS@", &tls), other.replace("@TLS@", &tls));
            assert!(changed.contains(&right), "{}: there is no {right}", mistake.what);
            changed = changed.replace(&right, &other);
        }
        let until = (!mistake.refused).then(|| mistake.told[0]);
        let Ended { code, said } = run(&servers.dir, mistake.program, &changed, &[], until);
        let missing: Vec<&&str> = mistake.told.iter().filter(|words| !said.contains(**words)).collect();
        if code != mistake.refused.then_some(64) || !missing.is_empty() {
            wrong.push(format!("{}: {code:?}, not told: {missing:?}, in:\n{}", mistake.what, tail(&said)));
        }
        eprintln!("{}: {code:?}\n    {}", mistake.what, said.trim().lines().last().unwrap_or_default());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// 127.0.0.5 is Kafka at 19193, Cassandra at 9042 and Postgres at 15432 with a certificate for another host, and one
/// port further with one that has expired.
fn pose_as_servers(servers: &Servers) {
    let elsewhere = servers.ca.sign("elsewhere", &["elsewhere.test", "127.0.0.6"], Holds::Now);
    let expired = servers.ca.sign("expired", &["127.0.0.5"], Holds::UntilYesterday);
    for (port, opening) in [(19193, Opening::Nothing), (9042, Opening::Nothing), (15432, Opening::Postgres)] {
        pose(&format!("127.0.0.5:{port}"), opening, &elsewhere);
        pose(&format!("127.0.0.5:{}", port + 1), opening, &expired);
    }
    // Postgres without TLS, and a server that talks of something else.
    answer("127.0.0.5:15434", b"N");
    answer("127.0.0.5:9044", b"HTTP/1.1 400 Bad Request\r\n\r\n");
    fs::write(servers.dir.join("secrets/wrong"), "canary-wrong-0b1d\n").unwrap();
}

const MISTAKES: [Mistake; 10] = [
    Mistake {
        what: "Postgres: a wrong password",
        program: CONSUMER,
        change: &[("secrets/postgres", "secrets/wrong")],
        refused: true,
        told: &["sink.postgres.url", "password authentication failed", "correct user and password"],
    },
    Mistake {
        what: "Postgres: another CA",
        program: CONSUMER,
        change: &[("sslrootcert=@TLS@/ca.pem", "sslrootcert=@TLS@/other-ca.pem")],
        refused: true,
        told: &["sink.postgres.url", "signed by no CA that is trusted here", "sslrootcert"],
    },
    Mistake {
        what: "Postgres: a certificate for another host",
        program: CONSUMER,
        change: &[("rowferry@127.0.0.1:15432", "rowferry@127.0.0.5:15432")],
        refused: true,
        told: &["sink.postgres.url", "127.0.0.5:15432", "certificate is not for this host"],
    },
    Mistake {
        what: "Postgres: an expired certificate",
        program: CONSUMER,
        change: &[("rowferry@127.0.0.1:15432", "rowferry@127.0.0.5:15433")],
        refused: true,
        told: &["sink.postgres.url", "has expired", "renew it"],
    },
    Mistake {
        what: "Postgres: no TLS there",
        program: CONSUMER,
        change: &[("rowferry@127.0.0.1:15432", "rowferry@127.0.0.5:15434")],
        refused: true,
        told: &["sink.postgres.url", "does not offer TLS", "sslmode=disable"],
    },
    Mistake {
        what: "Postgres: plaintext to TLS",
        program: CONSUMER,
        change: &[("sslmode=verify-full", "sslmode=disable")],
        refused: true,
        told: &["sink.postgres.url", "no encryption", "sslmode=verify-full"],
    },
    Mistake {
        what: "Postgres: no client certificate",
        program: CONSUMER,
        change: &[("&sslcert=@TLS@/client.pem&sslkey=@TLS@/client.key", "")],
        refused: true,
        told: &["sink.postgres.url", "client certificate", "sslcert"],
    },
    Mistake {
        what: "Postgres: a client certificate of another CA",
        program: CONSUMER,
        change: &[("@TLS@/client.", "@TLS@/stranger.")],
        refused: true,
        told: &["sink.postgres.url", "does not accept our certificate", "sslcert"],
    },
    Mistake {
        what: "Postgres, the source: a wrong password",
        program: CDCCONSUMER,
        change: &[("secrets/postgres", "secrets/wrong")],
        refused: true,
        told: &["source.postgres.url", "password authentication failed", "correct user and password"],
    },
    Mistake {
        what: "Postgres: prefer",
        program: CONSUMER,
        change: &[("sslmode=verify-full", "sslmode=prefer")],
        refused: true,
        told: &["sink.postgres.url", "sslmode=prefer", "verify-full"],
    },
];

const KAFKA: &[Mistake] = &[
    Mistake {
        what: "Kafka: a wrong password",
        program: CONSUMER,
        change: &[("secrets/kafka", "secrets/wrong")],
        refused: true,
        told: &["kafka.properties", "sasl.password", "invalid credentials"],
    },
    Mistake {
        what: "Kafka, producer: a wrong password",
        program: PRODUCER,
        change: &[("secrets/kafka", "secrets/wrong")],
        refused: true,
        told: &["kafka.properties", "sasl.password", "invalid credentials"],
    },
    Mistake {
        what: "Kafka: another CA",
        program: CDCCONSUMER,
        change: &[("\"@TLS@/ca.pem\"\n\n[kafka.properties_from", "\"@TLS@/other-ca.pem\"\n\n[kafka.properties_from")],
        refused: true,
        told: &["kafka.properties", "certificate verify failed", "ssl.ca.location"],
    },
    Mistake {
        what: "Kafka: a certificate for another host",
        program: CONSUMER,
        change: &[("127.0.0.1:19193", "127.0.0.5:19193")],
        refused: true,
        told: &["kafka.properties", "127.0.0.5:19193", "host names it is for"],
    },
    Mistake {
        what: "Kafka: an expired certificate",
        program: CONSUMER,
        change: &[("127.0.0.1:19193", "127.0.0.5:19194")],
        refused: true,
        told: &["kafka.properties", "127.0.0.5:19194", "its dates"],
    },
    Mistake {
        what: "Kafka: plaintext to TLS",
        program: CONSUMER,
        change: &[("SASL_SSL", "SASL_PLAINTEXT")],
        refused: false,
        told: &["correct security.protocol", "waiting for Kafka"],
    },
    Mistake {
        what: "Kafka: TLS to plaintext",
        program: CONSUMER,
        change: &[("127.0.0.1:19193", "127.0.0.1:19194")],
        refused: false,
        told: &["correct security.protocol", "waiting for Kafka", "PLAINTEXT"],
    },
    Mistake {
        what: "Kafka: no client certificate",
        program: CONSUMER,
        change: &[("127.0.0.1:19193", "127.0.0.1:19195"), ("SASL_SSL", "SSL")],
        refused: true,
        told: &["kafka.properties", "ssl.certificate.location"],
    },
    Mistake {
        what: "Kafka: a property that is not there",
        program: CONSUMER,
        change: &[("sasl.username", "sasl.user")],
        refused: true,
        told: &["kafka.properties, sasl.user", "no such property", "correct its name"],
    },
    Mistake {
        what: "Kafka: a CA file that is not there",
        program: CONSUMER,
        change: &[("\"ssl.ca.location\" = \"@TLS@/ca.pem\"", "\"ssl.ca.location\" = \"@TLS@/nowhere.pem\"")],
        refused: true,
        told: &["kafka.properties", "ssl.ca.location", "nowhere.pem"],
    },
];

const CASSANDRA: &[Mistake] = &[
    Mistake {
        what: "Cassandra: a wrong password",
        program: CDCCONSUMER,
        change: &[("secrets/cassandra", "secrets/wrong")],
        refused: true,
        told: &["sink.cassandra", "the login was refused", "correct `user` and `password`"],
    },
    Mistake {
        what: "Cassandra: no login",
        program: CDCCONSUMER,
        change: &[("user = \"rowferry\"\npassword_file = \"", "# \"")],
        refused: true,
        told: &["sink.cassandra", "asks for a login", "set `user` and `password`"],
    },
    Mistake {
        what: "Cassandra: another CA",
        program: CDCCONSUMER,
        change: &[("ca_file = \"@TLS@/ca.pem\"", "ca_file = \"@TLS@/other-ca.pem\"")],
        refused: true,
        told: &["sink.cassandra", "signed by no CA that is trusted here", "tls.ca_file"],
    },
    Mistake {
        what: "Cassandra: a certificate for another address",
        program: CDCCONSUMER,
        change: &[("127.0.0.4:9042", "127.0.0.5:9042")],
        refused: true,
        told: &["sink.cassandra", "is for another host", "tls.server_name"],
    },
    Mistake {
        what: "Cassandra: a certificate for another name",
        program: CDCCONSUMER,
        change: &[("[sink.cassandra.tls]", "[sink.cassandra.tls]\nserver_name = \"elsewhere.test\"")],
        refused: true,
        told: &["sink.cassandra", "tls.server_name"],
    },
    Mistake {
        what: "Cassandra: an expired certificate",
        program: CDCCONSUMER,
        change: &[("127.0.0.4:9042", "127.0.0.5:9043")],
        refused: true,
        told: &["sink.cassandra", "has expired", "renew it"],
    },
    Mistake {
        what: "Cassandra: plaintext to TLS",
        program: CDCCONSUMER,
        change: &[(
            "[sink.cassandra.tls]\nca_file = \"@TLS@/ca.pem\"\ncert_file = \"@TLS@/client.pem\"\nkey_file = \"@TLS@/client.key\"",
            "",
        )],
        refused: false,
        told: &["[sink.cassandra.tls]", "waiting for Cassandra"],
    },
    Mistake {
        what: "Cassandra: TLS to something else",
        program: CDCCONSUMER,
        change: &[("127.0.0.4:9042", "127.0.0.5:9044")],
        refused: true,
        told: &["sink.cassandra", "does not speak TLS", "client_encryption_options"],
    },
    Mistake {
        what: "Cassandra: no client certificate",
        program: CDCCONSUMER,
        change: &[("cert_file = \"@TLS@/client.pem\"\nkey_file = \"@TLS@/client.key\"", "")],
        refused: true,
        told: &["sink.cassandra", "asks for a certificate of ours", "tls.cert_file"],
    },
    Mistake {
        what: "Cassandra: a key of another certificate",
        program: CDCCONSUMER,
        change: &[("key_file = \"@TLS@/client.key\"", "key_file = \"@TLS@/stranger.key\"")],
        refused: true,
        told: &["sink.cassandra.tls.key_file", "is not the key of", "give its own"],
    },
];
