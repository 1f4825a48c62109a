//! Whether every worker thread still runs.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How often a thread notes that it runs.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that has not run for so long is stuck. A busy one runs many times a second.
const STUCK: Duration = Duration::from_secs(30);

/// When each thread last ran. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    began: Instant,
    /// By thread, in milliseconds after the beginning.
    last: Arc<[AtomicU64]>,
}

impl Pulse {
    /// Of so many threads, each taken to run now.
    pub(super) fn new(threads: usize) -> Self {
        Self { began: Instant::now(), last: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Notes again and again that `thread` runs. To be polled by that thread.
    pub(super) async fn beat(self, thread: usize) -> Infallible {
        loop {
            if let Some(last) = self.last.get(thread) {
                last.store(self.now(), Relaxed);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The number of a thread that has not run for too long.
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
    async fn a_thread_that_does_not_run_is_stuck() {
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
