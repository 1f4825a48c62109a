//! The body of a request, read from HTTP/2 on demand.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::metered::Meter;

/// The body of a request. Its bytes stay in HTTP/2's buffers, within the stream's window, until the call asks for
/// them. A frame counts as unread, and keeps its part of the window, until the call asks for the next one: a call that
/// waits for memory still holds the last frame.
#[derive(Debug)]
pub(super) struct RequestBody {
    stream: RecvStream,
    id: u32,
    meter: Arc<Meter>,
    /// The length of the last frame that the call read.
    taken: usize,
    /// Whether the call has read bytes.
    has_read: bool,
    /// Whether the call has waited for bytes since then.
    watched: bool,
    ended: bool,
    /// Ends the request when it resolves, even if the caller has not ended it.
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream, id: u32, meter: Arc<Meter>) -> Self {
        let ended = stream.is_end_stream();
        meter.unread.open(id);
        if ended {
            meter.unread.close(id);
        }
        Self { stream, id, meter, taken: 0, has_read: false, watched: false, ended, until: None }
    }

    /// Ends the request when `stop` is cancelled, for streams that would otherwise delay the shutdown.
    pub(super) fn until(mut self, stop: &CancellationToken) -> Self {
        self.until = Some(Box::pin(stop.child_token().cancelled_owned()));
        self
    }

    fn give_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.has_read = true;
            // Fails only for more bytes than have arrived.
            let _ = self.stream.flow_control().release_capacity(taken);
            self.meter.unread.taken(self.id, taken);
        }
    }

    /// The call waits for more bytes, and the caller may have to wait for a WINDOW_UPDATE.
    fn watch(&mut self) {
        if self.has_read && !self.watched {
            self.watched = true;
            self.meter.window_updates.watch(self.id, self.stream.flow_control());
        }
    }

    fn end(&mut self) {
        self.give_back();
        if !self.ended {
            self.ended = true;
            self.meter.unread.close(self.id);
            if self.watched {
                self.meter.window_updates.forget(self.id);
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.give_back();
        let polled = self.stream.poll_data(cx);
        if polled.is_pending()
            && let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            self.end();
            return Poll::Ready(None);
        }
        if polled.is_pending() {
            self.watch();
        }
        match ready!(polled) {
            Some(Ok(data)) => {
                self.taken = data.len();
                if self.stream.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => {
                self.end();
                Poll::Ready(Some(Err(broken_off(&error))))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    /// Has an upper bound once the end of the request has arrived.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        let rest = if self.ended { Some(0) } else { self.meter.unread.rest(self.id) };
        if let Some(rest) = rest {
            hint.set_upper(rest);
        }
        hint
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.end();
    }
}

/// The status after a failed read. A caller that resets its stream, for any reason, or closes its connection cancels
/// the call.
fn broken_off(error: &h2::Error) -> Status {
    if error.is_library() {
        Status::internal(format!("the caller violated HTTP/2: {error}"))
    } else {
        Status::cancelled("the caller's stream ended before the request was complete")
    }
}
