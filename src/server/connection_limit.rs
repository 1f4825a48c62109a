//! How many connections there are, and how many there may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tenants::{limit_connections, open_connections};

/// What callers leave of the file descriptors for connections to S3: one in so many.
const FOR_S3: usize = 4;

/// Descriptors of the process itself: standard streams, timers, files that are read.
const OWN: usize = 32;

/// Descriptors for the health listener's connections.
const HEALTH: usize = 32;

/// More connections than this need a setting.
const MOST: usize = 100_000;

/// Fewer descriptors than this are worth a warning.
const FEW_FILES: u64 = 4_096;

/// How many connections callers may have to the process. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimit {
    count: Arc<AtomicUsize>,
    most: usize,
    /// What callers' connections and those to S3 may use together.
    descriptors: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl ConnectionLimit {
    /// At most so many, or as many as the process has descriptors for.
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
                "LONGSHORE_MAX_CONNECTIONS is more than the limit of open files allows: taking at most {room}"
            );
        }
        Self { count, most: asked.min(room), descriptors }
    }

    /// Counts one more, if there is room for it.
    pub(super) fn try_acquire(&self) -> Option<Counted> {
        let counted = Counted(Arc::clone(&self.count));
        let others = self.count.fetch_add(1, Relaxed);
        (others < self.most && others + open_connections() < self.descriptors).then_some(counted)
    }

    /// Whether there is hardly any room left: idle connections then make room early.
    pub(super) fn is_nearly_reached(&self) -> bool {
        self.count.load(Relaxed) >= self.most - self.most / 16
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Raises the soft limit of open files to the hard one, and returns it.
fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < FEW_FILES {
        tracing::warn!(
            files,
            "the limit of open files is small: each connection to a caller or to S3 takes one"
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_taken_up_to_the_limit() {
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
    fn some_descriptors_are_left_for_others() {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        for asked in [None, Some(u32::MAX)] {
            assert!((ConnectionLimit::new(asked).most as u64) < files, "{asked:?}");
        }
    }
}
