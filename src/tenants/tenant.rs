//! A tenant and its stores, each built on first use.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    CallKind, CallPermit, Exceeded, Holder, Process, Resources, TenantSettings,
    limits::{CallersLimits, Limiter},
};
use tokio::time::Instant;

use crate::{
    auth::CallerSettings,
    credentials::Providers,
    store::{Error, ErrorKind, S3Store, StoreSettings, StoreState, TenantBudget},
    tasks::Tasks,
    telemetry::{Metrics, TenantUsage},
};

/// One tenant of the pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenant(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<TenantSettings>,
    stores: BTreeMap<String, Arc<OnDemand>>,
    /// How many calls the limiter lets be in flight if the settings do not say.
    calls: Option<u32>,
    limiter: Arc<Limiter>,
    /// Those of the callers, by name.
    caller_limiters: BTreeMap<String, Arc<Limiter>>,
    process: Process,
    shared: Shared,
}

/// What one of several tenants may use of what the process has, unless its settings say otherwise.
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
}

impl Tenant {
    /// The tenant with these settings. `share` is the part of the process's resources that it may hold, unless its
    /// settings say otherwise.
    ///
    /// It takes over its `predecessor`'s memory, what is in use of its limits, and every store whose settings are the
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
            let Inner { settings, stores, .. } = &*predecessor?.0;
            stores.get(name).filter(|_| settings.stores.get(name) == Some(store)).cloned()
        };
        let stores = settings.stores.iter();
        let stores =
            stores.map(|(name, store)| (name.clone(), kept(name, store).unwrap_or_default())).collect();
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

    /// The store with this name, built on first use; `None` if the tenant has no store with this name. Its requests count
    /// as Longshore's own, unless the store is counted for a caller.
    ///
    /// If the store cannot be built, the error has the kind [`ErrorKind::StoreMisconfigured`], and the next call tries
    /// again: the cause, such as unreadable CA certificates of the system, may have been fixed in the meantime.
    pub fn store(&self, name: &str) -> Option<Result<S3Store, Error>> {
        let (settings, store) = (self.store_settings(name)?, self.0.stores.get(name)?);
        let Shared { metrics, tasks, budget, providers, usage } = &self.0.shared;
        let build =
            || S3Store::new(settings.clone(), providers, metrics.clone(), tasks.clone(), budget.clone());
        Some(store.get_or_build(build).map(|store| store.counted_by(usage.own().clone())))
    }

    /// What the store with this name uses now; `None` if it has not been built. Does not build it.
    pub fn store_state(&self, name: &str) -> Option<StoreState> {
        self.0.stores.get(name)?.built.get().map(S3Store::state)
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

/// A store that is built on first use.
#[derive(Debug, Default)]
struct OnDemand {
    built: OnceLock<S3Store>,
    /// Held while the store is built, so that concurrent first calls build only one: a second store would have its own
    /// connections and retry quota.
    building: Mutex<()>,
}

impl OnDemand {
    fn get_or_build(&self, build: impl FnOnce() -> Result<S3Store, Error>) -> Result<S3Store, Error> {
        if let Some(store) = self.built.get() {
            return Ok(store.clone());
        }
        // The lock guards no data, so a panic of its holder leaves nothing inconsistent.
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.built.get() {
            return Ok(store.clone());
        }
        let store = build().map_err(misconfigured)?;
        Ok(self.built.get_or_init(|| store).clone())
    }
}

/// Every error that keeps a store from being built is reported as a misconfiguration.
fn misconfigured(error: Error) -> Error {
    let message = error.message().to_owned();
    error.recast(ErrorKind::StoreMisconfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_built_is_misconfigured_and_the_next_call_tries_again() {
        let store = OnDemand::default();
        let mut tries = 0;
        for _ in 0..2 {
            let error = store
                .get_or_build(|| {
                    tries += 1;
                    Err(Error::new(ErrorKind::Internal, "the certificate cannot be read"))
                })
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StoreMisconfigured);
            assert_eq!(error.message(), "the certificate cannot be read");
        }
        assert_eq!(tries, 2);
    }
}
