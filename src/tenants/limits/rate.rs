//! A rate limit whose callers wait in the order in which they came.

use std::{
    future::pending,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep, sleep_until},
};

use super::bucket::{Bucket, Pace};
use crate::telemetry::WatchedLimit;

/// A token bucket with a queue. The call at its head waits for the tokens that it needs, and the others for it.
#[derive(Debug)]
pub(super) struct Rate {
    bucket: Mutex<Bucket>,
    /// Held by the head of the queue. The semaphore is the queue: it is fair, and a call that is dropped leaves it.
    turn: Semaphore,
    /// The tokens that the calls in the queue need.
    queued: AtomicU64,
    /// Wakes the head of the queue when the bucket has changed.
    changed: Notify,
}

impl Rate {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(pace, Instant::now())),
            turn: Semaphore::new(1),
            queued: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Takes `tokens` if they are there and no call waits.
    pub(super) fn try_take(&self, tokens: u64) -> bool {
        self.queued.load(Relaxed) == 0 && self.bucket().take(tokens, Instant::now()).is_ok()
    }

    /// Takes `tokens`, in turn. If that would take longer than until `until`, fails at once with the time after which
    /// the tokens would be there.
    pub(super) async fn take(&self, tokens: u64, until: Option<Instant>) -> Result<(), Duration> {
        let queued = Queued::new(self, tokens);
        let now = Instant::now();
        let wait = self.bucket().wait(queued.before, tokens, now);
        if until.is_some_and(|until| now + wait > until) {
            return Err(wait);
        }
        let expired = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.take_in_turn(tokens) => Ok(()),
            // The rate was lowered in the meantime.
            () = expired => Err(self.bucket().wait(queued.before, tokens, Instant::now())),
        }
    }

    async fn take_in_turn(&self, tokens: u64) {
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await;
        loop {
            let Err(wait) = self.bucket().take(tokens, Instant::now()) else { return };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Puts tokens back that were not used.
    pub(super) fn give_back(&self, tokens: u64) {
        self.bucket().give_back(tokens, Instant::now());
        self.wake();
    }

    /// Changes the rate, also for the calls that wait.
    pub(super) fn configure(&self, pace: Pace) {
        self.bucket().configure(pace, Instant::now());
        self.wake();
    }

    fn wake(&self) {
        if self.queued.load(Relaxed) > 0 {
            self.changed.notify_one();
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedLimit for Rate {
    fn value(&self) -> u64 {
        self.bucket().usage(Instant::now()).0
    }

    fn used(&self) -> u64 {
        self.bucket().usage(Instant::now()).1
    }
}

/// A call in the queue.
struct Queued<'a> {
    rate: &'a Rate,
    tokens: u64,
    /// The tokens that the calls before it need.
    before: u64,
}

impl<'a> Queued<'a> {
    fn new(rate: &'a Rate, tokens: u64) -> Self {
        Self { rate, tokens, before: rate.queued.fetch_add(tokens, Relaxed) }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.rate.queued.fetch_sub(self.tokens, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::join_all};
    use proptest::prelude::*;

    use super::*;

    /// Ten tokens per second, and at most one at a time.
    fn slow() -> Rate {
        Rate::new(Pace::new(10, 1, Duration::from_millis(1), 1))
    }

    const TENTH: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn calls_get_their_tokens_in_the_order_in_which_they_came() {
        let (rate, begin) = (slow(), Instant::now());
        assert!(rate.try_take(1) && !rate.try_take(1));
        let order = Mutex::new(Vec::new());
        let calls = (0..5).map(|number| {
            let (rate, order) = (&rate, &order);
            async move {
                rate.take(1, None).await.unwrap();
                order.lock().unwrap().push((number, begin.elapsed().as_millis()));
            }
        });
        join_all(calls).await;
        assert_eq!(*order.lock().unwrap(), [(0, 100), (1, 200), (2, 300), (3, 400), (4, 500)]);
        assert_eq!(rate.queued.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_leaves_makes_room_for_those_behind_it() {
        let rate = slow();
        assert!(rate.try_take(1));
        let mut gone: Vec<_> = (0..1_000).map(|_| Box::pin(rate.take(1, None))).collect();
        for call in &mut gone {
            assert!(call.now_or_never().is_none());
        }
        let mut last = Box::pin(rate.take(1, None));
        assert!((&mut last).now_or_never().is_none());
        assert!(!rate.try_take(1), "no call overtakes");
        drop(gone);
        let begin = Instant::now();
        last.await.unwrap();
        assert_eq!(begin.elapsed(), TENTH);
        tokio::time::advance(TENTH).await;
        assert!(rate.try_take(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_would_wait_too_long_fails_at_once_with_the_true_time() {
        let rate = slow();
        assert!(rate.try_take(1));
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(rate.take(1, None))).collect();
        for call in &mut waiting {
            assert!(call.now_or_never().is_none());
        }
        let begin = Instant::now();
        let within = |tenths| Some(begin + TENTH * tenths);
        assert_eq!(rate.take(1, within(9)).await, Err(TENTH * 10));
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(rate.take(1, within(10)).now_or_never().is_none(), "it may wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_follows_a_change_of_the_rate() {
        let rate = slow();
        assert!(rate.try_take(1));
        let begin = Instant::now();
        let mut call = Box::pin(rate.take(1, Some(begin + TENTH * 2)));
        assert!((&mut call).now_or_never().is_none());
        rate.configure(Pace::new(100, 1, Duration::from_millis(1), 1));
        call.await.unwrap();
        assert_eq!(begin.elapsed(), TENTH / 10);
        let mut call = Box::pin(rate.take(1, Some(begin + TENTH * 2)));
        assert!((&mut call).now_or_never().is_none());
        rate.configure(Pace::new(1, 1, Duration::from_millis(1), 1));
        assert!(call.await.is_err());
        assert_eq!(begin.elapsed(), TENTH * 2, "not later than it may wait");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_are_given_back_go_to_the_call_at_the_head() {
        let rate = Rate::new(Pace::new(1, 1, Duration::from_secs(10), 1));
        assert!(rate.try_take(10));
        let begin = Instant::now();
        let mut call = Box::pin(rate.take(5, None));
        assert!((&mut call).now_or_never().is_none());
        rate.give_back(5);
        call.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    /// Calls that arrive one after the other, need some tokens and leave after some time. Returns, for each call that got
    /// its tokens, in this order: when, its number, and the tokens.
    async fn run(pace: Pace, calls: Vec<(u64, u64, u64)>) -> Vec<(u128, usize, u64)> {
        let (rate, begin, admitted) = (Rate::new(pace), Instant::now(), Mutex::new(Vec::new()));
        let mut arrival = begin;
        let calls = calls.into_iter().enumerate().map(|(number, (pause, tokens, patience))| {
            arrival += Duration::from_millis(pause);
            let (rate, admitted, arrival) = (&rate, &admitted, arrival);
            async move {
                tokio::time::sleep_until(arrival).await;
                tokio::select! {
                    biased;
                    taken = rate.take(tokens, None) => taken.unwrap(),
                    () = sleep(Duration::from_millis(patience)) => return,
                }
                admitted.lock().unwrap().push((begin.elapsed().as_nanos(), number, tokens));
            }
        });
        join_all(calls).await;
        assert_eq!(rate.queued.load(Relaxed), 0);
        admitted.into_inner().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn calls_are_admitted_in_order_and_within_the_rate_although_some_leave_the_queue(
            per_second in 1..500_u64,
            burst in 1..30_u64,
            calls in proptest::collection::vec((1..50_u64, 1..10_u64, 0..2_000_u64), 1..80),
        ) {
            let pace = Pace::new(per_second, 1, Duration::ZERO, burst);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let admitted = runtime.unwrap().block_on(run(pace, calls));
            prop_assert!(admitted.windows(2).all(|pair| pair[0].1 < pair[1].1), "{admitted:?}");
            for (first, (from, ..)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (until, _, tokens) in &admitted[first..] {
                    sum += u128::from(*tokens);
                    // A request for more than the burst is owed.
                    let owed = u128::from(tokens.saturating_sub(burst));
                    let allowed = u128::from(burst) * 1_000_000_000 + (until - from) * u128::from(per_second);
                    prop_assert!((sum - owed) * 1_000_000_000 <= allowed, "{admitted:?}");
                }
            }
        }
    }
}
