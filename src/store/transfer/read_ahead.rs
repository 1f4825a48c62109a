//! Reads an object over several connections: later parts arrive while the caller takes earlier ones.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::{
    ahead_part::{AheadPart, Pieces, SharedState},
    parts::with_overlap,
    pinned::Pinned,
};
use crate::{
    s3::GetAnswer,
    store::{Error, ErrorKind, S3Store, budget::ReadsAhead},
};

/// Smallest part into which a range is cut, in bytes.
const MIN_PART: u64 = 1024 * 1024;

/// How many bytes of ranges are requested before the caller has had to wait.
pub(in crate::store) const FIRST_WINDOW: u64 = 1024 * 1024;

/// A request for a range that was made before the object was pinned.
pub(in crate::store) type Requested = AbortOnDropHandle<Result<GetAnswer, Error>>;

/// Reads bytes of an object over one connection, from the response to a request if one has been made already. If the
/// server ignores ranges, the error is [`ErrorKind::OperationNotSupported`].
pub(in crate::store) type ReadPart = fn(S3Store, Pinned, Range<u64>, Option<Requested>) -> Pieces;

/// Ranges of an object that are read ahead, in parts, in order.
///
/// A part counts against `max_concurrency` until the rest of it will arrive sooner than the first byte of the response
/// to another request, so that the next request starts just before a connection becomes free. The parts reserve memory
/// as their bytes arrive. Without memory they stop, except the one that the caller takes next.
#[derive(Debug)]
pub(in crate::store) struct ReadAhead {
    read_part: ReadPart,
    store: S3Store,
    pinned: Pinned,
    parts: VecDeque<AheadPart>,
    /// The ranges that no part covers yet. Every one has bytes.
    rest: VecDeque<Range<u64>>,
    /// Requests for ranges in `rest` that have been made already, in the same order.
    requested: VecDeque<(Range<u64>, Requested)>,
    /// Number of bytes in `rest`.
    rest_bytes: u64,
    /// Whether parts may be smaller than `part_size` so that they do not end at the same time.
    staggers: bool,
    /// How many parts may arrive at a time: halved when one of them fails, one more with each part that the caller has
    /// taken, up to `max_concurrency`.
    width: usize,
    /// How many bytes may still be requested before the caller has to wait again. A caller that never waits is slow,
    /// and soon has only two parts.
    credit: u64,
    /// What `credit` is set to when the caller has to wait. It doubles each time.
    window: u64,
    shared: Arc<SharedState>,
    has_given_up: bool,
}

impl ReadAhead {
    /// Starts reading `rest`, a long range, while another connection reads the bytes before it. `None` if there is no
    /// memory for any part.
    pub(in crate::store) fn of_range(
        read_part: ReadPart,
        store: S3Store,
        pinned: Pinned,
        rest: Range<u64>,
    ) -> Option<Self> {
        let mut ahead = Self::new(read_part, store, pinned, [rest].into());
        ahead.staggers = true;
        ahead.window = ahead.largest_window();
        ahead.credit = ahead.window;
        ahead.begin_parts(1);
        (!ahead.parts.is_empty()).then_some(ahead)
    }

    /// Starts reading `ranges`: only a few of their bytes until the caller has to wait. `requested` has the requests
    /// that have been made already. `beside` is the number of other connections that the read uses.
    pub(in crate::store) fn of_ranges(
        read_part: ReadPart,
        store: S3Store,
        pinned: Pinned,
        ranges: VecDeque<Range<u64>>,
        requested: VecDeque<(Range<u64>, Requested)>,
        beside: usize,
    ) -> Self {
        let mut ahead = Self { requested, ..Self::new(read_part, store, pinned, ranges) };
        ahead.begin_parts(beside);
        ahead
    }

    fn new(read_part: ReadPart, store: S3Store, pinned: Pinned, rest: VecDeque<Range<u64>>) -> Self {
        Self {
            width: store.settings().transfer.max_concurrency,
            read_part,
            store,
            pinned,
            parts: VecDeque::new(),
            rest_bytes: rest.iter().map(|range| range.end - range.start).sum(),
            rest,
            requested: VecDeque::new(),
            staggers: false,
            credit: FIRST_WINDOW,
            window: FIRST_WINDOW,
            shared: Arc::default(),
            has_given_up: false,
        }
    }

