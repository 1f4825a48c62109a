//! What a call brings along from the server's layers, and what it tells them when it is over.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

pub use crate::store::SpeedRecord;
use crate::{
    store::{PageMemory, TenantBudget},
    telemetry::cut,
};

/// One call, as the server's layers know it. They put it in the request's extensions; a call without one is
/// served all the same, without a deadline.
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    /// `x-request-id`, or what was made up in its place.
    pub request_id: Arc<str>,
    /// When the caller stops waiting; it bounds every S3 request made for the call.
    pub deadline: Option<Instant>,
    /// How fast earlier uploads on the same connection were.
    pub record: SpeedRecord,
    /// What is found out about the call while it is served.
    pub facts: Arc<CallFacts>,
}

/// Memory of the tenant's budget that a response takes until its caller has it. It stands in the response's extensions, which the
/// connection keeps until then.
#[derive(Clone, Debug)]
pub struct ResponseMemory(#[allow(dead_code, reason = "it is kept, and not looked at")] Arc<PageMemory>);

impl ResponseMemory {
    /// For a response that holds a page.
    pub(crate) fn new(memory: PageMemory) -> Self {
        Self(Arc::new(memory))
    }
}

/// The most bytes of a name of a tenant, a store or a caller. Valid names are shorter.
const MAX_NAME: usize = 96;

/// The most bytes of an error.
const MAX_ERROR: usize = 1024;

/// The most bytes of a key.
const MAX_KEY: usize = 256;

/// Why a call failed, for its line in the access log.
#[derive(Debug, Clone)]
pub struct CallFailure {
    /// As in `google.rpc.ErrorInfo`.
    pub reason: &'static str,
    /// How much the operator has to care.
    pub severity: Severity,
    /// S3's error code; empty where the failure was not S3's answer.
    pub s3_code: String,
    /// A sentence, with what callers are not told.
    pub error: String,
}

impl CallFailure {
    /// A failure that was not S3's answer; `error` is cut.
    pub fn new(reason: &'static str, severity: Severity, error: &str) -> Self {
        Self { reason, severity, s3_code: String::new(), error: cut(error, MAX_ERROR).into_owned() }
    }
}

/// How much the operator has to care about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The caller failed, or nothing is wrong.
    Info,
    /// S3, the settings or a limit of the server failed the call.
    Warning,
    /// A defect of Longshore.
    Error,
}

/// What the access log has about a call beside its status. Each name is kept as it was first set, and cut.
#[derive(Debug, Default)]
pub struct CallFacts {
    tenant: OnceLock<Box<str>>,
    store: OnceLock<Box<str>>,
    caller: OnceLock<Box<str>>,
    key: OnceLock<Box<str>>,
    failure: OnceLock<CallFailure>,
    memory: OnceLock<TenantBudget>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl CallFacts {
    /// The memory that the call uses.
    pub fn set_memory(&self, memory: &TenantBudget) {
        self.memory.get_or_init(|| memory.clone());
    }

    /// Whether other calls wait for memory that this one holds because its caller does not read. A call that sends an object is
    /// judged by how it sends instead.
    pub fn is_in_the_way(&self) -> bool {
        self.bytes_in() == 0 && self.memory.get().is_some_and(TenantBudget::is_contended)
    }

    /// Counts the call as ended because its caller did not read while others waited for memory.
    pub fn count_idle_read(&self) {
        if let Some(memory) = self.memory.get() {
            memory.count_ended("read_idle");
        }
    }

    /// The tenant that the call is for.
    pub fn set_tenant(&self, name: &str) {
        self.tenant.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// The store that the call is about; of a copy, the destination's.
    pub fn set_store(&self, name: &str) {
        self.store.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// The caller's name in the tenants file.
    pub fn set_caller(&self, name: &str) {
        self.caller.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// The key that a failed call was about; of a copy, the destination's. An empty key is none.
    pub fn set_key(&self, key: &str) {
        if !key.is_empty() {
            self.key.get_or_init(|| cut(key, MAX_KEY).into());
        }
    }

    /// Why the call fails. The first failure is kept.
    pub fn fail(&self, failure: CallFailure) {
        self.failure.get_or_init(|| failure);
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

    /// The key, if the call failed after it was known.
    pub fn key(&self) -> Option<&str> {
        self.key.get().map(AsRef::as_ref)
    }

    /// Why the call failed, if it has.
    pub fn failure(&self) -> Option<&CallFailure> {
        self.failure.get()
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
