//! Reads several ranges of one object, several at a time. Ranges that are close together share a request.

use std::{collections::VecDeque, ops::Range, sync::atomic::Ordering};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Attributes, ByteRange, Error, ErrorKind, Field, Head, ObjectMeta, ObjectReader, RangesOptions, ReadInfo,
    ReadOptions, S3Store,
    budget::Reclaimable,
    transfer::{
        byte_range::{check_covers, resolve},
        object_reader::read_part,
        pinned::Pinned,
        read_ahead::{FIRST_WINDOW, ReadAhead, Requested},
    },
};
use crate::{s3::GetAnswer, transport::ResponseBody};

/// A piece of one of the requested ranges.
#[derive(Debug)]
pub struct RangePiece {
    /// The index of the range in the request.
    pub index: usize,
    /// The offset of the data in the object.
    pub offset: u64,
    /// The data, 1 byte to 1 MiB. An empty range has no piece.
    pub data: Bytes,
}

/// Reads the ranges of an object in the requested order. Dropping it cancels the requests.
#[derive(Debug)]
pub struct RangesReader {
    store: S3Store,
    pinned: Pinned,
    info: ReadInfo,
    fetches: VecDeque<Fetch>,
    current: Option<Current>,
    /// Reads the current fetch, if `ahead` does not.
    alone: Option<ObjectReader>,
    /// Reads small fetches, several at a time.
    ahead: Option<Reclaimable<ReadAhead>>,
    /// Whether ranges can be read at the same time: the object can be pinned, and the server supports ranges.
    reads_ahead: bool,
}

/// One request and the ranges that it covers, which are in ascending order and do not overlap.
#[derive(Debug, PartialEq, Eq)]
struct Fetch {
    bytes: Range<u64>,
    ranges: Vec<(usize, Range<u64>)>,
}

/// A fetch whose bytes are arriving.
#[derive(Debug)]
struct Current {
    position: u64,
    end: u64,
    ranges: VecDeque<(usize, Range<u64>)>,
    rest: Bytes,
}

/// The first request, which is made before the size of the object is known, and the number of ranges that it covers.
#[derive(Debug, PartialEq, Eq)]
struct First {
    bytes: ByteRange,
    ranges: usize,
}

