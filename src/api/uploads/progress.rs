//! `WriteUploadWithProgress`: a write that reports which bytes S3 has.

use futures::{Stream, stream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::{
    id::UploadIds,
    write::{WriteMessage, write},
};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    pb::{
        WriteUploadProgress, WriteUploadResponse, WriteUploadWithProgressResponse,
        write_upload_with_progress_response::Message,
    },
};

/// A write in progress, and the offset up to which S3 has its bytes.
#[derive(Debug)]
struct Writing {
    persisted_end: watch::Receiver<u64>,
    outcome: AbortOnDropHandle<Result<WriteUploadResponse, Status>>,
}

/// Runs the write in a separate task, because a caller may send everything before it reads the first response. Dropping
/// the stream stops the write.
pub(super) fn write_with_progress(
    call: Call,
    ids: UploadIds,
    messages: impl Stream<Item = Result<WriteMessage, Failure>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<WriteUploadWithProgressResponse, Status>> + Send {
    let (tasks, (listener, persisted_end)) = (call.tenant().tasks().clone(), watch::channel(0));
    let outcome = async move {
        let written = write(&call, &ids, messages, Some(listener)).await;
        written.map_err(|failure| call.fail(failure.in_spec()))
    };
    let outcome = AbortOnDropHandle::new(tasks.spawn(outcome));
    stream::unfold(Some(Writing { persisted_end, outcome }), |writing| async {
        let mut writing = writing?;
        let outcome = tokio::select! {
            biased;
            Ok(()) = writing.persisted_end.changed() => {
                let persisted_end = convert::signed(*writing.persisted_end.borrow_and_update());
                let progress = Message::Progress(WriteUploadProgress { persisted_end });
                return Some((Ok(response(progress)), Some(writing)));
            }
            outcome = &mut writing.outcome => outcome,
        };
        let stopped = |_| Err(Status::internal("the server stopped the write"));
        Some((outcome.unwrap_or_else(stopped).map(|result| response(Message::Result(result))), None))
    })
}

fn response(message: Message) -> WriteUploadWithProgressResponse {
    WriteUploadWithProgressResponse { message: Some(message) }
}
