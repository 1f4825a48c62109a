//! Reads files on threads for blocking work, one read at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

/// How long reading the files may take. A network file system can hang.
pub(super) const LONGEST_READ: Duration = Duration::from_mins(1);

/// Runs reads of files. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct FileReads {
    /// Whether a read is running. A read that takes too long keeps running on its thread.
    is_busy: Arc<AtomicBool>,
}

/// Why a read returned nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It, or the one before it, takes longer than [`LONGEST_READ`].
    Hangs,
    /// It panicked.
    Panicked,
    /// The process is shutting down.
    ShuttingDown,
}

impl FileReads {
    /// Runs `read` on a thread of its own. It does not start while an earlier read hangs, so at most one thread hangs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        if self.is_busy.swap(true, Relaxed) {
            return Err(ReadError::Hangs);
        }
        let is_busy = Arc::clone(&self.is_busy);
        let read = move || {
            let done = read();
            is_busy.store(false, Relaxed);
            done
        };
        match timeout(LONGEST_READ, spawn_blocking(read)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                self.is_busy.store(false, Relaxed);
                Err(if error.is_panic() { ReadError::Panicked } else { ReadError::ShuttingDown })
            }
            Err(_) => Err(ReadError::Hangs),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_one_thread_waits_for_a_read_that_hangs() {
        let reads = FileReads::default();
        let (release, released) = mpsc::channel::<()>();
        let hanging = reads.run(move || released.recv().is_ok());
        let (outcome, ()) =
            tokio::join!(hanging, tokio::time::advance(LONGEST_READ + Duration::from_secs(1)));
        assert_eq!(outcome, Err(ReadError::Hangs));
        assert_eq!(reads.run(|| ()).await, Err(ReadError::Hangs));
        release.send(()).unwrap();
        while reads.is_busy.load(Relaxed) {
            thread::yield_now();
        }
        assert_eq!(reads.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn reads_go_on_after_one_that_panics() {
        let reads = FileReads::default();
        let panics = reads.run(|| assert!(reads_nothing(), "this read panics"));
        assert_eq!(panics.await, Err(ReadError::Panicked));
        assert_eq!(reads.run(|| 1).await, Ok(1));
    }

    fn reads_nothing() -> bool {
        false
    }
}
