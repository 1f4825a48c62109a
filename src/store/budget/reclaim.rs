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

use super::{
    TenantBudget,
    ask::Ask,
    ledger::{Class, Short},
};

/// A caller that takes nothing for [`MemorySettings::idle_timeout`](super::MemorySettings::idle_timeout) divided by
/// this loses what was read ahead for it, if other calls need the memory.
const IDLE: u32 = 6;

/// The time between two searches for idle calls is `idle_timeout / IDLE`, divided by this.
const SEARCHES: u32 = 10;

/// A read or a walk that holds bytes which its caller has not taken.
pub(in crate::store) trait ReadsAhead: Debug + Send + 'static {
    /// Frees memory by dropping bytes that were read ahead. They are requested again if the caller continues.
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
pub(in crate::store) struct InUse<'a, T: ReadsAhead> {
    value: AsyncGuard<'a, T>,
    slot: &'a Slot<T>,
}

#[derive(Debug)]
struct Slot<T> {
    value: AsyncMutex<T>,
    /// When the caller last took something, or stopped waiting.
    last_used: Mutex<Instant>,
}

/// The reads and walks of the process that read ahead.
#[derive(Debug)]
pub(super) struct AllAhead {
    slots: Mutex<Slab<Known>>,
    idle: Duration,
    searched: LastSearch,
}

#[derive(Debug)]
struct Known {
    /// The index of the tenant's share that its memory counts against.
    share: usize,
    slot: Weak<dyn GivesUp>,
}

/// When idle calls were last searched for.
#[derive(Debug, Default)]
pub(super) struct LastSearch(Mutex<Option<Instant>>);

trait GivesUp: Debug + Send + Sync {
    /// Gives up what has been read ahead if the caller has taken nothing for at least `idle`.
    fn give_up_after(&self, idle: Duration);
}

impl<T: ReadsAhead> Reclaimable<T> {
    pub(in crate::store) fn new(budget: &TenantBudget, value: T) -> Self {
        let slot = Arc::new(Slot { value: AsyncMutex::new(value), last_used: Mutex::new(Instant::now()) });
        let known: Weak<Slot<T>> = Arc::downgrade(&slot);
        let key = budget.shared.ahead.slots().insert(Known { share: budget.share(), slot: known });
        Self { slot, budget: budget.clone(), key }
    }

    /// Waits only while another call takes the memory back, which is quick. Cancel safe.
    pub(in crate::store) async fn in_use(&self) -> InUse<'_, T> {
        InUse { value: self.slot.value.lock().await, slot: &self.slot }
    }

    /// Records that the caller takes bytes that come before those that are read ahead.
    pub(in crate::store) fn touch(&self) {
        self.slot.touch();
    }
}

impl<T> Drop for Reclaimable<T> {
    fn drop(&mut self) {
        self.budget.shared.ahead.slots().try_remove(self.key);
    }
}

impl<T: ReadsAhead> Deref for InUse<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ReadsAhead> DerefMut for InUse<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ReadsAhead> Drop for InUse<'_, T> {
    fn drop(&mut self) {
        self.slot.touch();
    }
}

impl<T> Slot<T> {
    fn last_used(&self) -> MutexGuard<'_, Instant> {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.last_used() = Instant::now();
    }
}

impl<T: ReadsAhead> GivesUp for Slot<T> {
    fn give_up_after(&self, idle: Duration) {
        if let Ok(mut value) = self.value.try_lock()
            && self.last_used().elapsed() >= idle
        {
            value.give_up();
        }
    }
}

impl TenantBudget {
    /// Takes memory back from idle calls if there is not enough for this tenant to read `bytes` more ahead.
    /// Returns whether there is room now.
    pub(in crate::store) fn reclaim_ahead(&self, bytes: u64) -> bool {
        self.reclaim_for(Ask { class: Class::Ahead, bytes });
        self.has_room_ahead(bytes)
    }

    /// Takes memory back from idle calls, if that may help to grant `ask`. Does nothing if it has just done so.
    pub(super) fn reclaim_for(&self, ask: Ask) {
        let short = self.fit_new(ask).err();
        let ahead = &self.shared.ahead;
        match short {
            Some(Short::Share) => ahead.reclaim(Some(self.share()), &self.share.searched),
            Some(Short::Class) if ask.class != Class::Ahead => {}
            Some(Short::Class | Short::Free) => ahead.reclaim(None, &ahead.searched),
            None => {}
        }
    }

    /// How long a call that waits for memory waits before it calls [`Self::reclaim_for`] again.
    pub(super) fn between_searches(&self) -> Duration {
        self.shared.ahead.idle / SEARCHES
    }
}

impl AllAhead {
    /// `idle_timeout` is that of the settings.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { slots: Mutex::default(), idle: idle_timeout / IDLE, searched: LastSearch::default() }
    }

    fn slots(&self) -> MutexGuard<'_, Slab<Known>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back the memory of idle calls: of one share, or of all. Does nothing if `last` is recent.
    fn reclaim(&self, share: Option<usize>, last: &LastSearch) {
        {
            let mut last = last.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < self.idle / SEARCHES) {
                return;
            }
            *last = Some(Instant::now());
        }
        let is_asked = |known: &&Known| share.is_none_or(|share| share == known.share);
        let slots: Vec<_> = {
            let slots = self.slots();
            slots
                .iter()
                .map(|(_, known)| known)
                .filter(is_asked)
                .filter_map(|known| known.slot.upgrade())
                .collect()
        };
        // The lock is not held here, because dropping what is given up may acquire it.
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
        assert!(!budget.reclaim_ahead(1), "the caller has taken something recently");
        tokio::time::sleep(IDLE_TIMEOUT / 10).await;
        assert!(budget.reclaim_ahead(SIZE));
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
    async fn a_call_that_waits_for_memory_takes_it_as_soon_as_another_one_is_idle() {
        let (budget, _holds) = holding_all();
        let mut part = budget.reservation();
        part.next_part(3 * SIZE).await.unwrap();
        let began = Instant::now();
        let mut waits = budget.reservation();
        waits.next_part(SIZE).await.unwrap();
        assert!((IDLE_TIMEOUT / 6..IDLE_TIMEOUT / 5).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_lacks_only_its_own_share_takes_nothing_from_others() {
        let (budget, holds) = holding_all();
        let small = MemoryBudget(Arc::clone(&budget.shared)).share(Some(SIZE));
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert!(!small.reclaim_ahead(2 * SIZE));
        assert!(holds.in_use().await.reservation.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_caller_is_waiting_keeps_its_memory() {
        let (budget, holds) = holding_all();
        let waiting = holds.in_use().await;
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert!(!budget.reclaim_ahead(1));
        assert!(waiting.reservation.is_some());
        drop(waiting);
        tokio::time::sleep(IDLE_TIMEOUT / 60).await;
        assert!(!budget.reclaim_ahead(1), "it has been in use until now");
        assert!(holds.in_use().await.reservation.is_some());
    }
}
