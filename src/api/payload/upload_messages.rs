//! The messages of an `Upload`, their data in the pieces in which it came.

use std::{
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
    },
    pb,
};

/// The number of `chunk` in `UploadRequest`.
const CHUNK: u32 = 2;

/// Reads messages from a request's body.
#[derive(Debug)]
pub(super) struct UploadMessages<B>(Frames<B>);

impl<B: Body<Data = Bytes, Error = Status> + Unpin> UploadMessages<B> {
    /// No message may be larger than `limit` bytes.
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self(Frames::new(body, limit))
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Stream for UploadMessages<B> {
    type Item = Result<UploadMessage, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.0.poll_next(cx));
        Poll::Ready(message.map(|message| message.and_then(read)))
    }
}

fn read(mut message: Segments) -> Result<UploadMessage, Failure> {
    if let Some(chunk::Head { crc32c }) = chunk::take_head(&mut message, CHUNK) {
        return Ok(UploadMessage::Chunk(Pieces { crc32c, data: message.into_pieces().collect() }));
    }
    pb::UploadRequest::decode(message.join()).map_err(|error| Failure::undecodable(&error))?.try_into()
}
