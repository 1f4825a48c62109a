//! The functions of this module that `benches/micro.rs` measures.

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

/// Encodes a message of `Get`: the head, and the chunk's data.
pub fn framed(message: pb::GetResponse) -> (BytesMut, impl Iterator<Item = Bytes>) {
    chunk::framed(GetMessage::from(message))
}

/// The data of the first chunk in the body of an `Upload` with these DATA frames. Empty if the body does not begin with
/// a chunk.
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
