//! The gRPC server: listeners, TLS, the layers around every call, health checks, shutdown.

mod access;
mod admin;
mod audit;
mod authentication;
mod call;
mod coalesce;
mod complete_errors;
mod connection;
mod connection_limit;
mod deadline;
mod decision;
mod error;
mod health;
mod layers;
mod limits;
mod listeners;
mod live_tenants;
mod methods;
mod plain_listener;
mod prefetch;
mod protocol;
mod pulse;
mod reflection;
mod shutdown;
mod throttled;
mod tls;
mod workers;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes};

use self::{
    access::RunningCalls,
    connection::{Connections, Unread, Unsent},
    connection_limit::ConnectionLimit,
    health::Health,
    layers::CallLayers,
    listeners::Listener,
    plain_listener::Versions,
    pulse::Pulse,
    shutdown::{Serving, Stages},
    workers::{Shared, Workers},
};
use crate::{
    api::{self, Admin, Admission, Limits, Services},
    auth::{AuthMode, ServerJwt},
    pb::code_name,
    settings::{
        Address, Flag, Keyword, Number, Optional, Period, Size, TimeLimit, TimeLimitFrom, Timeout, settings,
    },
    tasks::Tasks,
    telemetry::{AuditLog, AuditSettings, Metrics, MetricsTenants, Usage},
    tenants::{
        BuiltStores, InvalidTenants, Pool, Process, ProcessLimits, Resources, Snapshot, TenantSettings,
        drop_idle_stores, search_for_orphans,
    },
};

pub use crate::api::{ReloadTenants, UploadKeys, UploadSettings};
pub use crate::tenants::MemorySettings;
pub use admin::AdminSettings;
pub use error::ServerError;
pub use live_tenants::LiveTenants;
pub use tls::{LiveTls, TlsFiles, TlsReading};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

