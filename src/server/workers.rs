//! A thread for each core, with a runtime of its own. A connection stays with one of them, and with it all that its calls
//! do: no thread has to wake another, which costs as much as all the rest of a small call.

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

/// How long names that are still looked up may hold up a thread's end.
const LAST_WORK: Duration = Duration::from_millis(500);

/// How many names a thread looks up at once, each in a thread of its own.
const LOOKUPS: usize = 16;

/// The threads, which have connections as soon as [`Workers::serve`] hands them out. Dropped, they close them, drop their
/// calls and background tasks, and end.
#[derive(Debug)]
pub(super) struct Workers {
    desks: Vec<Desk>,
    ended: Vec<oneshot::Receiver<()>>,
    threads: Threads,
    limit: ConnectionLimit,
    metrics: Metrics,
}

/// Keeps the threads, and the background tasks that calls have left there. Dropped, it ends both, and waits until they have:
/// what they still say belongs to the log.
#[derive(Debug)]
pub(super) struct Threads {
    kept: Vec<oneshot::Sender<Infallible>>,
    running: std::sync::mpsc::Receiver<Infallible>,
}

/// Where a thread gets its connections from, and how many it has.
#[derive(Debug)]
struct Desk {
    connections: mpsc::UnboundedSender<Handed>,
    count: Arc<AtomicUsize>,
}

/// A connection on its way to a thread.
#[derive(Debug)]
struct Handed {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    counted: Counted,
    _here: Here,
}

/// One of a thread's connections, until it is dropped.
#[derive(Debug)]
struct Here(Arc<AtomicUsize>);

/// What the threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) connections: Connections<Served>,
    pub(super) metrics: Metrics,
    pub(super) pulse: Pulse,
    /// Closes what is left of the connections.
    pub(super) cut: CancellationToken,
}

/// How many threads serve connections: as many as the process may use cores.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

impl Workers {
    /// Starts the threads. Each serves its connections until they are stopped, and then until their calls have ended.
    /// Fails if the system has no more threads.
    pub(super) fn start(shared: &Shared) -> io::Result<Self> {
        let (running, threads_running) = std::sync::mpsc::channel();
        let threads_kept = Threads { kept: Vec::new(), running: threads_running };
        let (limit, metrics) = (shared.connections.limit.clone(), shared.metrics.clone());
        let mut workers =
            Self { desks: Vec::new(), ended: Vec::new(), threads: threads_kept, limit, metrics };
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
            workers.desks.push(Desk { connections, count: Arc::default() });
            workers.ended.push(ended);
            workers.threads.kept.push(keep);
        }
        Ok(workers)
    }

    /// Accepts connections until `stop`, and hands each to the thread that has fewest. The future ends with the last call,
    /// or with a thread that ended before.
    pub(super) fn serve(
        self,
        listener: Listener,
        stop: CancellationToken,
    ) -> (impl Future<Output = Result<(), String>> + Send + 'static, Threads) {
        let Self { desks, ended, threads, limit, metrics } = self;
        let serving = async move {
            let mut ended =
                try_join_all(ended.into_iter().map(|ended| ended.map_err(|_| "a thread ended".to_owned())));
            tokio::select! {
                // Drops the listener, so that callers are refused at once.
                () = stop.cancelled() => {}
                never = hand_out(listener, desks, &limit, &metrics) => match never {},
                ended = &mut ended => return ended.map(drop),
            }
            ended.await.map(drop)
        };
        (serving, threads)
    }
}

impl Threads {
    /// As dropping it, without keeping this thread from other work.
    pub(super) async fn end(self) {
        // It cannot fail, but where the runtime ends too.
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
    desks: Vec<Desk>,
    limit: &ConnectionLimit,
    metrics: &Metrics,
) -> Infallible {
    loop {
        let (stream, peer) = listener.next().await;
        let Some(counted) = limit.try_acquire() else {
            metrics.connection_ended(End::Limit.name());
            continue;
        };
        // A connection that cannot leave this runtime has gone already.
        let Ok(stream) = stream.into_std() else { continue };
        let Some(desk) = desks.iter().min_by_key(|desk| desk.count.load(Ordering::Relaxed)) else { continue };
        desk.count.fetch_add(1, Ordering::Relaxed);
        let here = Here(Arc::clone(&desk.count));
        // A thread that has ended takes none, and the server ends with it.
        let _ = desk.connections.send(Handed { stream, peer, counted, _here: here });
    }
}

/// What a thread does first: serving until the last of its calls has ended.
async fn serve(shared: Shared, mut handed: mpsc::UnboundedReceiver<Handed>, tell: oneshot::Sender<()>) {
    let mut serving = JoinSet::new();
    let serve = async {
        loop {
            tokio::select! {
                next = handed.recv() => match next {
                    Some(handed) => { serving.spawn(connection(shared.clone(), handed)); }
                    // Nothing is accepted any more.
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
    // Nobody asks any more where the server has been dropped.
    let _ = tell.send(());
}

async fn connection(shared: Shared, Handed { stream, peer, counted, _here }: Handed) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _open = shared.metrics.connection_opened();
    let end = shared.connections.serve(Buffered::new(stream), peer).await;
    if let Some(end) = end {
        shared.metrics.connection_ended(end.name());
        tracing::debug!(%peer, reason = end.name(), "a connection was ended");
    }
    drop(counted);
}

/// A thread's life: it outlasts the calls, for background tasks that they have left.
fn work(
    serving: impl Future<Output = ()>,
    pulse: impl Future<Output = Infallible>,
    mut kept: oneshot::Receiver<Infallible>,
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // The server ends with its first thread.
        Err(error) => return tracing::error!(%error, "a thread has no runtime"),
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

impl Drop for Here {
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
    async fn each_connection_goes_to_the_thread_that_has_fewest() {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = listener.address();
        let (desks, mut threads): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (connections, thread) = mpsc::unbounded_channel();
                (Desk { connections, count: Arc::default() }, thread)
            })
            .unzip();
        let mut handing = JoinSet::new();
        handing.spawn(async {
            let (limit, metrics) = (ConnectionLimit::new(None), Metrics::default());
            hand_out(listener, desks, &limit, &metrics).await
        });

        let mut callers = Vec::new();
        let mut connections: [Vec<Handed>; 3] = Default::default();
        // By the number of the thread; the second one's connections end before the seventh comes.
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
