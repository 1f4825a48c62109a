//! The tenants of a running server.

use std::sync::Arc;

use crate::{
    telemetry::Metrics,
    tenants::{Invalid, InvalidTenants, Pool, TenantSettings},
};

/// The tenants of a running server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveTenants {
    pub(super) pool: Pool,
    pub(super) invalid: InvalidTenants,
    pub(super) metrics: Metrics,
}

impl LiveTenants {
    /// The current settings of a tenant.
    pub fn settings(&self, name: &str) -> Option<Arc<TenantSettings>> {
        self.pool.snapshot().tenant(name).map(|tenant| Arc::clone(tenant.settings()))
    }

    /// Makes `tenants` the current ones, all at once. Calls that have begun continue with the old ones. A tenant or a
    /// store whose settings are the same keeps its connections, credentials and quotas.
    ///
    /// `stale` names those of them whose new settings are invalid, `rejected` names tenants that are not served, and
    /// `unusable` names tenants files that cannot be used as a whole.
    pub fn replace(
        &self,
        tenants: Vec<Arc<TenantSettings>>,
        stale: Vec<String>,
        rejected: Vec<String>,
        unusable: Vec<String>,
    ) {
        let is_valid = stale.is_empty() && rejected.is_empty() && unusable.is_empty();
        let outcome = if is_valid { "ok" } else { "partial" };
        self.invalid.replace(Invalid {
            rejected,
            stale,
            unusable,
            served: tenants.len(),
            reload_failed: false,
        });
        self.pool.replace(tenants);
        self.metrics.reloaded(outcome);
    }

    /// Records that a reload failed and changed nothing.
    pub fn reload_failed(&self) {
        self.invalid.reload_failed();
        self.metrics.reloaded("failed");
    }
}
