//! Counts the request bytes that have arrived but that no call has read yet, by the memory that they use. HTTP/2's flow
//! control lets callers send them in advance.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
};

use self::windows::{Peak, SMALLEST_WINDOW};
use crate::telemetry::Metrics;

mod windows;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The process's limit on unread bytes is at least this.
const LEAST: u64 = 64 * MIB;

/// The limit on unread bytes is the memory budget divided by this, but at least [`LEAST`].
const BUDGET_DIVISOR: u64 = 4;

/// The least memory, in bytes, that a buffered frame uses if it follows a frame of the same stream.
const FRAME: u64 = 256;

/// The usual size of a buffer into which `h2` reads, in bytes. A frame keeps the whole buffer alive, even if everything
/// else in it has been taken.
const READ_BUFFER: u64 = 8 * KIB;

/// The most memory, in bytes, that data counts as whose call has not begun while `h2` has not handled all frames.
const MAX_EARLY: u64 = 256 * KIB;

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
    peak: Peak,
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
    /// The request bytes that the call has not read yet.
    bytes: u64,
    /// The memory that they use.
    memory: u64,
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
            peak: Peak::new(),
        })
    }

    fn sub(&self, bytes: u64) {
        let left = self.0.unread.fetch_sub(bytes, Relaxed).saturating_sub(bytes);
        if self.0.throttled_count.load(Relaxed) > 0 && left < self.0.limit / 4 * 3 {
            let throttled = mem::take(&mut *self.0.throttled.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.throttled_count.store(0, Relaxed);
            throttled.into_values().for_each(Waker::wake);
        }
    }
}

impl ConnectionUnread {
    /// Counts a DATA frame whose header has arrived. `adjacent`: whether the frame before it is of the same stream.
    /// `last`: whether it is the last of its stream.
    pub(super) fn arrived(&self, stream: u32, len: usize, adjacent: bool, last: bool) {
        let len = len as u64;
        let memory = memory_of(len, adjacent);
        let mut streams = self.streams();
        let Streams { open, early, last_opened } = &mut *streams;
        let stream = match open.get_mut(&stream) {
            Some(open) => open,
            None if stream > *last_opened => early.entry(stream).or_default(),
            // The call has ended: `h2` drops the frame.
            None => return,
        };
        stream.bytes += len;
        stream.memory += memory;
        stream.end_seen |= last;
        // While the lock is held, so that the call cannot subtract these bytes before they are added.
        self.received.fetch_add(len, Relaxed);
        self.total.fetch_add(memory, Relaxed);
        self.process.0.unread.fetch_add(memory, Relaxed);
    }

    /// Records that a call begins to read its request on `stream`.
    pub(super) fn open(&self, stream: u32) {
        let mut streams = self.streams();
        let early = streams.early.remove(&stream).unwrap_or_default();
        streams.last_opened = streams.last_opened.max(stream);
        streams.open.insert(stream, early);
        drop(streams);
        let receiving = self.receiving.fetch_add(1, Relaxed) + 1;
        self.peak.with(receiving);
        self.process.0.receiving.fetch_add(1, Relaxed);
    }

    /// Stops counting the data of streams without a call. `handled`: whether `h2` has handled everything that has
    /// arrived, so that every call whose headers have arrived has begun, and `h2` drops the data of other streams.
    /// Otherwise calls may still begin, and a little data counts until then; more than that can only be data of streams
    /// that `h2` has rejected.
    pub(super) fn drop_early(&self, handled: bool) {
        let mut streams = self.streams();
        if streams.early.is_empty() {
            return;
        }
        let memory: u64 = streams.early.values().map(|stream| stream.memory).sum();
        if !handled && memory < MAX_EARLY {
            return;
        }
        streams.early.clear();
        drop(streams);
        self.sub(memory);
    }

    /// Records that a call has finished with a frame.
    pub(super) fn taken(&self, stream: u32, len: usize) {
        let len = len as u64;
        let mut streams = self.streams();
        let Some(stream) = streams.open.get_mut(&stream) else { return };
        // An average, because frames use different amounts of memory. The stream's last unread byte releases the rest.
        let memory = if len < stream.bytes { stream.memory * len / stream.bytes } else { stream.memory };
        stream.bytes = stream.bytes.saturating_sub(len);
        stream.memory -= memory;
        drop(streams);
        self.sub(memory);
    }

    /// The maximum number of bytes that a call can still read, if the end of its request has arrived.
    pub(super) fn rest(&self, stream: u32) -> Option<u64> {
        self.streams().open.get(&stream).filter(|stream| stream.end_seen).map(|stream| stream.bytes)
    }

    /// Records that a call has read its request to the end, or will read no more of it.
    pub(super) fn close(&self, stream: u32) {
        let Some(rest) = self.streams().open.remove(&stream) else { return };
        self.sub(rest.memory);
        self.receiving.fetch_sub(1, Relaxed);
        self.process.0.receiving.fetch_sub(1, Relaxed);
    }

    /// Whether the connection has to be read slowly, because the process has too many unread bytes and this connection
    /// has more than an equal share of them. If so, the task is woken when there are fewer.
    pub(super) fn is_throttled(&self, cx: &Context<'_>) -> bool {
        let process = &self.process.0;
        let throttle = process.limit / 8 * 7;
        if process.unread.load(Relaxed) < throttle {
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
        process.unread.load(Relaxed) >= throttle
    }

    /// Whether the process has as many unread bytes as it may have, so that a throttled connection is not read at all.
    pub(super) fn is_stopped(&self) -> bool {
        let process = &self.process.0;
        process.unread.load(Relaxed) >= process.limit
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

/// The memory that a buffered frame of `len` bytes may use. The allocator rounds sizes up by as much as a quarter. Small
/// frames of different streams may each keep a read buffer alive; frames of half its size share it.
fn memory_of(len: u64, adjacent: bool) -> u64 {
    let least = if adjacent { FRAME } else { READ_BUFFER.saturating_sub(len) };
    if len == 0 { 0 } else { (len + len / 4).max(least) }
}

#[cfg(test)]
mod tests;
