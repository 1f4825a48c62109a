//! A large object on several connections: what follows is read while what comes before is given out.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{ByteRange, Error, ErrorKind, ObjectReader, ReadOptions, S3Store, budget::Reservation};

/// How long bytes may be waited for before it is judged how fast they come: about what one more request costs.
const PATIENCE: Duration = Duration::from_millis(25);

/// So many bytes in [`PATIENCE`] are as much as S3 gives one connection at its best, and a half more: 160 MiB/s. Other
/// connections would bring no more.
const FAST: u64 = 4 * 1024 * 1024;

/// Notices that S3, and not the caller, is what a read waits for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Bytes came after so long a wait. Whether they come slowly.
    pub(super) fn is_slow(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < PATIENCE && self.bytes < FAST {
            return false;
        }
        let slow = self.bytes < FAST;
        *self = Self::default();
        slow
    }
}

/// The parts of an object that are being read, in order.
#[derive(Debug)]
pub(super) struct ReadAhead {
    store: S3Store,
    full_key: String,
    /// Pinned to the object whose beginning has been read.
    options: ReadOptions,
    parts: VecDeque<Part>,
    /// What no part has been begun of.
    rest: Range<u64>,
    /// How many parts are yet to be followed by another, since the caller had to wait not long ago.
    eager: usize,
}

/// A part on a connection of its own. Its bytes are held until they are asked for; dropping it ends the request.
#[derive(Debug)]
struct Part {
    pieces: mpsc::UnboundedReceiver<Result<Bytes, Error>>,
    _reading: AbortOnDropHandle<()>,
    _memory: Reservation,
}

impl ReadAhead {
    /// Begins to read `rest`, beside a connection that reads what comes before; `None` where no memory is left for it.
    pub(super) fn begin(
        store: S3Store,
        full_key: String,
        options: ReadOptions,
        rest: Range<u64>,
    ) -> Option<Self> {
        let most = store.settings().transfer.max_concurrency;
        let mut ahead = Self { store, full_key, options, parts: VecDeque::new(), rest, eager: most };
        // The connection that reads what comes before is one of them.
        while ahead.parts.len() + 1 < most && ahead.begin_part() {}
        (!ahead.parts.is_empty()).then_some(ahead)
    }

    /// The next bytes; `None` when every part that was begun has been given out.
    ///
    /// A caller that waits has one more part begun, and for a while each part that it has taken is followed by another.
    /// A slow caller does not wait, and soon holds a part or two.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            if self.parts.is_empty() {
                self.begin_part();
            }
            match self.parts.front_mut()?.pieces.try_recv() {
                Ok(piece) => return Some(piece),
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.parts.pop_front();
                    if self.eager > 0 {
                        self.eager -= 1;
                        self.begin_part();
                    }
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            self.eager = self.store.settings().transfer.max_concurrency;
            self.begin_part();
            if let Some(piece) = self.parts.front_mut()?.pieces.recv().await {
                return Some(piece);
            }
        }
    }

    /// Begins the next part, if there is one, and a connection and memory for it.
    fn begin_part(&mut self) -> bool {
        let transfer = self.store.settings().transfer;
        if self.rest.is_empty() || self.parts.len() >= transfer.max_concurrency {
            return false;
        }
        let end = self.rest.end.min(self.rest.start.saturating_add(transfer.part_size));
        let range = self.rest.start..end;
        let Some(memory) = self.store.inner.budget.reserve_ahead(end - self.rest.start) else { return false };
        self.rest.start = end;
        let (sender, pieces) = mpsc::unbounded_channel();
        let reading = read(self.store.clone(), self.full_key.clone(), self.options.clone(), range, sender);
        let reading = AbortOnDropHandle::new(self.store.inner.tasks.spawn(reading));
        self.parts.push_back(Part { pieces, _reading: reading, _memory: memory });
        true
    }
}

/// Reads a part. In a box, since a part is read as any object is, and the types would go round in a circle.
fn read(
    store: S3Store,
    full_key: String,
    options: ReadOptions,
    range: Range<u64>,
    pieces: mpsc::UnboundedSender<Result<Bytes, Error>>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut reader = match ObjectReader::part(store, full_key, options, range).await {
            Ok(reader) => reader,
            Err(error) => return drop(pieces.send(Err(error))),
        };
        while let Some(piece) = reader.next().await {
            if pieces.send(piece).is_err() {
                return;
            }
        }
    })
}

/// A failure to go on with an object that had been there.
pub(super) fn changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed | ErrorKind::ObjectNotFound | ErrorKind::VersionNotFound => error
            .recast(
                ErrorKind::ObjectChanged,
                "the object was replaced or deleted while it was read: read it anew",
            ),
        _ => error,
    }
}

/// The request's range of these bytes.
pub(super) fn bounded(range: Range<u64>) -> ByteRange {
    ByteRange::Bounded { start: range.start, end: range.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_for_few_bytes_is_slow() {
        let (long, short) = (PATIENCE, Duration::from_micros(10));
        let much = usize::try_from(FAST).unwrap();
        assert!(Pace::default().is_slow(long, 100));
        assert!(!Pace::default().is_slow(long, much), "much came in that time");
        let mut pace = Pace::default();
        assert!((0..9000).all(|_| !pace.is_slow(short, 64 * 1024)), "a fast server, however long it goes on");
        let mut pace = Pace::default();
        assert!(!pace.is_slow(PATIENCE / 2, 10));
        assert!(pace.is_slow(PATIENCE / 2, 10));
    }
}
