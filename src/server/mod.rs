//! The gRPC server: listeners, TLS, the layers around every call, health checks, shutdown.

mod access;
mod authentication;
mod call;
mod coalesce;
mod complete_errors;
mod connection;
mod connection_limit;
mod deadline;
mod error;
mod health;
mod layers;
mod listeners;
mod methods;
mod plain_listener;
mod prefetch;
mod protocol;
mod pulse;
mod reflection;
mod rejected;
mod shutdown;
mod throttled;
mod tls;
mod workers;

#[cfg(test)]
mod tests;

use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::{
    access::RunningCalls,
    connection::{Connections, Unread, Unsent},
    connection_limit::ConnectionLimit,
    health::Health,
    layers::CallLayers,
    listeners::Listener,
    pulse::Pulse,
    shutdown::{Serving, Stages},
    workers::{Shared, Workers},
};
use crate::{
    api::{self, Admission, Limits, Services},
    auth::AuthMode,
    telemetry::{Metrics, Tasks},
    tenants::{Pool, RejectedTenants, TenantSettings, search_for_orphans},
};

pub use crate::api::{UploadKeys, UploadSettings};
pub use crate::tenants::MemorySettings;
pub use error::ServerError;

/// Settings of the server itself (environment variables with the prefix `LONGSHORE_`).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Address of the gRPC listener. Default: 127.0.0.1:50051.
    pub listen_addr: SocketAddr,
    /// Address of the plaintext listener for `/livez`, `/readyz`, `/metrics` and gRPC health. Default: 127.0.0.1:9090.
    pub health_addr: SocketAddr,
    /// Certificate chain and private key (PEM). Without them, gRPC is served in plaintext.
    pub tls: Option<TlsFiles>,
    /// Whether callers must authenticate. Default: required.
    pub auth: AuthMode,
    /// Whether gRPC reflection is served. Default: true.
    pub reflection: bool,
    /// The largest accepted message, in bytes. Default: 4 MiB.
    pub max_message_bytes: usize,
    /// How long a message may take to arrive. Default: 60 s.
    pub message_timeout: Duration,
    /// Limits on each connection, and on the number of connections.
    pub connections: ConnectionSettings,
    /// The memory budget, and how long calls wait for memory.
    pub memory: MemorySettings,
    /// The keys that seal upload ids, and how many replicas share them.
    pub uploads: UploadSettings,
    /// How long the server still accepts calls during shutdown, after health has turned to NOT_SERVING. Default: 0 s.
    pub shutdown_delay: Duration,
    /// How long in-flight calls may take to finish during shutdown. Default: 30 s.
    pub shutdown_grace: Duration,
    /// The tenants.
    pub tenants: Vec<TenantSettings>,
    /// Names of tenants that are not served because their settings are invalid. Metrics, the log and `/readyz` report
    /// them.
    pub rejected_tenants: Vec<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listen_addr: local(50051),
            health_addr: local(9090),
            tls: None,
            auth: AuthMode::Required,
            reflection: true,
            max_message_bytes: 4 * 1024 * 1024,
            message_timeout: Duration::from_mins(1),
            connections: ConnectionSettings::default(),
            memory: MemorySettings::default(),
            uploads: UploadSettings::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(30),
            tenants: Vec::new(),
            rejected_tenants: Vec::new(),
        }
    }
}

impl ServerSettings {
    /// The limits on a call's messages.
    fn limits(&self) -> Limits {
        Limits { max_message_bytes: self.max_message_bytes, message_timeout: self.message_timeout }
    }
}

/// Limits on callers' connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Maximum number of open connections. `None`: as many as the open file limit allows, less the descriptors reserved
    /// for S3 and the health listener, and at most 100,000. Default: `None`.
    pub max_connections: Option<u32>,
    /// Maximum number of concurrent calls on one connection. Default: 1,000.
    pub max_concurrent_streams: u32,
    /// The age at which a connection gets GOAWAY, varied by up to 10 % either way; `None` means no limit. Default: 1 h.
    pub max_age: Option<Duration>,
    /// How long the calls of such a connection may take to finish before it is closed; `None` means no limit. Default:
    /// `None`.
    pub max_age_grace: Option<Duration>,
    /// How long a connection may have no calls before it gets GOAWAY; `None` means no limit. Default: 10 min.
    pub max_idle: Option<Duration>,
    /// How long a caller may be silent before it gets a PING. Default: 20 s.
    pub keepalive_interval: Duration,
    /// How long a caller may take to answer a PING before its connection is closed. Default: 20 s.
    pub keepalive_timeout: Duration,
    /// How long TLS, the HTTP/2 preface, the first SETTINGS and each header block may take. Default: 10 s.
    pub handshake_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_concurrent_streams: 1_000,
            max_age: Some(Duration::from_hours(1)),
            max_age_grace: None,
            max_idle: Some(Duration::from_mins(10)),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// The files of a static certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain in PEM, the leaf first.
    pub cert: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// A server that has bound its sockets but does not serve yet: connections wait in the accept queues.
