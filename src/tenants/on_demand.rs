//! A store that is built on first use, dropped when it has been idle for long, and then built again on the next use.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
            fence,
        },
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::{
    credentials::Providers,
    store::{Error, ErrorKind, Findings, S3Store, StoreState},
    telemetry::CountedStore,
};

/// A store that may be built. There is at most one at a time, because a second one would have its own connections and
/// retry quota.
#[derive(Debug, Default)]
pub(super) struct OnDemand {
    built: ArcSwapOption<Built>,
    /// Whether a call has asked for the store since [`OnDemand::drop_if_idle`] last looked.
    is_called: AtomicBool,
    /// Held while the store is built or dropped.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the store was built for a call, or last found in use.
    used_at: Option<Instant>,
    /// What the stores before this one have found out.
    findings: Findings,
    /// Whether the store is listed as built.
    is_listed: bool,
}

/// A store, and what has to be done when it is dropped.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) store: S3Store,
    pub(super) providers: Providers,
    pub(super) counted: CountedStore,
}

/// What [`OnDemand::drop_if_idle`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The store is in use, or not idle for long enough.
    InUse,
    /// The store is not built, or not any more. It is no longer listed.
    NotBuilt,
}

impl OnDemand {
    /// Records that a call asks for the store.
    pub(super) fn call(&self) {
        // Written once between two sweeps, so that the calls of a busy store do not take the flag from each other.
        if !self.is_called.load(Relaxed) {
            self.is_called.store(true, Relaxed);
        }
    }

    /// The store, which is built if necessary. `list` is called if it is not listed yet.
    ///
    /// Every error that keeps a store from being built is reported as a misconfiguration. The next call tries again.
    pub(super) fn get_or_build(
        &self,
        build: impl FnOnce() -> Result<Built, Error>,
        list: impl FnOnce(),
    ) -> Result<S3Store, Error> {
        if let Some(store) = self.current() {
            return Ok(store);
        }
        let mut state = self.state();
        if let Some(store) = self.current() {
            return Ok(store);
        }
        let mut new = build().map_err(misconfigured)?;
        new.store = new.store.knowing(state.findings);
        let store = new.store.clone();
        self.built.store(Some(Arc::new(new)));
        // A store that only Longshore itself needs is dropped by the first sweep that finds it unused.
        if self.is_called.load(Relaxed) {
            state.used_at = Some(Instant::now());
        }
        if !mem::replace(&mut state.is_listed, true) {
            list();
        }
        Ok(store)
    }

    /// What the store uses now; `None` if it is not built.
    pub(super) fn store_state(&self) -> Option<StoreState> {
        self.built.load().as_ref().map(|built| built.store.state())
    }

