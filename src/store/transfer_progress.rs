//! How far a long operation is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A total that is not known.
const UNKNOWN: u64 = u64::MAX;

/// How many bytes an operation has transferred, for a caller that waits for it. Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct TransferProgress(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    done: AtomicU64,
    total: AtomicU64,
}

impl Default for TransferProgress {
    fn default() -> Self {
        Self(Arc::new(Counts { done: AtomicU64::new(0), total: AtomicU64::new(UNKNOWN) }))
    }
}

impl TransferProgress {
    /// The bytes that have been transferred, and the bytes in total, if they are known.
    pub fn bytes(&self) -> (u64, Option<u64>) {
        let total = self.0.total.load(Relaxed);
        (self.0.done.load(Relaxed), Some(total).filter(|total| *total != UNKNOWN))
    }

    pub(super) fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Relaxed);
    }
}
