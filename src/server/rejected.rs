//! The response of a layer that either rejects a call or passes it on.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

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
