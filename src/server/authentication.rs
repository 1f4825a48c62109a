//! Identifies the caller and the tenant by the request's metadata, before any message is read.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::Body;
use tokio::sync::Semaphore;
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
    admission: Admission,
    methods: Methods,
    /// Permits of calls that wait until their tokens can be verified.
    waiting: Arc<Semaphore>,
}

/// How many calls may wait until their tokens can be verified; further ones are rejected at once. Each holds up to
/// 16 KiB of metadata, and anyone can make such calls while the keys of an issuer cannot be read.
const MAX_WAITING: usize = 1_000;

impl AuthenticationLayer {
    pub(super) fn new(admission: Admission, methods: Methods) -> Self {
        Self { admission, methods, waiting: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
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
        let AuthenticationLayer { admission, methods, waiting } = &self.layer;
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
                    if let Ok(place) = Arc::clone(waiting).try_acquire_owned() {
                        // The clone gets ready in place of `self.inner`, which may be called again only after that.
                        let clone = self.inner.clone();
                        let inner = std::mem::replace(&mut self.inner, clone);
                        let request = Request::from_parts(head, body);
                        let waiting = Waiting::new(inner, admission.clone(), request, wanted, place);
                        return Authenticated::Waiting(Box::new(waiting));
                    }
                    match admission.authenticate(&head.headers, &mut head.extensions) {
                        Ok(()) => is_admitted = true,
                        Err(status) => {
                            return Authenticated::Known(RejectedOr::rejected(status.into_http()));
                        }
                    }
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
