//! Errors of S3 operations: the kind of failure, and the details from S3's response.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use super::Field;
use crate::telemetry::cut;

/// Maximum length of a cause in bytes. A cause can contain text from a server.
const MAX_CAUSE: usize = 1024;

/// Maximum length of an error code in bytes.
const MAX_CODE: usize = 64;

/// Maximum length of each request id in bytes. `x-amz-id-2` has 76.
const MAX_ID: usize = 128;

/// Why an operation failed. Each kind has one gRPC status and one documented reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    // The caller is at fault.
    /// A field of the request is invalid; [`Error::field`] names it.
    InvalidField,
    /// S3 rejected an argument.
    InvalidRequest,
    /// The key does not exist.
    ObjectNotFound,
    /// The version of the key does not exist.
    VersionNotFound,
    /// The multipart upload does not exist.
    UploadNotFound,
    /// A write with the mode `create` found an existing object.
    AlreadyExists,
    /// A condition is not met.
    PreconditionFailed,
    /// `if_none_match` or `if_modified_since` found that the object has not changed.
    NotModified,
    /// The range starts beyond the end of the object.
    RangeNotSatisfiable,
    /// The object is archived and must be restored before it can be read.
    ObjectArchived,
    /// Another write to the same key is in progress.
    Conflict,
    /// The object was replaced while it was read or copied.
    ObjectChanged,
    /// The caller sent more or fewer bytes than announced.
    SizeMismatch,
    /// The upload needs more parts than S3 allows.
    TooManyParts,
    /// No part of the upload starts at the given offset; [`Error::upload_offsets`] returns offsets where parts start.
    UploadOffsetMismatch,
    /// The caller's bytes do not match the checksum that the caller sent for them.
    ChecksumMismatch,
    /// It is unknown whether a conditional write took effect.
    WriteUnclear,
    /// A rename copied the object but did not delete the source.
    RenameSourceRemains,
    /// The caller of an upload sent nothing for too long while other calls waited for memory.
    UploadIdle,
    // The operator is at fault.
    /// The bucket does not exist.
    BucketNotFound,
    /// The bucket is in another region.
    WrongRegion,
    /// The store's credentials do not permit the operation.
    AccessDenied,
    /// S3 does not know the store's credentials or rejected their signature.
    CredentialsRejected,
    /// No credentials are available.
    CredentialsUnavailable,
    /// The store's temporary credentials have expired.
    CredentialsExpired,
    /// The clocks of Longshore and S3 differ too much.
    ClockSkewed,
    /// The store's settings are invalid.
    StoreMisconfigured,
    /// The server does not support conditional writes, or the store's settings disable them.
    ConditionsNotSupported,
    /// The server does not support the operation, or the store's settings disable it.
    OperationNotSupported,
    // The backend is at fault.
    /// S3 throttled the request.
    Throttled,
    /// S3 failed with a server error.
    BackendUnavailable,
    /// S3 did not respond in time.
    BackendTimeout,
    /// No connection to S3 could be opened.
    ConnectionFailed,
    /// The connection was lost before the response was complete.
    ConnectionLost,
    /// The response is not a valid S3 response.
    BackendProtocol,
    /// Bytes were corrupted in S3, or between S3 and Longshore.
    BytesDamaged,
    // Longshore is at fault.
    /// No memory in the budget became available in time.
    MemoryExhausted,
    /// The object is larger than the call may write.
    LimitExceeded,
    /// A bug in Longshore.
    Internal,
}

