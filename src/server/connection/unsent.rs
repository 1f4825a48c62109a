//! Counts the response bytes that HTTP/2 has buffered for the socket. They stay there while the caller does not read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::telemetry::Metrics;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The process's limit on unsent bytes is at least this.
const LEAST: u64 = 32 * MIB;

/// The limit on unsent bytes is the memory budget divided by this, but at least [`LEAST`].
const BUDGET_DIVISOR: u64 = 8;

/// A connection may buffer the bytes that are left, divided by this.
const CONNECTION_DIVISOR: u64 = 16;

/// How many bytes every connection may buffer, even if none are left: its caller may be one that reads.
const ALWAYS: u64 = 16 * KIB;

/// A buffered piece counts as at least this many bytes, which is about the memory overhead of a piece.
const PIECE: usize = 256;

/// Unsent bytes of the whole process. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub(in crate::server) struct Unsent(Arc<Process>);

#[derive(Debug)]
struct Process {
    limit: u64,
    bytes: Arc<AtomicU64>,
    idle_timeout: Duration,
}

/// Unsent bytes of one connection.
#[derive(Debug)]
pub(super) struct ConnectionUnsent {
    process: Unsent,
    bytes: AtomicU64,
    /// How many times bytes were sent.
    sent: AtomicU64,
    /// The number of calls that wait for room.
    waiting: AtomicUsize,
    fewer: Notify,
}

/// Bytes of a response, counted until HTTP/2 drops them.
#[derive(Debug)]
pub(super) struct Piece {
    data: Bytes,
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    connection: Arc<ConnectionUnsent>,
    bytes: u64,
}

impl Unsent {
    /// For a process with this memory budget, in bytes. While many bytes are unsent, a connection whose caller reads
    /// nothing for `idle_timeout` is closed.
    pub(in crate::server) fn new(memory_budget: u64, idle_timeout: Duration, metrics: &Metrics) -> Self {
        let bytes = Arc::<AtomicU64>::default();
        metrics.unsent_bytes(Arc::clone(&bytes));
        let limit = (memory_budget / BUDGET_DIVISOR).max(LEAST);
        Self(Arc::new(Process { limit, bytes, idle_timeout }))
    }

    pub(super) fn connection(&self) -> Arc<ConnectionUnsent> {
        Arc::new(ConnectionUnsent {
            process: self.clone(),
            bytes: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            fewer: Notify::new(),
        })
    }
}

impl ConnectionUnsent {
    /// How many more bytes the connection may buffer.
    pub(super) fn room(&self) -> usize {
        let process = &self.process.0;
        let left = process.limit.saturating_sub(process.bytes.load(Relaxed));
        let most = (left / CONNECTION_DIVISOR).max(ALWAYS);
        usize::try_from(most.saturating_sub(self.bytes.load(Relaxed))).unwrap_or(usize::MAX)
    }

    /// Waits until there is room, and returns [`Self::room`].
    pub(super) async fn wait_for_room(&self) -> usize {
        let _waiting = Waiting::new(self);
        loop {
            match self.room() {
                0 => self.fewer.notified().await,
                room => return room,
            }
        }
    }

    /// Counts `data` as unsent.
    pub(super) fn piece(self: &Arc<Self>, data: Bytes) -> Piece {
        let bytes = data.len().max(PIECE) as u64;
        self.bytes.fetch_add(bytes, Relaxed);
        self.process.0.bytes.fetch_add(bytes, Relaxed);
        self.wake_one();
        Piece { data, counted: Some(Counted { connection: Arc::clone(self), bytes }) }
    }

    /// A number that changes while the caller reads; `None` if there is nothing to read.
    pub(super) fn progress(&self) -> Option<u64> {
        (self.bytes.load(Relaxed) > 0).then(|| self.sent.load(Relaxed))
    }

