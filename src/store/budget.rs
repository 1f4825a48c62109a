//! Memory for bytes that wait in the process: one budget for all, and a share of it for each tenant.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Error, ErrorKind};
use crate::telemetry::{Metrics, Reserved, Waiting};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// How much of the budget reads may use for what nobody has asked for yet: writes cannot do without memory, reads can.
const AHEAD: u64 = 4;

/// The memory budget, and how long calls wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySettings {
    /// How many bytes may wait in memory: of uploads until S3 has them, of reads until their callers take them, and of
    /// messages until they are complete. Default: 256 MiB.
    pub budget: u64,
    /// How long a call waits for memory before it fails with [`ErrorKind::MemoryExhausted`]. Default: 30 s.
    pub wait: Duration,
    /// How long an upload may send nothing, or a read take nothing, while others wait for memory. Default: 60 s.
    pub idle_timeout: Duration,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { budget: 256 * MIB, wait: Duration::from_secs(30), idle_timeout: Duration::from_secs(60) }
    }
}

/// How many bytes of objects may wait in the whole process. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    settings: MemorySettings,
    whole: Limit,
    ahead: Limit,
    metrics: Metrics,
}

/// A tenant's share of the budget. Cheap to clone; clones share it.
///
/// Whoever waits for memory is served in the order of asking, and holds no memory that only its own going on would
/// free. So all of the budget can be in use, and everyone gets on as soon as S3 has taken a part.
#[derive(Debug, Clone)]
pub struct TenantBudget {
    process: MemoryBudget,
    own: Limit,
}

/// Memory that was asked for, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    _permits: Vec<OwnedSemaphorePermit>,
    _reserved: Reserved,
}

impl MemoryBudget {
    /// A budget of its own.
    pub fn new(settings: MemorySettings, metrics: Metrics) -> Self {
        let bytes = settings.budget;
        metrics.memory_budget(bytes);
        Self { settings, whole: Limit::new(bytes), ahead: Limit::new(bytes / AHEAD), metrics }
    }

    /// Whether calls wait for memory now.
    pub fn is_contended(&self) -> bool {
        false
    }

    /// A share of at most so many bytes; `None` is all of it.
    pub fn share(&self, most: Option<u64>) -> TenantBudget {
        let own = most.map_or_else(|| self.whole.clone(), Limit::new);
        TenantBudget { process: self.clone(), own }
    }
}

impl Default for MemoryBudget {
    /// 256 MiB, counted in metrics of its own.
    fn default() -> Self {
        Self::new(MemorySettings::default(), Metrics::default())
    }
}

impl TenantBudget {
    /// Memory for so many bytes, once it is there. More than the whole share is the whole share: an upload whose part is
    /// larger gets on by itself. Fails with [`ErrorKind::MemoryExhausted`] after [`MemorySettings::wait`].
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, Error> {
        let bytes = bytes.min(self.own.bytes()).min(self.process.whole.bytes());
        if let Some(reservation) = self.try_reserve(bytes, &[]) {
            return Ok(reservation);
        }
        let _waiting: Waiting = self.process.metrics.memory_awaited();
        let wait = self.process.settings.wait;
        let permits = timeout(wait, async {
            let mut permits = Vec::new();
            for limit in self.limits() {
                permits.extend(limit.take(bytes).await);
            }
            permits
        });
        match permits.await {
            Ok(permits) => Ok(self.reservation(permits, bytes)),
            Err(_) => Err(Error::new(
                ErrorKind::MemoryExhausted,
                format!("no memory became free within {wait:?}: call again later"),
            )),
        }
    }

    /// Memory for so many bytes that nobody has asked for yet, if it is there.
    pub(super) fn reserve_ahead(&self, bytes: u64) -> Option<Reservation> {
        self.try_reserve(bytes, &[&self.process.ahead])
    }

    fn try_reserve(&self, bytes: u64, also: &[&Limit]) -> Option<Reservation> {
        let limits = self.limits().chain(also.iter().copied());
        let permits = limits.map(|limit| limit.try_take(bytes)).collect::<Option<Vec<_>>>()?;
        Some(self.reservation(permits, bytes))
    }

