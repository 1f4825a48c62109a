//! What is left of a request's body when its answer is an error.
//!
//! hyper closes a connection of whose request it has not read all. The operating system then resets it, and
//! a caller that is still sending sees a broken connection instead of the answer. So the rest is read.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, header::EXPECT};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use s3s::{Body, StdError};

/// A caller that has more than this to send has to live with a broken connection.
const MOST: u64 = 64 * 1024 * 1024;

/// Gets the body back from whoever drops it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    body: Arc<Mutex<Option<Body>>>,
    /// The caller sends nothing before it is told to, or has an answer (RFC 9110, 10.1.1).
    waits: bool,
}

impl Rest {
    /// The request, whose body comes back when it is dropped.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let rest = Self { waits: waits(request.headers()), ..Self::default() };
        let request = request.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::http_body(Lent { body: Some(body), lender: Arc::clone(&rest.body) })
        });
        (request, rest)
    }

    pub(super) async fn read(self) {
        if self.waits {
            return;
        }
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = body else { return };
        let mut left = MOST;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(read as u64) else { return };
            left = less;
        }
    }
}

fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

struct Lent {
    body: Option<Body>,
    lender: Arc<Mutex<Option<Body>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = self.body.take();
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
