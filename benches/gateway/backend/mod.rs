//! An S3 server with the lowest possible cost: it generates the bytes that callers read and discards the bytes that
//! they write. The bucket selects the behaviour:
//!
//! - `bench`: behaves like S3
//! - `plain`: sends no checksums
//! - `throttled`: limits the rate of each connection
//! - `silent`: reads no request bodies and never responds
//!
//! The last segment of a key is the object's size in bytes.

mod answer;
mod body;
mod list;
mod object;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use clap::Args;
use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};

use self::{answer::Answer, body::Abandoned};
use crate::{
    Outcome, role,
    tls::{self, ServerFiles},
};

/// The path at which the driver queries [`Abandoned`].
pub(crate) const ABANDONED: &str = "/.bench/abandoned";

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
    tls: ServerFiles,
}

/// The state that all connections share.
#[derive(Debug)]
struct Backend {
    throttle: u64,
    keys: u64,
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

async fn serve(backend: Arc<Backend>, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
    let service = service_fn(|request| {
        let backend = backend.clone();
        async move { Ok::<_, Infallible>(backend.answer(request).await) }
    });
    // Errors are ignored: some rows close connections on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Backend {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        if path == ABANDONED {
            return answer::text(self.abandoned.text());
        }
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        if bucket == "silent" {
            return std::future::pending().await;
        }
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match *request.method() {
            Method::GET if key.is_empty() => list::page(self.keys, bucket, &query),
            Method::GET | Method::HEAD => self.read(bucket, key, &request),
            Method::PUT => self.write(bucket, request).await,
            Method::POST if has("uploads") => object::created(bucket, key),
            Method::POST if has("uploadId") => object::completed(bucket, key, request).await,
            Method::DELETE => answer::no_content(),
            _ => answer::unknown(),
        }
    }
}
