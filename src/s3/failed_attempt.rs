//! Classifies a failed attempt: the kind of error, whether a retry can help, and whether the attempt may have taken
//! effect although it appeared to fail.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{DATE, RETRY_AFTER},
};

use super::{Error, ErrorKind, ServiceDetails, error_messages, headers::text, xml};
use crate::transport::{Retry, RetryCost, TransportError, TransportErrorKind};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) error: Error,
    pub(super) again: Retry,
    pub(super) correction: Option<Correction>,
}

/// A correction of the client's state from S3's response. Each kind is applied at most once per request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Correction {
    /// The bucket's region.
    Region(String),
    /// S3's clock.
    Clock(SystemTime),
    /// Other credentials, if the store's provider has some.
    Credentials,
    /// No change. The bytes were corrupted in transit and are sent once more.
    Replay,
}

/// What a failed request was about. Determines what a response without a body means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// Whether the request named an object, not only the bucket.
    pub(super) object: bool,
    /// Whether the request named a multipart upload.
    pub(super) upload: bool,
    /// Whether a conflict with another write is retried.
    pub(super) retries_conflict: bool,
}

/// The years 2000 to 2200, in seconds since 1970. A clock outside this range is broken, and requests signed with it
/// would fail.
const PLAUSIBLE: Range<u64> = 946_684_800..7_258_118_400;

/// Maximum length of a region name in bytes. Longer names are ignored.
const MAX_REGION: usize = 64;

const LATER: Retry = Retry::Later { cost: RetryCost::Failure, wait: None };
const LATER_AFTER_TIMEOUT: Retry = Retry::Later { cost: RetryCost::Timeout, wait: None };

/// Classifies an error response, or an error in the body of a response with status 200.
pub(super) fn of_answer(
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    subject: Subject,
) -> FailedAttempt {
    let said = xml::error(body).unwrap_or_default();
    let header = |name: &'static str| text(headers, &HeaderName::from_static(name));
    // The response to HEAD has no body. MinIO sends the error in headers instead
    // (https://github.com/minio/minio/pull/17283).
    let code = said.code.or_else(|| header("x-minio-error-code")).unwrap_or_default();
    let message = said.message.or_else(|| header("x-minio-error-desc")).unwrap_or_default();
    let details = ServiceDetails {
        request_id: said.request_id.or_else(|| header("x-amz-request-id")).unwrap_or_default(),
        host_id: said.host_id.or_else(|| header("x-amz-id-2")).unwrap_or_default(),
        http_status: status.as_u16(),
        code,
    }
    .cut();
    let kind = match details.code.as_str() {
        "InvalidPart" if error_messages::wants_equal_parts(&message) => ErrorKind::StoreMisconfigured,
        code => kind(status, code, headers, subject),
    };
    let again = again(kind, subject).waiting(retry_after(headers));
    // A server that does not support a request has done nothing (RFC 9110, section 15.6.2).
    let unclear = (status.is_server_error() && kind != ErrorKind::OperationNotSupported)
        || matches!(
            kind,
            ErrorKind::BackendUnavailable | ErrorKind::BackendTimeout | ErrorKind::BackendProtocol
        );
    let region = said.region.or_else(|| header("x-amz-bucket-region"));
    let correction = correction(kind, status, &details.code, region, headers);
    let error = error_messages::error(kind, details, &message)
        .with_retry_after(retry_after(headers))
        .with_unclear(unclear);
    FailedAttempt { error, again, correction }
}

/// Classifies an attempt without a complete response.
pub(super) fn of_transport(error: TransportError) -> FailedAttempt {
    let (kind, again, unclear) = match error.kind() {
        TransportErrorKind::Connect | TransportErrorKind::Exhausted => {
            (ErrorKind::ConnectionFailed, LATER, false)
        }
        TransportErrorKind::Timeout => (ErrorKind::BackendTimeout, LATER_AFTER_TIMEOUT, true),
        TransportErrorKind::Lost => (ErrorKind::ConnectionLost, LATER, true),
        TransportErrorKind::TooManyHeaders | TransportErrorKind::Protocol => {
            (ErrorKind::BackendProtocol, Retry::No, true)
        }
    };
    // The next attempt uses a connection that accepts more headers.
    let correction = (error.kind() == TransportErrorKind::TooManyHeaders).then_some(Correction::Replay);
    let what = match kind {
        ErrorKind::ConnectionFailed => "no connection to S3 could be opened",
        ErrorKind::BackendTimeout => "S3 did not respond in time",
        ErrorKind::ConnectionLost => "the connection to S3 was lost",
        _ => "the server did not send a valid S3 response",
    };
    FailedAttempt { error: Error::new(kind, what).caused_by(error).with_unclear(unclear), again, correction }
}

