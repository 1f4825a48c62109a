//! Kept HTTP/1.1 connections. Each is used only on the runtime that opened it: its task lives there, and another thread
//! would have to be woken for whatever comes.

use std::{
    collections::HashMap,
    io, mem,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    Request, Response, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use tokio::{
    runtime::{self, Handle},
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tower::Service as _;

use super::{
    RequestBody, TransportError, TransportErrorKind,
    body::Sent,
    connector::Connector,
    descriptors::Descriptor,
    options::{ClientOptions, after},
};

/// What a connection reads from S3 at once, in bytes. A caller that reads slowly holds about five times as much (here, and
/// on its way through HTTP/2): 1,000 of them held 1.8 GiB with hyper's own choice of up to 408 KiB, and 0.3 GiB with this.
/// Only reading is bounded: hyper gathers as much as it likes for a write (docs/BENCHMARKS.md).
const READ_BUFFER: usize = 48 * 1024;

/// Each entry of an object's user metadata is a header, and 2 KiB of them can be more than hyper's 100.
const MAX_HEADERS: usize = 512;

/// So many connections are opened at once. A thousand TLS handshakes side by side, among transfers that have begun,
/// can take longer than the time limit, where each by itself takes milliseconds.
pub(super) const OPENING: usize = 128;

/// Opens connections and keeps those that are idle. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    /// To open a connection.
    turns: Semaphore,
    idle_timeout: Duration,
    max_idle_per_host: usize,
    /// The longest idle first.
    idle: Mutex<HashMap<runtime::Id, Vec<Connection>>>,
}

/// Whom a connection reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    scheme: Scheme,
    authority: Authority,
}

/// A connection. Dropped, it is closed at once, whatever is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    host: Host,
    /// Whether it has carried a request before, since when the server may have closed it.
    kept: bool,
    home: runtime::Id,
    sender: SendRequest<RequestBody>,
    age: Arc<Age>,
    _task: AbortOnDropHandle<()>,
    _descriptor: Descriptor,
}

/// Since when a connection is idle, for the task that it runs in.
#[derive(Debug)]
struct Age {
    opened: Instant,
    /// Milliseconds after `opened`, or [`IN_USE`].
    idle_since: AtomicU64,
}

const IN_USE: u64 = u64::MAX;

/// How often a connection in use is looked at least, however short its idle time.
const LEAST_LOOK: Duration = Duration::from_secs(1);

/// What has become of a request.
pub(super) enum Sending {
    /// The head of its answer is there.
    Answered(Response<Incoming>),
    /// The connection was kept and is closed, and nothing of the request has been sent: it is for another.
    Unsent(Request<RequestBody>),
}

/// A connection that brings an answer's body. Dropped, it is closed, unless it has been given back.
#[derive(Debug)]
pub(super) struct Leased {
    pool: Pool,
    connection: Option<Connection>,
    sent: Arc<Sent>,
}

impl Pool {
    /// A pool without connections.
    pub(super) fn new(connector: Connector, options: &ClientOptions) -> Self {
        Self(Arc::new(Inner {
            connector,
            turns: Semaphore::new(OPENING),
            idle_timeout: options.pool_idle_timeout,
            max_idle_per_host: options.pool_max_idle_per_host,
            idle: Mutex::default(),
        }))
    }

    /// A connection to `host`: a kept one, or else a new one. How long it waits for its turn to open one has no limit here.
    pub(super) async fn connection(&self, host: &Host) -> Result<Connection, TransportError> {
        if let Some(kept) = self.take(host) {
            return Ok(kept);
        }
        let (pool, host) = (self.clone(), host.clone());
        let opening = async move {
            let _turn = pool.0.turns.acquire().await;
            // By now others may have given theirs back.
            match pool.take(&host) {
                Some(kept) => Ok(kept),
                None => pool.open(&host).await,
            }
        };
        // A task, because whoever waits for it may not be looked at for long (a caller that does not read), and would keep
        // its turn.
        driven(opening).await.unwrap_or_else(|ended| Err(TransportErrorKind::Connect.because_of(&ended)))
    }

    /// Has the connection for as long as the answer's body lasts.
    pub(super) fn lease(&self, connection: Connection, sent: Arc<Sent>) -> Leased {
        Leased { pool: self.clone(), connection: Some(connection), sent }
    }

