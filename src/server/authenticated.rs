//! The response to a call that may have to wait until its caller is known.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body::Body;
use tokio::{sync::OwnedSemaphorePermit, time::timeout_at};
use tower::Service;

use super::{
    connection::CallMark,
    rejected::{OptionalBody, RejectedOr},
};
use crate::{
    api::{Admission, Admittance},
    auth::KeysWanted,
};

/// The response of the inner service, or a rejection, once the caller is known.
pub(super) enum Authenticated<S: Service<Request<Q>>, Q> {
    /// The caller is known, or need not be.
    Known(RejectedOr<S::Future>),
    /// The caller's token cannot be verified yet.
    Waiting(Box<Waiting<S, Q>>),
}

/// A call whose caller is not known yet. Dropping it ends the wait, but not the request for the keys, which other calls
/// may need too.
pub(super) struct Waiting<S, Q> {
    inner: S,
    admission: Admission,
    /// `None` after the call has been passed on.
    request: Option<Request<Q>>,
    wait: BoxFuture<'static, ()>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl<S, Q> Waiting<S, Q> {
    /// `place` is held while the call waits. `inner` gets the request if the keys that are `wanted` show that its caller is admitted.
    pub(super) fn new(
        inner: S,
        admission: Admission,
        request: Request<Q>,
        wanted: Vec<KeysWanted>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let until = Admission::wait_until(request.extensions());
        let wait = first(wanted, until);
        Self { inner, admission, request: Some(request), wait, until, _place: place }
    }

    /// Ready when the caller is known: with the request if it is admitted.
    fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request<Q>, Response<()>>> {
        loop {
            ready!(self.wait.as_mut().poll(cx));
            let Some(request) = self.request.take() else { return Poll::Pending };
            let (mut head, body) = request.into_parts();
            let has_time = Instant::now() < self.until;
            let admittance = if has_time {
                self.admission.try_authenticate(&head.headers, &mut head.extensions)
            } else {
                self.admission.authenticate(&head.headers, &mut head.extensions).into()
            };
            match admittance {
                Admittance::Admitted => return Poll::Ready(Ok(Request::from_parts(head, body))),
                Admittance::Rejected(status) => return Poll::Ready(Err(status.into_http())),
                Admittance::Waiting(wanted) => {
                    self.request = Some(Request::from_parts(head, body));
                    self.wait = first(wanted, self.until);
                }
            }
        }
    }
}

/// Ends when the first of the requests does, or at `until`.
fn first(wanted: Vec<KeysWanted>, until: Instant) -> BoxFuture<'static, ()> {
    let first = futures::future::select_all(wanted);
    timeout_at(until.into(), first).map(drop).boxed()
}

impl<S, Q, B> Future for Authenticated<S, Q>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<OptionalBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Known(known) => return Pin::new(known).poll(cx),
                Self::Waiting(waiting) => {
                    let known = match ready!(waiting.poll_admitted(cx)) {
                        Ok(request) => {
                            Admission::count(request.extensions());
                            admitted(&request);
                            RejectedOr::Passed(waiting.inner.call(request))
                        }
                        Err(response) => RejectedOr::rejected(response),
                    };
                    *self = Self::Known(known);
                }
            }
        }
    }
}

/// Tells the connection that its call has an admitted caller.
pub(super) fn admitted<Q>(request: &Request<Q>) {
    if let Some(mark) = request.extensions().get::<CallMark>() {
        mark.admit();
    }
}
