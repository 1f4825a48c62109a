//! Combines small writes to a connection into fewer, larger ones.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;

/// The capacity of the buffer, in bytes. A smaller one is worse than none, and a larger one gains nothing.
const BUFFER_CAPACITY: usize = 128 * 1024;
/// A write of at least this many bytes goes out immediately, after the buffered bytes: copying it into the buffer would
/// cost more than it saves.
const LARGE: usize = 32 * 1024;
/// How many slices one write includes in addition to the buffer.
const MAX_SLICES: usize = 63;

/// Buffers writes. The buffer is written when it is full, or when the connection's task is polled again after a flush.
/// HTTP/2 flushes after every frame or two, so without the buffer each of many small responses would cost a system
/// call.
#[derive(Debug)]
pub(super) struct Coalesce {
    buffer: BytesMut,
    /// Whether a flush has been deferred until the connection's task is polled again.
    flush_deferred: bool,
    /// Whether the stream did not accept the whole buffer. Until it does, nothing more is buffered.
    blocked: bool,
}

impl Coalesce {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), flush_deferred: false, blocked: false }
    }

    /// Like `AsyncWrite::poll_write_vectored` on `stream`.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if len >= LARGE {
            return self.write_through(stream, cx, pieces);
        }
        if self.blocked || self.buffer.len() + len > BUFFER_CAPACITY {
            ready!(self.write_gathered(stream, cx))?;
        }
        self.buffer.reserve(len);
        for piece in pieces {
            self.buffer.extend_from_slice(piece);
        }
        Poll::Ready(Ok(len))
    }

    /// Like `AsyncWrite::poll_flush` on `stream`.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.flush_deferred = false;
        } else if !self.flush_deferred {
            // Other HTTP/2 streams that are ready are polled first, so that their frames join this write.
            self.flush_deferred = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.write_gathered(stream, cx))?;
        self.flush_deferred = false;
        Pin::new(stream).poll_flush(cx)
    }

    /// Like `AsyncWrite::poll_shutdown` on `stream`.
    pub(super) fn poll_shutdown<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.write_gathered(stream, cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }

    /// Writes the buffer and `pieces` in one system call. Only written bytes of `pieces` are reported, so the loop
    /// continues until there are some.
    fn write_through<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.buffer.is_empty() {
                return Pin::new(stream).poll_write_vectored(cx, pieces);
            }
            let mut all = [IoSlice::new(&[]); MAX_SLICES + 1];
            all[0] = IoSlice::new(&self.buffer);
            let taken = pieces.len().min(MAX_SLICES);
            all[1..=taken].copy_from_slice(&pieces[..taken]);
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &all[..=taken]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_gathered = written.min(self.buffer.len());
            self.buffer.advance(of_gathered);
            if written > of_gathered {
                return Poll::Ready(Ok(written - of_gathered));
            }
        }
    }

    fn write_gathered<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let written = Pin::new(&mut *stream).poll_write(cx, &self.buffer);
            self.blocked = written.is_pending();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(written);
        }
        // An idle connection keeps no buffer.
        self.buffer = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Accepts at most `most` bytes at a time, and returns `Pending` every other time.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        most: usize,
        ready: bool,
        writes: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.ready = !self.ready;
            if !self.ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.writes += 1;
            let len = buf.len().min(self.most);
            self.taken.extend_from_slice(&buf[..len]);
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(coalesce: &mut Coalesce, stream: &mut Slow, mut piece: &[u8]) {
        while !piece.is_empty() {
            let written =
                std::future::poll_fn(|cx| coalesce.poll_write(stream, cx, &[IoSlice::new(piece)])).await;
            piece = &piece[written.unwrap()..];
        }
    }

    async fn flush(coalesce: &mut Coalesce, stream: &mut Slow) {
        std::future::poll_fn(|cx| coalesce.poll_flush(stream, cx)).await.unwrap();
    }

    #[tokio::test]
    async fn small_writes_are_combined_into_one() {
        let (mut coalesce, mut stream) = (Coalesce::new(), Slow { most: usize::MAX, ..Slow::default() });
        for _ in 0..100 {
            write(&mut coalesce, &mut stream, b"a frame").await;
        }
        flush(&mut coalesce, &mut stream).await;
        assert_eq!((stream.writes, stream.taken.len()), (1, 700));
    }

    proptest! {
        #[test]
        fn everything_arrives_in_order(
            sizes in proptest::collection::vec((0_usize..100_000, any::<bool>()), 1..12),
            most in 1_000_usize..200_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (taken, expected) = runtime.block_on(async {
                let (mut coalesce, mut stream) = (Coalesce::new(), Slow { most, ..Slow::default() });
                let mut expected = Vec::new();
                for (number, (size, flushed)) in sizes.into_iter().enumerate() {
                    let piece = vec![u8::try_from(number).unwrap(); size];
                    write(&mut coalesce, &mut stream, &piece).await;
                    expected.extend(piece);
                    if flushed {
                        flush(&mut coalesce, &mut stream).await;
                        assert_eq!(stream.taken.len(), expected.len());
                    }
                }
                flush(&mut coalesce, &mut stream).await;
                (stream.taken, expected)
            });
            prop_assert!(taken == expected);
        }
    }
}
