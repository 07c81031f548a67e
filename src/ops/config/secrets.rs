//! Secrets, and the files that they may come from: every secret setting `x` has a sibling `x_file`.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::ops::config::{Config, MASK, Secret};

/// Longer than any certificate chain, and short enough to read by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Any other type is refused here, and not by serde, whose words repeat the value.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.into()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(no_text())
    }
}

fn no_text<E: Error>() -> E {
    E::custom("a secret is a string: put it in quotes")
}

/// A url with nothing in it that could be a secret: who, where and which database.
pub(super) fn without_password<S: Serializer>(url: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    let address = url.0.split('?').next().unwrap_or_default();
    let told = address.split_once("://").and_then(|(scheme, rest)| {
        let (login, place) = rest.rsplit_once('@')?;
        let user = login.split(':').next().unwrap_or_default();
        Some(format!("{scheme}://{user}:{MASK}@{place}"))
    });
    serializer.serialize_str(told.as_deref().unwrap_or(MASK))
}

/// Reads the files that secrets are in, and puts each secret where it is used.
pub(super) fn resolve(config: &mut Config, problems: &mut Vec<String>) {
    for (section, postgres) in
        [("source.postgres", &mut config.source.postgres), ("sink.postgres", &mut config.sink.postgres)]
    {
        if let Some(postgres) = postgres {
            let mut url = Some(postgres.url.clone()).filter(|url| !url.0.is_empty());
            if url.is_none() && postgres.url_file.is_none() {
                problems.push(format!("{section}: give `url`, or `url_file` with the path of a file that holds it"));
            }
            fill(&mut url, postgres.url_file.as_deref(), section, "url", problems);
            fill(&mut postgres.password, postgres.password_file.as_deref(), section, "password", problems);
            let Some(url) = url else { continue };
            match &postgres.password {
                None => postgres.url = url,
                Some(password) => match with_password(&url, password) {
                    Ok(complete) => postgres.url = complete,
                    Err(problem) => problems.push(format!("{section}.{problem}")),
                },
            }
        }
    }
    for (section, consumer) in
        [("consumer.admin", &mut config.consumer), ("cdcconsumer.admin", &mut config.cdcconsumer)]
    {
        let Some(admin) = consumer.as_mut().map(|consumer| &mut consumer.admin) else { continue };
        fill(&mut admin.token, admin.token_file.as_deref(), section, "token", problems);
    }
    if let Some(cassandra) = &mut config.sink.cassandra {
        let file = cassandra.password_file.as_deref();
        fill(&mut cassandra.password, file, "sink.cassandra", "password", problems);
    }
    for (name, file) in &config.kafka.properties_from_files.0 {
        match read(Path::new(file)) {
            _ if config.kafka.properties.0.contains_key(name) => problems
                .push(format!("kafka.properties_from_files, {name}: it is in [kafka.properties] too: give it once")),
            Ok(text) => drop(config.kafka.properties.0.insert(name.clone(), text)),
            Err(why) => problems.push(format!("kafka.properties_from_files, {name} = \"{file}\": {why}")),
        }
    }
}

fn fill(secret: &mut Option<Secret>, file: Option<&Path>, section: &str, key: &str, problems: &mut Vec<String>) {
    let Some(file) = file else { return };
    match read(file) {
        _ if secret.is_some() => problems.push(format!("{section}: give one of {key} and {key}_file")),
        Ok(text) => *secret = Some(Secret(text)),
        Err(why) => problems.push(format!("{section}.{key}_file = \"{}\": {why}", file.display())),
    }
}

/// The file's text without its last line break.
fn read(file: &Path) -> Result<String, String> {
    let length = fs::metadata(file).map_err(|error| format!("{error}: correct the path, or who may read it"))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("the file has {length} bytes, a secret at most {FILE_BYTES_MAX}: name the right one"));
    }
    let bytes = fs::read(file).map_err(|error| format!("{error}: correct the path, or who may read it"))?;
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text: name the right one".to_string())?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err("the file is empty: write the secret into it".into()) } else { Ok(text.into()) }
}

/// The url with the password in it, so that one value has everything.
fn with_password(url: &Secret, password: &Secret) -> Result<Secret, String> {
    const FORM: &str = "password needs a url of the form postgres://user@host:port/database";
    let (scheme, rest) = url.0.split_once("://").ok_or(FORM)?;
    let (address, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = address.rsplit_once('@').filter(|(user, _)| !user.is_empty()).ok_or(FORM)?;
    if user.contains(':') {
        return Err("url has a password already: give it there or as `password`, once".into());
    }
    let password: String = password.0.bytes().map(encoded).collect();
    Ok(Secret(format!("{scheme}://{user}:{password}@{host}{path}")))
}

fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}
