//! What a caller can read from the status of a failed call.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The code and the reason of a failure, which must have the details that every failure has.
pub(crate) fn code_and_reason<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.expect_err("the call should have failed");
    (status.code(), reason(&status))
}

/// The reason in a failure's details.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "longshore");
    assert!(info.metadata.contains_key("request_id"), "{info:?}");
    info.reason
}

/// The field that a failure names.
pub(crate) fn field<T: std::fmt::Debug>(outcome: Result<T, Status>) -> String {
    let status = outcome.expect_err("the call should have failed");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap_or_else(|| panic!("no field: {status:?}"));
    violations.field_violations[0].field.clone()
}
