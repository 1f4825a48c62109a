//! The stack of layers around every gRPC call.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer as _;

use super::{
    access::RunningCalls,
    audit::{AuditLayer, AuditService},
    authentication::{AuthenticationLayer, AuthenticationService},
    call::{CallLayer, CallService},
    complete_errors::{CompleteErrors, CompleteErrorsLayer},
    deadline::{DeadlineLayer, DeadlineService},
    limits::{LimitsLayer, LimitsService},
    methods::Methods,
    protocol::{ProtocolLayer, ProtocolService},
};
use crate::{
    api::{Admission, Limits, MessagesLayer, MessagesService},
    telemetry::{AuditLog, Metrics},
};

/// The services, wrapped in the layers.
pub(super) type Served = CallService<
    ProtocolService<
        DeadlineService<
            AuthenticationService<LimitsService<AuditService<MessagesService<CompleteErrors<Routes>>>>>,
        >,
    >,
>;

/// What the layers are built from.
#[derive(Debug)]
pub(super) struct CallLayers<'a> {
    pub(super) admission: Admission,
    pub(super) limits: Limits,
    pub(super) audit: Option<AuditLog>,
    pub(super) metrics: &'a Metrics,
    pub(super) running: &'a RunningCalls,
    /// Ends every call when cancelled.
    pub(super) cut: &'a CancellationToken,
    /// How long a caller may read nothing of a response while other calls wait for memory.
    pub(super) idle_timeout: Duration,
}

impl CallLayers<'_> {
    /// Wraps `routes` in the layers, innermost first.
    pub(super) fn layered(self, routes: Routes) -> Served {
        let methods = Methods::served();
        // The routes return the errors that tonic produces itself. Outer layers add the details to their own statuses.
        let service = CompleteErrorsLayer.layer(routes.prepare());
        let service = MessagesLayer::new(self.limits).layer(service);
        // Inside the authentication, because its lines name the caller; inside the limits, because a call beyond them
        // makes no request; and around the reading of messages.
        let service = AuditLayer { log: self.audit, methods: methods.clone() }.layer(service);
        // Around the reading of messages: a call that waits for a limit must not hold its message in memory. Inside the
        // authentication, which finds out whose limits apply.
        let limits = LimitsLayer { methods: methods.clone() };
        let service = limits.layer(service);
        // Around the reading of messages: without a valid token, no message is read.
        let authentication = AuthenticationLayer::new(self.admission, methods.clone());
        let service = authentication.layer(service);
        // Around everything that can take time, but inside the access log, so that an expired call is logged as
        // expired.
        let deadline = DeadlineLayer { cut: self.cut.clone(), idle_timeout: self.idle_timeout };
        let service = deadline.layer(service);
        // Before any other work: a request that is not gRPC is rejected.
        let service = ProtocolLayer.layer(service);
        // Outermost: every response, whichever layer returns it, gets a request id, is counted and is logged.
        let (metrics, running) = (self.metrics.clone(), self.running.clone());
        CallLayer { methods, metrics, running }.layer(service)
    }
}
