//! The messages of an `Upload` or a `WriteUpload`, their data in the pieces in which it came.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use http_body::Body;
use prost::Message;
use tonic::Status;

use super::{
    chunk,
    frames::{Frames, Segments},
};
use crate::{
    api::{
        failure::Failure,
        object::{Pieces, UploadMessage},
        upload::WriteMessage,
    },
    pb,
};

/// A message that is a chunk, or something else.
pub(super) trait ChunkMessage: Sized {
    /// The message that is this chunk.
    fn chunk(pieces: Pieces) -> Self;

    /// Any message, from its encoding.
    fn decode(bytes: Bytes) -> Result<Self, Failure>;
}

impl ChunkMessage for UploadMessage {
    fn chunk(pieces: Pieces) -> Self {
        Self::Chunk(pieces)
    }

    fn decode(bytes: Bytes) -> Result<Self, Failure> {
        pb::UploadRequest::decode(bytes).map_err(|error| Failure::undecodable(&error))?.try_into()
    }
}

impl ChunkMessage for WriteMessage {
    fn chunk(pieces: Pieces) -> Self {
        Self::Chunk(pieces)
    }

    fn decode(bytes: Bytes) -> Result<Self, Failure> {
        pb::WriteUploadRequest::decode(bytes).map_err(|error| Failure::undecodable(&error))?.try_into()
    }
}

/// The number of `chunk` in `UploadRequest` and `WriteUploadRequest`.
const CHUNK: u32 = 2;

/// Reads messages from a request's body.
#[derive(Debug)]
pub(super) struct UploadMessages<B, M> {
    frames: Frames<B>,
    _message: PhantomData<fn() -> M>,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin, M> UploadMessages<B, M> {
    /// No message may be larger than `limit` bytes.
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { frames: Frames::new(body, limit), _message: PhantomData }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin, M: ChunkMessage> Stream for UploadMessages<B, M> {
    type Item = Result<M, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.frames.poll_next(cx));
        Poll::Ready(message.map(|message| message.and_then(read)))
    }
}

fn read<M: ChunkMessage>(mut message: Segments) -> Result<M, Failure> {
    if let Some(chunk::Head { crc32c }) = chunk::take_head(&mut message, CHUNK) {
        return Ok(M::chunk(Pieces { crc32c, data: message.into_pieces().collect() }));
    }
    M::decode(message.join())
}
