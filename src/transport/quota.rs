//! A store's retry quota: when a backend fails for all callers, retries stop adding to its load.

use std::sync::atomic::{AtomicU32, Ordering};

const CAPACITY: u32 = 500;

/// A bucket of 500 tokens that all calls of a store share: a retry takes tokens, and a success returns some. The
/// numbers are those of the AWS SDKs' standard retry mode.
#[derive(Debug)]
pub struct RetryQuota(AtomicU32);

impl Default for RetryQuota {
    fn default() -> Self {
        Self(AtomicU32::new(CAPACITY))
    }
}

impl RetryQuota {
    /// Takes `tokens`, if there are enough.
    pub fn take(&self, tokens: u32) -> bool {
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(tokens)).is_ok()
    }

    /// Takes `tokens` for an optional request (a hedge), but only if half of the capacity remains for retries.
    pub fn take_spare(&self, tokens: u32) -> bool {
        let spare = |left: u32| left.checked_sub(tokens).filter(|left| *left >= CAPACITY / 2);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, spare).is_ok()
    }

    /// Returns `tokens`, up to the capacity.
    pub fn put_back(&self, tokens: u32) {
        self.0.update(Ordering::Relaxed, Ordering::Relaxed, |left| left.saturating_add(tokens).min(CAPACITY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_quota_refuses_tokens_and_refills_up_to_its_capacity() {
        let quota = RetryQuota::default();
        assert!((0..50).all(|_| quota.take(10)));
        assert!(!quota.take(1));
        quota.put_back(3);
        assert!(!quota.take(5));
        assert!(quota.take(3));
        quota.put_back(10_000);
        assert!(quota.take(CAPACITY));
        assert!(!quota.take(1));
    }

    #[test]
    fn optional_requests_leave_half_of_the_quota() {
        let quota = RetryQuota::default();
        assert!((0..50).all(|_| quota.take_spare(5)));
        assert!(!quota.take_spare(1));
        quota.put_back(5);
        assert!(quota.take_spare(5));
        assert!(quota.take(CAPACITY / 2));
        assert!(!quota.take_spare(0));
    }
}