impl S3Store {
    /// Reads several ranges of one object, all of the same version. If a range starts beyond the object's end, or at it
    /// without being empty, the whole read fails before it returns any byte.
    pub async fn get_ranges(&self, key: &str, options: RangesOptions) -> Result<RangesReader, Error> {
        let RangesOptions { ranges, coalesce_bytes, read } = options;
        let Some(first) = First::of(&ranges, coalesce_bytes) else {
            return self.get_ranges_after_head(key, &ranges, coalesce_bytes, &read).await;
        };
        let full_key = self.full_key(key, Field::Key)?;
        let requested = self.request_ahead(&full_key, &first, &ranges, coalesce_bytes, &read);
        let answer = match self.client().get_object(read.selecting(&full_key), Some(first.bytes)).await {
            // The error names the range, and a suffix of an empty object is no error: both need the size.
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                return self.get_ranges_after_head(key, &ranges, coalesce_bytes, &read).await;
            }
            answer => answer?,
        };
        // The first response has the object's size. Suffixes count from it, and every range must lie within it.
        let GetAnswer { size, properties, attributes, start, end, body } = answer;
        let resolved = resolve_all(&ranges, size)?;
        let (with_first, others) = resolved.split_at(first.ranges);
        let mut fetches = plan(with_first, 0, coalesce_bytes);
        fetches.extend(plan(others, first.ranges, coalesce_bytes));
        let meta = ObjectMeta { key: key.to_owned(), size, properties };
        let pinned = Pinned::new(full_key, &read, &meta);
        let mut reader = RangesReader::new(self, pinned, meta, attributes, &resolved, fetches);
        let Some(fetch) = reader.fetches.pop_front_if(|fetch| fetch.ranges[0].0 < first.ranges) else {
            // A suffix of an empty object has no bytes.
            return Ok(reader);
        };
        check_covers(start..end, &fetch.bytes)?;
        reader.reads_ahead &= start == fetch.bytes.start && end == fetch.bytes.end;
        reader.begin_first(fetch, body, start, requested);
        Ok(reader)
    }

    /// Requests those of the remaining `ranges` that can be requested before the first response arrives, so that a few
    /// small ranges take no longer than one. Their responses count only if they are from the same object as the first
    /// one.
    fn request_ahead(
        &self,
        full_key: &str,
        first: &First,
        ranges: &[ByteRange],
        coalesce: u64,
        read: &ReadOptions,
    ) -> VecDeque<(Range<u64>, Requested)> {
        let bounded = ranges[first.ranges..].iter().map(|range| match range {
            ByteRange::Bounded { start, end } => Some(*start..*end),
            ByteRange::Offset(_) | ByteRange::Suffix(_) => None,
        });
        let first_is_small = match first.bytes {
            ByteRange::Bounded { start, end } => !self.reads_alone(&(start..end)),
            ByteRange::Suffix(length) => length <= FIRST_WINDOW,
            ByteRange::Offset(_) => false,
        };
        let Some(bounded) = bounded.collect::<Option<Vec<_>>>().filter(|_| first_is_small) else {
            return VecDeque::new();
        };
        let small = plan(&bounded, 0, coalesce).into_iter().scan(0_u64, |total, fetch| {
            *total = total.saturating_add(fetch.bytes.end - fetch.bytes.start);
            (*total <= FIRST_WINDOW).then_some(fetch.bytes)
        });
        if !self.inner.budget.has_room_ahead(FIRST_WINDOW) || self.inner.lacks_pins.load(Ordering::Relaxed) {
            return VecDeque::new();
        }
        let request = |bytes: Range<u64>| {
            let (store, full_key, read) = (self.without_retries(), full_key.to_owned(), read.clone());
            let range = ByteRange::Bounded { start: bytes.start, end: bytes.end };
            let request =
                async move { store.client().get_object(read.selecting(&full_key), Some(range)).await };
            (bytes, AbortOnDropHandle::new(self.inner.tasks.spawn(request)))
        };
        small.take(self.settings().transfer.max_concurrency - 1).map(request).collect()
    }

    /// Whether one connection reads these bytes better than several, until it proves slow.
    fn reads_alone(&self, bytes: &Range<u64>) -> bool {
        bytes.end - bytes.start >= 2 * self.settings().transfer.part_size
    }

    /// Like [`S3Store::get_ranges`], but finds out the object's size first.
    async fn get_ranges_after_head(
        &self,
        key: &str,
        ranges: &[ByteRange],
        coalesce: u64,
        read: &ReadOptions,
    ) -> Result<RangesReader, Error> {
        let Head { meta, attributes, .. } = self.head(key, read).await?;
        let resolved = resolve_all(ranges, meta.size)?;
        let pinned = Pinned::new(self.full_key(key, Field::Key)?, read, &meta);
        Ok(RangesReader::new(self, pinned, meta, attributes, &resolved, plan(&resolved, 0, coalesce)))
    }
}

fn resolve_all(ranges: &[ByteRange], size: u64) -> Result<Vec<Range<u64>>, Error> {
    let named = ranges.iter().enumerate();
    named.map(|(index, range)| resolve(*range, size, format_args!("range {index}"))).collect()
}

impl First {
    /// The first range that is not empty, and those that follow it closely. `None` if all are empty: S3 has no request
    /// for an empty range.
    fn of(ranges: &[ByteRange], coalesce: u64) -> Option<Self> {
        let is_empty = |range: &ByteRange| matches!(range, ByteRange::Bounded { start, end } if start >= end);
        let at = ranges.iter().position(|range| !is_empty(range))?;
        let (mut bytes, mut covered) = (ranges[at], at + 1);
        for range in &ranges[at + 1..] {
            let ByteRange::Bounded { start, end } = bytes else { break };
            let follows = |next: u64| next >= end && next - end < coalesce;
            match *range {
                ref range if is_empty(range) => {}
                ByteRange::Bounded { start: next, end } if follows(next) => {
                    bytes = ByteRange::Bounded { start, end };
                }
                ByteRange::Offset(next) if follows(next) => bytes = ByteRange::Offset(start),
                _ => break,
            }
            covered += 1;
        }
        Some(Self { bytes, ranges: covered })
    }
}