#[derive(Debug)]
pub struct Server {
    settings: ServerSettings,
    tls: Option<Arc<rustls::ServerConfig>>,
    grpc: Listener,
    plain: Listener,
    admission: Admission,
    routes: Routes,
    pool: Pool,
    rejected: RejectedTenants,
    health: Health,
    pulse: Pulse,
    metrics: Metrics,
    tasks: Tasks,
}

impl Server {
    /// Binds both addresses and loads the certificate, so that a problem with either is reported at startup.
    pub async fn bind(mut settings: ServerSettings) -> Result<Self, ServerError> {
        let tls = settings.tls.as_ref().map(tls::config).transpose()?;
        let grpc = listeners::bind(settings.listen_addr).await?;
        let plain = listeners::bind(settings.health_addr).await?;
        let (metrics, tasks) = (Metrics::default(), Tasks::default());
        let tenants = std::mem::take(&mut settings.tenants);
        let rejected = std::mem::take(&mut settings.rejected_tenants);
        let rejected = RejectedTenants::new(rejected, tenants.len(), &metrics);
        let pulse = Pulse::new(workers::threads());
        let health = Health::new(api::SERVICE_NAMES, pulse.clone()).with_notice(rejected.notice());
        if settings.uploads.keys.is_none() {
            tracing::warn!(
                "LONGSHORE_UPLOAD_KEY is not set: UploadService uploads cannot be resumed after this process exits"
            );
        }
        let pool = Pool::new(tenants, settings.memory, &metrics, &tasks);
        let limits = settings.limits();
        let services =
            Services::new(pool.clone(), settings.auth, limits, settings.uploads.clone(), metrics.clone());
        let admission = services.admission();
        let routes = routes(services.routes(), &health, settings.reflection)?;
        Ok(Self {
            settings,
            tls,
            grpc,
            plain,
            admission,
            routes,
            pool,
            rejected,
            health,
            pulse,
            metrics,
            tasks,
        })
    }

    /// The address of the gRPC listener, with the actual port if the settings have port 0.
    pub fn listen_addr(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// The address of the health and metrics listener.
    pub fn health_addr(&self) -> SocketAddr {
        self.plain.address()
    }

    /// The metrics of this server.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Serves until `shutdown` completes, then drains: health reports NOT_SERVING immediately, the server refuses new
    /// calls after `shutdown_delay`, ends in-flight calls after a further `shutdown_grace`, and gives background tasks
    /// a few seconds to finish. Dropping the future closes every connection.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        tracing::info!(
            grpc = %self.listen_addr(),
            health = %self.health_addr(),
            tls = self.tls.is_some(),
            auth = ?self.settings.auth,
            "serving"
        );
        let stages = Stages {
            delay: self.settings.shutdown_delay,
            grace: self.settings.shutdown_grace,
            health: self.health.clone(),
            running: RunningCalls::default(),
            tasks: self.tasks.clone(),
            stop: CancellationToken::new(),
            cut_calls: CancellationToken::new(),
            cut_connections: CancellationToken::new(),
        };
        let memory = &self.settings.memory;
        let around = CallLayers {
            admission: self.admission,
            limits: self.settings.limits(),
            metrics: &self.metrics,
            running: &stages.running,
            cut: &stages.cut_calls,
            idle_timeout: memory.idle_timeout,
        };
        let connections = Connections {
            service: around.layered(self.routes),
            settings: self.settings.connections.clone(),
            tls: self.tls,
            unread: Unread::new(memory.budget, &self.metrics),
            unsent: Unsent::new(memory.budget, memory.idle_timeout, &self.metrics),
            limit: ConnectionLimit::new(self.settings.connections.max_connections),
            stop: stages.stop.clone(),
        };
        let (metrics, cut) = (self.metrics.clone(), stages.cut_connections.clone());
        let workers = Workers::start(&Shared { connections, metrics, pulse: self.pulse, cut })
            .map_err(|error| ServerError::Stopped { listener: "gRPC", reason: error.to_string() })?;
        // Dropping this future ends both tasks.
        let mut searching = JoinSet::new();
        searching.spawn(search_for_orphans(self.pool, self.metrics.clone()));
        searching.spawn(self.rejected.warn_repeatedly());
        let plain = serve_plain(self.plain, &self.health, self.metrics);
        let (serving, threads) = workers.serve(self.grpc, stages.stop.clone());
        let mut grpc = JoinSet::new();
        grpc.spawn(async { ("gRPC", serving.await) });
        let ended = stages.run(grpc, plain, shutdown).await;
        threads.end().await;
        ended
    }
}

/// Longshore's own services, health, and reflection if it is enabled.
fn routes(ours: Routes, health: &Health, reflection: bool) -> Result<Routes, ServerError> {
    let routes = ours.add_service(health.service());
    if reflection { reflection::add_to(routes) } else { Ok(routes) }
}

/// Serves health and metrics until the process has drained: probes must see NOT_SERVING, not a closed port.
fn serve_plain(listener: Listener, health: &Health, metrics: Metrics) -> Serving {
    let router = health.router(metrics);
    let mut serving = JoinSet::new();
    serving.spawn(async move { match plain_listener::serve(listener, router).await {} });
    serving
}
