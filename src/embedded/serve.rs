//! Accepting connections and handing their requests to S3.

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
    front::Front,
};

/// How long requests under way may take once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long to wait after a failed accept: what fails for long is the table of open files being full.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping`. Dropping the future cuts every connection, since it owns their tasks.
pub(super) async fn serve(listener: TcpListener, front: Front, stopping: CancellationToken) {
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
            // Ended ones are taken out as they end; with none there is nothing to wait for.
            Some(_) = connections.join_next() => {}
            () = stopping.cancelled() => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(STOP_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("the embedded S3 server stops with requests under way");
    }
}

fn connect(stream: TcpStream, front: &Front, graceful: &GracefulShutdown, connections: &mut JoinSet<()>) {
    // S3 clients send head and body apart; the answer must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = Connection::default();
    let wire = Wire::new(stream, connection.clone());
    let front = front.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (front, connection) = (front.clone(), connection.clone());
        async move { front.answer(request.map(s3s::Body::from), &connection).await }
    });
    // hyper reads a body only as fast as it is asked for, at most some 400 KiB ahead, and a write asks for
    // the next bytes when it has taken the last. No timer is given, so idle connections stay open: the
    // callers are on this machine, and a pool of theirs should not find its connections closed.
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
