//! Accepting connections and handing their requests to S3.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use s3s::service::S3Service;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long to wait after a failed accept: what fails for long is the table of open files being full.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping`. Dropping the future cuts every connection, since it owns their tasks.
pub(super) async fn serve(listener: TcpListener, service: S3Service, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(stream, &service, &graceful, &mut connections),
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

fn connect(
    stream: TcpStream,
    service: &S3Service,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) {
    // S3 clients send head and body apart; the answer must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    // hyper reads a body only as fast as it is asked for, at most some 400 KiB ahead; s3s-fs asks for the
    // next bytes when the last have been written. No timer is given, so idle connections stay open: the
    // callers are on this machine, and a pool of theirs should not find its connections closed.
    let connection = Builder::new(TokioExecutor::new())
        .http1_only()
        .serve_connection(TokioIo::new(stream), service.clone())
        .into_owned();
    let served = graceful.watch(connection);
    connections.spawn(async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection to the embedded S3 server broke");
        }
    });
}
