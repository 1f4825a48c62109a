//! The time limit for an unfinished message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Measures how long the server has waited for a message. It creates no timer before the first wait.
#[derive(Debug)]
pub(super) struct Clock {
    limit: Duration,
    /// Whether the limit restarts each time bytes arrive.
    restarts: bool,
    /// When the wait began.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    pub(super) fn new(limit: Duration, restarts: bool) -> Self {
        Self { limit, restarts, since: None, timer: None }
    }

    /// Bytes arrived.
    pub(super) fn arrived(&mut self) {
        if self.restarts {
            self.since = None;
        }
    }

    /// The server no longer waits for the caller.
    pub(super) fn stop(&mut self) {
        self.since = None;
    }

    /// Ready when the limit has passed. Call it only while bytes are missing.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(end) = since.checked_add(self.limit) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            // The timer is from an earlier wait. Resetting it only when it fires is cheaper than resetting it with
            // every frame.
            timer.as_mut().reset(end);
        }
    }
}
