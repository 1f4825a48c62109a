//! The headers and trailers of a request as they were received, beside the input that s3s parses from it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, TrailingHeaders};

/// The headers and trailers of a request. `s3s_adapter` puts them into the extensions of the request that operations
/// receive.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// All headers, including those that s3s does not know or would reject, and those that a presigned URL has in its
    /// query. `Content-Length` is the length of the body without its aws-chunks framing.
    pub(super) headers: HeaderMap,
    /// The trailers of an aws-chunked body. They are available once the body has been read to its end.
    pub(super) trailers: Option<TrailingHeaders>,
    /// The smallest and the largest size that the policy of a form accepts. Only a form has no `Content-Length` for its
    /// file.
    pub(super) sizes: Option<(u64, u64)>,
}

/// Marks a response whose status is 202. An operation puts it into the extensions, because s3s has a fixed status for
/// each operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted;

/// The order of a list of versions: whether each entry is a delete marker. An operation puts it into the extensions of
/// its response, because s3s lists versions and markers separately.
#[derive(Debug, Clone)]
pub(super) struct VersionOrder(pub(super) Vec<bool>);

/// The text of a header. `None` if the header is missing, empty or not text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// The prefix of response headers that carry the elements of an error besides its code and message. s3s has no fields
/// for them, so `s3s_adapter` turns these headers into XML elements.
pub(super) const DETAIL: &str = "x-error-detail-";

/// Adds elements to an error.
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

/// An S3 error with a code that s3s does not define.
pub(super) fn coded(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}
