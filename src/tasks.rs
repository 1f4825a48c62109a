//! Background tasks that outlive the calls that started them.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Starts background tasks in the current span, and waits for them at shutdown. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Starts `task` in the current span.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.spawn(task.in_current_span())
    }

    /// Starts `task` outside of the current span, because it works for several calls.
    pub fn spawn_without_span<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn(task)
    }

    /// Waits until every task has ended, including tasks that start in the meantime.
    pub async fn drained(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
