//! Waits, before a message is read, until the limits on bytes per second allow it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::future::BoxFuture;

use crate::{api::CallFacts, telemetry::Direction};

/// What the messages of a call have to wait for. Nothing, for most calls.
pub(super) struct Toll {
    call: Option<Arc<CallFacts>>,
    waiting: Option<BoxFuture<'static, ()>>,
}

impl Toll {
    pub(super) fn new(call: Option<Arc<CallFacts>>) -> Self {
        Self { call, waiting: None }
    }

    /// A message of `bytes` begins.
    pub(super) fn begin(&mut self, bytes: usize) {
        let Some(call) = self.call.clone() else { return };
        self.waiting = Some(Box::pin(async move {
            if let Some(permit) = call.permit() {
                permit.transfer(Direction::Upload, bytes as u64).await;
            }
        }));
    }

    /// Waits until the message may be read. Returns whether there was a message that had to wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(false) };
        ready!(Pin::new(waiting).poll(cx));
        self.waiting = None;
        Poll::Ready(true)
    }
}

impl fmt::Debug for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toll").field("waits", &self.waiting.is_some()).finish_non_exhaustive()
    }
}
