//! The response of a layer that rejects a call or passes it on, at once or after a wait.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

/// The response of the inner service, or a rejection, once it is decided which.
pub(super) enum Decision<F> {
    Waiting(BoxFuture<'static, RejectedOr<F>>),
    Made(RejectedOr<F>),
}

impl<F> Decision<F> {
    /// The call was passed on: the inner service returned this future.
    pub(super) fn passed(response: F) -> Self {
        Self::Made(RejectedOr::Passed(response))
    }

    pub(super) fn rejected(response: Response<()>) -> Self {
        Self::Made(RejectedOr::rejected(response))
    }

    /// Passes the request that `wait` returns on to `inner`, or rejects the call with its error. Until then, the body of
    /// the request is not polled, so only as much of it as fits into HTTP/2's window is in memory. Dropping the
    /// decision drops `wait`.
    pub(super) fn after<S, Q>(
        wait: impl Future<Output = Result<Request<Q>, Response<()>>> + Send + 'static,
        mut inner: S,
    ) -> Self
    where
        S: Service<Request<Q>, Error = Infallible, Future = F> + Send + 'static,
        Q: Send + 'static,
        F: Send,
    {
        Self::Waiting(Box::pin(async move {
            match wait.await {
                Ok(request) => {
                    let Ok(()) = poll_fn(|cx| inner.poll_ready(cx)).await;
                    RejectedOr::Passed(inner.call(request))
                }
                Err(response) => RejectedOr::rejected(response),
            }
        }))
    }
}

impl<F> fmt::Debug for Decision<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Made(_) => "Made",
        })
    }
}

impl<F, B> Future for Decision<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<OptionalBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Waiting(waiting) => {
                    let made = ready!(waiting.as_mut().poll(cx));
                    *self = Self::Made(made);
                }
                Self::Made(call) => return Pin::new(call).poll(cx),
            }
        }
    }
}

/// The response of the inner service, or a rejection.
#[derive(Debug)]
pub(super) enum RejectedOr<F> {
    /// A response without a body; `None` after it has been returned.
    Rejected(Option<Box<Response<()>>>),
    /// The call was passed on.
    Passed(F),
}

impl<F> RejectedOr<F> {
    pub(super) fn rejected(response: Response<()>) -> Self {
        Self::Rejected(Some(Box::new(response)))
    }
}

impl<F, B> Future for RejectedOr<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<OptionalBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match &mut *self {
            Self::Rejected(response) => response
                .take()
                .map_or_else(Response::default, |response| response.map(|()| OptionalBody(None))),
            Self::Passed(inner) => {
                let Ok(response) = ready!(Pin::new(inner).poll(cx));
                response.map(|body| OptionalBody(Some(body)))
            }
        }))
    }
}

/// A response body, or none.
#[derive(Debug)]
pub(super) struct OptionalBody<B>(Option<B>);

impl<B> Default for OptionalBody<B> {
    fn default() -> Self {
        Self(None)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for OptionalBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