settings! {
    /// Settings of the server itself.
    pub struct ServerSettings(ServerLayer), variables "LONGSHORE_" {
        /// Address of the gRPC listener.
        listen_addr: SocketAddr as Address = loopback(50051),
        /// Address of `/livez`, `/readyz`, `/metrics` and gRPC health; plaintext, without tokens; must differ from
        /// `LONGSHORE_LISTEN_ADDR`.
        health_addr: SocketAddr as Address = loopback(9090),
        /// Whether callers must authenticate.
        auth: AuthMode as Keyword<AuthMode> = AuthMode::Required,
        /// Whether gRPC reflection is served, also on the admin listener.
        reflection: bool as Flag = true,
        /// Maximum size of a message from a caller, after decompression; health and reflection accept 4 KiB without a
        /// token.
        max_message_bytes: u64 as Size<{ 64 * KIB }, GIB> = 4 * MIB,
        /// How long a message may take to arrive; for an uncompressed chunk of `Upload`, `WriteUpload` or
        /// `WriteUploadWithProgress`, the longest pause between its bytes.
        message_timeout: Duration as Timeout = Duration::from_mins(1),
        /// Tenants whose usage has metrics of its own, by name, separated by commas; `*`: the first 500 tenants. The
        /// usage of all others is summed under the tenant `*`.
        metrics_tenants: MetricsTenants as MetricsTenants = MetricsTenants::default() => "none",
        /// How long a store may have no calls before it is dropped, up to an eighth of this time later: its connections
        /// to S3 are closed, and its memory is freed. The next call builds it again.
        store_idle_timeout: Option<Duration> as TimeLimitFrom<1_000> = Some(Duration::from_mins(10)),
        /// At shutdown, how long the server still accepts calls after health has changed to NOT_SERVING.
        shutdown_delay: Duration as Period = Duration::ZERO,
        /// After that delay, how long in-flight calls may take to finish.
        shutdown_grace: Duration as Period = Duration::from_secs(30),
    }
    include {
        /// Limits on each connection, and on the number of connections.
        connections: ConnectionSettings,
        /// The memory budget, and how long calls wait for memory.
        memory: MemorySettings,
        /// The limits on calls.
        process: ProcessLimits,
        /// The keys that seal upload ids, and how many replicas share them.
        uploads: UploadSettings,
        /// The admin listener.
        admin: AdminSettings,
        /// The audit log.
        audit: AuditSettings,
    }
    besides {
        /// The certificate, and what verifies those of clients. Without them, gRPC is served in plaintext.
        tls: Option<TlsFiles> = None,
        /// The issuer whose tokens name their tenant.
        jwt: Option<ServerJwt> = None,
        /// The tenants.
        tenants: Vec<Arc<TenantSettings>> = Vec::new(),
        /// Names of tenants that are not served because their settings are invalid. Metrics, the log and `/readyz`
        /// report them.
        rejected_tenants: Vec<String> = Vec::new(),
        /// What is wrong with the settings of each of them: some sentences, each with its place.
        rejection_reasons: BTreeMap<String, Vec<String>> = BTreeMap::new(),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl ServerSettings {
    /// The limits on a call's messages.
    fn limits(&self) -> Limits {
        let max_message_bytes = usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX);
        Limits { max_message_bytes, message_timeout: self.message_timeout }
    }
}

settings! {
    /// Limits on callers' connections.
    pub struct ConnectionSettings(ConnectionLayer), variables "LONGSHORE_" {
        /// Maximum number of concurrent calls on one connection.
        max_concurrent_streams: u32 as Number<1, 1_000_000> = 1_000,
        /// Maximum number of connections from callers; further connections are closed at once.
        max_connections: Option<u32> as Optional<Number<1, 1_000_000>> =
            None => "3/4 × (limit on file descriptors − 64), at most 100,000",
        /// Age at which a connection gets GOAWAY, varied by up to 10 % either way.
        max_age = "max_connection_age": Option<Duration> as TimeLimit = Some(Duration::from_hours(1)),
        /// How long the calls of such a connection, or of one whose client certificate is no longer valid, may take to
        /// finish before the connection is closed.
        max_age_grace = "max_connection_age_grace": Option<Duration> as TimeLimit = None,
        /// How long a connection may have no calls before it gets GOAWAY.
        max_idle = "max_connection_idle": Option<Duration> as TimeLimit = Some(Duration::from_mins(10)),
        /// How long a caller may be silent before the server sends a PING.
        keepalive_interval: Duration as Timeout = Duration::from_secs(20),
        /// How long a caller may take to answer a PING before its connection is closed.
        keepalive_timeout: Duration as Timeout = Duration::from_secs(20),
        /// How long the TLS handshake, the HTTP/2 preface and the first SETTINGS may take together, and how long each
        /// header block may take.
        handshake_timeout: Duration as Timeout = Duration::from_secs(10),
    }
}

/// A server that has bound its sockets but does not serve yet: connections wait in the accept queues.
pub struct Server {
    settings: ServerSettings,
    tls: Option<LiveTls>,
    grpc: Listener,
    plain: Listener,
    admin: Option<Listener>,
    reload: Option<ReloadTenants>,
    usage: Usage,
    built_stores: BuiltStores,
    audit: Option<AuditLog>,
    admission: Admission,
    routes: Routes,
    pool: Pool,
    invalid: InvalidTenants,
    health: Health,
    pulse: Pulse,
    metrics: Metrics,
    tasks: Tasks,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds all addresses and loads the certificate, so that a problem with either is reported at startup.
    pub async fn bind(mut settings: ServerSettings) -> Result<Self, ServerError> {
        let process = Process::new(settings.process, settings.uploads.replicas, settings.max_message_bytes);
        let resources = Resources {
            usage: Usage::new(settings.metrics_tenants.clone()),
            ..Resources::new(settings.memory).within(process).with_jwt(settings.jwt.take())
        };
        resources.metrics.export_usage(&resources.usage, code_name_of);
        let (metrics, tasks) = (resources.metrics.clone(), resources.tasks.clone());
        let tls = settings.tls.clone().map(|files| LiveTls::load(files, &metrics)).transpose()?;
        let grpc = listeners::bind(settings.listen_addr).await?;
        let plain = listeners::bind(settings.health_addr).await?;
        let admin = admin::bind(&settings.admin).await?;
        let audit = AuditLog::open(&settings.audit).map_err(ServerError::Audit)?;
        if let Some(audit) = &audit {
            metrics.watch_audit(audit);
        }
        let tenants = std::mem::take(&mut settings.tenants);
        let rejected = std::mem::take(&mut settings.rejected_tenants);
        let reasons = std::mem::take(&mut settings.rejection_reasons);
        let invalid = InvalidTenants::new(rejected, tenants.len(), &metrics).with_reasons(reasons);
        let pulse = Pulse::new(workers::threads());
        let health = Health::new(api::SERVICE_NAMES, pulse.clone())
            .with_tenants(invalid.clone())
            .with_tls(tls.clone())
            .with_audit(audit.clone());
        if settings.uploads.keys.is_none() {
            tracing::warn!(
                "LONGSHORE_UPLOAD_KEY is not set: UploadService uploads cannot be resumed after this process exits"
            );
        }
        let pool = Pool::new(Snapshot::new(tenants, settings.auth, &resources));
        let limits = settings.limits();
        let services = Services::new(pool.clone(), limits, settings.uploads.clone(), metrics.clone());
        let admission = services.admission();
        let routes = routes(services.routes(), &health, settings.reflection)?;
        Ok(Self {
            settings,
            tls,
            grpc,
            plain,
            admin,
            reload: None,
            usage: resources.usage,
            built_stores: resources.built_stores,
            audit,
            admission,
            routes,
            pool,
            invalid,
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

    /// The address of the admin listener, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Listener::address)
    }

    /// Makes `AdminService` reload the tenants with `reload`.
    pub fn reload_with(&mut self, reload: ReloadTenants) {
        self.reload = Some(reload);
    }

    /// The tenants of this server, which can be replaced while it runs.
    pub fn tenants(&self) -> LiveTenants {
        LiveTenants { pool: self.pool.clone(), invalid: self.invalid.clone(), metrics: self.metrics() }
    }

    /// The TLS files of this server, which can be reloaded while it runs. `None` if it serves plaintext.
    pub fn tls(&self) -> Option<LiveTls> {
        self.tls.clone()
    }

    /// The audit log of this server, if it has one.
    pub fn audit(&self) -> Option<AuditLog> {
        self.audit.clone()
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
            admin = self.admin_addr().map(tracing::field::display),
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
        let admin = self.admin_router(&stages)?;
        let memory = &self.settings.memory;
        let around = CallLayers {
            admission: self.admission,
            limits: self.settings.limits(),
            audit: self.audit.clone(),
            metrics: &self.metrics,
            running: &stages.running,
            cut: &stages.cut_calls,
            idle_timeout: memory.idle_timeout,
        };
        let connections = Connections {
            service: around.layered(self.routes),
            settings: self.settings.connections.clone(),
            tls: self.tls.clone(),
            unread: Unread::new(memory.budget, &self.metrics),
            unsent: Unsent::new(memory.budget, memory.idle_timeout, &self.metrics),
            limit: ConnectionLimit::new(self.settings.connections.max_connections),
            stop: stages.stop.clone(),
        };
        let (metrics, cut) = (self.metrics.clone(), stages.cut_connections.clone());
        let workers = Workers::start(&Shared { connections, metrics, pulse: self.pulse, cut })
            .map_err(|error| ServerError::Stopped { listener: "gRPC", reason: error.to_string() })?;
        // Dropping this future ends these tasks.
        let mut searching = JoinSet::new();
        searching.spawn(search_for_orphans(self.pool, self.metrics.clone()));
        if let Some(timeout) = self.settings.store_idle_timeout {
            searching.spawn(drop_idle_stores(self.built_stores, timeout));
        }
        searching.spawn(self.invalid.warn_repeatedly());
        if let Some(tls) = self.tls.clone() {
            searching.spawn(tls.warn_repeatedly());
        }
        if let Some(audit) = self.audit.clone() {
            searching.spawn(audit::warn_repeatedly(audit));
        }
        let mut plain = serve_plain(self.plain, &self.health, self.metrics);
        if let (Some(listener), Some(router)) = (self.admin, admin) {
            // Beyond loopback, the token must not be readable on the network.
            let is_local = listener.address().ip().to_canonical().is_loopback();
            let tls = self.tls.filter(|_| !is_local || !self.settings.admin.sans.is_empty());
            plain.spawn(async move {
                match plain_listener::serve(listener, router, tls, Versions::Http2).await {}
            });
        }
        let (serving, threads) = workers.serve(self.grpc, stages.stop.clone());
        let mut grpc = JoinSet::new();
        grpc.spawn(async { ("gRPC", serving.await) });
        let ended = stages.run(grpc, plain, shutdown).await;
        threads.end().await;
        // After the last call, so that its lines are written too.
        if let Some(audit) = self.audit {
            audit::finish(&audit, self.settings.shutdown_grace).await;
        }
        ended
    }
}

impl Server {
    /// What the admin listener serves, if there is one.
    fn admin_router(&self, stages: &Stages) -> Result<Option<Router>, ServerError> {
        if self.admin.is_none() {
            return Ok(None);
        }
        let admin = Admin {
            pool: self.pool.clone(),
            invalid: self.invalid.clone(),
            usage: self.usage.clone(),
            auth: self.settings.auth,
            reload: self.reload.clone(),
        };
        admin::router(admin, &self.settings, &self.health, stages, &self.metrics).map(Some)
    }
}

/// The name of a status code by its number.
fn code_name_of(number: usize) -> &'static str {
    code_name(Code::from_i32(i32::try_from(number).unwrap_or(i32::MAX)))
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
    serving.spawn(async move { match plain_listener::serve(listener, router, None, Versions::All).await {} });
    serving
}
