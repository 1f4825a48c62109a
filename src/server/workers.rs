//! Worker threads: one for each core, each with its own runtime. A connection and all the work of its calls stay on one
//! thread, because waking another thread costs as much as the rest of a small call.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{TryFutureExt as _, future::try_join_all};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, oneshot},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connections, End},
    connection_limit::{ConnectionLimit, Counted},
    layers::Served,
    listeners::{Buffered, Listener},
    pulse::Pulse,
};
use crate::telemetry::Metrics;

/// How many lookups of host names a worker thread runs at the same time, for all tenants, each on a blocking thread. Idle
/// threads end. `transport::Lookups` limits those of each tenant.
const LOOKUPS: usize = 64;

/// How long DNS lookups that are still running may delay the end of a thread.
const LAST_WORK: Duration = Duration::from_millis(500);

/// The worker threads. [`Workers::serve`] hands connections to them. Dropping this value makes the threads close their
/// connections, drop their calls and background tasks, and end.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<WorkerHandle>,
    ended: Vec<oneshot::Receiver<()>>,
    threads: Threads,
    limit: ConnectionLimit,
    metrics: Metrics,
}

/// Keeps the threads alive, and with them the background tasks that calls have left there. Dropping this value ends
/// both and waits for them, so that their last log lines are not lost.
#[derive(Debug)]
pub(super) struct Threads {
    kept: Vec<oneshot::Sender<Infallible>>,
    running: std::sync::mpsc::Receiver<Infallible>,
}

/// Sends connections to a worker thread, and counts those that the thread has.
#[derive(Debug)]
struct WorkerHandle {
    connections: mpsc::UnboundedSender<Handoff>,
    count: Arc<AtomicUsize>,
}

/// An accepted connection that is handed to a thread.
#[derive(Debug)]
struct Handoff {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    counted: Counted,
    _here: ConnectionCount,
}

/// Counts one of a thread's connections until dropped.
#[derive(Debug)]
struct ConnectionCount(Arc<AtomicUsize>);

/// What the threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) connections: Connections<Served>,
    pub(super) metrics: Metrics,
    pub(super) pulse: Pulse,
    /// Closes the remaining connections when cancelled.
    pub(super) cut: CancellationToken,
}

/// The number of worker threads: one for each core that the process may use.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

impl Workers {
    /// Starts the threads. Each serves its connections until the server stops, and then until their calls have ended.
    /// Fails if the system cannot start another thread.
    pub(super) fn start(shared: &Shared) -> io::Result<Self> {
        let (running, threads_running) = std::sync::mpsc::channel();
        let threads_kept = Threads { kept: Vec::new(), running: threads_running };
        let (limit, metrics) = (shared.connections.limit.clone(), shared.metrics.clone());
        let mut workers =
            Self { handles: Vec::new(), ended: Vec::new(), threads: threads_kept, limit, metrics };
        for number in 0..threads() {
            let (connections, handed) = mpsc::unbounded_channel();
            let (tell, ended) = oneshot::channel();
            let (keep, kept) = oneshot::channel();
            let pulse = shared.pulse.clone().beat(number);
            let serving = serve(shared.clone(), handed, tell);
            let running = running.clone();
            thread::Builder::new().name(format!("calls-{number}")).spawn(move || {
                work(serving, pulse, kept);
                drop(running);
            })?;
            workers.handles.push(WorkerHandle { connections, count: Arc::default() });
            workers.ended.push(ended);
            workers.threads.kept.push(keep);
        }
        Ok(workers)
    }

    /// Accepts connections until `stop` is cancelled, and hands each to the thread that has the fewest. The future
    /// completes when the last call has ended, and fails if a thread ends early.
    pub(super) fn serve(
        self,
        listener: Listener,
        stop: CancellationToken,
    ) -> (impl Future<Output = Result<(), String>> + Send + 'static, Threads) {
        let Self { handles, ended, threads, limit, metrics } = self;
        let serving = async move {
            let mut ended = try_join_all(
                ended.into_iter().map(|ended| ended.map_err(|_| "a worker thread ended".to_owned())),
            );
            tokio::select! {
                // Drops the listener, so that new connections are refused immediately.
                () = stop.cancelled() => {}
                never = hand_out(listener, handles, &limit, &metrics) => match never {},
                ended = &mut ended => return ended.map(drop),
            }
            ended.await.map(drop)
        };
        (serving, threads)
    }
}

