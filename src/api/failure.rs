//! The failures of a handler, before they become a status.

use std::{borrow::Cow, error::Error as StdError, iter, time::Duration};

use tonic::{Code, Status};

use super::{
    call::{CallFailure, Severity},
    convert::field::{self, Layout},
    status::{self, ErrorContext, Fault},
};
use crate::{
    auth::Refusal,
    pb::ErrorReason,
    store::{Error, ErrorKind},
    tenants::Exceeded,
};

/// When to retry a call for which the audit log has no room.
const AUDIT_RETRY: Duration = Duration::from_secs(2);

/// The caller's stream broke before the caller closed it.
#[derive(Debug, thiserror::Error)]
#[error("the caller's stream ended before the request was complete")]
pub(crate) struct BrokenOff;

/// Why a call, or one key of a call, failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store returned an error, for a request whose fields have this layout.
    Store(Error, Layout),
    /// A field of the request is invalid.
    Field {
        /// The field's path in the proto, such as `range.bounded.end`.
        field: Cow<'static, str>,
        /// What a valid value looks like, such as `must not be empty`.
        message: String,
    },
    /// The caller is not authenticated or not authorized.
    Refused(Refusal),
    /// The tenant has no store with this name.
    StoreNotFound(String),
    /// No tenant has this name. Only operators learn that.
    TenantNotFound(String),
    /// The message could not be decoded; the text gives the reason.
    Malformed(Cow<'static, str>),
    /// The message is larger than the limit.
    MessageTooLarge {
        /// The largest message that the server accepts, in bytes.
        limit: usize,
        /// Whether the call is one of a tenant's, so that it could use Upload instead.
        is_tenants: bool,
    },
    /// The call's metadata is larger than the limit.
    MetadataTooLarge {
        /// The largest metadata that the server accepts, in bytes.
        limit: usize,
    },
    /// A message did not arrive completely within the limit.
    MessageTimeout {
        /// How long a message may take to arrive.
        limit: Duration,
    },
    /// The server does not support this message encoding.
    EncodingUnknown {
        /// The encoding's name.
        encoding: String,
        /// The encodings that the server supports.
        supported: &'static str,
    },
    /// The server runs with several replicas but has no key with which all of them can read upload ids.
    UploadKeyRequired,
    /// The call is beyond a limit.
    Limit(Box<Exceeded>),
    /// The audit log has had no room for as long as a call may wait.
    AuditUnavailable,
    /// tonic could not read the caller's next message, or the caller disconnected.
    Stream(Status),
}

impl Failure {
    /// A field with an invalid value. `message` says what a valid value looks like.
    pub(crate) fn field(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }

    /// A message that is not valid protobuf, or whose fields have the wrong types.
    pub(crate) fn undecodable(error: &prost::DecodeError) -> Self {
        Self::Malformed(error.to_string().into())
    }

    /// The failure for the status that ended the caller's message stream in tonic.
    pub(crate) fn stream(status: Status) -> Self {
        // axum wraps errors of request bodies, and tonic wraps the result.
        let mut causes = iter::successors(status.source(), |&cause| cause.source());
        let broken_off = causes.any(<dyn StdError>::is::<BrokenOff>);
        Self::Stream(if broken_off { Status::cancelled(BrokenOff.to_string()) } else { status })
    }

    /// Whether the caller has cancelled the call, so that it receives nothing more.
    pub(crate) fn is_cancellation(&self) -> bool {
        matches!(self, Self::Stream(status) if status.code() == Code::Cancelled)
    }

    /// A bug in Longshore.
    pub(crate) fn internal(message: &str) -> Self {
        Error::new(ErrorKind::Internal, message).into()
    }

    /// The same failure of a method whose request begins with a `spec`.
    pub(crate) fn in_spec(self) -> Self {
        match self {
            Self::Store(error, _) => Self::Store(error, Layout::Spec),
            other => other,
        }
    }

    /// The same failure of a method whose request has a `write`.
    pub(crate) fn in_write(self) -> Self {
        match self {
            Self::Store(error, _) => Self::Store(error, Layout::Write),
            other => other,
        }
    }

