//! A request as it came, beside what s3s makes of it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, TrailingHeaders};

/// What came with a request; the front puts it into the extensions of the request that operations see.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// All headers, also those that s3s does not know or would refuse, and those that a presigned URL has
    /// in its query. `Content-Length` is that of the body without its aws-chunks.
    pub(super) headers: HeaderMap,
    /// Trailers of an aws-chunked body; there once the body has been read to its end.
    pub(super) trailers: Option<TrailingHeaders>,
}

/// A header's text; none if it is missing, empty or no text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// Elements of an error beside its code and message, which s3s has no room for: they travel as headers of its
/// answer, of which the front makes elements.
pub(super) const DETAIL: &str = "x-error-detail-";

/// An error that says more.
pub(super) fn detailed(mut error: S3Error, details: &[(&'static str, &str)]) -> S3Error {
    let mut headers = error.headers().cloned().unwrap_or_default();
    for (name, text) in details {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(format!("{DETAIL}{name}")), HeaderValue::try_from(format!("{name}:{text}")))
        {
            headers.insert(name, value);
        }
    }
    error.set_headers(headers);
    error
}

/// An error of S3's that s3s does not know.
pub(super) fn coded(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}
