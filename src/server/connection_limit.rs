//! Counts callers' connections, and limits their number.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tenants::{limit_connections, open_connections};

/// The number of file descriptors divided by this is reserved for connections to S3.
const FOR_S3: usize = 4;

/// Descriptors reserved for the process itself: standard streams, timers, files that are read.
const OWN: usize = 32;

/// Descriptors reserved for the health listener's connections.
const HEALTH: usize = 32;

/// The default maximum number of connections, if there are enough descriptors.
const MOST: usize = 100_000;

/// With fewer descriptors than this, the server logs a warning.
const FEW_FILES: u64 = 4_096;

/// Limits the number of callers' connections to the process. Cheap to clone; clones share the count.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit {
    count: Arc<AtomicUsize>,
    most: usize,
    /// How many descriptors callers' connections and those to S3 may use together.
    descriptors: usize,
}

/// Counts one connection until dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl ConnectionLimit {
    /// Allows at most `max_connections`; with `None`, as many as the process has descriptors for, up to 100,000.
    pub(super) fn new(max_connections: Option<u32>) -> Self {
        let files = raise_file_limit();
        let descriptors = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OWN + HEALTH).max(2);
        let room = descriptors - descriptors.div_ceil(FOR_S3);
        let count = Arc::<AtomicUsize>::default();
        limit_connections(descriptors, Arc::clone(&count));
        let asked = max_connections.map_or(MOST.min(room), |most| most as usize);
        if asked > room {
            tracing::warn!(
                asked,
                files,
                "LONGSHORE_MAX_CONNECTIONS exceeds what the open file limit allows: accepting at most {room}"
            );
        }
        Self { count, most: asked.min(room), descriptors }
    }

    /// Counts one more connection; `None` if the limit is reached.
    pub(super) fn try_acquire(&self) -> Option<Counted> {
        let counted = Counted(Arc::clone(&self.count));
        let others = self.count.fetch_add(1, Relaxed);
        (others < self.most && others + open_connections() < self.descriptors).then_some(counted)
    }

    /// Whether the limit is nearly reached. Idle connections are then closed early.
    pub(super) fn is_nearly_reached(&self) -> bool {
        self.count.load(Relaxed) >= self.most - self.most / 16
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Raises the soft open file limit to the hard limit, and returns it.
fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the open file limit");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < FEW_FILES {
        tracing::warn!(
            files,
            "the open file limit is low: each connection of a caller or to S3 uses one file descriptor"
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_accepted_up_to_the_limit() {
        let limit = ConnectionLimit::new(Some(32));
        let mut acquired: Vec<_> = (0..30).map(|_| limit.try_acquire().unwrap()).collect();
        assert!(limit.is_nearly_reached());
        acquired.extend([limit.try_acquire().unwrap(), limit.try_acquire().unwrap()]);
        assert!(limit.try_acquire().is_none());
        acquired.truncate(29);
        assert!(!limit.is_nearly_reached());
        assert!(limit.try_acquire().is_some());
    }

    #[test]
    fn some_descriptors_are_reserved_for_other_uses() {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        for asked in [None, Some(u32::MAX)] {
            assert!((ConnectionLimit::new(asked).most as u64) < files, "{asked:?}");
        }
    }
}
