//! S3's errors for a body that breaks off or does not match its headers.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};
use s3s::{Body, S3Error, S3ErrorCode, StdError};

use super::aws_chunks::BadChunks;

/// Converts an error of a request's body stream to S3's error. The error types of s3s's streams are private and have no
/// source, so only their text tells them apart.
pub(in super::super) fn body_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    let text = error.to_string();
    let says = |words: &str| text.contains(words);
    let is = |bad: BadChunks| says(&bad.to_string());
    if is(BadChunks::TooLarge) {
        LARGE_CHUNK.error()
    } else if is(BadChunks::TooSmall) {
        SMALL_CHUNK.error()
    } else if says("SignatureMismatch") {
        SIGNATURE.error()
    } else if says("Sha256Mismatch") {
        DIGEST.error()
    } else if says("Trailer") {
        TRAILER.error()
    } else if is(BadChunks::Malformed) || is(BadChunks::Unfinished) || says("AwsChunkedStreamError") {
        CHUNKS.error()
    } else {
        LENGTH.error()
    }
}

/// An error as S3 words it. s3s need not define its code.
struct Wording {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

/// S3 documents no limit for the size of a chunk, so it has no error code for this.
const LARGE_CHUNK: Wording =
    Wording::bad("InvalidChunkSizeError", "Signed chunks larger than 16 MiB are not supported");
const SMALL_CHUNK: Wording = Wording::bad(
    "InvalidChunkSizeError",
    "Only the last chunk is allowed to have a size less than 8192 bytes",
);
const SIGNATURE: Wording = Wording {
    status: StatusCode::FORBIDDEN,
    code: "SignatureDoesNotMatch",
    message: "The request signature we calculated does not match the signature you provided. Check your key \
              and signing method.",
};
const DIGEST: Wording = Wording::bad(
    "XAmzContentSHA256Mismatch",
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
);
const TRAILER: Wording = Wording::bad(
    "MalformedTrailerError",
    "The request contained trailing data that was not well-formed or did not conform to our published schema.",
);
const CHUNKS: Wording = Wording::bad("IncompleteBody", "The request body terminated unexpectedly");
const LENGTH: Wording = Wording::bad(
    "IncompleteBody",
    "You did not provide the number of bytes specified by the Content-Length HTTP header",
);

impl Wording {
    const fn bad(code: &'static str, message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message }
    }

    fn error(&self) -> S3Error {
        let code = S3ErrorCode::from_bytes(self.code.as_bytes());
        let mut error = S3Error::with_message(code.unwrap_or(S3ErrorCode::InternalError), self.message);
        error.set_status_code(self.status);
        error
    }
}

/// Records the error of a body. s3s discards that error when it reads the body itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    error: Arc<Mutex<Option<S3Error>>>,
}

impl Watched {
    /// Wraps the request's body to record its error.
    pub(super) fn over(request: Request<Body>) -> (Request<Body>, Self) {
        let watched = Self::default();
        let request = request.map(|body| match body.bytes() {
            // s3s looks for bodies that are in memory, so do not wrap them.
            Some(_) => body,
            None => Body::http_body(Watching { body, watched: watched.clone() }),
        });
        (request, watched)
    }

    /// Takes the error of the body, if there was one.
    pub(super) fn error(&self) -> Option<S3Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Watching {
    body: Body,
    watched: Watched,
}

impl http_body::Body for Watching {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Err(error)) = &frame {
            let mut kept = self.watched.error.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(body_error(&**error));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_recognised_by_their_text() {
        let code = |text: String| {
            let error = body_error(&*StdError::from(text));
            assert!(error.message().is_some());
            format!("{} {}", error.status_code().unwrap().as_u16(), error.code().as_str())
        };
        let stream = |what: &str| code(format!("AwsChunkedStreamError: {what}"));
        let chunks = |bad: BadChunks| stream(&format!("Underlying: {bad}"));
        assert_eq!(chunks(BadChunks::TooLarge), "400 InvalidChunkSizeError");
        assert_eq!(chunks(BadChunks::TooSmall), "400 InvalidChunkSizeError");
        assert_eq!(chunks(BadChunks::Malformed), "400 IncompleteBody");
        assert_eq!(chunks(BadChunks::Unfinished), "400 IncompleteBody");
        assert_eq!(stream("SignatureMismatch"), "403 SignatureDoesNotMatch");
        assert_eq!(stream("FormatError"), "400 IncompleteBody");
        assert_eq!(stream("TrailersTooLarge: size 2 exceeds limit 1"), "400 MalformedTrailerError");
        assert_eq!(stream("TooManyTrailerHeaders: count 2 exceeds limit 1"), "400 MalformedTrailerError");
        assert_eq!(code("UploadStreamError: Sha256Mismatch".to_owned()), "400 XAmzContentSHA256Mismatch");
        assert_eq!(code("UploadStreamError: LengthMismatch".to_owned()), "400 IncompleteBody");
        assert_eq!(code("connection reset by peer".to_owned()), "400 IncompleteBody");
    }
}
