//! Counts the request bytes that have arrived but that no call has read yet. HTTP/2's flow control lets callers send
//! them in advance.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::Metrics;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The process's limit on unread bytes is at least this.
const LEAST: u64 = 64 * MIB;

/// The limit on unread bytes is the memory budget divided by this, but at least [`LEAST`].
const BUDGET_DIVISOR: u64 = 4;

/// A buffered frame counts as at least this many bytes, which is about the memory overhead of a frame.
const FRAME: u64 = 256;

/// A connection that has sent this many bytes is proven: its streams may get larger windows.
const PROVEN: u64 = 2 * MIB;

/// The windows of all streams of a proven connection together may have the bytes that are left, divided by this.
const PROVEN_DIVISOR: u64 = 16;

/// Stream windows, in bytes.
const LARGEST_WINDOW: u64 = MIB;
const SMALLEST_WINDOW: u64 = 4 * KIB;
/// The largest stream window of a connection that is not proven yet. A thousand streams can fill theirs at once without
/// exceeding [`LEAST`].
const MAX_UNPROVEN_WINDOW: u32 = 32 * 1024;

/// How long, at least, a connection's highest number of streams is remembered. A caller whose streams ended together
/// may open as many again at once.
const PEAK_PERIOD: Duration = Duration::from_secs(15);

/// Unread bytes of the whole process. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub(in crate::server) struct Unread(Arc<Process>);

#[derive(Debug)]
struct Process {
    limit: u64,
    unread: Arc<AtomicU64>,
    /// How many bytes the streams with larger windows may together send in advance.
    granted: AtomicU64,
    /// The number of calls whose requests have not ended.
    receiving: AtomicUsize,
    connections: AtomicUsize,
    /// Connections, by number, that are read slowly until calls have read enough bytes.
    throttled: Mutex<HashMap<usize, Waker>>,
    throttled_count: AtomicUsize,
    /// The number of the next connection.
    next: AtomicUsize,
}

/// Unread bytes of one connection, by stream.
#[derive(Debug)]
pub(super) struct ConnectionUnread {
    process: Unread,
    number: usize,
    total: AtomicU64,
    receiving: AtomicUsize,
    received: AtomicU64,
    /// How many bytes the streams of this connection may together send in advance; 0 unless their windows are larger.
    granted: AtomicU64,
    streams: Mutex<Streams>,
    peak: Mutex<Peak>,
}

/// The highest number of concurrent calls whose requests had not ended: since `since`, and in the period before it.
#[derive(Debug)]
struct Peak {
    since: Instant,
    latest: usize,
    earlier: usize,
}

#[derive(Debug, Default)]
struct Streams {
    /// Calls that read their requests.
    open: HashMap<u32, Stream>,
    /// Streams whose data arrived before their call began.
    early: HashMap<u32, Stream>,
    last_opened: u32,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    unread: u64,
    /// Whether the header of the last frame has arrived. The frame may still be incomplete.
    end_seen: bool,
}

impl Unread {
    /// For a process with this memory budget, in bytes.
    pub(in crate::server) fn new(memory_budget: u64, metrics: &Metrics) -> Self {
        let unread = Arc::<AtomicU64>::default();
        metrics.unread_bytes(Arc::clone(&unread));
        Self(Arc::new(Process {
            limit: (memory_budget / BUDGET_DIVISOR).max(LEAST),
            unread,
            granted: AtomicU64::new(0),
            receiving: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            throttled: Mutex::default(),
            throttled_count: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }))
    }

    pub(super) fn connection(&self) -> Arc<ConnectionUnread> {
        self.0.connections.fetch_add(1, Relaxed);
        Arc::new(ConnectionUnread {
            process: self.clone(),
            number: self.0.next.fetch_add(1, Relaxed),
            total: AtomicU64::new(0),
            receiving: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            streams: Mutex::default(),
            peak: Mutex::new(Peak { since: Instant::now(), latest: 0, earlier: 0 }),
        })
    }

