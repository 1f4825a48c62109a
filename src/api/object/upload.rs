//! `Upload`: decodes the messages, writes chunks into parts, and verifies the size and checksum of the whole object.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{ChunkSum, Error, Upload, UploadClaim},
    telemetry::Direction,
};

/// How long an upload without `size` and `finish` waits after its last message. Node.js ends the stream of a call that
/// it cancels and resets it some milliseconds later. Until the reset arrives, an incomplete upload looks like a
/// complete one.
const LATE_CANCELLATION: Duration = Duration::from_millis(50);

/// One message of an upload.
#[derive(Debug, PartialEq)]
pub(crate) enum UploadMessage {
    /// The object to write.
    Spec(Box<pb::UploadSpec>),
    /// The next bytes.
    Chunk(Pieces),
    /// The size and checksum of the whole object.
    Finish(pb::UploadFinish),
}

/// Bytes of a chunk as they arrived: the whole chunk, or the bytes that follow the previous ones.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Pieces {
    /// The checksum of the whole chunk.
    pub(crate) crc32c: Option<u32>,
    pub(crate) data: Vec<Bytes>,
    /// Whether the chunk ends with these bytes.
    pub(crate) last: bool,
}

impl From<pb::Chunk> for Pieces {
    fn from(pb::Chunk { crc32c, data }: pb::Chunk) -> Self {
        Self { crc32c, data: vec![data], last: true }
    }
}

impl TryFrom<pb::UploadRequest> for UploadMessage {
    type Error = Failure;

    fn try_from(request: pb::UploadRequest) -> Result<Self, Failure> {
        use pb::upload_request::Message;
        match request.message {
            Some(Message::Spec(spec)) => Ok(Self::Spec(Box::new(spec))),
            Some(Message::Chunk(chunk)) => Ok(Self::Chunk(chunk.into())),
            Some(Message::Finish(finish)) => Ok(Self::Finish(finish)),
            None => Err(Failure::field("message", "must set one of `spec`, `chunk` and `finish`")),
        }
    }
}

/// If this future is dropped, because the caller disconnected, reset the stream or ran out of time, the upload is
/// dropped too, which aborts it in S3.
pub(super) async fn upload(
    call: &Call,
    mut messages: impl Stream<Item = Result<UploadMessage, Failure>> + Unpin,
) -> Result<pb::UploadResponse, Failure> {
    let (mut upload, sized) = match messages.next().await.transpose()? {
        Some(UploadMessage::Spec(spec)) => {
            let sized = spec.size.is_some();
            (begin(call, *spec)?, sized)
        }
        _ => return Err(Failure::field("spec", "must be the first message")),
    };
    let mut order = Order::default();
    let mut sum = None;
    let mut size = 0;
    loop {
        let message = tokio::select! {
            // Report a failed part at once, even if the caller is silent at the moment.
            biased;
            error = upload.failed() => return Err(error.into()),
            message = messages.next() => message.transpose()?,
        };
        if message.is_none() && !sized && order.claim.is_none() {
            tokio::select! {
                error = upload.failed() => return Err(error.into()),
                () = tokio::time::sleep(LATE_CANCELLATION) => {}
            }
        }
        match order.take(message)? {
            Step::Write(pieces) => {
                let received = pieces.data.iter().map(Bytes::len).sum();
                call.received(received);
                size += received as u64;
                call.check_object_size(size)?;
                tokio::select! {
                    biased;
                    () = call.pace(Direction::Upload, received) => {}
                    error = upload.held_back() => return Err(error.into()),
                }
                write(&mut upload, &mut sum, pieces).await?;
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

/// Writes bytes of a chunk. `sum` is the checksum of the chunk's bytes written so far. The bytes may reach S3 before
/// the chunk is verified, but the object becomes visible only after all chunks are verified.
async fn write(upload: &mut Upload, sum: &mut Option<ChunkSum>, pieces: Pieces) -> Result<(), Error> {
    let Pieces { crc32c, data, last } = pieces;
    if last && sum.is_none() {
        return upload.write_chunk(data, crc32c).await;
    }
    if let Some(expected) = crc32c {
        sum.get_or_insert_default().update(&data);
        if last && let Some(sum) = sum.take() {
            sum.verify(expected)?;
        }
    }
    upload.write_chunk(data, None).await
}

fn begin(call: &Call, mut spec: pb::UploadSpec) -> Result<Upload, Failure> {
    let (name, key) = (std::mem::take(&mut spec.store), std::mem::take(&mut spec.key));
    let key = convert::key(&key, "spec.key")?;
    let options = convert::upload_options(spec)?;
    call.record_conditions(convert::mode_name(&options.write.mode));
    let store = call.open(Access::Write, &name, Scope::Key(key))?;
    call.check_object_size(options.size.unwrap_or_default())?;
    Ok(store.upload(key, options)?)
}

/// Checks the order of the messages after the first.
#[derive(Debug, Default)]
struct Order {
    claim: Option<UploadClaim>,
}

#[derive(Debug, PartialEq)]
enum Step {
    /// Write these bytes.
    Write(Pieces),
    /// Wait for the caller to close its side: until then it may still cancel.
    Wait,
    /// Make the object visible.
    Complete(UploadClaim),
}

impl Order {
    fn take(&mut self, message: Option<UploadMessage>) -> Result<Step, Failure> {
        match (message, self.claim) {
            (None, claim) => Ok(Step::Complete(claim.unwrap_or_default())),
            (Some(_), Some(_)) => Err(Failure::field("finish", "must be the last message")),
            (Some(UploadMessage::Spec(_)), None) => {
                Err(Failure::field("spec", "must be sent only once, in the first message"))
            }
            (Some(UploadMessage::Chunk(chunk)), None) => Ok(Step::Write(chunk)),
            (Some(UploadMessage::Finish(finish)), None) => {
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

    fn finish(size: i64) -> UploadMessage {
        UploadMessage::Finish(pb::UploadFinish { size: Some(size), crc32c: Some(7) })
    }

    fn chunk() -> UploadMessage {
        UploadMessage::Chunk(Pieces::default())
    }

    #[test]
    fn closing_without_finish_completes_with_an_empty_claim() {
        let mut order = Order::default();
        assert_eq!(order.take(Some(chunk())).unwrap(), Step::Write(Pieces::default()));
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
    fn messages_out_of_order_are_rejected() {
        for late in [chunk(), finish(3), UploadMessage::Spec(Box::default())] {
            let mut order = Order::default();
            order.take(Some(finish(3))).unwrap();
            assert_eq!(field(order.take(Some(late))), "finish");
        }
        let again = UploadMessage::Spec(Box::default());
        assert_eq!(field(Order::default().take(Some(again))), "spec");
        assert_eq!(field(Order::default().take(Some(finish(-1)))), "finish.size");
    }
}
