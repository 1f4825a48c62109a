//! The context that the server's layers give to a call, and the facts that the call reports back for the access log.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tonic::Code;

pub use crate::store::SpeedRecord;
use crate::{
    auth::ClientCertificate,
    store::{PageMemory, TenantBudget},
    telemetry::{AuditedCall, CallInFlight, CallerUsage, TenantUsage, cut},
    tenants::CallPermit,
};

/// The context of one call. The server's layers put it into the request's extensions. A call without a context is
/// served too, without a deadline.
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    /// The `x-request-id`, or the id that the server generated if the caller sent none.
    pub request_id: Arc<str>,
    /// When the caller stops waiting. It bounds every S3 request made for the call.
    pub deadline: Option<Instant>,
    /// The speed of earlier uploads on the same connection.
    pub record: SpeedRecord,
    /// The verified certificate of the connection's client, which identifies the caller if the call has no token.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// Facts that are collected while the call is served.
    pub facts: Arc<CallFacts>,
}

/// Memory of the tenant's budget that a response uses until it has been sent to the caller. It is stored in the
/// response's extensions, which the connection keeps until then.
#[derive(Clone, Debug)]
pub struct ResponseMemory(#[allow(dead_code, reason = "held only for its Drop")] Arc<PageMemory>);

impl ResponseMemory {
    /// The memory of a response that holds one page of a listing.
    pub(crate) fn new(memory: PageMemory) -> Self {
        Self(Arc::new(memory))
    }
}

/// The maximum length of a tenant's, a store's or a caller's name, in bytes. Valid names are shorter.
const MAX_NAME: usize = 96;

/// The maximum length of an error, in bytes.
const MAX_ERROR: usize = 1024;

/// The maximum length of a key, in bytes.
const MAX_KEY: usize = 256;

/// Why a call failed, for the access log.
#[derive(Debug, Clone)]
pub struct CallFailure {
    /// The reason as in `google.rpc.ErrorInfo`.
    pub reason: &'static str,
    /// How important the failure is to the operator.
    pub severity: Severity,
    /// S3's error code. Empty if the failure did not come from S3.
    pub s3_code: String,
    /// A sentence, including details that callers do not get.
    pub error: String,
}

impl CallFailure {
    /// A failure that did not come from S3. `error` is cut to its maximum length.
    pub fn new(reason: &'static str, severity: Severity, error: &str) -> Self {
        Self { reason, severity, s3_code: String::new(), error: cut(error, MAX_ERROR).into_owned() }
    }
}

/// How important a failed call is to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The caller caused the failure, or nothing is wrong.
    Info,
    /// S3, the settings or a limit of the server caused the failure.
    Warning,
    /// A bug in Longshore.
    Error,
}

/// The facts about a call that the access log shows in addition to its status. Each name keeps the first value that is
/// set, cut to its maximum length.
#[derive(Debug, Default)]
pub struct CallFacts {
    tenant: OnceLock<Box<str>>,
    store: OnceLock<Box<str>>,
    caller: OnceLock<Box<str>>,
    key: OnceLock<Box<str>>,
    failure: OnceLock<CallFailure>,
    memory: OnceLock<TenantBudget>,
    usage: OnceLock<(CallerUsage, CallInFlight)>,
    permit: OnceLock<CallPermit>,
    audit: OnceLock<Box<AuditedCall>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl CallFacts {
    /// Sets the memory budget that the call uses.
    pub fn set_memory(&self, memory: &TenantBudget) {
        self.memory.get_or_init(|| memory.clone());
    }

    /// Counts the call as one of this caller: as in flight, and when it ends.
    pub(crate) fn count_for(&self, tenant: &TenantUsage, caller: &CallerUsage) {
        self.usage.get_or_init(|| (caller.clone(), tenant.call_started()));
    }

    /// Sets the call's place in the audit log.
    pub fn set_audit(&self, audit: AuditedCall) {
        self.audit.get_or_init(|| Box::new(audit));
    }

    /// The call's place in the audit log, if it has one.
    pub fn audit(&self) -> Option<&AuditedCall> {
        self.audit.get().map(AsRef::as_ref)
    }

    /// Counts the end of the call, if it counts for a caller.
    pub fn count_end(&self, method: &str, code: Code) {
        if let Some((usage, _)) = self.usage.get() {
            usage.call_ended(method, usize::try_from(i32::from(code)).unwrap_or_default());
        }
    }

    /// Holds the call's part of the limits until the call ends, which is when its last response has been sent.
    pub fn hold(&self, permit: CallPermit) {
        self.permit.get_or_init(|| permit);
    }

    /// The call's part of the limits. A call that did not come through the server's layers has none.
    pub fn permit(&self) -> Option<&CallPermit> {
        self.permit.get()
    }

    /// Whether other calls wait for memory that this call's tenant could free, while its caller does not read. A call
    /// that sends an object is judged by how fast it sends.
    pub fn blocks_others(&self) -> bool {
        self.bytes_in() == 0 && self.memory.get().is_some_and(TenantBudget::is_contended)
    }

    /// Counts the call as ended because its caller did not read while other calls waited for memory.
    pub fn count_idle_read(&self) {
        if let Some(memory) = self.memory.get() {
            memory.count_ended("read_idle");
        }
    }

    /// Sets the tenant that the call is for.
    pub fn set_tenant(&self, name: &str) {
        self.tenant.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// Sets the store that the call uses. For a copy, the destination's store.
    pub fn set_store(&self, name: &str) {
        self.store.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// Sets the caller's name from the tenants file.
    pub fn set_caller(&self, name: &str) {
        self.caller.get_or_init(|| cut(name, MAX_NAME).into());
    }

    /// Sets the key of a failed call. For a copy, the destination's key. An empty key is ignored.
    pub fn set_key(&self, key: &str) {
        if !key.is_empty() {
            self.key.get_or_init(|| cut(key, MAX_KEY).into());
        }
    }

    /// Sets why the call failed. The first failure is kept.
    pub fn fail(&self, failure: CallFailure) {
        self.failure.get_or_init(|| failure);
    }

    /// Counts object bytes received from the caller.
    pub fn add_bytes_in(&self, count: u64) {
        self.bytes_in.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts object bytes sent to the caller.
    pub fn add_bytes_out(&self, count: u64) {
        self.bytes_out.fetch_add(count, Ordering::Relaxed);
    }

    /// The tenant, if it is known.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.get().map(AsRef::as_ref)
    }

    /// The store, if it is known.
    pub fn store(&self) -> Option<&str> {
        self.store.get().map(AsRef::as_ref)
    }

    /// The caller, if it is known.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(AsRef::as_ref)
    }

    /// The key, if the call failed after the key was known.
    pub fn key(&self) -> Option<&str> {
        self.key.get().map(AsRef::as_ref)
    }

    /// Why the call failed, if it did.
    pub fn failure(&self) -> Option<&CallFailure> {
        self.failure.get()
    }

    /// Object bytes received from the caller so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Object bytes sent to the caller so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }
}