    /// The status code, the reason, and the side at fault.
    pub(crate) fn classify(&self) -> (Code, ErrorReason, Fault) {
        match self {
            Self::Store(error, _) => status::classify(error.kind()),
            Self::Field { .. } => (Code::InvalidArgument, ErrorReason::InvalidField, Fault::Caller),
            Self::Refused(refusal) => {
                let (code, reason) = refused(refusal);
                let is_ours = *refusal == Refusal::JwtKeysUnavailable;
                (code, reason, if is_ours { Fault::Operator } else { Fault::Caller })
            }
            Self::StoreNotFound(_) => (Code::NotFound, ErrorReason::StoreNotFound, Fault::Caller),
            Self::TenantNotFound(_) => (Code::NotFound, ErrorReason::TenantNotFound, Fault::Caller),
            Self::Malformed(_) => (Code::InvalidArgument, ErrorReason::MalformedMessage, Fault::Caller),
            Self::MessageTooLarge { .. } => {
                (Code::ResourceExhausted, ErrorReason::MessageTooLarge, Fault::Caller)
            }
            Self::MetadataTooLarge { .. } => {
                (Code::ResourceExhausted, ErrorReason::MetadataTooLarge, Fault::Caller)
            }
            Self::MessageTimeout { .. } => (Code::Aborted, ErrorReason::MessageTimeout, Fault::Caller),
            Self::EncodingUnknown { .. } => (Code::Unimplemented, ErrorReason::NotImplemented, Fault::Caller),
            Self::UploadKeyRequired => {
                (Code::FailedPrecondition, ErrorReason::UploadKeyRequired, Fault::Operator)
            }
            Self::Limit(_) => (Code::ResourceExhausted, ErrorReason::LimitExceeded, Fault::Longshore),
            Self::AuditUnavailable => (Code::Unavailable, ErrorReason::AuditUnavailable, Fault::Operator),
            Self::Stream(_) => (Code::Internal, ErrorReason::Internal, Fault::Caller),
        }
    }

    /// A sentence that describes the failure to the caller.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Store(error, layout) => match error.field().filter(|_| error.kind() == ErrorKind::InvalidField) {
                Some(field) => format!("`{}`: {}", field::path(field, *layout), error.message()),
                None => error.message().to_owned(),
            },
            Self::Field { field, message } => format!("`{field}`: {message}"),
            Self::Refused(refusal) => refusal.to_string(),
            Self::StoreNotFound(store) => {
                format!("the tenant has no store `{store}`: call ListStores for the names")
            }
            Self::TenantNotFound(tenant) => {
                format!("there is no tenant `{tenant}`: call ListTenants for the names")
            }
            Self::Malformed(why) => format!("the message is malformed: {why}"),
            Self::MessageTooLarge { limit, is_tenants: true } => status::message_too_large(&limit.to_string()),
            Self::MessageTooLarge { limit, is_tenants: false } => {
                format!("the message is larger than {limit} bytes, the most that this method accepts")
            }
            Self::MetadataTooLarge { limit } => {
                format!("the call's metadata is larger than {limit} bytes (each entry counts its name, its value and 32 bytes, as in HTTP/2): send less metadata")
            }
            Self::MessageTimeout { limit } => {
                format!(
                    "the message did not arrive completely within {}: retry the call",
                    humantime::format_duration(*limit)
                )
            }
            Self::EncodingUnknown { encoding, supported } => {
                format!("the message encoding `{encoding}` is not supported: use one of {supported}")
            }
            Self::UploadKeyRequired => "UploadService needs LONGSHORE_UPLOAD_KEY if LONGSHORE_REPLICAS is more than 1: set the same key on every replica".to_owned(),
            Self::Limit(exceeded) => exceeded.to_string(),
            Self::AuditUnavailable => "the audit log has no room for this call: retry the call later".to_owned(),
            Self::Stream(status) => status.message().to_owned(),
        }
    }

    /// The failure for the access log. `expired`: the caller gets DEADLINE_EXCEEDED instead of this failure.
    pub(crate) fn for_log(&self, expired: bool) -> CallFailure {
        let (_, reason, side) = self.classify();
        let severity = severity(side, reason);
        let reason = if expired { ErrorReason::DeadlineExceeded } else { reason };
        let reason = status::reason_name(reason);
        match self {
            Self::Store(error, _) => CallFailure {
                s3_code: self.s3_code().to_owned(),
                ..CallFailure::new(reason, severity, &error.to_string())
            },
            Self::Refused(refusal) => CallFailure::new(reason, severity, &refusal.for_log()),
            // The caller's messages ended the call, even if tonic's status says otherwise.
            Self::Stream(status) => CallFailure { severity, ..status::for_log(status) },
            _ => CallFailure::new(reason, severity, &self.message()),
        }
    }

    /// The error code that S3 returned. Empty if the failure did not come from S3.
    pub(crate) fn s3_code(&self) -> &str {
        match self {
            Self::Store(error, _) => error.service().map_or("", |service| &service.code),
            _ => "",
        }
    }

    /// The status that the caller gets.
    pub(crate) fn into_status(self, context: &ErrorContext<'_>) -> Status {
        let (code, reason, _) = self.classify();
        let builder = status::StatusBuilder::new(code, reason, self.message());
        match self {
            Self::Store(error, layout) => builder.context(context).error(&error, layout, context).build(),
            Self::Field { field, message } => builder.context(context).violation(&field, &message).build(),
            Self::Refused(Refusal::AccessNotGranted { access, store, .. }) => {
                builder.label("access", access.as_str()).label("store", store).context(context).build()
            }
            Self::Refused(_)
            | Self::Malformed(_)
            | Self::MessageTimeout { .. }
            | Self::EncodingUnknown { .. }
            | Self::UploadKeyRequired => builder.context(context).build(),
            Self::StoreNotFound(store) => {
                let builder = builder.resource("longshore.v1.Store", &store);
                builder.label("store", store).context(context).build()
            }
            Self::TenantNotFound(tenant) => builder
                .resource("longshore.v1.Tenant", &tenant)
                .label("tenant", &tenant)
                .context(context)
                .build(),
            Self::MessageTooLarge { limit, .. } | Self::MetadataTooLarge { limit } => {
                builder.label("limit_bytes", limit.to_string()).context(context).build()
            }
            Self::Limit(exceeded) => builder
                .label("limit", exceeded.limit)
                .label("limit_holder", exceeded.holder.kind())
                .context(context)
                .quota(&exceeded.subject(), &exceeded.description(), exceeded.retry_after)
                .build(),
            Self::AuditUnavailable => builder.context(context).retry_after(AUDIT_RETRY).build(),
            Self::Stream(status) => status::complete(status, context.request_id),
        }
    }

    /// The status that the caller gets if its deadline has passed: the store gave up because no time was left, so S3 is
    /// not to blame.
    pub(crate) fn into_deadline_exceeded(self) -> Status {
        let message = format!("the call's deadline passed; the last error was: {}", self.message());
        status::StatusBuilder::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).build()
    }
}

