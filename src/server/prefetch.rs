//! Combines small reads from a connection into fewer, larger ones.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::coop::poll_proceed,
};
use tokio_util::io::poll_read_buf;

/// How many bytes to read at a time for a reader that asks for few.
const PREFETCHED: usize = 128 * 1024;
/// A reader that asks for at least this many bytes reads directly from the stream: copying would cost more than it
/// saves.
const LARGE: usize = 32 * 1024;

/// Reads ahead when the reader asks for few bytes. HTTP/2 asks only for the bytes of the next frame, so a caller that
/// sends small frames would cost one or two system calls for each. Every such system call also wakes the caller, to
/// send as many bytes as were just read.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    read: BytesMut,
    /// Whether the last request was large. A frame of the same size usually follows; HTTP/2 asks for its beginning
    /// first, and that small request must not read ahead.
    large: bool,
}

impl Prefetch {
    /// Like `AsyncRead::poll_read` on `stream`.
    pub(super) fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            let large = buf.remaining() >= LARGE;
            if std::mem::replace(&mut self.large, large) || large {
                return Pin::new(stream).poll_read(cx, buf);
            }
            self.read.reserve(PREFETCHED);
            let Poll::Ready(read) = poll_read_buf(Pin::new(stream), cx, &mut self.read) else {
                // An idle connection keeps no buffer.
                self.read = BytesMut::new();
                return Poll::Pending;
            };
            read?;
        }
        // A read from the buffer also counts against the task's budget, so that other connections get polled.
        let turn = ready!(poll_proceed(cx));
        turn.made_progress();
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..len]);
        self.read.advance(len);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Returns its bytes in pieces of at most `most` bytes, then end of file.
    struct Source {
        left: BytesMut,
        most: usize,
        reads: usize,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            // Not ready every third time.
            if self.reads.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let len = self.left.len().min(self.most).min(buf.remaining());
            buf.put_slice(&self.left.split_to(len));
            Poll::Ready(Ok(()))
        }
    }

    /// Reads everything, with the sizes in `asked` in turn. Returns the bytes, and the number of reads of the source.
    fn read(bytes: &[u8], most: usize, asked: &[usize]) -> (Vec<u8>, usize) {
        let mut source = Source { left: BytesMut::from(bytes), most, reads: 0 };
        let (mut prefetch, mut found) = (Prefetch::default(), Vec::new());
        let mut context = Context::from_waker(Waker::noop());
        for asked in asked.iter().cycle() {
            let mut space = vec![0; *asked];
            let mut buf = ReadBuf::new(&mut space);
            match prefetch.poll_read(&mut source, &mut context, &mut buf) {
                Poll::Pending => {}
                Poll::Ready(outcome) => {
                    outcome.unwrap();
                    if buf.filled().is_empty() {
                        break;
                    }
                    found.extend_from_slice(buf.filled());
                }
            }
        }
        (found, source.reads)
    }

    #[test]
    fn small_frames_share_a_read_and_large_frames_are_read_directly() {
        let bytes = vec![7; 16 * PREFETCHED];
        let (_, small) = read(&bytes, usize::MAX, &[9, 16 * 1024]);
        assert!(small <= 2 * 16 + 4, "{small} reads");
        let (_, large) = read(&bytes, usize::MAX, &[8 * 1024, 248 * 1024]);
        assert!(large <= 2 * 16, "{large} reads");
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_whatever_sizes_are_requested(
            bytes in proptest::collection::vec(any::<u8>(), 0..4_000),
            most in 1_usize..1_000,
            asked in proptest::collection::vec(prop_oneof![1_usize..300, LARGE..LARGE + 9], 1..6),
        ) {
            prop_assert_eq!(read(&bytes, most, &asked).0, bytes);
        }
    }
}
