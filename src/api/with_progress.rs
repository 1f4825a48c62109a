//! Messages with the progress of a call, and then its result.
//!
//! Proxies cut calls that are silent for a while, and S3 can be silent for minutes while it copies or assembles a large
//! object.

use std::{future::Future, time::Duration};

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{Interval, interval};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::convert;
use crate::{pb, store::TransferProgress, tasks::Tasks};

/// The longest time without a message. Common proxies cut calls that are silent for 15 s or more.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the caller receives: the progress any number of times, and then the result.
#[derive(Debug)]
pub(super) enum Progress<T> {
    /// How far the call is.
    Progress(pb::TransferProgress),
    /// The result.
    Result(T),
}

/// An operation in progress.
struct Running<T> {
    outcome: AbortOnDropHandle<Result<T, Status>>,
    progress: TransferProgress,
    ticks: Interval,
}

/// The messages of an operation, which `message` makes. The operation is a task of its own, so it proceeds even while the
/// caller does not read. Dropping the stream stops it.
pub(super) fn messages<T, M>(
    tasks: &Tasks,
    progress: TransferProgress,
    operation: impl Future<Output = Result<T, Status>> + Send + 'static,
    message: fn(Progress<T>) -> M,
) -> BoxStream<'static, Result<M, Status>>
where
    T: Send + 'static,
    M: Send + 'static,
{
    let outcome = AbortOnDropHandle::new(tasks.spawn(operation));
    let running = Running { outcome, progress, ticks: interval(INTERVAL) };
    let messages = stream::unfold(Some(running), move |running| async move {
        let mut running = running?;
        let outcome = tokio::select! {
            biased;
            outcome = &mut running.outcome => outcome,
            _ = running.ticks.tick() => {
                let (done, total) = running.progress.bytes();
                let bytes_total = total.map(convert::signed);
                let progress = pb::TransferProgress { bytes_done: convert::signed(done), bytes_total };
                return Some((Ok(message(Progress::Progress(progress))), Some(running)));
            }
        };
        let stopped = |_| Err(Status::internal("the server stopped the call"));
        Some((outcome.unwrap_or_else(stopped).map(|result| message(Progress::Result(result))), None))
    });
    messages.boxed()
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, time::Instant};

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "the stream passes ownership to this function")]
    fn text(progress: Progress<&'static str>) -> String {
        match progress {
            Progress::Progress(pb::TransferProgress { bytes_done, bytes_total }) => {
                format!("{bytes_done} of {bytes_total:?}")
            }
            Progress::Result(result) => result.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_sent_at_once_and_then_every_five_seconds_until_the_result() {
        let began = Instant::now();
        let operation = async {
            tokio::time::sleep(Duration::from_secs(12)).await;
            Ok("done")
        };
        let messages = messages(&Tasks::default(), TransferProgress::default(), operation, text);
        let found: Vec<_> =
            messages.map(|message| (began.elapsed().as_secs(), message.unwrap())).collect().await;
        let progress = |seconds| (seconds, "0 of None".to_owned());
        assert_eq!(found, [progress(0), progress(5), progress(10), (12, "done".to_owned())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_ends_the_messages_and_a_dropped_stream_stops_the_operation() {
        let failed = async { Err::<&str, _>(Status::aborted("x")) };
        let messages_of =
            |operation| messages(&Tasks::default(), TransferProgress::default(), operation, text);
        let found: Vec<_> = messages_of(failed).collect().await;
        assert_eq!(found.last().unwrap().as_ref().unwrap_err().code(), tonic::Code::Aborted);
        let (alive, stopped) = oneshot::channel::<()>();
        let endless = async move {
            let _alive = alive;
            std::future::pending().await
        };
        let mut running = messages(&Tasks::default(), TransferProgress::default(), endless, text);
        assert_eq!(running.next().await.unwrap().unwrap(), "0 of None");
        drop(running);
        stopped.await.unwrap_err();
    }
}