impl RangesReader {
    fn new(
        store: &S3Store,
        pinned: Pinned,
        meta: ObjectMeta,
        attributes: Attributes,
        resolved: &[Range<u64>],
        fetches: VecDeque<Fetch>,
    ) -> Self {
        let (start, end) = resolved.first().map_or((0, 0), |range| (range.start, range.end));
        store.inner.lacks_pins.store(!pinned.is_exact(), Ordering::Relaxed);
        Self {
            reads_ahead: pinned.is_exact() && store.settings().transfer.max_concurrency > 1,
            store: store.clone(),
            pinned,
            info: ReadInfo { meta, attributes, start, end },
            fetches,
            current: None,
            alone: None,
            ahead: None,
        }
    }

    /// Reads `fetch` from the first response, whose body begins at `start`, and starts to read small fetches ahead,
    /// some of which have been requested already.
    fn begin_first(
        &mut self,
        fetch: Fetch,
        body: ResponseBody,
        start: u64,
        requested: VecDeque<(Range<u64>, Requested)>,
    ) {
        let bytes = fetch.bytes.clone();
        let info = ReadInfo { start: bytes.start, end: bytes.end, ..self.info.clone() };
        let skip = bytes.start - start;
        self.alone = Some(ObjectReader::new(self.store.clone(), self.pinned.clone(), info, Some(body), skip));
        self.current = Some(Current::of(fetch));
        if !self.store.reads_alone(&bytes) {
            self.read_ahead(requested, 1);
        }
    }

    /// The object that is read; `start..end` is the first range.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }

    /// Returns the next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<RangePiece, Error>> {
        loop {
            let Some(current) = &mut self.current else {
                self.current = Some(Current::of(self.fetches.pop_front()?));
                continue;
            };
            if let Some(piece) = current.piece() {
                return Some(Ok(piece));
            }
            let outcome = if current.ranges.is_empty() { self.end().await } else { self.more().await };
            if let Err(error) = outcome {
                self.fetches.clear();
                (self.current, self.alone, self.ahead) = (None, None, None);
                return Some(Err(error));
            }
        }
    }

    /// Ends the current fetch. If it is the whole object, and was not read ahead, its reader verifies the checksum.
    async fn end(&mut self) -> Result<(), Error> {
        if let Some(alone) = &mut self.alone
            && alone.is_at_end()
            && let Some(Err(error)) = alone.next().await
        {
            return Err(error);
        }
        (self.current, self.alone) = (None, None);
        Ok(())
    }

    /// Receives more bytes of the current fetch.
    async fn more(&mut self) -> Result<(), Error> {
        if let Some(ahead) = self.ahead.as_ref().filter(|_| self.alone.is_some()) {
            ahead.touch();
        }
        let bytes = self.bytes().await?;
        if let Some(current) = &mut self.current {
            current.rest = bytes;
        }
        Ok(())
    }

    /// The next bytes of the current fetch.
    async fn bytes(&mut self) -> Result<Bytes, Error> {
        let ended = || Error::new(ErrorKind::Internal, "a range ended before its last byte");
        if let Some(alone) = &mut self.alone {
            return alone.next().await.unwrap_or_else(|| Err(ended()));
        }
        let Some(Current { position, end, .. }) = &self.current else { return Err(ended()) };
        let left = *position..*end;
        if self.ahead.is_none() && !self.store.reads_alone(&left) {
            self.read_ahead(VecDeque::new(), 0);
        }
        if let Some(ahead) = &self.ahead {
            let mut ahead = ahead.in_use().await;
            if let Some(bytes) = ahead.next().await {
                return bytes;
            }
            let is_over = if ahead.first_left().as_ref() == Some(&left) {
                // There is no memory to read this range ahead.
                ahead.skip_first();
                false
            } else {
                // If it has neither given up nor returned everything, the server ignores ranges.
                let is_done = ahead.first_left().is_none() && self.store.reads_alone(&left);
                self.reads_ahead &= is_done || ahead.has_given_up();
                true
            };
            drop(ahead);
            if is_over {
                self.ahead = None;
            }
        }
        let mut alone = ObjectReader::of_pinned(self.store.clone(), self.pinned.clone(), left).await?;
        let bytes = alone.next().await.unwrap_or_else(|| Err(ended()));
        self.alone = Some(alone);
        bytes
    }

    /// Starts to read ahead: the rest of the current fetch, unless it is being read, and the small fetches that follow
    /// it. `beside` is the number of other connections that the read uses.
    fn read_ahead(&mut self, requested: VecDeque<(Range<u64>, Requested)>, beside: usize) {
        let current = self.current.iter().filter(|_| self.alone.is_none());
        let current = current.map(|current| current.position..current.end);
        let following = self.fetches.iter().map(|fetch| fetch.bytes.clone());
        let ranges: VecDeque<_> =
            current.chain(following.take_while(|bytes| !self.store.reads_alone(bytes))).collect();
        if self.reads_ahead && !ranges.is_empty() {
            let (store, pinned) = (self.store.clone(), self.pinned.clone());
            let ahead = ReadAhead::of_ranges(read_part, store, pinned, ranges, requested, beside);
            self.ahead = Some(Reclaimable::new(&self.store.inner.budget, ahead));
        }
    }
}

