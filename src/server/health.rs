//! Health checks: over gRPC on both listeners, and over HTTP for the kubelet on the plaintext one.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures::{Stream, stream, stream::BoxStream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, server::NamedService};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};
use tower::Layer;

use super::{protocol::ProtocolLayer, pulse::Pulse, tls::LiveTls};
use crate::{
    telemetry::{AuditLog, Metrics},
    tenants::InvalidTenants,
};

/// The largest message accepted on the health listener, in bytes. A service name is far shorter.
const LARGEST_MESSAGE: usize = 4 * 1024;

/// The health state of the server. Cheap to clone; clones share the state.
#[derive(Debug, Clone)]
pub(super) struct Health {
    phase: watch::Sender<Phase>,
    /// The services that are reported in addition to the whole server (`""`).
    services: &'static [&'static str],
    pulse: Pulse,
    /// They add a line to the body of `/readyz`.
    tenants: Option<InvalidTenants>,
    /// They add a line, too.
    tls: Option<LiveTls>,
    /// It adds a line, too.
    audit: Option<AuditLog>,
}

/// The phase of the server's life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    NotServing,
    /// Not serving, and watches end so that they do not delay the shutdown.
    Ending,
}

impl Health {
    /// Starts as not serving. `services` are reported in addition to the whole server; `pulse` tells whether the worker
    /// threads run.
    pub(super) fn new(services: &'static [&'static str], pulse: Pulse) -> Self {
        Self {
            phase: watch::Sender::new(Phase::NotServing),
            services,
            pulse,
            tenants: None,
            tls: None,
            audit: None,
        }
    }

    /// Adds a line about invalid tenants to the body of `/readyz`, for operators; the status stays the same.
    pub(super) fn with_tenants(self, tenants: InvalidTenants) -> Self {
        Self { tenants: Some(tenants), ..self }
    }

    /// Adds a line about TLS files that cannot be used.
    pub(super) fn with_tls(self, tls: Option<LiveTls>) -> Self {
        Self { tls, ..self }
    }

    /// Adds a line if the audit log is not written.
    pub(super) fn with_audit(self, audit: Option<AuditLog>) -> Self {
        Self { audit, ..self }
    }

    /// Sets the status that checks return and that watches receive.
    pub(super) fn set(&self, serving: bool) {
        self.phase.send_replace(if serving { Phase::Serving } else { Phase::NotServing });
    }

    /// Ends every watch after it has sent NOT_SERVING.
    pub(super) fn end(&self) {
        self.phase.send_replace(Phase::Ending);
    }

    /// The service `grpc.health.v1.Health`, backed by this state.
    pub(super) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }

    /// The routes of the health listener, which serves HTTP/1.1 and HTTP/2 without TLS. It is separate from the gRPC
    /// listener because probes and Prometheus have no client certificate and no token.
    pub(super) fn router(&self, metrics: Metrics) -> Router {
        let grpc = format!("/{}/{{*method}}", <HealthServer<Self> as NamedService>::NAME);
        Router::new()
            .route("/livez", get(alive).with_state(self.clone()))
            .route("/readyz", get(ready).with_state(self.clone()))
            .route("/metrics", get(render).with_state(metrics))
            .route_service(
                &grpc,
                ProtocolLayer.layer(self.service().max_decoding_message_size(LARGEST_MESSAGE)),
            )
    }

    fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }

    /// The status of a service, sent each time it changes. `known`: whether the server has the service.
    fn changes(&self, known: bool) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + use<> {
        let phases = self.phase.subscribe();
        stream::unfold((phases, None), move |(mut phases, told)| async move {
            loop {
                let phase = *phases.borrow_and_update();
                let status = if known { phase.status() } else { ServingStatus::ServiceUnknown };
                if told != Some(status) {
                    return Some((Ok(response(status)), (phases, Some(status))));
                }
                if phase == Phase::Ending || phases.changed().await.is_err() {
                    return None;
                }
            }
        })
    }
}

impl Phase {
    fn status(self) -> ServingStatus {
        if self == Self::Serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

/// <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>
#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("the server has no such service"));
        }
        Ok(Response::new(response(self.phase.borrow().status())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        Ok(Response::new(Box::pin(self.changes(known))))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

async fn alive(State(health): State<Health>) -> (StatusCode, String) {
    match health.pulse.stuck() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(thread) => (StatusCode::SERVICE_UNAVAILABLE, format!("worker thread {thread} is stuck\n")),
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let notice = [
        health.tenants.as_ref().and_then(InvalidTenants::notice),
        health.tls.as_ref().and_then(LiveTls::notice),
        health.audit.as_ref().and_then(AuditLog::notice),
    ];
    let notice = notice.into_iter().flatten().fold(String::new(), |all, notice| all + &notice + "\n");
    if health.is_serving() {
        (StatusCode::OK, format!("ok\n{notice}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not serving\n{notice}"))
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::{FutureExt as _, StreamExt as _};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn answer(health: &Health, path: &str) -> (StatusCode, String) {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = health.router(Metrics::default()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn livez_is_always_ok_and_readyz_only_while_serving() {
        let health = Health::new(&["a.Service"], Pulse::new(1));
        assert_eq!(answer(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(answer(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        health.set(true);
        assert_eq!(answer(&health, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        health.set(false);
        assert_eq!(answer(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(answer(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_notice_adds_a_line_to_readyz_and_keeps_its_status() {
        let health = Health::new(&[], Pulse::new(1)).with_tenants(InvalidTenants::new(
            vec!["b".to_owned()],
            1,
            &Metrics::default(),
        ));
        let second = "\n1 of 2 tenants was rejected: see the log\n";
        assert_eq!(
            answer(&health, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, format!("not serving{second}"))
        );
        health.set(true);
        assert_eq!(answer(&health, "/readyz").await, (StatusCode::OK, format!("ok{second}")));
    }

    #[tokio::test]
    async fn metrics_are_text_and_other_paths_are_not_found() {
        let health = Health::new(&[], Pulse::new(1));
        let (status, text) = answer(&health, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("target_info{"), "{text}");
        assert_eq!(answer(&health, "/other").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn watches_send_not_serving_before_they_end() {
        let health = Health::new(&["a.Service"], Pulse::new(1));
        health.set(true);
        let watch = |service: &str| {
            let request = Request::new(HealthCheckRequest { service: service.to_owned() });
            health_server::Health::watch(&health, request)
        };
        let told = |responses: Vec<Result<HealthCheckResponse, Status>>| {
            responses.into_iter().map(|response| response.unwrap().status()).collect::<Vec<_>>()
        };
        let mut known = watch("a.Service").await.unwrap().into_inner();
        let unknown = watch("other").await.unwrap().into_inner();
        assert_eq!(known.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
        health.set(false);
        assert_eq!(known.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert!(known.next().now_or_never().is_none(), "the watch ended while calls are still accepted");
        health.end();
        assert_eq!(told(known.collect().await), []);
        assert_eq!(told(unknown.collect().await), [ServingStatus::ServiceUnknown]);
        let late = watch("").await.unwrap().into_inner();
        assert_eq!(told(late.collect().await), [ServingStatus::NotServing]);
    }
}
