//! The bounded queue between the calls and the thread that writes the audit log. Its lock is never held during a write.

use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// How long a line may wait for others, so that one system call writes many lines.
const DELAY: Duration = Duration::from_millis(10);

/// Once this many bytes wait, they are written without waiting for more.
const FLUSH_AT: usize = 64 * 1024;

/// The largest share of the queue that one reservation takes. The rest of a longer line is not counted.
const LARGEST_SHARE: usize = 4;

/// A write that takes longer than this has stalled.
const STALLED: Duration = Duration::from_secs(2);

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Queue {
    /// The free bytes.
    room: Arc<Semaphore>,
    size: usize,
    state: Mutex<State>,
    /// Signals the writer: there are lines to write, or something else to do.
    filled: Condvar,
    /// Signals that lines have been written.
    written: Condvar,
    lines_written: AtomicU64,
    waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// How much of the room `lines` takes.
    taken: usize,
    /// The number of lines in `lines`.
    count: u64,
    /// The number of lines that are not written yet, those of the writer included.
    unwritten: u64,
    is_urgent: bool,
    is_closed: bool,
    reopen: bool,
    /// When the write began that is in progress.
    writing_since: Option<Instant>,
    /// Why the last write failed.
    error: Option<String>,
}

/// Lines that the writer has taken.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<u8>,
    count: u64,
    taken: usize,
}

/// Room in the queue. Dropping it gives back what no line has used.
#[derive(Debug)]
pub struct AuditRoom {
    queue: Arc<Queue>,
    left: AtomicUsize,
}

/// Counts a call as waiting until dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Queue);

impl Queue {
    /// A queue of at most `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(size)),
            size,
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            lines_written: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    /// Room for `bytes`, if there is some.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<AuditRoom> {
        let bytes = self.permits(bytes);
        self.room.try_acquire_many(bytes).ok()?.forget();
        Some(self.reserved(bytes))
    }

    /// Waits for room for `bytes`. First come, first served. Cancel safe.
    pub(super) async fn reserve(self: &Arc<Self>, bytes: usize) -> AuditRoom {
        let bytes = self.permits(bytes);
        // The semaphore is never closed.
        if let Ok(permits) = self.room.acquire_many(bytes).await {
            permits.forget();
        }
        self.reserved(bytes)
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.size / LARGEST_SHARE)).unwrap_or(u32::MAX)
    }

    fn reserved(self: &Arc<Self>, bytes: u32) -> AuditRoom {
        AuditRoom { queue: Arc::clone(self), left: AtomicUsize::new(bytes as usize) }
    }

    pub(super) fn count_waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    pub(super) fn lines_written(&self) -> u64 {
        self.lines_written.load(Relaxed)
    }

    pub(super) fn bytes_in_use(&self) -> usize {
        self.size.saturating_sub(self.room.available_permits())
    }

    fn push(&self, line: &[u8], taken: usize) {
        let mut state = self.lock();
        let before = state.lines.len();
        state.lines.extend_from_slice(line);
        state.taken += taken;
        state.count += 1;
        state.unwritten += 1;
        if before == 0 || (before < FLUSH_AT && state.lines.len() >= FLUSH_AT) {
            self.filled.notify_one();
        }
    }

    /// Waits until there is something to do, and moves the lines into `batch`. Returns false when the queue is closed
    /// and empty.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        let idle = |state: &mut State| state.lines.is_empty() && !state.reopen && !state.is_closed;
        let state = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut State| {
            !state.is_urgent && !state.is_closed && !state.reopen && state.lines.len() < FLUSH_AT
        };
        let waited = self.filled.wait_timeout_while(state, DELAY, few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        batch.lines.clear();
        mem::swap(&mut state.lines, &mut batch.lines);
        batch.taken = mem::take(&mut state.taken);
        batch.count = mem::take(&mut state.count);
        state.writing_since = Some(Instant::now());
        !state.is_closed || !batch.lines.is_empty()
    }

    /// Whether the file is to be opened again. True once for each request.
    pub(super) fn takes_reopen(&self) -> bool {
        mem::take(&mut self.lock().reopen)
    }

    /// Records that the batch has been written.
    pub(super) fn done(&self, batch: &Batch) {
        let mut state = self.lock();
        state.unwritten = state.unwritten.saturating_sub(batch.count);
        state.writing_since = None;
        state.error = None;
        state.is_urgent &= state.unwritten > 0;
        drop(state);
        self.lines_written.fetch_add(batch.count, Relaxed);
        self.room.add_permits(batch.taken);
        self.written.notify_all();
    }

    /// Records that some of the batch has been written.
    pub(super) fn progress(&self) {
        let mut state = self.lock();
        state.writing_since = Some(Instant::now());
        state.error = None;
    }

    /// Records that a write failed, and waits before the next attempt. Returns false if the queue is closed, so that
    /// the writer stops.
    pub(super) fn failed(&self, error: String, pause: Duration) -> bool {
        let mut state = self.lock();
        state.error = Some(error);
        let waits = |state: &mut State| !state.is_closed && !state.reopen;
        let waited = self.filled.wait_timeout_while(state, pause, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_closed
    }

    /// Why lines are not written, if they are not.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let stalled = || state.writing_since.is_some_and(|since| since.elapsed() > STALLED);
        state.error.clone().or_else(|| stalled().then(|| "the reader accepts nothing".to_owned()))
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    /// Waits at most `limit` until all lines have been written, and returns how many have not.
    pub(super) fn flush(&self, limit: Duration) -> u64 {
        let mut state = self.lock();
        state.is_urgent = state.unwritten > 0;
        self.filled.notify_one();
        let waited = self.written.wait_timeout_while(state, limit, |state| state.unwritten > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.unwritten
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditRoom {
    /// Queues a line in up to `most` bytes of this room. Never waits. If the line is longer, it also takes free room of
    /// the queue. A full queue accepts it too.
    pub(super) fn push(&self, line: &[u8], most: usize) {
        let wanted = line.len().min(most);
        let left = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left - wanted.min(left)));
        let own = wanted.min(left.unwrap_or_default());
        let more = self.queue.room.forget_permits(line.len() - own);
        self.queue.push(line, own + more);
    }
}

impl Drop for AuditRoom {
    fn drop(&mut self) {
        self.queue.room.add_permits(*self.left.get_mut());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
