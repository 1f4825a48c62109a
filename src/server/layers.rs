//! What stands around every gRPC call.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer as _;

use super::{
    access::RunningCalls,
    call::{CallLayer, CallService},
    complete_errors::{CompleteErrors, CompleteErrorsLayer},
    deadline::{DeadlineLayer, DeadlineService},
    methods::Methods,
};
use crate::{telemetry::Metrics, tenants::MemoryBudget};

/// The services with our layers around them.
pub(super) type Served = CallService<DeadlineService<CompleteErrors<Routes>>>;

/// What the layers need.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) running: &'a RunningCalls,
    /// Ends every call, when cancelled.
    pub(super) cut: &'a CancellationToken,
    /// Idle reads are in the way of others where this is contended.
    pub(super) memory: MemoryBudget,
    /// For how long they may be.
    pub(super) idle_timeout: Duration,
}

impl Around<'_> {
    /// Puts the layers around `routes`.
    pub(super) fn layered(self, routes: Routes) -> Served {
        let Self { metrics, running, cut, memory, idle_timeout } = self;
        // Innermost: what tonic itself answers comes from the routes; the layers above make their own
        // statuses whole.
        let service = CompleteErrorsLayer.layer(routes.prepare());
        // Around everything that takes time, and inside of what counts: an expired call is logged as such.
        let idle = Some((memory, idle_timeout));
        let service = DeadlineLayer { cut: cut.clone(), idle }.layer(service);
        // Outermost: whatever the layers below answer has a request id, and is counted and logged.
        let (metrics, running) = (metrics.clone(), running.clone());
        CallLayer { methods: Methods::served(), metrics, running }.layer(service)
    }
}
