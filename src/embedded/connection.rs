//! A caller's connection, which an injected fault may break.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

const WHOLE: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// Tells the [`Wire`] of the same connection whether to break it, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection {
    state: Arc<AtomicU8>,
}

/// How to break a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The operating system closes the connection (FIN).
    Close,
    /// The operating system resets the connection (RST).
    Reset,
}

/// A fault breaks the connection, so there is no response.
#[derive(Debug, thiserror::Error)]
#[error("an injected fault broke the connection")]
pub(super) struct Broken;

impl Connection {
    /// Breaks the connection once the response bytes so far have been handed to the operating system.
    pub(super) fn end(&self, how: Break) {
        let state = match how {
            Break::Close => CLOSED,
            Break::Reset => RESET,
        };
        self.state.store(state, Ordering::Relaxed);
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }
}

/// A TCP connection that ends when its [`Connection`] says so.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    connection: Connection,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self { stream, connection }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.connection.state() == RESET {
            // With a linger time of zero, the close that follows sends a reset (RFC 9293, 3.10.5 ABORT).
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// hyper flushes after it has written everything it has, and drops the connection if the flush fails.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        Poll::Ready(match self.connection.state() {
            WHOLE => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::ConnectionAborted, Broken)),
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.connection.state() {
            // A shutdown would send FIN before the reset.
            RESET => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
