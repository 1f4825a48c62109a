//! The bounded queue between the threads that log and the writer thread. Its lock is never held during a write.

use std::{
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a line may wait for others, so that one system call writes many lines.
const DELAY: Duration = Duration::from_millis(50);

/// Once this many bytes wait, they are written without waiting for more.
const FLUSH_AT: usize = 64 * 1024;

/// Log lines that wait to be written.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    state: Mutex<State>,
    /// Signals that there are lines to write, or that they are urgent.
    filled: Condvar,
    /// Signals that lines have been written or lost.
    written: Condvar,
    /// The number of lines dropped so far.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    lines: Vec<u8>,
    /// Whether the lines are written without delay.
    urgent: bool,
    /// The number of lines dropped since the last batch was taken.
    dropped: u64,
    /// The number of bytes ever queued.
    queued: u64,
    /// The number of bytes ever written or lost.
    done: u64,
}

impl State {
    fn is_written(&self) -> bool {
        self.done >= self.queued
    }
}

impl Queue {
    /// A queue of at most `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        let state = State { lines: Vec::new(), urgent: false, dropped: 0, queued: 0, done: 0 };
        Self {
            limit,
            state: Mutex::new(state),
            filled: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues a line, or drops and counts it if there is no room. `urgent` lines are written without delay.
    pub(super) fn add(&self, line: &[u8], urgent: bool) {
        let mut state = self.lock();
        if state.lines.len() + line.len() <= self.limit {
            self.push(&mut state, line, urgent);
        } else {
            state.dropped += 1;
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Queues the final message of a command, even if there is no room.
    pub(super) fn add_anyway(&self, text: &[u8]) {
        self.push(&mut self.lock(), text, true);
    }

    fn push(&self, state: &mut State, line: &[u8], urgent: bool) {
        let before = state.lines.len();
        state.lines.extend_from_slice(line);
        state.queued += line.len() as u64;
        let more_urgent = urgent && !state.urgent;
        state.urgent |= urgent;
        if before == 0 || more_urgent || (before < FLUSH_AT && state.lines.len() >= FLUSH_AT) {
            self.filled.notify_one();
        }
    }

    /// Waits for lines and moves them into `batch`, whose buffer the queue uses for the next lines. Returns how many
    /// lines were dropped after them.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let empty = |state: &mut State| state.lines.is_empty();
        let state = self.filled.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut State| !state.urgent && state.lines.len() < FLUSH_AT;
        let waited = self.filled.wait_timeout_while(state, DELAY, few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.lines, batch);
        state.urgent = false;
        mem::take(&mut state.dropped)
    }

    /// Records that a batch of `bytes` bytes has been written or lost.
    pub(super) fn done(&self, bytes: usize) {
        self.lock().done += bytes as u64;
        self.written.notify_all();
    }

    /// Counts queued lines that could not be written.
    pub(super) fn lost(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// The total number of lines that were dropped or lost.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits at most `limit` until all queued lines have been written or lost, and returns whether they have. Lines
    /// queued in the meantime count too: one of them may report dropped lines.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        if state.is_written() {
            return true;
        }
        state.urgent = true;
        self.filled.notify_one();
        let waited = self.written.wait_timeout_while(state, limit, |state| !state.is_written());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_written()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted_until_a_batch_is_taken() {
        let queue = Queue::new(10);
        queue.add(b"12345\n", false);
        queue.add(b"12345\n", true);
        queue.add(b"123\n", true);
        queue.add(b"\n", true);
        let mut batch = Vec::new();
        assert_eq!(queue.take(&mut batch), 2);
        assert_eq!(batch, b"12345\n123\n");
        queue.add(b"12345\n", true);
        assert_eq!((queue.take(&mut batch), batch.as_slice()), (0, &b"12345\n"[..]));
        queue.lost(1);
        assert_eq!(queue.dropped(), 3);
    }

    #[test]
    fn a_flush_ends_at_its_time_limit_or_when_the_writer_is_done() {
        let queue = Queue::new(100);
        assert!(queue.flush(Duration::ZERO));
        queue.add(b"line\n", false);
        assert!(!queue.flush(Duration::from_millis(10)));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut batch = Vec::new();
                queue.take(&mut batch);
                queue.done(batch.len());
            });
            assert!(queue.flush(Duration::from_secs(30)));
        });
    }

    #[test]
    fn a_final_message_is_queued_beyond_the_limit() {
        let queue = Queue::new(2);
        queue.add_anyway(b"a long sentence\n");
        let mut batch = Vec::new();
        assert_eq!((queue.take(&mut batch), batch.len()), (0, 16));
    }
}