impl ErrorKind {
    /// Whether the caller's request caused the failure, so that it says nothing about the store.
    pub(crate) fn is_callers(self) -> bool {
        use ErrorKind::{
            AlreadyExists, ChecksumMismatch, Conflict, InvalidField, InvalidRequest, NotModified,
            ObjectArchived, ObjectChanged, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable,
            RenameSourceRemains, SizeMismatch, TooManyParts, UploadIdle, UploadNotFound,
            UploadOffsetMismatch, VersionNotFound, WriteUnclear,
        };
        matches!(
            self,
            InvalidField
                | InvalidRequest
                | ObjectNotFound
                | VersionNotFound
                | UploadNotFound
                | AlreadyExists
                | PreconditionFailed
                | NotModified
                | RangeNotSatisfiable
                | ObjectArchived
                | Conflict
                | ObjectChanged
                | SizeMismatch
                | TooManyParts
                | UploadOffsetMismatch
                | ChecksumMismatch
                | WriteUnclear
                | RenameSourceRemains
                | UploadIdle
        )
    }
}

/// The condition of a request that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedCondition {
    /// The write mode's condition on the destination.
    Mode,
    /// `if_match` or `if_unmodified_since` on the object that is read.
    Same,
    /// `if_none_match` or `if_modified_since` on the object that is read.
    Other,
}

/// Offsets at which an upload can be resumed, in bytes from the start of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOffsets {
    /// The number of contiguous bytes that S3 has from the start of the object.
    pub persisted_size: u64,
    /// The start of the part that contains the given offset. If no part contains it, the end of the last part.
    pub before: u64,
    /// The start of the next part.
    pub after: Option<u64>,
}

/// Details from S3's response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceDetails {
    /// The error code, such as `NoSuchKey`. Empty if the response had no body.
    pub code: String,
    /// `x-amz-request-id`.
    pub request_id: String,
    /// `x-amz-id-2`.
    pub host_id: String,
    /// The HTTP status.
    pub http_status: u16,
}

impl ServiceDetails {
    /// Truncates each detail to a length that Amazon S3 does not exceed.
    #[must_use]
    pub(super) fn cut(mut self) -> Self {
        for (text, max) in
            [(&mut self.code, MAX_CODE), (&mut self.request_id, MAX_ID), (&mut self.host_id, MAX_ID)]
        {
            *text = cut(text, max).into_owned();
        }
        self
    }
}

/// A failed operation: a message, details that a caller's code can branch on, and a cause for the operator's log.
/// Contains no secrets.
///
/// [`Error::message`] goes to callers, so it names no endpoint, account or address. [`Display`](fmt::Display) adds the cause.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    cause: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    field: Option<Field>,
    service: Option<ServiceDetails>,
    attempts: u32,
    elapsed: Duration,
    retry_after: Option<Duration>,
    quota_exhausted: bool,
    circuit_open: bool,
    unclear: bool,
    left_behind: Option<Box<super::ObjectMeta>>,
    upload_offsets: Option<UploadOffsets>,
    unmet: Option<FailedCondition>,
}

