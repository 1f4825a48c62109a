//! Fewer, larger writes to a connection.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;

/// How much is gathered at most. Less is worse than nothing, and more gains nothing.
const GATHERED: usize = 128 * 1024;
/// A write of so many bytes goes out at once, behind what was gathered: copying it would cost more than it saves.
const LARGE: usize = 32 * 1024;
/// How many pieces one write takes beside what was gathered.
const PIECES: usize = 63;

/// Gathers what is written, and writes it when it is much, or when the connection has had its turn: HTTP/2 flushes
/// after each frame or two, and many small answers then cost a system call each.
#[derive(Debug)]
pub(super) struct Coalesce {
    gathered: BytesMut,
    /// A flush was asked for, and put off until the connection's next turn.
    put_off: bool,
    /// The stream did not take all of what was gathered: until it does, no more is.
    blocked: bool,
}

impl Coalesce {
    pub(super) fn new() -> Self {
        Self { gathered: BytesMut::new(), put_off: false, blocked: false }
    }

    /// As `AsyncWrite::poll_write_vectored` of `stream`.
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
        if self.blocked || self.gathered.len() + len > GATHERED {
            ready!(self.write_gathered(stream, cx))?;
        }
        self.gathered.reserve(len);
        for piece in pieces {
            self.gathered.extend_from_slice(piece);
        }
        Poll::Ready(Ok(len))
    }

    /// As `AsyncWrite::poll_flush` of `stream`.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gathered.is_empty() {
            self.put_off = false;
        } else if !self.put_off {
            // The streams that are ready by now have their turn first, and what they say goes along.
            self.put_off = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.write_gathered(stream, cx))?;
        self.put_off = false;
        Pin::new(stream).poll_flush(cx)
    }

    /// As `AsyncWrite::poll_shutdown` of `stream`.
    pub(super) fn poll_shutdown<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.write_gathered(stream, cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }

    /// Everything in one system call. What is told to be written is of `pieces` only, so it goes on until some is.
    fn write_through<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.gathered.is_empty() {
                return Pin::new(stream).poll_write_vectored(cx, pieces);
            }
            let mut all = [IoSlice::new(&[]); PIECES + 1];
            all[0] = IoSlice::new(&self.gathered);
            let taken = pieces.len().min(PIECES);
            all[1..=taken].copy_from_slice(&pieces[..taken]);
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &all[..=taken]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_gathered = written.min(self.gathered.len());
            self.gathered.advance(of_gathered);
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
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut *stream).poll_write(cx, &self.gathered);
            self.blocked = written.is_pending();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        // An idle connection keeps no buffer.
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes at most so many bytes at a time, and is not ready every other time.
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
    async fn small_writes_become_one() {
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
