//! Takes back the memory of bytes that were read ahead for a caller that has stopped reading, if other calls need it.

use std::{
    fmt::Debug,
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

/// After which fraction of [`MemorySettings::idle_timeout`](super::MemorySettings::idle_timeout) a caller that takes
/// nothing loses what was read ahead for it, if other calls need the memory.
const IDLE: u32 = 6;

/// Maximum number of searches for idle calls in this time.
const SEARCHES: u32 = 10;

/// A read or a walk that holds bytes which its caller has not taken.
pub(in crate::store) trait ReadsAhead: Debug + Send + 'static {
    /// Frees the memory of these bytes. They are requested again if the caller continues.
    fn give_up(&mut self);
}

/// A read or a walk whose memory other calls can take back while its caller takes nothing.
#[derive(Debug)]
pub(in crate::store) struct Reclaimable<T> {
    slot: Arc<Slot<T>>,
    budget: TenantBudget,
    key: usize,
}

/// Access to what is in a [`Reclaimable`]. As long as it exists, the call is not idle.
#[derive(Debug)]
pub(in crate::store) struct InUse<'a, T>(AsyncGuard<'a, Used<T>>);

#[derive(Debug)]
struct Slot<T>(AsyncMutex<Used<T>>);

#[derive(Debug)]
struct Used<T> {
    value: T,
    /// When the caller last took something.
    last: Instant,
}

/// Everything in the process that reads ahead.
#[derive(Debug)]
pub(super) struct AllAhead {
    known: Mutex<Known>,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Known {
    slots: Slab<Weak<dyn GivesUp>>,
    searched: Option<Instant>,
}

trait GivesUp: Debug + Send + Sync {
    /// Gives up what has been read ahead if the caller has taken nothing for at least `idle`.
    fn give_up_after(&self, idle: Duration);
}

impl<T: ReadsAhead> Reclaimable<T> {
    pub(in crate::store) fn new(budget: &TenantBudget, value: T) -> Self {
        let slot = Arc::new(Slot(AsyncMutex::new(Used { value, last: Instant::now() })));
        let known: Weak<Slot<T>> = Arc::downgrade(&slot);
        let key = budget.shared.ahead.known().slots.insert(known);
        Self { slot, budget: budget.clone(), key }
    }

    /// Waits only while another call takes the memory back, which is quick. Cancel safe.
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

impl<T: ReadsAhead> GivesUp for Slot<T> {
    fn give_up_after(&self, idle: Duration) {
        if let Ok(mut used) = self.0.try_lock()
            && used.last.elapsed() >= idle
        {
            used.value.give_up();
        }
    }
}

impl AllAhead {
    /// `idle_timeout` is that of the settings.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { known: Mutex::default(), idle: idle_timeout / IDLE }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back the memory of idle calls. Does nothing if it has done so a moment ago.
    pub(super) fn reclaim(&self) {
        let slots: Vec<_> = {
            let mut known = self.known();
            let is_too_early = |searched: Instant| searched.elapsed() < self.idle / SEARCHES;
            if known.slots.is_empty() || known.searched.is_some_and(is_too_early) {
                return;
            }
            known.searched = Some(Instant::now());
            known.slots.iter().filter_map(|(_, slot)| slot.upgrade()).collect()
        };
        // Without the lock, because what is given up may take it.
        for slot in slots {
            slot.give_up_after(self.idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MemoryBudget, MemorySettings, Reservation},
        *,
    };
    use crate::telemetry::Metrics;

    const SIZE: u64 = 64 * 1024;
    const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

    #[derive(Debug)]
    struct Holds {
        reservation: Option<Reservation>,
    }

    impl ReadsAhead for Holds {
        fn give_up(&mut self) {
            self.reservation = None;
        }
    }

    fn holding_all() -> (TenantBudget, Reclaimable<Holds>) {
        let settings =
            MemorySettings { budget: 4 * SIZE, idle_timeout: IDLE_TIMEOUT, ..MemorySettings::default() };
        let budget = MemoryBudget::new(settings, Metrics::default()).share(None);
        let reservation = budget.reserve_ahead(SIZE);
        assert!(reservation.is_some());
        (budget.clone(), Reclaimable::new(&budget, Holds { reservation }))
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_call_gives_up_its_memory_when_another_one_needs_it() {
        let (budget, holds) = holding_all();
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert!(holds.in_use().await.reservation.is_some(), "no other call needs it");
        tokio::time::sleep(IDLE_TIMEOUT / 10).await;
        assert!(budget.reserve_ahead(1).is_none(), "the caller has taken something recently");
        tokio::time::sleep(IDLE_TIMEOUT / 10).await;
        assert!(!budget.has_room_ahead(1), "this takes the memory back");
        assert!(budget.reserve_ahead(SIZE).is_some());
        assert!(holds.in_use().await.reservation.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_memory_takes_it_from_idle_calls() {
        let (budget, holds) = holding_all();
        let mut part = budget.reservation();
        part.next_part(3 * SIZE).await.unwrap();
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let mut waits = budget.reservation();
        waits.next_part(SIZE).await.unwrap();
        assert!(holds.in_use().await.reservation.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_caller_is_waiting_keeps_its_memory() {
        let (budget, holds) = holding_all();
        let waiting = holds.in_use().await;
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert!(budget.reserve_ahead(1).is_none());
        assert!(waiting.reservation.is_some());
        drop(waiting);
        tokio::time::sleep(IDLE_TIMEOUT / 60).await;
        assert!(budget.reserve_ahead(1).is_none(), "it has been in use until now");
        assert!(holds.in_use().await.reservation.is_some());
    }
}
