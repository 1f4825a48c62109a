//! What stands around every gRPC call.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer as _;

use super::{
    access::RunningCalls,
    authentication::{AuthenticationLayer, AuthenticationService},
    call::{CallLayer, CallService},
    complete_errors::{CompleteErrors, CompleteErrorsLayer},
    deadline::{DeadlineLayer, DeadlineService},
    methods::Methods,
    protocol::{ProtocolLayer, ProtocolService},
};
use crate::{
    api::{Admission, Limits, MessagesLayer, MessagesService},
    telemetry::Metrics,
};

/// The services with our layers around them.
pub(super) type Served = CallService<
    ProtocolService<DeadlineService<AuthenticationService<MessagesService<CompleteErrors<Routes>>>>>,
>;

/// What the layers need.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) admission: Admission,
    pub(super) limits: Limits,
    pub(super) metrics: &'a Metrics,
    pub(super) running: &'a RunningCalls,
    /// Ends every call, when cancelled.
    pub(super) cut: &'a CancellationToken,
    /// For how long a caller may take nothing of a response while others wait for memory.
    pub(super) idle_timeout: Duration,
}

impl Around<'_> {
    /// Puts the layers around `routes`, the innermost first.
    pub(super) fn layered(self, routes: Routes) -> Served {
        let methods = Methods::served();
        // What tonic itself answers comes from the routes; the layers above make their own statuses whole.
        let service = CompleteErrorsLayer.layer(routes.prepare());
        let service = MessagesLayer::new(self.limits).layer(service);
        // Before the messages are read: without a valid token nothing of them is.
        let authentication = AuthenticationLayer { admission: self.admission, methods: methods.clone() };
        let service = authentication.layer(service);
        // Around everything that takes time, and inside of what counts: an expired call is logged as such.
        let deadline = DeadlineLayer { cut: self.cut.clone(), idle_timeout: self.idle_timeout };
        let service = deadline.layer(service);
        // Before anything is done for a request: one that is not gRPC is not served.
        let service = ProtocolLayer.layer(service);
        // Whatever the layers below answer has a request id, and is counted and logged.
        let (metrics, running) = (self.metrics.clone(), self.running.clone());
        CallLayer { methods, metrics, running }.layer(service)
    }
}
