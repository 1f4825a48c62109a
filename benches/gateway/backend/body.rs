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

use crate::{content::Content, rate_limit::RateLimit};

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
    pace: RateLimit,
    abandoned: Arc<Abandoned>,
}

impl ObjectBody {
    pub(super) fn new(content: Content, pace: RateLimit, abandoned: Arc<Abandoned>) -> Self {
        Self { content, pace, abandoned }
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pace.poll_due(cx));
        let most = self.pace.piece();
        let piece = self.content.piece(most);
        if let Some(piece) = &piece {
            self.pace.took(piece.len());
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
