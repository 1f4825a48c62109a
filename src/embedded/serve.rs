//! Accepts connections and passes their requests to the adapter.

use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Wire},
    s3s_adapter::S3sAdapter,
};

/// How long in-flight requests may take after the server has been stopped.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The pause after a failed accept. The only failure that lasts is a full table of open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` is cancelled. Dropping the future closes every connection at once: it owns their tasks.
pub(super) async fn serve(listener: TcpListener, front: S3sAdapter, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(stream, &front, &graceful, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "the embedded S3 server cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Removes connections as they end. With no connections this branch is disabled.
            Some(_) = connections.join_next() => {}
            () = stopping.cancelled() => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(STOP_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("the embedded S3 server stops with requests still in flight");
    }
}

fn connect(
    stream: TcpStream,
    front: &S3sAdapter,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) {
    // S3 clients send the head and the body separately; the response must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = Connection::default();
    let wire = Wire::new(stream, connection.clone());
    let front = front.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (front, connection) = (front.clone(), connection.clone());
        async move { front.answer(request.map(s3s::Body::from), &connection).await }
    });
    // hyper reads at most about 400 KiB of a body ahead of its consumer, and a write polls for more only after it has
    // taken the bytes before. Without a timer, idle connections stay open: the callers are on this machine, and their
    // connection pools should not find connections closed.
    let served = Builder::new(TokioExecutor::new())
        .http1_only()
        .serve_connection(TokioIo::new(wire), service)
        .into_owned();
    let served = graceful.watch(served);
    connections.spawn(async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection to the embedded S3 server broke");
        }
    });
}