    /// Returns the next bytes, which never span two ranges; `None` if the caller has taken all parts, and no other can
    /// be started. Cancel safe.
    pub(in crate::store) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let mut has_waited = false;
        loop {
            self.begin_parts(0);
            if self.parts.is_empty() {
                return None;
            }
            let front = self.parts.front_mut()?;
            front.make_front();
            let piece = if let Some(piece) = front.try_next() {
                piece
            } else {
                if !std::mem::replace(&mut has_waited, true) {
                    self.window = self.window.saturating_mul(2).min(self.largest_window());
                }
                self.credit = self.window;
                self.begin_parts(0);
                if self.parts.iter().any(AheadPart::is_stalled) && self.store.inner.budget.reclaim_ahead(1) {
                    let _ = self.parts.iter().all(AheadPart::unstall);
                }
                let front = self.parts.front_mut()?;
                tokio::select! {
                    piece = front.next() => piece,
                    () = self.shared.freed.notified() => continue,
                }
            };
            match piece {
                Ok(bytes) => {
                    self.taken();
                    return Some(Ok(bytes));
                }
                Err(error) => {
                    if let Err(error) = self.retry(error) {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Whether other calls have taken the memory back, because the caller had stopped. [`Self::next`] then returns `None`.
    pub(in crate::store) fn has_given_up(&self) -> bool {
        self.has_given_up
    }

    /// The first range, or the rest of it, that no part covers.
    pub(in crate::store) fn first_left(&self) -> Option<Range<u64>> {
        self.rest.front().cloned()
    }

    /// Leaves out the range that [`Self::first_left`] returns.
    pub(in crate::store) fn skip_first(&mut self) {
        if let Some(range) = self.rest.pop_front() {
            self.rest_bytes -= range.end - range.start;
        }
    }

    /// Twice what is in flight at a time, so that parts follow each other while the caller takes what has arrived.
    fn largest_window(&self) -> u64 {
        let transfer = self.store.settings().transfer;
        transfer.part_size.saturating_mul(2 * transfer.max_concurrency as u64)
    }

    /// Removes the front part if the caller has taken all of it. Then parts that wait for memory may get what the
    /// caller has given back.
    fn taken(&mut self) {
        if self.parts.front().is_some_and(|part| part.left().is_empty()) {
            self.parts.pop_front();
            self.width = (self.width + 1).min(self.store.settings().transfer.max_concurrency);
        }
        // Earlier parts go first. If all got the same, each would be incomplete when its turn comes.
        let _ = self.parts.iter().all(AheadPart::unstall);
    }

    /// Repeats the request for the rest of the front part, after its optional request has failed. Fails if its request
    /// was not optional. If the server ignores ranges, nothing is left to be read ahead.
    fn retry(&mut self, error: Error) -> Result<(), Error> {
        let part = self.parts.pop_front();
        if error.kind() == ErrorKind::OperationNotSupported {
            // The server ignores ranges, so every part would begin at the object's start.
            self.parts.clear();
            self.rest.clear();
            return Ok(());
        }
        let Some(part) = part.filter(|part| part.optional) else { return Err(error) };
        tracing::debug!(%error, "a part that was read ahead is requested again");
        self.width = (self.width / 2).max(1);
        self.begin(part.left(), false);
        self.parts.rotate_right(1);
        Ok(())
    }

    /// Starts parts while there are connections for them and memory, and the caller is fast. If it is slow, a part is
    /// followed by one other, so that the caller still does not have to wait. `beside` is the number of other
    /// connections that the read uses.
    fn begin_parts(&mut self, beside: usize) {
        while (self.credit > 0 || self.parts.len() < 2)
            && self.parts.len() < 2 * self.width
            && self.parts.iter().filter(|part| part.is_busy()).count() + beside < self.width
            && self.parts.iter().filter(|part| part.is_in_flight()).count() + beside
                < with_overlap(self.width)
            && self.begin_next()
        {}
    }

    /// The request for `range`, if it has been made already. Its end may lie beyond the object's end.
    fn take_requested(&mut self, range: &Range<u64>) -> Option<Requested> {
        let is_for = |known: &Range<u64>| known.start == range.start && known.end >= range.end;
        let at = self.requested.iter().position(|(known, _)| is_for(known))?;
        self.requested.drain(..=at).next_back().map(|(_, requested)| requested)
    }

    /// Starts the next part if there is one, and memory for it. Returns whether it did.
    fn begin_next(&mut self) -> bool {
        let Some(range) = self.next_range() else { return false };
        let bytes = range.end - range.start;
        // While these bytes arrive, the caller takes others: at S3's rates, parts that end one after the other fill 50 of
        // 64 MiB if memory must be free for three tenths. If it had to be for half, connections would be idle although
        // memory is free.
        let to_come: u64 = bytes + self.parts.iter().map(AheadPart::to_come).sum::<u64>();
        let (budget, needed) = (&self.store.inner.budget, to_come / 10 * 3);
        if !budget.has_room_ahead(needed) && !budget.reclaim_ahead(needed) {
            return false;
        }
        if let Some(rest) = self.rest.front_mut() {
            rest.start = range.end;
        }
        self.rest.pop_front_if(|rest| rest.is_empty());
        self.rest_bytes -= bytes;
        self.credit = self.credit.saturating_sub(bytes);
        self.begin(range, true);
        true
    }

    /// The bytes of the next part. Towards the end of the range, parts become smaller, so that the connections end
    /// together.
    fn next_range(&self) -> Option<Range<u64>> {
        let rest = self.rest.front()?;
        let transfer = self.store.settings().transfer;
        let connections = transfer.max_concurrency.max(1) as u64;
        let full = transfer.part_size;
        let previous = self.parts.back().map_or(0, AheadPart::to_come);
        // A slow caller has two parts at most, and needs no smaller ones.
        let size =
            if self.staggers && self.credit > 0 { staggered(full, self.width, previous) } else { full };
        let size = size.min(self.rest_bytes / connections).max(MIN_PART.min(full));
        Some(rest.start..rest.end.min(rest.start.saturating_add(size)))
    }

    fn begin(&mut self, range: Range<u64>, optional: bool) {
        let store = if optional { self.store.without_retries() } else { self.store.clone() };
        let requested = if optional { self.take_requested(&range) } else { None };
        let measures_latency = requested.is_none();
        let pieces = (self.read_part)(store, self.pinned.clone(), range.clone(), requested);
        let reservation = self.store.inner.budget.reservation();
        let tasks = &self.store.inner.tasks;
        self.parts.push_back(AheadPart::begin(
            range,
            optional,
            pieces,
            reservation,
            &self.shared,
            measures_latency,
            tasks,
        ));
    }
}

/// The size of a part of at most `full` bytes that begins while `previous` bytes of the one before it are still to come.
/// It should end later than that one, by a tenth of a full part if ten connections are in use: if parts ended together,
/// they would all be in memory at that time, and would then all begin together.
fn staggered(full: u64, connections: usize, previous: u64) -> u64 {
    let connections = connections.max(1) as u64;
    let least = full / connections.min(8);
    previous.saturating_add(full / connections).clamp(least, full)
}

impl ReadsAhead for ReadAhead {
    fn give_up(&mut self) {
        self.has_given_up = true;
        self.parts.clear();
        self.requested.clear();
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_begin_together_grow_and_those_that_follow_each_other_are_full() {
        const FULL: u64 = 8_000;
        let mut sizes = vec![staggered(FULL, 10, 0)];
        while sizes.len() < 10 {
            sizes.push(staggered(FULL, 10, *sizes.last().unwrap()));
        }
        assert_eq!(sizes, [1_000, 1_800, 2_600, 3_400, 4_200, 5_000, 5_800, 6_600, 7_400, 8_000]);
        // Each begins when a tenth of the one before it has arrived.
        assert_eq!(staggered(FULL, 10, FULL / 10 * 9), FULL);
    }

    #[test]
    fn fewer_connections_do_not_make_parts_smaller() {
        assert_eq!(staggered(8_000, 1, 0), 8_000);
        // Two that take turns: one begins when half of the other has arrived.
        assert_eq!(staggered(8_000, 2, 4_000), 8_000);
    }
}
