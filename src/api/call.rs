//! What a call brings along from the server's layers, and what it tells them when it is over.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// One call, as the server's layers know it. They put it in the request's extensions; a call without one is
/// served all the same, without a deadline.
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    /// `x-request-id`, or what was made up in its place.
    pub request_id: Arc<str>,
    /// When the caller stops waiting; it bounds every S3 request made for the call.
    pub deadline: Option<Instant>,
    /// What is found out about the call while it is served.
    pub facts: Arc<CallFacts>,
}

/// What the access log tells of a call beside its status. Each name is kept as it was first set.
#[derive(Debug, Default)]
pub struct CallFacts {
    tenant: OnceLock<Box<str>>,
    store: OnceLock<Box<str>>,
    caller: OnceLock<Box<str>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl CallFacts {
    /// The tenant that the call is for.
    pub fn set_tenant(&self, name: &str) {
        self.tenant.get_or_init(|| name.into());
    }

    /// The store that the call is about; of a copy, the destination's.
    pub fn set_store(&self, name: &str) {
        self.store.get_or_init(|| name.into());
    }

    /// The caller's name in the tenants file.
    pub fn set_caller(&self, name: &str) {
        self.caller.get_or_init(|| name.into());
    }

    /// Counts bytes of objects that came from the caller.
    pub fn add_bytes_in(&self, count: u64) {
        self.bytes_in.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts bytes of objects that went to the caller.
    pub fn add_bytes_out(&self, count: u64) {
        self.bytes_out.fetch_add(count, Ordering::Relaxed);
    }

    /// The tenant, once it is known.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.get().map(AsRef::as_ref)
    }

    /// The store, once it is known.
    pub fn store(&self) -> Option<&str> {
        self.store.get().map(AsRef::as_ref)
    }

    /// The caller, once it is known.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(AsRef::as_ref)
    }

    /// Bytes of objects from the caller so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes of objects to the caller so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }
}
