//! The body of a response: messages, then the status in trailers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use super::chunk::{Data, Framed, framed};

/// Sends the data of each message without copying it.
#[derive(Debug)]
pub(super) struct ResponseBody<S> {
    messages: S,
    data: Data,
    ended: bool,
}

impl<S> ResponseBody<S> {
    pub(super) fn new(messages: S) -> Self {
        Self { messages, data: None.into_iter().chain(Vec::new()), ended: false }
    }

    /// A failure in the middle of the stream ends the call with a status, never with a broken stream.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        // If the status cannot be encoded in headers, send only its code.
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
        }
        Frame::trailers(trailers)
    }
}

impl<S, M> Body for ResponseBody<S>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
    M: Framed,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = self.data.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
            Some(Ok(message)) => {
                let (head, data) = framed(message);
                self.data = data;
                Frame::data(head.freeze())
            }
            Some(Err(status)) => self.end(&status),
            None => self.end(&Status::new(Code::Ok, "")),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
