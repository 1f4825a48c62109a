//! A pool of HTTP/1.1 connections. Each is used only on the runtime that opened it: its task runs there, and using it
//! from another thread would mean waking a thread for every event.

use std::{
    collections::HashMap,
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, Uri,
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
    connector::Connector,
    descriptors::Descriptor,
    options::{ClientOptions, after},
    payload::Sent,
};

/// How many bytes a connection reads from S3 at a time. The read of a slow caller holds about five times as much
/// (here, and on its way through HTTP/2): 1,000 slow callers held 1.8 GiB with hyper's default of up to 408 KiB, and
/// 0.3 GiB with this. The limit applies only to reads: hyper chooses the size of its writes itself
/// (docs/perf-notes.md).
const READ_BUFFER: usize = 48 * 1024;

/// The limit once a response had more than 100 headers, hyper's own limit: each entry of an object's user metadata is a
/// header, and 2 KiB of metadata can have more entries than that. Few objects do, and with this limit every response
/// costs hyper 5,500 instructions more.
const MAX_HEADERS: usize = 512;

/// How many connections may be opening at a time. One TLS handshake takes milliseconds, but a thousand concurrent
/// handshakes, beside running transfers, can take longer than the time limit.
pub(super) const MAX_OPENING: usize = 128;

/// Opens connections and keeps those that are idle. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    /// Whether new connections accept [`MAX_HEADERS`] headers.
    accepts_many_headers: AtomicBool,
    /// Permits to open a connection.
    turns: Semaphore,
    idle_timeout: Duration,
    max_idle_per_host: usize,
    /// Idle connections by runtime, the longest idle first.
    idle: Mutex<HashMap<runtime::Id, Vec<Connection>>>,
    open: Arc<AtomicUsize>,
}

/// The connections of a client at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Those that are open.
    pub open: usize,
    /// Those of them that carry a request.
    pub in_use: usize,
}

/// Counts a connection as open until dropped.
#[derive(Debug)]
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The host that a connection reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    scheme: Scheme,
    authority: Authority,
}

/// A connection. Dropping it closes it immediately, even while it carries a request.
#[derive(Debug)]
pub(super) struct Connection {
    host: Host,
    /// Whether it has carried a request before; the server may have closed it since.
    kept: bool,
    /// Whether it accepts [`MAX_HEADERS`] headers.
    accepts_many_headers: bool,
    home: runtime::Id,
    sender: SendRequest<RequestBody>,
    idleness: Arc<Idleness>,
    _task: AbortOnDropHandle<()>,
    _open: Open,
    _descriptor: Descriptor,
}

/// How long a connection has been idle, for the task that drives it.
#[derive(Debug)]
struct Idleness {
    opened: Instant,
    /// Milliseconds after `opened`, or [`IN_USE`].
    idle_since: AtomicU64,
}

const IN_USE: u64 = u64::MAX;

/// The minimum interval between checks of a connection in use, however short the idle timeout is.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The outcome of sending a request.
pub(super) enum Sending {
    /// The head of the response has arrived.
    Answered(Response<Incoming>),
    /// The connection, which had been idle, was closed before any part of the request was sent: send the request on
    /// another connection.
    Unsent(Request<RequestBody>),
}

