//! Listeners, TLS, layers around every call, health, shutdown.

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
    layers::Around,
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
    /// How long a message may take to arrive. Default: 60 s.
    pub message_timeout: Duration,
    /// Limits of each connection and of their number.
    pub connections: ConnectionSettings,
    /// The memory budget, and how long calls wait for it.
    pub memory: MemorySettings,
    /// What seals the ids of uploads that outlive a process.
    pub uploads: UploadSettings,
    /// How long shutdown waits before it refuses new calls, while health already says NOT_SERVING. Default: 0 s.
    pub shutdown_delay: Duration,
    /// How long calls under way may take to end at shutdown. Default: 30 s.
    pub shutdown_grace: Duration,
    /// The tenants.
    pub tenants: Vec<TenantSettings>,
    /// Names of tenants that are not served because their settings are wrong. Metrics, log and `/readyz` report them.
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
    /// The limits of a call's messages.
    fn limits(&self) -> Limits {
        Limits { max_message_bytes: self.max_message_bytes, message_timeout: self.message_timeout }
    }
}

/// Limits of callers' connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The most connections at the same time. `None`: as many as there are file descriptors, less those that are
    /// reserved for S3 and the health listener. Default: `None`.
    pub max_connections: Option<u32>,
    /// Concurrent calls on one connection. Default: 1,000.
    pub max_concurrent_streams: u32,
    /// The age at which a connection gets GOAWAY, varied by up to 10 % either way; `None` is no limit. Default: 1 h.
    pub max_age: Option<Duration>,
    /// How long the calls of such a connection may take to finish before it is closed; `None` is no limit. Default:
    /// `None`.
    pub max_age_grace: Option<Duration>,
    /// How long a connection may be without a call before it gets GOAWAY; `None` is no limit. Default: 10 min.
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

/// Files of a static certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// A server that has its sockets and does not serve yet: connections wait in the sockets' queues.
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
    /// Listens on both addresses and reads the certificate, so that whatever is wrong is known at the start.
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

    /// Where gRPC is served: the port that was found, if the settings left it open.
    pub fn listen_addr(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Where health and metrics are served.
    pub fn health_addr(&self) -> SocketAddr {
        self.plain.address()
    }

    /// What this server counts.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Serves until `shutdown` completes, then drains: health says NOT_SERVING at once, calls are refused
    /// after `shutdown_delay`, those under way are cut after `shutdown_grace`, and background tasks get a
    /// few seconds. Dropping the future closes every connection.
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
        let around = Around {
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
        // Both end with this future.
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

/// Our services, and those that every gRPC server should have.
fn routes(ours: Routes, health: &Health, reflection: bool) -> Result<Routes, ServerError> {
    let routes = ours.add_service(health.service());
    if reflection { reflection::add_to(routes) } else { Ok(routes) }
}

/// Health and metrics are served for as long as the process drains: probes must see NOT_SERVING, and not
/// a closed port.
fn serve_plain(listener: Listener, health: &Health, metrics: Metrics) -> Serving {
    let router = health.router(metrics);
    let mut serving = JoinSet::new();
    serving.spawn(async move { match plain_listener::serve(listener, router).await {} });
    serving
}
