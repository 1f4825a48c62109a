//! Memory for bytes that are buffered in the process: one budget for all of them, and a share of it for each tenant.

mod ask;
mod ledger;
mod queue;
mod reclaim;
mod reservation;
#[cfg(test)]
mod tests;
mod waiters;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

pub use self::reservation::Reservation;
use self::{
    ask::Ask,
    ledger::{Charge, Class, Short},
    queue::Queue,
    reclaim::{AllAhead, LastSearch},
};
pub(super) use self::{
    reclaim::{ReadsAhead, Reclaimable},
    reservation::Granted,
};
use super::Error;
use crate::{
    settings::{Size, Timeout, settings},
    telemetry::Metrics,
};

const MIB: u64 = 1024 * 1024;

/// Maximum number of pages of listings that may exceed the budget at the same time. A page has at most 10 MiB, and
/// rarely more than 1 MiB.
const LARGE_PAGES: usize = 4;

/// Maximum number of these pages for one tenant. A page counts until its caller has read it.
const LARGE_PAGES_OF_TENANT: usize = 2;

settings! {
    /// The memory budget, and how long calls wait for it.
    #[derive(Copy)]
    pub struct MemorySettings(MemoryLayer), variables "LONGSHORE_" {
        /// How many bytes of uploads, reads, messages and listings may be buffered in memory.
        budget = "memory_budget": u64 as Size<{ 16 * MIB }, { 1024 * 1024 * MIB }> = 256 * MIB,
        /// How long a call waits for memory before it fails with RESOURCE_EXHAUSTED, reason MEMORY_EXHAUSTED.
        wait = "memory_wait": Duration as Timeout = Duration::from_secs(30),
        /// While other calls wait for memory, how long an upload may send nothing (UPLOAD_IDLE), or the caller of a
        /// read may take nothing (READ_IDLE), before the call fails. Also how long a connection may take nothing while
        /// the process has many unsent bytes. After a sixth of this time, a caller that takes nothing loses what was
        /// read ahead for it, if other calls need the memory; it is requested again if the caller continues.
        idle_timeout = "upload_idle_timeout": Duration as Timeout = Duration::from_mins(1),
    }
}

/// The memory budget of the whole process. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Shared>);

/// A tenant's share of the budget. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct TenantBudget {
    shared: Arc<Shared>,
    /// Identifies the tenant in the queue.
    tenant: u64,
    share: Arc<Share>,
    /// Number of calls of this tenant that wait.
    waiting: Arc<AtomicUsize>,
    /// This tenant's permits for pages that exceed the budget.
    large_pages: Arc<Semaphore>,
}

/// A share in the ledger. Dropping it removes it, so that the shares of removed tenants do not accumulate.
#[derive(Debug)]
struct Share {
    shared: Arc<Shared>,
    number: usize,
    searched: LastSearch,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.lock().ledger.remove_share(self.number);
    }
}

#[derive(Debug)]
struct Shared {
    settings: MemorySettings,
    metrics: Metrics,
    queue: Mutex<Queue>,
    /// Number of calls that wait; can be read without the lock.
    waiting: AtomicUsize,
    /// Whether one of these calls lacks memory of the process; can be read without the lock.
    process_is_short: AtomicBool,
    /// How many more bytes uploads may hold without being charged ([`FirstBytes`]).
    uncounted: AtomicU64,
    /// The permits for pages that exceed the budget.
    large_pages: Arc<Semaphore>,
    /// The reads and walks that read ahead.
    ahead: AllAhead,
}

/// The first bytes of an upload, which do not count against the budget, so that a small upload does not wait for
/// memory.
#[derive(Debug)]
pub(super) struct FirstBytes(Arc<Shared>);

impl FirstBytes {
    /// Number of uncounted bytes of each upload.
    pub(super) const SIZE: u64 = 64 * 1024;
    /// Maximum number for all uploads together, or a quarter of the budget if that is less.
    const MOST: u64 = 16 * MIB;
}

impl MemoryBudget {
    /// The size of the whole budget, in bytes.
    pub fn size(&self) -> u64 {
        self.0.settings.budget
    }

    /// Creates a budget that is independent of any other.
    pub fn new(settings: MemorySettings, metrics: Metrics) -> Self {
        metrics.memory_budget(settings.budget);
        Self(Arc::new(Shared {
            settings,
            metrics,
            queue: Mutex::new(Queue::new(settings.budget)),
            waiting: AtomicUsize::new(0),
            process_is_short: AtomicBool::new(false),
            large_pages: Arc::new(Semaphore::new(LARGE_PAGES)),
            uncounted: AtomicU64::new(FirstBytes::MOST.min(settings.budget / 4)),
            ahead: AllAhead::new(settings.idle_timeout),
        }))
    }