/// A response that was not complete in time.
pub(super) fn too_slow(what: &str) -> FailedAttempt {
    let error =
        Error::new(ErrorKind::BackendTimeout, "S3 did not respond in time").because(what).with_unclear(true);
    FailedAttempt { error, again: LATER_AFTER_TIMEOUT, correction: None }
}

/// An attempt that could not be made, or a response that cannot be used. It is not retried.
pub(super) fn fatal(error: Error) -> FailedAttempt {
    FailedAttempt { error, again: Retry::No, correction: None }
}

trait Waiting {
    fn waiting(self, wait: Option<Duration>) -> Self;
}

impl Waiting for Retry {
    fn waiting(self, wait: Option<Duration>) -> Self {
        match self {
            Retry::Later { cost, .. } => Retry::Later { cost, wait },
            other => other,
        }
    }
}

fn kind(status: StatusCode, code: &str, headers: &HeaderMap, subject: Subject) -> ErrorKind {
    by_code(code).unwrap_or_else(|| by_status(status, headers, subject))
}

/// The kind that an error code stands for. `None` if the code is unknown and the status decides.
pub(super) fn by_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "NoSuchKey" => ErrorKind::ObjectNotFound,
        "NoSuchVersion" => ErrorKind::VersionNotFound,
        "NoSuchUpload" => ErrorKind::UploadNotFound,
        "NoSuchBucket" => ErrorKind::BucketNotFound,
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" | "Redirect" => {
            ErrorKind::WrongRegion
        }
        "PreconditionFailed" => ErrorKind::PreconditionFailed,
        // CopyObject returns ObjectNotInActiveTierError.
        "InvalidObjectState" | "ObjectNotInActiveTierError" => ErrorKind::ObjectArchived,
        "ConditionalRequestConflict" | "OperationAborted" => ErrorKind::Conflict,
        "InvalidRange" => ErrorKind::RangeNotSatisfiable,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => ErrorKind::AccessDenied,
        "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired" | "SecurityTokenExpired" => {
            ErrorKind::CredentialsExpired
        }
        "RequestTimeTooSkewed" | "RequestExpired" => ErrorKind::ClockSkewed,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "NotSignedUp" | "AuthorizationHeaderMalformed"
        | "InvalidSecurity"
        // versitygw returns this code for an unknown access key, with status 404
        | "XAdminUserNotFound" => ErrorKind::CredentialsRejected,
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "RequestThrottledException"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "SlowDownRead"
        | "SlowDownWrite" => ErrorKind::Throttled,
        "InternalError" | "ServiceUnavailable" | "Busy" | "IncompleteBody" => ErrorKind::BackendUnavailable,
        "RequestTimeout" | "RequestTimeoutException" => ErrorKind::BackendTimeout,
        "InvalidArgument" | "InvalidRequest" | "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" | "EntityTooLarge"
        | "InvalidDigest" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" | "XMinioStorageFull" | "KeyTooLongError" | "MetadataTooLarge" | "InvalidTag" | "InvalidStorageClass" | "MalformedXML" => ErrorKind::InvalidRequest,
        "NotImplemented" => ErrorKind::OperationNotSupported,
        "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => ErrorKind::BytesDamaged,
        "InvalidBucketName" => ErrorKind::StoreMisconfigured,
        code if code.starts_with("KMS.") => ErrorKind::StoreMisconfigured,
        _ => return None,
    })
}

fn by_status(status: StatusCode, headers: &HeaderMap, subject: Subject) -> ErrorKind {
    match status.as_u16() {
        301 | 302 | 307 | 308 => ErrorKind::WrongRegion,
        304 => ErrorKind::NotModified,
        401 => ErrorKind::CredentialsRejected,
        403 => ErrorKind::AccessDenied,
        // S3 says which of the two does not exist.
        404 if subject.upload => ErrorKind::BackendProtocol,
        404 if subject.object => ErrorKind::ObjectNotFound,
        404 => ErrorKind::BucketNotFound,
        // The version is a delete marker (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
        405 if headers.contains_key("x-amz-delete-marker") => ErrorKind::VersionNotFound,
        405 | 501 => ErrorKind::OperationNotSupported,
        408 => ErrorKind::BackendTimeout,
        412 => ErrorKind::PreconditionFailed,
        416 => ErrorKind::RangeNotSatisfiable,
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::InvalidRequest,
        500..=599 => ErrorKind::BackendUnavailable,
        _ => ErrorKind::BackendProtocol,
    }
}

fn again(kind: ErrorKind, subject: Subject) -> Retry {
    match kind {
        ErrorKind::Throttled | ErrorKind::BackendUnavailable => LATER,
        ErrorKind::BackendTimeout => LATER_AFTER_TIMEOUT,
        ErrorKind::Conflict if subject.retries_conflict => LATER,
        _ => Retry::No,
    }
}

