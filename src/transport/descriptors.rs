//! Limits the file descriptors that connections to S3 use.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The number of connections to S3 of the whole process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

static LIMIT: OnceLock<Limit> = OnceLock::new();

#[derive(Debug)]
struct Limit {
    descriptors: usize,
    others: Arc<AtomicUsize>,
}

/// Counts one connection's descriptor until dropped.
#[derive(Debug)]
pub(super) struct Descriptor(());

/// Limits connections to S3: together with `others`, which use descriptors too, they use at most `descriptors`. A
/// connection beyond the limit fails to open, and the request is retried like any other. Without this call there is no
/// limit. Only the first call has an effect.
pub fn limit_connections(descriptors: usize, others: Arc<AtomicUsize>) {
    LIMIT.get_or_init(|| Limit { descriptors, others });
}

/// The number of open connections to S3.
pub fn open_connections() -> usize {
    OPEN.load(Relaxed)
}

impl Descriptor {
    /// Takes one more descriptor; `None` if the limit is reached.
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