    /// The connection of this runtime to `host` that was used last. Those that are closed are dropped on the way.
    fn take(&self, host: &Host) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(&Handle::current().id())?;
        for at in (0..connections.len()).rev() {
            let connection = &connections[at];
            if connection.sender.is_closed() {
                connections.remove(at);
            } else if connection.host == *host && connection.sender.is_ready() {
                let connection = connections.remove(at);
                // It may be about to be closed, which nobody has told it yet.
                if connection.age.idle_for() < self.0.idle_timeout {
                    connection.age.idle_since.store(IN_USE, Ordering::Relaxed);
                    return Some(connection);
                }
            }
        }
        None
    }

    async fn open(&self, host: &Host) -> Result<Connection, TransportError> {
        let uri =
            Uri::builder().scheme(host.scheme.clone()).authority(host.authority.clone()).path_and_query("/");
        let uri = uri.build().map_err(|error| TransportErrorKind::Connect.because_of(&error))?;
        let descriptor = Descriptor::take().ok_or_else(|| {
            TransportErrorKind::Connect
                .because_of(&io::Error::other("the process has as many connections as its open files allow"))
        })?;
        let mut connector = self.0.connector.clone();
        let stream =
            connector.call(uri).await.map_err(|error| TransportErrorKind::Connect.because_of(&*error))?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .read_buf_exact_size(Some(READ_BUFFER))
            .handshake(stream)
            .await
            .map_err(|error| TransportErrorKind::Connect.because_of(&error))?;
        let age = Arc::new(Age { opened: Instant::now(), idle_since: AtomicU64::new(IN_USE) });
        let (watched, idle_timeout) = (Arc::clone(&age), self.0.idle_timeout);
        let driving = async move {
            let mut connection = pin!(connection);
            let mut until = after(LEAST_LOOK);
            // What becomes of it is told to whoever uses it.
            while timeout_at(until, connection.as_mut()).await.is_err() {
                let Some(left) = watched.left(idle_timeout) else { return };
                until = after(left);
            }
        };
        let (host, home) = (host.clone(), Handle::current().id());
        let task = driven(driving);
        Ok(Connection { host, kept: false, home, sender, age, _task: task, _descriptor: descriptor })
    }

    fn give_back(&self, mut connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(connection.home).or_default();
        // Those that nobody has needed for long are closed by now.
        let closed = connections.iter().take_while(|kept| kept.sender.is_closed()).count();
        connections.drain(..closed);
        let most = self.0.max_idle_per_host;
        let kept = |kept: &&Connection| kept.host == connection.host && !kept.sender.is_closed();
        if most == 0 || (most < usize::MAX && connections.iter().filter(kept).count() >= most) {
            return;
        }
        connection.kept = true;
        connection.age.begin_idle();
        connections.push(connection);
    }
}

impl Connection {
    /// Sends a request, and returns as soon as the head of its answer is there.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Sending, TransportError> {
        let mut error = match self.sender.try_send_request(request).await {
            Ok(response) => return Ok(Sending::Answered(response)),
            Err(error) => error,
        };
        match error.take_message() {
            Some(unsent) if self.kept => Ok(Sending::Unsent(unsent)),
            Some(_) => Err(TransportErrorKind::Connect.because_of(&error.into_error())),
            None => Err(broken(&error.into_error())),
        }
    }
}

impl Leased {
    /// Keeps the connection for another request: its answer has come to an end. One that is answered before all of the
    /// request was sent still has the rest before it, and is closed.
    pub(super) fn give_back(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.sent.is_all()
        {
            self.pool.give_back(connection);
        }
    }
}

impl Age {
    fn begin_idle(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(IN_USE);
        self.idle_since.store(now, Ordering::Relaxed);
    }

    fn idle_for(&self) -> Duration {
        match self.idle_since.load(Ordering::Relaxed) {
            IN_USE => Duration::ZERO,
            since => self.opened.elapsed().saturating_sub(Duration::from_millis(since)),
        }
    }

    /// How long the connection may be left alone; `None` where its time is over.
    fn left(&self, idle_timeout: Duration) -> Option<Duration> {
        if self.idle_since.load(Ordering::Relaxed) == IN_USE {
            return Some(idle_timeout.max(LEAST_LOOK));
        }
        idle_timeout.checked_sub(self.idle_for()).filter(|left| !left.is_zero())
    }
}

/// Takes whom a request is for out of its absolute URI, and leaves in it what is sent there.
pub(super) fn take_host(request: &mut Request<RequestBody>) -> Result<Host, TransportError> {
    let parts = mem::take(request.uri_mut()).into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(TransportErrorKind::Connect.because("the address has no host"));
    };
    *request.uri_mut() = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    Ok(Host { scheme, authority })
}

/// Runs by itself until it ends or is dropped.
#[expect(clippy::disallowed_methods, reason = "a connection must not hold up the end of the process")]
fn driven<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

fn broken(error: &hyper::Error) -> TransportError {
    let kind = if error.is_parse() { TransportErrorKind::Protocol } else { TransportErrorKind::Lost };
    kind.because_of(error)
}
