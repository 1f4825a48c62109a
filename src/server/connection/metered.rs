//! Meters a connection's bytes on their way to and from HTTP/2, and throttles reading when too many are unread.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    flood::Flood,
    frames::{Frame, FrameHeaders, kind},
    unread::ConnectionUnread,
    unsent::ConnectionUnsent,
    window_updates::WindowUpdates,
};

/// The state of a connection, as its bytes show it. [`Metered`] updates it, and the connection's task reads it.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    pub(super) unread: Arc<ConnectionUnread>,
    pub(super) unsent: Arc<ConnectionUnsent>,
    pub(super) window_updates: WindowUpdates,
    last_read: Moment,
    block_since: Moment,
    frame_since: Moment,
    blocked_since: Moment,
    paused_since: Moment,
    was_blocked: AtomicBool,
    has_settings: AtomicBool,
    has_acknowledged: AtomicBool,
    is_flooded: AtomicBool,
}

/// An optional point in time, in nanoseconds after the connection began.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, after: Option<Duration>) {
        // 0 means none.
        let nanos = after.map_or(0, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.0.store(nanos, Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        Some(self.0.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

impl Meter {
    pub(super) fn new(unread: Arc<ConnectionUnread>, unsent: Arc<ConnectionUnsent>) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            unread,
            unsent,
            window_updates: WindowUpdates::default(),
            last_read: Moment::default(),
            block_since: Moment::default(),
            frame_since: Moment::default(),
            blocked_since: Moment::default(),
            paused_since: Moment::default(),
            was_blocked: AtomicBool::new(false),
            has_settings: AtomicBool::new(false),
            has_acknowledged: AtomicBool::new(false),
            is_flooded: AtomicBool::new(false),
        })
    }

    /// When the connection began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When bytes last arrived, or could have: like the other times, without the time that the connection was paused.
    pub(super) fn last_read(&self) -> Instant {
        self.waited_since(self.last_read.get().unwrap_or_default())
    }

    /// When the incomplete header block began, if there is one.
    pub(super) fn block_since(&self) -> Option<Instant> {
        self.block_since.get().map(|after| self.waited_since(after))
    }

    /// When the incomplete frame began, if there is one that is not DATA.
    pub(super) fn frame_since(&self) -> Option<Instant> {
        self.frame_since.get().map(|after| self.waited_since(after))
    }

    /// When writes to the socket blocked, because the caller does not read; `None` if they are not blocked.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since.get().map(|after| self.began + after)
    }

    /// Whether a write has blocked since the last call of [`Meter::forget_blocked`].
    pub(super) fn was_blocked(&self) -> bool {
        self.was_blocked.load(Relaxed) || self.blocked_since.get().is_some()
    }

    pub(super) fn forget_blocked(&self) {
        self.was_blocked.store(false, Relaxed);
    }

    /// Whether the server does not read the connection at the moment, because too many bytes are unread. A connection
    /// whose caller does not read either is not paused: the caller has to read first.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_since.get().is_some() && self.blocked_since.get().is_none()
    }

    fn waited_since(&self, after: Duration) -> Instant {
        if self.is_paused() { Instant::now() } else { self.began + after }
    }

    fn pause(&self) {
        if self.paused_since.get().is_none() {
            self.paused_since.set(Some(self.began.elapsed()));
        }
    }

    /// Ends the pause. The timers of the connection continue as if it had not been: the caller may have sent in time
    /// what is read now.
    fn resume(&self) {
        let Some(since) = self.paused_since.get() else { return };
        let now = self.began.elapsed();
        for moment in [&self.block_since, &self.frame_since] {
            moment.set(moment.get().map(|after| after + now.saturating_sub(since)));
        }
        self.last_read.set(Some(now));
        self.paused_since.set(None);
    }

    /// Whether the caller has sent its first SETTINGS.
    pub(super) fn has_settings(&self) -> bool {
        self.has_settings.load(Relaxed)
    }

    /// Whether the caller has acknowledged SETTINGS since the last call.
    pub(super) fn take_acknowledged(&self) -> bool {
        self.has_acknowledged.swap(false, Relaxed)
    }

    /// Whether the caller has sent too many frames without content.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded.load(Relaxed)
    }
}

/// A connection's stream, with its meter.
#[derive(Debug)]
pub(super) struct Metered<T> {
    inner: T,
    meter: Arc<Meter>,
    headers: FrameHeaders,
    /// Whether the last frame that began is DATA.
    is_data: bool,
    /// The stream of the last frame that began.
    stream: u32,
    flood: Flood,
    /// When the throttled connection is read next.
    pause: Option<Pin<Box<Sleep>>>,
    /// How many more bytes may be read before the next pause.
    at_once: usize,
}

