//! The file descriptors that connections to S3 may use, of those of the process.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Connections to S3 of the whole process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

static LIMIT: OnceLock<Limit> = OnceLock::new();

#[derive(Debug)]
struct Limit {
    descriptors: usize,
    others: Arc<AtomicUsize>,
}

/// One connection's descriptor, until it is dropped.
#[derive(Debug)]
pub(super) struct Descriptor(());

/// Limits connections to S3: together with `others`, which use descriptors too, they are at most `descriptors`. A connection
/// beyond that fails to open, and is tried again as any other. Without this call there is no limit; the first call counts.
pub fn limit_connections(descriptors: usize, others: Arc<AtomicUsize>) {
    LIMIT.get_or_init(|| Limit { descriptors, others });
}

/// How many connections to S3 there are.
pub fn open_connections() -> usize {
    OPEN.load(Relaxed)
}

impl Descriptor {
    /// One more, if there is room for it.
    pub(super) fn take() -> Option<Self> {
        let descriptor = Self(());
        let open = OPEN.fetch_add(1, Relaxed) + 1;
        let fits = LIMIT.get().is_none_or(|limit| open + limit.others.load(Relaxed) <= limit.descriptors);
        fits.then_some(descriptor)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}
