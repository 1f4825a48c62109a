//! Identifies the caller and the tenant by the request's metadata, before any message is read.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::Body;
use tower::{Layer, Service};

use super::{
    connection::CallMark,
    methods::Methods,
    rejected::{OptionalBody, RejectedOr},
};
use crate::api::Admission;

/// The package whose methods require a token.
const OURS: &str = "longshore.";

/// Rejects calls without a valid token, and calls for a tenant that the caller may not act for.
///
/// Health and reflection need no token, but without one their messages must be small. Unknown methods need none either,
/// since their messages are never read.
#[derive(Debug, Clone)]
pub(super) struct AuthenticationLayer {
    pub(super) admission: Admission,
    pub(super) methods: Methods,
}

impl<S> Layer<S> for AuthenticationLayer {
    type Service = AuthenticationService<S>;

    fn layer(&self, inner: S) -> AuthenticationService<S> {
        AuthenticationService { inner, layer: self.clone() }
    }
}

/// The service that [`AuthenticationLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct AuthenticationService<S> {
    inner: S,
    layer: AuthenticationLayer,
}

impl<S, Q, B> Service<Request<Q>> for AuthenticationService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = RejectedOr<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let AuthenticationLayer { admission, methods } = &self.layer;
        let (mut head, body) = request.into_parts();
        let needed = methods.label(head.uri.path()).starts_with(OURS);
        if needed || head.headers.contains_key(AUTHORIZATION) {
            let authenticated = admission.authenticate(&head.headers, &mut head.extensions);
            match authenticated {
                Err(status) if needed => return RejectedOr::rejected(status.into_http()),
                Err(_) => {}
                Ok(()) => {
                    if let Some(mark) = head.extensions.get::<CallMark>() {
                        mark.admit();
                    }
                }
            }
        }
        RejectedOr::Passed(self.inner.call(Request::from_parts(head, body)))
    }
}
