//! Listeners, TLS, layers around every call, health, shutdown.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{auth::AuthMode, tenants::TenantSettings};

/// What the server itself is told (environment, prefix `LONGSHORE_`).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Where gRPC is served. Default: 127.0.0.1:50051.
    pub listen_addr: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and gRPC health are served, plain. Default: 127.0.0.1:9090.
    pub health_addr: SocketAddr,
    /// Certificate chain and private key (PEM); without them gRPC is served plain.
    pub tls: Option<TlsFiles>,
    /// Whether callers must say who they are. Default: required.
    pub auth: AuthMode,
    /// Whether reflection is served. Default: true.
    pub reflection: bool,
    /// The largest message taken, in bytes. Default: 4 MiB.
    pub max_message_bytes: usize,
    /// Concurrent calls on one connection. Default: 100.
    pub max_concurrent_streams: u32,
    /// How long shutdown waits before it refuses new calls, while health already says NOT_SERVING. Default: 0 s.
    pub shutdown_delay: Duration,
    /// How long calls under way may take to end at shutdown. Default: 30 s.
    pub shutdown_grace: Duration,
    /// The tenants.
    pub tenants: Vec<TenantSettings>,
}

/// Files of a static certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}
