//! A request as it came, beside what s3s makes of it.

use http::HeaderMap;
use s3s::TrailingHeaders;

/// What came with a request; the front puts it into the extensions of the request that operations see.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// All headers, also those that s3s does not know or would refuse, and those that a presigned URL has
    /// in its query. `Content-Length` is that of the body without its aws-chunks.
    pub(super) headers: HeaderMap,
    /// Trailers of an aws-chunked body; there once the body has been read to its end.
    pub(super) trailers: Option<TrailingHeaders>,
}
