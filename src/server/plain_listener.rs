//! The listeners for probes and Prometheus, and for operators. Each keeps few connections, none of them for long, and always accepts another.

use std::{
    collections::VecDeque, convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{HEADER_LIST, is_about_certificate},
    listeners::Listener,
    throttled::Throttled,
    tls::{LiveTls, PeerCertificate},
};

/// Beyond this number of connections, the oldest is closed. A probe needs a connection for a moment, and each
/// Prometheus server needs one.
const MAX_CONNECTIONS: usize = 128;

/// How long a connection may take to send a request, and how long it may be idle before the next one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);

/// The maximum lifetime of a connection, even of one that watches health.
const MAX_AGE: Duration = Duration::from_hours(1);

/// The HTTP/2 flow-control window of a connection and of each of its streams, in bytes.
const WINDOW: u32 = 64 * 1024;

/// How long a connection may take to reveal its HTTP version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a silent HTTP/2 connection gets a PING, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The HTTP versions that a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// HTTP/1.1 and HTTP/2.
    All,
    /// Only HTTP/2. Browsers do not use it without TLS, so that no web page can reach a listener on loopback, not even
    /// under a name that resolves to it (DNS rebinding).
    Http2,
}

/// Serves `router`, with TLS if there is a certificate, for as long as the future is polled.
pub(super) async fn serve(
    mut listener: Listener,
    router: Router,
    tls: Option<LiveTls>,
    versions: Versions,
) -> Infallible {
    let (mut open, mut serving) = (VecDeque::new(), JoinSet::new());
    let builder = Arc::new(builder(versions));
    loop {
        tokio::select! {
            (stream, peer) = listener.next() => {
                let (keep, closed) = oneshot::channel::<Infallible>();
                let (builder, router) = (Arc::clone(&builder), router.clone());
                serving.spawn(connection(builder, (stream, peer), tls.clone(), router, closed));
                open.push_back(keep);
                open.retain(|keep: &oneshot::Sender<_>| !keep.is_closed());
                if open.len() > MAX_CONNECTIONS {
                    // Dropping the sender closes its connection.
                    open.pop_front();
                }
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

fn builder(versions: Versions) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if versions == Versions::Http2 { builder.http2_only() } else { builder };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_concurrent_streams(16);
    builder
}

async fn connection(
    builder: Arc<Builder<TokioExecutor>>,
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<LiveTls>,
    router: Router,
    closed: oneshot::Receiver<Infallible>,
) {
    let served = async {
        if let Some(tls) = tls {
            return with_tls(&builder, stream, peer, &tls, router).await;
        }
        let service = TowerToHyperService::new(router);
        // The limits of HTTP/1.1 and of HTTP/2 differ, and apply only once the version is known.
        if let Ok(Ok(())) = timeout(VERSION_TIMEOUT, has_version(&stream)).await {
            let (read, write) = stream.into_split();
            let stream = TokioIo::new(tokio::io::join(Throttled::new(read), write));
            // A probe may close its connection at any time.
            let _ = builder.serve_connection(stream, service).await;
        }
    };
    tokio::select! {
        () = served => {}
        _ = closed => {}
        () = sleep(MAX_AGE) => {}
    }
}

/// Serves a connection with TLS. It gets GOAWAY when the client's certificate is no longer valid.
async fn with_tls(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: &LiveTls,
    router: Router,
) {
    let acceptance = tls.acceptance();
    let accepting = TlsAcceptor::from(Arc::clone(&acceptance.config)).accept(stream);
    let stream = match timeout(VERSION_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_about_certificate(&error) => {
            tracing::info!(%peer, %error, "a client certificate was refused");
            return;
        }
        Ok(Err(_)) | Err(_) => return,
    };
    let certificate = match PeerCertificate::new(tls, acceptance, stream.get_ref().1.peer_certificates()) {
        Ok(certificate) => certificate,
        Err(error) => {
            tracing::info!(%peer, %error, "a client certificate was refused");
            return;
        }
    };
    let router = match &certificate {
        Some(certificate) => router.layer(Extension(Arc::clone(certificate.shared()))),
        None => router,
    };
    let (read, write) = tokio::io::split(stream);
    let stream = TokioIo::new(tokio::io::join(Throttled::new(read), write));
    let mut serving = pin!(builder.serve_connection(stream, TowerToHyperService::new(router)));
    let Some(certificate) = certificate else {
        let _ = serving.await;
        return;
    };
    tokio::select! {
        _ = serving.as_mut() => return,
        () = certificate.until_invalid() => {
            tracing::info!(%peer, "the client certificate of a connection is no longer valid");
            serving.as_mut().graceful_shutdown();
        }
    }
    let _ = serving.await;
}

/// Waits until the first bytes tell HTTP/1.1 from HTTP/2, without consuming them.
async fn has_version(stream: &TcpStream) -> io::Result<()> {
    /// How long to wait before checking an incomplete preface again. Few connections send a preface in pieces.
    const RECHECK: Duration = Duration::from_millis(50);
    let mut first = [0; PREFACE.len()];
    loop {
        let first = match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => &first[..count],
        };
        if first.len() == PREFACE.len() || !PREFACE.starts_with(first) {
            return Ok(());
        }
        sleep(RECHECK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::Instant,
    };

    use super::*;
    use crate::server::listeners::bind;

    #[tokio::test]
    async fn idle_connections_are_closed_to_serve_a_probe() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address();
        let mut serving = JoinSet::new();
        serving.spawn(serve(
            listener,
            Router::new().route("/livez", get(async || "ok")),
            None,
            Versions::All,
        ));

        let mut silent = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0, "the oldest was closed");
    }

    #[tokio::test]
    async fn http_1_gets_no_answer_where_only_http_2_is_accepted() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address();
        let mut serving = JoinSet::new();
        let (handled, mut was_handled) = tokio::sync::mpsc::channel(1);
        let router = Router::new().fallback(async move || handled.try_send(()).unwrap());
        serving.spawn(serve(listener, router, None, Versions::Http2));

        let mut page = TcpStream::connect(address).await.unwrap();
        let call = "POST /longshore.v1.AdminService/ReloadTenants HTTP/1.1\r\nhost: rebound.example:9091\r\n\
                    content-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
        page.write_all(call.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The connection may be reset.
        let _ = page.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1"), "{}", answer.escape_ascii());
        assert!(was_handled.try_recv().is_err(), "the request reaches no handler");

        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        serving.spawn(async move {
            let _ = connection.await;
            std::future::pending().await
        });
        let request = http::Request::get("http://x/").body(String::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        assert!(was_handled.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_incomplete_preface_is_closed() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Router::new(), None, Versions::All));
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(first).await.unwrap();
            // The connection is reset if the server has not read everything that was sent.
            assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
            assert!(begun.elapsed() < 2 * VERSION_TIMEOUT);
        }
    }
}
