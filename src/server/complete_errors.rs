//! Adds details to the errors that tonic produces itself: unknown methods, and messages that are too large or cannot be
//! decoded.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::access::code;
use crate::api::{CallContext, status};

/// The prefix of gRPC's own services, health and reflection. Their contracts define their statuses (NOT_FOUND for a
/// service that health does not know), without details.
const STANDARD_SERVICES: &str = "/grpc.";

/// Adds details to statuses that have none, in headers and in trailers.
#[derive(Debug, Clone, Copy)]
pub(super) struct CompleteErrorsLayer;

impl<S> Layer<S> for CompleteErrorsLayer {
    type Service = CompleteErrors<S>;

    fn layer(&self, inner: S) -> CompleteErrors<S> {
        CompleteErrors { inner }
    }
}

/// The service that [`CompleteErrorsLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct CompleteErrors<S> {
    inner: S,
}

impl<S, Q, B> Service<Request<Q>> for CompleteErrors<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<CompleteBody<B>>;
    type Error = Infallible;
    type Future = CompleteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let ours = !request.uri().path().starts_with(STANDARD_SERVICES);
        let context = request.extensions().get::<CallContext>().filter(|_| ours);
        let context = context.cloned();
        CompleteFuture { inner: self.inner.call(request), context }
    }
}

/// A pending response.
#[derive(Debug)]
pub(super) struct CompleteFuture<F> {
    inner: F,
    /// `None` if the status is left unchanged.
    context: Option<CallContext>,
}

impl<F, B> Future for CompleteFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<CompleteBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(Pin::new(&mut self.inner).poll(cx));
        let context = self.context.take();
        if let Some(context) = &context {
            complete(response.headers_mut(), context);
        }
        Poll::Ready(Ok(response.map(|inner| CompleteBody { inner, context })))
    }
}

/// A response body whose trailers get details.
#[derive(Debug)]
pub(super) struct CompleteBody<B> {
    inner: B,
    context: Option<CallContext>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for CompleteBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(context) = &self.context
        {
            complete(trailers, context);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn complete(headers: &mut HeaderMap, context: &CallContext) {
    let complete = matches!(code(headers), None | Some(Code::Ok));
    if complete || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    let Some(bare) = Status::from_header_map(headers) else { return };
    // Has no effect if a handler has already recorded the failure.
    context.facts.fail(status::for_log(&bare));
    // `add_header` overwrites the code and the message, and keeps the other headers. If a header cannot carry the new
    // status, the old one stays.
    let mut completed = headers.clone();
    completed.remove(Status::GRPC_MESSAGE);
    if status::complete(bare, &context.request_id).add_header(&mut completed).is_ok() {
        *headers = completed;
    }
}
