//! Length-prefixed messages (gRPC over HTTP/2), cut out of a request's body without copying them.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use http_body::Body;
use tonic::Status;

use crate::api::failure::Failure;

/// Before each message: a flag that says whether it is compressed, and its length as four bytes.
pub(super) const PREFIX: usize = 5;

/// Writes what stands before an uncompressed message of `len` bytes.
pub(super) fn put_prefix(buffer: &mut BytesMut, len: usize) {
    buffer.put_u8(0);
    // No message of ours comes near 4 GiB: data is at most 1 MiB.
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Bytes that came in several pieces.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Segments {
    /// How many bytes in all.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a piece at the end.
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Takes the first `len` bytes, or all if there are fewer.
    pub(super) fn split_to(&mut self, len: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < len
            && let Some(first) = self.pieces.front_mut()
        {
            let wanted = len - taken.len;
            let piece =
                if first.len() > wanted { Some(first.split_to(wanted)) } else { self.pieces.pop_front() };
            taken.push(piece.unwrap_or_default());
        }
        self.len -= taken.len;
        taken
    }

    /// Drops the first `len` bytes.
    pub(super) fn skip(&mut self, len: usize) {
        drop(self.split_to(len));
    }

    /// The first bytes, copied into `buffer`: as many as fit, or all that there are.
    pub(super) fn peek<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let mut copied = 0;
        for piece in &self.pieces {
            let count = piece.len().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&piece[..count]);
            copied += count;
        }
        &buffer[..copied]
    }

    /// The pieces in order.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter()
    }

    /// All of it in one piece, copied where there are several.
    pub(super) fn join(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

/// The messages of a request whose messages are not compressed.
#[derive(Debug)]
pub(super) struct Frames<B> {
    body: B,
    /// The largest message taken, in bytes.
    limit: usize,
    buffered: Segments,
    /// The length of the message whose prefix has been read.
    wanted: Option<usize>,
    ended: bool,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Frames<B> {
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { body, limit, buffered: Segments::default(), wanted: None, ended: false }
    }

    /// The next message; `None` when the caller has closed its side, and only then: a call that was cancelled or broken
    /// off is a failure, since what has come of it is not what was meant to come.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Segments, Failure>>> {
        loop {
            match self.take() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) if self.ended => return Poll::Ready(self.at_end()),
                Ok(None) => {}
                Err(failure) => return Poll::Ready(Some(Err(self.fail(failure)))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // Trailers have no meaning in a request.
                Some(Ok(frame)) => self.buffered.push(frame.into_data().unwrap_or_default()),
                Some(Err(status)) => return Poll::Ready(Some(Err(self.fail(Failure::Stream(status))))),
                None => self.ended = true,
            }
        }
    }

    /// The first message of what has come.
    fn take(&mut self) -> Result<Option<Segments>, Failure> {
        if self.wanted.is_none() && self.buffered.len() >= PREFIX {
            self.wanted = Some(self.take_prefix()?);
        }
        match self.wanted {
            Some(wanted) if self.buffered.len() >= wanted => {
                self.wanted = None;
                Ok(Some(self.buffered.split_to(wanted)))
            }
            _ => Ok(None),
        }
    }

    fn take_prefix(&mut self) -> Result<usize, Failure> {
        let mut buffer = [0; PREFIX];
        let mut prefix = self.buffered.peek(&mut buffer);
        self.buffered.skip(PREFIX);
        match prefix.get_u8() {
            0 => {}
            1 => {
                return Err(Failure::Malformed(
                    "it is compressed, and `grpc-encoding` does not say how".into(),
                ));
            }
            _ => return Err(Failure::Malformed("its compression flag is neither 0 nor 1".into())),
        }
        let len = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if len > self.limit { Err(Failure::MessageTooLarge { limit: self.limit }) } else { Ok(len) }
    }

    fn at_end(&mut self) -> Option<Result<Segments, Failure>> {
        let cut = self.wanted.is_some() || self.buffered.len() > 0;
        cut.then(|| Err(self.fail(Failure::Malformed("the caller's stream ends in the middle of it".into()))))
    }

    /// After a failure there is nothing more.
    fn fail(&mut self, failure: Failure) -> Failure {
        (self.ended, self.wanted) = (true, None);
        self.buffered = Segments::default();
        failure
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;

    /// The messages of a body whose DATA frames have these bytes, or the failure that ends them.
    fn read(frames: Vec<Bytes>, limit: usize) -> Result<Vec<Bytes>, Failure> {
        let frames = frames.into_iter().map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let body = StreamBody::new(stream::iter(frames)).map_err(|never| match never {});
        let mut frames = Frames::new(body, limit);
        let mut messages = Vec::new();
        loop {
            let mut context = Context::from_waker(std::task::Waker::noop());
            match frames.poll_next(&mut context) {
                Poll::Ready(Some(Ok(message))) => messages.push(message.join()),
                Poll::Ready(Some(Err(failure))) => {
                    assert!(matches!(frames.poll_next(&mut context), Poll::Ready(None)));
                    return Err(failure);
                }
                Poll::Ready(None) => return Ok(messages),
                Poll::Pending => panic!("the body is all there"),
            }
        }
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_prefix(&mut bytes, message.len());
        bytes.extend_from_slice(message);
        bytes.to_vec()
    }

    fn malformed(bytes: &[u8]) -> bool {
        matches!(read(vec![Bytes::copy_from_slice(bytes)], 8), Err(Failure::Malformed(_)))
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(malformed(&[1, 0, 0, 0, 1, 7]), "compressed");
        assert!(malformed(&[2, 0, 0, 0, 1, 7]), "no such flag");
        assert!(malformed(&[0, 0, 0]), "a cut prefix");
        assert!(malformed(&framed(b"cut")[..7]), "a cut message");
        let large = read(vec![Bytes::from(framed(&[0; 9]))], 8);
        assert!(matches!(large, Err(Failure::MessageTooLarge { limit: 8 })));
        assert_eq!(read(vec![Bytes::from(framed(&[0; 8]))], 8).unwrap(), [vec![0; 8]]);
    }

    #[test]
    fn a_call_that_breaks_off_is_a_failure_and_not_an_end() {
        let broken = stream::iter([
            Ok(Frame::data(Bytes::from(framed(b"whole")))),
            Err(Status::cancelled("reset by the caller")),
        ]);
        let mut frames = Frames::new(StreamBody::new(broken), 8);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(frames.poll_next(&mut context), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(frames.poll_next(&mut context), Poll::Ready(Some(Err(Failure::Stream(_))))));
    }

    proptest! {
        #[test]
        fn messages_come_out_however_they_are_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
            size in 1_usize..30,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            let frames = stream.chunks(size).map(Bytes::copy_from_slice).collect();
            prop_assert_eq!(read(frames, 20).unwrap(), messages);
        }
    }
}