    /// The tenant's first: whoever waits for the whole budget is not kept waiting by its own tenant afterwards.
    fn limits(&self) -> impl Iterator<Item = &Limit> {
        let own = (!Arc::ptr_eq(&self.own.free, &self.process.whole.free)).then_some(&self.own);
        own.into_iter().chain([&self.process.whole])
    }

    fn reservation(&self, permits: Vec<OwnedSemaphorePermit>, bytes: u64) -> Reservation {
        Reservation { _permits: permits, _reserved: self.process.metrics.memory_reserved(bytes) }
    }
}

impl Default for TenantBudget {
    /// All of a budget of its own.
    fn default() -> Self {
        MemoryBudget::default().share(None)
    }
}

/// A number of bytes that can be taken and given back, counted in KiB.
#[derive(Debug, Clone)]
struct Limit {
    free: Arc<Semaphore>,
    kibibytes: u32,
}

impl Limit {
    fn new(bytes: u64) -> Self {
        let kibibytes = kibibytes(bytes).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { free: Arc::new(Semaphore::new(kibibytes as usize)), kibibytes }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.kibibytes) * KIB
    }

    /// Waits its turn; first come, first served.
    async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        // It fails only for a closed semaphore, and this one never is.
        Arc::clone(&self.free).acquire_many_owned(kibibytes(bytes)).await.ok()
    }

    fn try_take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(kibibytes(bytes)).ok()
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn budget(bytes: u64) -> MemoryBudget {
        MemoryBudget::new(MemorySettings { budget: bytes, ..MemorySettings::default() }, Metrics::default())
    }

    #[test]
    fn reading_ahead_gets_a_quarter_and_never_waits() {
        let tenant = budget(40 * KIB).share(None);
        let ahead = tenant.reserve_ahead(10 * KIB).unwrap();
        assert!(tenant.reserve_ahead(1).is_none());
        drop(ahead);
        assert!(tenant.clone().reserve_ahead(10 * KIB).is_some());
        assert!(tenant.reserve_ahead(u64::MAX).is_none());
    }

    #[tokio::test]
    async fn a_tenant_has_its_share_and_leaves_the_rest_to_others() {
        let budget = budget(10 * KIB);
        let (one, other) = (budget.share(Some(6 * KIB)), budget.share(Some(6 * KIB)));
        let held = one.reserve(6 * KIB).await.unwrap();
        assert!(one.reserve(KIB).now_or_never().is_none(), "its share is used up");
        assert!(other.reserve(5 * KIB).now_or_never().is_none(), "so is the budget, but for 4 KiB");
        let rest = other.reserve(4 * KIB).now_or_never().unwrap().unwrap();
        drop((held, rest));
        assert!(one.reserve(6 * KIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_asks_first_is_served_first() {
        let tenant = budget(10 * KIB).share(None);
        let held = tenant.reserve(8 * KIB).await.unwrap();
        let mut large = Box::pin(tenant.reserve(9 * KIB));
        assert!((&mut large).now_or_never().is_none());
        assert!(tenant.reserve(KIB).now_or_never().is_none(), "a small one does not push in");
        drop(held);
        assert!(large.now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_is_larger_than_the_share_gets_all_of_it() {
        let budget = budget(10 * KIB);
        let tenant = budget.share(Some(4 * KIB));
        let _held = tenant.reserve(u64::MAX).await.unwrap();
        assert!(budget.share(None).reserve(6 * KIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn it_is_seen_in_metrics() {
        let metrics = Metrics::default();
        let tenant = MemoryBudget::new(
            MemorySettings { budget: 8 * KIB, ..MemorySettings::default() },
            metrics.clone(),
        )
        .share(None);
        let held = tenant.reserve(6 * KIB).await.unwrap();
        let mut waits = Box::pin(tenant.reserve(6 * KIB));
        assert!((&mut waits).now_or_never().is_none());
        let shown = |name: &str, value: &str| {
            let text = metrics.render();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            assert!(line.ends_with(value), "{line}");
        };
        shown("longshore_memory_budget_bytes", " 8192");
        shown("longshore_memory_reserved_bytes", " 6144");
        shown("longshore_memory_waiting", " 1");
        drop(held);
        waits.await.unwrap();
        shown("longshore_memory_reserved_bytes", " 0");
        shown("longshore_memory_waiting", " 0");
    }
}
