//! Applies the caller's deadline to the whole call, and ends all calls at shutdown.
//!
//! While the caller does not read, flow control keeps the response body from being polled. The connection then enforces
//! the same bounds ([`Stalled`]), and polls the body when one of them is reached.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tower::{Layer, Service};

use super::connection::{Stalled, StalledEnd};
use crate::api::{CallContext, CallFacts, status};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Bounds every call by its deadline and by `cut`.
#[derive(Debug, Clone)]
pub(super) struct DeadlineLayer {
    /// Ends every call with UNAVAILABLE when cancelled.
    pub(super) cut: CancellationToken,
    /// How long a caller may read nothing of the response while other calls wait for memory that its tenant could free.
    pub(super) idle_timeout: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, layer: self.clone() }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct DeadlineService<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S, Q, B> Service<Request<Q>> for DeadlineService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<DeadlineBody<B>>;
    type Error = Infallible;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let context = request.extensions_mut().get_mut::<CallContext>();
        let facts = context.as_ref().map(|context| Arc::clone(&context.facts));
        let request_id = context.map_or_else(|| Arc::from(""), |context| Arc::clone(&context.request_id));
        // Removed, so that no inner service starts a timer for it.
        let timeout = request.headers_mut().remove(GRPC_TIMEOUT).as_ref().map(parse);
        let deadline = match timeout {
            None => None,
            // A deadline beyond the clock's range means no deadline.
            Some(Some(timeout)) => Instant::now().checked_add(timeout),
            Some(None) => return DeadlineFuture::refused(malformed(&request_id)),
        };
        if let Some(context) = request.extensions_mut().get_mut::<CallContext>() {
            context.deadline = deadline.map(Instant::into_std);
        }
        let bounds = Bounds {
            deadline: deadline.map(|at| (at, Box::pin(sleep_until(at)))),
            cut: self.layer.cut.clone(),
            until_cut: None,
            stalled: Arc::default(),
            request_id,
        };
        let idle = facts.map(|facts| (facts, self.layer.idle_timeout));
        DeadlineFuture { state: State::Running { inner: self.inner.call(request), bounds }, idle }
    }
}

fn malformed(request_id: &str) -> Status {
    let text = "must be 1 to 8 digits followed by a unit: H, M, S, m, u or n";
    status::invalid_field(GRPC_TIMEOUT, text, request_id)
}

/// Parses `TimeoutValue TimeoutUnit` of the gRPC over HTTP/2 specification; `None` if it is malformed.
fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// What can end a call from outside.
#[derive(Debug)]
struct Bounds {
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
    cut: CancellationToken,
    /// Created when the call first has to wait: the bodies of most small calls never do.
    until_cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Set by the connection if the call has to end while its caller does not read.
    stalled: Arc<OnceLock<StalledEnd>>,
    request_id: Arc<str>,
}

impl Bounds {
    /// The status of a call that has already reached a bound. This check is cheap. It is for bodies that are never
    /// pending: their timers are never polled.
    fn over(&self) -> Option<Status> {
        match self.stalled.get() {
            None => {}
            Some(StalledEnd::Deadline) => return Some(status::deadline_exceeded(&self.request_id)),
            Some(StalledEnd::Cut) => return Some(status::shutting_down(&self.request_id)),
            Some(StalledEnd::Idle) => return Some(status::read_idle(&self.request_id)),
        }
        let (deadline, _) = self.deadline.as_ref()?;
        (Instant::now() >= *deadline).then(|| status::deadline_exceeded(&self.request_id))
    }

    /// The same bounds, for the time when the caller does not read.
    fn stalled(&self, idle: Option<(Arc<CallFacts>, Duration)>) -> Stalled {
        Stalled {
            deadline: self.deadline.as_ref().map(|(at, _)| *at),
            cut: self.cut.clone(),
            idle,
            end: Arc::clone(&self.stalled),
        }
    }

    /// Polls the bounds of a call that waits. Ready when one is reached.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(status) = self.over() {
            return Poll::Ready(status);
        }
        if let Some((_, sleep)) = &mut self.deadline
            && sleep.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(status::deadline_exceeded(&self.request_id));
        }
        let cut = &self.cut;
        let until_cut = self.until_cut.get_or_insert_with(|| Box::pin(cut.clone().cancelled_owned()));
        until_cut.as_mut().poll(cx).map(|()| status::shutting_down(&self.request_id))
    }
}

/// A pending response, or a rejection.
#[derive(Debug)]
pub(super) struct DeadlineFuture<F> {
    state: State<F>,
    idle: Option<(Arc<CallFacts>, Duration)>,
}

#[derive(Debug)]
enum State<F> {
    Running { inner: F, bounds: Bounds },
    Refused(Option<Box<Status>>),
}

impl<F> DeadlineFuture<F> {
    fn refused(status: Status) -> Self {
        Self { state: State::Refused(Some(Box::new(status))), idle: None }
    }
}

impl<F, B> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<DeadlineBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let status = match &mut self.state {
            State::Running { inner, bounds } => match Pin::new(inner).poll(cx) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(self.bound(response))),
                Poll::Pending => ready!(bounds.poll_expired(cx)),
            },
            State::Refused(status) => status.take().map_or_else(|| Status::unknown(""), |status| *status),
        };
        // Drops the inner future, which cancels the call's work.
        self.state = State::Refused(None);
        Poll::Ready(Ok(status.into_http::<()>().map(|()| DeadlineBody::default())))
    }
}

impl<F> DeadlineFuture<F> {
    fn bound<B>(&mut self, mut response: Response<B>) -> Response<DeadlineBody<B>> {
        match std::mem::replace(&mut self.state, State::Refused(None)) {
            State::Running { bounds, .. } => {
                response.extensions_mut().insert(bounds.stalled(self.idle.take()));
                response.map(|inner| DeadlineBody { running: Some((inner, bounds)) })
            }
            State::Refused(_) => response.map(|_| DeadlineBody::default()),
        }
    }
}

/// A response body that ends with trailers when the call reaches a bound.
#[derive(Debug)]
pub(super) struct DeadlineBody<B> {
    /// `None` after the trailers.
    running: Option<(B, Bounds)>,
}

impl<B> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self { running: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for DeadlineBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some((inner, bounds)) = &mut self.running else { return Poll::Ready(None) };
        let status = match bounds.over() {
            // The body has already ended: do not fail it because it is polled late.
            Some(_) if inner.is_end_stream() => return Poll::Ready(None),
            Some(status) => status,
            None => match Pin::new(inner).poll_frame(cx) {
                Poll::Pending => ready!(bounds.poll_expired(cx)),
                frame @ Poll::Ready(_) => return frame,
            },
        };
        self.running = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.running.as_ref().is_none_or(|(inner, _)| inner.is_end_stream())
    }

    /// Never exact, since the deadline may end the body early.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Longshore's own statuses have no text that a header cannot carry. Without a status, the caller would treat the
    // call as UNKNOWN.
    let _ = status.add_header(&mut trailers);
    trailers
}
