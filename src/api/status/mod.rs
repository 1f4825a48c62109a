//! From a failure to the `google.rpc.Status` that a caller gets, with its details.

mod builder;
mod complete;
mod size;
mod table;

pub(crate) use builder::{Labels, StatusBuilder, reason_name};
pub use complete::complete;
pub(crate) use complete::{for_log, message_too_large, reason_of_code};
pub(crate) use table::{Side, verdict};

use tonic::{Code, Status};

use crate::pb::ErrorReason;

/// The caller's deadline passed. The status has no details.
pub fn deadline_exceeded(request_id: &str) -> Status {
    plain(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "the deadline of the call passed: whether a write took effect is open",
        request_id,
    )
}

/// The caller of a read took nothing for too long while others waited for memory.
pub fn read_idle(request_id: &str) -> Status {
    let message = "the caller read nothing for too long while other calls waited for memory";
    plain(Code::Aborted, ErrorReason::ReadIdle, message, request_id)
}

/// This process is draining and takes no new calls.
pub fn shutting_down(request_id: &str) -> Status {
    let message = "this replica is shutting down: another one will serve the call";
    plain(Code::Unavailable, ErrorReason::ShuttingDown, message, request_id)
}

/// `field` of the request, by its path in the proto, is wrong; `message` says what would be right.
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
    fn the_servers_own_answers_carry_reason_and_request_id() {
        let cases = [
            (shutting_down("r1"), Code::Unavailable, "SHUTTING_DOWN"),
            (invalid_field("key", "is required", "r1"), Code::InvalidArgument, "INVALID_FIELD"),
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
    fn a_passed_deadline_has_no_details() {
        let status = deadline_exceeded("r1");
        assert_eq!((status.code(), status.details()), (Code::DeadlineExceeded, &[][..]));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let status = invalid_field("range.bounded.end", "is less than the start", "");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "range.bounded.end");
        assert_eq!(status.message(), "`range.bounded.end`: is less than the start");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["field"], "range.bounded.end");
        assert!(!info.metadata.contains_key("request_id"), "what is not known is left out");
    }
}
