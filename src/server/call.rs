//! The outermost layer: gives each call a request id and a span, and logs and counts it when it ends.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Code;
use tower::{Layer, Service};
use tracing::Span;

use super::{
    access::{Record, RunningCalls, code},
    connection::Peer,
    methods::Methods,
};
use crate::{
    api::{CallContext, SpeedRecord},
    telemetry::Metrics,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum length of a request id. A longer id is replaced, since every log line of the call repeats it.
const LONGEST_REQUEST_ID: usize = 128;

/// Adds a [`CallContext`] to every request, and a [`Record`] to its response.
#[derive(Debug, Clone)]
pub(super) struct CallLayer {
    pub(super) methods: Methods,
    pub(super) metrics: Metrics,
    pub(super) running: RunningCalls,
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, layer: self.clone() }
    }
}

/// The service that [`CallLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

impl<S, Q, B> Service<Request<Q>> for CallService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<CallBody<B>>;
    type Error = Infallible;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let layer = &self.layer;
        let request_id = request_id(request.headers());
        let method = layer.methods.label(request.uri().path());
        let span = tracing::info_span!(
            target: "longshore::call",
            "call",
            method = &*method,
            request_id = &*request_id
        );
        let (peer, record, certificate) = match request.extensions().get::<Peer>() {
            Some(peer) => (Some(peer.address), peer.record.clone(), peer.certificate.clone()),
            None => (None, SpeedRecord::default(), None),
        };
        let facts = Arc::default();
        let context = CallContext {
            request_id: Arc::clone(&request_id),
            deadline: None,
            record,
            certificate,
            facts: Arc::clone(&facts),
        };
        request.extensions_mut().insert(context);
        let record =
            Record::begin(method, Arc::clone(&request_id), peer, facts, &layer.metrics, &layer.running);
        let inner = span.in_scope(|| self.inner.call(request));
        CallFuture { inner, request_id, told: Some((record, span)) }
    }
}

/// The caller's id if it can be repeated unchanged in a header, a log line and error details; otherwise a random id.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |text: &str| {
        (1..=LONGEST_REQUEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| sane(text)) {
        Some(given) => Arc::from(given),
        None => Arc::from(format!("{:032x}", fastrand::u128(..))),
    }
}

/// A pending response. If it is dropped, the call is logged as CANCELLED.
#[derive(Debug)]
pub(super) struct CallFuture<F> {
    // Declared before `told`, so that everything the call holds is released before the call is logged.
    inner: F,
    request_id: Arc<str>,
    told: Option<(Record, Span)>,
}

impl<F, B> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<CallBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let entered = this.told.as_ref().map(|(_, span)| span.enter());
        let Ok(mut response) = ready!(Pin::new(&mut this.inner).poll(cx));
        drop(entered);
        if let Ok(id) = HeaderValue::from_str(&this.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let mut told = this.told.take();
        // The body of a trailers-only response is never polled.
        if response.body().is_end_stream()
            && let Some((record, _)) = told.take()
        {
            record.end(code(response.headers()).unwrap_or(Code::Unknown));
        }
        Poll::Ready(Ok(response.map(|inner| CallBody { inner, told })))
    }
}

/// A response body that logs the call when it ends. If it is dropped before its end, the call is logged as CANCELLED.
#[derive(Debug)]
pub(super) struct CallBody<B> {
    inner: B,
    told: Option<(Record, Span)>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for CallBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let entered = this.told.as_ref().map(|(_, span)| span.enter());
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        drop(entered);
        let ended_with = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| code(trailers).unwrap_or(Code::Unknown)),
            // Without trailers the caller gets no status, and treats the call as UNKNOWN.
            Some(Err(_)) | None => Some(Code::Unknown),
        };
        if let Some(code) = ended_with
            && let Some((record, _)) = this.told.take()
        {
            record.end(code);
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
