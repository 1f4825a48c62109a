//! What `benches/micro.rs` measures of this room.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::Status;

use super::{chunk, upload_messages::UploadMessages};
use crate::{
    api::{
        Limits,
        messages::Policy,
        object::{GetMessage, Pieces, UploadMessage},
    },
    pb,
};

/// A message of `Get` as it goes out: what stands before the chunk's data, and the data.
pub fn framed(message: pb::GetResponse) -> (BytesMut, impl Iterator<Item = Bytes>) {
    chunk::framed(GetMessage::from(message))
}

/// The data of the chunk that comes first in the body of an `Upload`, given the body's DATA frames; empty if none does.
pub fn first_chunk(frames: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let frames = frames.map(|data| Ok::<_, Status>(Frame::data(data)));
    let limits = Limits { max_message_bytes: usize::MAX, message_timeout: Duration::MAX };
    let policy = Policy::new("/longshore.v1.ObjectService/Upload", &HeaderMap::new(), limits);
    let mut messages = UploadMessages::new(StreamBody::new(stream::iter(frames)), policy);
    match Pin::new(&mut messages).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(UploadMessage::Chunk(Pieces { data, .. })))) => data,
        _ => Vec::new(),
    }
}
