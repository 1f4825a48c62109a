//! Keeps calls within the limits of the process, of their tenant and of their caller, before their messages are read.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tonic::Status;
use tower::{Layer, Service};

use super::{
    authentication::OURS,
    decision::{Decision, OptionalBody},
    methods::Methods,
};
use crate::api::within_limits;

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
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Unpin + Send,
    Q: Send + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = Decision<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let path = request.uri().path();
        if !self.layer.methods.label(path).starts_with(OURS) {
            return Decision::passed(self.inner.call(request));
        }
        match within_limits(path, request.extensions()) {
            None => Decision::passed(self.inner.call(request)),
            Some(waiting) => {
                let admitted = async move {
                    waiting.await.map_err(Status::into_http)?;
                    Ok(request)
                };
                Decision::after(admitted, self.inner.clone())
            }
        }
    }
}
