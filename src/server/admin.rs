//! The admin listener: `AdminService`, health and reflection, for operators.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::Body;
use tonic::{body::Body as TonicBody, server::NamedService as _, service::Routes};
use tonic_health::pb::health_server::HealthServer;
use tower::{Layer, Service, ServiceExt as _};

use super::{
    ServerError, ServerSettings,
    call::CallLayer,
    complete_errors::CompleteErrorsLayer,
    deadline::DeadlineLayer,
    decision::{OptionalBody, RejectedOr},
    health::Health,
    listeners::{self, Listener},
    loopback,
    methods::Methods,
    protocol::ProtocolLayer,
    reflection,
    shutdown::Stages,
};
use crate::{
    api::{self, Admin, Limits, MessagesLayer, OperatorsCall},
    auth::{AdminToken, AltNames, ClientCertificate, Refusal, SubjectAltName},
    pb::admin_service_server::AdminServiceServer,
    settings::{Address, Optional, settings},
    telemetry::Metrics,
};

/// The port of the default address.
const PORT: u16 = 9091;

/// The largest message of a call of `AdminService`, in bytes.
const LARGEST_MESSAGE: usize = 64 * 1024;

settings! {
    /// Settings of the admin listener.
    pub struct AdminSettings(AdminLayer), variables "LONGSHORE_" {
        /// Address of the listener for `AdminService`; beyond loopback, it requires `LONGSHORE_ADMIN_TOKEN` or
        /// `LONGSHORE_ADMIN_SANS`, and uses the certificate of the gRPC listener. If the port of the default is in use, the server starts without the
        /// listener and logs a warning.
        addr = "admin_addr": Option<SocketAddr> as Optional<Address> = None => "`127.0.0.1:9091`, if the port is free",
        /// The token that calls of `AdminService` must carry in the metadata `authorization: Bearer …`: at least 16
        /// visible ASCII characters, as printed by `longshore token`.
        token = "admin_token": Option<AdminToken> as Optional<AdminToken> = None => "none",
        /// Names in operators' client certificates, separated by commas: DNS names and URIs, such as SPIFFE ids, which are
        /// compared exactly. With it, the listener uses TLS on every address, and calls need such a certificate, or the
        /// token if there is one. Requires `LONGSHORE_TLS_CLIENT_CA`.
        sans = "admin_sans": Vec<SubjectAltName> as AltNames = Vec::new() => "none",
    }
}

/// Listens on the address in the settings, or on the default address if its port is free.
pub(super) async fn bind(settings: &AdminSettings) -> Result<Option<Listener>, ServerError> {
    match settings.addr {
        Some(address) => listeners::bind(address).await.map(Some).map_err(|error| match error {
            ServerError::Listen { address, source } => ServerError::ListenAdmin { address, source },
            other => other,
        }),
        None => Ok(listeners::bind(loopback(PORT)).await.map_or_else(
            |error| {
                tracing::warn!(%error, "AdminService is not served: set LONGSHORE_ADMIN_ADDR to a free address");
                None
            },
            Some,
        )),
    }
}

/// Everything that the listener serves, with the layers around it.
pub(super) fn router(
    admin: Admin,
    settings: &ServerSettings,
    health: &Health,
    stages: &Stages,
    metrics: &Metrics,
) -> Result<Router, ServerError> {
    let routes = admin.routes().add_service(health.service());
    let routes = if settings.reflection { reflection::add_to_admin(routes)? } else { routes };
    // The layers are in the same order as those of the gRPC listener, and for the same reasons.
    let service = CompleteErrorsLayer.layer(Routes::prepare(routes));
    let limits = Limits { max_message_bytes: LARGEST_MESSAGE, ..settings.limits() };
    let service = MessagesLayer::new(limits).layer(service);
    let AdminSettings { token, sans, .. } = settings.admin.clone();
    let service = OperatorLayer { token: token.map(Arc::new), sans: sans.into() }.layer(service);
    // No response is large, so none has to be ended because it is not read.
    let deadline = DeadlineLayer { cut: stages.cut_calls.clone(), idle_timeout: Duration::MAX };
    let service = ProtocolLayer.layer(deadline.layer(service));
    let (metrics, running) = (metrics.clone(), stages.running.clone());
    let service = CallLayer { methods: Methods::admin(), metrics, running }.layer(service);
    let service = service.map_request(|request: Request<axum::body::Body>| request.map(TonicBody::new));
    Ok(Router::new().fallback_service(service))
}

/// Rejects calls with neither the token nor the certificate of an operator, before their messages are read. Health needs
/// neither.
#[derive(Debug, Clone)]
struct OperatorLayer {
    token: Option<Arc<AdminToken>>,
    sans: Arc<[SubjectAltName]>,
}

impl<S> Layer<S> for OperatorLayer {
    type Service = OperatorService<S>;

    fn layer(&self, inner: S) -> OperatorService<S> {
        OperatorService { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
struct OperatorService<S> {
    inner: S,
    layer: OperatorLayer,
}

impl<S, Q, B> Service<Request<Q>> for OperatorService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = RejectedOr<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        match self.layer.check(&request) {
            Ok(()) => {
                if is_for_operators(&request) {
                    request.extensions_mut().insert(OperatorsCall);
                }
                RejectedOr::Passed(self.inner.call(request))
            }
            Err(refusal) => {
                RejectedOr::rejected(api::admin_refused(request.extensions(), refusal).into_http())
            }
        }
    }
}

/// Whether the call is one of `AdminService`.
fn is_for_operators<Q>(request: &Request<Q>) -> bool {
    request.uri().path().split('/').nth(1) == Some(AdminServiceServer::<Admin>::NAME)
}

impl OperatorLayer {
    /// As for callers, a token decides alone.
    fn check<Q>(&self, request: &Request<Q>) -> Result<(), Refusal> {
        let is_open = self.token.is_none() && self.sans.is_empty();
        let service = request.uri().path().split('/').nth(1);
        if is_open || service == Some(HealthServer::<Health>::NAME) {
            return Ok(());
        }
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        match (values.next(), values.next(), &self.token) {
            (None, ..) => self.check_certificate(request.extensions().get()),
            (Some(value), None, Some(token)) => {
                token.check(Some(value.to_str().map_err(|_| Refusal::TokenUnknown)?))
            }
            (Some(_), ..) => Err(Refusal::TokenUnknown),
        }
    }

    fn check_certificate(&self, certificate: Option<&Arc<ClientCertificate>>) -> Result<(), Refusal> {
        match certificate {
            Some(certificate) if !self.sans.is_empty() => certificate.check_operator(&self.sans),
            _ => Err(Refusal::TokenMissing),
        }
    }
}
