//! An S3 server with the lowest possible cost: it generates the bytes that callers read and discards the bytes that
//! they write. The bucket selects the behaviour:
//!
//! - `bench`: behaves like S3
//! - `plain`: sends no checksums with objects
//! - `throttled`: limits the rate of each connection
//! - `silent`: reads no request bodies and never responds
//! - `shaped`: behaves like S3 and also has its latencies and per-connection rate ([`Shape`])
//! - `shaped-tree`: the same, with another listing ([`Keys`])
//!
//! The last segment of a key is the object's size in bytes.

mod answer;
mod body;
mod delete;
mod list;
mod object;
mod pace;
mod requests;
mod shape;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::{Bytes, BytesMut};
use clap::Args;
use http_body_util::{BodyExt, Either};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{
    answer::Answer,
    body::Abandoned,
    pace::{Lane, Pace},
    requests::{Counter, Kind},
};
pub(crate) use self::{requests::Requests, shape::Shape};
use crate::{
    Outcome,
    keys::Keys,
    rate_limit::RateLimit,
    role,
    tls::{self, ServerFiles},
};

/// The path at which the driver queries [`Abandoned`].
pub(crate) const ABANDONED: &str = "/.bench/abandoned";

/// The path at which the driver queries [`Requests`].
pub(crate) const REQUESTS: &str = "/.bench/requests";

/// The backend's arguments.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Rate of each connection to the bucket `throttled`, in bytes per second
    #[arg(long, default_value_t = 32 * 1024 * 1024)]
    throttle: u64,
    /// Number of keys in a listing
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    tls: ServerFiles,
}

/// The state that all connections share.
#[derive(Debug)]
struct Backend {
    throttle: u64,
    keys: u64,
    shape: Shape,
    requests: Counter,
    /// Checksums by object size, computed on first use.
    checksums: Mutex<HashMap<u64, String>>,
    abandoned: Arc<Abandoned>,
}

/// Serves until the driver exits.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let acceptor = tls::acceptor(&settings.tls)?;
    let backend = Arc::new(Backend {
        throttle: settings.throttle,
        keys: settings.keys,
        shape: settings.shape,
        requests: Counter::default(),
        checksums: Mutex::default(),
        abandoned: Arc::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    role::ready(listener.local_addr()?)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (backend, acceptor) = (backend.clone(), acceptor.clone());
        connections.spawn(async move {
            match acceptor {
                None => serve(backend, stream).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(backend, stream).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The two directions of a connection.
#[derive(Debug)]
struct Connection {
    sent: Lane,
    received: Lane,
}

async fn serve(backend: Arc<Backend>, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
    let connection = Arc::new(Connection { sent: Lane::new(), received: Lane::new() });
    let service = service_fn(|request| {
        let (backend, connection) = (backend.clone(), connection.clone());
        async move { Ok::<_, Infallible>(backend.answer(&connection, request).await) }
    });
    // Errors are ignored: some rows close connections on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Backend {
    async fn answer(&self, connection: &Connection, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        match path {
            ABANDONED => return answer::text(self.abandoned.text()),
            REQUESTS => return answer::text(self.requests.json()),
            _ => {}
        }
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if bucket == "silent" {
            return std::future::pending().await;
        }
        let kind = Kind::of(&head.method, key, query);
        let request = self.requests.begin(kind);
        let keep = matches!(kind, Kind::CompleteUpload | Kind::DeleteBatch);
        let pace = self.pace(bucket, &connection.received);
        let Some((size, kept)) = receive(body, pace, keep).await else { return answer::unknown() };
        let received = Instant::now();
        let mut answer = match kind {
            Kind::List => list::page(Keys::of(bucket, self.keys), bucket, query),
            Kind::Get | Kind::Head => self.read(bucket, key, &head, self.pace(bucket, &connection.sent)),
            Kind::Put | Kind::UploadPart => object::written(&head.headers, size),
            Kind::CreateUpload => object::created(bucket, key),
            Kind::CompleteUpload => object::completed(bucket, key, &head.headers, kept.len()),
            Kind::Delete => answer::no_content(),
            Kind::DeleteBatch => delete::batch(&kept),
            Kind::Other => answer::unknown(),
        };
        if Shape::has(bucket) {
            sleep_until(received + self.shape.latency(kind)).await;
        }
        if let Either::Right(body) = answer.body_mut() {
            body.hold(request);
        }
        answer
    }

    fn pace(&self, bucket: &str, lane: &Lane) -> Pace {
        if Shape::has(bucket) {
            return Pace::shared(lane, self.shape.connection_rate);
        }
        Pace::Alone(RateLimit::new((bucket == "throttled").then_some(self.throttle)))
    }
}

/// Reads a request body and returns its length, and its bytes if they are to be kept. Returns `None` if the connection
/// fails.
async fn receive(mut body: Incoming, mut pace: Pace, keep: bool) -> Option<(u64, Bytes)> {
    let (mut size, mut kept) = (0, BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        size += data.len() as u64;
        if keep {
            kept.extend_from_slice(&data);
        }
        pace.received(data.len()).await;
    }
    Some((size, kept.freeze()))
}
