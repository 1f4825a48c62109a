//! Which calls of a connection were admitted: those that need no token, or that were refused, may be anyone's.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

/// How many admitted calls a connection has. Cheap to clone; clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct AdmittedCalls(Arc<AtomicUsize>);

/// A call, in the extensions of its request, for the layer that admits it. It counts until the last clone is dropped.
#[derive(Debug, Clone)]
pub(in crate::server) struct CallMark(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    calls: AdmittedCalls,
    admitted: AtomicBool,
}

impl AdmittedCalls {
    /// A call that has not been admitted yet.
    pub(super) fn call(&self) -> CallMark {
        CallMark(Arc::new(Mark { calls: self.clone(), admitted: AtomicBool::new(false) }))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl CallMark {
    /// The caller may make the call.
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
