//! All tenants of the process, as a value that can be replaced as a whole.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{Resources, Tenant, TenantSettings};
use crate::auth::{AuthMode, Authenticator, Principal, Refusal};

/// The current tenants. Cheap to clone; clones share the tenants.
///
/// A call takes one [`Snapshot`] and uses it to its end, so that its caller, its tenant and its limits belong together.
#[derive(Debug, Clone)]
pub struct Pool(Arc<ArcSwap<Snapshot>>);

/// The tenants, their callers and their limits at one point in time.
#[derive(Debug)]
pub struct Snapshot {
    tenants: BTreeMap<Arc<str>, Tenant>,
    authenticator: Authenticator,
}

impl Pool {
    /// A pool whose current tenants are those of `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// Makes the tenants of `snapshot` the current ones. Calls that have begun keep theirs.
    pub fn replace(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The current tenants.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl Snapshot {
    /// These tenants, whose callers authenticate as `auth` says. No store is built and no connection is opened yet, so
    /// thousands of tenants cost nothing until they are used, and a misconfigured tenant does not affect the others.
    pub fn new(tenants: Vec<TenantSettings>, auth: AuthMode, resources: &Resources) -> Self {
        // Callers of one tenant that stop in the middle of their uploads must not block all other tenants.
        let share = (tenants.len() > 1).then(|| resources.memory.size() / 2);
        let tenants: BTreeMap<_, _> = tenants
            .into_iter()
            .map(|settings| {
                let tenant = Tenant::new(settings, share, resources);
                (tenant.shared_name(), tenant)
            })
            .collect();
        let callers = tenants.values().map(|tenant| (tenant.name(), tenant.callers()));
        let authenticator = Authenticator::new(auth, callers);
        Self { tenants, authenticator }
    }

    /// Authenticates a caller by the value of the `authorization` metadata.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Arc<Principal>, Refusal> {
        self.authenticator.authenticate(authorization)
    }

    /// The tenant with this name.
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.get(name)
    }

    /// All tenants, in the order of their names.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::MemorySettings;

    #[test]
    fn a_snapshot_stays_the_same_when_the_tenants_are_replaced() {
        let resources = Resources::new(MemorySettings::default());
        let tenants = |names: &[&str]| {
            let tenants = names.iter().map(|name| TenantSettings::new(name, BTreeMap::new())).collect();
            Snapshot::new(tenants, AuthMode::None, &resources)
        };
        let pool = Pool::new(tenants(&["acme", "zeta"]));
        let (before, clone) = (pool.snapshot(), pool.clone());
        pool.replace(tenants(&["acme"]));
        assert!(before.tenant("zeta").is_some() && pool.snapshot().tenant("zeta").is_none());
        assert!(clone.snapshot().tenant("zeta").is_none(), "clones share the tenants");
    }
}
