//! A tenant and its stores.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    BuiltStores, CallKind, CallPermit, Exceeded, Holder, Process, Resources, TenantSettings,
    limits::{CallersLimits, Limiter},
    on_demand::{Built, OnDemand},
};
use tokio::time::Instant;

use crate::{
    auth::CallerSettings,
    credentials::Providers,
    store::{Error, S3Store, StoreSettings, StoreState, TenantBudget},
    tasks::Tasks,
    telemetry::{Metrics, TenantUsage},
};

/// One tenant of the pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenant(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<TenantSettings>,
    /// In the order of their names. Most tenants have one or two, for which a map would take far more memory.
    stores: Box<[(Box<str>, Arc<OnDemand>)]>,
    /// How many calls the limiter lets be in flight if the settings do not say.
    calls: Option<u32>,
    limiter: Arc<Limiter>,
    /// Those of the callers, by name.
    caller_limiters: BTreeMap<String, Arc<Limiter>>,
    process: Process,
    shared: Shared,
}

/// The part of the process's resources that one of several tenants may use, unless its settings say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Of the memory budget, in bytes.
    pub(super) memory: u64,
    /// Of the calls in flight; `None` if the process does not limit them.
    pub(super) calls: Option<u32>,
}

/// What the stores of a tenant share: everything needed to build one, besides its settings.
#[derive(Debug, Clone)]
struct Shared {
    metrics: Metrics,
    tasks: Tasks,
    budget: TenantBudget,
    providers: Providers,
    usage: TenantUsage,
    built: BuiltStores,
}

impl Inner {
    fn store(&self, name: &str) -> Option<&Arc<OnDemand>> {
        let at = self.stores.binary_search_by(|(stores, _)| (**stores).cmp(name)).ok()?;
        self.stores.get(at).map(|(_, store)| store)
    }
}

impl Tenant {
    /// The tenant with these settings. `share` is the part of the process's resources that it may hold, unless its
    /// settings say otherwise.
    ///
    /// It takes over its `predecessor`'s memory, the state of its limits, and every store whose settings are the
    /// same, with all that the store has learned and opened.
    pub(super) fn new(
        settings: Arc<TenantSettings>,
        share: Option<Share>,
        resources: &Resources,
        predecessor: Option<&Self>,
    ) -> Self {
        let memory = settings.limits.max_buffered.or(share.map(|share| share.memory));
        let calls = share.and_then(|share| share.calls);
        let is_same = |tenant: &&Self| Arc::ptr_eq(&tenant.0.settings, &settings) && tenant.0.calls == calls;
        if let Some(same) = predecessor.filter(is_same) {
            same.budget().resize(memory);
            return same.clone();
        }
        let kept = |name: &str, store: &Arc<StoreSettings>| {
            let before = &*predecessor?.0;
            before.store(name).filter(|_| before.settings.stores.get(name) == Some(store)).cloned()
        };
        let stores = settings.stores.iter();
        let stores = stores
            .map(|(name, store)| (name.as_str().into(), kept(name, store).unwrap_or_default()))
            .collect();
        let shared = match predecessor {
            Some(tenant) => {
                tenant.budget().resize(memory);
                tenant.0.shared.clone()
            }
            None => Shared {
                metrics: resources.metrics.clone(),
                tasks: resources.tasks.clone(),
                budget: resources.memory.share(memory),
                providers: Providers::new(&settings.name, resources.metrics.clone(), resources.tasks.clone()),
                usage: resources.usage.tenant(&settings.name),
                built: resources.built_stores.clone(),
            },
        };
        let process = resources.process.clone();
        let (limiter, caller_limiters) = limiters(&settings, calls, resources, predecessor);
        Self(Arc::new(Inner { settings, stores, calls, limiter, caller_limiters, process, shared }))
    }

    /// Admits a call of `caller` if it need not wait for any limit.
    pub fn try_admit(&self, caller: &str, kind: CallKind) -> Option<CallPermit> {
        self.limits(caller).try_admit(kind, &self.0.process)
    }

    /// Admits a call of `caller`, which waits in turn at each limit, at most half of the time until `deadline`. A call
    /// that is dropped leaves the queue.
    pub async fn admit(
        &self,
        caller: &str,
        kind: CallKind,
        deadline: Option<Instant>,
    ) -> Result<CallPermit, Exceeded> {
        self.limits(caller).admit(kind, &self.0.process, deadline, &self.0.shared.metrics).await
    }

    /// Checks the size of an object that a call of `caller` writes.
    pub fn check_object_size(&self, caller: &str, bytes: u64) -> Result<(), Exceeded> {
        let limits = self.limits(caller);
        // If both limits are exceeded, the error names the one that the caller has to observe.
        let lowest = limits.iter().min_by_key(|limiter| limiter.max_object_size().unwrap_or(u64::MAX));
        self.refused(lowest.map_or(Ok(()), |limiter| limiter.check_object_size(bytes)))
    }

