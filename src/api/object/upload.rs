//! `Upload`: what the messages are, chunks into parts, and what the caller knows of the whole.

use tonic::Streaming;

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb::{self, upload_request::Message},
    store::{Upload, UploadClaim},
};

/// Dropped before its end, be it that the caller went away, reset the stream or ran out of time, it drops the
/// upload, which aborts it in S3.
pub(super) async fn upload(
    call: &Call,
    mut messages: Streaming<pb::UploadRequest>,
) -> Result<pb::UploadResponse, Failure> {
    let mut upload = match next(&mut messages).await? {
        Some(Message::Spec(spec)) => begin(call, spec)?,
        _ => return Err(Failure::field("spec", "must be the first message")),
    };
    let mut order = Order::default();
    loop {
        let message = tokio::select! {
            // A part that failed is told at once, also to a caller that is silent at the moment.
            biased;
            error = upload.failed() => return Err(error.into()),
            message = next(&mut messages) => message?,
        };
        match order.take(message)? {
            Step::Write(chunk) => {
                call.received(chunk.data.len());
                let data = convert::checked_chunk(chunk.data, chunk.crc32c, "a chunk")?;
                upload.write(data).await?;
            }
            Step::Wait => {}
            Step::Complete(claim) => {
                let uploaded = upload.finish(claim).await?;
                return Ok(pb::UploadResponse {
                    meta: Some(convert::object_meta(uploaded.meta)),
                    // There are at most 10,000 parts.
                    parts: i32::try_from(uploaded.parts).unwrap_or(i32::MAX),
                });
            }
        }
    }
}

fn begin(call: &Call, mut spec: pb::UploadSpec) -> Result<Upload, Failure> {
    let (name, key) = (std::mem::take(&mut spec.store), std::mem::take(&mut spec.key));
    let key = convert::key(&key, "spec.key")?;
    let options = convert::upload_options(spec)?;
    call.conditions(convert::mode_name(&options.write.mode));
    let store = call.open(Access::Write, &name, Scope::Key(key))?;
    Ok(store.upload(key, options)?)
}

/// The next message; `None` when the caller has closed its side.
async fn next(messages: &mut Streaming<pb::UploadRequest>) -> Result<Option<Message>, Failure> {
    match messages.message().await.map_err(Failure::Stream)? {
        Some(pb::UploadRequest { message: Some(message) }) => Ok(Some(message)),
        Some(pb::UploadRequest { message: None }) => {
            Err(Failure::field("message", "is required: `spec`, `chunk` or `finish`"))
        }
        None => Ok(None),
    }
}

/// The order of messages after the first.
#[derive(Debug, Default)]
struct Order {
    claim: Option<UploadClaim>,
}

#[derive(Debug, PartialEq)]
enum Step {
    /// Write these bytes.
    Write(pb::Chunk),
    /// Wait for the caller to close its side: until then it may still change its mind.
    Wait,
    /// Make the object visible.
    Complete(UploadClaim),
}

impl Order {
    fn take(&mut self, message: Option<Message>) -> Result<Step, Failure> {
        match (message, self.claim) {
            (None, claim) => Ok(Step::Complete(claim.unwrap_or_default())),
            (Some(_), Some(_)) => Err(Failure::field("finish", "must be the last message")),
            (Some(Message::Spec(_)), None) => {
                Err(Failure::field("spec", "must be in the first message only"))
            }
            (Some(Message::Chunk(chunk)), None) => Ok(Step::Write(chunk)),
            (Some(Message::Finish(finish)), None) => {
                self.claim = Some(convert::claim(finish)?);
                Ok(Step::Wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::convert::testing::field;

    fn finish(size: i64) -> Message {
        Message::Finish(pb::UploadFinish { size: Some(size), crc32c: Some(7) })
    }

    fn chunk() -> Message {
        Message::Chunk(pb::Chunk::default())
    }

    #[test]
    fn closing_without_finish_completes_with_nothing_claimed() {
        let mut order = Order::default();
        assert_eq!(order.take(Some(chunk())).unwrap(), Step::Write(pb::Chunk::default()));
        assert_eq!(order.take(None).unwrap(), Step::Complete(UploadClaim::default()));
    }

    #[test]
    fn finish_is_held_until_the_caller_closes_its_side() {
        let mut order = Order::default();
        assert_eq!(order.take(Some(finish(3))).unwrap(), Step::Wait);
        let claim = UploadClaim { size: Some(3), crc32c: Some(7) };
        assert_eq!(order.take(None).unwrap(), Step::Complete(claim));
    }

    #[test]
    fn messages_out_of_order_are_refused() {
        for late in [chunk(), finish(3), Message::Spec(pb::UploadSpec::default())] {
            let mut order = Order::default();
            order.take(Some(finish(3))).unwrap();
            assert_eq!(field(order.take(Some(late))), "finish");
        }
        let again = Message::Spec(pb::UploadSpec::default());
        assert_eq!(field(Order::default().take(Some(again))), "spec");
        assert_eq!(field(Order::default().take(Some(finish(-1)))), "finish.size");
    }
}
