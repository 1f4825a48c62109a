//! The listener of probes and Prometheus: few connections, none of them for long, and always room for one more.

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc, time::Duration};

use axum::Router;
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

use super::{connection::HEADER_LIST, listeners::Listener, throttled::Throttled};

/// More connections than this close the oldest. A probe needs one for a moment, Prometheus one for each of its servers.
const MOST: usize = 128;

/// How long a connection may take to send a request, and how long it may wait before the next one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a connection is kept at most, also one that watches health.
const LONGEST: Duration = Duration::from_hours(1);

/// How much a connection may send in advance, in bytes.
const WINDOW: u32 = 64 * 1024;

/// How long a connection may take to say which version of HTTP it is.
const OPENING: Duration = Duration::from_secs(10);

/// What a connection over HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a silent connection over HTTP/2 gets a PING, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Serves `router` for as long as the future is polled.
pub(super) async fn serve(mut listener: Listener, router: Router) -> Infallible {
    let (mut open, mut serving) = (VecDeque::new(), JoinSet::new());
    let builder = Arc::new(builder());
    loop {
        tokio::select! {
            (stream, _) = listener.next() => {
                let (keep, closed) = oneshot::channel::<Infallible>();
                serving.spawn(connection(Arc::clone(&builder), stream, router.clone(), closed));
                open.push_back(keep);
                open.retain(|keep: &oneshot::Sender<_>| !keep.is_closed());
                if open.len() > MOST {
                    // Dropped, it ends its connection.
                    open.pop_front();
                }
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
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
    stream: TcpStream,
    router: Router,
    closed: oneshot::Receiver<Infallible>,
) {
    let served = async {
        // Until then nothing tells HTTP/1.1 from HTTP/2, whose limits are not the same.
        if let Ok(Ok(())) = timeout(OPENING, has_version(&stream)).await {
            let (read, write) = stream.into_split();
            let stream = TokioIo::new(tokio::io::join(Throttled::new(read), write));
            // A probe may close its connection at any time.
            let _ = builder.serve_connection(stream, TowerToHyperService::new(router)).await;
        }
    };
    tokio::select! {
        () = served => {}
        _ = closed => {}
        () = sleep(LONGEST) => {}
    }
}

/// Waits until the first bytes tell HTTP/1.1 from HTTP/2, and leaves them where they are.
async fn has_version(stream: &TcpStream) -> io::Result<()> {
    /// Few connections send a preface in pieces: they are looked at again after this time.
    const AGAIN: Duration = Duration::from_millis(50);
    let mut first = [0; PREFACE.len()];
    loop {
        let first = match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => &first[..count],
        };
        if first.len() == PREFACE.len() || !PREFACE.starts_with(first) {
            return Ok(());
        }
        sleep(AGAIN).await;
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
    async fn connections_that_do_nothing_make_room_for_a_probe() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Router::new().route("/livez", get(async || "ok"))));

        let mut silent = Vec::new();
        for _ in 0..2 * MOST {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0, "the oldest was closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_that_does_not_go_on_ends_its_connection() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Router::new()));
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(first).await.unwrap();
            // It is reset where the server has not read what was sent.
            assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
            assert!(begun.elapsed() < 2 * OPENING);
        }
    }
}
