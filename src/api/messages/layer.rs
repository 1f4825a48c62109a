//! The layer that reads the messages of every request.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{
    ENCODING, Messages, Policy,
    body::MessagesBody,
    memory::{Held, Unreserved},
};
use crate::api::{CallContext, Limits, payload};

/// Limits the messages of every call and decompresses them.
#[derive(Debug, Clone)]
pub struct MessagesLayer {
    limits: Limits,
    unreserved: Unreserved,
}

impl MessagesLayer {
    /// A layer with these limits. Create one per process: its clones share one count of bytes.
    pub fn new(limits: Limits) -> Self {
        Self { limits, unreserved: Unreserved::default() }
    }
}

impl<S> Layer<S> for MessagesLayer {
    type Service = MessagesService<S>;

    fn layer(&self, inner: S) -> MessagesService<S> {
        MessagesService { inner, layer: self.clone() }
    }
}

/// The service that [`MessagesLayer`] makes.
#[derive(Debug, Clone)]
pub struct MessagesService<S> {
    inner: S,
    layer: MessagesLayer,
}

impl<S, B> Service<Request<Body>> for MessagesService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = MessagesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let MessagesLayer { limits, unreserved } = &self.layer;
        let policy = Policy::of(&head, *limits, unreserved);
        // The services receive uncompressed messages.
        head.headers.remove(ENCODING);
        let reserved = policy.held.clone();
        let body = if payload::reads_messages(head.uri.path()) {
            head.extensions.insert(policy);
            body
        } else {
            let context = head.extensions.get::<CallContext>().cloned().unwrap_or_default();
            Body::new(MessagesBody::new(Messages::new(body, policy), context))
        };
        MessagesFuture { inner: self.inner.call(Request::from_parts(head, body)), _reserved: reserved }
    }
}

/// The future of a response. It keeps the memory of the request's message reserved, because tonic drops the request's
/// body before it calls the handler.
#[derive(Debug)]
pub struct MessagesFuture<F> {
    inner: F,
    _reserved: Held,
}

impl<F: Future + Unpin> Future for MessagesFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