impl Error {
    /// Creates an error of `kind` with a message of one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            cause: None,
            source: None,
            field: None,
            service: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            retry_after: None,
            quota_exhausted: false,
            circuit_open: false,
            unclear: false,
            left_behind: None,
            upload_offsets: None,
            unmet: None,
        }))
    }

    /// Creates an error for an invalid field of the request. `message` says what the field must be.
    pub fn invalid_field(field: Field, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidField, message).with_field(field)
    }

    /// Adds a cause. It goes to the operator's log and not to callers, because text from S3 servers, the network and
    /// settings can name accounts, endpoints and addresses.
    #[must_use]
    pub fn because(mut self, cause: &str) -> Self {
        self.0.cause = Some(cut(cause, MAX_CAUSE).into_owned()).filter(|cause| !cause.is_empty());
        self
    }

    /// Adds the error that caused this one, like [`Error::because`], and keeps it as the source.
    #[must_use]
    pub fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        let mut error = self.because(&source.to_string());
        error.0.source = Some(Arc::new(source));
        error
    }

    /// S3's error code, if S3 responded. Empty if the response had no body.
    pub(super) fn code(&self) -> Option<&str> {
        self.0.service.as_ref().map(|service| service.code.as_str())
    }

    /// Sets the condition that is not met.
    #[must_use]
    pub(crate) fn with_unmet(mut self, unmet: FailedCondition) -> Self {
        self.0.unmet = Some(unmet);
        self
    }

    /// The condition that is not met, if the error is about a condition.
    pub fn unmet(&self) -> Option<FailedCondition> {
        let default = match self.0.kind {
            ErrorKind::AlreadyExists => Some(FailedCondition::Mode),
            ErrorKind::NotModified => Some(FailedCondition::Other),
            ErrorKind::PreconditionFailed => Some(FailedCondition::Same),
            _ => None,
        };
        self.0.unmet.or(default)
    }

    /// Sets the field of the request that is invalid.
    #[must_use]
    pub fn with_field(mut self, field: Field) -> Self {
        self.0.field = Some(field);
        self
    }

    /// Adds the details from S3's response.
    #[must_use]
    pub fn with_service(mut self, service: ServiceDetails) -> Self {
        self.0.service = Some(service);
        self
    }

    /// Sets the number of attempts and the time that they took.
    #[must_use]
    pub fn after_attempts(mut self, attempts: u32, elapsed: Duration) -> Self {
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// Sets how long the server asked to wait. `None` keeps the current value.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait.or(self.0.retry_after);
        self
    }

    /// Records that the operation was not retried because the store's retry quota is empty.
    #[must_use]
    pub fn with_quota_exhausted(mut self) -> Self {
        self.0.quota_exhausted = true;
        self
    }

    /// Records that nothing was sent, because S3 has not answered for a while.
    #[must_use]
    pub fn with_circuit_open(mut self) -> Self {
        self.0.circuit_open = true;
        self
    }

    /// Records whether an attempt may have taken effect although it appeared to fail. Once set, this stays set.
    #[must_use]
    pub fn with_unclear(mut self, unclear: bool) -> Self {
        self.0.unclear |= unclear;
        self
    }

    /// Adds the object that an earlier, successful write left in place.
    #[must_use]
    pub fn with_left_behind(mut self, meta: super::ObjectMeta) -> Self {
        self.0.left_behind = Some(Box::new(meta));
        self
    }

    /// Adds offsets at which the upload can be resumed.
    #[must_use]
    pub fn with_upload_offsets(mut self, offsets: UploadOffsets) -> Self {
        self.0.upload_offsets = Some(offsets);
        self
    }

    /// Changes the kind and the message, and keeps the details.
    #[must_use]
    pub fn recast(mut self, kind: ErrorKind, message: impl Into<String>) -> Self {
        self.0.kind = kind;
        self.0.message = message.into();
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message for callers, one sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The value that the error is about.
    pub fn field(&self) -> Option<Field> {
        self.0.field
    }

    /// Details from S3's response, if S3 responded.
    pub fn service(&self) -> Option<&ServiceDetails> {
        self.0.service.as_ref()
    }

    /// The number of attempts made. 0 if nothing was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The time from the start of the first attempt to the end of the last.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the store's retry quota was empty.
    pub fn quota_exhausted(&self) -> bool {
        self.0.quota_exhausted
    }

    /// Whether nothing was sent, because S3 has not answered for a while.
    pub fn circuit_open(&self) -> bool {
        self.0.circuit_open
    }

    /// Whether an attempt may have taken effect although it appeared to fail.
    pub fn unclear(&self) -> bool {
        self.0.unclear
    }

    /// The object that a partly completed operation left in place.
    pub fn left_behind(&self) -> Option<&super::ObjectMeta> {
        self.0.left_behind.as_deref()
    }

    /// Offsets at which the upload can be resumed instead.
    pub fn upload_offsets(&self) -> Option<UploadOffsets> {
        self.0.upload_offsets
    }
}

/// An error for a response that S3 would not send. The server may have carried out the request anyway.
pub(super) fn invalid_response(what: &str) -> Error {
    Error::new(ErrorKind::BackendProtocol, "the server did not send a valid S3 response")
        .because(what)
        .with_unclear(true)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
