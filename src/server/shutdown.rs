//! Serves until shutdown is requested, then shuts down in stages, each with a time limit.

use std::{convert::Infallible, future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{ServerError, access::RunningCalls, health::Health};
use crate::tasks::Tasks;

/// How long ended calls may take to send their status.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long background tasks, which abort multipart uploads, may run after the last call.
const TASKS_GRACE: Duration = Duration::from_secs(5);

/// The serving tasks of a listener, with its name.
pub(super) type Serving = JoinSet<(&'static str, Result<(), String>)>;

/// What the stages of the shutdown act on.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) delay: Duration,
    pub(super) grace: Duration,
    pub(super) health: Health,
    pub(super) running: RunningCalls,
    pub(super) tasks: Tasks,
    /// Stops accepting gRPC connections, and sends GOAWAY on the open ones.
    pub(super) stop: CancellationToken,
    /// Ends the remaining calls with UNAVAILABLE.
    pub(super) cut_calls: CancellationToken,
    /// Closes the remaining connections.
    pub(super) cut_connections: CancellationToken,
}

impl Stages {
    /// Serves until `shutdown` completes, then drains. Fails if a listener ends before that.
    pub(super) async fn run(
        self,
        mut grpc: Serving,
        mut health: Serving,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        // If this future is dropped before it completes, everything that it started stops.
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

    /// Reports NOT_SERVING, and still accepts calls until load balancers and watchers have had time to notice.
    async fn withdraw(&self) {
        self.health.set(false);
        tracing::info!(delay = ?self.delay, "shutting down: health says NOT_SERVING");
        tokio::time::sleep(self.delay).await;
    }

    async fn drain(&self, grpc: &mut Serving) {
        tracing::info!(calls = self.running.count(), grace = ?self.grace, "shutting down: draining calls");
        self.stop.cancel();
        self.health.end();
        if timeout(self.grace, grpc.join_next()).await.is_ok() {
            return;
        }
        tracing::warn!(calls = self.running.count(), "shutting down: ending the remaining calls");
        self.cut_calls.cancel();
        if timeout(FAREWELL, grpc.join_next()).await.is_ok() {
            return;
        }
        self.cut_connections.cancel();
        if timeout(FAREWELL, grpc.join_next()).await.is_err() {
            tracing::warn!(calls = self.running.count(), "shutting down: some calls did not end");
        }
    }

    async fn finish_tasks(&self) {
        if timeout(TASKS_GRACE, self.tasks.drained()).await.is_err() {
            tracing::warn!("shutting down: background tasks timed out; some multipart uploads may remain");
        }
    }
}

/// Resolves with an error when a listener ends on its own.
async fn ended(serving: &mut Serving) -> Result<Infallible, ServerError> {
    match serving.join_next().await {
        Some(Ok((listener, result))) => {
            let reason = result.err().unwrap_or_else(|| "it no longer accepts connections".to_owned());
            Err(ServerError::Stopped { listener, reason })
        }
        Some(Err(error)) => {
            Err(ServerError::Stopped { listener: "gRPC or health", reason: error.to_string() })
        }
        None => std::future::pending().await,
    }
}