impl Current {
    fn of(Fetch { bytes, ranges }: Fetch) -> Self {
        Self { position: bytes.start, end: bytes.end, ranges: ranges.into(), rest: Bytes::new() }
    }

    /// Returns the next piece of the next range from the bytes that have arrived. Bytes between ranges are discarded.
    /// `None` if more bytes are needed, or no range is left.
    fn piece(&mut self) -> Option<RangePiece> {
        loop {
            let (index, range) = self.ranges.front().cloned()?;
            if self.position == range.end {
                self.ranges.pop_front();
                continue;
            }
            if self.rest.is_empty() {
                return None;
            }
            let offset = self.position;
            let until = if offset < range.start { range.start } else { range.end };
            let data = self.take(until - offset);
            if offset >= range.start {
                return Some(RangePiece { index, offset, data });
            }
        }
    }

    fn take(&mut self, most: u64) -> Bytes {
        let data = self.rest.split_to(self.rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
        self.position += data.len() as u64;
        data
    }
}

/// Plans the requests for `ranges`, whose indices begin at `first`. A range shares the request of the previous one if
/// it starts less than `coalesce` bytes after that one's end. Every other range gets its own request, even if it
/// overlaps the previous one, so that no bytes have to be kept in memory.
fn plan(ranges: &[Range<u64>], first: usize, coalesce: u64) -> VecDeque<Fetch> {
    let mut fetches: VecDeque<Fetch> = VecDeque::new();
    for (index, range) in (first..).zip(ranges.iter().cloned()).filter(|(_, range)| !range.is_empty()) {
        match fetches.back_mut() {
            Some(fetch) if range.start >= fetch.bytes.end && range.start - fetch.bytes.end < coalesce => {
                fetch.bytes.end = range.end;
                fetch.ranges.push((index, range));
            }
            _ => fetches.push_back(Fetch { bytes: range.clone(), ranges: vec![(index, range)] }),
        }
    }
    fetches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_that_are_close_together_share_a_request() {
        let fetches = plan(&[0..10, 15..20, 21..30, 0..5, 4..8, 8..8], 0, 6);
        let bytes: Vec<_> = fetches.iter().map(|fetch| fetch.bytes.clone()).collect();
        assert_eq!(bytes, [0..30, 0..5, 4..8]);
        assert_eq!(fetches[0].ranges, [(0, 0..10), (1, 15..20), (2, 21..30)]);
        assert_eq!(plan(&[0..10, 15..20], 0, 5).len(), 2);
        assert_eq!(plan(&[0..10, 10..20], 0, 0).len(), 2);
    }

    #[test]
    fn the_first_request_covers_ranges_that_need_no_size() {
        let bounded = |start, end| ByteRange::Bounded { start, end };
        let covers = |bytes, ranges| Some(First { bytes, ranges });
        assert_eq!(First::of(&[bounded(4, 4), bounded(7, 7)], 9), None);
        assert_eq!(First::of(&[bounded(4, 4), bounded(7, 9), bounded(10, 20)], 2), covers(bounded(7, 20), 3));
        assert_eq!(First::of(&[bounded(7, 9), bounded(10, 20)], 1), covers(bounded(7, 9), 1));
        assert_eq!(First::of(&[bounded(7, 9), ByteRange::Suffix(3)], 9), covers(bounded(7, 9), 1));
        assert_eq!(First::of(&[ByteRange::Offset(3), bounded(7, 9)], 9), covers(ByteRange::Offset(3), 1));
        let to_the_end = [bounded(7, 9), ByteRange::Offset(12), bounded(20, 30)];
        assert_eq!(First::of(&to_the_end, 4), covers(ByteRange::Offset(7), 2));
    }
}