    /// Drops the store if no call has used it for `timeout`. Waits for nothing: a store that is being built is in use.
    pub(super) fn drop_if_idle(&self, timeout: Duration) -> Found {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Found::InUse,
        };
        let is_in_use = self.built.load().as_ref().is_some_and(|built| !built.store.is_only_clone());
        if self.is_called.swap(false, Relaxed) || is_in_use {
            state.used_at = Some(Instant::now());
            return Found::InUse;
        }
        if state.used_at.is_some_and(|at| at.elapsed() < timeout) {
            return Found::InUse;
        }
        // From here on, calls find no store, and wait for the lock.
        if let Some(built) = self.built.swap(None)
            && let Err(built) = self.retire(built, &mut state)
        {
            self.built.store(Some(built));
            state.used_at = Some(Instant::now());
            return Found::InUse;
        }
        state.is_listed = false;
        Found::NotBuilt
    }

    /// Drops a store that calls no longer find, unless a call has found it just before.
    fn retire(&self, built: Arc<Built>, state: &mut State) -> Result<(), Arc<Built>> {
        let built = Arc::try_unwrap(built)?;
        // What such a call did before it let go of `built` is visible from here on: its clone of the store, or, if it
        // has ended, `is_called`.
        fence(Acquire);
        if self.is_called.load(Relaxed) || !built.store.is_only_clone() {
            return Err(Arc::new(built));
        }
        let Built { store, providers, counted } = built;
        state.findings = store.findings();
        // A credential provider that another store shares may send its requests with this store's HTTP client.
        store.close_idle_connections();
        drop(store);
        providers.forget_unused();
        drop(counted);
        Ok(())
    }

    fn current(&self) -> Option<S3Store> {
        self.built.load().as_ref().map(|built| built.store.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn misconfigured(error: Error) -> Error {
    let message = error.message().to_owned();
    error.recast(ErrorKind::StoreMisconfigured, message)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::atomic::AtomicUsize, thread};

    use super::*;
    use crate::{
        store::{StoreSettings, TenantBudget},
        tasks::Tasks,
        telemetry::Metrics,
    };

    const TIMEOUT: Duration = Duration::from_mins(1);

    fn build(metrics: &Metrics) -> Result<Built, Error> {
        let (providers, budget) = (Providers::default(), TenantBudget::default());
        let settings = StoreSettings::default();
        let store = S3Store::new(settings, &providers, metrics.clone(), Tasks::default(), budget)?;
        Ok(Built { store, providers, counted: metrics.store_built() })
    }

    /// A call that gets the store.
    fn call(store: &OnDemand, metrics: &Metrics) -> S3Store {
        store.call();
        store.get_or_build(|| build(metrics), || ()).unwrap()
    }

    fn built(metrics: &Metrics) -> String {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with("longshore_stores_built"));
        line.and_then(|line| line.rsplit(' ').next()).unwrap().to_owned()
    }

    #[test]
    fn a_store_that_cannot_be_built_is_misconfigured_and_the_next_call_tries_again() {
        let store = OnDemand::default();
        let mut tries = 0;
        for _ in 0..2 {
            let build = || {
                tries += 1;
                Err(Error::new(ErrorKind::Internal, "the certificate cannot be read"))
            };
            let error = store.get_or_build(build, || panic!("no store")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StoreMisconfigured);
            assert_eq!(error.message(), "the certificate cannot be read");
        }
        assert_eq!(tries, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_dropped_when_it_has_been_idle_for_the_timeout() {
        let (store, metrics) = (OnDemand::default(), Metrics::default());
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::NotBuilt);
        drop(call(&store, &metrics));
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::InUse, "called since it was built");
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::InUse);
        assert_eq!((store.store_state().is_some(), built(&metrics)), (true, "1".to_owned()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::NotBuilt);
        assert_eq!((store.store_state().is_some(), built(&metrics)), (false, "0".to_owned()));
        call(&store, &metrics);
        assert_eq!(built(&metrics), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_timeout_begins_when_the_last_call_has_ended() {
        let (store, metrics) = (OnDemand::default(), Metrics::default());
        let in_flight = call(&store, &metrics);
        for _ in 0..5 {
            tokio::time::advance(TIMEOUT).await;
            assert_eq!(store.drop_if_idle(TIMEOUT), Found::InUse);
        }
        assert!(call(&store, &metrics).is_clone_of(&in_flight));
        let background = in_flight.until(None);
        drop(in_flight);
        tokio::time::advance(TIMEOUT).await;
        assert_eq!([store.drop_if_idle(TIMEOUT), store.drop_if_idle(TIMEOUT)], [Found::InUse; 2]);
        drop(background);
        tokio::time::advance(TIMEOUT).await;
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::NotBuilt);
    }

    #[tokio::test(start_paused = true)]
    async fn work_of_longshore_itself_does_not_keep_a_store() {
        let (store, metrics) = (OnDemand::default(), Metrics::default());
        call(&store, &metrics);
        store.drop_if_idle(TIMEOUT);
        tokio::time::advance(TIMEOUT).await;
        let working = store.get_or_build(|| build(&metrics), || ()).unwrap();
        drop(working);
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::NotBuilt);
        // Nor is it kept if it was built for that work.
        let working = store.get_or_build(|| build(&metrics), || ()).unwrap();
        drop(working);
        assert_eq!(store.drop_if_idle(TIMEOUT), Found::NotBuilt);
        // If a call comes meanwhile, it is kept.
        let working = store.get_or_build(|| build(&metrics), || ()).unwrap();
        assert!(call(&store, &metrics).is_clone_of(&working));
        drop(working);
        assert_eq!([store.drop_if_idle(TIMEOUT), store.drop_if_idle(TIMEOUT)], [Found::InUse; 2]);
    }

    #[test]
    fn a_store_is_listed_once_until_it_is_found_dropped() {
        let (store, metrics, listed) = (OnDemand::default(), Metrics::default(), Cell::new(0));
        let get = || store.get_or_build(|| build(&metrics), || listed.set(listed.get() + 1)).unwrap();
        get();
        get();
        assert_eq!(listed.get(), 1);
        assert_eq!(store.drop_if_idle(Duration::ZERO), Found::NotBuilt);
        get();
        assert_eq!(listed.get(), 2);
    }

    #[test]
    fn a_call_that_finds_the_store_while_the_sweep_decides_keeps_it() {
        let (store, metrics) = (OnDemand::default(), Metrics::default());
        let before = call(&store, &metrics);
        store.is_called.store(false, Relaxed);
        drop(before);
        // The call has found the store, and has not cloned it yet.
        let finding = store.built.load();
        assert_eq!(store.drop_if_idle(Duration::ZERO), Found::InUse);
        let in_flight = finding.as_ref().unwrap().store.clone();
        drop(finding);
        assert!(call(&store, &metrics).is_clone_of(&in_flight));
        // It has cloned the store after the sweep looked for clones.
        store.is_called.store(false, Relaxed);
        let swept = store.built.swap(None).unwrap();
        let swept = store.retire(swept, &mut State::default()).unwrap_err();
        // It has ended by then.
        drop(in_flight);
        store.call();
        let swept = store.retire(swept, &mut State::default()).unwrap_err();
        store.is_called.store(false, Relaxed);
        assert!(store.retire(swept, &mut State::default()).is_ok());
    }

    #[test]
    fn calls_that_race_with_the_sweep_share_one_store() {
        let (store, metrics) = (OnDemand::default(), Metrics::default());
        // Keeps what all stores of the process share.
        let _other = build(&metrics).unwrap();
        let (builds, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let get = || {
            store.call();
            let build = || {
                builds.fetch_add(1, Relaxed);
                build(&metrics)
            };
            store.get_or_build(build, || ()).unwrap()
        };
        thread::scope(|scope| {
            let calls = || {
                while drops.load(Relaxed) < 300 {
                    let first = get();
                    assert!(get().is_clone_of(&first), "there are two stores");
                    drop(first);
                    thread::yield_now();
                }
            };
            let callers = [(); 3].map(|()| scope.spawn(calls));
            while drops.load(Relaxed) < 300 && callers.iter().all(|caller| !caller.is_finished()) {
                let was_built = store.store_state().is_some();
                if store.drop_if_idle(Duration::ZERO) == Found::NotBuilt && was_built {
                    drops.fetch_add(1, Relaxed);
                }
            }
            drops.store(300, Relaxed);
        });
        assert!(builds.load(Relaxed) >= 300);
    }
}