    fn sub(&self, bytes: u64) {
        let left = self.0.unread.fetch_sub(bytes, Relaxed).saturating_sub(bytes);
        if self.0.throttled_count.load(Relaxed) > 0 && left < self.0.limit / 8 * 7 {
            let throttled = mem::take(&mut *self.0.throttled.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.throttled_count.store(0, Relaxed);
            throttled.into_values().for_each(Waker::wake);
        }
    }
}

impl ConnectionUnread {
    /// Counts a DATA frame whose header has arrived. `last`: whether it is the last of its stream.
    pub(super) fn arrived(&self, stream: u32, len: usize, last: bool) {
        let len = counted(len);
        {
            let mut streams = self.streams();
            let Streams { open, early, last_opened } = &mut *streams;
            let stream = match open.get_mut(&stream) {
                Some(open) => open,
                None if stream > *last_opened => early.entry(stream).or_default(),
                // The call has ended: `h2` drops the frame.
                None => return,
            };
            stream.unread += len;
            stream.end_seen |= last;
        }
        self.received.fetch_add(len, Relaxed);
        self.total.fetch_add(len, Relaxed);
        self.process.0.unread.fetch_add(len, Relaxed);
    }

    /// Records that a call begins to read its request on `stream`.
    pub(super) fn open(&self, stream: u32) {
        let mut streams = self.streams();
        let early = streams.early.remove(&stream).unwrap_or_default();
        streams.last_opened = streams.last_opened.max(stream);
        streams.open.insert(stream, early);
        drop(streams);
        let receiving = self.receiving.fetch_add(1, Relaxed) + 1;
        self.peak(receiving);
        self.process.0.receiving.fetch_add(1, Relaxed);
    }

    /// Stops counting the data of streams without a call. Every call whose headers have arrived has begun by now, and
    /// `h2` drops the data of other streams.
    pub(super) fn drop_early(&self) {
        let mut streams = self.streams();
        if streams.early.is_empty() {
            return;
        }
        let dropped = mem::take(&mut streams.early).into_values().map(|stream| stream.unread).sum();
        drop(streams);
        self.sub(dropped);
    }

    /// Records that a call has finished with a frame.
    pub(super) fn taken(&self, stream: u32, len: usize) {
        let len = counted(len);
        let mut streams = self.streams();
        let Some(stream) = streams.open.get_mut(&stream) else { return };
        let taken = len.min(stream.unread);
        stream.unread -= taken;
        drop(streams);
        self.sub(taken);
    }

    /// The maximum number of bytes that a call can still read, if the end of its request has arrived.
    pub(super) fn rest(&self, stream: u32) -> Option<u64> {
        self.streams().open.get(&stream).filter(|stream| stream.end_seen).map(|stream| stream.unread)
    }

    /// Records that a call has read its request to the end, or will read no more of it.
    pub(super) fn close(&self, stream: u32) {
        let Some(rest) = self.streams().open.remove(&stream) else { return };
        self.sub(rest.unread);
        self.receiving.fetch_sub(1, Relaxed);
        self.process.0.receiving.fetch_sub(1, Relaxed);
    }

    /// Whether the connection has to be read slowly, because the process has too many unread bytes and this connection
    /// has more than an equal share of them. If so, the task is woken when there are fewer.
    pub(super) fn is_throttled(&self, cx: &Context<'_>) -> bool {
        let process = &self.process.0;
        if process.unread.load(Relaxed) < process.limit {
            return false;
        }
        let connections = process.connections.load(Relaxed).max(1) as u64;
        if self.total.load(Relaxed) <= (process.limit / connections).max(SMALLEST_WINDOW) {
            return false;
        }
        let mut throttled = process.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        throttled.insert(self.number, cx.waker().clone());
        process.throttled_count.store(throttled.len(), Relaxed);
        // Check again: a call may have read bytes before it could see this throttled connection.
        process.unread.load(Relaxed) >= process.limit
    }

    /// Whether the process has so many unread bytes that a throttled connection is not read at all.
    pub(super) fn is_stopped(&self) -> bool {
        let process = &self.process.0;
        process.unread.load(Relaxed) >= process.limit / 4 * 5
    }

