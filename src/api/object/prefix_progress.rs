//! What a call on all keys with a prefix has done so far.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api::convert;

/// The longest time without a message, so that proxies do not cut the call.
const INTERVAL: Duration = Duration::from_secs(5);

/// When to send a message although there is nothing new.
pub(super) fn ticks() -> Interval {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Counts what a call has done, and knows after which key it can be continued.
#[derive(Debug)]
pub(super) struct Done {
    succeeded: u64,
    failed: u64,
    skipped: u64,
    last_key: String,
    /// Whether the keys have come in ascending order so far.
    is_ordered: bool,
    limit: Option<u64>,
}

impl Done {
    /// Nothing so far, of at most `limit` objects.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { succeeded: 0, failed: 0, skipped: 0, last_key: String::new(), is_ordered: true, limit }
    }

    pub(super) fn succeeded(&mut self, key: &str) {
        self.succeeded += 1;
        self.reached(key);
    }

    pub(super) fn failed(&mut self, key: &str) {
        self.failed += 1;
        self.reached(key);
    }

    /// The listing has left out entries.
    pub(super) fn skipped(&mut self, entries: usize) {
        self.skipped += entries as u64;
    }

    fn reached(&mut self, key: &str) {
        self.is_ordered &= *self.last_key < *key;
        key.clone_into(&mut self.last_key);
    }

    pub(super) fn count(&self) -> i64 {
        convert::signed(self.succeeded)
    }

    pub(super) fn failures(&self) -> i64 {
        convert::signed(self.failed)
    }

    pub(super) fn left_out(&self) -> i64 {
        convert::signed(self.skipped)
    }

    /// The key after which the call can be continued; empty if there is none.
    pub(super) fn last_key(&self) -> &str {
        if self.is_ordered { &self.last_key } else { "" }
    }

    pub(super) fn has_reached_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.succeeded + self.failed >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_can_be_continued_only_if_the_keys_came_in_order() {
        let mut done = Done::new(Some(3));
        assert_eq!(done.last_key(), "");
        done.succeeded("a");
        done.failed("b");
        assert_eq!((done.last_key(), done.has_reached_limit()), ("b", false));
        done.succeeded("a2");
        assert_eq!((done.last_key(), done.has_reached_limit()), ("", true));
        done.succeeded("z");
        assert_eq!((done.last_key(), done.count(), done.failures()), ("", 3, 1));
    }
}
