//! A proxy in front of Postgres that can lose the answer to a COMMIT, or everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::database::{HOST, port};

#[derive(Clone, Default)]
pub struct Faults {
    /// The next COMMIT reaches the server; its answer, and its connection, do not come back.
    pub lose_commit: Arc<AtomicBool>,
    /// New connections are closed at once.
    pub refuse: Arc<AtomicBool>,
    /// Set together with `refuse` when a COMMIT was lost.
    pub refuse_after_lost: Arc<AtomicBool>,
}

/// Starts the proxy and returns its port.
pub async fn start(faults: Faults) -> u16 {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if !faults.refuse.load(Ordering::SeqCst) {
                tokio::spawn(carry(client, faults.clone()));
            }
        }
    });
    at
}

async fn carry(mut client: TcpStream, faults: Faults) {
    let mut server = TcpStream::connect((HOST, port())).await.unwrap();
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let commits = up[..length].windows(7).any(|window| window == b"COMMIT\0");
                let lose = commits && faults.lose_commit.swap(false, Ordering::SeqCst);
                if lose {
                    faults.refuse.store(faults.refuse_after_lost.load(Ordering::SeqCst), Ordering::SeqCst);
                }
                server.write_all(&up[..length]).await.unwrap();
                if lose {
                    // The answer says that the server is done with it; nobody hears it.
                    assert!(server.read(&mut down).await.unwrap() > 0, "the server answers");
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}
