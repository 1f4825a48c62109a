//! Decides whether and when a failed attempt is retried.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, RetryPolicy, RetryQuota};

/// Whether a failed attempt should be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: a retry would fail too, or do harm.
    No,
    /// Immediately and without cost: the cause of the failure has been corrected.
    Now,
    /// After a pause, at this cost. The server may have said how long to wait.
    Later {
        /// What the retry takes from the quota.
        cost: RetryCost,
        /// The wait from `Retry-After` or a similar header.
        wait: Option<Duration>,
    },
}

/// How much a retry takes from the store's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCost {
    /// The server failed or asked to slow down.
    Failure,
    /// The attempt timed out.
    Timeout,
}

impl RetryCost {
    fn tokens(self) -> u32 {
        match self {
            Self::Failure => 5,
            Self::Timeout => 10,
        }
    }
}

/// The attempts made for one request.
#[derive(Debug)]
pub struct Attempts<'a> {
    policy: &'a RetryPolicy,
    quota: &'a RetryQuota,
    deadline: Option<Instant>,
    begun: Instant,
    made: u32,
    pauses: u32,
    held: u32,
    quota_exhausted: bool,
}

impl<'a> Attempts<'a> {
    /// For a request whose first attempt is about to be made. No retry begins after `deadline`.
    pub fn new(policy: &'a RetryPolicy, quota: &'a RetryQuota, deadline: Option<Instant>) -> Self {
        Self {
            policy,
            quota,
            deadline,
            begun: Instant::now(),
            made: 1,
            pauses: 0,
            held: 0,
            quota_exhausted: false,
        }
    }

    /// Called after a failed attempt. Waits before the next attempt and returns true, or returns false if there is
    /// none.
    pub async fn again(&mut self, again: Retry) -> bool {
        match again {
            Retry::No => return false,
            Retry::Now => {}
            Retry::Later { cost, wait } => {
                let Some(pause) = self.pause(wait) else { return false };
                if !self.quota.take(cost.tokens()) {
                    self.quota_exhausted = true;
                    return false;
                }
                self.held = cost.tokens();
                self.pauses += 1;
                tokio::time::sleep(pause).await;
            }
        }
        self.made += 1;
        true
    }

    /// Called after a successful attempt. Returns to the quota what the last retry took, or one token if there was
    /// none.
    pub fn succeeded(&self) {
        self.quota.put_back(self.held.max(1));
    }

    /// The number of attempts made.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// The time since the first attempt began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether the quota had too few tokens for another attempt.
    pub fn quota_exhausted(&self) -> bool {
        self.quota_exhausted
    }

    fn pause(&self, wait: Option<Duration>) -> Option<Duration> {
        if self.pauses >= self.policy.max_retries {
            return None;
        }
        let jittered = bound(&self.policy.backoff, self.pauses).mul_f64(fastrand::f64());
        let pause = jittered.max(wait.unwrap_or_default());
        // A server may ask for any wait. An instant beyond the clock's range is too late.
        let begin = Instant::now().checked_add(pause)?;
        let too_late = begin - self.begun > self.policy.retry_timeout
            || self.deadline.is_some_and(|deadline| begin >= deadline);
        (!too_late).then_some(pause)
    }
}

/// The longest pause before retry `n`, counted from 0.
fn bound(backoff: &Backoff, n: u32) -> Duration {
    let factor = backoff.base.max(1.0).powi(i32::try_from(n).unwrap_or(i32::MAX));
    let seconds = backoff.init_backoff.as_secs_f64() * factor;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(backoff.max_backoff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Retry = Retry::Later { cost: RetryCost::Failure, wait: None };

    fn policy() -> RetryPolicy {
        RetryPolicy { max_retries: 3, ..RetryPolicy::default() }
    }

    #[test]
    fn pauses_grow_by_the_base_up_to_their_bound() {
        let backoff = Backoff::default();
        assert_eq!(bound(&backoff, 0), Duration::from_millis(100));
        assert_eq!(bound(&backoff, 3), Duration::from_millis(800));
        assert_eq!(bound(&backoff, 8), Duration::from_secs(15));
        assert_eq!(bound(&backoff, u32::MAX), Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_after_max_retries() {
        let (policy, quota) = (policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, None);
        assert!(attempts.again(FAILED).await);
        assert!(attempts.again(FAILED).await);
        assert!(attempts.again(FAILED).await);
        assert!(!attempts.again(FAILED).await);
        assert_eq!(attempts.made(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_a_correction_needs_no_pause_and_does_not_count() {
        let (policy, quota) = (RetryPolicy { max_retries: 0, ..policy() }, RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, None);
        assert!(attempts.again(Retry::Now).await);
        assert_eq!(attempts.elapsed(), Duration::ZERO);
        assert!(!attempts.again(FAILED).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_waits_as_long_as_the_server_asks() {
        let (policy, quota) = (policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, None);
        let wait = Some(Duration::from_secs(7));
        assert!(attempts.again(Retry::Later { cost: RetryCost::Failure, wait }).await);
        assert!(attempts.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_deadline_or_the_timeout() {
        let (policy, quota) = (policy(), RetryQuota::default());
        let wait = Some(Duration::from_mins(1));
        let later = Retry::Later { cost: RetryCost::Timeout, wait };
        let deadline = Some(Instant::now() + Duration::from_secs(30));
        assert!(!Attempts::new(&policy, &quota, deadline).again(later).await);
        let short = RetryPolicy { retry_timeout: Duration::from_secs(59), ..policy };
        assert!(!Attempts::new(&short, &quota, None).again(later).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_clocks_range_does_not_panic() {
        let (policy, quota) = (policy(), RetryQuota::default());
        let wait = Some(Duration::MAX);
        let later = Retry::Later { cost: RetryCost::Failure, wait };
        assert!(!Attempts::new(&policy, &quota, None).again(later).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_quota_ends_retries_and_is_reported() {
        let (policy, quota) = (policy(), RetryQuota::default());
        assert!(quota.take(498));
        let mut attempts = Attempts::new(&policy, &quota, None);
        assert!(!attempts.again(FAILED).await);
        assert!(attempts.quota_exhausted());
        attempts.succeeded();
        assert!(quota.take(3));
    }
}
