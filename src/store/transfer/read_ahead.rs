//! Reads a large object over several connections: later parts are fetched while the caller takes earlier ones.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::pinned::Pinned;
use crate::store::{Error, Reservation, S3Store};

/// S3 is slow if it has kept the read waiting for this long at a rate below this many bytes a second. Amazon S3 sends
/// at most about two thirds of the second rate over one connection, so a long read from it counts as slow. A short wait
/// may be only a pause, so it counts only at the first, lower rate. At that rate, reading ahead needlessly costs less
/// than waiting to be sure.
const SLOW: [(Duration, u64); 2] =
    [(Duration::from_millis(12), 64 * 1024 * 1024), (Duration::from_millis(100), 160 * 1024 * 1024)];

/// Number of bytes after which older measurements count half. A fast server then stays fast after a short pause, and a
/// server that becomes slow later is noticed.
const REMEMBERED: u64 = 32 * 1024 * 1024;

/// Detects that a read waits for S3 rather than for the caller.
#[derive(Debug, Default)]
pub(in crate::store) struct BackendSpeed {
    waited: Duration,
    bytes: u64,
}

impl BackendSpeed {
    /// Records that `bytes` arrived after a wait of `waited`. Returns whether S3 is slow.
    pub(in crate::store) fn record_wait(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.bytes > REMEMBERED {
            (self.waited, self.bytes) = (self.waited / 2, self.bytes / 2);
        }
        let few = |rate: u64| self.waited.as_micros() * u128::from(rate) > u128::from(self.bytes) * 1_000_000;
        SLOW.iter().any(|(wait, rate)| self.waited >= *wait && few(*rate))
    }
}

/// Reads bytes of an object over one connection.
pub(in crate::store) type ReadPart =
    fn(S3Store, Pinned, Range<u64>) -> BoxStream<'static, Result<Bytes, Error>>;

/// The parts of an object that are being read ahead, in order.
#[derive(Debug)]
pub(in crate::store) struct ReadAhead {
    read_part: ReadPart,
    store: S3Store,
    pinned: Pinned,
    parts: VecDeque<Part>,
    /// The bytes that no part covers yet.
    rest: Range<u64>,
    /// How many more times a new part is started when the caller has taken one. Reset whenever the caller has to wait.
    eager: usize,
}

/// A part that is read over its own connection. Its bytes are buffered until the caller asks for them. Dropping it
/// cancels the request.
#[derive(Debug)]
struct Part {
    pieces: mpsc::UnboundedReceiver<Result<Bytes, Error>>,
    _reading: AbortOnDropHandle<()>,
    _memory: Reservation,
}

impl ReadAhead {
    /// Starts reading `rest` while another connection reads the bytes before it. Returns `None` if there is no memory
    /// for any part.
    pub(in crate::store) fn begin(
        read_part: ReadPart,
        store: S3Store,
        pinned: Pinned,
        rest: Range<u64>,
    ) -> Option<Self> {
        let most = store.settings().transfer.max_concurrency;
        let mut ahead = Self { read_part, store, pinned, parts: VecDeque::new(), rest, eager: most };
        // The connection that reads the bytes before `rest` counts, too.
        while ahead.parts.len() + 1 < most && ahead.begin_part() {}
        (!ahead.parts.is_empty()).then_some(ahead)
    }

    /// Returns the next bytes; `None` if the caller has taken all parts and no other can be started.
    ///
    /// Whenever the caller has to wait, one more part is started, and for a while each part that the caller has taken
    /// is followed by a new one. A slow caller does not wait, so it soon holds only one or two parts.
    pub(in crate::store) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
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

    /// Starts the next part, if there is one, `max_concurrency` allows it, and there is memory. Returns whether it did.
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
        let part = (self.read_part)(self.store.clone(), self.pinned.clone(), range);
        let reading = AbortOnDropHandle::new(self.store.inner.tasks.spawn(buffer(part, sender)));
        self.parts.push_back(Part { pieces, _reading: reading, _memory: memory });
        true
    }
}

/// Pieces smaller than this are copied into one buffer. Each piece keeps the buffer alive that it was read into, so
/// many small ones would hold several times the reserved memory. TLS returns 16 KiB at a time.
const SMALL: usize = 32 * 1024;
/// Size from which that buffer is passed on, in bytes.
const GATHERED: usize = 128 * 1024;

/// Passes on the pieces of a part, small ones joined.
async fn buffer(
    mut part: BoxStream<'static, Result<Bytes, Error>>,
    pieces: mpsc::UnboundedSender<Result<Bytes, Error>>,
) {
    let mut gathered = BytesMut::new();
    while let Some(piece) = part.next().await {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_waits_for_few_bytes_are_slow() {
        const KIB: usize = 1024;
        let (moment, short, long) = (Duration::from_micros(10), SLOW[0].0, SLOW[1].0);
        assert!(BackendSpeed::default().record_wait(short, 64 * KIB));
        assert!(!BackendSpeed::default().record_wait(short, 2 * KIB * KIB), "a short wait for many bytes");
        assert!(BackendSpeed::default().record_wait(long, 10 * KIB * KIB), "a long wait at S3's best rate");
        assert!(!BackendSpeed::default().record_wait(long, 20 * KIB * KIB), "a long wait at a higher rate");
        let mut pace = BackendSpeed::default();
        assert!((0..9000).all(|_| !pace.record_wait(moment, 64 * KIB)), "a fast server, over a long read");
        assert!(!pace.record_wait(long, 64 * KIB), "a pause");
        assert!((0..9).any(|_| pace.record_wait(long, 64 * KIB)), "a server that has become slow");
        let mut pace = BackendSpeed::default();
        assert!(!pace.record_wait(short / 2, 10));
        assert!(pace.record_wait(short / 2, 10));
    }
}
