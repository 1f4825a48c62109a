//! Everything that a handler can fail with, before it is a status.

use std::{borrow::Cow, error::Error as StdError, time::Duration};

use tonic::{Code, Status};

use super::{
    call::{CallFailure, Severity},
    messages::ENCODINGS,
    status::{self, Labels, Side},
};
use crate::{
    auth::Refusal,
    pb::ErrorReason,
    store::{Error, ErrorKind},
};

/// A caller's stream that was not closed but broken off.
#[derive(Debug, thiserror::Error)]
#[error("the caller's stream broke off")]
pub(crate) struct BrokenOff;

/// Why a call, or one key of it, fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store says so.
    Store(Error),
    /// A field of the request, by its path in the proto.
    Field {
        /// The path, such as `range.bounded.end`.
        field: Cow<'static, str>,
        /// What would be right.
        message: String,
    },
    /// The caller may not.
    Refused(Refusal),
    /// The tenant has no such store.
    StoreNotFound(String),
    /// A method that this release does not have yet.
    NotImplemented(&'static str),
    /// A message is none, for this reason.
    Malformed(Cow<'static, str>),
    /// A message is larger than so many bytes.
    MessageTooLarge {
        /// The largest message taken, in bytes.
        limit: usize,
    },
    /// The call's metadata is larger than so many bytes.
    MetadataTooLarge {
        /// The largest metadata taken, in bytes.
        limit: usize,
    },
    /// A message did not arrive completely in this time.
    MessageTimeout {
        /// How long a message may take.
        limit: Duration,
    },
    /// The server does not take messages in this encoding.
    EncodingUnknown(String),
    /// There are several replicas, and no key by which all of them can read an upload's id.
    UploadKeyRequired,
    /// tonic could not read the caller's next message, or the caller is gone.
    Stream(Status),
}

impl Failure {
    /// A field that is wrong; `message` says what would be right.
    pub(crate) fn field(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }

    /// A message that is not in protobuf's encoding, or of other types than its fields.
    pub(crate) fn undecodable(error: &prost::DecodeError) -> Self {
        Self::Malformed(error.to_string().into())
    }

    /// What the caller's stream of messages, read by tonic, ended with.
    pub(crate) fn stream(status: Status) -> Self {
        let broken_off = status.source().is_some_and(<dyn StdError>::is::<BrokenOff>);
        Self::Stream(if broken_off { Status::cancelled(BrokenOff.to_string()) } else { status })
    }

    /// A defect.
    pub(crate) fn internal(message: &str) -> Self {
        Self::Store(Error::new(ErrorKind::Internal, message))
    }

    /// Code, reason and side.
    pub(crate) fn verdict(&self) -> (Code, ErrorReason, Side) {
        match self {
            Self::Store(error) => status::verdict(error.kind()),
            Self::Field { .. } => (Code::InvalidArgument, ErrorReason::InvalidField, Side::Caller),
            Self::Refused(refusal) => {
                let (code, reason) = refused(refusal);
                (code, reason, Side::Caller)
            }
            Self::StoreNotFound(_) => (Code::NotFound, ErrorReason::StoreNotFound, Side::Caller),
            Self::NotImplemented(_) => (Code::Unimplemented, ErrorReason::NotImplemented, Side::Longshore),
            Self::Malformed(_) => (Code::InvalidArgument, ErrorReason::MalformedMessage, Side::Caller),
            Self::MessageTooLarge { .. } => {
                (Code::ResourceExhausted, ErrorReason::MessageTooLarge, Side::Caller)
            }
            Self::MetadataTooLarge { .. } => {
                (Code::ResourceExhausted, ErrorReason::MetadataTooLarge, Side::Caller)
            }
            Self::MessageTimeout { .. } => (Code::Aborted, ErrorReason::MessageTimeout, Side::Caller),
            Self::EncodingUnknown(_) => (Code::Unimplemented, ErrorReason::NotImplemented, Side::Caller),
            Self::UploadKeyRequired => {
                (Code::FailedPrecondition, ErrorReason::UploadKeyRequired, Side::Operator)
            }
            Self::Stream(_) => (Code::Internal, ErrorReason::Internal, Side::Caller),
        }
    }

    /// One plain sentence.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Store(error) => match error.field().filter(|_| error.kind() == ErrorKind::InvalidField) {
                Some(field) => format!("`{field}`: {}", error.message()),
                None => error.message().to_owned(),
            },
            Self::Field { field, message } => format!("`{field}`: {message}"),
            Self::Refused(refusal) => refusal.to_string(),
            Self::StoreNotFound(store) => format!("the tenant has no store `{store}`"),
            Self::NotImplemented(method) => format!("this release does not have {method} yet"),
            Self::Malformed(why) => format!("the message cannot be read: {why}"),
            Self::MessageTooLarge { limit } => status::message_too_large(&limit.to_string()),
            Self::MetadataTooLarge { limit } => {
                format!("the metadata of the call is larger than {limit} bytes, counted as HTTP/2 does: name, value and 32 bytes for each entry")
            }
            Self::MessageTimeout { limit } => {
                format!("the message did not arrive completely within {}", humantime::format_duration(*limit))
            }
            Self::EncodingUnknown(encoding) => {
                format!("messages in the encoding `{encoding}` are not supported: send them as {ENCODINGS}")
            }
            Self::UploadKeyRequired => "LONGSHORE_UPLOAD_KEY is not set, and with more than one replica no other could go on with an upload".to_owned(),
            Self::Stream(status) => status.message().to_owned(),
        }
    }

    /// The failure as the access log has it. `expired`: the caller gets DEADLINE_EXCEEDED in its place.
    pub(crate) fn for_log(&self, expired: bool) -> CallFailure {
        let (_, reason, side) = self.verdict();
        let severity = severity(side, reason);
        let reason = if expired { ErrorReason::DeadlineExceeded } else { reason };
        let reason = status::reason_name(reason);
        match self {
            Self::Store(error) => CallFailure {
                s3_code: self.s3_code().to_owned(),
                ..CallFailure::new(reason, severity, &error.to_string())
            },
            // The caller's messages ended it, whatever tonic calls that.
            Self::Stream(status) => CallFailure { severity, ..status::for_log(status) },
            _ => CallFailure::new(reason, severity, &self.message()),
        }
    }

    /// The error code that S3 gave; empty where the failure was not S3's answer.
    pub(crate) fn s3_code(&self) -> &str {
        match self {
            Self::Store(error) => error.service().map_or("", |service| &service.code),
            _ => "",
        }
    }

    /// What the caller gets.
    pub(crate) fn into_status(self, labels: &Labels<'_>) -> Status {
        let (code, reason, _) = self.verdict();
        let builder = status::StatusBuilder::new(code, reason, self.message());
        match self {
            Self::Store(error) => builder.labels(labels).error(&error, labels).build(),
            Self::Field { field, message } => builder.labels(labels).violation(&field, &message).build(),
            Self::Refused(Refusal::AccessNotGranted { access, store, .. }) => {
                builder.label("access", access.as_str()).label("store", store).labels(labels).build()
            }
            Self::Refused(_)
            | Self::Malformed(_)
            | Self::MessageTimeout { .. }
            | Self::EncodingUnknown(_)
            | Self::UploadKeyRequired => builder.labels(labels).build(),
            Self::StoreNotFound(store) => {
                let builder = builder.resource("longshore.v1.Store", &store);
                builder.label("store", store).labels(labels).build()
            }
            Self::NotImplemented(method) => builder.label("method", method).labels(labels).build(),
            Self::MessageTooLarge { limit } | Self::MetadataTooLarge { limit } => {
                builder.label("limit_bytes", limit.to_string()).labels(labels).build()
            }
            Self::Stream(status) => status::complete(status, labels.request_id),
        }
    }

    /// What the caller gets if its deadline has passed meanwhile: the store gave up because there was no time
    /// left, and not because S3 is to blame.
    pub(crate) fn into_deadline_exceeded(self) -> Status {
        let message = format!("the deadline of the call passed; before that: {}", self.message());
        status::StatusBuilder::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message).build()
    }
}

fn severity(side: Side, reason: ErrorReason) -> Severity {
    use ErrorReason::{Internal, LimitExceeded, MemoryExhausted};
    match (side, reason) {
        (Side::Longshore, Internal) => Severity::Error,
        (Side::Longshore, MemoryExhausted | LimitExceeded) | (Side::Operator | Side::Backend, _) => {
            Severity::Warning
        }
        (Side::Caller | Side::Longshore, _) => Severity::Info,
    }
}

fn refused(refusal: &Refusal) -> (Code, ErrorReason) {
    match refusal {
        Refusal::TokenMissing => (Code::Unauthenticated, ErrorReason::TokenMissing),
        Refusal::TokenUnknown => (Code::Unauthenticated, ErrorReason::TokenUnknown),
        Refusal::TenantRequired => (Code::InvalidArgument, ErrorReason::TenantRequired),
        Refusal::TenantNotAllowed | Refusal::TenantUnknown => {
            (Code::PermissionDenied, ErrorReason::TenantNotAllowed)
        }
        Refusal::AccessNotGranted { .. } => (Code::PermissionDenied, ErrorReason::AccessNotGranted),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
