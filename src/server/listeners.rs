//! Listening sockets, and the connections that they accept.

use std::{
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

use super::{ServerError, coalesce::Coalesce, prefetch::Prefetch};

/// How long to wait after a failed accept. The usual lasting cause is the open file limit; without a pause, the loop
/// would use a whole core until a connection closes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`.
pub(super) async fn bind(address: SocketAddr) -> Result<Listener, ServerError> {
    let refused = |source| ServerError::Listen { address, source };
    let socket = TcpListener::bind(address).await.map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    Ok(Listener { socket, address })
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// The bound address, with the actual port if port 0 was requested.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next accepted connection, unbuffered.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Small responses must not wait for the acknowledgement of earlier ones. If the option cannot be
                    // set, the connection is already broken, and the next read reports it.
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

/// Whether only the connection being accepted is broken, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// An accepted connection with buffered reads and writes.
#[derive(Debug)]
pub(super) struct Buffered {
    stream: TcpStream,
    reads: Prefetch,
    writes: Coalesce,
}

impl Buffered {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, reads: Prefetch::default(), writes: Coalesce::new() }
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.reads.poll_read(&mut this.stream, cx, buf)
    }
}

impl AsyncWrite for Buffered {
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
    use super::*;

    #[tokio::test]
    async fn the_error_for_a_port_in_use_is_one_sentence() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = bind(taken.address()).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on {}: address already in use", taken.address()));
    }
}
