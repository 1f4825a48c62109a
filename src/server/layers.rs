//! What stands around every gRPC call, and tonic's own settings beside it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};

use super::{
    ServerSettings, access::RunningCalls, authentication::AuthenticationLayer, call::CallLayer,
    complete_errors::CompleteErrorsLayer, deadline::DeadlineLayer, methods::Methods, protocol::ProtocolLayer,
};
use crate::{
    api::{Admission, MessagesLayer},
    telemetry::Metrics,
};

/// The protocol layer answers metadata that is larger than it takes. Only what is larger than this is answered with HTTP 431.
const LARGEST_HEADER_LIST: u32 = 64 * 1024;

/// At 16 KiB, HTTP/2's default, uploads cost up to half as much again; above 256 KiB nothing is gained.
const LARGEST_FRAME: u32 = 256 * 1024;

/// A caller that vanished without a word is noticed after at most the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Our layers; the last is the outermost.
type Layers = Stack<
    CompleteErrorsLayer,
    Stack<
        MessagesLayer,
        Stack<AuthenticationLayer, Stack<DeadlineLayer, Stack<ProtocolLayer, Stack<CallLayer, Identity>>>>,
    >,
>;

/// A tonic server with our layers.
pub(super) type Builder = Server<Layers>;

/// A tonic server with our layers around the services.
pub(super) type Served = Router<Layers>;

/// tonic's server as we set it up; the first layer is the outermost.
pub(super) fn builder(
    settings: &ServerSettings,
    metrics: &Metrics,
    running: &RunningCalls,
    cut: &CancellationToken,
    admission: Admission,
) -> Builder {
    let methods = Methods::served();
    Server::builder()
        .http2_max_header_list_size(LARGEST_HEADER_LIST)
        .max_frame_size(LARGEST_FRAME)
        .max_concurrent_streams(settings.connections.max_concurrent_streams)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // Outermost: whatever the layers below answer has a request id, and is counted and logged.
        .layer(CallLayer { methods: methods.clone(), metrics: metrics.clone(), running: running.clone() })
        // Before anything is done for a request: one that is not gRPC is not served.
        .layer(ProtocolLayer)
        // Around everything that takes time, and inside of what counts: an expired call is told of as such.
        .layer(DeadlineLayer { cut: cut.clone() })
        // Before the messages are read: without a valid token nothing of them is.
        .layer(AuthenticationLayer { admission, methods })
        .layer(MessagesLayer::new(settings.limits()))
        // Innermost: what tonic itself answers comes from the routes; the layers above make their own
        // statuses whole.
        .layer(CompleteErrorsLayer)
}