    /// The largest object that a call of `caller` may write.
    pub fn max_object_size(&self, caller: &str) -> Option<u64> {
        self.limits(caller).iter().filter_map(Limiter::max_object_size).min()
    }

    /// Checks the number of keys that a call of `caller` has named so far.
    pub fn check_keys(&self, caller: &str, keys: u64) -> Result<(), Exceeded> {
        self.refused(self.limits(caller).iter().try_for_each(|limiter| limiter.check_keys(keys)))
    }

    fn limits(&self, caller: &str) -> CallersLimits {
        let caller = self.0.caller_limiters.get(caller).cloned();
        CallersLimits { tenant: Arc::clone(&self.0.limiter), caller }
    }

    /// Counts a call that is beyond a limit.
    fn refused(&self, outcome: Result<(), Exceeded>) -> Result<(), Exceeded> {
        let metrics = &self.0.shared.metrics;
        outcome.inspect_err(|exceeded| metrics.limit_exceeded(&exceeded.labels()))
    }

    /// The tenant's name.
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// The tenant's settings.
    pub fn settings(&self) -> &Arc<TenantSettings> {
        &self.0.settings
    }

    /// How many calls may be in flight; `None`: any number.
    pub fn max_in_flight(&self) -> Option<usize> {
        self.0.limiter.max_in_flight()
    }

    /// The tenant's share of the memory budget.
    pub fn budget(&self) -> &TenantBudget {
        &self.0.shared.budget
    }

    /// What the tenant has used.
    pub fn usage(&self) -> &TenantUsage {
        &self.0.shared.usage
    }

    /// Where background tasks for the tenant's calls are started.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.shared.tasks
    }

    /// The callers that may act for the tenant.
    pub fn callers(&self) -> &[CallerSettings] {
        &self.0.settings.callers
    }

    /// The names and settings of the tenant's stores, in the order of their names. Builds no store.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &StoreSettings)> {
        self.0.settings.stores.iter().map(|(name, settings)| (name.as_str(), &**settings))
    }

    /// The settings of the store with this name. Does not build the store.
    pub fn store_settings(&self, name: &str) -> Option<&StoreSettings> {
        self.0.settings.stores.get(name).map(|settings| &**settings)
    }

    /// The store with this name, for a call; `None` if the tenant has no store with this name. It is built if it has not
    /// been used yet, or was dropped because it was idle. Its requests count as Longshore's own, unless the store is
    /// counted for a caller.
    ///
    /// If the store cannot be built, the error has the kind
    /// [`ErrorKind::StoreMisconfigured`](crate::store::ErrorKind::StoreMisconfigured), and the next call tries again:
    /// the cause, such as unreadable CA certificates of the system, may have been fixed in the meantime.
    pub fn store(&self, name: &str) -> Option<Result<S3Store, Error>> {
        self.0.store(name)?.call();
        self.store_without_call(name)
    }

    /// Like [`Tenant::store`], but for Longshore's own work, which does not keep an idle store from being dropped once
    /// it has ended.
    pub(super) fn store_without_call(&self, name: &str) -> Option<Result<S3Store, Error>> {
        let (settings, store) = (self.store_settings(name)?, self.0.store(name)?);
        let Shared { metrics, tasks, budget, providers, usage, built } = &self.0.shared;
        let build = || {
            let (metrics, tasks, budget) = (metrics.clone(), tasks.clone(), budget.clone());
            let counted = metrics.store_built();
            let store = S3Store::new(settings.clone(), providers, metrics, tasks, budget)?;
            Ok(Built { store, providers: providers.clone(), counted })
        };
        Some(built.get_or_build(store, build).map(|store| store.counted_by(usage.own().clone())))
    }

    /// What the store with this name uses now; `None` if it is not built. Does not build it, and does not count as a use
    /// of it.
    pub fn store_state(&self, name: &str) -> Option<StoreState> {
        self.0.store(name)?.store_state()
    }
}

/// The limits of a tenant and of its callers. `calls`: how many calls may be in flight if the settings do not say.
fn limiters(
    settings: &TenantSettings,
    calls: Option<u32>,
    resources: &Resources,
    predecessor: Option<&Tenant>,
) -> (Arc<Limiter>, BTreeMap<String, Arc<Limiter>>) {
    let before = predecessor.map(|tenant| &*tenant.0);
    let tenant: Arc<str> = settings.name.as_str().into();
    let holder = Holder::Tenant(Arc::clone(&tenant));
    let limits = settings.limits.calls.clone();
    let limiter = Limiter::new(holder, limits, calls, resources, before.map(|before| &*before.limiter));
    let callers = settings.caller_limits.iter().map(|(caller, limits)| {
        let holder = Holder::Caller { tenant: Arc::clone(&tenant), caller: caller.as_str().into() };
        let before = before.and_then(|before| before.caller_limiters.get(caller));
        let limiter = Limiter::new(holder, limits.clone(), None, resources, before.map(AsRef::as_ref));
        (caller.clone(), Arc::new(limiter))
    });
    (Arc::new(limiter), callers.collect())
}
