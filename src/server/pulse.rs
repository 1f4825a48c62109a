//! Detects worker threads that no longer run.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How often a thread records that it runs.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that has not run for this long is stuck. A busy thread runs many times a second.
const STUCK: Duration = Duration::from_secs(30);

/// When each thread last ran. Cheap to clone; clones share the times.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    began: Instant,
    /// By thread, in milliseconds after `began`.
    last: Arc<[AtomicU64]>,
}

impl Pulse {
    /// Tracks this number of threads, all of which count as running now.
    pub(super) fn new(threads: usize) -> Self {
        Self { began: Instant::now(), last: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Records repeatedly that `thread` runs. That thread must poll this future.
    pub(super) async fn beat(self, thread: usize) -> Infallible {
        loop {
            if let Some(last) = self.last.get(thread) {
                last.store(self.now(), Relaxed);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The number of the first thread that is stuck, if any.
    pub(super) fn stuck(&self) -> Option<usize> {
        self.stuck_at(self.now())
    }

    fn stuck_at(&self, now: u64) -> Option<usize> {
        let limit = now.saturating_sub(millis(STUCK));
        self.last.iter().position(|last| last.load(Relaxed) < limit)
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_thread_that_has_not_run_for_too_long_is_stuck() {
        let pulse = Pulse::new(2);
        let limit = millis(STUCK);
        assert_eq!(pulse.stuck(), None);
        assert_eq!(pulse.stuck_at(limit), None);
        assert_eq!(pulse.stuck_at(limit + 1), Some(0));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(pulse.clone().beat(0).now_or_never().is_none());
        assert_eq!(pulse.stuck_at(limit + 2), Some(1));
    }
}
