//! The S3 server that costs as little as can be: it makes up the bytes that are read and throws away those that are
//! written. The first part of a path, the bucket, says how it behaves:
//!
//! - `bench`: as S3 does
//! - `plain`: announces no checksums
//! - `throttled`: so many bytes a second on each connection
//! - `silent`: reads no bodies and never answers
//!
//! The last part of a key is the object's size in bytes.

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

/// Where the driver asks for [`Abandoned`].
pub(crate) const ABANDONED: &str = "/.bench/abandoned";

/// What the backend is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Bytes a second of each connection to the bucket `throttled`
    #[arg(long, default_value_t = 32 * 1024 * 1024)]
    throttle: u64,
    /// How many keys a listing has
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[command(flatten)]
    tls: ServerFiles,
}

/// What all connections share.
#[derive(Debug)]
struct Backend {
    throttle: u64,
    keys: u64,
    /// By size; made when first asked for.
    checksums: Mutex<HashMap<u64, String>>,
    abandoned: Arc<Abandoned>,
}

/// Serves until the driver ends.
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
    // A connection that breaks is what some of the rows are about.
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