/// How often a throttled connection is read. Most streams that hold unread bytes have no window left, so most bytes that
/// arrive are for calls that make progress.
const PAUSE: Duration = Duration::from_millis(10);

/// How many bytes are read from a throttled connection each time.
const MAX_READ: usize = 64 * 1024;

impl<T> Metered<T> {
    pub(super) fn new(inner: T, meter: Arc<Meter>, max_streams: u32) -> Self {
        let flood = Flood::new(max_streams, meter.began);
        Self {
            inner,
            meter,
            headers: FrameHeaders::default(),
            is_data: false,
            stream: 0,
            flood,
            pause: None,
            at_once: MAX_READ,
        }
    }

    fn poll_resume(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.meter.unread.is_throttled(cx) {
            (self.pause, self.at_once) = (None, MAX_READ);
            return Poll::Ready(());
        }
        if self.at_once > 0 && !self.meter.unread.is_stopped() {
            return Poll::Ready(());
        }
        loop {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            if !self.meter.unread.is_stopped() {
                self.at_once = MAX_READ;
                return Poll::Ready(());
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let since = now - self.meter.began;
        let (meter, flood) = (&self.meter, &mut self.flood);
        meter.last_read.set(Some(since));
        let mut began = false;
        self.headers.read(bytes, |frame: Frame| {
            // DATA of a slow caller may take long to arrive; [`ConnectionUnread`] counts it.
            began = frame.kind != kind::DATA;
            self.is_data = !began;
            let adjacent = frame.stream == self.stream;
            self.stream = frame.stream;
            match frame.kind {
                kind::DATA => meter.unread.arrived(frame.stream, frame.len, adjacent, frame.ends_data()),
                kind::SETTINGS if frame.is_ack() => meter.has_acknowledged.store(true, Relaxed),
                kind::SETTINGS => meter.has_settings.store(true, Relaxed),
                _ => {}
            }
            if let Some(open) = frame.leaves_block_open() {
                // Measured from the first frame of the block.
                if !open || meter.block_since.get().is_none() {
                    meter.block_since.set(open.then_some(since));
                }
            }
            if flood.is_exceeded_by(frame, now) {
                meter.is_flooded.store(true, Relaxed);
            }
        });
        if self.is_data || !self.headers.is_within_frame() {
            meter.frame_since.set(None);
        } else if began || meter.frame_since.get().is_none() {
            meter.frame_since.set(Some(since));
        }
    }
}

impl<T: AsyncRead + Unpin> Metered<T> {
    /// Reads at most `rest` bytes.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        rest: usize,
    ) -> Poll<io::Result<()>> {
        let len = rest.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(len));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        self.read(part.filled());
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // With nothing to read, the connection's task checks the meter, and closes the connection.
        if this.meter.is_flooded() {
            return Poll::Pending;
        }
        if this.poll_resume(cx).is_pending() {
            // The rest of a DATA frame already counts as unread, and the frame cannot be read before it is complete.
            let rest = if this.is_data { this.headers.rest_of_frame() } else { 0 };
            if rest == 0 {
                this.meter.pause();
                return Poll::Pending;
            }
            this.meter.resume();
            return this.poll_rest(cx, buf, rest);
        }
        this.meter.resume();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        this.at_once = this.at_once.saturating_sub(read.len());
        this.read(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Metered<T> {
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.flood.sent(*bytes);
        }
        self.note_blocked(written.is_pending());
        written
    }

    fn note_blocked(&self, blocked: bool) {
        if blocked {
            self.meter.was_blocked.store(true, Relaxed);
        }
        let since = &self.meter.blocked_since;
        if blocked != since.get().is_some() {
            since.set(blocked.then(|| self.meter.began.elapsed()));
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.note_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        server::connection::{Unread, Unsent},
        telemetry::Metrics,
    };

    #[tokio::test(start_paused = true)]
    async fn a_pause_does_not_count_against_the_caller() {
        let metrics = Metrics::default();
        let unread = Unread::new(0, &metrics).connection();
        let meter = Meter::new(unread, Unsent::new(0, Duration::MAX, &metrics).connection());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        meter.block_since.set(Some(second));
        meter.pause();
        tokio::time::advance(10 * second).await;
        assert!(meter.is_paused());
        assert_eq!(meter.last_read(), Instant::now());
        assert_eq!(meter.block_since(), Some(Instant::now()));
        meter.resume();
        tokio::time::advance(second).await;
        assert_eq!(meter.last_read(), Instant::now() - second);
        assert_eq!(
            meter.block_since(),
            Some(Instant::now() - second),
            "it has lasted a second without the pause"
        );
        assert_eq!(meter.frame_since(), None);
    }
}
