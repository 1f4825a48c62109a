//! A caller's connection, from accept to close: HTTP/2 by `h2`, one task for the connection and one for each call.
//!
//! The connection's window is as large as HTTP/2 allows, so a call that does not read its request blocks only its own
//! stream. The stream windows limit how many bytes callers may send in advance, for the process as a whole
//! ([`unread`]). Buffered response bytes are limited for the process as well ([`unsent`]).

mod admitted;
mod call;
mod driver;
mod end;
mod flood;
mod frames;
mod metered;
mod request_body;
mod stalled;
mod timers;
mod unread;
mod unsent;
mod window_updates;

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::{
    driver::Driver,
    metered::{Meter, Metered},
    unsent::Piece,
};
use super::{
    ConnectionSettings,
    tls::{LiveTls, PeerCertificate},
};
use crate::{api::SpeedRecord, auth::ClientCertificate};
pub(in crate::server) use admitted::CallMark;
pub(in crate::server) use end::End;
pub(in crate::server) use stalled::{Stalled, StalledEnd};
pub(in crate::server) use unread::Unread;
pub(in crate::server) use unsent::Unsent;

/// The largest header list that HTTP/2 accepts. Metadata that exceeds the limit of the services must get past HTTP/2,
/// to be rejected with a gRPC status; without any limit, it would cost memory. `http` supports at most 24,576 names in
/// a header map, which a list of this length cannot have.
pub(super) const HEADER_LIST: u32 = 512 * 1024;

/// The largest frame that the server accepts, in bytes. With HTTP/2's default of 16 KiB, uploads cost up to 50 % more;
/// more than 256 KiB gains nothing.
const LARGEST_FRAME: u32 = 256 * 1024;

/// How many bytes of each response HTTP/2 buffers for the socket, while the process has few such bytes ([`unsent`]).
const SEND_BUFFER: usize = 256 * 1024;

/// The largest possible window (RFC 9113, section 6.9.1).
const WHOLE_WINDOW: u32 = (1 << 31) - 1;

/// How much memory a connection's buffered small frames may cost beyond their bytes. [`unread`] counts that memory too,
/// for the process.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;

/// The caller that a request came from. Each request has it in its extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// How fast earlier uploads on this connection were.
    pub(super) record: SpeedRecord,
    /// The caller's verified certificate, if it has sent one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// What every connection needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections<S> {
    pub(super) service: S,
    pub(super) settings: ConnectionSettings,
    pub(super) tls: Option<LiveTls>,
    pub(super) unread: Unread,
    pub(super) unsent: Unsent,
    pub(super) limit: super::connection_limit::ConnectionLimit,
    /// Sends GOAWAY when cancelled.
    pub(super) stop: CancellationToken,
}

impl<S, B> Connections<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Unpin + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    /// Serves a connection until its caller or one of its limits ends it. Dropping the future closes the connection and
    /// drops its calls. Returns `None` if the caller closed the connection, or if its TLS handshake failed.
    pub(super) async fn serve(
        self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> Option<End> {
        let by = Instant::now() + self.settings.handshake_timeout;
        let Some(tls) = &self.tls else { return self.http2(socket, peer, by, None).await };
        let acceptance = tls.acceptance();
        let accepting = TlsAcceptor::from(Arc::clone(&acceptance.config)).accept(socket);
        match timeout_at(by, accepting).await {
            Ok(Ok(stream)) => {
                match PeerCertificate::new(tls, acceptance, stream.get_ref().1.peer_certificates()) {
                    Ok(certificate) => self.http2(stream, peer, by, certificate).await,
                    Err(error) => Some(refused(peer, &error)),
                }
            }
            Ok(Err(error)) if is_about_certificate(&error) => Some(refused(peer, &error)),
            // Port scans and probes cause these errors, and the operator cannot act on them.
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
            Err(_) => Some(End::Handshake),
        }
    }

    async fn http2<T>(
        self,
        stream: T,
        peer: SocketAddr,
        by: Instant,
        certificate: Option<PeerCertificate>,
    ) -> Option<End>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let meter = Meter::new(self.unread.connection(), self.unsent.connection());
        let max_streams = self.settings.max_concurrent_streams;
        let stream = Metered::new(stream, Arc::clone(&meter), max_streams);
        let window = meter.unread.window();
        let handshake = builder(max_streams, window).handshake::<_, Piece>(stream);
        let connection = match timeout_at(by, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return ended_by(&error),
            Err(_) => return Some(End::Handshake),
        };
        let shared = certificate.as_ref().map(|certificate| Arc::clone(certificate.shared()));
        let peer = Peer { address: peer, record: SpeedRecord::default(), certificate: shared };
        Driver::new(self, connection, meter, peer, window, certificate).await
    }
}

/// Whether the handshake failed because the caller's certificate does not verify.
pub(super) fn is_about_certificate(error: &io::Error) -> bool {
    use rustls::Error::{InvalidCertRevocationList, InvalidCertificate};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(InvalidCertificate(_) | InvalidCertRevocationList(_)))
}

/// Logs that the caller's certificate was refused, which the caller itself may not learn.
fn refused(peer: SocketAddr, error: &dyn fmt::Display) -> End {
    tracing::info!(%peer, %error, "a client certificate was refused");
    End::Certificate
}

fn builder(max_streams: u32, window: u32) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(WHOLE_WINDOW)
        .max_concurrent_streams(max_streams)
        // A caller may cancel all its calls at once.
        .max_pending_accept_reset_streams(max_streams as usize)
        .max_frame_size(LARGEST_FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES);
    builder
}

/// Why HTTP/2 ended the connection; `None` if the caller is gone.
fn ended_by(error: &h2::Error) -> Option<End> {
    if error.is_io() || error.is_remote() || error.get_io().is_some_and(is_gone) {
        return None;
    }
    Some(if error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) { End::Flood } else { End::Protocol })
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
