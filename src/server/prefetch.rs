//! Fewer, larger reads from a connection.

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

/// How much is read at once for a reader that asks for little.
const PREFETCHED: usize = 128 * 1024;
/// A reader that asks for so many bytes reads them itself: copying them would cost more than it saves.
const LARGE: usize = 32 * 1024;

/// Reads more than is asked for, where that is little: HTTP/2 asks for what it knows of the frame that comes, and a caller
/// that sends small frames would cost a system call or two for each. Every such call also wakes the caller, to send as much
/// as has just been taken.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    read: BytesMut,
    /// The last time much was asked for: a frame of the same size follows, of which only the beginning is asked for now.
    large: bool,
}

impl Prefetch {
    /// As `AsyncRead::poll_read` of `stream`.
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
        // What needs no system call counts as work all the same: other connections have their turn.
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

    /// Gives what it has in pieces of at most so many bytes, and then its end.
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

    /// Everything that is read by a reader that asks for `asked` bytes in turn, and how often the source was read.
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
    fn small_frames_are_read_many_at_a_time_and_large_ones_by_themselves() {
        let bytes = vec![7; 16 * PREFETCHED];
        let (_, small) = read(&bytes, usize::MAX, &[9, 16 * 1024]);
        assert!(small <= 2 * 16 + 4, "{small} reads");
        let (_, large) = read(&bytes, usize::MAX, &[8 * 1024, 248 * 1024]);
        assert!(large <= 2 * 16, "{large} reads");
    }

    proptest! {
        #[test]
        fn bytes_come_in_order_however_they_are_asked_for(
            bytes in proptest::collection::vec(any::<u8>(), 0..4_000),
            most in 1_usize..1_000,
            asked in proptest::collection::vec(prop_oneof![1_usize..300, LARGE..LARGE + 9], 1..6),
        ) {
            prop_assert_eq!(read(&bytes, most, &asked).0, bytes);
        }
    }
}
