//! A large object on several connections: what follows is read while what comes before is given out.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{ByteRange, Error, ErrorKind, ObjectReader, ReadOptions, Reservation, S3Store};

/// After so long a wait, fewer bytes a second than this are few: S3 gives one connection two thirds of the second figure at its
/// best. A short wait may be a moment's pause; for very few bytes, being wrong costs less than waiting on.
const SLOW: [(Duration, u64); 2] =
    [(Duration::from_millis(12), 64 * 1024 * 1024), (Duration::from_millis(100), 160 * 1024 * 1024)];

/// After so many bytes the older ones count half: a moment's pause is not slowness, and a server may become slow later.
const REMEMBERED: u64 = 32 * 1024 * 1024;

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
        if self.bytes > REMEMBERED {
            (self.waited, self.bytes) = (self.waited / 2, self.bytes / 2);
        }
        let few = |rate: u64| self.waited.as_micros() * u128::from(rate) > u128::from(self.bytes) * 1_000_000;
        SLOW.iter().any(|(wait, rate)| self.waited >= *wait && few(*rate))
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

/// Pieces smaller than this are copied together: each keeps alive what was read at once with it, and many small ones would
/// hold several times the memory that is reserved. TLS gives 16 KiB at a time.
const SMALL: usize = 32 * 1024;
/// How much is copied together.
const GATHERED: usize = 128 * 1024;

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
        let mut gathered = BytesMut::new();
        while let Some(piece) = reader.next().await {
            let small = piece.as_ref().is_ok_and(|piece| piece.len() < SMALL);
            if let Ok(piece) = &piece
                && small
            {
                gathered.extend_from_slice(piece);
            }
            let full = gathered.len() >= GATHERED || !small && !gathered.is_empty();
            if full && pieces.send(Ok(gathered.split().freeze())).is_err()
                || !small && pieces.send(piece).is_err()
            {
                return;
            }
        }
        if !gathered.is_empty() {
            let _ = pieces.send(Ok(gathered.freeze()));
        }
    })
}

/// A failure to go on with an object that had been there.
pub(super) fn changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed
        | ErrorKind::ObjectNotFound
        | ErrorKind::VersionNotFound
        | ErrorKind::RangeNotSatisfiable => error.recast(
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
        const KIB: usize = 1024;
        let (moment, short, long) = (Duration::from_micros(10), SLOW[0].0, SLOW[1].0);
        assert!(Pace::default().is_slow(short, 64 * KIB));
        assert!(!Pace::default().is_slow(short, 2 * KIB * KIB), "as much as S3 gives");
        assert!(Pace::default().is_slow(long, 10 * KIB * KIB), "as much as S3 gives, and for long");
        assert!(!Pace::default().is_slow(long, 20 * KIB * KIB), "more than S3 gives");
        let mut pace = Pace::default();
        assert!((0..9000).all(|_| !pace.is_slow(moment, 64 * KIB)), "a fast server, however long it goes on");
        assert!(!pace.is_slow(long, 64 * KIB), "a pause");
        assert!((0..9).any(|_| pace.is_slow(long, 64 * KIB)), "a server that has become slow");
        let mut pace = Pace::default();
        assert!(!pace.is_slow(short / 2, 10));
        assert!(pace.is_slow(short / 2, 10));
    }
}
