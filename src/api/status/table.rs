//! Maps each kind of failure to its status code, its reason and the side at fault.

use tonic::Code;

use crate::{pb::ErrorReason, store::ErrorKind};

/// The side that can fix a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The caller.
    Caller,
    /// The operator, who configures the store and its credentials.
    Operator,
    /// The S3 server.
    Backend,
    /// Longshore.
    Longshore,
}

/// The status code, the reason and the side at fault for a kind of failure.
pub(crate) fn classify(kind: ErrorKind) -> (Code, ErrorReason, Fault) {
    use ErrorKind as Kind;
    use ErrorReason as Reason;
    use Fault::{Backend, Caller, Operator};
    match kind {
        Kind::InvalidField => (Code::InvalidArgument, Reason::InvalidField, Caller),
        Kind::InvalidRequest => (Code::InvalidArgument, Reason::InvalidRequest, Caller),
        Kind::ObjectNotFound => (Code::NotFound, Reason::ObjectNotFound, Caller),
        Kind::VersionNotFound => (Code::NotFound, Reason::VersionNotFound, Caller),
        Kind::UploadNotFound => (Code::NotFound, Reason::UploadNotFound, Caller),
        Kind::AlreadyExists => (Code::AlreadyExists, Reason::AlreadyExists, Caller),
        Kind::PreconditionFailed => (Code::FailedPrecondition, Reason::PreconditionFailed, Caller),
        Kind::NotModified => (Code::FailedPrecondition, Reason::NotModified, Caller),
        Kind::RangeNotSatisfiable => (Code::OutOfRange, Reason::RangeNotSatisfiable, Caller),
        Kind::ObjectArchived => (Code::FailedPrecondition, Reason::ObjectArchived, Caller),
        Kind::Conflict => (Code::Aborted, Reason::Conflict, Caller),
        Kind::ObjectChanged => (Code::Aborted, Reason::ObjectChanged, Caller),
        Kind::SizeMismatch => (Code::InvalidArgument, Reason::SizeMismatch, Caller),
        Kind::TooManyParts => (Code::OutOfRange, Reason::TooManyParts, Caller),
        Kind::UploadOffsetMismatch => (Code::OutOfRange, Reason::UploadOffsetMismatch, Caller),
        Kind::ChecksumMismatch => (Code::DataLoss, Reason::ChecksumMismatch, Caller),
        Kind::WriteUnclear => (Code::Aborted, Reason::WriteUnclear, Caller),
        Kind::RenameSourceRemains => (Code::Aborted, Reason::RenameSourceRemains, Caller),
        Kind::UploadIdle => (Code::Aborted, Reason::UploadIdle, Caller),
        Kind::BucketNotFound => (Code::FailedPrecondition, Reason::BucketNotFound, Operator),
        Kind::WrongRegion => (Code::FailedPrecondition, Reason::WrongRegion, Operator),
        Kind::AccessDenied => (Code::PermissionDenied, Reason::AccessDenied, Operator),
        Kind::CredentialsRejected => (Code::FailedPrecondition, Reason::CredentialsRejected, Operator),
        Kind::CredentialsUnavailable => (Code::FailedPrecondition, Reason::CredentialsUnavailable, Operator),
        Kind::CredentialsExpired => (Code::Unavailable, Reason::CredentialsExpired, Operator),
        Kind::ClockSkewed => (Code::Unavailable, Reason::ClockSkewed, Operator),
        Kind::StoreMisconfigured => (Code::FailedPrecondition, Reason::StoreMisconfigured, Operator),
        Kind::ConditionsNotSupported => (Code::Unimplemented, Reason::ConditionsNotSupported, Operator),
        Kind::OperationNotSupported => (Code::Unimplemented, Reason::OperationNotSupported, Operator),
        Kind::Throttled => (Code::ResourceExhausted, Reason::Throttled, Backend),
        Kind::BackendUnavailable => (Code::Unavailable, Reason::BackendUnavailable, Backend),
        Kind::BackendTimeout => (Code::Unavailable, Reason::BackendTimeout, Backend),
        Kind::ConnectionFailed => (Code::Unavailable, Reason::ConnectionFailed, Backend),
        Kind::ConnectionLost => (Code::Unavailable, Reason::ConnectionLost, Backend),
        Kind::BackendProtocol => (Code::Unavailable, Reason::BackendProtocol, Backend),
        Kind::BytesDamaged => (Code::DataLoss, Reason::BytesDamaged, Backend),
        Kind::MemoryExhausted => (Code::ResourceExhausted, Reason::MemoryExhausted, Fault::Longshore),
        Kind::LimitExceeded => (Code::ResourceExhausted, Reason::LimitExceeded, Fault::Longshore),
        Kind::Internal => (Code::Internal, Reason::Internal, Fault::Longshore),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::code_name;

    const KINDS: &[ErrorKind] = &[
        ErrorKind::InvalidField,
        ErrorKind::InvalidRequest,
        ErrorKind::ObjectNotFound,
        ErrorKind::VersionNotFound,
        ErrorKind::UploadNotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::PreconditionFailed,
        ErrorKind::NotModified,
        ErrorKind::RangeNotSatisfiable,
        ErrorKind::ObjectArchived,
        ErrorKind::Conflict,
        ErrorKind::ObjectChanged,
        ErrorKind::SizeMismatch,
        ErrorKind::TooManyParts,
        ErrorKind::UploadOffsetMismatch,
        ErrorKind::ChecksumMismatch,
        ErrorKind::WriteUnclear,
        ErrorKind::RenameSourceRemains,
        ErrorKind::UploadIdle,
        ErrorKind::BucketNotFound,
        ErrorKind::WrongRegion,
        ErrorKind::AccessDenied,
        ErrorKind::CredentialsRejected,
        ErrorKind::CredentialsUnavailable,
        ErrorKind::CredentialsExpired,
        ErrorKind::ClockSkewed,
        ErrorKind::StoreMisconfigured,
        ErrorKind::ConditionsNotSupported,
        ErrorKind::OperationNotSupported,
        ErrorKind::Throttled,
        ErrorKind::BackendUnavailable,
        ErrorKind::BackendTimeout,
        ErrorKind::ConnectionFailed,
        ErrorKind::ConnectionLost,
        ErrorKind::BackendProtocol,
        ErrorKind::BytesDamaged,
        ErrorKind::MemoryExhausted,
        ErrorKind::LimitExceeded,
        ErrorKind::Internal,
    ];

    /// The side at fault by the number of a reason.
    fn side(reason: ErrorReason) -> Fault {
        match i32::from(reason) {
            1..=99 => Fault::Caller,
            100..=199 => Fault::Operator,
            200..=299 => Fault::Backend,
            _ => Fault::Longshore,
        }
    }

    /// The `Status:` in the comment above a reason in the proto.
    fn documented(reason: ErrorReason) -> String {
        let proto = include_str!("../../../proto/longshore/v1/error_reason.proto");
        let above = proto.split(&format!("  {} = ", reason.as_str_name())).next().unwrap();
        let status = above.rsplit("// Status: ").next().unwrap();
        status.split('.').next().unwrap().to_owned()
    }

    #[test]
    fn every_kind_has_a_reason_with_its_name_documented_status_and_side() {
        for kind in KINDS {
            let (code, reason, at_fault) = classify(*kind);
            let spelled = reason.as_str_name().replace("ERROR_REASON", "").replace('_', "");
            assert_eq!(spelled, format!("{kind:?}").to_uppercase(), "{kind:?}");
            assert_eq!(code_name(code), documented(reason), "{kind:?}");
            assert_eq!(at_fault, side(reason), "{kind:?}");
        }
    }

    /// The status codes that callers rely on. They must not change, even if the proto does.
    #[test]
    fn status_codes_that_callers_rely_on_do_not_change() {
        let rows = [
            (ErrorKind::ObjectNotFound, Code::NotFound),
            (ErrorKind::BucketNotFound, Code::FailedPrecondition),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::PreconditionFailed, Code::FailedPrecondition),
            (ErrorKind::NotModified, Code::FailedPrecondition),
            (ErrorKind::Conflict, Code::Aborted),
            (ErrorKind::RangeNotSatisfiable, Code::OutOfRange),
            (ErrorKind::AccessDenied, Code::PermissionDenied),
            (ErrorKind::CredentialsExpired, Code::Unavailable),
            (ErrorKind::ClockSkewed, Code::Unavailable),
            (ErrorKind::CredentialsRejected, Code::FailedPrecondition),
            (ErrorKind::CredentialsUnavailable, Code::FailedPrecondition),
            (ErrorKind::Throttled, Code::ResourceExhausted),
            (ErrorKind::BackendUnavailable, Code::Unavailable),
            (ErrorKind::BackendTimeout, Code::Unavailable),
            (ErrorKind::OperationNotSupported, Code::Unimplemented),
            (ErrorKind::ConditionsNotSupported, Code::Unimplemented),
            (ErrorKind::ChecksumMismatch, Code::DataLoss),
            (ErrorKind::InvalidRequest, Code::InvalidArgument),
            (ErrorKind::ConnectionFailed, Code::Unavailable),
            (ErrorKind::ConnectionLost, Code::Unavailable),
            (ErrorKind::ObjectChanged, Code::Aborted),
        ];
        for (kind, code) in rows {
            assert_eq!(classify(kind).0, code, "{kind:?}");
        }
    }
}
