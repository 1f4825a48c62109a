//! How fast the recent uploads on a connection were.

use std::sync::{
    Arc,
    atomic::{AtomicI8, Ordering},
};

/// How fast the latest uploads on one connection were. When memory is short, uploads on a connection whose latest
/// uploads were slow or rejected wait behind those on other connections. Cheap to clone; clones share the record.
#[derive(Debug, Clone, Default)]
pub struct SpeedRecord(Arc<AtomicI8>);

/// Limit of the score in both directions: after any number of slow parts, this many fast ones bring it back to zero.
const LENGTH: i8 = 4;

impl SpeedRecord {
    /// Whether the latest uploads were slow rather than fast. A single slow part is not enough.
    pub(in crate::store) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) < -1
    }

    /// Records that a part filled quickly.
    pub(in crate::store) fn fast(&self) {
        self.add(1);
    }

    /// Records that a part filled slowly, or that its upload got no memory.
    pub(in crate::store) fn slow(&self) {
        self.add(-1);
    }

    fn add(&self, change: i8) {
        let add = |record: i8| Some((record + change).clamp(-LENGTH, LENGTH));
        // The closure always returns `Some`, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_uploads_count() {
        let record = SpeedRecord::default();
        assert!(!record.is_slow(), "an empty record");
        (0..100).for_each(|_| record.slow());
        (0..2).for_each(|_| record.fast());
        assert!(record.is_slow());
        record.fast();
        assert!(!record.is_slow());
        (0..100).for_each(|_| record.fast());
        (0..5).for_each(|_| record.slow());
        assert!(!record.is_slow());
        record.slow();
        assert!(record.is_slow());
    }
}
