//! Opens connections: TCP, then TLS, within one time limit.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::Service;

use super::resolver::Resolver;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// After this time without a packet, the kernel checks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to `http://` and `https://` hosts. The time limit covers DNS, TCP and TLS together.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    connect_timeout: Duration,
}

impl Connector {
    /// A connector that trusts the system's CA certificates.
    pub(super) fn new(connect_timeout: Duration) -> io::Result<Self> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let inner = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { inner, connect_timeout })
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
