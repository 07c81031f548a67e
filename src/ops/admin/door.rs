//! Connections to the admin server: no more than there is room for, and none that says nothing for ever.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections that are open at once; others wait to be let in.
pub const CONNECTIONS_MAX: usize = 64;
/// One on which nothing comes and nothing goes for so long is closed. Longer than any answer takes.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// Where they come in.
pub struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

/// A connection that was let in.
pub struct Visit {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Door {
    pub fn new(listener: TcpListener) -> Door {
        Door { listener, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let room = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        // It waits a little when there is no place for a socket, and tries again.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Visit { stream, idle: Box::pin(sleep(IDLE_MAX)), _room: room }, address)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Visit {
    fn moved<T>(&mut self, progress: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match progress {
            Poll::Ready(_) => self.idle.as_mut().reset(Instant::now() + IDLE_MAX),
            Poll::Pending if self.idle.as_mut().poll(context).is_ready() => {
                return Poll::Ready(Err(Error::from(ErrorKind::TimedOut)));
            }
            Poll::Pending => {}
        }
        progress
    }
}

impl AsyncRead for Visit {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.moved(progress, context)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.moved(progress, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
