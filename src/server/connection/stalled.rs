//! The end of a call whose caller does not read its response.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::CallFacts;

/// How often a caller that has been idle for long is checked again for whether others wait for memory.
const RECHECK: Duration = Duration::from_secs(1);

/// What ends a call while its response waits for the caller. A layer that bounds calls puts it into the response's
/// extensions; without it such a call waits for as long as the connection lasts.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Stalled {
    /// The call's deadline.
    pub(in crate::server) deadline: Option<Instant>,
    /// Cancelled when shutdown cuts the calls.
    pub(in crate::server) cut: CancellationToken,
    /// For how long the caller may take nothing while others wait for memory that the call could give back.
    pub(in crate::server) idle: Option<(Arc<CallFacts>, Duration)>,
    /// Set where the call has to end: the layer's body ends with the status for it as soon as it is polled.
    pub(in crate::server) end: Arc<OnceLock<StalledEnd>>,
}

/// Why such a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum StalledEnd {
    /// Its deadline passed.
    Deadline,
    /// The process shuts down.
    Cut,
    /// The caller took nothing for too long while others waited for memory.
    Idle,
}

impl Stalled {
    /// What `waiting` resolves to; `None` where the call has to end first.
    pub(super) async fn bound<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        let mut check = self.idle.as_ref().map_or(RECHECK, |(_, idle)| *idle);
        loop {
            let checked = timeout(check, &mut waiting);
            let end = tokio::select! {
                biased;
                done = checked => match done {
                    Ok(done) => return Some(done),
                    Err(_) if self.is_in_the_way() => StalledEnd::Idle,
                    Err(_) => {
                        check = RECHECK;
                        continue;
                    }
                },
                () = self.deadline() => StalledEnd::Deadline,
                () = self.cut.cancelled() => StalledEnd::Cut,
            };
            self.end.get_or_init(|| end);
            if let (StalledEnd::Idle, Some((call, _))) = (end, &self.idle) {
                call.count_idle_read();
            }
            return None;
        }
    }

    fn is_in_the_way(&self) -> bool {
        self.idle.as_ref().is_some_and(|(call, _)| call.is_in_the_way())
    }

    async fn deadline(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}