fn correction(
    kind: ErrorKind,
    status: StatusCode,
    code: &str,
    region: Option<String>,
    headers: &HeaderMap,
) -> Option<Correction> {
    let region = region.filter(|region| region.len() <= MAX_REGION);
    match kind {
        ErrorKind::ClockSkewed => server_clock(headers).map(Correction::Clock),
        // The response to HEAD has no body, so this may be about the clock.
        ErrorKind::AccessDenied if code.is_empty() => server_clock(headers).map(Correction::Clock),
        ErrorKind::BytesDamaged => Some(Correction::Replay),
        ErrorKind::CredentialsExpired => Some(Correction::Credentials),
        // The key may have been replaced.
        ErrorKind::CredentialsRejected
            if region.is_none() && matches!(code, "InvalidAccessKeyId" | "XAdminUserNotFound") =>
        {
            Some(Correction::Credentials)
        }
        ErrorKind::WrongRegion | ErrorKind::CredentialsRejected => region.map(Correction::Region),
        // For the same reason, only the headers distinguish a wrong region from a bad request.
        _ if status == StatusCode::BAD_REQUEST => {
            region.filter(|_| headers.contains_key("x-amz-bucket-region")).map(Correction::Region)
        }
        _ => None,
    }
}

/// The time of the server's clock, if it is plausible.
pub(super) fn server_clock(headers: &HeaderMap) -> Option<SystemTime> {
    let date = httpdate::parse_http_date(&text(headers, &DATE)?).ok()?;
    let seconds = date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    PLAUSIBLE.contains(&seconds).then_some(date)
}

/// `x-amz-retry-after` in milliseconds, or `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = text(headers, &HeaderName::from_static("x-amz-retry-after"));
    if let Some(milliseconds) = milliseconds.and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(milliseconds));
    }
    let value = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(&value).ok()?.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OBJECT: Subject = Subject { object: true, upload: false, retries_conflict: true };

    fn judged(status: u16, code: &str) -> FailedAttempt {
        let body =
            if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
        of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body, OBJECT)
    }

    #[test]
    fn each_response_has_its_kind_and_retry_policy() {
        use ErrorKind as K;
        let table = [
            (404, "NoSuchKey", K::ObjectNotFound, Retry::No),
            (404, "", K::ObjectNotFound, Retry::No),
            (404, "NoSuchBucket", K::BucketNotFound, Retry::No),
            (412, "PreconditionFailed", K::PreconditionFailed, Retry::No),
            (304, "", K::NotModified, Retry::No),
            (409, "ConditionalRequestConflict", K::Conflict, LATER),
            (416, "InvalidRange", K::RangeNotSatisfiable, Retry::No),
            (403, "AccessDenied", K::AccessDenied, Retry::No),
            (403, "", K::AccessDenied, Retry::No),
            (400, "ExpiredToken", K::CredentialsExpired, Retry::No),
            (403, "InvalidAccessKeyId", K::CredentialsRejected, Retry::No),
            (503, "SlowDown", K::Throttled, LATER),
            (429, "", K::Throttled, LATER),
            (500, "InternalError", K::BackendUnavailable, LATER),
            (502, "", K::BackendUnavailable, LATER),
            (400, "RequestTimeout", K::BackendTimeout, LATER_AFTER_TIMEOUT),
            (501, "NotImplemented", K::OperationNotSupported, Retry::No),
            (400, "EntityTooSmall", K::InvalidRequest, Retry::No),
            (200, "InvalidPart", K::InvalidRequest, Retry::No),
            (403, "InvalidObjectState", K::ObjectArchived, Retry::No),
            (400, "BadDigest", K::BytesDamaged, Retry::No),
            (200, "InternalError", K::BackendUnavailable, LATER),
            (200, "SlowDown", K::Throttled, LATER),
        ];
        for (status, code, kind, again) in table {
            let failure = judged(status, code);
            assert_eq!((failure.error.kind(), failure.again), (kind, again), "{status} {code}");
        }
    }

    #[test]
    fn a_corrupted_transfer_is_sent_again() {
        assert_eq!(judged(400, "BadDigest").correction, Some(Correction::Replay));
    }

    #[test]
    fn the_region_comes_from_the_body_or_the_header() {
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>";
        let failure = of_answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), body, OBJECT);
        assert_eq!(failure.correction, Some(Correction::Region("eu-central-1".to_owned())));
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", HeaderValue::from_static("us-west-2"));
        for status in [StatusCode::MOVED_PERMANENTLY, StatusCode::BAD_REQUEST] {
            let failure = of_answer(status, &headers, "", OBJECT);
            assert_eq!(failure.correction, Some(Correction::Region("us-west-2".to_owned())));
        }
    }

    #[test]
    fn retry_after_is_parsed_in_each_form() {
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("x-amz-retry-after", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("retry-after", "soon"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(1));
        assert!(wait("retry-after", &later).unwrap() > Duration::from_mins(50));
    }
}
