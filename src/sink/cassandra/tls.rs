//! TLS with the nodes, through OpenSSL: what is trusted, what is shown to them, and why a node was not believed.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use crate::sink::Failure;
use crate::sink::tls::{Trouble, trouble};

/// How the nodes are believed, and who we are to them. Paths are of PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The CAs that sign the nodes' certificates; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, with its chain, and its key: both or neither.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The name that every node's certificate is for; without it each has to be for the node's address.
    pub server_name: Option<String>,
    /// Believe any certificate.
    pub insecure_skip_verify: bool,
}

/// OpenSSL's `X509_V_ERR_IP_ADDRESS_MISMATCH`.
const IP_ADDRESS_MISMATCH: i32 = 64;

/// Why the last certificate was not believed, which the handshake's error does not say.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<String>>>);

impl Doubt {
    /// Told once.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }
}

impl Tls {
    /// Everything that speaks against these settings, found without a node. Each begins with the setting's name.
    pub fn problem(&self) -> Option<String> {
        self.connector(&Doubt::default()).err()
    }

    /// What the driver makes connections with.
    pub(super) fn context(&self, doubt: &Doubt) -> Result<SslConnectorBuilder, Failure> {
        self.connector(doubt).map_err(|problem| Failure::Stop(format!("tls.{problem}")))
    }

    fn connector(&self, doubt: &Doubt) -> Result<SslConnectorBuilder, String> {
        let openssl = |error: ErrorStack| format!("OpenSSL cannot be set up: {error}");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(openssl)?;
        if let Some(file) = &self.ca_file {
            let mut store = X509StoreBuilder::new().map_err(openssl)?;
            for certificate in certificates("ca_file", file)? {
                store.add_cert(certificate).map_err(openssl)?;
            }
            builder.set_cert_store(store.build());
        }
        match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) => show(&mut builder, certificate, key)?,
            (None, None) => {}
            _ => return Err("cert_file, tls.key_file: only one of them is given: give both, or neither".into()),
        }
        if let Some(name) = &self.server_name {
            let named = builder.verify_param_mut().set_host(name);
            named.map_err(|_| format!("server_name = \"{name}\": give a host name"))?;
        }
        if self.insecure_skip_verify {
            builder.set_verify(SslVerifyMode::NONE);
            return Ok(builder);
        }
        let (doubt, has_name) = (doubt.clone(), self.server_name.is_some());
        builder.set_verify_callback(SslVerifyMode::PEER, move |believed, context| {
            // The driver always asks for the node's address as well. The name was checked before it.
            if !believed && has_name && context.error().as_raw() == IP_ADDRESS_MISMATCH {
                return true;
            }
            if !believed {
                doubt.note(context.error().error_string());
            }
            believed
        });
        Ok(builder)
    }
}

/// Our certificate and its key, which has to be its own.
fn show(builder: &mut SslConnectorBuilder, certificate: &Path, key: &Path) -> Result<(), String> {
    let mut chain = certificates("cert_file", certificate)?.into_iter();
    let text = read_file("key_file", key)?;
    // An encrypted key would be asked for on the terminal.
    let read = PKey::private_key_from_pem_callback(&text, |_| Ok(0));
    let read = read.map_err(|_| format!("key_file = \"{}\" holds no unencrypted key in PEM", key.display()))?;
    let own = chain.next().ok_or(()).and_then(|first| builder.set_certificate(&first).map_err(drop));
    if own.is_err() || builder.set_private_key(&read).is_err() || builder.check_private_key().is_err() {
        return Err(format!(
            "key_file = \"{}\" is not the key of cert_file = \"{}\": give its own",
            key.display(),
            certificate.display()
        ));
    }
    for above in chain {
        let added = builder.add_extra_chain_cert(above);
        added.map_err(|_| format!("cert_file = \"{}\": its chain cannot be read", certificate.display()))?;
    }
    Ok(())
}

/// At least one.
fn certificates(setting: &str, file: &Path) -> Result<Vec<X509>, String> {
    let read = X509::stack_from_pem(&read_file(setting, file)?).ok().filter(|read| !read.is_empty());
    read.ok_or_else(|| format!("{setting} = \"{}\" holds no certificate in PEM: correct it", file.display()))
}

fn read_file(setting: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file)
        .map_err(|error| format!("{setting} = \"{}\": {error}: correct the path, or who may read it", file.display()))
}

/// The failure of a connection, if TLS is what a person has to mend.
pub(super) fn failure(error: &(dyn Error + 'static), doubt: Option<&str>) -> Option<Failure> {
    let mut said = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        said.push_str(&format!("; {error}"));
        below = error.source();
    }
    let why = match doubt.and_then(trouble).or_else(|| trouble(&said))? {
        Trouble::Untrusted => {
            "the node's certificate is signed by no CA that is trusted here: give its CA as tls.ca_file".to_string()
        }
        Trouble::WrongHost => "the node's certificate is for another host: have it made for the addresses in `nodes` \
                               and those the cluster knows, or give the name that it is for as tls.server_name"
            .into(),
        Trouble::Expired => "the node's certificate, or its CA's, has expired: renew it".into(),
        Trouble::NotYetValid => {
            "the node's certificate is not valid yet: correct the clock, here or where it was made".into()
        }
        Trouble::OwnCertificate => {
            "the node asks for a certificate of ours, and misses it or does not accept it: correct tls.cert_file and \
             tls.key_file"
                .into()
        }
        Trouble::NoTls => "the node does not speak TLS at this port: remove [sink.cassandra.tls], or turn on \
                           client_encryption_options there"
            .into(),
    };
    Some(Failure::Stop(format!("Cassandra: {why}")))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
