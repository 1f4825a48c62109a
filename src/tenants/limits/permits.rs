//! A limit on the number of calls, whose callers wait in the order in which they came.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

use crate::telemetry::WatchedLimit;

/// At least this many calls may wait, however few may be in flight.
const LEAST_WAITING: usize = 100;

/// The shortest and the longest retry delay of a rejected call.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The retry delay of a rejected call if no call has ended while others waited.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Permits for a number of calls, which can change. As many calls as there are permits may wait for one.
///
/// While no call waits, taking and returning a permit takes no lock, because the calls of all tenants share one number.
#[derive(Debug)]
pub(super) struct Permits {
    limit: AtomicUsize,
    in_use: AtomicUsize,
    waiting: AtomicUsize,
    /// Held by the head of the queue. The semaphore is the queue: it is fair, and a call that is dropped leaves it.
    turn: Semaphore,
    /// Wakes the head of the queue when a permit may have become free.
    freed: Notify,
    releases: Releases,
}

/// A permit for one call. Dropping it lets the next call begin.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: AtomicUsize::new(to_usize(limit)),
            in_use: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            freed: Notify::new(),
            releases: Releases::new(),
        }
    }

    /// Takes a permit if one is left and no call waits.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        if self.waiting.load(SeqCst) == 0 { self.take() } else { None }
    }

    /// Takes a permit, in turn. Fails at `until`, or at once if too many calls wait, with an estimate of when to try
    /// again.
    pub(super) async fn acquire(self: &Arc<Self>, until: Instant) -> Result<Permit, Duration> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let waiting = Waiting::new(self);
        if waiting.before >= self.limit().max(LEAST_WAITING) {
            return Err(self.retry_after(waiting.before));
        }
        let taken = timeout_at(until, self.take_in_turn()).await;
        taken.map_err(|_| self.retry_after(self.waiting.load(Relaxed)))
    }

    async fn take_in_turn(self: &Arc<Self>) -> Permit {
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await;
        loop {
            match self.take() {
                Some(permit) => return permit,
                None => self.freed.notified().await,
            }
        }
    }

    /// Takes a permit if one is left.
    fn take(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.limit.load(SeqCst);
        let more = |in_use: usize| (in_use < limit).then_some(in_use + 1);
        // Sequentially consistent, as are the other accesses: either this call sees that a permit has been returned, or
        // the call that returns it sees that this call waits.
        self.in_use.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Changes the number of permits. If more are in use, no call begins until fewer are.
    pub(super) fn resize(&self, limit: u32) {
        self.limit.store(to_usize(limit), SeqCst);
        self.freed.notify_one();
    }

    /// The number of permits.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// When a call that comes after `waiting` others may get a permit.
    fn retry_after(&self, waiting: usize) -> Duration {
        let each = self.releases.interval().unwrap_or(UNKNOWN);
        let calls = u32::try_from(waiting).unwrap_or(u32::MAX).max(1);
        each.saturating_mul(calls).clamp(RETRY.0, RETRY.1)
    }
}

impl WatchedLimit for Permits {
    fn value(&self) -> u64 {
        self.limit() as u64
    }

    fn used(&self) -> u64 {
        self.in_use.load(Relaxed) as u64
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let permits = &self.0;
        permits.in_use.fetch_sub(1, SeqCst);
        if permits.waiting.load(SeqCst) > 0 {
            permits.releases.record();
            permits.freed.notify_one();
        }
    }
}

/// A call that waits.
struct Waiting<'a> {
    permits: &'a Permits,
    /// The number of calls before it.
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(permits: &'a Permits) -> Self {
        Self { permits, before: permits.waiting.fetch_add(1, SeqCst) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permits.waiting.fetch_sub(1, SeqCst);
    }
}

/// Measures how often permits are returned while calls wait.
#[derive(Debug)]
struct Releases {
    began: Instant,
    /// When a permit was last returned, in nanoseconds since `began`; 0 before the first.
    last: AtomicU64,
    /// The moving average of the time between two of them, in nanoseconds; 0 before the second.
    interval: AtomicU64,
}

