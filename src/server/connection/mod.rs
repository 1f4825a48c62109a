//! A caller's connection, from its acceptance to its close: HTTP/2 by `h2`, a task for the connection and one for each call.
//!
//! The connection's window is as large as HTTP/2 allows, so a call that does not read its request holds up its own stream
//! only. What streams may send in advance is bounded by their windows, for the process as a whole ([`unread`]).
//! So is what is buffered of responses ([`unsent`]).

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

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

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
use super::ConnectionSettings;
use crate::api::SpeedRecord;
pub(in crate::server) use admitted::CallMark;
pub(in crate::server) use end::End;
pub(in crate::server) use stalled::{Stalled, StalledEnd};
pub(in crate::server) use unread::Unread;
pub(in crate::server) use unsent::Unsent;

/// The largest header list that HTTP/2 takes. Longer metadata than the services take has to get there to be refused with a
/// gRPC status; without a bound it would cost memory. `http` takes a header map of 24,576 names at most, which a list of
/// this length cannot have.
pub(super) const HEADER_LIST: u32 = 512 * 1024;

/// At 16 KiB, HTTP/2's default, uploads cost up to half as much again; above 256 KiB nothing is gained.
const LARGEST_FRAME: u32 = 256 * 1024;

/// How much of each response HTTP/2 buffers for the socket, if the process has few such bytes ([`unsent`]).
const SEND_BUFFER: usize = 256 * 1024;

/// The largest window that there is (RFC 9113, section 6.9.1).
const WHOLE_WINDOW: u32 = (1 << 31) - 1;

/// What buffering many small frames may cost a connection beyond their bytes. [`unread`] counts it too, for the process.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;

/// Whom a request came from, in its extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Of the uploads on this connection.
    pub(super) record: SpeedRecord,
}

/// What every connection needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections<S> {
    pub(super) service: S,
    pub(super) settings: ConnectionSettings,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) unread: Unread,
    pub(super) unsent: Unsent,
    pub(super) limit: super::connection_limit::ConnectionLimit,
    /// Asks callers to go elsewhere.
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
    /// Serves a connection until its caller or one of its limits ends it. Dropped before, it closes the connection and
    /// drops its calls. `None`: the caller closed it, or it was asked to.
    pub(super) async fn serve(
        self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> Option<End> {
        let by = Instant::now() + self.settings.handshake_timeout;
        let Some(tls) = &self.tls else { return self.http2(socket, peer, by).await };
        match timeout_at(by, TlsAcceptor::from(Arc::clone(tls)).accept(socket)).await {
            Ok(Ok(stream)) => self.http2(stream, peer, by).await,
            // Port scans and probes cause these: the operator cannot act on them.
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
            Err(_) => Some(End::Handshake),
        }
    }

    async fn http2<T>(self, stream: T, peer: SocketAddr, by: Instant) -> Option<End>
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
        let peer = Peer { address: peer, record: SpeedRecord::default() };
        Driver::new(self, connection, meter, peer, window).await
    }
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

/// Why HTTP/2 gave the connection up; `None` where the caller is gone.
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
