//! Adds reasons and details to statuses that tonic creates.

use tonic::{Code, Status};

use super::{StatusBuilder, reason_name};
use crate::{
    api::call::{CallFailure, Severity},
    pb::ErrorReason,
};

/// The failure for the access log of a status that tonic created.
pub(crate) fn for_log(status: &Status) -> CallFailure {
    let reason = builder(status).reason();
    let severity = if reason == ErrorReason::Internal { Severity::Error } else { Severity::Info };
    CallFailure::new(reason_name(reason), severity, status.message())
}

/// The reason for the access log of a call that ended with `code` but without a status of ours: the call was dropped,
/// or a layer ended it.
pub(crate) fn reason_of_code(code: Code) -> Option<&'static str> {
    let usual = matches!(code, Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable);
    usual.then(|| reason_name(by_code(code, "").reason()))
}

/// Adds an `ErrorInfo` to a status without details, which tonic created before or outside of a handler, and corrects
/// the code where tonic's would be misleading. A status with details is returned unchanged. A status with the code
/// DEADLINE_EXCEEDED or CANCELLED, which never have details, gets none.
pub fn complete(status: Status, request_id: &str) -> Status {
    if status.code() == Code::Ok || !status.details().is_empty() {
        return status;
    }
    let completed = builder(&status).label("request_id", request_id).build();
    Status::with_details_and_metadata(
        completed.code(),
        completed.message(),
        completed.details().to_vec().into(),
        status.metadata().clone(),
    )
}

fn builder(status: &Status) -> StatusBuilder {
    let (code, text) = (status.code(), status.message());
    match code {
        // tonic's decoder uses OUT_OF_RANGE for a message above the size limit.
        Code::OutOfRange if text.contains("decoded message length too large") => too_large(text),
        Code::ResourceExhausted if text.contains("exceeded while decompressing") => too_large(text),
        Code::Internal if malformed(text) => StatusBuilder::new(
            Code::InvalidArgument,
            ErrorReason::MalformedMessage,
            format!("the message is malformed: {text}"),
        ),
        // The message is compressed with an encoding that is not enabled in tonic: gRPC knows it, this server does not
        // support it.
        Code::Unimplemented if text.contains("compressed") => {
            StatusBuilder::new(code, ErrorReason::NotImplemented, text)
        }
        Code::Unimplemented => {
            let text = if text.is_empty() { "the server has no such service or method" } else { text };
            StatusBuilder::new(code, ErrorReason::MethodUnknown, text)
        }
        _ => by_code(code, text),
    }
}

/// Whether the text is tonic's message for a malformed or incomplete message.
fn malformed(text: &str) -> bool {
    const DECODER_MESSAGES: &[&str] = &[
        "failed to decode Protobuf message",
        "Unexpected EOF decoding stream",
        "Missing request message",
        "protocol error: received message with",
        "Error decompressing",
    ];
    DECODER_MESSAGES.iter().any(|saying| text.contains(saying))
}

fn too_large(text: &str) -> StatusBuilder {
    let limit = limit(text);
    StatusBuilder::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message_too_large(limit))
        .label("limit_bytes", limit)
}

/// The error message for a message that is larger than `limit` bytes. An empty limit means that the limit is unknown.
pub(crate) fn message_too_large(limit: &str) -> String {
    let than = if limit.is_empty() { " than allowed".to_owned() } else { format!(" than {limit} bytes") };
    format!("the message is larger{than}: use Upload to send larger objects in chunks")
}

/// The limit in tonic's message: the last number in it.
fn limit(text: &str) -> &str {
    text.split(|character: char| !character.is_ascii_digit()).rfind(|digits| !digits.is_empty()).unwrap_or("")
}

fn by_code(code: Code, text: &str) -> StatusBuilder {
    let (code, reason, otherwise) = match code {
        Code::Cancelled => (code, ErrorReason::Cancelled, "the caller cancelled the call"),
        Code::DeadlineExceeded => (code, ErrorReason::DeadlineExceeded, "the call's deadline passed"),
        Code::InvalidArgument => (code, ErrorReason::MalformedMessage, "the request is malformed"),
        Code::Unauthenticated => {
            (code, ErrorReason::TokenUnknown, "the server does not know the bearer token")
        }
        Code::PermissionDenied => {
            (code, ErrorReason::AccessNotGranted, "the caller's grant does not allow this call")
        }
        Code::ResourceExhausted => {
            (code, ErrorReason::LimitExceeded, "a limit of the server is reached: retry later")
        }
        Code::Unavailable => {
            (code, ErrorReason::ShuttingDown, "the server does not accept calls at the moment: retry later")
        }
        _ => (
            Code::Internal,
            ErrorReason::Internal,
            "internal error: the server's log has the details under the request id",
        ),
    };
    StatusBuilder::new(code, reason, if text.is_empty() { otherwise } else { text })
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn statuses_of_tonic_get_a_reason_and_the_right_code() {
        let too_large =
            "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes";
        let cases = [
            (Status::out_of_range(too_large), Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            (
                Status::resource_exhausted(
                    "Error decompressing: size limit, of 4194304 bytes, exceeded while decompressing message",
                ),
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
            ),
            (
                Status::internal("failed to decode Protobuf message: invalid tag value: 0"),
                Code::InvalidArgument,
                "MALFORMED_MESSAGE",
            ),
            (Status::internal("Missing request message."), Code::InvalidArgument, "MALFORMED_MESSAGE"),
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_UNKNOWN"),
            (
                Status::unimplemented("Content is compressed with `br` which isn't supported"),
                Code::Unimplemented,
                "NOT_IMPLEMENTED",
            ),
            (Status::unknown("h2 protocol error"), Code::Internal, "INTERNAL"),
            (Status::internal("something else"), Code::Internal, "INTERNAL"),
        ];
        for (status, code, reason) in cases {
            let told = format!("{status:?}");
            let status = complete(status, "r1");
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{told}");
            assert_eq!(info.metadata["request_id"], "r1");
            assert!(!status.message().is_empty());
            if reason == "MESSAGE_TOO_LARGE" {
                assert!(status.message().contains("Upload"));
                assert_eq!(info.metadata["limit_bytes"], "4194304");
            }
        }
    }

    #[test]
    fn cancelled_and_deadline_exceeded_get_no_details() {
        for (status, reason) in [
            (Status::cancelled("Timeout expired"), "CANCELLED"),
            (Status::deadline_exceeded(""), "DEADLINE_EXCEEDED"),
        ] {
            let code = status.code();
            assert_eq!(for_log(&status).reason, reason);
            assert_eq!(reason_of_code(code), Some(reason));
            let status = complete(status, "r1");
            assert_eq!((status.code(), status.details()), (code, &[][..]));
            assert!(!status.message().is_empty());
        }
    }

    #[test]
    fn a_status_with_details_is_unchanged() {
        let before = super::super::shutting_down("r1");
        let after = complete(before.clone(), "r2");
        assert_eq!(after.details(), before.details());
        assert_eq!(after.message(), before.message());
    }
}