impl Releases {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0), interval: AtomicU64::new(0) }
    }

    fn record(&self) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let last = self.last.swap(now.max(1), Relaxed);
        // A long pause says how long no call waited, and nothing about calls that wait.
        let longest = u64::try_from(RETRY.1.as_nanos()).unwrap_or(u64::MAX);
        if last > 0 {
            let passed = now.saturating_sub(last).min(longest);
            let average = self.interval.load(Relaxed);
            let average = if average == 0 { passed } else { average - average / 8 + passed / 8 };
            self.interval.store(average.max(1), Relaxed);
        }
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_get_permits_in_the_order_in_which_they_came() {
        let permits = Arc::new(Permits::new(1));
        let held = permits.try_acquire().unwrap();
        let mut first = Box::pin(permits.acquire(later()));
        let mut second = Box::pin(permits.acquire(later()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(held);
        assert!(permits.try_acquire().is_none(), "no call overtakes");
        assert!((&mut second).now_or_never().is_none());
        let first = first.now_or_never().unwrap().unwrap();
        assert_eq!(permits.used(), 1);
        drop(first);
        drop(second.now_or_never().unwrap());
        assert_eq!((permits.used(), permits.waiting.load(Relaxed)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_leaves_frees_its_place_and_its_permit() {
        let permits = Arc::new(Permits::new(1));
        let held = permits.try_acquire().unwrap();
        for _ in 0..10_000 {
            assert!(permits.acquire(later()).now_or_never().is_none());
        }
        // tokio makes a task that polls so much wait in between.
        tokio::task::yield_now().await;
        let mut first = Box::pin(permits.acquire(later()));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(permits.acquire(later()));
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        // It has been woken, but leaves before it takes the permit.
        drop(first);
        drop(second.now_or_never().unwrap().unwrap());
        assert!(permits.try_acquire().is_some());
    }

    /// Real threads, because the accesses of one thread are always in order.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wakeup_is_lost_and_never_are_more_permits_in_use_than_there_are() {
        let permits = Arc::new(Permits::new(3));
        let most = Arc::new(AtomicUsize::new(0));
        let calls = (0..64).map(|number| {
            let (permits, most) = (Arc::clone(&permits), Arc::clone(&most));
            crate::tasks::Tasks::default().spawn(async move {
                for round in 0..200 {
                    let until = Instant::now() + Duration::from_mins(1);
                    let permit = permits.acquire(until).await.unwrap();
                    most.fetch_max(permits.in_use.load(SeqCst), SeqCst);
                    if (number + round) % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                    drop(permit);
                }
            })
        });
        for call in futures::future::join_all(calls).await {
            call.unwrap();
        }
        assert!(most.load(SeqCst) <= 3);
        assert_eq!((permits.used(), permits.waiting.load(SeqCst)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_until_its_time_is_up_and_the_queue_is_bounded() {
        let permits = Arc::new(Permits::new(1));
        let _held = permits.try_acquire().unwrap();
        let begin = Instant::now();
        assert_eq!(permits.acquire(later()).await.unwrap_err(), UNKNOWN);
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
        let mut waiting: Vec<_> = (0..LEAST_WAITING).map(|_| Box::pin(permits.acquire(later()))).collect();
        assert!(waiting.iter_mut().all(|call| call.now_or_never().is_none()));
        assert!(permits.acquire(later()).now_or_never().unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_call_gets_the_expected_wait_as_its_retry_delay() {
        let permits = Arc::new(Permits::new(1));
        let mut held = permits.try_acquire();
        for _ in 0..4 {
            let mut next = Box::pin(permits.acquire(later()));
            assert!((&mut next).now_or_never().is_none());
            tokio::time::advance(Duration::from_millis(10)).await;
            drop(held.take());
            held = next.await.ok();
        }
        let mut waiting: Vec<_> = (0..LEAST_WAITING).map(|_| Box::pin(permits.acquire(later()))).collect();
        assert!(waiting.iter_mut().all(|call| call.now_or_never().is_none()));
        assert_eq!(permits.acquire(later()).await.unwrap_err(), Duration::from_secs(1), "100 times 10 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_permits_changes_while_calls_hold_and_await_them() {
        let permits = Arc::new(Permits::new(3));
        let mut held: Vec<_> = (0..3).map(|_| permits.try_acquire().unwrap()).collect();
        permits.resize(1);
        held.truncate(1);
        assert!(permits.try_acquire().is_none(), "one is in use, and there is only one");
        let mut waiting = Box::pin(permits.acquire(later()));
        assert!((&mut waiting).now_or_never().is_none());
        permits.resize(2);
        let second = waiting.now_or_never().unwrap().unwrap();
        assert!(permits.try_acquire().is_none());
        permits.resize(4);
        assert_eq!((0..10).map_while(|_| permits.try_acquire()).collect::<Vec<_>>().len(), 2);
        drop((held, second));
        assert_eq!((0..10).map_while(|_| permits.try_acquire()).collect::<Vec<_>>().len(), 4);
    }
}
