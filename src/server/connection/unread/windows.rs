//! Chooses the size of a connection's stream windows, so that all callers together stay within the limit on unread
//! bytes.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{ConnectionUnread, KIB, MIB};

/// A connection that has sent this many bytes is in use: its streams get an equal share.
const USED: u64 = 64 * KIB;

/// A connection that has sent this many bytes is proven: its streams may get larger windows.
const PROVEN: u64 = 2 * MIB;

/// The windows of all streams of a proven connection together may have the bytes that are left, divided by this.
const PROVEN_DIVISOR: u64 = 16;

/// Stream windows, in bytes.
const LARGEST_WINDOW: u64 = MIB;
pub(super) const SMALLEST_WINDOW: u64 = 4 * KIB;
/// The largest stream window of a new connection.
const MAX_FIRST_WINDOW: u64 = 16 * KIB;
/// The largest equal share. A thousand streams can fill theirs at once without exceeding [`super::LEAST`].
const MAX_EQUAL_WINDOW: u64 = 32 * KIB;

/// Each connection may open this many streams at once and fill their windows, before it learns that the windows have
/// become smaller.
const BURST: usize = 128;

/// How long, at least, a connection's highest number of streams is remembered. A caller whose streams ended together
/// may open as many again at once.
pub(super) const PEAK_PERIOD: Duration = Duration::from_secs(15);

/// The highest number of concurrent calls whose requests had not ended.
#[derive(Debug)]
pub(super) struct Peak(Mutex<Periods>);

/// The highest numbers since `since`, and in the period before it.
#[derive(Debug)]
struct Periods {
    since: Instant,
    latest: usize,
    earlier: usize,
}

impl Peak {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Periods { since: Instant::now(), latest: 0, earlier: 0 }))
    }

    /// The highest recent number, given that the number is `now` now.
    pub(super) fn with(&self, now: usize) -> usize {
        let mut peak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peak.since.elapsed() >= PEAK_PERIOD {
            *peak = Periods { since: Instant::now(), latest: now, earlier: peak.latest };
        }
        peak.latest = peak.latest.max(now);
        peak.latest.max(peak.earlier)
    }
}

impl ConnectionUnread {
    /// The window that each stream of the connection should have: an equal share of the process's limit, with some room
    /// for memory overhead and for bytes that arrive before a change takes effect. While the connection is new, the
    /// share is that of a process whose connections all have [`BURST`] streams, and at most [`MAX_FIRST_WINDOW`].
    ///
    /// The streams of a proven connection may have more. From three quarters of the limit, subtract the unread bytes
    /// and what the streams of other such connections may send; together, the streams get 1/[`PROVEN_DIVISOR`] of the
    /// rest. Streams that have recently ended count as well.
    pub(in crate::server::connection) fn window(&self) -> u32 {
        let process = &self.process.0;
        let receiving = process.receiving.load(Relaxed).max(1);
        let share = |streams: usize, most| {
            stepped((process.limit / 10 * 7 / streams as u64).clamp(SMALLEST_WINDOW, most))
        };
        let window = match self.received.load(Relaxed) {
            PROVEN.. => self.larger_window(share(receiving, MAX_EQUAL_WINDOW)),
            USED.. => share(receiving, MAX_EQUAL_WINDOW),
            _ => share(receiving.max(process.connections.load(Relaxed) * BURST), MAX_FIRST_WINDOW),
        };
        u32::try_from(window).unwrap_or(u32::MAX)
    }

    /// A window of more than `equal` bytes, if there is room for it.
    fn larger_window(&self, equal: u64) -> u64 {
        let process = &self.process.0;
        let granted = self.granted.load(Relaxed);
        let others = process.granted.load(Relaxed).saturating_sub(granted);
        let left =
            (process.limit / 4 * 3).saturating_sub(process.unread.load(Relaxed).saturating_add(others));
        let streams = self.peak.with(self.receiving.load(Relaxed)) as u64;
        if streams == 0 {
            // Releases the grant for other connections. This connection gets a new one with its next streams.
            self.grant(0);
            return equal;
        }
        let window = stepped((left / PROVEN_DIVISOR / streams).clamp(equal, LARGEST_WINDOW));
        self.grant(if window > equal { window * streams } else { 0 });
        window
    }

    pub(super) fn grant(&self, bytes: u64) {
        let before = self.granted.swap(bytes, Relaxed);
        // A single atomic addition, so that concurrent changes are not lost.
        self.process.0.granted.fetch_add(bytes.wrapping_sub(before), Relaxed);
    }
}

/// Rounds down to a power of two, or to one and a half times a power of two, so that windows seldom change.
fn stepped(window: u64) -> u64 {
    let step = 1 << window.ilog2();
    if step + step / 2 <= window { step + step / 2 } else { step }
}
