//! What all tenants of the process share.

use crate::{
    store::{MemoryBudget, MemorySettings},
    tasks::Tasks,
    telemetry::Metrics,
};

/// What all tenants of the process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The memory budget.
    pub memory: MemoryBudget,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The background tasks that shutdown waits for.
    pub tasks: Tasks,
}

impl Resources {
    /// A new memory budget, with new metrics and tasks.
    pub fn new(memory: MemorySettings) -> Self {
        let metrics = Metrics::default();
        Self { memory: MemoryBudget::new(memory, metrics.clone()), metrics, tasks: Tasks::default() }
    }
}
