//! A request body that consists of complete, uncompressed, validated messages.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::{Code, Status};

use super::{Messages, Segments};
use crate::api::{
    CallContext,
    failure::{BrokenOff, Failure},
    status::ErrorContext,
};

/// The body that the generated services and the health and reflection services read.
#[derive(Debug)]
pub(super) struct MessagesBody<B> {
    messages: Messages<B>,
    /// The rest of the message that is being passed on.
    message: Segments,
    context: CallContext,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> MessagesBody<B> {
    pub(super) fn new(messages: Messages<B>, context: CallContext) -> Self {
        Self { messages, message: Segments::default(), context }
    }

    fn status(&self, failure: Failure) -> Status {
        if let Failure::Stream(status) = failure {
            return breaking_off(status);
        }
        self.context.facts.fail(failure.for_log(false));
        let (tenant, request_id) = (self.messages.tenant(), &*self.context.request_id);
        failure.into_status(&ErrorContext { request_id, tenant, ..ErrorContext::default() })
    }
}

/// tonic treats a cancellation by the caller as the end of the messages, so that an incomplete stream would look
/// complete. This status prevents that, and [`Failure::stream`] turns it back into a cancellation.
pub(crate) fn breaking_off(status: Status) -> Status {
    match status.code() {
        Code::Cancelled => Status::from_error(Box::new(BrokenOff)),
        _ => status,
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for MessagesBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.message.pop() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.messages.poll_framed(cx)) {
                Some(Ok(message)) => self.message = message,
                Some(Err(failure)) => return Poll::Ready(Some(Err(self.status(failure)))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.len() == 0 && self.messages.is_end_stream()
    }
}