    /// How long the caller may read nothing; `None` while the process has few unsent bytes.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let process = &self.process.0;
        (process.bytes.load(Relaxed) >= process.limit / 2).then_some(process.idle_timeout)
    }

    /// Wakes one waiting call, if there is room. That call wakes the next one, if it leaves room.
    pub(super) fn wake_one(&self) {
        if self.waiting.load(Relaxed) > 0 && self.room() > 0 {
            self.fewer.notify_one();
        }
    }
}

/// A call that waits for room.
struct Waiting<'a>(&'a ConnectionUnsent);

impl<'a> Waiting<'a> {
    fn new(connection: &'a ConnectionUnsent) -> Self {
        connection.waiting.fetch_add(1, Relaxed);
        Self(connection)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connection.bytes.fetch_sub(self.bytes, Relaxed);
        self.connection.process.0.bytes.fetch_sub(self.bytes, Relaxed);
        self.connection.wake_one();
    }
}

impl Piece {
    /// A piece without bytes.
    pub(super) fn empty() -> Self {
        Self { data: Bytes::new(), counted: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.data
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        if let Some(Counted { connection, .. }) = &self.counted {
            connection.sent.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn process() -> Unsent {
        Unsent::new(0, Duration::from_mins(1), &Metrics::default())
    }

    fn bytes(process: &Unsent) -> u64 {
        process.0.bytes.load(Relaxed)
    }

    /// Buffers 16 KiB at a time while there is room.
    fn fill(connection: &Arc<ConnectionUnsent>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            match connection.room() {
                0 => return pieces,
                room => pieces.push(connection.piece(Bytes::from(vec![0; room.min(16 * 1024)]))),
            }
        }
    }

    #[test]
    fn bytes_are_unsent_until_their_piece_is_dropped() {
        let process = process();
        let connection = process.connection();
        let mut large = connection.piece(Bytes::from(vec![0; 1_000]));
        let small = connection.piece(Bytes::from_static(b"x"));
        assert_eq!(bytes(&process), 1_256);
        large.advance(999);
        assert_eq!(bytes(&process), 1_256, "the memory is kept until all of it is sent");
        drop((large, small));
        assert_eq!(bytes(&process), 0);
    }

    #[test]
    fn progress_changes_only_when_the_caller_reads() {
        let connection = process().connection();
        assert_eq!(connection.progress(), None, "there is nothing to read");
        let (mut first, last) =
            (connection.piece(Bytes::from_static(b"xyz")), connection.piece(Bytes::from_static(b"1")));
        let before = connection.progress();
        drop(last);
        assert_eq!(connection.progress(), before, "a cancelled call is not progress");
        first.advance(1);
        assert_ne!(connection.progress(), before);
        drop(first);
        assert_eq!(connection.progress(), None);
    }

    #[test]
    fn many_connections_stay_within_the_limit_and_each_has_room_for_some_bytes() {
        let process = process();
        let filled: Vec<_> = (0..1_000).map(|_| fill(&process.connection())).collect();
        assert!(bytes(&process) <= LEAST + 1_000 * ALWAYS, "{}", bytes(&process));
        assert!(filled.iter().all(|pieces| !pieces.is_empty()));
    }

    #[test]
    fn one_connection_leaves_room_for_others() {
        let process = process();
        let greedy = process.connection();
        let _pieces = fill(&greedy);
        let room = process.connection().room();
        assert!(room as u64 >= MIB, "{room}");
    }

    #[test]
    fn calls_that_wait_for_room_are_woken_one_at_a_time() {
        let process = process();
        let connection = process.connection();
        let mut pieces = fill(&connection);
        let mut first = Box::pin(connection.wait_for_room());
        let mut second = Box::pin(connection.wait_for_room());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(pieces.swap_remove(0));
        assert!(first.as_mut().now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_none());
        let _sent = connection.piece(Bytes::from_static(b"x"));
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[test]
    fn callers_may_read_slowly_while_few_bytes_are_unsent() {
        let process = process();
        let connection = process.connection();
        assert_eq!(connection.idle_timeout(), None);
        let _filled: Vec<_> = (0..100).map(|_| fill(&process.connection())).collect();
        assert_eq!(connection.idle_timeout(), Some(Duration::from_mins(1)));
    }
}
