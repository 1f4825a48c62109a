//! Opens connections: TCP, then TLS, within one time limit.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::Service;

use super::{
    ClientOptions, Lookups,
    local::{is_local, literal_address, refused},
    resolver::Resolver,
    tls::client_config,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// After this time without a packet, the kernel checks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to `http://` and `https://` hosts. The time limit covers DNS, TCP and TLS together.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<TcpConnector>,
    connect_timeout: Duration,
}

impl Connector {
    /// A connector that trusts the CA certificates that the options name.
    pub(super) fn new(options: &ClientOptions, lookups: Lookups) -> io::Result<Self> {
        let tls = client_config(options).map_err(io::Error::other)?;
        let inner = HttpsConnector::from((TcpConnector::new(lookups, options.refuse_local), tls));
        Ok(Self { inner, connect_timeout: options.connect_timeout })
    }
}

/// Opens TCP connections.
#[derive(Debug, Clone)]
pub(crate) struct TcpConnector {
    inner: HttpConnector<Resolver>,
    refuse_local: bool,
}

impl TcpConnector {
    /// `lookups`: those of the tenant. `refuse_local`: whether connections to this machine and to metadata services fail, without an attempt.
    pub(crate) fn new(lookups: Lookups, refuse_local: bool) -> Self {
        let mut inner = HttpConnector::new_with_resolver(Resolver::new(lookups, refuse_local));
        inner.enforce_http(false);
        inner.set_nodelay(true);
        inner.set_keepalive(Some(TCP_KEEPALIVE));
        Self { inner, refuse_local }
    }
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The resolver is not asked for addresses.
        if let Some(address) = literal_address(&uri)
            && self.refuse_local
            && is_local(address)
        {
            return Box::pin(async move { Err(refused(&address.to_string()).into()) });
        }
        let connecting = self.inner.call(uri);
        Box::pin(async move { Ok(connecting.await?) })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.connect_timeout;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {}", humantime::format_duration(limit)).into()),
            }
        })
    }
}
