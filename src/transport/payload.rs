//! The bodies of requests, which can be sent again.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// The largest frame of a request body, in bytes. Progress is measured by frames, so even a slow link must send a frame
/// within the read timeout.
const MAX_FRAME: usize = 256 * 1024;

/// How many bytes are hashed before the task yields. Hashing them takes a few tenths of a millisecond.
pub(crate) const HASH_SLICE: usize = 256 * 1024;

/// The bytes of a request: chunks in memory, in order. Clones share the chunks, so that every attempt sends the same
/// bytes without copying them.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    chunks: Arc<[Bytes]>,
    len: u64,
    /// Notified when all bytes of an attempt have been sent.
    observer: Option<Arc<SendObserver>>,
}

/// Observes whether the connection has taken all bytes of a payload, so that only the response is missing.
#[derive(Debug)]
pub(crate) struct SendObserver {
    all_sent: AtomicBool,
    /// Notified when all bytes have been sent.
    wake: Arc<Notify>,
}

impl SendObserver {
    /// Creates an observer that notifies `wake`.
    pub(crate) fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { all_sent: AtomicBool::new(false), wake })
    }

    /// Whether the latest attempt has sent all bytes.
    pub(crate) fn all_sent(&self) -> bool {
        self.all_sent.load(Ordering::Relaxed)
    }
}

impl Payload {
    /// The total number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    /// The same bytes, whose attempts tell `observer` when all of them have been sent.
    pub(crate) fn observed_by(self, observer: Arc<SendObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// A body for one attempt.
    pub(super) fn body(&self) -> RequestBody {
        let sent = Arc::new(Sent { frames: AtomicU64::new(0), all: AtomicBool::new(self.is_empty()) });
        let (chunks, observer) = (Arc::clone(&self.chunks), self.observer.clone());
        if let Some(observer) = &observer {
            observer.all_sent.store(false, Ordering::Relaxed);
        }
        RequestBody { chunks, chunk: 0, offset: 0, left: self.len, sent, observer }
    }

    /// Passes the bytes to `take` in order, at most [`HASH_SLICE`] at a time, to hash them. The task yields between
    /// slices, because hashing a large payload takes milliseconds.
    pub(crate) async fn each_piece(&self, mut take: impl FnMut(&[u8])) {
        for (number, piece) in self.chunks().flat_map(|chunk| chunk.chunks(HASH_SLICE)).enumerate() {
            if number > 0 {
                tokio::task::yield_now().await;
            }
            take(piece);
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::from(vec![bytes])
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), len, observer: None }
    }
}

/// The body of one attempt to send a [`Payload`].
#[derive(Debug)]
pub struct RequestBody {
    chunks: Arc<[Bytes]>,
    chunk: usize,
    offset: usize,
    left: u64,
    sent: Arc<Sent>,
    observer: Option<Arc<SendObserver>>,
}

/// How much of a request body the connection has read.
#[derive(Debug)]
pub(super) struct Sent {
    frames: AtomicU64,
    all: AtomicBool,
}

impl Sent {
    /// The number of frames that have been read.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether the whole body has been read.
    pub(super) fn is_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    pub(super) fn sent(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        while let Some(chunk) = this.chunks.get(this.chunk) {
            if this.offset == chunk.len() {
                (this.chunk, this.offset) = (this.chunk + 1, 0);
                continue;
            }
            let end = chunk.len().min(this.offset + MAX_FRAME);
            let frame = chunk.slice(this.offset..end);
            this.offset = end;
            this.left -= frame.len() as u64;
            this.sent.frames.fetch_add(1, Ordering::Relaxed);
            this.sent.all.store(this.left == 0, Ordering::Relaxed);
            if let Some(observer) = this.observer.as_ref().filter(|_| this.left == 0) {
                observer.all_sent.store(true, Ordering::Relaxed);
                observer.wake.notify_one();
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_payload_can_be_sent_again_without_copying() {
        let chunk = Bytes::from(vec![7; MAX_FRAME + 1]);
        let payload = Payload::from(vec![Bytes::new(), chunk.clone(), Bytes::from_static(b"end")]);
        assert_eq!(payload.len(), MAX_FRAME as u64 + 4);
        for _ in 0..2 {
            let mut body = payload.body();
            let sent = body.sent();
            assert!(!sent.is_all());
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((first.as_ptr(), first.len()), (chunk.as_ptr(), MAX_FRAME));
            let rest = body.collect().await.unwrap().to_bytes();
            assert_eq!(rest, Bytes::from_static(b"\x07end"));
            assert_eq!((sent.frames(), sent.is_all()), (3, true));
        }
    }

    #[test]
    fn an_empty_payload_has_no_body() {
        assert!(Payload::default().body().is_end_stream() && Payload::default().body().sent().is_all());
    }
}
