//! Response bodies.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{pace::Pace, requests::InFlight};
use crate::content::Content;

/// The number of responses that were dropped before their end, and the time of the last one.
#[derive(Debug, Default)]
pub(super) struct Abandoned(Mutex<(u64, u128)>);

impl Abandoned {
    /// Returns the number, and the time in nanoseconds since 1970, as text.
    pub(super) fn text(&self) -> String {
        let (count, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{count} {at}")
    }

    fn note(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = (noted.0 + 1, now);
    }
}

/// An object as a response body. hyper drops it when the connection closes.
#[derive(Debug)]
pub(super) struct ObjectBody {
    content: Content,
    pace: Pace,
    abandoned: Arc<Abandoned>,
    /// The request that this body answers.
    request: Option<InFlight>,
}

impl ObjectBody {
    pub(super) fn new(content: Content, pace: Pace, abandoned: Arc<Abandoned>) -> Self {
        Self { content, pace, abandoned, request: None }
    }

    /// Keeps the request in flight until the body is dropped.
    pub(super) fn hold(&mut self, request: InFlight) {
        self.request = Some(request);
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let most = self.pace.piece();
        let length = self.content.length(most);
        ready!(self.pace.poll_room(cx, length));
        let piece = self.content.piece(most);
        if piece.is_some() {
            self.pace.sent(length);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.left())
    }
}

impl Drop for ObjectBody {
    fn drop(&mut self) {
        if self.content.left() > 0 {
            self.abandoned.note();
        }
    }
}
