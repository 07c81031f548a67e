//! Someone who poses as a server: a real handshake with the wrong certificate, or bytes that are no TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use openssl::ssl::{SslAcceptor, SslMethod};

use crate::certificates::Pair;

/// What is said before the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Nothing,
    /// The question for TLS and the answer S.
    Postgres,
}

/// Listens until the process ends, and answers every connection with this certificate.
pub fn pose(address: &str, opening: Opening, shown: &Pair) {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&shown.certificate).unwrap();
    acceptor.set_private_key(&shown.key).unwrap();
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let acceptor = acceptor.clone();
            std::thread::spawn(move || {
                if opening == Opening::Postgres {
                    let mut question = [0; 8];
                    stream.read_exact(&mut question).and_then(|()| stream.write_all(b"S"))?;
                }
                // Whoever believes it has failed the test: it gets no further.
                acceptor.accept(stream).map(drop).map_err(std::io::Error::other)
            });
        }
    });
}

/// Listens until the process ends, and answers every connection with these bytes.
pub fn answer(address: &str, bytes: &'static [u8]) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(bytes));
        }
    });
}
