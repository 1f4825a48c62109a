//! What a failed attempt means: which kind of error, whether another attempt can help, and whether this one
//! may have taken effect unseen.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{DATE, RETRY_AFTER},
};

use super::{Error, ErrorKind, ServiceDetails, headers::text, sentences, xml};
use crate::transport::{Again, RetryCost, TransportError, TransportErrorKind};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) again: Again,
    pub(super) correction: Option<Correction>,
}

/// Something about the client that S3's answer sets right. Each is applied once for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Correction {
    /// The bucket's region.
    Region(String),
    /// S3's clock.
    Clock(SystemTime),
    /// None: the bytes were damaged on the way, and are sent once more.
    Replay,
}

/// What a failed request was about; decides what an answer without a body means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// It named an object, not the bucket alone.
    pub(super) object: bool,
    /// A conflict with another write is worth another attempt.
    pub(super) retries_conflict: bool,
}

/// The years 2000 to 2200, in seconds after 1970. A clock that says another time is broken, and requests signed by it would fail.
const PLAUSIBLE: Range<u64> = 946_684_800..7_258_118_400;

/// The longest region that is believed.
const MAX_REGION: usize = 64;

const LATER: Again = Again::Later { cost: RetryCost::Failure, wait: None };
const LATER_AFTER_TIMEOUT: Again = Again::Later { cost: RetryCost::Timeout, wait: None };

/// The judgement of an error answer, or of an error inside an answer of 200.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &str, subject: Subject) -> Failure {
    let said = xml::error(body).unwrap_or_default();
    let header = |name: &'static str| text(headers, &HeaderName::from_static(name));
    // An answer to HEAD has no body. MinIO says in headers what the body would (https://github.com/minio/minio/pull/17283).
    let code = said.code.or_else(|| header("x-minio-error-code")).unwrap_or_default();
    let message = said.message.or_else(|| header("x-minio-error-desc")).unwrap_or_default();
    let details = ServiceDetails {
        request_id: said.request_id.or_else(|| header("x-amz-request-id")).unwrap_or_default(),
        host_id: said.host_id.or_else(|| header("x-amz-id-2")).unwrap_or_default(),
        http_status: status.as_u16(),
        code,
    }
    .cut();
    let kind = kind(status, &details.code, headers, subject);
    let again = again(kind, subject).waiting(retry_after(headers));
    let unclear = status.is_server_error()
        || matches!(
            kind,
            ErrorKind::BackendUnavailable | ErrorKind::BackendTimeout | ErrorKind::BackendProtocol
        );
    let region = said.region.or_else(|| header("x-amz-bucket-region"));
    let correction = correction(kind, status, &details.code, region, headers);
    let error = sentences::error(kind, details, &message)
        .with_retry_after(retry_after(headers))
        .with_unclear(unclear);
    Failure { error, again, correction }
}

/// The judgement of an attempt without a whole answer.
pub(super) fn of_transport(error: &TransportError) -> Failure {
    let (kind, again, unclear) = match error.kind() {
        TransportErrorKind::Connect => (ErrorKind::ConnectionFailed, LATER, false),
        TransportErrorKind::Timeout => (ErrorKind::BackendTimeout, LATER_AFTER_TIMEOUT, true),
        TransportErrorKind::Lost => (ErrorKind::ConnectionLost, LATER, true),
        TransportErrorKind::Protocol => (ErrorKind::BackendProtocol, Again::No, true),
    };
    let what = match kind {
        ErrorKind::ConnectionFailed => "no connection to S3 could be opened",
        ErrorKind::BackendTimeout => "S3 did not answer in time",
        ErrorKind::ConnectionLost => "the connection to S3 broke",
        _ => "the server's answer is not S3's",
    };
    Failure {
        error: Error::new(kind, what).because(&error.to_string()).with_unclear(unclear),
        again,
        correction: None,
    }
}

/// An answer that did not come to its end in time.
pub(super) fn too_slow(what: &str) -> Failure {
    let error =
        Error::new(ErrorKind::BackendTimeout, "S3 did not answer in time").because(what).with_unclear(true);
    Failure { error, again: LATER_AFTER_TIMEOUT, correction: None }
}

