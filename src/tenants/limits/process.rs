//! What the limits of all tenants share.

use std::{sync::Arc, time::Duration};

use crate::telemetry::{Metrics, WatchedLimit};

use super::{
    ProcessLimits,
    exceeded::{Exceeded, Holder},
    permits::Permits,
};

/// The limits of the process, and what those of its tenants depend on. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Process {
    settings: ProcessLimits,
    pub(super) in_flight: Option<Arc<Permits>>,
    /// Between how many processes the limits of the fleet are divided.
    pub(super) replicas: u32,
    /// The largest message that a caller may send, in bytes. The burst of a rate is at least this.
    pub(super) largest_message: u64,
}

impl Process {
    /// A process with these limits, as one of `replicas`, which accepts messages of up to `largest_message` bytes.
    pub fn new(settings: ProcessLimits, replicas: u32, largest_message: u64) -> Self {
        let in_flight = settings.max_in_flight.map(|limit| Arc::new(Permits::new(limit)));
        Self { settings, in_flight, replicas, largest_message }
    }

    /// Exports the limits of the process.
    pub(crate) fn export(&self, metrics: &Metrics) {
        if let Some(permits) = self.in_flight.clone() {
            let watched: Arc<dyn WatchedLimit> = permits;
            metrics.watch_limit(Holder::Process.labels("max_in_flight"), &watched);
        }
    }

    /// How many calls one of several tenants may have in flight if its settings do not say.
    pub(crate) fn share(&self) -> Option<u32> {
        self.settings.max_in_flight.map(|calls| (calls / 2).max(1))
    }

    /// A call is beyond the limit on calls in flight.
    pub(super) fn exceeded(&self, retry_after: Duration) -> Exceeded {
        Exceeded {
            holder: Holder::Process,
            limit: "max_in_flight",
            value: self.settings.max_in_flight.unwrap_or_default().to_string(),
            shared_by: 1,
            retry_after: Some(retry_after),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new(ProcessLimits::default(), 1, 4 * 1024 * 1024)
    }
}
