//! XML documents in requests. s3s parses them but does not verify them against the checksums in the headers.

use http::{Method, Request};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use s3s::{Body, S3Error, S3Result, s3_error};

use super::{
    super::{
        checksums::{Algorithm, Claims, Digests},
        received::Received,
    },
    body_error,
};

/// The largest document. s3s has the same limit.
const MAX: usize = 20 * 1024 * 1024;

/// The query parameters of the implemented PUT operations whose body is a document.
const DOCUMENTS: [&str; 4] = ["cors", "requestPayment", "tagging", "versioning"];

/// Reads a request's document into memory and verifies its checksums. Other requests are unchanged.
pub(super) async fn checked(request: Request<Body>) -> S3Result<Request<Body>> {
    let complete = request.method() == Method::POST && has(&request, "uploadId");
    if complete && request.body().is_end_stream() {
        // s3s would report the missing document as malformed.
        return Err(s3_error!(InvalidRequest, "You must specify at least one part"));
    }
    let delete = request.method() == Method::POST && has(&request, "delete");
    let put = request.method() == Method::PUT && DOCUMENTS.iter().any(|name| has(&request, name));
    let restore = request.method() == Method::POST && has(&request, "restore");
    if !delete && !put && !restore {
        return Ok(request);
    }
    let Some(received) = request.extensions().get::<Received>().cloned() else { return Ok(request) };
    let claims = Claims::of(&received.headers)?;
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
    if delete && !claims.any() {
        return Err(s3_error!(
            InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        ));
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX).collect().await.map_err(|error| broken(&*error))?.to_bytes();
    let mut digests = Digests::new(claims.algorithm().unwrap_or(Algorithm::DEFAULT));
    digests.update(&body);
    claims.check(&digests.finish(), &received)?;
    Ok(Request::from_parts(head, Body::from(body)))
}

fn has(request: &Request<Body>, name: &str) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    if error.is::<LengthLimitError>() {
        return s3_error!(MaxMessageLengthExceeded, "Your request was too big.");
    }
    body_error(error)
}
