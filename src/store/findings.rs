//! What a store has found out about its server and cannot find out again by itself.

use std::sync::atomic::Ordering::Relaxed;

use super::S3Store;

/// What a store has found out about its server by a check or a walk. Callers rely on it, so it outlives the store.
///
/// Other things that a store learns, such as the bucket's region, cost at most one request to learn again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    puts_ignore_conditions: bool,
    completes_ignore_conditions: bool,
    lists_in_any_order: bool,
}

impl S3Store {
    /// What the store has found out so far.
    pub fn findings(&self) -> Findings {
        Findings {
            puts_ignore_conditions: self.inner.puts_ignore_conditions.load(Relaxed),
            completes_ignore_conditions: self.inner.completes_ignore_conditions.load(Relaxed),
            lists_in_any_order: self.inner.lists_in_any_order.load(Relaxed),
        }
    }

    /// The same store, which knows what an earlier one with the same settings has found out.
    #[must_use]
    pub fn knowing(self, findings: Findings) -> Self {
        self.inner.puts_ignore_conditions.store(findings.puts_ignore_conditions, Relaxed);
        self.inner.completes_ignore_conditions.store(findings.completes_ignore_conditions, Relaxed);
        self.inner.lists_in_any_order.store(findings.lists_in_any_order, Relaxed);
        self
    }
}
