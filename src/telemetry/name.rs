//! Names from OpenTelemetry's semantic conventions (RPC metrics, release candidate), and Longshore's own where the
//! conventions have none. All names are here, so that a change of the conventions changes only this file.

pub(super) const CALL_DURATION: &str = "rpc.server.call.duration";
pub(super) const CALLS_IN_FLIGHT: &str = "longshore.calls.in_flight";
pub(super) const S3_ATTEMPTS: &str = "longshore.s3.attempts";
pub(super) const S3_RETRIES: &str = "longshore.s3.retries";
pub(super) const ENTRIES_SKIPPED: &str = "longshore.s3.listed.entries.skipped";
pub(super) const S3_HEDGES: &str = "longshore.s3.hedges";
pub(super) const OBJECT_BYTES: &str = "longshore.object.bytes";
pub(super) const ORPHANS_ABORTED: &str = "longshore.orphans.aborted";
pub(super) const MEMORY_BUDGET: &str = "longshore.memory.budget_bytes";
pub(super) const MEMORY_RESERVED: &str = "longshore.memory.reserved_bytes";
pub(super) const MEMORY_WAITING: &str = "longshore.memory.waiting";
pub(super) const MEMORY_UNREAD: &str = "longshore.memory.unread_bytes";
pub(super) const MEMORY_UNSENT: &str = "longshore.memory.unsent_bytes";
pub(super) const LIMITS_EXCEEDED: &str = "longshore.limits.exceeded";
pub(super) const LIMITS_VALUE: &str = "longshore.limits.value";
pub(super) const LIMITS_USED: &str = "longshore.limits.used";
pub(super) const LIMITS_WAITING: &str = "longshore.limits.waiting";
pub(super) const CONNECTIONS: &str = "longshore.connections";
pub(super) const CONNECTIONS_ENDED: &str = "longshore.connections.ended";
pub(super) const TENANTS: &str = "longshore.tenants";
pub(super) const RELOADS: &str = "longshore.reloads";
pub(super) const TLS_RELOADS: &str = "longshore.tls.reloads";
pub(super) const TLS_CERTIFICATE_EXPIRY: &str = "longshore.tls.certificate_expiry_timestamp_seconds";
pub(super) const TLS_REVOCATION_LIST_EXPIRY: &str = "longshore.tls.revocation_list_expiry_timestamp_seconds";
pub(super) const CREDENTIALS_REQUESTS: &str = "longshore.credentials.requests";
pub(super) const CREDENTIALS_AGE: &str = "longshore.credentials.age";
pub(super) const CREDENTIALS_TIME_TO_EXPIRY: &str = "longshore.credentials.time_to_expiry";
pub(super) const CREDENTIALS_FAILING: &str = "longshore.credentials.failing";
pub(super) const LOG_LINES_DROPPED: &str = "longshore.log.lines_dropped";
pub(super) const MEMORY_ENDED: &str = "longshore.memory.ended";

pub(super) const SYSTEM: &str = "rpc.system.name";
pub(super) const METHOD: &str = "rpc.method";
pub(super) const STATUS: &str = "rpc.response.status_code";
pub(super) const OPERATION: &str = "operation";
pub(super) const OUTCOME: &str = "outcome";
pub(super) const DIRECTION: &str = "direction";
pub(super) const REASON: &str = "reason";
pub(super) const STATE: &str = "state";
pub(super) const TENANT: &str = "tenant";
pub(super) const PROVIDER: &str = "provider";
pub(super) const LIMIT: &str = "limit";
pub(super) const HOLDER: &str = "holder";
