//! The messages for S3's error responses: what callers get, and what goes to the operator's log.

use super::{Error, ErrorKind, ServiceDetails};
use crate::telemetry::cut;

/// Maximum length in bytes of a server's text in messages and logs.
const MAX_TEXT: usize = 300;

/// Creates the error for S3's code and text. Callers get the text only if it is about their own request, because the
/// text of other failures can name accounts, roles and endpoints. Text about credentials can echo them, so it is not
/// even logged.
pub(super) fn error(kind: ErrorKind, details: ServiceDetails, text: &str) -> Error {
    let text = cut(text, MAX_TEXT);
    let said = match details.code.as_str() {
        "" => format!("S3 returned status {}", details.http_status),
        "InvalidPart" if wants_equal_parts(&text) => {
            "S3 returned InvalidPart, because the parts of the upload differ in size: set transfer.equal_parts in the store's settings, or give the upload's size when it starts".to_owned()
        }
        code if kind == ErrorKind::InvalidRequest && !text.is_empty() => {
            format!("S3 returned {code}: {text}")
        }
        code => format!("S3 returned {code}"),
    };
    let message = match summary(kind) {
        "" => said,
        what => format!("{what} ({said})"),
    };
    let error = Error::new(kind, message).with_service(details);
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::CredentialsRejected | ErrorKind::CredentialsExpired => error,
        _ => error.because(&text),
    }
}

/// Whether the text of an InvalidPart error says that all parts except the last must have the same size, as with
/// Cloudflare R2 (<https://developers.cloudflare.com/r2/objects/multipart-objects/>).
pub(super) fn wants_equal_parts(text: &str) -> bool {
    text.contains("same length")
}

fn summary(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ObjectNotFound => "there is no object with this key",
        ErrorKind::VersionNotFound => "the object has no such version",
        ErrorKind::UploadNotFound => "the multipart upload does not exist",
        ErrorKind::BucketNotFound => "the store's bucket does not exist",
        ErrorKind::WrongRegion => "the store's bucket is in another region",
        ErrorKind::AccessDenied => {
            "the store's credentials do not permit this, or the key does not exist and they do not permit listing"
        }
        ErrorKind::CredentialsRejected => "S3 rejected the store's credentials",
        ErrorKind::CredentialsExpired => "the store's temporary credentials have expired",
        ErrorKind::ClockSkewed => "the clocks of Longshore and S3 differ too much",
        ErrorKind::PreconditionFailed => "a condition is not met",
        ErrorKind::NotModified => "the object has not changed",
        ErrorKind::ObjectArchived => "the object is archived and must be restored before it can be read",
        ErrorKind::Conflict => "another write to this key is in progress",
        ErrorKind::RangeNotSatisfiable => "the range starts beyond the end of the object",
        ErrorKind::Throttled => "S3 throttled the request",
        ErrorKind::BackendUnavailable => "S3 failed with a server error",
        ErrorKind::BackendTimeout => "S3 did not receive the request in time",
        ErrorKind::OperationNotSupported => "the S3 server does not support this operation",
        ErrorKind::BytesDamaged => "S3 received corrupted bytes",
        ErrorKind::StoreMisconfigured => "the store's settings are invalid",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::s3::failed_attempt::{Subject, of_answer};

    fn of_body(status: StatusCode, body: &str) -> Error {
        of_answer(
            status,
            &HeaderMap::new(),
            body,
            Subject { object: true, upload: false, retries_conflict: true },
        )
        .error
    }

    fn answered(status: StatusCode, code: &str, text: &str) -> Error {
        let body = format!("<Error><Code>{code}</Code><Message>{text}</Message></Error>");
        of_body(status, &body)
    }

    #[test]
    fn server_text_about_credentials_is_dropped() {
        let error = answered(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", "you sent s3cret");
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn server_text_is_logged_and_callers_get_it_only_about_their_request() {
        let text = "User: arn:aws:iam::123456789012:user/gateway is not authorized";
        for (status, code) in [
            (StatusCode::FORBIDDEN, "AccessDenied"),
            (StatusCode::NOT_FOUND, "NoSuchBucket"),
            (StatusCode::BAD_REQUEST, "KMS.DisabledException"),
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        ] {
            let error = answered(status, code, text);
            assert!(!error.message().contains("arn:") && error.message().contains(code), "{error}");
            assert!(error.to_string().ends_with(text), "{error}");
        }
        let error = answered(StatusCode::BAD_REQUEST, "InvalidArgument", "x-amz-storage-class is wrong");
        assert_eq!(error.message(), "S3 returned InvalidArgument: x-amz-storage-class is wrong");
    }

    #[test]
    fn long_server_text_is_truncated_everywhere() {
        let long = "🚢\u{1}".repeat(4_000);
        let body = format!(
            "<Error><Code>{long}</Code><Message>{long}</Message><RequestId>{long}</RequestId><HostId>{long}</HostId>\
             <Region>{long}</Region></Error>"
        );
        let error = of_body(StatusCode::BAD_REQUEST, &body);
        let service = error.service().unwrap();
        let lengths = [&service.code, &service.request_id, &service.host_id].map(String::len);
        assert!(lengths.iter().all(|length| (1..=128).contains(length)), "{lengths:?}");
        assert!(error.to_string().len() < 1_000);
        assert!(!error.to_string().contains(char::is_control));
    }
}
