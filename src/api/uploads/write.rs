//! `WriteUpload`: decodes the messages and writes chunks into parts from a given offset.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::watch;

use super::id::UploadIds;
use crate::{
    api::{convert, failure::Failure, gate::Call, object::Pieces},
    pb,
    store::{ChunkSum, Error, PersistedBytes, UploadWriter},
    telemetry::Direction,
};

/// One message of a `WriteUpload`.
#[derive(Debug, PartialEq)]
pub(crate) enum WriteMessage {
    /// The upload and the offset of the bytes.
    Spec(pb::WriteUploadSpec),
    /// The next bytes.
    Chunk(Pieces),
    /// The object ends here.
    End,
}

impl TryFrom<pb::WriteUploadWithProgressRequest> for WriteMessage {
    type Error = Failure;

    fn try_from(request: pb::WriteUploadWithProgressRequest) -> Result<Self, Failure> {
        use pb::{write_upload_request as plain, write_upload_with_progress_request::Message};
        let message = request.message.map(|message| match message {
            Message::Spec(spec) => plain::Message::Spec(spec),
            Message::Chunk(chunk) => plain::Message::Chunk(chunk),
            Message::End(end) => plain::Message::End(end),
        });
        pb::WriteUploadRequest { message }.try_into()
    }
}

impl TryFrom<pb::WriteUploadRequest> for WriteMessage {
    type Error = Failure;

    fn try_from(request: pb::WriteUploadRequest) -> Result<Self, Failure> {
        use pb::write_upload_request::Message;
        match request.message {
            Some(Message::Spec(spec)) => Ok(Self::Spec(spec)),
            Some(Message::Chunk(chunk)) => Ok(Self::Chunk(chunk.into())),
            Some(Message::End(pb::WriteUploadEnd {})) => Ok(Self::End),
            None => Err(Failure::field("message", "must set one of `spec`, `chunk` and `end`")),
        }
    }
}

/// Writes the caller's messages. If this future is dropped, the parts in flight are dropped too. S3 keeps the whole
/// parts that it has, and the caller can resume after them. `persisted_end` receives the offset up to which S3 has the
/// bytes without a gap.
pub(super) async fn write(
    call: &Call,
    ids: &UploadIds,
    mut messages: impl Stream<Item = Result<WriteMessage, Failure>> + Unpin,
    persisted_end: Option<watch::Sender<u64>>,
) -> Result<pb::WriteUploadResponse, Failure> {
    let mut writer = match messages.next().await.transpose()? {
        Some(WriteMessage::Spec(spec)) => resume(call, ids, &spec).await?,
        _ => return Err(Failure::field("spec", "must be the first message")),
    };
    if let Some(listener) = persisted_end {
        writer.report_to(listener);
    }
    let mut ended = false;
    let mut unverified = Unverified::default();
    loop {
        let message = tokio::select! {
            // Report a failed part at once, even if the caller is silent at the moment.
            biased;
            error = writer.failed() => return Err(error.into()),
            message = messages.next() => message.transpose()?,
        };
        match message {
            None => break,
            Some(_) if ended => return Err(Failure::field("end", "must be the last message")),
            Some(WriteMessage::Spec(_)) => {
                return Err(Failure::field("spec", "must be sent only once, in the first message"));
            }
            Some(WriteMessage::Chunk(pieces)) => {
                let received = pieces.data.iter().map(Bytes::len).sum();
                call.received(received);
                call.check_object_size(writer.end_offset() + unverified.held() + received as u64)?;
                tokio::select! {
                    biased;
                    () = call.pace(Direction::Upload, received) => {}
                    error = writer.held_back() => return Err(error.into()),
                }
                unverified.write(&mut writer, pieces).await?;
            }
            Some(WriteMessage::End) => ended = true,
        }
    }
    if ended {
        // Not earlier: until the caller has closed its side it may still cancel.
        writer.end().await?;
    }
    let PersistedBytes { size, ranges } = writer.settle().await?;
    Ok(pb::WriteUploadResponse {
        persisted_size: convert::signed(size),
        persisted_ranges: convert::content_ranges(ranges),
    })
}

/// The bytes of a chunk whose checksum can be verified only when the rest of the chunk has arrived.
#[derive(Debug, Default)]
struct Unverified {
    sum: ChunkSum,
    /// Bytes that would complete a part. S3 would keep that part even if the checksum turned out to be wrong.
    held: VecDeque<Bytes>,
}

impl Unverified {
    /// The number of bytes that are not written yet.
    fn held(&self) -> u64 {
        self.held.iter().map(|piece| piece.len() as u64).sum()
    }

    async fn write(&mut self, writer: &mut UploadWriter, pieces: Pieces) -> Result<(), Error> {
        let Pieces { crc32c, data, last } = pieces;
        if crc32c.is_some() {
            self.sum.update(&data);
        }
        self.held.extend(data);
        writer.hold(self.held())?;
        if last && let Some(expected) = crc32c {
            std::mem::take(&mut self.sum).verify(expected)?;
        }
        let verified = last || crc32c.is_none();
        while let Some(piece) = self.held.front()
            && (verified || (piece.len() as u64) < writer.room()?)
            && let Some(piece) = self.held.pop_front()
        {
            writer.write(piece).await?;
        }
        Ok(())
    }
}

async fn resume(call: &Call, ids: &UploadIds, spec: &pb::WriteUploadSpec) -> Result<UploadWriter, Failure> {
    let offset = convert::unsigned(spec.offset, "spec.offset")?;
    let (store, upload) = super::started(call, ids, &spec.upload_id, "spec.upload_id")?;
    Ok(store.resume_upload(&upload, offset).await?)
}
