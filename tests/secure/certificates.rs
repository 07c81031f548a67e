//! Certificates made for one run: a CA, what it signs, and another CA that signs the wrong ones.

use std::fs;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// A certificate with its key.
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// Until when a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Now,
    UntilYesterday,
}

impl Pair {
    pub fn ca(name: &str) -> Pair {
        let key = key();
        let name = named(name);
        let mut builder = begun(&name, &name, &key, Holds::Now);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Pair { certificate: builder.build(), key }
    }

    /// A certificate for these host names and addresses, for servers and clients alike.
    pub fn sign(&self, name: &str, hosts: &[&str], holds: Holds) -> Pair {
        let key = key();
        let mut builder = begun(&named(name), self.certificate.subject_name(), &key, holds);
        builder.append_extension(BasicConstraints::new().build().unwrap()).unwrap();
        if !hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in hosts {
                let is_address = host.parse::<std::net::IpAddr>().is_ok();
                if is_address {
                    names.ip(host)
                } else {
                    names.dns(host)
                };
            }
            let names = names.build(&builder.x509v3_context(Some(&self.certificate), None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Pair { certificate: builder.build(), key }
    }

    /// NAME.pem, NAME.key, and both in NAME-all.pem, as Java's servers want them.
    pub fn write(&self, folder: &Path, name: &str) {
        let (certificate, key) = (self.certificate.to_pem().unwrap(), self.key.private_key_to_pem_pkcs8().unwrap());
        fs::write(folder.join(format!("{name}.pem")), &certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), &key).unwrap();
        fs::write(folder.join(format!("{name}-all.pem")), [key, certificate].concat()).unwrap();
    }
}

fn begun(subject: &X509Name, issuer: &openssl::x509::X509NameRef, key: &PKey<Private>, holds: Holds) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(150, MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let end = if holds == Holds::Now { now + 86_400 } else { now - 86_400 };
    builder.set_not_before(&Asn1Time::from_unix(now - 10 * 86_400).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(end).unwrap()).unwrap();
    builder
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn named(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_text("CN", name).unwrap();
    builder.build()
}