/// An attempt that could not be made, or an answer that cannot be used.
pub(super) fn fatal(error: Error) -> Failure {
    Failure { error, again: Again::No, correction: None }
}

trait Waiting {
    fn waiting(self, wait: Option<Duration>) -> Self;
}

impl Waiting for Again {
    fn waiting(self, wait: Option<Duration>) -> Self {
        match self {
            Again::Later { cost, .. } => Again::Later { cost, wait },
            other => other,
        }
    }
}

fn kind(status: StatusCode, code: &str, headers: &HeaderMap, subject: Subject) -> ErrorKind {
    by_code(code).unwrap_or_else(|| by_status(status, headers, subject))
}

/// The kind that an error code stands for; `None` where the status says more.
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
        // CopyObject has a word of its own.
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
        // versitygw's word for an unknown access key, with status 404
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
        404 if subject.object => ErrorKind::ObjectNotFound,
        404 => ErrorKind::BucketNotFound,
        // A version that is a delete marker (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
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

fn again(kind: ErrorKind, subject: Subject) -> Again {
    match kind {
        ErrorKind::Throttled | ErrorKind::BackendUnavailable => LATER,
        ErrorKind::BackendTimeout => LATER_AFTER_TIMEOUT,
        ErrorKind::Conflict if subject.retries_conflict => LATER,
        _ => Again::No,
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
        // The answer to HEAD has no body: a refusal may be about the clock.
        ErrorKind::ClockSkewed => server_clock(headers).map(Correction::Clock),
        ErrorKind::AccessDenied if code.is_empty() => server_clock(headers).map(Correction::Clock),
        ErrorKind::BytesDamaged => Some(Correction::Replay),
        ErrorKind::WrongRegion | ErrorKind::CredentialsRejected => region.map(Correction::Region),
        // For the same reason only headers tell a wrong region from a bad request.
        _ if status == StatusCode::BAD_REQUEST => {
            region.filter(|_| headers.contains_key("x-amz-bucket-region")).map(Correction::Region)
        }
        _ => None,
    }
}

/// What the server's clock says, if that is plausible.
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

    const OBJECT: Subject = Subject { object: true, retries_conflict: true };

    fn judged(status: u16, code: &str) -> Failure {
        let body =
            if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
        of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body, OBJECT)
    }

    #[test]
    fn each_answer_has_its_kind_and_its_retry() {
        use ErrorKind as K;
        let table = [
            (404, "NoSuchKey", K::ObjectNotFound, Again::No),
            (404, "", K::ObjectNotFound, Again::No),
            (404, "NoSuchBucket", K::BucketNotFound, Again::No),
            (412, "PreconditionFailed", K::PreconditionFailed, Again::No),
            (304, "", K::NotModified, Again::No),
            (409, "ConditionalRequestConflict", K::Conflict, LATER),
            (416, "InvalidRange", K::RangeNotSatisfiable, Again::No),
            (403, "AccessDenied", K::AccessDenied, Again::No),
            (403, "", K::AccessDenied, Again::No),
            (400, "ExpiredToken", K::CredentialsExpired, Again::No),
            (403, "InvalidAccessKeyId", K::CredentialsRejected, Again::No),
            (503, "SlowDown", K::Throttled, LATER),
            (429, "", K::Throttled, LATER),
            (500, "InternalError", K::BackendUnavailable, LATER),
            (502, "", K::BackendUnavailable, LATER),
            (400, "RequestTimeout", K::BackendTimeout, LATER_AFTER_TIMEOUT),
            (501, "NotImplemented", K::OperationNotSupported, Again::No),
            (400, "EntityTooSmall", K::InvalidRequest, Again::No),
            (200, "InvalidPart", K::InvalidRequest, Again::No),
            (403, "InvalidObjectState", K::ObjectArchived, Again::No),
            (400, "BadDigest", K::BytesDamaged, Again::No),
            (200, "InternalError", K::BackendUnavailable, LATER),
            (200, "SlowDown", K::Throttled, LATER),
        ];
        for (status, code, kind, again) in table {
            let failure = judged(status, code);
            assert_eq!((failure.error.kind(), failure.again), (kind, again), "{status} {code}");
        }
    }

    #[test]
    fn a_damaged_transfer_is_replayed() {
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
    fn what_the_server_asks_to_wait_is_read_in_each_form() {
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
