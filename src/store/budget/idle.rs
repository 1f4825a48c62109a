//! Takes back memory for bytes that were read ahead, if the caller has stopped reading and other calls need memory.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use slab::Slab;
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard},
    time::Instant,
};

use super::TenantBudget;

/// How long a caller may take nothing before others may have the memory that was used to read ahead for it.
const IDLE: Duration = Duration::from_secs(10);

/// Minimum time between two searches for idle calls.
const BETWEEN_SEARCHES: Duration = Duration::from_secs(1);

/// A read or a walk that holds bytes ahead of its caller.
pub(in crate::store) trait ReadsAhead: Send + 'static {
    /// Frees the memory of what the caller has not taken. It has to be requested again if the caller continues.
    fn give_up(&mut self);
}

/// Something that reads ahead. If its caller takes nothing for a while and other calls need memory, it gives up what it
/// holds.
#[derive(Debug)]
pub(in crate::store) struct Reclaimable<T> {
    slot: Arc<Slot<T>>,
    budget: TenantBudget,
    key: usize,
}

/// Access to a [`Reclaimable`], which is not idle as long as this exists.
#[derive(Debug)]
pub(in crate::store) struct InUse<'a, T>(AsyncGuard<'a, Used<T>>);

#[derive(Debug)]
struct Slot<T>(AsyncMutex<Used<T>>);

#[derive(Debug)]
struct Used<T> {
    value: T,
    last: Instant,
}

/// All that reads ahead in the process.
#[derive(Debug, Default)]
pub(super) struct AllAhead(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    slots: Slab<Weak<dyn Idle>>,
    searched: Option<Instant>,
}

trait Idle: std::fmt::Debug + Send + Sync {
    /// Gives up what has been read ahead if the caller has taken nothing for [`IDLE`].
    fn give_up_if_idle(&self, now: Instant);
}

impl<T: ReadsAhead + std::fmt::Debug> Reclaimable<T> {
    pub(in crate::store) fn new(budget: &TenantBudget, value: T) -> Self {
        let slot = Arc::new(Slot(AsyncMutex::new(Used { value, last: Instant::now() })));
        let known: Weak<Slot<T>> = Arc::downgrade(&slot);
        let key = budget.shared.ahead.known().slots.insert(known);
        Self { slot, budget: budget.clone(), key }
    }

    /// Waits only while another call takes the memory back, which does not block. Cancel safe.
    pub(in crate::store) async fn in_use(&self) -> InUse<'_, T> {
        InUse(self.slot.0.lock().await)
    }
}

impl<T> Drop for Reclaimable<T> {
    fn drop(&mut self) {
        self.budget.shared.ahead.known().slots.try_remove(self.key);
    }
}

impl<T> Deref for InUse<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> DerefMut for InUse<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value
    }
}

impl<T> Drop for InUse<'_, T> {
    fn drop(&mut self) {
        self.0.last = Instant::now();
    }
}

impl<T: ReadsAhead + std::fmt::Debug> Idle for Slot<T> {
    fn give_up_if_idle(&self, now: Instant) {
        if let Ok(mut used) = self.0.try_lock()
            && now.saturating_duration_since(used.last) >= IDLE
        {
            used.value.give_up();
        }
    }
}

impl AllAhead {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back the memory of idle calls. Does nothing if it has just done so.
    pub(super) fn reclaim(&self) {
        let now = Instant::now();
        let slots: Vec<_> = {
            let mut known = self.known();
            let since = |searched| now.saturating_duration_since(searched);
            if known.slots.is_empty()
                || known.searched.map(since).is_some_and(|since| since < BETWEEN_SEARCHES)
            {
                return;
            }
            known.searched = Some(now);
            known.slots.iter().filter_map(|(_, slot)| slot.upgrade()).collect()
        };
        // Without the lock: dropping a slot takes it again.
        for slot in slots {
            slot.give_up_if_idle(now);
        }
    }
}
