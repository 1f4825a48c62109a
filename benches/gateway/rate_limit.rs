//! Limits a transfer to a number of bytes per second.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// Without a rate it never waits. Time in which no bytes were taken is not credited later.
#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl RateLimit {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate, sleep: None }
    }

    /// The number of bytes to take at a time, chosen so that waits are neither frequent nor long.
    pub(crate) fn piece(&self) -> usize {
        self.rate.map_or(256 * 1024, |_| 64 * 1024)
    }

    /// Records that `bytes` were taken, and schedules when the next ones are due.
    pub(crate) fn took(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        // Timers fire up to two milliseconds late. Measuring from the due time keeps these delays from adding up.
        let due = self.sleep.as_ref().map_or(now, |sleep| sleep.deadline());
        let from = if now.duration_since(due) < Duration::from_millis(20) { due } else { now };
        let until = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(until),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(until))),
        }
    }

    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    /// Waits until the next bytes are due.
    pub(crate) async fn due(&mut self) {
        std::future::poll_fn(|cx| self.poll_due(cx)).await;
    }
}
