//! All tenants of the process, as a value that can be replaced as a whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use super::{Resources, Tenant, TenantSettings, tenant::Share};
use crate::auth::{AuthMode, Authenticator, ClientCertificate, KeysWanted, Principal, Refusal};

/// The current tenants. Cheap to clone; clones share the tenants.
///
/// A call takes one [`Snapshot`] and uses it until the call ends, so that caller, tenant and limits are consistent.
/// Only a change of the tenant's share of the memory also affects calls in progress, immediately.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Current>);

#[derive(Debug)]
struct Current {
    snapshot: ArcSwap<Snapshot>,
    /// Held while the tenants are replaced, so that no two replacements follow the same snapshot.
    replacing: Mutex<()>,
}

/// The tenants, their callers and their limits at one point in time.
#[derive(Debug)]
pub struct Snapshot {
    tenants: BTreeMap<String, Tenant>,
    authenticator: Authenticator,
    auth: AuthMode,
    resources: Resources,
}

impl Pool {
    /// A pool whose current tenants are those of `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(Current { snapshot: ArcSwap::from_pointee(snapshot), replacing: Mutex::default() }))
    }

    /// Makes `tenants` the current ones. Calls that have begun keep theirs.
    ///
    /// A store whose settings stay the same keeps its connections, its cached credentials, and what it has learned
    /// about its server.
    pub fn replace(&self, tenants: impl IntoIterator<Item = impl Into<Arc<TenantSettings>>>) {
        let tenants = tenants.into_iter().map(Into::into).collect();
        let _replacing = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.snapshot().next(tenants);
        self.0.snapshot.store(Arc::new(next));
    }

    /// The current tenants.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }
}

impl Snapshot {
    /// These tenants, whose callers authenticate as `auth` says. No store is built and no connection is opened yet, so
    /// thousands of tenants cost nothing until they are used, and a misconfigured tenant does not affect the others.
    pub fn new(
        tenants: impl IntoIterator<Item = impl Into<Arc<TenantSettings>>>,
        auth: AuthMode,
        resources: &Resources,
    ) -> Self {
        let tenants = tenants.into_iter().map(Into::into).collect();
        Self::with(tenants, auth, resources.clone(), |_| None)
    }

    /// The snapshot that follows this one.
    fn next(&self, tenants: Vec<Arc<TenantSettings>>) -> Self {
        Self::with(tenants, self.auth, self.resources.clone(), |name| self.tenant(name))
    }