fn severity(side: Fault, reason: ErrorReason) -> Severity {
    use ErrorReason::{Internal, LimitExceeded, MemoryExhausted};
    match (side, reason) {
        (Fault::Longshore, Internal) => Severity::Error,
        (Fault::Longshore, MemoryExhausted | LimitExceeded) | (Fault::Operator | Fault::Backend, _) => {
            Severity::Warning
        }
        (Fault::Caller | Fault::Longshore, _) => Severity::Info,
    }
}

fn refused(refusal: &Refusal) -> (Code, ErrorReason) {
    match refusal {
        Refusal::TokenMissing => (Code::Unauthenticated, ErrorReason::TokenMissing),
        Refusal::TokenExpired => (Code::Unauthenticated, ErrorReason::TokenExpired),
        Refusal::CertificateUnknown { .. } | Refusal::OperatorUnknown { .. } => {
            (Code::Unauthenticated, ErrorReason::CertificateUnknown)
        }
        Refusal::CertificateExpired => (Code::Unauthenticated, ErrorReason::CertificateExpired),
        Refusal::CertificateNotTrusted => (Code::Unauthenticated, ErrorReason::CertificateNotTrusted),
        Refusal::TokenUnknown | Refusal::JwtRejected(_) => (Code::Unauthenticated, ErrorReason::TokenUnknown),
        Refusal::JwtKeysUnavailable => (Code::Unavailable, ErrorReason::JwtKeysUnavailable),
        Refusal::TenantRequired => (Code::InvalidArgument, ErrorReason::TenantRequired),
        Refusal::TenantNotAllowed | Refusal::TenantUnknown => {
            (Code::PermissionDenied, ErrorReason::TenantNotAllowed)
        }
        Refusal::AccessNotGranted { .. } => (Code::PermissionDenied, ErrorReason::AccessNotGranted),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error, Layout::default())
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Limit(Box::new(exceeded))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
