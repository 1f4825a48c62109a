//! Keeps calls within the limits of the process, of their tenant and of their caller, before their messages are read.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};

use super::{
    authentication::OURS,
    methods::Methods,
    rejected::{OptionalBody, RejectedOr},
};
use crate::api::{Waiting, within_limits};

/// Lets a call that is beyond a limit wait, and rejects it if it would wait too long. Health, reflection and unknown
/// methods have no limits, with or without a token.
#[derive(Debug, Clone)]
pub(super) struct LimitsLayer {
    pub(super) methods: Methods,
}

impl<S> Layer<S> for LimitsLayer {
    type Service = LimitsService<S>;

    fn layer(&self, inner: S) -> LimitsService<S> {
        LimitsService { inner, layer: self.clone() }
    }
}

/// The service that [`LimitsLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct LimitsService<S> {
    inner: S,
    layer: LimitsLayer,
}

impl<S, Q, B> Service<Request<Q>> for LimitsService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible> + Clone + Send + Unpin + 'static,
    S::Future: Unpin + Send,
    Q: Send + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = LimitedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let path = request.uri().path();
        if !self.layer.methods.label(path).starts_with(OURS) {
            return LimitedFuture::Begun(RejectedOr::Passed(self.inner.call(request)));
        }
        match within_limits(path, request.extensions()) {
            None => LimitedFuture::Begun(RejectedOr::Passed(self.inner.call(request))),
            // The request's body is not polled until the call may begin, so nothing of it is in memory but what fits
            // into HTTP/2's window.
            Some(waiting) => {
                LimitedFuture::Waiting(Box::pin(begin_later(waiting, self.inner.clone(), request)))
            }
        }
    }
}

async fn begin_later<S, Q>(waiting: Waiting, mut inner: S, request: Request<Q>) -> RejectedOr<S::Future>
where
    S: Service<Request<Q>, Error = Infallible>,
{
    if let Err(status) = waiting.await {
        return RejectedOr::rejected(status.into_http());
    }
    let Ok(()) = poll_fn(|cx| inner.poll_ready(cx)).await;
    RejectedOr::Passed(inner.call(request))
}

/// A call that waits for a limit, or has begun.
pub(super) enum LimitedFuture<F> {
    Waiting(Pin<Box<dyn Future<Output = RejectedOr<F>> + Send>>),
    Begun(RejectedOr<F>),
}

impl<F> fmt::Debug for LimitedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Begun(_) => "Begun",
        })
    }
}

impl<F, B> Future for LimitedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<OptionalBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Waiting(waiting) => {
                    let begun = ready!(waiting.as_mut().poll(cx));
                    *self = Self::Begun(begun);
                }
                Self::Begun(call) => return Pin::new(call).poll(cx),
            }
        }
    }
}
