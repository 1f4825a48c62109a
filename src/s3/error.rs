//! What went wrong, by kind, and what S3 said of it.

use std::{fmt, time::Duration};

use crate::telemetry::cut;

/// The most bytes of a cause: it can hold a server's text.
const MAX_CAUSE: usize = 1024;

/// The most bytes of an error code.
const MAX_CODE: usize = 64;

/// The most bytes of each id of a request. `x-amz-id-2` has 76.
const MAX_ID: usize = 128;

/// Why an operation failed. Each kind has one gRPC status and one documented reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    // the caller
    /// A field of the request is wrong; [`Error::field`] names it.
    InvalidField,
    /// S3 refused an argument.
    InvalidRequest,
    /// No such key.
    ObjectNotFound,
    /// No such version of the key.
    VersionNotFound,
    /// The multipart upload is gone.
    UploadNotFound,
    /// `create` found the key taken.
    AlreadyExists,
    /// A condition does not hold.
    PreconditionFailed,
    /// `if_none_match` or `if_modified_since` found nothing new.
    NotModified,
    /// The range begins beyond the object's end.
    RangeNotSatisfiable,
    /// The object is archived: it has to be restored before it can be read.
    ObjectArchived,
    /// Another write to the same key is under way.
    Conflict,
    /// The object was replaced while it was read or copied.
    ObjectChanged,
    /// More or fewer bytes than announced.
    SizeMismatch,
    /// More parts than S3 takes.
    TooManyParts,
    /// No part of the upload begins at the offset given; [`Error::upload_offsets`] says where some do.
    UploadOffsetMismatch,
    /// The caller's bytes do not have the checksum that the caller gave for them.
    ChecksumMismatch,
    /// Whether a conditional write took effect is not known.
    WriteUnclear,
    /// A rename copied, but could not delete its source.
    RenameSourceRemains,
    /// The caller of an upload sent nothing for too long while other calls waited for memory.
    UploadIdle,
    // the operator
    /// No such bucket.
    BucketNotFound,
    /// The bucket is in another region.
    WrongRegion,
    /// S3 does not allow it with the store's credentials.
    AccessDenied,
    /// S3 does not know the store's credentials or refused their signature.
    CredentialsRejected,
    /// No credentials could be had.
    CredentialsUnavailable,
    /// The store's temporary credentials have expired.
    CredentialsExpired,
    /// The clocks of Longshore and S3 differ too much.
    ClockSkewed,
    /// The store's settings cannot work.
    StoreMisconfigured,
    /// The server does not honour conditional writes, or the store disables them.
    ConditionsNotSupported,
    /// The server does not have the operation, or the store disables it.
    OperationNotSupported,
    // the backend
    /// S3 asked to slow down.
    Throttled,
    /// S3 failed.
    BackendUnavailable,
    /// S3 did not answer in time.
    BackendTimeout,
    /// No connection could be made.
    ConnectionFailed,
    /// The connection broke before the answer was whole.
    ConnectionLost,
    /// The answer is not S3's.
    BackendProtocol,
    /// Bytes were damaged in S3, or between S3 and here.
    BytesDamaged,
    // Longshore
    /// No memory of the budget became free in time.
    MemoryExhausted,
    /// A defect.
    Internal,
}

/// Which of a request's conditions does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// That of the mode, on the destination.
    Mode,
    /// `if_match` or `if_unmodified_since`, on what is read.
    Same,
    /// `if_none_match` or `if_modified_since`, on what is read.
    Other,
}

/// Where an upload can be resumed, in bytes from the object's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOffsets {
    /// How many bytes S3 has without a gap from the first on.
    pub persisted_size: u64,
    /// The beginning of the part that the offset given is in; where it is in none, the end of the last part.
    pub before: u64,
    /// The beginning of the part after that.
    pub after: Option<u64>,
}

/// What S3's answer said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceDetails {
    /// The error code, such as `NoSuchKey`; empty where the answer had no body.
    pub code: String,
    /// `x-amz-request-id`.
    pub request_id: String,
    /// `x-amz-id-2`.
    pub host_id: String,
    /// The HTTP status.
    pub http_status: u16,
}

