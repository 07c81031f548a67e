//! Whom a node has to be, against a real handshake.

use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslStream};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::{Doubt, Tls};

/// A certificate that signs itself, for these.
fn certificate(address: &str, name: &str) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", "node").unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new().ip(address).dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// Connects to a node that shows the certificate, at 127.0.0.1 and as the driver does. `Err` has the doubt.
fn shakes_hands(tls: &Tls, shown: &(X509, PKey<Private>)) -> Result<(), Option<String>> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&shown.0).unwrap();
    acceptor.set_private_key(&shown.1).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let node = std::thread::spawn(move || drop(acceptor.accept(listener.accept().unwrap().0)));
    let doubt = Doubt::default();
    let mut ssl = Ssl::new(&tls.connector(&doubt).unwrap().build().into_context()).unwrap();
    ssl.param_mut().set_ip(IpAddr::from([127, 0, 0, 1])).unwrap();
    let connected = SslStream::new(ssl, TcpStream::connect(address).unwrap()).unwrap().connect();
    node.join().unwrap();
    connected.map_err(|_| doubt.take())
}

#[test]
fn a_node_has_to_be_who_its_address_or_the_given_name_says() {
    let here = certificate("127.0.0.1", "here.test");
    let elsewhere = certificate("127.0.0.9", "elsewhere.test");
    for (shown, server_name, doubt) in [
        (&here, None, None),
        (&elsewhere, None, Some("IP address mismatch")),
        (&elsewhere, Some("elsewhere.test"), None),
        (&here, Some("elsewhere.test"), Some("hostname mismatch")),
        (&elsewhere, Some("here.test"), Some("hostname mismatch")),
    ] {
        let file = File::new(&shown.0.to_pem().unwrap());
        let tls = Tls { ca_file: Some(file.0.clone()), server_name: server_name.map(Into::into), ..Tls::default() };
        let shaken = shakes_hands(&tls, shown);
        assert_eq!(shaken, doubt.map_or(Ok(()), |doubt| Err(Some(doubt.into()))), "{server_name:?}");
    }
    // Trusted by name and by nobody.
    let named = Tls { server_name: Some("here.test".into()), ..Tls::default() };
    assert_eq!(shakes_hands(&named, &here), Err(Some("self-signed certificate".into())));
    let insecure = Tls { insecure_skip_verify: true, ..Tls::default() };
    assert_eq!(shakes_hands(&insecure, &elsewhere), Ok(()));
}

/// Removed at the end of its test.
struct File(PathBuf);

impl File {
    fn new(text: &[u8]) -> File {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rowferry-tls-{}-{number}.pem", std::process::id()));
        fs::write(&path, text).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
