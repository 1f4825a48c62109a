//! What is left of a request's body when its answer is an error.
//!
//! hyper closes a connection of whose request it has not read all. The operating system then resets it, and
//! a caller that is still sending sees a broken connection instead of the answer. So the rest is read. Where
//! it is not, the answer has to say that the connection ends (RFC 9112, 9.6): its next bytes are no request.

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

/// A caller that has more than this to send has to live with a broken connection.
const MOST: u64 = 64 * 1024 * 1024;

/// A caller that takes longer to send it has to live with the same.
const LONGEST: Duration = Duration::from_secs(10);

/// Gets the body back from whoever drops it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    body: Arc<Mutex<Option<Returned>>>,
    /// The caller sends nothing before it is told to, or has an answer (RFC 9110, 10.1.1).
    waits: bool,
    /// There is nothing to send.
    empty: bool,
}

impl Rest {
    /// The request, whose body comes back when it is dropped.
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

    /// Whether the caller waits to be told to send nothing, which hyper does not do. Some callers take the answer for
    /// an interim one, and the next one for its own, unless it says that the connection ends.
    pub(super) fn is_never_told(&self) -> bool {
        self.waits && self.empty
    }

    /// Reads the rest, and says whether that was all of it.
    pub(super) async fn read(self) -> bool {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Returned { mut body, begun }) = body else { return true };
        // Whoever waits to be told and has not been sends nothing, or a next request.
        if self.waits && !begun {
            return body.is_end_stream();
        }
        tokio::time::timeout(LONGEST, read(&mut body)).await.unwrap_or(false)
    }
}

async fn read(body: &mut Body) -> bool {
    let mut left = MOST;
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

/// A body, and whether anybody has asked it for bytes: only then is a caller that waits told to send them.
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
