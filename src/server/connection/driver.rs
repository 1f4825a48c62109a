//! The task of a connection: reads frames, starts calls, and manages the connection's timers and windows.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    server::{Connection, SendResponse},
};
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower::Service;

use super::{
    Connections, End, Peer,
    admitted::AdmittedCalls,
    call::{self, Respond},
    ended_by,
    metered::Meter,
    request_body::RequestBody,
    timers::{Action, Timers},
    unsent::Piece,
};
use crate::server::tls::PeerCertificate;

/// The prefix of health and reflection. Their streams end when the shutdown begins, so that they do not use up the
/// grace period of the other calls.
const STANDARD_SERVICES: &str = "/grpc.";

/// How many times the handshake timeout a caller may leave a window change unacknowledged while it is queued behind
/// bytes that the caller has not read.
const BLOCKED_FACTOR: u32 = 6;

/// Serves a connection. Resolves when the connection has ended, with the reason if the server ended it.
pub(super) struct Driver<S, T> {
    shared: Connections<S>,
    connection: Connection<T, Piece>,
    peer: Peer,
    meter: Arc<Meter>,
    timers: Timers,
    pings: Option<PingPong>,
    /// The stream window that the server last announced.
    window: u32,
    /// When the server announced it.
    window_announced_at: Instant,
    /// By when the caller must acknowledge it.
    ack_due: Instant,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    calls: JoinSet<()>,
    /// The admitted calls. Other calls do not keep the connection open when connections are scarce.
    admitted: AdmittedCalls,
    certificate: Option<PeerCertificate>,
}

