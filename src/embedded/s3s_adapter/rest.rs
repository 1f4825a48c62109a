//! Reads the rest of a request's body before an error response.
//!
//! hyper closes a connection if it has not read the whole request. The operating system then resets the connection, and
//! a caller that is still sending sees a broken connection instead of the response. So the rest of the body is read. If
//! it is not read to its end, the response must say that the connection closes (RFC 9112, 9.6): the bytes that follow
//! are not a request.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, header::EXPECT};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use s3s::{Body, StdError};

/// The most bytes that are read. A caller that sends more sees a broken connection.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The longest time for reading. A caller that takes longer sees a broken connection.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Gets the body back when its current owner drops it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    body: Arc<Mutex<Option<Returned>>>,
    /// Whether the caller waits for `100 Continue` or a response before it sends the body (RFC 9110, 10.1.1).
    waits: bool,
    /// Whether the body is empty.
    empty: bool,
}

impl Rest {
    /// Wraps the request's body so that it comes back when it is dropped.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let (waits, empty) = (waits(request.headers()), request.body().is_end_stream());
        let rest = Self { waits, empty, ..Self::default() };
        let request = request.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::http_body(Lent { body: Some(body), begun: false, lender: Arc::clone(&rest.body) })
        });
        (request, rest)
    }

    /// Whether the caller waits for `100 Continue` with an empty body, for which hyper never sends it. Some callers
    /// then mistake the response for an interim one, and the next response for the final one, unless the first says
    /// that the connection closes.
    pub(super) fn is_never_told(&self) -> bool {
        self.waits && self.empty
    }

    /// Reads the rest of the body. Returns whether it was read to its end.
    pub(super) async fn read(self) -> bool {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Returned { mut body, begun }) = body else { return true };
        // A caller that waits for `100 Continue` and did not get it sends no body, but possibly its next request.
        if self.waits && !begun {
            return body.is_end_stream();
        }
        tokio::time::timeout(MAX_TIME, read(&mut body)).await.unwrap_or(false)
    }
}

async fn read(body: &mut Body) -> bool {
    let mut left = MAX_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let read = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(read as u64) else { return false };
        left = less;
    }
    true
}

fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// A body, and whether it has been polled. hyper sends `100 Continue` only when the body is polled.
#[derive(Debug)]
struct Returned {
    body: Body,
    begun: bool,
}

struct Lent {
    body: Option<Body>,
    begun: bool,
    lender: Arc<Mutex<Option<Returned>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let begun = self.begun;
        let body = self.body.take().map(|body| Returned { body, begun });
        *self.lender.lock().unwrap_or_else(PoisonError::into_inner) = body;
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.begun = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}