    /// Creates a share of at most `most` bytes; `None` shares all of the budget.
    pub fn share(&self, most: Option<u64>) -> TenantBudget {
        let (number, tenant) = {
            let mut queue = self.0.lock();
            (queue.ledger.add_share(self.0.limit(most)), queue.number())
        };
        let share = Arc::new(Share { shared: Arc::clone(&self.0), number, searched: LastSearch::default() });
        let large_pages = Arc::new(Semaphore::new(LARGE_PAGES_OF_TENANT));
        TenantBudget { shared: Arc::clone(&self.0), tenant, share, waiting: Arc::default(), large_pages }
    }

    /// Number of reserved bytes.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> u64 {
        self.0.lock().ledger.total()
    }

    /// Number of shares.
    #[cfg(test)]
    pub(crate) fn shares(&self) -> usize {
        self.0.lock().ledger.shares()
    }

    /// Whether a call is waiting for memory. Costs one atomic read.
    pub fn is_contended(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Default for MemoryBudget {
    /// A budget of 256 MiB with its own metrics.
    fn default() -> Self {
        Self::new(MemorySettings::default(), Metrics::default())
    }
}

impl TenantBudget {
    /// Reserves memory for `bytes` of a message or a page, and waits until it is free. One reservation is charged at
    /// most a quarter of the share, even if it is larger.
    ///
    /// Fails with [`ErrorKind::MemoryExhausted`](super::ErrorKind::MemoryExhausted) after [`MemorySettings::wait`].
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, Error> {
        let mut reservation = self.reservation();
        reservation.grow(bytes).await?;
        Ok(reservation)
    }

    /// The number of the share in the ledger.
    fn share(&self) -> usize {
        self.share.number
    }

    /// Changes the share to at most `most` bytes; `None` shares all of the budget. If more is reserved, nothing but one
    /// whole part is granted until enough of it is free again.
    pub fn resize(&self, most: Option<u64>) {
        let limit = self.shared.limit(most);
        self.shared.change(|queue| queue.limit_share(self.share.number, limit));
    }

    /// Whether a call is waiting for memory that this tenant could give back. Costs two atomic reads.
    pub fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || self.shared.process_is_short.load(Ordering::Relaxed)
    }

    /// How many bytes of the share are held, and how many may be.
    pub fn held(&self) -> (u64, u64) {
        self.shared.lock().ledger.share(self.share.number)
    }

    /// The settings that the budget was created with.
    pub fn settings(&self) -> MemorySettings {
        self.shared.settings
    }

    /// Counts a call that was ended to free its memory, or for lack of memory. `reason` is the value of the metric's
    /// label.
    pub fn count_ended(&self, reason: &'static str) {
        self.shared.metrics.memory_ended(reason);
    }

    /// A reservation of no bytes, which can grow.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation::open(self.clone())
    }

    /// Reserves memory for bytes that no caller has asked for yet, if it is free and no call waits for it.
    pub(super) fn reserve_ahead(&self, bytes: u64) -> Option<Reservation> {
        let reservation = self.reservation();
        reservation.hold_ahead(bytes).then_some(reservation)
    }

    /// Whether [`Self::reserve_ahead`] would reserve this many bytes now.
    pub(super) fn has_room_ahead(&self, bytes: u64) -> bool {
        self.shared.lock().is_empty() && self.fit_new(Ask { class: Class::Ahead, bytes }).is_ok()
    }

    /// Whether a new reservation with this content would fit.
    fn fit_new(&self, Ask { class, bytes }: Ask) -> Result<Charge, Short> {
        let nothing = Charge { share: self.share(), class, bytes: 0 };
        self.shared.lock().ledger.fit(nothing, class, bytes)
    }

    /// The uncounted first bytes of an upload, if the process has any left.
    pub(super) fn first_bytes(&self) -> Option<FirstBytes> {
        let take = |left: u64| left.checked_sub(FirstBytes::SIZE);
        let taken = self.shared.uncounted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok().then(|| FirstBytes(Arc::clone(&self.shared)))
    }
}

impl Default for TenantBudget {
    /// The whole of a separate budget.
    fn default() -> Self {
        MemoryBudget::default().share(None)
    }
}

impl Drop for FirstBytes {
    fn drop(&mut self) {
        self.0.uncounted.fetch_add(Self::SIZE, Ordering::Relaxed);
    }
}

impl Shared {
    /// The limit of a share. Without one of its own, only the limit of the process counts.
    fn limit(&self, most: Option<u64>) -> u64 {
        most.map_or(u64::MAX, |most| most.min(self.settings.budget))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, then grants the memory that became free and updates the values that can be read without the
    /// lock.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.lock();
        let before = queue.ledger.total();
        let changed = change(&mut queue);
        if queue.is_empty() {
            queue.process_is_short = false;
        } else {
            queue.pump();
        }
        self.waiting.store(queue.waiting(), Ordering::Relaxed);
        self.process_is_short.store(queue.process_is_short, Ordering::Relaxed);
        let after = queue.ledger.total();
        drop(queue);
        self.metrics.memory_reserved(before, after);
        changed
    }
}