impl<S, T, B> Driver<S, T>
where
    S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Unpin + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        shared: Connections<S>,
        mut connection: Connection<T, Piece>,
        meter: Arc<Meter>,
        peer: Peer,
        window: u32,
        certificate: Option<PeerCertificate>,
    ) -> Self {
        // A child token: waiting on it takes no lock that other connections share.
        let stop = Some(Box::pin(shared.stop.child_token().cancelled_owned()));
        let mut timers = Timers::new(shared.settings.clone(), meter.began());
        if let Some(certificate) = &peer.certificate {
            timers.expire_certificate(certificate.not_after());
        }
        let patience = shared.settings.handshake_timeout;
        Self {
            pings: connection.ping_pong(),
            shared,
            connection,
            peer,
            meter,
            timers,
            window,
            window_announced_at: Instant::now(),
            // The first SETTINGS are not acknowledged yet.
            ack_due: Instant::now() + patience,
            stop,
            calls: JoinSet::new(),
            admitted: AdmittedCalls::default(),
            certificate,
        }
    }

    /// Accepts calls. Ready when the HTTP/2 connection has ended.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            match ready!(self.connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return Poll::Ready(self.timers.end().or_else(|| ended_by(&error))),
                None => return Poll::Ready(self.timers.end()),
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        let stream = respond.stream_id().as_u32();
        let stop = request.uri().path().starts_with(STANDARD_SERVICES).then_some(&self.shared.stop);
        let mut request = request.map(|body| {
            let body = RequestBody::new(body, stream, Arc::clone(&self.meter));
            tonic::body::Body::new(if let Some(stop) = stop { body.until(stop) } else { body })
        });
        let mark = self.admitted.call();
        request.extensions_mut().insert(mark.clone());
        request.extensions_mut().insert(self.peer.clone());
        let respond = Respond { stream: respond, unsent: Arc::clone(&self.meter.unsent) };
        // Boxed, because spawning moves the future several times.
        let call = Box::pin(call::serve(self.shared.service.clone(), request, respond, stop.cloned()));
        self.calls.spawn(async move {
            // An error means that the caller is gone, which the service's layers have logged.
            let _ = call.await;
            drop(mark);
        });
    }

    /// Announces the stream window that the connection should have, if it is smaller or at least twice as large, and
    /// closes the connection if the caller does not acknowledge a smaller one in time. `h2` accepts a change only after
    /// the caller has acknowledged the last one. Returns whether `h2` has to be polled again.
    fn adjust_window(&mut self) -> bool {
        let patience = self.shared.settings.handshake_timeout;
        // While the server does not read the connection, it cannot see that the caller has acknowledged the window.
        if self.meter.is_paused() {
            self.ack_due = Instant::now() + patience;
        }
        let wanted = self.meter.unread.window();
        // Shrink immediately, but grow only if the window at least doubles, which is worth a frame.
        if wanted >= self.window && wanted / 2 < self.window {
            return false;
        }
        if self.connection.set_initial_window_size(wanted).is_ok() {
            self.window = wanted;
            self.window_announced_at = Instant::now();
            self.ack_due = self.window_announced_at + patience;
            return true;
        }
        // The last announced change is not acknowledged yet. The caller cannot acknowledge it before it has read the
        // bytes that were sent earlier.
        let now = Instant::now();
        let blocked = self.meter.blocked_since().is_some()
            && now < self.window_announced_at + patience * BLOCKED_FACTOR;
        if blocked {
            self.ack_due = now + patience;
        }
        // Smaller windows do not bind a caller that does not acknowledge them, so its connection is closed.
        let overdue = now > self.ack_due;
        if overdue && wanted < self.window && self.timers.end() != Some(End::Handshake) {
            self.close(Reason::SETTINGS_TIMEOUT, End::Handshake);
            return true;
        }
        false
    }

    /// Enforces the connection's limits. Returns whether `h2` has to be polled again to carry out a decision.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.meter.is_flooded() && self.timers.end() != Some(End::Flood) {
            self.close(Reason::ENHANCE_YOUR_CALM, End::Flood);
            return Ok(true);
        }
        if self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(cx).is_ready()) {
            self.stop = None;
            self.connection.graceful_shutdown();
            self.timers.went_away(End::Shutdown);
            return Ok(true);
        }
        if self.certificate.as_mut().is_some_and(|certificate| certificate.poll_distrusted(cx).is_ready()) {
            tracing::info!(peer = %self.peer.address, "the client certificate of a connection is no longer valid");
            self.connection.graceful_shutdown();
            self.timers.went_away(End::Certificate);
            return Ok(true);
        }
        let crowded = self.shared.limit.is_nearly_reached();
        self.timers.set_has_calls(if crowded { self.admitted.count() > 0 } else { !self.calls.is_empty() });
        match self.timers.poll(cx, &self.meter, crowded) {
            Action::Wait => return Ok(false),
            Action::Ping => self.ping(),
            Action::GoAway(end) => {
                self.connection.graceful_shutdown();
                self.timers.went_away(end);
            }
            Action::Close(end @ (End::HeaderBlock | End::Frame | End::Handshake))
                if self.timers.end() != Some(end) =>
            {
                self.close(Reason::ENHANCE_YOUR_CALM, end);
            }
            Action::Close(end) => return Err(end),
        }
        Ok(true)
    }

    fn close(&mut self, reason: Reason, end: End) {
        self.connection.abrupt_shutdown(reason);
        self.timers.closing(end);
    }

    fn ping(&mut self) {
        if let Some(pings) = &mut self.pings {
            // Fails while the last PING is unanswered.
            let _ = pings.send_ping(Ping::opaque());
        }
    }
}

impl<S, T, B> Future for Driver<S, T>
where
    S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Unpin + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Option<End>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let this = &mut *self;
        loop {
            this.meter.forget_blocked();
            if let Poll::Ready(end) = this.poll_calls(cx) {
                return Poll::Ready(end);
            }
            // If a write has blocked, `h2` may not have handled all frames that have arrived. It will be polled again.
            let handled = !this.meter.was_blocked();
            this.meter.unread.drop_early(handled);
            if handled && this.meter.take_acknowledged() {
                this.meter.window_updates.send();
            }
            while let Poll::Ready(Some(_)) = this.calls.poll_join_next(cx) {}
            if let Some(pings) = &mut this.pings {
                let _ = pings.poll_pong(cx);
            }
            let adjusted = this.adjust_window();
            match this.poll_limits(cx) {
                Ok(decided) if decided || adjusted => {}
                Ok(_) => return Poll::Pending,
                Err(end) => return Poll::Ready(Some(end)),
            }
        }
    }
}
