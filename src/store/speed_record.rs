//! What is known of a connection from its earlier uploads.

use std::sync::{
    Arc,
    atomic::{AtomicI8, Ordering},
};

/// How fast the latest uploads of one connection were. Where memory is short, uploads of connections that were slow or refused
/// wait behind those of others. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SpeedRecord(Arc<AtomicI8>);

/// How far the record goes back: after this many slow parts, as many fast ones make it even.
const LENGTH: i8 = 4;

impl SpeedRecord {
    /// Whether the latest uploads were slow rather than fast. A single slow part says little.
    pub(super) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) < -1
    }

    /// A part filled quickly.
    pub(super) fn fast(&self) {
        self.add(1);
    }

    /// A part filled slowly, or its upload got no memory.
    pub(super) fn slow(&self) {
        self.add(-1);
    }

    fn add(&self, change: i8) {
        let add = |record: i8| Some((record + change).clamp(-LENGTH, LENGTH));
        // The closure never declines.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_uploads_count() {
        let record = SpeedRecord::default();
        assert!(!record.is_slow(), "nothing is known");
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