impl ServiceDetails {
    /// The same details, each cut to a length that a real S3 stays below.
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

/// A failed operation: one plain sentence, what a caller can branch on, and a cause for the operator's log. Holds no secret.
///
/// [`Error::message`] goes to callers, so it names no endpoint, account or address. [`Display`](fmt::Display) adds the cause.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    cause: Option<String>,
    field: Option<&'static str>,
    service: Option<ServiceDetails>,
    attempts: u32,
    elapsed: Duration,
    retry_after: Option<Duration>,
    quota_exhausted: bool,
    unclear: bool,
    left_behind: Option<Box<super::ObjectMeta>>,
    upload_offsets: Option<UploadOffsets>,
    unmet: Option<Unmet>,
}

impl Error {
    /// An error of `kind`, told by one plain sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            cause: None,
            field: None,
            service: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            retry_after: None,
            quota_exhausted: false,
            unclear: false,
            left_behind: None,
            upload_offsets: None,
            unmet: None,
        }))
    }

    /// A wrong field of the request; `message` says what would be right.
    pub fn invalid_field(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidField, message).with_field(field)
    }

    /// The same error, with a cause that the operator's log has and callers do not get: texts of S3 servers, of the
    /// network and of settings, which can name accounts, endpoints and addresses.
    #[must_use]
    pub fn because(mut self, cause: &str) -> Self {
        self.0.cause = Some(cut(cause, MAX_CAUSE).into_owned()).filter(|cause| !cause.is_empty());
        self
    }

    /// S3's code for it, if S3 gave one.
    pub(super) fn code(&self) -> Option<&str> {
        self.0.service.as_ref().map(|service| service.code.as_str())
    }

    /// The same error, with the condition that does not hold.
    #[must_use]
    pub(crate) fn with_unmet(mut self, unmet: Unmet) -> Self {
        self.0.unmet = Some(unmet);
        self
    }

    /// Which condition does not hold, of an error that says so.
    pub fn unmet(&self) -> Option<Unmet> {
        let default = match self.0.kind {
            ErrorKind::AlreadyExists => Some(Unmet::Mode),
            ErrorKind::NotModified => Some(Unmet::Other),
            ErrorKind::PreconditionFailed => Some(Unmet::Same),
            _ => None,
        };
        self.0.unmet.or(default)
    }

    /// The same error, about this field of the request.
    #[must_use]
    pub fn with_field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    /// The same error, with what S3 said.
    #[must_use]
    pub fn with_service(mut self, service: ServiceDetails) -> Self {
        self.0.service = Some(service);
        self
    }

    /// The same error after so many attempts in so much time.
    #[must_use]
    pub fn after_attempts(mut self, attempts: u32, elapsed: Duration) -> Self {
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// The same error; the server asked to wait this long.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait.or(self.0.retry_after);
        self
    }

    /// The same error; it was not retried because the store's retry quota is empty.
    #[must_use]
    pub fn with_quota_exhausted(mut self) -> Self {
        self.0.quota_exhausted = true;
        self
    }

    /// The same error; an attempt may have taken effect unseen.
    #[must_use]
    pub fn with_unclear(mut self, unclear: bool) -> Self {
        self.0.unclear |= unclear;
        self
    }

    /// The same error; a write before it succeeded and stays.
    #[must_use]
    pub fn with_left_behind(mut self, meta: super::ObjectMeta) -> Self {
        self.0.left_behind = Some(Box::new(meta));
        self
    }

    /// The same error; these are offsets at which the upload can be resumed.
    #[must_use]
    pub fn with_upload_offsets(mut self, offsets: UploadOffsets) -> Self {
        self.0.upload_offsets = Some(offsets);
        self
    }

    /// The same error as another kind with another sentence, details kept.
    #[must_use]
    pub fn recast(mut self, kind: ErrorKind, message: impl Into<String>) -> Self {
        self.0.kind = kind;
        self.0.message = message.into();
        self
    }

    /// Which kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// One plain sentence, for callers.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The request's field at fault, by its path in the proto.
    pub fn field(&self) -> Option<&'static str> {
        self.0.field
    }

    /// What S3 said, if it answered.
    pub fn service(&self) -> Option<&ServiceDetails> {
        self.0.service.as_ref()
    }

    /// How many attempts were made; 0 if nothing was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// From the beginning of the first attempt to the end of the last.
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

    /// Whether an attempt may have taken effect unseen.
    pub fn unclear(&self) -> bool {
        self.0.unclear
    }

    /// The object that a half-done operation left.
    pub fn left_behind(&self) -> Option<&super::ObjectMeta> {
        self.0.left_behind.as_deref()
    }

    /// Where the upload can be resumed instead.
    pub fn upload_offsets(&self) -> Option<UploadOffsets> {
        self.0.upload_offsets
    }
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

impl std::error::Error for Error {}
