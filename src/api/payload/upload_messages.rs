//! Reads the messages of `Upload`, `WriteUpload` and `WriteUploadWithProgress`, with their data in the pieces in which
//! it arrives.

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

use super::chunk;
use crate::{
    api::{
        failure::Failure,
        messages::{Messages, PREFIX, Policy, Read, Segments},
        object::{Pieces, UploadMessage},
        uploads::WriteMessage,
    },
    pb,
};

/// A message that is a chunk or something else.
pub(super) trait ChunkMessage: Sized {
    /// The message for a chunk or a part of one.
    fn chunk(pieces: Pieces) -> Self;

    /// Decodes any message.
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
        // `WriteUploadWithProgressRequest` has the same fields with the same numbers.
        pb::WriteUploadRequest::decode(bytes).map_err(|error| Failure::undecodable(&error))?.try_into()
    }
}

/// The field number of `chunk` in the requests of all three methods.
const CHUNK: u32 = 2;

/// Reads messages from a request's body.
#[derive(Debug)]
pub(super) struct UploadMessages<B, M> {
    messages: Messages<B>,
    _message: PhantomData<fn() -> M>,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin, M> UploadMessages<B, M> {
    pub(super) fn new(body: B, policy: Policy) -> Self {
        let find_chunk = |head: &[u8], len| chunk::find_chunk_data(head, len, CHUNK);
        Self { messages: Messages::with_chunks(body, policy, find_chunk), _message: PhantomData }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin, M: ChunkMessage> Stream for UploadMessages<B, M> {
    type Item = Result<M, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let read = ready!(self.messages.poll_read(cx));
        Poll::Ready(read.map(|read| match read? {
            Read::Chunk { crc32c, data, last } => {
                Ok(M::chunk(Pieces { crc32c, data: data.into_pieces().collect(), last }))
            }
            Read::Message(message) => decode(message),
        }))
    }
}

fn decode<M: ChunkMessage>(mut message: Segments) -> Result<M, Failure> {
    message.skip(PREFIX);
    M::decode(message.join())
}
