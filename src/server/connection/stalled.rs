//! Ends a call whose caller does not read the response.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::CallFacts;

/// After the idle timeout, how often to check again whether other calls wait for memory.
const RECHECK: Duration = Duration::from_secs(1);

/// What ends a call while its response waits for the caller to read. A layer that bounds calls puts this into the
/// response's extensions; without it, such a call waits as long as the connection lasts.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Stalled {
    /// The call's deadline.
    pub(in crate::server) deadline: Option<Instant>,
    /// Cancelled when the shutdown ends the calls.
    pub(in crate::server) cut: CancellationToken,
    /// How long the caller may read nothing while other calls wait for memory that this call could free.
    pub(in crate::server) idle: Option<(Arc<CallFacts>, Duration)>,
    /// Set when the call has to end. The layer's body returns the matching status when it is next polled.
    pub(in crate::server) end: Arc<OnceLock<StalledEnd>>,
}

/// Why a stalled call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum StalledEnd {
    /// Its deadline passed.
    Deadline,
    /// The process is shutting down.
    Cut,
    /// The caller read nothing for too long while other calls waited for memory.
    Idle,
}

impl Stalled {
    /// Waits for `waiting`, and returns its output; `None` if the call has to end first.
    pub(super) async fn bound<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        let mut check = self.idle.as_ref().map_or(RECHECK, |(_, idle)| *idle);
        loop {
            let checked = timeout(check, &mut waiting);
            let end = tokio::select! {
                biased;
                done = checked => match done {
                    Ok(done) => return Some(done),
                    Err(_) if self.blocks_others() => StalledEnd::Idle,
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

    fn blocks_others(&self) -> bool {
        self.idle.as_ref().is_some_and(|(call, _)| call.blocks_others())
    }

    async fn deadline(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}
