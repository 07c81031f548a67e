//! A way to servers that can be made bad: slow, narrow, silent, or cut in the middle of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What becomes of the bytes in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Each arrives so much later, and as many fit on the way as come.
    Slow(Duration),
    /// So many bytes a second and connection.
    Narrow(u64),
    /// They vanish, and so do those of all connections that were open then, for ever: neither side hears of it.
    Silent,
}

/// Stands in front of servers.
pub struct Proxy {
    /// In the form of CONNECT_ELSEWHERE.
    pub elsewhere: String,
    way: watch::Sender<Way>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Answers that are still to be cut, and whether by a reset.
    cuts: AtomicUsize,
    resets: AtomicUsize,
    /// Answers that were cut, and pieces that were delayed or lost.
    cut: AtomicUsize,
    hurt: AtomicUsize,
}

impl Proxy {
    pub async fn before(servers: &[&'static str]) -> Proxy {
        let (way, seen) = watch::channel(Way::Open);
        let shared = Arc::new(Shared::default());
        let mut elsewhere = Vec::new();
        for server in servers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            elsewhere.push(format!("{server}={}", listener.local_addr().unwrap().port()));
            tokio::spawn(accept(listener, server, seen.clone(), shared.clone()));
        }
        Proxy { elsewhere: elsewhere.join(","), way, shared }
    }

    pub fn becomes(&self, way: Way) {
        self.way.send(way).unwrap();
    }

    /// The next answer ends in its middle, with its connection: in order, or by a reset.
    pub fn cut(&self, by_reset: bool) {
        let cuts = if by_reset { &self.shared.resets } else { &self.shared.cuts };
        cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// How many answers were cut.
    pub fn was_cut(&self) -> usize {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// How many pieces were delayed or lost.
    pub fn has_hurt(&self) -> usize {
        self.shared.hurt.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, server: &'static str, way: watch::Receiver<Way>, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(server).await else { continue };
        // Nothing waits here for more to come.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        tokio::spawn(stand_between(client, server, way.clone(), shared.clone()));
    }
}

/// Both directions end together.
async fn stand_between(client: TcpStream, server: TcpStream, way: watch::Receiver<Way>, shared: Arc<Shared>) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(&mut from_client, to_server, way.clone(), &shared, false) => {}
        () = carry(&mut from_server, to_client, way, &shared, true) => {}
    }
}

/// Reads and writes beside each other, so that what is slow is not narrow.
async fn carry(
    from: &mut OwnedReadHalf,
    to: OwnedWriteHalf,
    way: watch::Receiver<Way>,
    shared: &Shared,
    is_answer: bool,
) {
    let (sender, pieces) = mpsc::channel(1_000);
    let reading = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pass_on(pieces, to, way, shared, is_answer) => {}
        // What was read is passed on before it ends.
        () = async { reading.await; std::future::pending().await } => {}
    }
}

async fn pass_on(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    shared: &Shared,
    is_answer: bool,
) {
    let take = |left: &AtomicUsize| {
        is_answer && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    };
    loop {
        let piece = tokio::select! {
            biased;
            // What is open when it becomes silent stays so, though nothing was under way.
            () = silence(&mut way) => break,
            piece = pieces.recv() => piece,
        };
        let Some((came, piece)) = piece else { return };
        let now = *way.borrow();
        match now {
            Way::Open | Way::Silent => {}
            Way::Slow(delay) => sleep_until(came + delay).await,
            Way::Narrow(bytes) => sleep(Duration::from_secs_f64(piece.len() as f64 / bytes as f64)).await,
        }
        shared.hurt.fetch_add(usize::from(now != Way::Open), Ordering::SeqCst);
        let by_reset = take(&shared.resets);
        if by_reset || take(&shared.cuts) {
            let _ = to.write_all(&piece[..piece.len() / 2]).await;
            shared.cut.fetch_add(1, Ordering::SeqCst);
            if by_reset {
                to.as_ref().set_zero_linger().unwrap();
                // A write half that is dropped would first say that it has nothing more to say.
                to.forget();
            }
            return;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    while pieces.recv().await.is_some() {
        shared.hurt.fetch_add(1, Ordering::SeqCst);
    }
}

async fn silence(way: &mut watch::Receiver<Way>) {
    if way.wait_for(|way| *way == Way::Silent).await.is_err() {
        // The proxy is gone with its test, and nobody will tell.
        std::future::pending::<()>().await;
    }
}
