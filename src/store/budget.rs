//! Memory for bytes that are read before anybody has asked for them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: u64 = 1024;

/// How many bytes may be read ahead in the whole process. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct ReadAheadBudget(Arc<Semaphore>);

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl ReadAheadBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let kibibytes = usize::try_from(bytes / KIB).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))))
    }

    /// A share of so many bytes, if they are there: nobody waits for one, so nobody can be kept waiting.
    pub(super) fn share(&self, bytes: u64) -> Option<Share> {
        let kibibytes = u32::try_from(bytes.div_ceil(KIB)).ok()?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(kibibytes).ok()?;
        Some(Share { _permit: permit })
    }
}

impl Default for ReadAheadBudget {
    /// 64 MiB: what one read at the default `transfer` settings comes near to.
    fn default() -> Self {
        Self::new(64 * KIB * KIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = ReadAheadBudget::new(10 * KIB);
        let share = budget.share(6 * KIB).unwrap();
        assert!(budget.share(5 * KIB).is_none());
        drop(share);
        assert!(budget.clone().share(10 * KIB).is_some());
        assert!(budget.share(u64::MAX).is_none());
    }
}
