//! Serving until told to stop, and then ending in stages, each of them bounded.

use std::{convert::Infallible, future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{ServerError, access::RunningCalls, health::Health};
use crate::telemetry::Tasks;

/// How long calls that were cut may take to send their status.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long background tasks may take once no call is left: they abort multipart uploads.
const TASKS_GRACE: Duration = Duration::from_secs(5);

/// One of the listeners' loops, by name.
pub(super) type Serving = JoinSet<(&'static str, Result<(), String>)>;

/// What the stages need to reach.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) delay: Duration,
    pub(super) grace: Duration,
    pub(super) health: Health,
    pub(super) running: RunningCalls,
    pub(super) tasks: Tasks,
    /// Stops accepting gRPC, and asks callers to go elsewhere (GOAWAY).
    pub(super) stop: CancellationToken,
    /// Ends the calls that are left as UNAVAILABLE.
    pub(super) cut_calls: CancellationToken,
    /// Closes the connections that are left.
    pub(super) cut_connections: CancellationToken,
}

impl Stages {
    /// Serves until `shutdown`, then drains. A listener that ends before is an error.
    pub(super) async fn run(
        self,
        mut grpc: Serving,
        mut health: Serving,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        // Also when this future is dropped half-way, nothing that it started goes on.
        let _cut = self.cut_connections.clone().drop_guard();
        self.health.set(true);
        tokio::select! {
            () = shutdown => {}
            Err(error) = ended(&mut grpc) => return Err(error),
            Err(error) = ended(&mut health) => return Err(error),
        }
        self.withdraw().await;
        self.drain(&mut grpc).await;
        self.finish_tasks().await;
        tracing::info!("stopped");
        Ok(())
    }

    /// Load balancers and watchers learn it first; calls are taken until they have.
    async fn withdraw(&self) {
        self.health.set(false);
        tracing::info!(delay = ?self.delay, "shutting down: health says NOT_SERVING");
        tokio::time::sleep(self.delay).await;
    }

    async fn drain(&self, grpc: &mut Serving) {
        tracing::info!(calls = self.running.count(), grace = ?self.grace, "shutting down: no new calls");
        self.stop.cancel();
        self.health.end();
        if timeout(self.grace, grpc.join_next()).await.is_ok() {
            return;
        }
        tracing::warn!(calls = self.running.count(), "shutting down: cutting the calls that are left");
        self.cut_calls.cancel();
        if timeout(FAREWELL, grpc.join_next()).await.is_ok() {
            return;
        }
        self.cut_connections.cancel();
        if timeout(FAREWELL, grpc.join_next()).await.is_err() {
            tracing::warn!(calls = self.running.count(), "shutting down: calls do not end");
        }
    }

    async fn finish_tasks(&self) {
        if timeout(TASKS_GRACE, self.tasks.drained()).await.is_err() {
            tracing::warn!("shutting down: background tasks are left; multipart uploads may not be aborted");
        }
    }
}

/// Resolves with the error of a listener that ended though nobody asked it to.
async fn ended(serving: &mut Serving) -> Result<Infallible, ServerError> {
    match serving.join_next().await {
        Some(Ok((listener, result))) => {
            let reason = result.err().unwrap_or_else(|| "it has no more connections to accept".to_owned());
            Err(ServerError::Stopped { listener, reason })
        }
        Some(Err(error)) => {
            Err(ServerError::Stopped { listener: "gRPC or health", reason: error.to_string() })
        }
        None => std::future::pending().await,
    }
}