impl Threads {
    /// Like dropping it, but without blocking the current thread.
    pub(super) async fn end(self) {
        // Fails only if the runtime is shutting down too.
        let _ = spawn_blocking(|| drop(self)).await;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.kept.clear();
        let _ = self.running.recv_timeout(LAST_WORK * 2);
    }
}

async fn hand_out(
    mut listener: Listener,
    workers: Vec<WorkerHandle>,
    limit: &ConnectionLimit,
    metrics: &Metrics,
) -> Infallible {
    loop {
        let (stream, peer) = listener.next().await;
        let Some(counted) = limit.try_acquire() else {
            metrics.connection_ended(End::Limit.name());
            continue;
        };
        // Fails only if the connection is already broken.
        let Ok(stream) = stream.into_std() else { continue };
        let Some(worker) = workers.iter().min_by_key(|worker| worker.count.load(Ordering::Relaxed)) else {
            continue;
        };
        worker.count.fetch_add(1, Ordering::Relaxed);
        let here = ConnectionCount(Arc::clone(&worker.count));
        // Fails only if the thread has ended, and then the server ends too.
        let _ = worker.connections.send(Handoff { stream, peer, counted, _here: here });
    }
}

/// Serves a thread's connections until the last of their calls has ended.
async fn serve(shared: Shared, mut handed: mpsc::UnboundedReceiver<Handoff>, tell: oneshot::Sender<()>) {
    let mut serving = JoinSet::new();
    let serve = async {
        loop {
            tokio::select! {
                next = handed.recv() => match next {
                    Some(handed) => { serving.spawn(connection(shared.clone(), handed)); }
                    // The listener is closed.
                    None => break,
                },
                Some(_) = serving.join_next() => {}
            }
        }
        while serving.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serve => {}
        () = shared.cut.cancelled() => {}
    }
    serving.shutdown().await;
    // Fails if the server has been dropped.
    let _ = tell.send(());
}

async fn connection(shared: Shared, Handoff { stream, peer, counted, _here }: Handoff) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _open = shared.metrics.connection_opened();
    let end = shared.connections.serve(Buffered::new(stream), peer).await;
    if let Some(end) = end {
        shared.metrics.connection_ended(end.name());
        tracing::debug!(%peer, reason = end.name(), "the server ended a connection");
    }
    drop(counted);
}

/// The main function of a worker thread. It outlives the calls, to run the background tasks that they have left.
fn work(
    serving: impl Future<Output = ()>,
    pulse: impl Future<Output = Infallible>,
    mut kept: oneshot::Receiver<Infallible>,
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // The server ends when the first thread ends.
        Err(error) => return tracing::error!(%error, "cannot create the runtime of a worker thread"),
    };
    runtime.block_on(async {
        let life = async {
            tokio::select! {
                () = serving => {}
                _ = &mut kept => return,
            }
            let _ = kept.await;
        };
        tokio::select! {
            () = life => {}
            never = pulse => match never {},
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use futures::future::select_all;
    use tokio::task::JoinSet;

    use super::*;
    use crate::server::listeners::bind;

    #[tokio::test]
    async fn each_connection_goes_to_the_thread_with_the_fewest_connections() {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = listener.address();
        let (workers, mut threads): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (connections, thread) = mpsc::unbounded_channel();
                (WorkerHandle { connections, count: Arc::default() }, thread)
            })
            .unzip();
        let mut handing = JoinSet::new();
        handing.spawn(async {
            let (limit, metrics) = (ConnectionLimit::new(None), Metrics::default());
            hand_out(listener, workers, &limit, &metrics).await
        });

        let mut callers = Vec::new();
        let mut connections: [Vec<Handoff>; 3] = Default::default();
        // Thread numbers. The second thread's connections end before the seventh connection arrives.
        for expected in [0, 1, 2, 0, 1, 2, 1, 1, 0] {
            if callers.len() == 6 {
                connections[1].clear();
            }
            callers.push(TcpStream::connect(address).await.unwrap());
            let (handed, thread, _) =
                select_all(threads.iter_mut().map(|thread| Box::pin(thread.recv()))).await;
            assert_eq!(thread, expected, "connection {}", callers.len());
            connections[thread].extend(handed);
        }
    }
}
