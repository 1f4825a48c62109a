//! The time limit of an unfinished message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Measures how long a message has been waited for. It holds no timer before the first wait.
#[derive(Debug)]
pub(super) struct Clock {
    limit: Duration,
    /// Whether the limit starts anew with each arrival of bytes.
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

    /// Nothing is waited for from the caller any more.
    pub(super) fn stop(&mut self) {
        self.since = None;
    }

    /// Ready once the limit has passed. Call it only while bytes are missing.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(end) = since.checked_add(self.limit) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            // The timer belongs to an earlier wait. It is moved only when it fires, which is cheaper than with every frame.
            timer.as_mut().reset(end);
        }
    }
}
