//! Converts failures to the `google.rpc.Status` that callers get, with its details.

mod builder;
mod complete;
mod size;
mod table;

pub(crate) use builder::{ErrorContext, StatusBuilder, reason_name};
pub use complete::complete;
pub(crate) use complete::{for_log, message_too_large, reason_of_code};
pub(crate) use table::{Fault, classify};

use tonic::{Code, Status};

use crate::pb::ErrorReason;

/// The caller's deadline passed. The status has no details.
pub fn deadline_exceeded(request_id: &str) -> Status {
    plain(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "the call's deadline passed: a write may or may not have taken effect",
        request_id,
    )
}

/// The caller of a read received nothing for too long while other calls waited for memory.
pub fn read_idle(request_id: &str) -> Status {
    let message = "the caller read nothing for too long while other calls waited for memory: retry the call";
    plain(Code::Aborted, ErrorReason::ReadIdle, message, request_id)
}

/// This process is draining and accepts no new calls.
pub fn shutting_down(request_id: &str) -> Status {
    let message = "this replica is shutting down: retry the call on another replica";
    plain(Code::Unavailable, ErrorReason::ShuttingDown, message, request_id)
}

/// The request's `field`, named by its path in the proto, is invalid. `message` says what a valid value looks like.
pub fn invalid_field(field: &str, message: &str, request_id: &str) -> Status {
    StatusBuilder::new(Code::InvalidArgument, ErrorReason::InvalidField, format!("`{field}`: {message}"))
        .label("request_id", request_id)
        .violation(field, message)
        .build()
}

fn plain(code: Code, reason: ErrorReason, message: &str, request_id: &str) -> Status {
    StatusBuilder::new(code, reason, message).label("request_id", request_id).build()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn statuses_of_the_server_have_a_reason_and_a_request_id() {
        let cases = [
            (shutting_down("r1"), Code::Unavailable, "SHUTTING_DOWN"),
            (invalid_field("key", "must not be empty", "r1"), Code::InvalidArgument, "INVALID_FIELD"),
        ];
        for (status, code, reason) in cases {
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (status.code(), info.reason.as_str(), info.domain.as_str()),
                (code, reason, "longshore")
            );
            assert_eq!(info.metadata["request_id"], "r1");
        }
    }

    #[test]
    fn deadline_exceeded_has_no_details() {
        let status = deadline_exceeded("r1");
        assert_eq!((status.code(), status.details()), (Code::DeadlineExceeded, &[][..]));
    }

    #[test]
    fn an_invalid_field_is_named_in_message_and_details() {
        let status = invalid_field("range.bounded.end", "must not be less than `start`", "");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "range.bounded.end");
        assert_eq!(status.message(), "`range.bounded.end`: must not be less than `start`");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["field"], "range.bounded.end");
        assert!(!info.metadata.contains_key("request_id"), "an empty request id is left out");
    }
}
