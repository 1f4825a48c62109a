//! A map that is read without a lock and only grows.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

/// Values by name. Reading takes no lock; adding copies the map, so it suits maps that soon stop growing.
#[derive(Debug)]
pub(super) struct Lookup<T>(ArcSwap<BTreeMap<Arc<str>, T>>);

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(BTreeMap::new()))
    }
}

impl<T: Clone + Default> Lookup<T> {
    pub(super) fn len(&self) -> usize {
        self.0.load().len()
    }

    pub(super) fn find(&self, name: &str) -> Option<T> {
        self.0.load().get(name).cloned()
    }

    /// The value, added if it is missing. All threads get clones of the same value.
    pub(super) fn find_or_add(&self, name: &str) -> T {
        let (key, new) = (Arc::<str>::from(name), T::default());
        let mut found = None;
        self.0.rcu(|current| {
            let mut next = BTreeMap::clone(current);
            found = Some(next.entry(Arc::clone(&key)).or_insert_with(|| new.clone()).clone());
            next
        });
        found.unwrap_or(new)
    }

    pub(super) fn entries(&self) -> Vec<(Arc<str>, T)> {
        self.0.load().iter().map(|(name, value)| (Arc::clone(name), value.clone())).collect()
    }
}