    /// The window that each stream of the connection should have: an equal share of the process's limit, with some room
    /// for bytes that arrive before a change takes effect, and at most [`MAX_UNPROVEN_WINDOW`].
    ///
    /// The streams of a proven connection may have more. From three quarters of the limit, subtract the unread bytes
    /// and what the streams of other such connections may send; together, the streams get 1/[`PROVEN_DIVISOR`] of the
    /// rest. Streams that have recently ended count as well.
    pub(super) fn window(&self) -> u32 {
        let process = &self.process.0;
        let equal = process.limit / 8 * 7 / (process.receiving.load(Relaxed).max(1) as u64);
        let equal = stepped(equal.clamp(SMALLEST_WINDOW, MAX_UNPROVEN_WINDOW.into()));
        let larger = if self.received.load(Relaxed) >= PROVEN { self.larger_window(equal) } else { equal };
        u32::try_from(larger).unwrap_or(u32::MAX)
    }

    /// A window of more than `equal` bytes, if there is room for it.
    fn larger_window(&self, equal: u64) -> u64 {
        let process = &self.process.0;
        let granted = self.granted.load(Relaxed);
        let others = process.granted.load(Relaxed).saturating_sub(granted);
        let left =
            (process.limit / 4 * 3).saturating_sub(process.unread.load(Relaxed).saturating_add(others));
        let streams = self.peak(self.receiving.load(Relaxed)) as u64;
        if streams == 0 {
            // Releases the grant for other connections. This connection gets a new one with its next streams.
            self.grant(0);
            return equal;
        }
        let window = stepped((left / PROVEN_DIVISOR / streams).clamp(equal, LARGEST_WINDOW));
        self.grant(if window > equal { window * streams } else { 0 });
        window
    }

    fn grant(&self, bytes: u64) {
        let before = self.granted.swap(bytes, Relaxed);
        // A single atomic addition, so that concurrent changes are not lost.
        self.process.0.granted.fetch_add(bytes.wrapping_sub(before), Relaxed);
    }

    /// The highest recent number of concurrent calls whose requests had not ended, given that there are `receiving`
    /// now.
    fn peak(&self, receiving: usize) -> usize {
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        if peak.since.elapsed() >= PEAK_PERIOD {
            *peak = Peak { since: Instant::now(), latest: receiving, earlier: peak.latest };
        }
        peak.latest = peak.latest.max(receiving);
        peak.latest.max(peak.earlier)
    }

