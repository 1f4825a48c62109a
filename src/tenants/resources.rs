//! What all tenants of the process share.

use super::Process;
use crate::{
    auth::{KeySources, ServerJwt},
    store::{MemoryBudget, MemorySettings},
    tasks::Tasks,
    telemetry::{Metrics, Usage},
};

/// What all tenants of the process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The memory budget.
    pub memory: MemoryBudget,
    /// The limits of the process on calls.
    pub process: Process,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// What the tenants have used.
    pub usage: Usage,
    /// The background tasks that shutdown waits for.
    pub tasks: Tasks,
    /// The keys of the issuers of callers' JWTs.
    pub key_sources: KeySources,
}

impl Resources {
    /// A new memory budget, with new metrics and tasks.
    pub fn new(memory: MemorySettings) -> Self {
        let (metrics, tasks) = (Metrics::default(), Tasks::default());
        Self {
            memory: MemoryBudget::new(memory, metrics.clone()),
            process: Process::default(),
            metrics,
            usage: Usage::default(),
            key_sources: KeySources::new(tasks.clone()),
            tasks,
        }
    }

    /// The same, with these limits.
    #[must_use]
    pub fn within(self, process: Process) -> Self {
        process.export(&self.metrics);
        Self { process, ..self }
    }

    /// The same, with the issuer whose tokens name their tenant.
    #[must_use]
    pub fn with_jwt(self, server: Option<ServerJwt>) -> Self {
        Self { key_sources: self.key_sources.with_server(server), ..self }
    }
}
