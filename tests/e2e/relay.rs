//! A way to a server that can be cut and mended.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands in front of one server.
pub struct Relay {
    /// Where to connect in the server's place.
    pub address: String,
    is_open: watch::Sender<bool>,
}

impl Relay {
    pub async fn before(server: &'static str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_open, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, seen.clone()));
            }
        });
        Relay { address, is_open }
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.is_open.send(false).unwrap();
    }

    pub fn mend(&self) {
        self.is_open.send(true).unwrap();
    }
}

async fn carry(mut client: TcpStream, server: &str, mut is_open: watch::Receiver<bool>) {
    let both_ways = async {
        let mut server = TcpStream::connect(server).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        _ = is_open.wait_for(|open| !open) => {}
        _ = both_ways => {}
    }
}