    fn sub(&self, bytes: u64) {
        if bytes > 0 {
            self.total.fetch_sub(bytes, Relaxed);
            self.process.sub(bytes);
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rounds down to a power of two, or to one and a half times a power of two, so that windows seldom change.
fn stepped(window: u64) -> u64 {
    let step = 1 << window.ilog2();
    if step + step / 2 <= window { step + step / 2 } else { step }
}

impl Drop for ConnectionUnread {
    fn drop(&mut self) {
        self.grant(0);
        let receiving = self.receiving.load(Relaxed);
        self.process.0.receiving.fetch_sub(receiving, Relaxed);
        self.process.0.connections.fetch_sub(1, Relaxed);
        self.process.0.throttled.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.process.sub(self.total.load(Relaxed));
    }
}

fn counted(len: usize) -> u64 {
    if len == 0 { 0 } else { (len as u64).max(FRAME) }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const KILO: usize = 1024;

    fn bytes(process: &Unread) -> u64 {
        process.0.unread.load(Relaxed)
    }

    #[test]
    fn bytes_are_unread_until_their_call_reads_them_or_ends() {
        let process = Unread::new(0, &Metrics::default());
        let connection = process.connection();
        connection.arrived(1, 3 * KILO, false);
        connection.open(1);
        connection.arrived(1, KILO, false);
        connection.arrived(1, 1, false);
        assert_eq!(bytes(&process), 4 * KIB + FRAME);
        connection.taken(1, 3 * KILO);
        connection.taken(1, KILO);
        assert_eq!(bytes(&process), FRAME);
        connection.close(1);
        connection.arrived(1, KILO, false);
        assert_eq!(bytes(&process), 0);
    }

    #[test]
    fn the_rest_of_a_request_is_known_once_its_end_has_arrived() {
        let connection = Unread::new(0, &Metrics::default()).connection();
        connection.arrived(1, 2 * KILO, true);
        connection.open(1);
        assert_eq!(connection.rest(1), Some(2 * KIB));
        connection.taken(1, KILO);
        assert_eq!(connection.rest(1), Some(KIB));
        connection.open(3);
        connection.arrived(3, KILO, false);
        assert_eq!(connection.rest(3), None);
        connection.arrived(3, 0, true);
        assert_eq!(connection.rest(3), Some(KIB));
    }

    #[test]
    fn data_of_streams_without_a_call_stops_counting() {
        let process = Unread::new(0, &Metrics::default());
        let connection = process.connection();
        for stream in [1, 3, 5, 3] {
            connection.arrived(stream, KILO, false);
        }
        connection.open(3);
        assert_eq!(bytes(&process), 4 * KIB);
        connection.drop_early();
        assert_eq!(bytes(&process), 2 * KIB);
        connection.close(3);
        assert_eq!(bytes(&process), 0);
        connection.arrived(9, KILO, false);
        drop(connection);
        assert_eq!(bytes(&process), 0);
    }

    #[test]
    fn a_connection_that_holds_more_than_its_share_is_throttled_and_woken() {
        struct Woken(AtomicUsize);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let context = Context::from_waker(&waker);
        let process = Unread::new(0, &Metrics::default());
        let (hog, other) = (process.connection(), process.connection());
        hog.open(1);
        other.open(1);
        let limit = usize::try_from(LEAST).unwrap();
        hog.arrived(1, limit - KILO, false);
        assert!(!hog.is_throttled(&context));
        other.arrived(1, KILO, false);
        assert!(hog.is_throttled(&context));
        assert!(!other.is_throttled(&context));
        hog.taken(1, limit / 16);
        assert_eq!(woken.0.load(Relaxed), 0, "too few bytes were read to resume");
        hog.taken(1, limit / 8);
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(!hog.is_throttled(&context));
    }

    #[test]
    fn all_streams_together_stay_within_the_limit() {
        let process = Unread::new(0, &Metrics::default());
        let connection = process.connection();
        assert_eq!(connection.window(), 32 << 10, "nothing is known about the caller");
        connection.open(1);
        connection.arrived(1, 2 << 20, false);
        assert_eq!(connection.window(), 1 << 20);
        connection.arrived(1, 54 << 20, false);
        assert_eq!(connection.window(), 32 << 10, "many bytes are unread");
        connection.taken(1, 54 << 20);
        for streams in [2_u32, 8, 9, 32, 33, 1_000, 2_000, 10_000] {
            let first = 2 * connection.receiving.load(Relaxed) + 1;
            (u32::try_from(first).unwrap()..2 * streams)
                .step_by(2)
                .for_each(|stream| connection.open(stream));
            assert_eq!(connection.receiving.load(Relaxed), streams as usize);
            assert!(u64::from(streams) * u64::from(connection.window()) <= LEAST, "{streams}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn windows_stay_small_while_recently_ended_streams_may_return() {
        let process = Unread::new(0, &Metrics::default());
        let connection = process.connection();
        (1..100).step_by(2).for_each(|stream| connection.open(stream));
        connection.arrived(1, 2 << 20, false);
        let window = connection.window();
        assert!(window < 128 << 10, "{window}");
        (1..100).step_by(2).for_each(|stream| connection.close(stream));
        connection.open(101);
        tokio::time::advance(PEAK_PERIOD).await;
        assert!(connection.window() < 128 << 10, "{}", connection.window());
        tokio::time::advance(PEAK_PERIOD).await;
        assert_eq!(connection.window(), 1 << 20);
    }

    #[test]
    fn connections_with_larger_windows_stay_within_the_limit_together() {
        let process = Unread::new(0, &Metrics::default());
        let connections: Vec<_> = (0..400).map(|_| process.connection()).collect();
        for connection in &connections {
            connection.open(1);
            connection.arrived(1, 2 << 20, false);
            connection.taken(1, 2 << 20);
        }
        let windows: Vec<_> = connections.iter().map(|connection| connection.window()).collect();
        assert_eq!(windows[0], 1 << 20);
        for (connection, window) in connections.iter().zip(windows) {
            connection.arrived(1, usize::try_from(window).unwrap(), false);
        }
        assert!((LEAST / 2..LEAST).contains(&bytes(&process)), "{}", bytes(&process));
    }
}
