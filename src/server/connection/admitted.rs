//! Counts a connection's admitted calls. Calls that need no token, and calls that are rejected, do not count: anyone
//! can make them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

/// The number of a connection's admitted calls. Cheap to clone; clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct AdmittedCalls(Arc<AtomicUsize>);

/// Marks one call. The request's extensions hold it for the layer that admits calls. An admitted call counts until the
/// last clone is dropped.
#[derive(Debug, Clone)]
pub(in crate::server) struct CallMark(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    calls: AdmittedCalls,
    admitted: AtomicBool,
}

impl AdmittedCalls {
    /// The mark of a call that has not been admitted yet.
    pub(super) fn call(&self) -> CallMark {
        CallMark(Arc::new(Mark { calls: self.clone(), admitted: AtomicBool::new(false) }))
    }

    /// The number of admitted calls.
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl CallMark {
    /// Records that the call is admitted.
    pub(in crate::server) fn admit(&self) {
        if !self.0.admitted.swap(true, Relaxed) {
            self.0.calls.0.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if *self.admitted.get_mut() {
            self.calls.0.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admitted_calls_count_until_they_end() {
        let calls = AdmittedCalls::default();
        let (admitted, refused) = (calls.call(), calls.call());
        let clone = admitted.clone();
        admitted.admit();
        clone.admit();
        assert_eq!(calls.count(), 1);
        drop((refused, admitted));
        assert_eq!(calls.count(), 1);
        drop(clone);
        assert_eq!(calls.count(), 0);
    }
}
