//! Identifies the caller and the tenant by the request's metadata, before any message is read.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures::future::select_all;
use http::{Extensions, Request, Response, header::AUTHORIZATION};
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tower::{Layer, Service};

use super::{
    connection::CallMark,
    decision::{Decision, OptionalBody},
    methods::Methods,
};
use crate::{
    api::{Admission, Admittance},
    auth::KeysWanted,
};

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
        let AuthenticationLayer { admission, methods, waiting } = &self.layer;
        let (mut head, body) = request.into_parts();
        if !methods.label(head.uri.path()).starts_with(OURS) {
            let is_admitted = head.headers.contains_key(AUTHORIZATION)
                && admission.authenticate(&head.headers, &mut head.extensions).is_ok();
            if is_admitted {
                mark_admitted(&head.extensions);
            }
            return Decision::passed(self.inner.call(Request::from_parts(head, body)));
        }
        let outcome = match admission.try_authenticate(&head.headers, &mut head.extensions) {
            Admittance::Admitted => Ok(()),
            Admittance::Rejected(status) => Err(status),
            Admittance::Waiting(wanted) => match Arc::clone(waiting).try_acquire_owned() {
                Ok(place) => {
                    let request = Request::from_parts(head, body);
                    let identified = identified(admission.clone(), request, wanted, place);
                    return Decision::after(identified, self.inner.clone());
                }
                Err(_) => admission.authenticate(&head.headers, &mut head.extensions),
            },
        };
        match outcome {
            Ok(()) => {
                admit(&head.extensions);
                Decision::passed(self.inner.call(Request::from_parts(head, body)))
            }
            Err(status) => Decision::rejected(status.into_http()),
        }
    }
}

/// Waits until the keys that are `wanted` show whether the caller of the request is admitted. Dropping it ends the wait,
/// but not the request for the keys, which other calls may need too. `_place` is held while the call waits.
async fn identified<Q>(
    admission: Admission,
    request: Request<Q>,
    mut wanted: Vec<KeysWanted>,
    _place: OwnedSemaphorePermit,
) -> Result<Request<Q>, Response<()>> {
    let until = Admission::wait_until(request.extensions());
    let (mut head, body) = request.into_parts();
    loop {
        // Either the first request for keys has ended, or the time has.
        let _ = timeout_at(until.into(), select_all(wanted)).await;
        let admittance = if Instant::now() < until {
            admission.try_authenticate(&head.headers, &mut head.extensions)
        } else {
            admission.authenticate(&head.headers, &mut head.extensions).into()
        };
        match admittance {
            Admittance::Admitted => {
                admit(&head.extensions);
                return Ok(Request::from_parts(head, body));
            }
            Admittance::Rejected(status) => return Err(status.into_http()),
            Admittance::Waiting(more) => wanted = more,
        }
    }
}

/// Counts the call as one of its caller.
fn admit(extensions: &Extensions) {
    Admission::count(extensions);
    mark_admitted(extensions);
}

/// Tells the connection that its call has an admitted caller.
fn mark_admitted(extensions: &Extensions) {
    if let Some(mark) = extensions.get::<CallMark>() {
        mark.admit();
    }
}
