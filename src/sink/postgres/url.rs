//! The Postgres url: read, and everything in it checked that can be without the server.
//!
//! `sslmode` never leaves it to the server whether the connection is encrypted: `allow` and `prefer` are refused, for
//! whoever is between us and the server could then choose plaintext, and see the login.

use std::fs;
use std::net::IpAddr;
use std::str::FromStr as _;

use openssl::pkey::PKey;
use openssl::x509::X509;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::sink::postgres::errors::URL_UNREADABLE;

/// Parameters that sqlx reads. It would log any other, with its value, and go on.
const KNOWN: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A url that can be used.
pub(super) struct Url {
    pub options: PgConnectOptions,
    warning: Option<&'static str>,
}

/// What a url turns off, for the log at every start. An error has the mend, and nothing secret.
pub fn check(url: &str) -> Result<Option<&'static str>, String> {
    read(url).map(|url| url.warning)
}

/// Reads the url; does not connect.
pub(super) fn read(url: &str) -> Result<Url, String> {
    // Other urls are read too, with their parts guessed from the environment: the password would be taken for a name,
    // and names are printed.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(URL_UNREADABLE.into());
    }
    let parameters = parameters(url)?;
    let given = |name: &str| parameters.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let mode = given("sslmode").map(|name| mode(name, given("sslrootcert").is_some())).transpose()?;
    let options = PgConnectOptions::from_str(url).map_err(|_| URL_UNREADABLE.to_string())?;
    let is_here = options.get_socket().is_some() || is_loopback(options.get_host());
    // Nobody is between us and a server on this machine.
    let mode = mode.unwrap_or(if is_here { PgSslMode::Disable } else { PgSslMode::VerifyFull });
    let warning = match mode {
        PgSslMode::Disable if !is_here => Some("sslmode=disable: the login and all rows can be read on the way"),
        PgSslMode::Require => Some("sslmode=require: anyone may pose as the server; use sslmode=verify-full"),
        PgSslMode::VerifyCa => Some(
            "sslmode does not check the host: whoever has any certificate of the CA may pose as the server; use \
             sslmode=verify-full",
        ),
        _ => None,
    };
    if let Some(file) = given("sslrootcert") {
        check_ca(file)?;
    }
    match (given("sslcert"), given("sslkey")) {
        (Some(certificate), Some(key)) => check_own(certificate, key)?,
        (None, None) => {}
        _ => return Err("the url has only one of sslcert and sslkey: give both, or neither".into()),
    }
    Ok(Url { options: options.ssl_mode(mode), warning })
}

