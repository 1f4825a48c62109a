//! Limits how fast a socket is read, so that a peer's frames cost little however many it sends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How many bytes may be read in each [`INTERVAL`]. A request for health or metrics has a few hundred.
const BURST: usize = 16 * 1024;
const INTERVAL: Duration = Duration::from_millis(100);

/// Reads a limited number of bytes per second.
#[derive(Debug)]
pub(super) struct Throttled<T> {
    inner: T,
    /// How many bytes may be read before `next`.
    left: usize,
    next: Pin<Box<Sleep>>,
}

impl<T> Throttled<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, left: BURST, next: Box::pin(sleep(INTERVAL)) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Throttled<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            ready!(self.next.as_mut().poll(cx));
            self.left = BURST;
            self.next.as_mut().reset(Instant::now() + INTERVAL);
        }
        let this = &mut *self;
        let most = this.left.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        this.left -= read;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_slowly_and_a_few_bytes_without_delay() {
        let begun = Instant::now();
        let mut flood = Throttled::new(tokio::io::repeat(7).take(10 * BURST as u64));
        let mut bytes = Vec::new();
        flood.read_to_end(&mut bytes).await.unwrap();
        assert_eq!((bytes.len(), bytes.iter().all(|byte| *byte == 7)), (10 * BURST, true));
        assert_eq!(begun.elapsed().as_millis() / INTERVAL.as_millis(), 10);
        let mut few = Throttled::new(&[1, 2, 3][..]);
        assert_eq!((few.read_u8().await.unwrap(), few.read_u8().await.unwrap()), (1, 2));
        assert_eq!(begun.elapsed().as_millis() / INTERVAL.as_millis(), 10, "a few bytes were delayed");
    }
}
