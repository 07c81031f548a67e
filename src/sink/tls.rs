//! What went wrong with TLS, as OpenSSL says it to both drivers.

/// What a person has to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Signed by nobody who is trusted here.
    Untrusted,
    /// Made for other names or addresses.
    WrongHost,
    Expired,
    NotYetValid,
    /// The server does not accept our certificate, or misses one.
    OwnCertificate,
    /// What answers does not speak TLS.
    NoTls,
}

/// Words of OpenSSL and the drivers; the first that is found decides.
const SAID: [(&str, Trouble); 21] = [
    ("hostname mismatch", Trouble::WrongHost),
    ("IP address mismatch", Trouble::WrongHost),
    ("certificate has expired", Trouble::Expired),
    ("certificate is not yet valid", Trouble::NotYetValid),
    ("self-signed certificate", Trouble::Untrusted),
    ("self signed certificate", Trouble::Untrusted),
    ("unable to get local issuer certificate", Trouble::Untrusted),
    ("unable to get issuer certificate", Trouble::Untrusted),
    ("unable to verify the first certificate", Trouble::Untrusted),
    ("invalid CA certificate", Trouble::Untrusted),
    ("certificate signature failure", Trouble::Untrusted),
    ("alert certificate required", Trouble::OwnCertificate),
    ("alert bad certificate", Trouble::OwnCertificate),
    ("alert unsupported certificate", Trouble::OwnCertificate),
    ("alert certificate revoked", Trouble::OwnCertificate),
    ("alert certificate expired", Trouble::OwnCertificate),
    ("alert certificate unknown", Trouble::OwnCertificate),
    ("alert unknown ca", Trouble::OwnCertificate),
    ("certificate verify failed", Trouble::Untrusted),
    ("wrong version number", Trouble::NoTls),
    ("server does not support TLS", Trouble::NoTls),
];

/// What an error says. `None`: nothing of this, so it may pass, as when a server goes away in the middle of it.
pub fn trouble(said: &str) -> Option<Trouble> {
    SAID.iter().find(|(words, _)| said.contains(words)).map(|(_, trouble)| *trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_outranks_that_it_failed() {
        let failed =
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:c:1889:";
        assert_eq!(trouble(failed), Some(Trouble::Untrusted));
        assert_eq!(trouble(&format!("{failed} (hostname mismatch)")), Some(Trouble::WrongHost));
        assert_eq!(trouble(&format!("{failed} (certificate has expired)")), Some(Trouble::Expired));
    }

    #[test]
    fn a_broken_handshake_may_pass() {
        assert_eq!(trouble("unexpected eof while reading"), None);
        assert_eq!(trouble("Connection reset by peer (os error 104)"), None);
    }
}
