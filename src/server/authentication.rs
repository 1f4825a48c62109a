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
    authenticated::{Authenticated, Waiting, admitted},
    methods::Methods,
    rejected::{OptionalBody, RejectedOr},
};
use crate::api::{Admission, Admittance};

/// The package whose methods require a token.
pub(super) const OURS: &str = "longshore.";

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
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible> + Clone,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = Authenticated<S, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let AuthenticationLayer { admission, methods } = &self.layer;
        let (mut head, body) = request.into_parts();
        let needed = methods.label(head.uri.path()).starts_with(OURS);
        let mut is_admitted = false;
        if needed {
            match admission.try_authenticate(&head.headers, &mut head.extensions) {
                Admittance::Admitted => is_admitted = true,
                Admittance::Rejected(status) => {
                    return Authenticated::Known(RejectedOr::rejected(status.into_http()));
                }
                Admittance::Waiting(wanted) => {
                    // The clone gets ready in place of `self.inner`, which may be called again only after that.
                    let clone = self.inner.clone();
                    let inner = std::mem::replace(&mut self.inner, clone);
                    let request = Request::from_parts(head, body);
                    let waiting = Waiting::new(inner, admission.clone(), request, wanted);
                    return Authenticated::Waiting(Box::new(waiting));
                }
            }
        } else if head.headers.contains_key(AUTHORIZATION) {
            is_admitted = admission.authenticate(&head.headers, &mut head.extensions).is_ok();
        }
        let request = Request::from_parts(head, body);
        if is_admitted {
            if needed {
                Admission::count(request.extensions());
            }
            admitted(&request);
        }
        Authenticated::Known(RejectedOr::Passed(self.inner.call(request)))
    }
}