fn mode(given: &str, has_ca: bool) -> Result<PgSslMode, String> {
    Ok(match given {
        "disable" => PgSslMode::Disable,
        // As libpq has it: with a CA given, it is checked.
        "require" if !has_ca => PgSslMode::Require,
        "require" | "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        mode @ ("allow" | "prefer") => {
            return Err(format!(
                "sslmode={mode} lets whoever is on the way choose plaintext: write sslmode=verify-full, with sslrootcert \
                 if the CA is your own, or sslmode=disable where nobody can listen"
            ));
        }
        _ => return Err("the url's sslmode is none: write disable, require, verify-ca or verify-full".into()),
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The url's parameters, decoded.
fn parameters(url: &str) -> Result<Vec<(String, String)>, String> {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let mut parameters = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else { return Err(URL_UNREADABLE.into()) };
        if !KNOWN.contains(&name.as_str()) && !name.starts_with("options[") && name != "statement-cache-capacity" {
            return Err(format!(
                "the url has a parameter that is not known, \"{name}\": remove it, or correct its name"
            ));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                rest = &after[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn check_ca(file: &str) -> Result<(), String> {
    let certificates = certificates("sslrootcert", file)?;
    // sqlx hands over the first one alone.
    if certificates.len() > 1 {
        return Err(format!(
            "sslrootcert={file} holds {} certificates, and only the first would be trusted: give a file with the one CA \
             that signs the server's, or name this one in SSL_CERT_FILE in the environment and leave sslrootcert out",
            certificates.len()
        ));
    }
    Ok(())
}

fn check_own(certificate: &str, key: &str) -> Result<(), String> {
    let certificates = certificates("sslcert", certificate)?;
    let text = read_file("sslkey", key)?;
    if !text.starts_with(b"-----BEGIN PRIVATE KEY-----") {
        return Err(format!(
            "sslkey={key} is no unencrypted key in PKCS #8: make one with openssl pkcs8 -topk8 -nodes -in {key} -out FILE"
        ));
    }
    let read = PKey::private_key_from_pem(&text).map_err(|_| format!("sslkey={key} holds no key that can be read"))?;
    let own = certificates[0].public_key().is_ok_and(|public| public.public_eq(&read));
    if own { Ok(()) } else { Err(format!("sslkey={key} is not the key of sslcert={certificate}: give its own")) }
}

/// At least one.
fn certificates(parameter: &str, file: &str) -> Result<Vec<X509>, String> {
    let text = read_file(parameter, file)?;
    let read = X509::stack_from_pem(&text).ok().filter(|read| !read.is_empty());
    read.ok_or_else(|| format!("{parameter}={file} holds no certificate in PEM: correct it"))
}

fn read_file(parameter: &str, file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{parameter}={file}: {error}: correct the path, or who may read it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(url: &str) -> PgSslMode {
        read(url).unwrap_or_else(|why| panic!("{url}: {why}")).options.get_ssl_mode()
    }

    #[test]
    fn tls_is_checked_unless_the_server_is_on_this_machine_or_it_is_turned_off() {
        for url in ["postgres://u@127.0.0.1/d", "postgres://u@localhost/d", "postgres://u@[::1]:5432/d"] {
            assert!(matches!(mode_of(url), PgSslMode::Disable), "{url}");
        }
        assert!(matches!(mode_of("postgres:///d?host=/run/postgresql"), PgSslMode::Disable));
        assert!(matches!(mode_of("postgres://u@db.example.org/d"), PgSslMode::VerifyFull));
        assert!(matches!(mode_of("postgres://u@127.0.0.1/d?sslmode=verify-full"), PgSslMode::VerifyFull));
        assert!(matches!(mode_of("postgres://u@db/d?sslmode=disable"), PgSslMode::Disable));
    }

    #[test]
    fn what_is_turned_off_is_warned_of() {
        let warning = |url: &str| check(url).expect("it is right");
        assert_eq!(warning("postgres://u@db/d"), None);
        assert_eq!(warning("postgres://u@127.0.0.1/d"), None);
        for mode in ["disable", "require", "verify-ca"] {
            assert!(warning(&format!("postgres://u@db/d?sslmode={mode}")).is_some(), "{mode}");
        }
    }

    #[test]
    fn nothing_is_left_to_the_server_and_nothing_unknown_is_passed_on() {
        let told = |url: &str| check(url).expect_err("it is wrong");
        insta::assert_snapshot!(told("postgres://u:hunter2@db/d?sslmode=prefer"), @"sslmode=prefer lets whoever is on the way choose plaintext: write sslmode=verify-full, with sslrootcert if the CA is your own, or sslmode=disable where nobody can listen");
        insta::assert_snapshot!(told("postgres://u@db/d?sslmode=hunter2"), @"the url's sslmode is none: write disable, require, verify-ca or verify-full");
        insta::assert_snapshot!(told("postgres://u@db/d?%73slpassword=hunter2"), @r#"the url has a parameter that is not known, "sslpassword": remove it, or correct its name"#);
        insta::assert_snapshot!(told("postgres://u@db/d?sslrootcert=/nowhere/ca%2epem"), @"sslrootcert=/nowhere/ca.pem: No such file or directory (os error 2): correct the path, or who may read it");
        insta::assert_snapshot!(told("postgres://u@db/d?sslcert=/nowhere/c"), @"the url has only one of sslcert and sslkey: give both, or neither");
        insta::assert_snapshot!(told("mysql://u:hunter2@db/d"), @"the Postgres url cannot be read: it has the form postgres://user:password@host:port/database");
    }
}