/// A connection that is receiving a response body. Dropping it closes the connection, unless it was given back.
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
            accepts_many_headers: AtomicBool::new(false),
            turns: Semaphore::new(MAX_OPENING),
            idle_timeout: options.pool_idle_timeout,
            max_idle_per_host: options.pool_max_idle_per_host.unwrap_or(usize::MAX),
            idle: Mutex::default(),
            open: Arc::default(),
        }))
    }

    /// The connections that are open now. Those that the server has closed do not count.
    pub(super) fn counts(&self) -> ConnectionCounts {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.values().map(Vec::len).sum();
        let closed = idle.values().flatten().filter(|connection| connection.sender.is_closed()).count();
        let all = self.0.open.load(Ordering::Relaxed);
        ConnectionCounts { open: all.saturating_sub(closed), in_use: all.saturating_sub(kept) }
    }

    /// Closes the idle connections of all runtimes.
    pub(super) fn close_idle(&self) {
        let idle = mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
        // Each connection's task ends on its own runtime.
        drop(idle);
    }

    /// A connection to `host`: an idle one, or else a new one. The wait for a permit to open one has no time limit
    /// here.
    pub(super) async fn connection(&self, host: &Host) -> Result<Connection, TransportError> {
        if let Some(kept) = self.take(host) {
            return Ok(kept);
        }
        let (pool, host) = (self.clone(), host.clone());
        let opening = async move {
            let _turn = pool.0.turns.acquire().await;
            // Another request may have given back a connection in the meantime.
            match pool.take(&host) {
                Some(kept) => Ok(kept),
                None => pool.open(&host).await,
            }
        };
        // In a task, because the waiting future may not be polled for a long time (if its caller does not read), and
        // would hold its permit.
        driven(opening).await.unwrap_or_else(|ended| Err(TransportErrorKind::Connect.caused_by(ended)))
    }

    /// Leases the connection until the response body ends.
    pub(super) fn lease(&self, connection: Connection, sent: Arc<Sent>) -> Leased {
        Leased { pool: self.clone(), connection: Some(connection), sent }
    }

    /// This runtime's most recently used idle connection to `host`. Drops the closed connections that it comes across.
    fn take(&self, host: &Host) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(&Handle::current().id())?;
        for at in (0..connections.len()).rev() {
            let connection = &connections[at];
            if connection.sender.is_closed() {
                connections.remove(at);
            } else if connection.host == *host && connection.sender.is_ready() {
                let connection = connections.remove(at);
                // The idle timeout may have passed without the connection's task having closed it yet.
                if connection.idleness.idle_for() < self.0.idle_timeout {
                    connection.idleness.idle_since.store(IN_USE, Ordering::Relaxed);
                    return Some(connection);
                }
            }
        }
        None
    }

    async fn open(&self, host: &Host) -> Result<Connection, TransportError> {
        let uri =
            Uri::builder().scheme(host.scheme.clone()).authority(host.authority.clone()).path_and_query("/");
        let uri = uri.build().map_err(|error| TransportErrorKind::Connect.caused_by(error))?;
        let descriptor = Descriptor::take().ok_or_else(|| {
            TransportErrorKind::Exhausted.because("the open file limit allows no more connections")
        })?;
        let mut connector = self.0.connector.clone();
        let stream =
            connector.call(uri).await.map_err(|error| TransportErrorKind::Connect.caused_by(error))?;
        let mut builder = http1::Builder::new();
        builder.read_buf_exact_size(Some(READ_BUFFER));
        let accepts_many_headers = self.accepts_many_headers();
        if accepts_many_headers {
            builder.max_headers(MAX_HEADERS);
        }
        let (sender, connection) =
            builder.handshake(stream).await.map_err(|error| TransportErrorKind::Connect.caused_by(error))?;
        let idleness = Arc::new(Idleness { opened: Instant::now(), idle_since: AtomicU64::new(IN_USE) });
        let (watched, idle_timeout) = (Arc::clone(&idleness), self.0.idle_timeout);
        let driving = async move {
            let mut connection = pin!(connection);
            let mut until = after(MIN_CHECK_INTERVAL);
            // Errors of the connection reach the request that uses it.
            while timeout_at(until, connection.as_mut()).await.is_err() {
                let Some(left) = watched.left(idle_timeout) else { return };
                until = after(left);
            }
        };
        let (host, home) = (host.clone(), Handle::current().id());
        let task = driven(driving);
        let open = Open::new(&self.0.open);
        Ok(Connection {
            host,
            kept: false,
            accepts_many_headers,
            home,
            sender,
            idleness,
            _task: task,
            _open: open,
            _descriptor: descriptor,
        })
    }

    /// Lets new connections accept [`MAX_HEADERS`] headers. Others are not used again.
    pub(super) fn accept_many_headers(&self) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.accepts_many_headers.swap(true, Ordering::Relaxed) {
            idle.clear();
        }
    }

    fn accepts_many_headers(&self) -> bool {
        self.0.accepts_many_headers.load(Ordering::Relaxed)
    }

    fn give_back(&self, mut connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if self.accepts_many_headers() && !connection.accepts_many_headers {
            return;
        }
        let connections = idle.entry(connection.home).or_default();
        // Those that have been idle for longest may be closed by now.
        let closed = connections.iter().take_while(|kept| kept.sender.is_closed()).count();
        connections.drain(..closed);
        let most = self.0.max_idle_per_host;
        let kept = |kept: &&Connection| kept.host == connection.host && !kept.sender.is_closed();
        if most == 0 || (most < usize::MAX && connections.iter().filter(kept).count() >= most) {
            return;
        }
        connection.kept = true;
        connection.idleness.begin_idle();
        connections.push(connection);
    }
}

impl Connection {
    /// Sends a request, and returns as soon as the head of its response has arrived.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Sending, TransportError> {
        let mut error = match self.sender.try_send_request(request).await {
            Ok(response) => return Ok(Sending::Answered(response)),
            Err(error) => error,
        };
        match error.take_message() {
            Some(unsent) if self.kept => Ok(Sending::Unsent(unsent)),
            Some(_) => Err(TransportErrorKind::Connect.caused_by(error.into_error())),
            None => Err(self.broken(error.into_error())),
        }
    }

    fn broken(&self, error: hyper::Error) -> TransportError {
        let kind = if error.is_parse_too_large() && !self.accepts_many_headers {
            TransportErrorKind::TooManyHeaders
        } else if error.is_parse() {
            TransportErrorKind::Protocol
        } else {
            TransportErrorKind::Lost
        };
        kind.caused_by(error)
    }
}

impl Leased {
    /// Keeps the connection for another request, at the end of its response. If the response came before the whole
    /// request was sent, the rest would still have to be sent, so the connection is closed instead.
    pub(super) fn give_back(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.sent.is_all()
        {
            self.pool.give_back(connection);
        }
    }
}

impl Idleness {
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

    /// How long until the connection has to be checked again; `None` if its idle timeout has passed.
    fn left(&self, idle_timeout: Duration) -> Option<Duration> {
        if self.idle_since.load(Ordering::Relaxed) == IN_USE {
            return Some(idle_timeout.max(MIN_CHECK_INTERVAL));
        }
        idle_timeout.checked_sub(self.idle_for()).filter(|left| !left.is_zero())
    }
}

impl Host {
    /// The value of the `Host` header: without the scheme's own port, and without a user name.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let host = self.authority.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let port = if self.scheme == Scheme::HTTPS { ":443" } else { ":80" };
        HeaderValue::from_str(host.strip_suffix(port).unwrap_or(host)).ok()
    }
}

/// Takes the host out of the request's absolute URI, and leaves the path and query.
pub(super) fn take_host(request: &mut Request<RequestBody>) -> Result<Host, TransportError> {
    let parts = mem::take(request.uri_mut()).into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(TransportErrorKind::Connect.because("the URL has no host"));
    };
    *request.uri_mut() = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    Ok(Host { scheme, authority })
}

/// Runs `work` in a task until it ends or the handle is dropped.
#[expect(clippy::disallowed_methods, reason = "a connection must not delay the end of the process")]
fn driven<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
}
