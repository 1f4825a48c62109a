//! Whether this server wants calls: by gRPC on both listeners, by HTTP for the kubelet on the plain one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::telemetry::Metrics;

/// One state for everyone who asks. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
    services: &'static [&'static str],
    serving: Arc<AtomicBool>,
    /// A second line of `/readyz`.
    notice: Option<Arc<str>>,
}

impl Health {
    /// Not serving yet; `services` are reported beside the whole server (`""`).
    pub(super) async fn new(services: &'static [&'static str]) -> Self {
        let health =
            Self { reporter: HealthReporter::new(), services, serving: Arc::default(), notice: None };
        // tonic-health begins with "" as SERVING.
        health.set(false).await;
        health
    }

    /// Adds a line to the body of `/readyz` for operators; the status stays the same.
    pub(super) fn with_notice(self, notice: Option<String>) -> Self {
        Self { notice: notice.map(Arc::from), ..self }
    }

    /// Says so to everyone who asks and to everyone who watches.
    pub(super) async fn set(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in [""].iter().chain(self.services) {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// `grpc.health.v1.Health`; each is a view of the same state.
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// What the health listener serves, over HTTP/1.1 and over HTTP/2 without TLS. It is a listener of its
    /// own because probes and Prometheus have no client certificate and no token.
    pub(super) fn router(&self, metrics: Metrics) -> Router {
        let grpc = format!("/{}/{{*method}}", <HealthServer<HealthService> as NamedService>::NAME);
        Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(ready).with_state(self.clone()))
            .route("/metrics", get(render).with_state(metrics))
            .route_service(&grpc, self.service())
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let notice = health.notice.map(|notice| format!("{notice}\n")).unwrap_or_default();
    if health.serving.load(Ordering::Relaxed) {
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
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn answer(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.router(Metrics::default()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn alive_always_and_ready_only_while_serving() {
        let health = Health::new(&["a.Service"]).await;
        assert_eq!(answer(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(answer(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        health.set(true).await;
        assert_eq!(answer(&health, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        health.set(false).await;
        assert_eq!(answer(&health, "/livez").await.0, StatusCode::OK);
        assert_eq!(answer(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_notice_is_a_second_line_of_readyz_and_leaves_its_status() {
        let health = Health::new(&[]).await.with_notice(Some("1 of 2 tenants was rejected".to_owned()));
        let second = "\n1 of 2 tenants was rejected\n";
        assert_eq!(
            answer(&health, "/readyz").await,
            (StatusCode::SERVICE_UNAVAILABLE, format!("not serving{second}"))
        );
        health.set(true).await;
        assert_eq!(answer(&health, "/readyz").await, (StatusCode::OK, format!("ok{second}")));
    }

    #[tokio::test]
    async fn metrics_are_text_and_other_paths_are_not_found() {
        let health = Health::new(&[]).await;
        let (status, text) = answer(&health, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("target_info{"), "{text}");
        assert_eq!(answer(&health, "/other").await.0, StatusCode::NOT_FOUND);
    }
}
