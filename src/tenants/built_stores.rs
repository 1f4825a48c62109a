//! The stores that are built, and the sweep that drops those that are idle.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{task::yield_now, time::sleep};

use super::on_demand::{Built, Found, OnDemand};
use crate::store::{Error, S3Store};

/// How many sweeps there are within the timeout. A store is dropped by the first sweep after its timeout.
const SWEEPS: u32 = 8;

/// How many stores are swept before the task yields. Dropping one takes some microseconds.
const BATCH: usize = 100;

/// The stores of all tenants that are built. Cheap to clone; clones share the list.
///
/// A store is in it from when it is built until a sweep finds it dropped, be it one of the current tenants, or of earlier
/// ones that a call in flight still uses. Calls do not touch the list.
#[derive(Debug, Clone, Default)]
pub struct BuiltStores(Arc<Mutex<Vec<Weak<OnDemand>>>>);

/// A sweep in progress. Stores that are not swept yet return to the list when it is dropped.
struct Sweep<'a> {
    stores: &'a BuiltStores,
    left: Vec<Weak<OnDemand>>,
    kept: Vec<Weak<OnDemand>>,
}

impl BuiltStores {
    /// The store, which is built if necessary, and then listed.
    pub(super) fn get_or_build(
        &self,
        store: &Arc<OnDemand>,
        build: impl FnOnce() -> Result<Built, Error>,
    ) -> Result<S3Store, Error> {
        store.get_or_build(build, || self.list(store))
    }

    fn list(&self, store: &Arc<OnDemand>) {
        let mut listed = self.listed();
        // If there are no sweeps, nothing else removes those of earlier tenants.
        if listed.len() == listed.capacity() {
            listed.retain(|store| store.strong_count() > 0);
        }
        listed.push(Arc::downgrade(store));
    }

    /// Drops the stores that no call has used for `timeout`.
    async fn sweep(&self, timeout: Duration) {
        let mut sweep = Sweep { stores: self, left: mem::take(&mut *self.listed()), kept: Vec::new() };
        let mut count = 0;
        while let Some(store) = sweep.left.pop() {
            if store.upgrade().is_some_and(|store| store.drop_if_idle(timeout) == Found::InUse) {
                sweep.kept.push(store);
            }
            count += 1;
            if count % BATCH == 0 {
                yield_now().await;
            }
        }
    }

    fn listed(&self) -> MutexGuard<'_, Vec<Weak<OnDemand>>> {
        // A panic while the lock is held leaves a valid list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        let mut listed = self.stores.listed();
        listed.append(&mut self.left);
        listed.append(&mut self.kept);
    }
}

/// Drops, forever, every store that no call has used for `timeout`, up to an eighth of that time late. Dropping the
/// future stops this.
pub async fn drop_idle_stores(stores: BuiltStores, timeout: Duration) {
    loop {
        sleep(timeout / SWEEPS).await;
        stores.sweep(timeout).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn without_sweeps_the_list_does_not_grow_with_stores_of_earlier_tenants() {
        let stores = BuiltStores::default();
        let kept = Arc::<OnDemand>::default();
        stores.list(&kept);
        for _ in 0..1_000 {
            stores.list(&Arc::default());
        }
        assert!(stores.listed().capacity() < 10);
        assert!(
            stores.listed().iter().any(|store| store.upgrade().is_some_and(|it| Arc::ptr_eq(&it, &kept)))
        );
    }

    #[tokio::test]
    async fn a_sweep_yields_and_when_dropped_leaves_the_rest_to_the_next_one() {
        let (stores, store) = (BuiltStores::default(), Arc::<OnDemand>::default());
        for _ in 0..BATCH + 50 {
            stores.list(&store);
        }
        assert!(stores.sweep(HOUR).now_or_never().is_none());
        assert_eq!(stores.listed().len(), 50, "none of these is built, so those that were swept are gone");
        stores.sweep(HOUR).await;
        assert_eq!(stores.listed().len(), 0);
    }
}
