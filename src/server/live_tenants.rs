//! The tenants of a running server.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    telemetry::Metrics,
    tenants::{Changes, Invalid, InvalidTenants, Pool, Tenant, TenantSettings},
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
    /// `invalid` names those of them whose new settings are invalid, tenants that are not served, and tenants files that
    /// cannot be used as a whole.
    pub fn replace(&self, tenants: Vec<Arc<TenantSettings>>, invalid: Invalid) -> Changes {
        let changes = self.changes(&tenants);
        let invalid = Invalid { served: tenants.len(), reload_failed: false, ..invalid };
        let is_valid = invalid.stale.is_empty() && invalid.rejected.is_empty() && invalid.unusable.is_empty();
        let outcome = if is_valid { "ok" } else { "partial" };
        // In this order, a tenant that has become valid is always in one of the two.
        self.pool.replace(tenants);
        self.invalid.replace(invalid);
        self.metrics.reloaded(outcome);
        changes
    }

    /// The tenants that are invalid now.
    pub fn invalid(&self) -> Invalid {
        self.invalid.current().clone()
    }

    /// How `tenants` differ from the current ones.
    fn changes(&self, tenants: &[Arc<TenantSettings>]) -> Changes {
        let current = self.pool.snapshot();
        let mut changes = Changes::default();
        for new in tenants {
            match current.tenant(&new.name) {
                None => changes.added.push(new.name.clone()),
                Some(old) if old.settings() != new => changes.changed.push(new.name.clone()),
                Some(_) => {}
            }
        }
        let names: BTreeSet<_> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let gone = current.tenants().map(Tenant::name).filter(|name| !names.contains(name));
        changes.removed = gone.map(ToOwned::to_owned).collect();
        changes.added.sort_unstable();
        changes.changed.sort_unstable();
        changes
    }

    /// Records that a reload failed and changed nothing.
    pub fn reload_failed(&self) {
        self.invalid.reload_failed();
        self.metrics.reloaded("failed");
    }
}
