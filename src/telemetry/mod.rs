//! Logs, metrics, usage counters and the audit log.

mod audit;
mod credentials;
mod instruments;
mod limits;
mod logs;
mod metrics;
mod name;
mod text;
mod tls;
mod usage;

pub use audit::{
    AuditFull, AuditLog, AuditOutcome, AuditRoom, AuditSettings, AuditTarget, AuditedCall, AuditedObject,
    CallIdentity, S3Requests,
};
pub use credentials::{CredentialsStatus, WatchedCredentials};
pub use limits::{LimitLabels, WatchedLimit};
pub use logs::{
    LogFormat, LogSettings, LogSettingsError, flush as flush_logs, init as init_logs, write_error,
};
pub use metrics::{CountedStore, Direction, InFlight, Metrics, OpenConnection, Waiting};
pub use text::{cut, truncate};
pub use usage::{CallInFlight, CallerUsage, MetricsTenants, S3Class, TenantUsage, Totals, Usage, UsageRow};