    fn with<'a>(
        tenants: Vec<Arc<TenantSettings>>,
        auth: AuthMode,
        resources: Resources,
        predecessor: impl Fn(&str) -> Option<&'a Tenant>,
    ) -> Self {
        // Callers of one tenant that stop in the middle of their uploads must not block all other tenants.
        let share = (tenants.len() > 1)
            .then(|| Share { memory: resources.memory.size() / 2, calls: resources.process.share() });
        let tenants: BTreeMap<_, _> = tenants
            .into_iter()
            .map(|settings| {
                let predecessor = predecessor(&settings.name);
                (settings.name.clone(), Tenant::new(settings, share, &resources, predecessor))
            })
            .collect();
        resources.usage.set_served(&tenants.keys().map(String::as_str).collect());
        let callers = || tenants.values().map(|tenant| (tenant.name(), tenant.callers()));
        let authenticator = Authenticator::new(auth, callers()).with_jwt(callers(), &resources.key_sources);
        Self { tenants, authenticator, auth, resources }
    }

    /// Authenticates a caller by the value of the `authorization` metadata, or by its connection's certificate if it
    /// sent none.
    pub fn authenticate(
        &self,
        authorization: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<Principal>, Refusal> {
        self.authenticator.authenticate(authorization, certificate)
    }

    /// What to wait for if [`Snapshot::authenticate`] fails with [`Refusal::JwtKeysUnavailable`].
    pub fn keys_wanted(&self, authorization: Option<&str>) -> Vec<KeysWanted> {
        self.authenticator.keys_wanted(authorization)
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
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        auth::{Access, CallerSettings, Identities},
        store::{MemorySettings, S3Store, StoreSettings},
        tenants::{CallKind, Process, ProcessLimits},
    };

    fn tenant(name: &str, buckets: &[&str]) -> TenantSettings {
        let store = |bucket: &&str| {
            let mut settings = StoreSettings::default();
            settings.bucket.bucket = (*bucket).to_owned();
            ((*bucket).to_owned(), settings)
        };
        TenantSettings::new(name, buckets.iter().map(store).collect())
    }

    fn pool(resources: &Resources, tenants: Vec<TenantSettings>) -> Pool {
        Pool::new(Snapshot::new(tenants, AuthMode::Required, resources))
    }

    fn store(pool: &Pool, tenant: &str, store: &str) -> S3Store {
        pool.snapshot().tenant(tenant).unwrap().store(store).unwrap().unwrap()
    }

    #[test]
    fn a_snapshot_stays_the_same_when_the_tenants_are_replaced() {
        let pool =
            pool(&Resources::new(MemorySettings::default()), vec![tenant("acme", &[]), tenant("zeta", &[])]);
        let (before, clone) = (pool.snapshot(), pool.clone());
        pool.replace(vec![tenant("acme", &[])]);
        assert!(before.tenant("zeta").is_some() && pool.snapshot().tenant("zeta").is_none());
        assert!(clone.snapshot().tenant("zeta").is_none(), "clones share the tenants");
    }

    #[test]
    fn stores_whose_settings_stay_the_same_are_kept() {
        let both = || vec![tenant("acme", &["a", "b"]), tenant("zeta", &["z"])];
        let pool = pool(&Resources::new(MemorySettings::default()), both());
        let stores = || ["a", "b"].map(|name| store(&pool, "acme", name));
        let [a, b] = stores();
        let mut changed = both();
        Arc::make_mut(changed[0].stores.get_mut("b").unwrap()).prefix = "prod/".to_owned();
        changed[0].callers.push(CallerSettings {
            name: "reader".to_owned(),
            identities: Identities::default(),
            access: vec![Access::Read],
            stores: None,
            prefixes: None,
        });
        pool.replace(changed);
        let [new_a, new_b] = stores();
        assert!(new_a.is_clone_of(&a) && !new_b.is_clone_of(&b));
        assert_eq!(pool.snapshot().tenant("acme").unwrap().callers().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_memory_grows_and_shrinks_with_the_settings_and_the_number_of_tenants() {
        const MIB: u64 = 1 << 20;
        let acme = |max_buffered| {
            let mut acme = tenant("acme", &["a"]);
            acme.limits.max_buffered = max_buffered;
            acme
        };
        let pool = pool(&Resources::new(MemorySettings::default()), vec![acme(Some(4 * MIB))]);
        let (before, budget) =
            (store(&pool, "acme", "a"), pool.snapshot().tenant("acme").unwrap().budget().clone());
        // A message may take a quarter of the share.
        let fits = async |bytes| budget.reserve(bytes).await.unwrap().bytes() == bytes;
        assert!(fits(MIB).await && !fits(2 * MIB).await);
        pool.replace(vec![acme(Some(8 * MIB))]);
        assert!(fits(2 * MIB).await && !fits(3 * MIB).await);
        pool.replace(vec![acme(None)]);
        assert!(fits(64 * MIB).await);
        pool.replace(vec![acme(None), tenant("zeta", &["z"])]);
        assert!(fits(32 * MIB).await && !fits(33 * MIB).await);
        assert!(store(&pool, "acme", "a").is_clone_of(&before), "the store is kept");
    }

    #[test]
    fn a_share_of_the_calls_in_flight_follows_the_number_of_tenants_although_the_settings_are_the_same() {
        let limits = ProcessLimits { max_in_flight: Some(4) };
        let resources = Resources::new(MemorySettings::default()).within(Process::new(limits, 1, 1 << 22));
        let [acme, zeta] = ["acme", "zeta"].map(|name| Arc::new(tenant(name, &["a"])));
        let pool = pool(&resources, vec![(*acme).clone()]);
        pool.replace([&acme].map(Arc::clone));
        let fits = || {
            let tenant = pool.snapshot().tenant("acme").unwrap().clone();
            let permits: Vec<_> =
                std::iter::from_fn(|| tenant.try_admit("any", CallKind::default())).collect();
            permits.len()
        };
        let before = store(&pool, "acme", "a");
        assert_eq!(fits(), 4);
        pool.replace([&acme, &zeta].map(Arc::clone));
        assert_eq!(fits(), 2);
        pool.replace([&acme, &zeta].map(Arc::clone));
        assert_eq!(fits(), 2);
        pool.replace([&acme].map(Arc::clone));
        assert_eq!(fits(), 4);
        assert!(store(&pool, "acme", "a").is_clone_of(&before), "the store is kept");
    }

    #[test]
    fn shares_of_removed_tenants_are_freed() {
        let resources = Resources::new(MemorySettings::default());
        let pool = pool(&resources, vec![tenant("acme", &["a"]), tenant("zeta", &["z"])]);
        for number in 0..10 {
            pool.replace(vec![tenant("acme", &["a"]), tenant(&format!("zeta{number}"), &["z"])]);
            store(&pool, "acme", "a");
        }
        assert_eq!(resources.memory.shares(), 2);
        let held =
            pool.snapshot().tenant("acme").unwrap().budget().reserve(1).now_or_never().unwrap().unwrap();
        pool.replace(vec![tenant("zeta", &["z"])]);
        assert_eq!(resources.memory.shares(), 2, "a call of the removed tenant holds memory");
        drop(held);
        assert_eq!(resources.memory.shares(), 1);
    }
}
