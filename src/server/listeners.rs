//! Sockets: binding them, and accepting connections that can be cut at shutdown.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::{ServerError, coalesce::Coalesce, prefetch::Prefetch, workers::Counted};

/// How long to wait after a failed accept. What fails for long is the table of open files being full;
/// without a pause the loop would take a whole core until a connection closes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`.
pub(super) async fn bind(address: SocketAddr) -> Result<Listener, ServerError> {
    let refused = |source| ServerError::Listen { address, source };
    let socket = TcpListener::bind(address).await.map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    Ok(Listener { socket, address, cut: CancellationToken::new() })
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    cut: CancellationToken,
}

impl Listener {
    /// Where it listens, with the port that was free if 0 was asked for.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that was accepted here, when cancelled.
    pub(super) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// The next connection, as the system gives it.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Small answers must not wait for the acknowledgement of earlier ones. Where it cannot
                    // be set the connection has gone already, and reading will say so.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = self.next().await;
        (Connection::new(stream, &self.cut, None), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Whether only the connection being accepted is broken, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// An accepted connection. tonic and axum serve each in a task that nothing outside can end, so the
/// socket itself ends it: once cut, reading from it fails.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    reads: Prefetch,
    writes: Coalesce,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _counted: Option<Counted>,
}

impl Connection {
    /// A connection that is cut with `cut`, and `counted` where it is one of many.
    pub(super) fn new(stream: TcpStream, cut: &CancellationToken, counted: Option<Counted>) -> Self {
        // A token of its own: waiting on it then takes no lock that other connections take.
        let cut = Box::pin(cut.child_token().cancelled_owned());
        Self { stream, reads: Prefetch::default(), writes: Coalesce::new(), cut, _counted: counted }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = this.reads.poll_read(&mut this.stream, cx, buf);
        // Looked at only while there is nothing to read, which HTTP/2 comes to after every burst.
        if read.is_pending() && this.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.writes.poll_write(&mut this.stream, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.writes.poll_write(&mut this.stream, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.writes.poll_flush(&mut this.stream, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.writes.poll_shutdown(&mut this.stream, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_one_sentence() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = bind(taken.address()).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on {}: address already in use", taken.address()));
    }

    #[tokio::test]
    async fn a_connection_reads_until_it_is_cut() {
        let mut listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let mut caller = TcpStream::connect(listener.address()).await.unwrap();
        let (mut connection, _) = axum::serve::Listener::accept(&mut listener).await;
        caller.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 5];
        connection.read_exact(&mut buffer).await.unwrap();

        let cut = listener.cut();
        let (read, ()) = tokio::join!(connection.read(&mut buffer), async { cut.cancel() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
